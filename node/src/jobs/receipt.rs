//! Receipts: what a worker did for whom, signed by both, with the proof in it.
//!
//! A worker signs its result ([`WorkResult`]); the validator that verified it signs the [`Receipt`] and gossips it.
//! Every other validator checks the signatures **and the proof** again ([`verify_work`]), so that a proposal rests on
//! nothing that somebody merely says.

use alloy::primitives::{Address, B256, Keccak256, keccak256};
use serde::{Deserialize, Serialize};

use super::JobRequest;
pub use super::verify::{
    ReceiptError, Scrutiny, check_word_of_validator, false_answers, verify_answer, verify_work,
};
use crate::signed::{Domain, Signed, Statement, encode};
use crate::work::hash_chain::HashChain;
use crate::work::{Task, TaskKind, TaskOutput};

/// Capacity challenges that one validator may give one worker in a round.
pub const CHALLENGES_PER_ROUND: u16 = 3;
/// Steps of a challenge's hash chain, which are the capacity that it earns.
pub const CHALLENGE_STEPS: u64 = 20_000;
/// How far ahead of a validator's chain time a receipt may be dated, in seconds: two heads may differ.
pub const CLOCK_TOLERANCE_SECONDS: u64 = 120;

/// What a piece of work is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WorkKind {
    /// A capacity challenge.
    Challenge {
        /// Round in which it is given.
        round: u64,
        /// Below [`CHALLENGES_PER_ROUND`].
        index: u16,
        /// Fresh and random, so that no worker can work ahead.
        nonce: B256,
    },
    /// A task of a job.
    Job {
        /// The job.
        job: B256,
        /// Index of the task.
        task: u16,
        /// Whose job it is: the worker delivers to it.
        user: Address,
    },
}

/// A validator's order to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkOrder {
    /// Who orders.
    pub validator: Address,
    /// Who is to do it.
    pub worker: Address,
    /// What for.
    pub kind: WorkKind,
    /// What to do.
    pub task: Task,
}

impl Statement for WorkOrder {
    const TAG: &'static str = "work-order";
}

impl WorkOrder {
    /// What the worker signs when `output` is its result.
    pub fn result(&self, output: &TaskOutput) -> WorkResult {
        WorkResult {
            validator: self.validator,
            worker: self.worker,
            kind: self.kind.clone(),
            task: self.task.digest(),
            output: output.digest(),
        }
    }
}

/// A worker's word that a task has this result. Signed by the worker. Task and output are named by their digests, so that
/// the word of several workers on one result takes little room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkResult {
    /// Who ordered it.
    pub validator: Address,
    /// Who did it.
    pub worker: Address,
    /// What for.
    pub kind: WorkKind,
    /// [`Task::digest`] of what was to be done.
    pub task: B256,
    /// [`TaskOutput::digest`] of what came out.
    pub output: B256,
}

impl Statement for WorkResult {
    const TAG: &'static str = "work-result";
}

impl WorkResult {
    /// Names the order that it answers, whatever the answer is.
    pub fn order_id(&self) -> B256 {
        keccak256(encode(&(
            self.validator,
            self.worker,
            &self.kind,
            self.task,
        )))
    }
}

/// A worker's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The worker's word.
    pub result: Signed<WorkResult>,
    /// Output and proof.
    pub output: TaskOutput,
}

/// A task that is done: its result, and the workers that agree on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDone {
    /// Output and proof.
    pub output: TaskOutput,
    /// One for each worker, ascending by worker.
    pub by: Vec<Signed<WorkResult>>,
}

/// The work behind a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// A capacity challenge, passed.
    Challenge(Answer),
    /// A job, at its end. It is complete if all its tasks are done. What was done of one that failed or was called off
    /// counts for its workers, too.
    Job {
        /// What the user asked for, signed by the user.
        request: Signed<JobRequest>,
        /// In the order of the tasks.
        tasks: Vec<Option<TaskDone>>,
    },
    /// A result that is false: the worker's own signature under it is the evidence.
    Fault {
        /// The false answer.
        answer: Answer,
        /// What was to be done.
        task: Task,
    },
}

/// A validator's receipt for work that it has verified. Signed by the validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who verified the work, and issued this.
    pub validator: Address,
    /// Round in which it was issued.
    pub round: u64,
    /// Chain time of issue, seconds.
    pub issued_at: u64,
    /// The work.
    pub work: Work,
}

