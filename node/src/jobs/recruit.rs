//! One task of a job, from the offers to a result that is believed.
//!
//! Each of the `replication` workers that a task is for is one that said yes to an offer; whoever does not deliver in time is
//! replaced. A result counts once the worker's word and a sample of the proof hold. Where results differ, each is
//! verified in full: what is false is put on record against its worker, so that neither one liar nor a majority of them
//! is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alloy::primitives::{Address, B256};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::seq::SliceRandom;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::belief::Unbelieved;
use super::coordination::KeptAnswer;
use super::receipt::{Answer, ReceiptError, TaskDone, Work, WorkKind, WorkOrder, verify_answer};
use super::{JobRequest, REPLICATION_MAX};
use crate::failpoint::sometimes;
use crate::p2p::wire::{Request, Response};
use crate::roles::context::Peer;
use crate::roles::validator::Validator;
use crate::store::StoreError;
use crate::work::{Policy, Task};

/// Capacity units that the slowest worker worth waiting for does in a second: a tenth of the reference core.
const SLOWEST_CAPACITY_PER_SECOND: u64 = 850_000;
/// Time that any task may take besides its work.
const GRACE: Duration = Duration::from_secs(60);
/// Wait before a worker that is still at work is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One task on its way.
pub(super) struct Recruiting<'a> {
    pub(super) validator: &'a Validator,
    pub(super) job: B256,
    pub(super) request: &'a JobRequest,
    pub(super) index: u16,
    pub(super) task: Task,
}

/// What follows from the answers so far.
enum Verdict {
    /// The task is done.
    Done(TaskDone),
    /// So many workers more are needed.
    Missing(usize),
    /// Results differ, and are to be verified in full.
    Disputed,
}

impl Recruiting<'_> {
    /// Offers the task to workers until enough of them agree. `None` if nobody who could take it is left: try again
    /// later. `load` counts the tasks of this job that each worker has; tasks are to run side by side.
    pub(super) async fn run(
        &self,
        load: &std::sync::Mutex<BTreeMap<Address, usize>>,
    ) -> Result<Option<TaskDone>, Unbelieved> {
        let mut tried = BTreeSet::new();
        let mut attempts = FuturesUnordered::new();
        loop {
            let answers = self.answers()?;
            let missing = match verdict(self.request, &answers) {
                Verdict::Done(done) => return Ok(Some(done)),
                Verdict::Disputed => {
                    if !self.settle_dispute(answers).await? {
                        // Of two results of a deterministic task one is false, so a workload is at fault.
                        warn!(job = %self.job, task = self.index, "a dispute that cannot be settled");
                        return Ok(None);
                    }
                    continue;
                }
                Verdict::Missing(missing) => missing,
            };
            tried.extend(answers.iter().map(|kept| kept.answer.result.body.worker));
            // Nobody else is sent for what is given up.
            let is_wanted = self.validator.coordination.is_wanted(self.job);
            while is_wanted && attempts.len() < missing {
                let Some(worker) = self.candidate(&tried, load) else {
                    break;
                };
                tried.insert(worker.wallet);
                attempts.push(self.attempt(worker));
            }
            match attempts.next().await {
                None => return Ok(None),
                Some((_, Some(answer))) => self.take(answer).await?,
                Some((worker, None)) => {
                    let mut load = load
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    if let Some(count) = load.get_mut(&worker) {
                        *count = count.saturating_sub(1);
                    }
                }
            }
        }
    }

    fn answers(&self) -> Result<Vec<KeptAnswer>, StoreError> {
        self.validator.coordination.answers(self.job, self.index)
    }

    /// A worker of the job's network that has not been tried, one with the fewest tasks of this job.
    fn candidate(
        &self,
        tried: &BTreeSet<Address>,
        load: &std::sync::Mutex<BTreeMap<Address, usize>>,
    ) -> Option<Peer> {
        let mut candidates = self.validator.workers();
        candidates.retain(|worker| {
            worker.serves(&self.request.network)
                && worker.wallet != self.request.user
                && !tried.contains(&worker.wallet)
        });
        candidates.shuffle(&mut rand::rng());
        let mut load = load
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let chosen = candidates
            .into_iter()
            .min_by_key(|worker| load.get(&worker.wallet).copied().unwrap_or(0))?;
        *load.entry(chosen.wallet).or_default() += 1;
        Some(chosen)
    }

    /// Offers the task to a worker and, if it accepts, waits for its answer.
    async fn attempt(&self, worker: Peer) -> (Address, Option<Answer>) {
        let network = &self.validator.ctx.network;
        let (job, task) = (self.job, self.index);
        match network
            .request(worker.id, Request::Offer { job, task })
            .await
        {
            Ok(Response::Accepted) => {}
            Ok(_) => return (worker.wallet, None),
            Err(error) => {
                debug!(%job, task, worker = %worker.wallet, %error, "offer not answered");
                return (worker.wallet, None);
            }
        }
        let order = WorkOrder {
            validator: self.validator.ctx.address(),
            worker: worker.wallet,
            kind: WorkKind::Job {
                job,
                task,
                user: self.request.user,
            },
            task: self.task.clone(),
        };
        let answer = order_work(self.validator, &worker, &order).await;
        (worker.wallet, answer)
    }

    /// Judges an answer by samples, and keeps it.
    async fn take(&self, answer: Answer) -> Result<(), Unbelieved> {
        let domain = &self.validator.ctx.domain;
        let worker = answer.result.body.worker;
        let (job, task) = (self.job, self.index);
        let policy = self.request.policy();
        match verify_answer(&answer, &self.task, domain, rand::random(), &policy).await {
            Ok(()) => {
                info!(%job, task, %worker, "result verified");
                let kept = KeptAnswer {
                    answer,
                    is_false: false,
                };
                self.validator.coordination.keep(job, task, kept)?;
            }
            Err(ReceiptError::Proof { error, .. }) => {
                warn!(%job, task, %worker, %error, "the result is false");
                self.accuse(answer).await?;
            }
            Err(error) => warn!(%job, task, %worker, %error, "no usable answer"),
        }
        Ok(())
    }

    /// Verifies in full what the workers disagree about. Whether something false was found.
    async fn settle_dispute(&self, answers: Vec<KeptAnswer>) -> Result<bool, Unbelieved> {
        let (job, task) = (self.job, self.index);
        sometimes!("job/disputed");
        warn!(%job, task, "workers disagree: their results are verified in full");
        let domain = &self.validator.ctx.domain;
        let mut verdicts: BTreeMap<B256, bool> = BTreeMap::new();
        for KeptAnswer { answer, is_false } in answers {
            if is_false {
                continue;
            }
            let output = answer.result.body.output;
            let holds = match verdicts.get(&output) {
                Some(holds) => *holds,
                None => {
                    let seed = rand::random();
                    let verified =
                        verify_answer(&answer, &self.task, domain, seed, &Policy::THOROUGH).await;
                    *verdicts.entry(output).or_insert(verified.is_ok())
                }
            };
            if !holds {
                let worker = answer.result.body.worker;
                warn!(%job, task, %worker, "the dissenting result is false");
                self.accuse(answer).await?;
            }
        }
        Ok(verdicts.values().any(|holds| !holds))
    }

    /// Puts a false result on record: against its worker, then here, so that the worker is not asked again.
    async fn accuse(&self, answer: Answer) -> Result<(), Unbelieved> {
        accuse(self.validator, answer.clone(), self.task.clone()).await?;
        let kept = KeptAnswer {
            answer,
            is_false: true,
        };
        Ok(self
            .validator
            .coordination
            .keep(self.job, self.index, kept)?)
    }
}

