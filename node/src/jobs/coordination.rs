//! The jobs that a validator coordinates: in memory while they are open, and in the store before anyone acts on them.
//!
//! A job has one row, and one for each worker's answer to one of its tasks. Once it has its receipt, which says it all,
//! the rows go; of a job that failed the first one stays for a time, so that its user can be told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::JobRequest;
use super::receipt::Answer;
use crate::signed::Signed;
use crate::store::{Store, StoreError, Table};

/// Jobs that one validator runs at once.
pub(super) const OPEN_JOBS_MAX: usize = 1_024;
/// Rounds for which the end of a job that failed is remembered.
const FAILED_JOBS_KEPT_ROUNDS: u64 = 16;

/// A job as the coordinating validator keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) request: Signed<JobRequest>,
    /// Round in which it was admitted.
    pub(super) round: u64,
    /// Why it is given up, once it is.
    pub(super) failed: Option<String>,
    /// Nothing more happens to it.
    pub(super) closed: bool,
}

/// An answer that is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeptAnswer {
    pub(super) answer: Answer,
    /// It has been found to be false, and is the worker's fault.
    pub(super) is_false: bool,
}

/// A job at work.
#[derive(Clone, Debug)]
struct Open {
    job: Job,
    /// By task and worker.
    answers: BTreeMap<(u16, Address), KeptAnswer>,
    /// Rings when the job is called off.
    called_off: Arc<Notify>,
}

/// The jobs that this validator coordinates.
#[derive(Debug)]
pub struct Coordination {
    store: Store,
    open: Mutex<BTreeMap<B256, Open>>,
    pub(super) admitted: Notify,
}

const JOB: &[u8] = b"coordinated/";
const ANSWER: &[u8] = b"answer/";

fn job_key(job: B256) -> Vec<u8> {
    [JOB, job.as_slice()].concat()
}

fn answer_key(job: B256, task: u16, worker: Address) -> Vec<u8> {
    [
        ANSWER,
        job.as_slice(),
        &task.to_be_bytes(),
        worker.as_slice(),
    ]
    .concat()
}

/// Job, task and worker of an answer's key.
fn parse_answer_key(key: &[u8]) -> Option<(B256, u16, Address)> {
    let key = key.strip_prefix(ANSWER)?;
    let (job, key) = key.split_at_checked(32)?;
    let (task, worker) = key.split_at_checked(2)?;
    Some((
        B256::try_from(job).ok()?,
        u16::from_be_bytes(task.try_into().ok()?),
        Address::try_from(worker).ok()?,
    ))
}

