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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::receipt::WorkKind;
    use crate::testing::{answer, domain, job_request, wallet};

    fn store() -> Store {
        Store::open(redb::backends::InMemoryBackend::new()).expect("an empty database opens")
    }

    async fn kept(request: &JobRequest, id: B256, task: u16, worker: u8) -> KeptAnswer {
        let kind = WorkKind::Job {
            job: id,
            task,
            user: request.user,
        };
        let task = request.tasks[usize::from(task)].clone();
        let answer = answer(wallet(1).address(), &wallet(worker), kind, task).await;
        KeptAnswer {
            answer,
            is_false: worker == 13,
        }
    }

    #[tokio::test]
    async fn open_jobs_and_their_answers_survive_a_restart() {
        let store = store();
        let request = job_request(&wallet(9), 1, 0, 2);
        let id = request.body.job_id(&domain());
        let before = Coordination::open(store.clone()).expect("opens");
        assert!(before.admit(id, request.clone(), 4).expect("stored"));
        for (task, worker) in [(0, 11), (0, 13), (1, 12)] {
            let answer = kept(&request.body, id, task, worker).await;
            before.keep(id, task, answer).expect("stored");
        }
        let after = Coordination::open(store).expect("opens");
        assert_eq!(after.ids(), [id]);
        assert_eq!(after.job(id).map(|job| job.round), Some(4));
        let answers = after.answers(id, 0);
        assert_eq!(answers.len(), 2);
        assert_eq!(answers.iter().filter(|kept| kept.is_false).count(), 1);
        assert_eq!(after.answers(id, 1).len(), 1);
        assert_eq!(after.free_jobs(wallet(9).address(), 4), 1);
    }

    #[tokio::test]
    async fn a_closed_job_leaves_no_rows_and_a_failed_one_its_reason_for_a_time() {
        let store = store();
        let jobs = Coordination::open(store.clone()).expect("opens");
        let ids: Vec<B256> = [1, 2]
            .map(|nonce| {
                let request = job_request(&wallet(9), nonce, 0, 1);
                let id = request.body.job_id(&domain());
                assert!(jobs.admit(id, request, 4).expect("stored"));
                id
            })
            .to_vec();
        let request = job_request(&wallet(9), 1, 0, 1).body;
        let answer = kept(&request, ids[0], 0, 11).await;
        jobs.keep(ids[0], 0, answer).expect("stored");
        jobs.close(ids[0]).expect("stored");
        jobs.give_up(ids[1], "no worker").expect("stored");
        jobs.give_up(ids[1], "another reason").expect("stored");
        jobs.close(ids[1]).expect("stored");
        assert!(jobs.ids().is_empty());
        let rows = store
            .scan::<ciborium::Value>(Table::Jobs)
            .expect("reads")
            .len();
        assert_eq!(rows, 1);
        let reason = |jobs: &Coordination| {
            let job = jobs.known(ids[1]).expect("reads")?;
            job.failed
        };
        assert_eq!(reason(&jobs).as_deref(), Some("no worker"));
        jobs.forget_failed(4 + FAILED_JOBS_KEPT_ROUNDS)
            .expect("stored");
        assert!(reason(&jobs).is_some());
        jobs.forget_failed(5 + FAILED_JOBS_KEPT_ROUNDS)
            .expect("stored");
        assert!(reason(&jobs).is_none());
        let again = Coordination::open(store).expect("opens");
        assert!(again.ids().is_empty());
    }
}
