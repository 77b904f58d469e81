//! Jobs: what a user asks for, how a validator carries it through, and the receipts that prove it.

pub mod belief;
pub mod challenges;
mod coordination;
pub mod coordinator;
pub mod ledger;
pub mod receipt;
mod recruit;
pub mod sync;
#[cfg(test)]
mod tests;
pub mod verify;

pub use coordination::Coordination;

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use smartnodes_evm::state_update::job_id;

use crate::signed::{Domain, Signed, Statement};
use crate::work::{NetworkName, NetworkNameError, Policy, Task, TaskError, TaskOutput};

/// Most tasks in one job.
pub const TASKS_MAX: usize = 64;
/// Most workers that one task is given to.
pub const REPLICATION_MAX: u8 = 7;
/// Most bytes that a job's tasks may have together.
pub const JOB_BYTES_MAX: usize = 400 * 1024;
/// Most bytes that a job's results may come to. With the tasks and the workers' signatures they fit into one response.
pub const JOB_RESULT_BYTES_MAX: usize = 3_200 * 1024;
/// Longest name of a network, in bytes.
pub const NETWORK_NAME_MAX: usize = 64;
/// Free jobs that one identity may have settled in a round.
pub const FREE_JOBS_PER_ROUND: usize = 2;

/// How the tasks of a job hang together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// They have nothing to do with each other and run side by side.
    #[default]
    Parallel,
    /// They are stages: each begins when the one before is done, and its input is that one's result.
    Pipeline,
}

/// What a user asks for. Signed by the user's wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Who asks, and pays.
    pub user: Address,
    /// The network whose workers are to run it.
    pub network: String,
    /// How the tasks hang together.
    pub shape: Shape,
    /// The tasks. In a pipeline only the first has an input of its own.
    pub tasks: Vec<Task>,
    /// How many workers execute each task, 1 to [`REPLICATION_MAX`]. Its result is the one on which more than half of
    /// them agree.
    pub replication: u8,
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
    /// No worker, or too many, for each task.
    #[error("replication is 1 to {REPLICATION_MAX} workers for each task, this job asks for {0}")]
    Replication(u8),
    /// A stage of a pipeline has an input besides the result of the stage before.
    #[error(
        "task {0}: a pipeline's later stages take the result before as input; leave theirs empty"
    )]
    StageInput(usize),
    /// The network's name names no workload.
    #[error(transparent)]
    Network(#[from] NetworkNameError),
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

    /// Checks all bounds that can be checked before a pipeline's later stages have their inputs.
    pub fn check(&self) -> Result<(), JobError> {
        if self.tasks.is_empty() || self.tasks.len() > TASKS_MAX {
            return Err(JobError::TaskCount(self.tasks.len()));
        }
        if self.network.is_empty() || self.network.len() > NETWORK_NAME_MAX {
            return Err(JobError::NetworkName(self.network.len()));
        }
        if self.replication == 0 || self.replication > REPLICATION_MAX {
            return Err(JobError::Replication(self.replication));
        }
        let network: NetworkName = self.network.parse()?;
        let bytes = self.tasks.iter().map(Task::bytes_max).sum();
        if bytes > JOB_BYTES_MAX {
            return Err(JobError::Bytes(bytes));
        }
        for (index, task) in self.tasks.iter().enumerate() {
            let later_stage = self.shape == Shape::Pipeline && index > 0;
            if later_stage && !task.input.is_empty() {
                return Err(JobError::StageInput(index));
            }
            let checked = if later_stage {
                task.check_parameters()
            } else {
                task.check()
            };
            checked.map_err(|error| JobError::Task { index, error })?;
            if task.network() != network.workload {
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

    /// How thoroughly the results are verified: what the network's name says.
    pub fn policy(&self) -> Policy {
        // `check` has refused other names.
        self.network
            .parse::<NetworkName>()
            .map_or(Policy::THOROUGH, |network| network.policy)
    }

    /// More than half of the workers of a task.
    pub fn majority(&self) -> usize {
        usize::from(self.replication) / 2 + 1
    }

    /// The task at `index` as it is executed: a pipeline's later stage gets the result `before` it as input. `None` if
    /// there is no such task, or its input is not there yet or too large.
    pub fn task(&self, index: usize, before: Option<&TaskOutput>) -> Option<Task> {
        let task = self.tasks.get(index)?.clone();
        if self.shape == Shape::Parallel || index == 0 {
            return Some(task);
        }
        let task = Task {
            input: before?.bytes()?.to_vec(),
            ..task
        };
        task.check().is_ok().then_some(task)
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
    /// All tasks are done and verified.
    Complete {
        /// Where the result of each task is to be had, in the order of the request.
        results: Vec<Delivery>,
    },
    /// Given up.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Where the result of a task is to be had: any of its workers, or a validator that holds the job's receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// [`TaskOutput::digest`] of the result.
    pub digest: B256,
    /// The workers that agree on it.
    pub workers: Vec<Address>,
}