impl Coordination {
    /// Reads the open jobs from the store.
    pub fn open(store: Store) -> Result<Self, StoreError> {
        let mut open: BTreeMap<B256, Open> = BTreeMap::new();
        for (key, job) in store.scan_prefix::<Job>(Table::Jobs, JOB)? {
            if let Ok(id) = B256::try_from(&key[JOB.len()..])
                && !job.closed
            {
                let entry = Open {
                    job,
                    answers: BTreeMap::new(),
                    called_off: Arc::default(),
                };
                open.insert(id, entry);
            }
        }
        for (key, answer) in store.scan_prefix::<KeptAnswer>(Table::Jobs, ANSWER)? {
            if let Some((job, task, worker)) = parse_answer_key(&key)
                && let Some(entry) = open.get_mut(&job)
            {
                entry.answers.insert((task, worker), answer);
            }
        }
        Ok(Self {
            store,
            open: Mutex::new(open),
            admitted: Notify::new(),
        })
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<B256, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids of the open jobs.
    pub(super) fn ids(&self) -> Vec<B256> {
        self.jobs().keys().copied().collect()
    }

    /// An open job.
    pub(super) fn job(&self, id: B256) -> Option<Job> {
        self.jobs().get(&id).map(|open| open.job.clone())
    }

    /// A job that was coordinated here, open or ended without a receipt.
    pub(super) fn known(&self, id: B256) -> Result<Option<Job>, StoreError> {
        self.store.get(Table::Jobs, &job_key(id))
    }

    /// Rings when the job is called off.
    pub(super) fn called_off(&self, id: B256) -> Option<Arc<Notify>> {
        self.jobs().get(&id).map(|open| open.called_off.clone())
    }

    /// Admits a job; `false` if there are too many.
    pub(super) fn admit(
        &self,
        id: B256,
        request: Signed<JobRequest>,
        round: u64,
    ) -> Result<bool, StoreError> {
        let mut jobs = self.jobs();
        if jobs.len() >= OPEN_JOBS_MAX {
            return Ok(false);
        }
        let job = Job {
            request,
            round,
            failed: None,
            closed: false,
        };
        self.store.put(Table::Jobs, &job_key(id), &job)?;
        let entry = Open {
            job,
            answers: BTreeMap::new(),
            called_off: Arc::default(),
        };
        jobs.insert(id, entry);
        self.admitted.notify_one();
        Ok(true)
    }

    /// Open free jobs of a user that were admitted in `round`.
    pub(super) fn free_jobs(&self, user: Address, round: u64) -> usize {
        let jobs = self.jobs();
        let free = jobs.values().filter(|open| {
            let request = &open.job.request.body;
            open.job.round == round && request.user == user && request.payment == 0
        });
        free.count()
    }

    /// The answers to a task so far, by worker.
    pub(super) fn answers(&self, id: B256, task: u16) -> Vec<KeptAnswer> {
        let jobs = self.jobs();
        let Some(open) = jobs.get(&id) else {
            return Vec::new();
        };
        let range = (task, Address::ZERO)..=(task, Address::repeat_byte(0xff));
        open.answers
            .range(range)
            .map(|(_, kept)| kept.clone())
            .collect()
    }

    /// Keeps an answer, or what has become known about it.
    pub(super) fn keep(&self, id: B256, task: u16, answer: KeptAnswer) -> Result<(), StoreError> {
        let worker = answer.answer.result.body.worker;
        let mut jobs = self.jobs();
        if let Some(open) = jobs.get_mut(&id) {
            let key = answer_key(id, task, worker);
            self.store.put(Table::Jobs, &key, &answer)?;
            open.answers.insert((task, worker), answer);
        }
        Ok(())
    }

    /// Notes that a job is given up. Its driver ends it.
    pub(super) fn give_up(&self, id: B256, reason: &str) -> Result<(), StoreError> {
        let mut jobs = self.jobs();
        if let Some(open) = jobs.get_mut(&id)
            && open.job.failed.is_none()
        {
            let job = Job {
                failed: Some(reason.to_owned()),
                ..open.job.clone()
            };
            self.store.put(Table::Jobs, &job_key(id), &job)?;
            open.job = job;
            open.called_off.notify_one();
        }
        Ok(())
    }

    /// Ends a job: its receipt, if it has one, is in the ledger.
    pub(super) fn close(&self, id: B256) -> Result<(), StoreError> {
        let mut jobs = self.jobs();
        let Some(open) = jobs.get(&id) else {
            return Ok(());
        };
        let job = Job {
            closed: true,
            ..open.job.clone()
        };
        self.store.write(|batch| {
            for (task, worker) in open.answers.keys() {
                batch.delete(Table::Jobs, &answer_key(id, *task, *worker))?;
            }
            if job.failed.is_some() {
                batch.put(Table::Jobs, &job_key(id), &job)
            } else {
                batch.delete(Table::Jobs, &job_key(id))
            }
        })?;
        jobs.remove(&id);
        Ok(())
    }

    /// Forgets jobs that failed long before `round`.
    pub(super) fn forget_failed(&self, round: u64) -> Result<(), StoreError> {
        let old: Vec<Vec<u8>> = self
            .store
            .scan_prefix::<Job>(Table::Jobs, JOB)?
            .into_iter()
            .filter(|(_, job)| job.closed && job.round + FAILED_JOBS_KEPT_ROUNDS < round)
            .map(|(key, _)| key)
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        self.store.write(|batch| {
            old.iter()
                .try_for_each(|key| batch.delete(Table::Jobs, key))
        })
    }
}
