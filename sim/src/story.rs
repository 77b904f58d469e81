//! What the scenario's people have done so far: jobs, transfers. It outlives crashes of their hosts, as a person's memory
//! does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use smartnodes_scenarios::{HostName, Scenario};

/// How far something on the plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Its time has not come.
    Waiting,
    /// Begun, perhaps by a process that has crashed since.
    Begun,
    /// Ended as planned.
    Done,
    /// Ended otherwise.
    Failed,
}

/// A job: whose, and which of theirs, from 0.
pub type JobId = (HostName, usize);

/// The plan and its progress. Clones share it.
#[derive(Debug, Clone)]
pub struct Story(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    jobs: BTreeMap<JobId, Progress>,
    transfers: BTreeMap<usize, Progress>,
}

/// Something that a run lacks to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What kind of thing: the same in runs that lack the same in other numbers.
    pub kind: String,
    /// What exactly.
    pub words: String,
}

impl Lack {
    /// Something of a kind.
    pub fn new(kind: impl Into<String>, words: impl Into<String>) -> Lack {
        Lack {
            kind: kind.into(),
            words: words.into(),
        }
    }
}

/// Jobs of a run by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounts {
    /// Begun by their users.
    pub submitted: u64,
    /// Ended with a result that the user has verified.
    pub completed: u64,
    /// Ended without.
    pub failed: u64,
}

impl Story {
    /// The plan of a scenario, untouched.
    pub fn new(scenario: &Scenario) -> Story {
        let users = scenario
            .hosts()
            .filter(|host| host.role == smartnodes_scenarios::Role::User);
        // What becomes of the jobs of those who cheat is no part of it.
        let users = users
            .zip(&scenario.users)
            .filter(|(host, _)| !scenario.misdeeds.contains_key(host));
        let jobs = users.flat_map(|(host, user)| {
            (0..user.jobs.len()).map(move |index| ((host, index), Progress::Waiting))
        });
        let transfers = (0..scenario.transfers.len()).map(|index| (index, Progress::Waiting));
        Story(Arc::new(Mutex::new(State {
            jobs: jobs.collect(),
            transfers: transfers.collect(),
        })))
    }

    /// How far a job of a user is.
    pub fn job(&self, user: HostName, index: usize) -> Progress {
        self.lock()
            .jobs
            .get(&(user, index))
            .copied()
            .unwrap_or(Progress::Waiting)
    }

    /// Notes how far a job of a user is.
    pub fn set_job(&self, user: HostName, index: usize, progress: Progress) {
        self.lock().jobs.insert((user, index), progress);
    }

    /// How far a transfer is; transfers are numbered as in the scenario.
    pub fn transfer(&self, index: usize) -> Progress {
        self.lock()
            .transfers
            .get(&index)
            .copied()
            .unwrap_or(Progress::Waiting)
    }

    /// Notes how far a transfer is.
    pub fn set_transfer(&self, index: usize, progress: Progress) {
        self.lock().transfers.insert(index, progress);
    }

    /// Jobs by how they ended.
    pub fn job_counts(&self) -> JobCounts {
        let state = self.lock();
        let count =
            |which: &[Progress]| state.jobs.values().filter(|p| which.contains(p)).count() as u64;
        JobCounts {
            submitted: count(&[Progress::Begun, Progress::Done, Progress::Failed]),
            completed: count(&[Progress::Done]),
            failed: count(&[Progress::Failed]),
        }
    }

    /// How far each job is.
    pub fn jobs(&self) -> Vec<(JobId, Progress)> {
        let state = self.lock();
        state.jobs.iter().map(|(id, p)| (*id, *p)).collect()
    }

    /// What is not done yet, but for the jobs of which `given_up` says so; empty when the plan is fulfilled. A failed job is
    /// not done.
    pub fn open(&self, given_up: impl Fn(JobId) -> bool) -> Vec<Lack> {
        let state = self.lock();
        let jobs = state.jobs.iter().filter(|(id, _)| !given_up(**id));
        let jobs = jobs.map(|((host, index), progress)| {
            let what = format!("job {} of {host}", index + 1);
            ("job", what, *progress)
        });
        let transfers = state.transfers.iter().map(|(index, progress)| {
            let what = format!("transfer {}", index + 1);
            ("transfer", what, *progress)
        });
        let open = jobs.chain(transfers).filter(|(.., p)| *p != Progress::Done);
        open.map(|(kind, what, progress)| {
            let how = words(progress);
            Lack::new(format!("{kind} {how}"), format!("{what} is {how}"))
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn words(progress: Progress) -> &'static str {
    match progress {
        Progress::Waiting => "not begun",
        Progress::Begun => "not ended",
        Progress::Done => "done",
        Progress::Failed => "failed",
    }
}