/// Issues a receipt for a worker's false result, which costs it reputation.
pub(super) async fn accuse(
    validator: &Validator,
    answer: Answer,
    task: Task,
) -> Result<(), Unbelieved> {
    sometimes!("job/false-result");
    let round = validator.ctx.chain.round_status().await?.round;
    validator.issue(round, Work::Fault { answer, task }).await
}

/// Has a worker do what is ordered, and waits for as long as a slow one may take. The order may be given again: a worker
/// does it once.
pub(super) async fn order_work(
    validator: &Validator,
    worker: &Peer,
    order: &WorkOrder,
) -> Option<Answer> {
    let work = Duration::from_secs(order.task.capacity_max() / SLOWEST_CAPACITY_PER_SECOND);
    let deadline = Instant::now() + GRACE + work;
    loop {
        let request = Request::Work(Box::new(order.clone()));
        match validator.ctx.network.request(worker.id, request).await {
            Ok(Response::Work(answer)) if answer.result.body == order.result(&answer.output) => {
                return Some(*answer);
            }
            Ok(Response::Working) if Instant::now() < deadline => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Ok(Response::Working) => {
                sometimes!("job/not-in-time");
                warn!(worker = %worker.wallet, order = ?order.kind, "not done in time");
                return None;
            }
            Ok(_) => {
                sometimes!("job/order-refused");
                debug!(worker = %worker.wallet, order = ?order.kind, "no result");
                return None;
            }
            Err(error) => {
                debug!(worker = %worker.wallet, order = ?order.kind, %error, "no result");
                return None;
            }
        }
    }
}

