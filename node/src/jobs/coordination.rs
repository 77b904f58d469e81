//! The jobs that a validator coordinates: in memory while they are open, and in the store before anyone acts on them.
//!
//! A job has one row, and one for each worker's answer to one of its tasks; the answers are in the store only, as they may
//! be large. Once the job has its receipt, which says it all, the rows go; of a job that ended without one a short note
//! stays for a time, so that its user can be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, B256};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::JobRequest;
use super::receipt::Answer;
use crate::signed::Signed;
use crate::store::{Store, StoreError, Table};

/// Jobs that one validator runs at once.
pub(super) const OPEN_JOBS_MAX: usize = 1_024;
/// Bytes that the requests and the results of the jobs may come to that one validator runs at once.
const OPEN_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Rounds for which the end of a job that failed is remembered.
const FAILED_JOBS_KEPT_ROUNDS: u64 = 16;
/// Most jobs that failed that are remembered. The oldest give way.
const FAILED_JOBS_MAX: usize = 4_096;

/// A job as the coordinating validator keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) request: Signed<JobRequest>,
    /// Round in which it was admitted.
    pub(super) round: u64,
    /// Why it is given up, once it is.
    pub(super) failed: Option<String>,
}

impl Job {
    /// The most bytes that it may take in memory: its request, and one result for each of its tasks.
    fn bytes_max(&self) -> usize {
        let tasks = &self.request.body.tasks;
        tasks
            .iter()
            .map(|task| task.bytes_max() + task.result_bytes_max())
            .sum()
    }
}

/// What is remembered of a job that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    /// Whose job it was.
    pub(super) user: Address,
    /// Round in which it was admitted.
    round: u64,
    /// Why it failed.
    pub(super) reason: String,
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
    /// Rings when the job is called off.
    called_off: Arc<Notify>,
}

/// The jobs that this validator coordinates.
#[derive(Debug)]
pub struct Coordination {
    store: Store,
    open: Mutex<BTreeMap<B256, Open>>,
    /// Jobs that failed, by the round in which they were admitted.
    failed: Mutex<BTreeSet<(u64, B256)>>,
    pub(super) admitted: Notify,
}

const JOB: &[u8] = b"coordinated/";
const ANSWER: &[u8] = b"answer/";
const FAILED: &[u8] = b"failed/";

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

/// Where the answers to one task are.
fn answers_prefix(job: B256, task: u16) -> Vec<u8> {
    [ANSWER, job.as_slice(), &task.to_be_bytes()].concat()
}

fn failed_key(job: B256) -> Vec<u8> {
    [FAILED, job.as_slice()].concat()
}

/// The job that a key ends with.
fn job_of(key: &[u8], prefix: &[u8]) -> Option<B256> {
    B256::try_from(key.strip_prefix(prefix)?).ok()
}

