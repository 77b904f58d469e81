//! Receipts: what a worker did for whom, signed by both, with the proof in it.
//!
//! A worker signs its result ([`WorkResult`]); the validator that verified it signs the [`Receipt`] and gossips it.
//! Every other validator checks the signatures **and the proof** again, so that a proposal rests on nothing that
//! somebody merely says.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, Keccak256, keccak256};
use serde::{Deserialize, Serialize};

use super::{JobError, JobRequest};
use crate::signed::{Domain, SignatureError, Signed, Statement, encode};
use crate::work::hash_chain::HashChain;
use crate::work::{Policy, Task, TaskError, TaskKind, TaskOutput};

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

/// A worker's result. Signed by the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkResult {
    /// The order that it answers.
    pub order: WorkOrder,
    /// Output and proof.
    pub output: TaskOutput,
}

impl Statement for WorkResult {
    const TAG: &'static str = "work-result";
}

/// The work behind a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// A passed challenge.
    Challenge(Signed<WorkResult>),
    /// A completed job.
    Job {
        /// What the user asked for.
        request: Signed<JobRequest>,
        /// One result for each task, in order.
        results: Vec<Signed<WorkResult>>,
    },
}

/// A validator's word that work was done, with the evidence. Signed by the validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who verified the work first.
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
}

impl Slot {
    /// The slot's name in payloads and in the ledger.
    pub fn hash(&self) -> B256 {
        keccak256(encode(self))
    }
}

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The validator's or a worker's signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The job request in it is wrong.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A proof in it does not hold.
    #[error("the proof of {worker} does not hold: {error}")]
    Proof {
        /// Whose work.
        worker: Address,
        /// What is wrong.
        error: TaskError,
    },
    /// The parts do not belong together.
    #[error("the receipt's parts do not belong together: {0}")]
    Mismatch(&'static str),
    /// Dated ahead of chain time.
    #[error("issued at {issued_at}, but chain time is {now}")]
    FromTheFuture {
        /// Date of issue, chain seconds.
        issued_at: u64,
        /// Chain time of the check, seconds.
        now: u64,
    },
}

impl Receipt {
    /// What the receipt is for.
    pub fn slot(&self, domain: &Domain) -> Slot {
        match &self.work {
            Work::Job { request, .. } => Slot::Job(request.body.job_id(domain)),
            Work::Challenge(result) => {
                let (round, index) = match result.body.order.kind {
                    WorkKind::Challenge { round, index, .. } => (round, index),
                    // Refused by `verify`; harmless as a slot of its own.
                    WorkKind::Job { .. } => (self.round, u16::MAX),
                };
                Slot::Challenge {
                    round,
                    validator: self.validator,
                    worker: result.body.order.worker,
                    index,
                }
            }
        }
    }

    /// The signed results in it.
    pub fn results(&self) -> &[Signed<WorkResult>] {
        match &self.work {
            Work::Challenge(result) => std::slice::from_ref(result),
            Work::Job { results, .. } => results,
        }
    }

    /// The user whose free job this is, if it is one.
    pub fn free_job_of(&self) -> Option<Address> {
        match &self.work {
            Work::Job { request, .. } if request.body.payment == 0 => Some(request.body.user),
            _ => None,
        }
    }

    /// Units of capacity earned, for each worker in it.
    pub fn capacities(&self) -> impl Iterator<Item = (Address, u128)> + '_ {
        self.results().iter().map(|result| {
            let WorkResult { order, output } = &result.body;
            (order.worker, u128::from(order.task.capacity(output)))
        })
    }
}

/// Checks one signed result: the worker's signature, and the proof at samples chosen by `seed`.
pub async fn verify_result(
    result: &Signed<WorkResult>,
    domain: &Domain,
    seed: [u8; 32],
) -> Result<(), ReceiptError> {
    let order = &result.body.order;
    result.verify(domain, order.worker)?;
    order
        .task
        .verify(&result.body.output, seed, &Policy::default())
        .await
        .map_err(|error| ReceiptError::Proof {
            worker: order.worker,
            error,
        })
}

/// Checks all of a receipt that needs no chain. `seed` chooses the samples of the proofs and must be unknown to
/// whoever made them.
pub async fn verify_receipt(
    receipt: &Signed<Receipt>,
    domain: &Domain,
    now: u64,
    seed: [u8; 32],
) -> Result<(), ReceiptError> {
    let body = &receipt.body;
    receipt.verify(domain, body.validator)?;
    if body.issued_at > now + CLOCK_TOLERANCE_SECONDS {
        return Err(ReceiptError::FromTheFuture {
            issued_at: body.issued_at,
            now,
        });
    }
    match &body.work {
        Work::Challenge(result) => {
            let order = &result.body.order;
            let WorkKind::Challenge { round, index, .. } = order.kind else {
                return Err(ReceiptError::Mismatch(
                    "the result is not that of a challenge",
                ));
            };
            if order.validator != body.validator {
                return Err(ReceiptError::Mismatch(
                    "the challenge was another validator's",
                ));
            }
            if round != body.round {
                return Err(ReceiptError::Mismatch(
                    "the challenge was given in another round",
                ));
            }
            if index >= CHALLENGES_PER_ROUND {
                return Err(ReceiptError::Mismatch("more challenges than a round has"));
            }
            if order.task != challenge_task(domain, body.validator, order.worker, &order.kind) {
                return Err(ReceiptError::Mismatch(
                    "the task is not the one that a challenge gives",
                ));
            }
        }
        Work::Job { request, results } => {
            request.check(domain)?;
            let job = request.body.job_id(domain);
            if results.len() != request.body.tasks.len() {
                return Err(ReceiptError::Mismatch("not one result for each task"));
            }
            let mut workers = BTreeSet::new();
            for (index, (result, task)) in results.iter().zip(&request.body.tasks).enumerate() {
                let order = &result.body.order;
                let is_this_task = matches!(order.kind, WorkKind::Job { job: of, task: at } if of == job && usize::from(at) == index);
                if !is_this_task || order.task != *task {
                    return Err(ReceiptError::Mismatch("a result answers another task"));
                }
                if order.validator != body.validator {
                    return Err(ReceiptError::Mismatch(
                        "a task was ordered by another validator",
                    ));
                }
                workers.insert(order.worker);
            }
            if workers.contains(&request.body.user) {
                return Err(ReceiptError::Mismatch("the user works for itself"));
            }
        }
    }
    for result in body.results() {
        verify_result(result, domain, seed).await?;
    }
    Ok(())
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
        kind: TaskKind::HashChain(HashChain {
            steps: CHALLENGE_STEPS,
        }),
        input: hasher.finalize().to_vec(),
    }
}
