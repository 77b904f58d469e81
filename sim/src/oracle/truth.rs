//! What worker hosts really computed, as told by the hosts themselves at the moment they had done it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, B256};

use super::transfers::Planned;
use crate::trace::Seen;

/// Prefix of worker hosts' names: only they can tell of work.
const WORKER_HOSTS: &str = "worker-";
/// The modules and the words in which a worker tells that it has computed a result.
const WORK_TARGETS: [&str; 2] = [
    "smartnodes_node::roles::worker",
    "smartnodes_actors::worker::conduct",
];
const WORK_MESSAGE: &str = "work done";

/// All work of a run. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Truth(Arc<Mutex<Work>>);

#[derive(Debug, Default)]
struct Work {
    /// Capacity that each worker account has computed.
    capacity: BTreeMap<Address, u128>,
    /// Challenges that each worker account has done.
    challenges: BTreeMap<Address, u64>,
    /// Orders counted already: a result that is given twice was computed once.
    orders: BTreeSet<B256>,
    /// Tasks of jobs that have been computed.
    tasks: BTreeMap<B256, BTreeSet<u64>>,
    /// How many tasks each job that a user submitted has.
    submitted: BTreeMap<B256, u64>,
    /// Hashes of proposals that somebody has made up.
    false_proposals: BTreeSet<B256>,
    /// Wallets of those who do not play by the rules.
    faithless: BTreeSet<Address>,
    /// How often each transfer was begun anew by a node that had lost what it knew of it.
    forgotten: BTreeMap<Planned, usize>,
}

impl Truth {
    /// Takes in an event of the trace, if it tells of work.
    pub fn watch(&self, event: &Seen<'_>) {
        if !event.host.starts_with(WORKER_HOSTS)
            || !WORK_TARGETS.contains(&event.target)
            || event.message != WORK_MESSAGE
        {
            return;
        }
        let text = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
        let number = |name: &str| {
            let value = event.fields.get(name)?;
            value
                .as_u64()
                .map(u128::from)
                .or_else(|| value.as_str()?.parse().ok())
        };
        let (Some(order), Some(worker), Some(capacity)) = (
            text("order").and_then(|t| t.parse().ok()),
            text("worker").and_then(|t| t.parse().ok()),
            number("capacity"),
        ) else {
            return;
        };
        let job = text("job")
            .and_then(|t| t.parse().ok())
            .zip(number("task").and_then(|n| u64::try_from(n).ok()));
        self.computed(order, worker, capacity, job);
    }

    /// A worker has computed the result of an order, worth `capacity`; for a job, which task of which.
    pub fn computed(&self, order: B256, worker: Address, capacity: u128, job: Option<(B256, u64)>) {
        let mut work = self.lock();
        if work.orders.insert(order) {
            *work.capacity.entry(worker).or_default() += capacity;
            if job.is_none() {
                *work.challenges.entry(worker).or_default() += 1;
            }
        }
        if let Some((job, task)) = job {
            work.tasks.entry(job).or_default().insert(task);
        }
    }

    /// A user has submitted a job of `tasks` tasks.
    pub fn submitted(&self, job: B256, tasks: u64) {
        self.lock().submitted.insert(job, tasks);
    }

    /// The proposal of this hash is made up: what it stands for is not true, or nobody can know it.
    pub fn made_up(&self, proposal: B256) {
        self.lock().false_proposals.insert(proposal);
    }

    /// Whether a proposal is made up.
    pub fn is_made_up(&self, proposal: B256) -> bool {
        self.lock().false_proposals.contains(&proposal)
    }

    /// The owner of this wallet does not play by the rules.
    pub fn does_not_play_by_the_rules(&self, wallet: Address) {
        self.lock().faithless.insert(wallet);
    }

    /// Whether the owner of this wallet plays by the rules.
    pub fn is_honest(&self, wallet: Address) -> bool {
        !self.lock().faithless.contains(&wallet)
    }

    /// A node begins a transfer of which it has lost all that it knew.
    pub fn forgotten(&self, transfer: Planned) {
        *self.lock().forgotten.entry(transfer).or_default() += 1;
    }

    /// How often a transfer was begun anew by a node that had lost what it knew of it.
    pub fn times_forgotten(&self, transfer: &Planned) -> usize {
        let work = self.lock();
        work.forgotten.get(transfer).copied().unwrap_or_default()
    }

    /// Capacity that all workers have computed so far.
    pub fn capacity(&self) -> u128 {
        self.lock().capacity.values().sum()
    }

    /// Capacity that one worker has computed so far.
    pub fn capacity_of(&self, worker: Address) -> u128 {
        self.lock()
            .capacity
            .get(&worker)
            .copied()
            .unwrap_or_default()
    }

    /// Challenges that each worker has done so far.
    pub fn challenges(&self) -> BTreeMap<Address, u64> {
        self.lock().challenges.clone()
    }

    /// Why a job is not really done, or `None` if it is.
    pub fn not_done(&self, job: B256) -> Option<String> {
        let work = self.lock();
        let Some(tasks) = work.submitted.get(&job) else {
            return Some("no user submitted it".to_owned());
        };
        let done = work.tasks.get(&job).map_or(0, BTreeSet::len) as u64;
        (done < *tasks).then(|| format!("workers computed {done} of its {tasks} tasks"))
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
