//! Jobs: what a user asks for, how a validator carries it through, and the receipts that prove it.

pub mod challenges;
pub mod coordinator;
pub mod ledger;
pub mod receipt;
pub mod sync;
#[cfg(test)]
mod tests;

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use smartnodes_evm::state_update::job_id;

use crate::signed::{Domain, Signed, Statement};
use crate::work::{Task, TaskError, TaskOutput};

/// Most tasks in one job.
pub const TASKS_MAX: usize = 64;
/// Most bytes that a job's tasks may have together. A receipt has each of them twice, in the request and in the order.
pub const JOB_BYTES_MAX: usize = 400 * 1024;
/// Most bytes that a job's results may come to. With the tasks they fit into one response.
pub const JOB_RESULT_BYTES_MAX: usize = 3_200 * 1024;
/// Longest name of a network, in bytes.
pub const NETWORK_NAME_MAX: usize = 64;
/// Free jobs that one identity may have settled in a round.
pub const FREE_JOBS_PER_ROUND: usize = 2;

/// What a user asks for. Signed by the user's wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Who asks, and pays.
    pub user: Address,
    /// The network whose workers are to run it.
    pub network: String,
    /// Independent tasks, each run by one worker.
    pub tasks: Vec<Task>,
    /// SNO wei escrowed on chain under the job's id; zero for a free job.
    pub payment: u128,
    /// Tells two otherwise equal requests apart.
    pub nonce: u64,
}

impl Statement for JobRequest {
    const TAG: &'static str = "job-request";
}

/// Why a job request is refused on its face.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// No tasks, or too many.
    #[error("a job has 1 to {TASKS_MAX} tasks, this one has {0}")]
    TaskCount(usize),
    /// Its tasks are too large.
    #[error(
        "the job's tasks have {0} bytes, together at most {JOB_BYTES_MAX} are allowed; make several jobs of it"
    )]
    Bytes(usize),
    /// Its results may be too large.
    #[error(
        "the job's results may have {0} bytes, together at most {JOB_RESULT_BYTES_MAX} are allowed; make several jobs of it"
    )]
    ResultBytes(usize),
    /// A network's name is too long or empty.
    #[error("the network's name must have 1 to {NETWORK_NAME_MAX} bytes, this one has {0}")]
    NetworkName(usize),
    /// A task is out of bounds.
    #[error("task {index}: {error}")]
    Task {
        /// Index of the task.
        index: usize,
        /// What is wrong with it.
        error: TaskError,
    },
    /// A task belongs to another network.
    #[error("task {index} is for the network {found:?}, the job is for {expected:?}")]
    WrongNetwork {
        /// Index of the task.
        index: usize,
        /// The task's network.
        found: String,
        /// The job's network.
        expected: String,
    },
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] crate::signed::SignatureError),
}

impl JobRequest {
    /// `jobHash` for `SmartnodesCore.requestJob`: the request's digest.
    pub fn job_hash(&self, domain: &Domain) -> B256 {
        self.digest(domain)
    }

    /// The job's id, on chain and off: bound to its owner and content.
    pub fn job_id(&self, domain: &Domain) -> B256 {
        job_id(
            domain.chain_id,
            domain.core,
            self.user,
            self.job_hash(domain),
        )
    }

    /// Checks all bounds.
    pub fn check(&self) -> Result<(), JobError> {
        if self.tasks.is_empty() || self.tasks.len() > TASKS_MAX {
            return Err(JobError::TaskCount(self.tasks.len()));
        }
        if self.network.is_empty() || self.network.len() > NETWORK_NAME_MAX {
            return Err(JobError::NetworkName(self.network.len()));
        }
        let bytes = self.tasks.iter().map(Task::bytes_max).sum();
        if bytes > JOB_BYTES_MAX {
            return Err(JobError::Bytes(bytes));
        }
        for (index, task) in self.tasks.iter().enumerate() {
            task.check()
                .map_err(|error| JobError::Task { index, error })?;
            if task.network() != self.network {
                return Err(JobError::WrongNetwork {
                    index,
                    found: task.network().to_owned(),
                    expected: self.network.clone(),
                });
            }
        }
        let bytes = self.tasks.iter().map(Task::result_bytes_max).sum();
        if bytes > JOB_RESULT_BYTES_MAX {
            return Err(JobError::ResultBytes(bytes));
        }
        Ok(())
    }
}

impl Signed<JobRequest> {
    /// Checks bounds and signature.
    pub fn check(&self, domain: &Domain) -> Result<(), JobError> {
        self.body.check()?;
        self.verify(domain, self.body.user)?;
        Ok(())
    }
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    /// Admitted; no task is done yet.
    Pending,
    /// Some tasks are done.
    Active {
        /// Tasks done.
        done: u16,
        /// Tasks in all.
        total: u16,
    },
    /// All tasks are done and verified; one output for each.
    Complete {
        /// In the order of the request's tasks.
        outputs: Vec<TaskOutput>,
    },
    /// Given up.
    Failed {
        /// Why.
        reason: String,
    },
}
