//! What a validator says to users whose jobs it does not want to see done, and to workers that it does not want to see paid.

use alloy::primitives::B256;
use smartnodes_node::jobs::{Delivery, JobStatus};
use smartnodes_node::p2p::Event;
use smartnodes_node::p2p::wire::{Refusal, Request, Response};
use smartnodes_node::work::hash_chain::HashChain;
use smartnodes_node::work::{Task, TaskKind, TaskOutput};
use tracing::info;

use super::Cheat;

/// What is done with a job, as its id has it.
enum Ploy {
    /// It is refused, as one that no validator would admit.
    Refuse,
    /// It is admitted, and under way for ever.
    Keep,
}

fn ploy(job: B256) -> Ploy {
    match job[0] % 2 {
        0 => Ploy::Refuse,
        _ => Ploy::Keep,
    }
}

/// A result that is real, of another task.
async fn other_result(job: B256) -> Option<TaskOutput> {
    let task = Task {
        kind: TaskKind::HashChain(HashChain { steps: 1_000 }),
        input: job.to_vec(),
    };
    task.execute().await.ok()
}

impl Cheat {
    pub(super) async fn stonewall(&self, event: Event) -> Option<Event> {
        let Event::Request {
            peer,
            request,
            responder,
        } = event
        else {
            return Some(event);
        };
        let (act, job, answer) = match &request {
            Request::SubmitJob(request) => {
                let job = request.body.job_id(&self.validator.ctx.domain);
                match ploy(job) {
                    Ploy::Refuse => {
                        let refusal = Refusal::Invalid("no such work is done here".into());
                        ("job-refused", job, Response::Refused(refusal))
                    }
                    Ploy::Keep => ("job-kept", job, Response::JobAdmitted { job }),
                }
            }
            Request::JobStatus { job } => {
                let status = match (ploy(*job), other_result(*job).await) {
                    (Ploy::Refuse, Some(result)) => JobStatus::Complete {
                        results: vec![Delivery {
                            digest: result.digest(),
                            workers: Vec::new(),
                        }],
                    },
                    _ => JobStatus::Active { done: 0, total: 1 },
                };
                ("false-status", *job, Response::JobStatus(Box::new(status)))
            }
            Request::Output { job, .. } => match (ploy(*job), other_result(*job).await) {
                (Ploy::Refuse, Some(result)) => {
                    ("false-output", *job, Response::Output(Box::new(result)))
                }
                _ => {
                    let refusal = Response::Refused(Refusal::NotFound);
                    ("output-withheld", *job, refusal)
                }
            },
            Request::ClaimProof {
                distribution_id, ..
            } => {
                let (act, capacity) = match distribution_id % 2 {
                    0 => ("false-proof", 1),
                    _ => ("share-denied", 0),
                };
                let proof = Vec::new();
                (act, B256::ZERO, Response::ClaimProof { capacity, proof })
            }
            _ => {
                return Some(Event::Request {
                    peer,
                    request,
                    responder,
                });
            }
        };
        info!(act, %peer, %job, "misdeed");
        responder.send(answer).await;
        None
    }
}