impl Statement for Receipt {
    const TAG: &'static str = "receipt";
}

/// What a receipt is the receipt for. Each slot is settled at most once, whoever issues receipts for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// A challenge.
    Challenge {
        /// Round of the challenge.
        round: u64,
        /// Who gave it.
        validator: Address,
        /// Who passed it.
        worker: Address,
        /// Which one.
        index: u16,
    },
    /// A job.
    Job(B256),
    /// A worker's false answer to an order ([`WorkResult::order_id`]).
    Fault(B256),
}

impl Slot {
    /// The slot's name in payloads and in the ledger.
    pub fn hash(&self) -> B256 {
        keccak256(encode(self))
    }
}

/// Capacity that a receipt earns a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earned {
    /// Who earns it.
    pub worker: Address,
    /// Units of capacity.
    pub capacity: u128,
    /// Nobody pays for it: the work of a free job, or of one that never became complete.
    pub free: bool,
}

impl Receipt {
    /// What the receipt is for.
    pub fn slot(&self, domain: &Domain) -> Slot {
        match &self.work {
            Work::Job { request, .. } => Slot::Job(request.body.job_id(domain)),
            Work::Fault { answer, .. } => Slot::Fault(answer.result.body.order_id()),
            Work::Challenge(answer) => {
                let result = &answer.result.body;
                let (round, index) = match result.kind {
                    WorkKind::Challenge { round, index, .. } => (round, index),
                    // Refused by `verify_work`; harmless as a slot of its own.
                    WorkKind::Job { .. } => (self.round, u16::MAX),
                };
                Slot::Challenge {
                    round,
                    validator: self.validator,
                    worker: result.worker,
                    index,
                }
            }
        }
    }

    /// Whether this is the receipt of a job all of whose tasks are done.
    pub fn is_complete_job(&self) -> bool {
        matches!(&self.work, Work::Job { tasks, .. } if tasks.iter().all(Option::is_some))
    }

    /// The user whose free job this is, if it is one.
    pub fn free_job_of(&self) -> Option<Address> {
        match &self.work {
            Work::Job { request, .. } if request.body.payment == 0 => Some(request.body.user),
            _ => None,
        }
    }

    /// What it earns, each worker once for each of its results.
    pub fn earned(&self) -> Vec<Earned> {
        match &self.work {
            Work::Fault { .. } => Vec::new(),
            Work::Challenge(answer) => vec![Earned {
                worker: answer.result.body.worker,
                capacity: u128::from(challenge_kind().capacity(&answer.output)),
                free: false,
            }],
            Work::Job { request, tasks } => {
                let free = request.body.payment == 0 || !self.is_complete_job();
                let mut earned = Vec::new();
                for (task, done) in request.body.tasks.iter().zip(tasks) {
                    let Some(done) = done else { continue };
                    let capacity = u128::from(task.kind.capacity(&done.output));
                    earned.extend(done.by.iter().map(|result| Earned {
                        worker: result.body.worker,
                        capacity,
                        free,
                    }));
                }
                earned
            }
        }
    }

    /// The workers of a job's tasks that are done.
    pub fn job_workers(&self) -> impl Iterator<Item = Address> + '_ {
        let tasks = match &self.work {
            Work::Job { tasks, .. } => tasks.as_slice(),
            _ => &[],
        };
        let done = tasks.iter().flatten();
        done.flat_map(|done| done.by.iter().map(|result| result.body.worker))
    }

    /// The worker whose false result it is evidence of.
    pub fn faulty_worker(&self) -> Option<Address> {
        match &self.work {
            Work::Fault { answer, .. } => Some(answer.result.body.worker),
            _ => None,
        }
    }
}

/// What a challenge asks for, whatever its input.
fn challenge_kind() -> TaskKind {
    TaskKind::HashChain(HashChain {
        steps: CHALLENGE_STEPS,
    })
}

/// The task of a challenge. Its input differs for each challenge, so that no answer can be used twice.
pub fn challenge_task(
    domain: &Domain,
    validator: Address,
    worker: Address,
    kind: &WorkKind,
) -> Task {
    let mut hasher = Keccak256::new();
    hasher.update(b"smartnodes/1/challenge");
    hasher.update(domain.chain_id.to_be_bytes());
    hasher.update(domain.core);
    hasher.update(validator);
    hasher.update(worker);
    hasher.update(encode(kind));
    Task {
        kind: challenge_kind(),
        input: hasher.finalize().to_vec(),
    }
}