impl Coordination {
    /// Reads the open jobs from the store.
    pub fn open(store: Store) -> Result<Self, StoreError> {
        let mut open = BTreeMap::new();
        store.visit(Table::Jobs, JOB, |key, job: Job| {
            if let Some(id) = job_of(key, JOB) {
                let called_off = Arc::default();
                open.insert(id, Open { job, called_off });
            }
        })?;
        let mut failed = BTreeSet::new();
        store.visit(Table::Jobs, FAILED, |key, note: Failed| {
            failed.extend(job_of(key, FAILED).map(|id| (note.round, id)));
        })?;
        Ok(Self {
            store,
            open: Mutex::new(open),
            failed: Mutex::new(failed),
            admitted: Notify::new(),
        })
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<B256, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, BTreeSet<(u64, B256)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ids of the open jobs.
    pub(super) fn ids(&self) -> Vec<B256> {
        self.jobs().keys().copied().collect()
    }

    /// An open job.
    pub(super) fn job(&self, id: B256) -> Option<Job> {
        self.jobs().get(&id).map(|open| open.job.clone())
    }

    /// What is remembered of a job that failed here.
    pub(super) fn failure(&self, id: B256) -> Result<Option<Failed>, StoreError> {
        self.store.get(Table::Jobs, &failed_key(id))
    }

    /// Rings when the job is called off.
    pub(super) fn called_off(&self, id: B256) -> Option<Arc<Notify>> {
        self.jobs().get(&id).map(|open| open.called_off.clone())
    }

    /// Whether a job is open, and nobody has given it up.
    pub(super) fn is_wanted(&self, id: B256) -> bool {
        self.jobs()
            .get(&id)
            .is_some_and(|open| open.job.failed.is_none())
    }

    /// Admits a job; `false` if there are too many.
    pub(super) fn admit(
        &self,
        id: B256,
        request: Signed<JobRequest>,
        round: u64,
    ) -> Result<bool, StoreError> {
        let mut jobs = self.jobs();
        let job = Job {
            request,
            round,
            failed: None,
        };
        let bytes: usize = jobs.values().map(|open| open.job.bytes_max()).sum();
        if jobs.len() >= OPEN_JOBS_MAX || bytes + job.bytes_max() > OPEN_BYTES_MAX {
            return Ok(false);
        }
        self.store.write(|batch| {
            // It may have failed before, and its user wants it tried again.
            batch.delete(Table::Jobs, &failed_key(id))?;
            batch.put(Table::Jobs, &job_key(id), &job)
        })?;
        self.failed().retain(|(_, of)| *of != id);
        let called_off = Arc::default();
        jobs.insert(id, Open { job, called_off });
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

    /// The answers to a task so far, in the order of the workers.
    pub(super) fn answers(&self, id: B256, task: u16) -> Result<Vec<KeptAnswer>, StoreError> {
        let rows = self
            .store
            .scan_prefix(Table::Jobs, &answers_prefix(id, task))?;
        Ok(rows.into_iter().map(|(_, kept)| kept).collect())
    }

    /// Keeps an answer, or what has become known about it.
    pub(super) fn keep(&self, id: B256, task: u16, answer: KeptAnswer) -> Result<(), StoreError> {
        let worker = answer.answer.result.body.worker;
        // Held while it is written: a job that is closed meanwhile leaves no answer behind.
        let jobs = self.jobs();
        if jobs.contains_key(&id) {
            let key = answer_key(id, task, worker);
            self.store.put(Table::Jobs, &key, &answer)?;
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

    /// Ends a job: its receipt, if it has one, is in the ledger. If it failed that is remembered, and old failures are
    /// forgotten.
    pub(super) fn close(&self, id: B256, round: u64) -> Result<(), StoreError> {
        let mut jobs = self.jobs();
        let Some(open) = jobs.get(&id) else {
            return Ok(());
        };
        let note = open.job.failed.as_ref().map(|reason| Failed {
            user: open.job.request.body.user,
            round: open.job.round,
            reason: reason.clone(),
        });
        let mut answers = Vec::new();
        let prefix = [ANSWER, id.as_slice()].concat();
        self.store
            .visit(Table::Jobs, &prefix, |key, _: IgnoredAny| {
                answers.push(key.to_vec());
            })?;
        let mut failed = self.failed();
        let old = failed
            .iter()
            .take_while(|(of, _)| of.saturating_add(FAILED_JOBS_KEPT_ROUNDS) < round)
            .count();
        let too_many = (failed.len() - old).saturating_sub(FAILED_JOBS_MAX - 1);
        let forgotten: Vec<(u64, B256)> = failed.iter().take(old + too_many).copied().collect();
        self.store.write(|batch| {
            batch.delete(Table::Jobs, &job_key(id))?;
            for key in &answers {
                batch.delete(Table::Jobs, key)?;
            }
            for (_, old) in &forgotten {
                batch.delete(Table::Jobs, &failed_key(*old))?;
            }
            match &note {
                Some(note) => batch.put(Table::Jobs, &failed_key(id), note),
                None => Ok(()),
            }
        })?;
        for old in &forgotten {
            failed.remove(old);
        }
        failed.extend(note.map(|note| (note.round, id)));
        jobs.remove(&id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jobs::receipt::WorkKind;
    use crate::store::rows::{config, damaged, damages, rows_of};
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
        let answers = after.answers(id, 0).expect("reads");
        assert_eq!(answers.len(), 2);
        assert_eq!(answers.iter().filter(|kept| kept.is_false).count(), 1);
        assert_eq!(after.answers(id, 1).expect("reads").len(), 1);
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
        jobs.close(ids[0], 4).expect("stored");
        jobs.give_up(ids[1], "no worker").expect("stored");
        jobs.give_up(ids[1], "another reason").expect("stored");
        jobs.close(ids[1], 4).expect("stored");
        assert!(jobs.ids().is_empty());
        let rows = || {
            let rows = store.scan::<ciborium::Value>(Table::Jobs);
            rows.expect("reads").len()
        };
        assert_eq!(rows(), 1);
        let reason = |jobs: &Coordination| {
            let note = jobs.failure(ids[1]).expect("reads")?;
            Some(note.reason)
        };
        let jobs = Coordination::open(store.clone()).expect("opens");
        assert!(jobs.ids().is_empty());
        assert_eq!(reason(&jobs).as_deref(), Some("no worker"));
        let end_another = |round: u64| {
            let request = job_request(&wallet(9), 100 + round, 0, 1);
            let id = request.body.job_id(&domain());
            assert!(jobs.admit(id, request, round).expect("stored"));
            jobs.close(id, round).expect("stored");
        };
        end_another(4 + FAILED_JOBS_KEPT_ROUNDS);
        assert!(reason(&jobs).is_some());
        end_another(5 + FAILED_JOBS_KEPT_ROUNDS);
        assert!(reason(&jobs).is_none());
        assert_eq!(rows(), 0);
    }

    #[tokio::test]
    async fn whoever_submits_and_calls_off_without_end_fills_no_disk() {
        let store = store();
        let jobs = Coordination::open(store.clone()).expect("opens");
        let request = job_request(&wallet(9), 1, 0, 1);
        for nonce in 0..FAILED_JOBS_MAX as u64 + 10 {
            let id = B256::from(alloy::primitives::U256::from(nonce));
            assert!(jobs.admit(id, request.clone(), nonce % 3).expect("stored"));
            jobs.give_up(id, "called off").expect("stored");
            jobs.close(id, 3).expect("stored");
        }
        let rows = store.scan::<IgnoredAny>(Table::Jobs).expect("reads");
        assert_eq!(rows.len(), FAILED_JOBS_MAX);
        assert!(rows.iter().all(|(key, _)| key.starts_with(FAILED)));
    }

    #[tokio::test]
    async fn jobs_whose_results_may_be_too_large_together_wait() {
        let jobs = Coordination::open(store()).expect("opens");
        let large = |nonce: u64| {
            let mut request = job_request(&wallet(9), nonce, 0, 1);
            request.body.tasks[0].input = vec![0; 64 * 1024 * 1024];
            request
        };
        let admitted = (0..9).filter(|nonce| {
            let id = B256::from(alloy::primitives::U256::from(*nonce));
            jobs.admit(id, large(*nonce), 1).expect("stored")
        });
        assert_eq!(admitted.count(), 3);
        let small = job_request(&wallet(9), 100, 0, 1);
        assert!(jobs.admit(B256::repeat_byte(1), small, 1).expect("stored"));
    }

    /// A job with an answer, one that is given up, and one that has failed: gone through by whoever has them open.
    #[tokio::test]
    async fn damaged_jobs_are_read_or_refused() {
        let store = store();
        let jobs = Coordination::open(store.clone()).expect("opens");
        let requests = [1, 2, 3].map(|nonce| job_request(&wallet(9), nonce, 0, 1));
        let ids = requests
            .each_ref()
            .map(|request| request.body.job_id(&domain()));
        for (id, request) in ids.iter().zip(&requests) {
            assert!(jobs.admit(*id, request.clone(), 4).expect("stored"));
        }
        let answer = kept(&requests[0].body, ids[0], 0, 11).await;
        jobs.keep(ids[0], 0, answer).expect("stored");
        for id in &ids[1..] {
            jobs.give_up(*id, "no worker").expect("stored");
        }
        jobs.close(ids[2], 4).expect("stored");
        let rows = rows_of(&store);
        assert_eq!(rows.len(), 4);
        proptest!(config(), |(damages in damages())| {
            let Ok(jobs) = Coordination::open(damaged(&rows, &damages)) else {
                return Ok(());
            };
            for id in jobs.ids().into_iter().chain(ids) {
                let _ = jobs.answers(id, 0);
                let _ = jobs.failure(id);
                prop_assert_eq!(jobs.job(id).is_some(), jobs.called_off(id).is_some());
            }
            let another = job_request(&wallet(9), 4, 0, 1);
            let _ = jobs.admit(B256::repeat_byte(1), another, 5);
            for id in jobs.ids() {
                let _ = jobs.give_up(id, "damaged");
                let closed = jobs.close(id, u64::MAX);
                prop_assert_eq!(closed.is_ok(), jobs.job(id).is_none());
            }
        });
    }
}