/// Judges the answers to one task.
fn verdict(request: &JobRequest, answers: &[KeptAnswer]) -> Verdict {
    let wanted = usize::from(request.replication.clamp(1, REPLICATION_MAX));
    let standing: Vec<&Answer> = answers
        .iter()
        .filter(|kept| !kept.is_false)
        .map(|kept| &kept.answer)
        .collect();
    let agree = standing
        .windows(2)
        .all(|pair| pair[0].result.body.output == pair[1].result.body.output);
    if !agree {
        return Verdict::Disputed;
    }
    let missing = wanted
        .saturating_sub(answers.len())
        .max(request.majority().saturating_sub(standing.len()));
    match standing.first() {
        Some(first) if missing == 0 => Verdict::Done(TaskDone {
            output: first.output.clone(),
            // Kept by worker, so in the order that a receipt has.
            by: standing
                .iter()
                .take(wanted)
                .map(|answer| answer.result.clone())
                .collect(),
        }),
        _ => Verdict::Missing(missing.max(1)),
    }
}

/// The result of a task as far as it is there.
pub(super) fn done(request: &JobRequest, answers: &[KeptAnswer]) -> Option<TaskDone> {
    match verdict(request, answers) {
        Verdict::Done(done) => Some(done),
        Verdict::Missing(_) | Verdict::Disputed => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{job_request, signed_answer, wallet};
    use crate::work::TaskOutput;

    fn request(replication: u8) -> JobRequest {
        JobRequest {
            replication,
            ..job_request(&wallet(9), 1, 0, 1).body
        }
    }

    /// An answer of a worker: which result it has, and whether it is known to be false. Signatures are not looked at.
    fn kept(worker: u8, result: u8, is_false: bool) -> KeptAnswer {
        let task = request(1).tasks[0].clone();
        let kind = WorkKind::Job {
            job: B256::ZERO,
            task: 0,
            user: Address::ZERO,
        };
        let output = TaskOutput {
            output: B256::repeat_byte(result),
            proof: crate::work::matmul::Product::new(Vec::new()).into(),
        };
        let answer = signed_answer(Address::ZERO, &wallet(worker), kind, task, output);
        KeptAnswer { answer, is_false }
    }

    fn missing(replication: u8, answers: &[KeptAnswer]) -> Option<usize> {
        match verdict(&request(replication), answers) {
            Verdict::Missing(missing) => Some(missing),
            _ => None,
        }
    }

    #[test]
    fn a_task_is_done_when_all_its_workers_have_answered_and_more_than_half_agree() {
        let one_lies = [kept(1, 7, false), kept(2, 8, true), kept(3, 7, false)];
        let Verdict::Done(done) = verdict(&request(3), &one_lies) else {
            panic!("two of three agree")
        };
        assert_eq!(done.output.output, B256::repeat_byte(7));
        assert_eq!(done.by.len(), 2);
        assert_eq!(missing(3, &one_lies[..1]), Some(2));
        assert_eq!(missing(3, &one_lies[..2]), Some(1), "the liar has answered");
        let two_lie = [kept(1, 7, false), kept(2, 8, true), kept(3, 8, true)];
        assert_eq!(missing(3, &two_lie), Some(1), "no majority yet");
        assert_eq!(missing(2, &[kept(1, 7, false)]), Some(1));
        assert_eq!(missing(1, &[kept(1, 7, true)]), Some(1));
    }

    #[test]
    fn results_that_differ_are_disputed_even_if_a_majority_agrees() {
        let answers = [kept(1, 7, false), kept(2, 8, false), kept(3, 7, false)];
        assert!(matches!(verdict(&request(3), &answers), Verdict::Disputed));
    }

    proptest! {
        #[test]
        fn no_result_rests_on_a_false_answer_or_on_a_minority(
            replication in 1u8..=REPLICATION_MAX,
            answers in prop::collection::vec((7u8..9, any::<bool>()), 0..12),
        ) {
            let answers: Vec<KeptAnswer> = answers
                .iter()
                .zip(20u8..)
                .map(|((result, is_false), worker)| kept(worker, *result, *is_false))
                .collect();
            let request = request(replication);
            if let Some(done) = done(&request, &answers) {
                prop_assert!(done.by.len() >= request.majority());
                prop_assert!(done.by.len() <= usize::from(replication));
                for result in &done.by {
                    let from = answers.iter().find(|kept| kept.answer.result == *result);
                    prop_assert!(from.is_some_and(|kept| !kept.is_false));
                }
            } else {
                let standing = answers.iter().filter(|kept| !kept.is_false).count();
                let outputs: BTreeSet<B256> = answers
                    .iter()
                    .filter(|kept| !kept.is_false)
                    .map(|kept| kept.answer.result.body.output)
                    .collect();
                prop_assert!(
                    outputs.len() > 1
                        || standing < request.majority()
                        || answers.len() < usize::from(replication)
                );
            }
        }
    }
}
