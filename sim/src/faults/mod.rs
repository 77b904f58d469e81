//! Faults: drawn from the seed before the run, struck at their time, and accounted for.
//!
//! Each [`Strike`] waits for its start, does its harm, undoes it, and leaves a [`Struck`] that says what it really
//! affected. One that has affected nothing proves nothing: it is a violation, unless the scenario allows it.

mod schedule;
mod strike;
mod target;

pub use schedule::{Place, Start, Strike, schedule};
pub use target::Target;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::runtime::Handle;
use serde::{Deserialize, Serialize};
use smartnodes_scenarios::{FaultKind, HostName};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::chain_host::ChainHost;
use crate::net::Net;
use crate::points::Points;
use crate::trace::Trace;
use crate::violation::Violations;

/// For how long, in virtual seconds, faults are given to end after a run that has ended early.
const ENDING_SECONDS: u64 = 5;

/// What a fault did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Struck {
    /// What happened.
    pub kind: String,
    /// To whom; empty where it struck the chain itself.
    pub hosts: Vec<String>,
    /// When it began, in virtual seconds from the start.
    pub at_seconds: f64,
    /// For how long, in virtual seconds.
    pub lasted_seconds: f64,
    /// How many messages, requests, writes, transactions, blocks or processes it affected.
    pub affected: u64,
    /// What these were.
    pub effect: String,
}

/// All that faults strike.
#[derive(Clone)]
pub struct Stage {
    /// The nodes' hosts.
    pub targets: BTreeMap<HostName, Target>,
    /// The chain.
    pub chain: ChainHost,
    /// Where the chain's host and its endpoints are.
    pub chain_addresses: BTreeSet<IpAddr>,
    /// The network.
    pub net: Net,
    /// The fail points.
    pub points: Points,
    /// The round that was opened last.
    pub rounds: watch::Receiver<u64>,
    /// Whether a fault is to end now, before its time if it has one.
    pub healed: watch::Receiver<bool>,
    /// Where a fault without effect is told.
    pub violations: Violations,
}

/// How far a strike is.
enum Progress {
    /// Its time will come.
    Timed,
    /// What it waits for may never happen.
    Waiting,
    /// Since when.
    Going(Duration),
    Over(Struck),
}

/// A fault of the run.
struct Entry {
    strike: Strike,
    progress: Progress,
    /// Ends it, before its time if it has one.
    heal: watch::Sender<bool>,
}

/// The faults of a run. Clones share them.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<Vec<Entry>>>);

impl Faults {
    /// Lets all strikes loose, from now as the start of the run.
    pub fn start(strikes: Vec<Strike>, stage: &Stage) -> Faults {
        let progress = |strike: &Strike| match strike.start {
            Start::At(_) => Progress::Timed,
            Start::Round { .. } | Start::Point { .. } => Progress::Waiting,
        };
        let entries = strikes.iter().map(|strike| Entry {
            strike: strike.clone(),
            progress: progress(strike),
            heal: watch::channel(false).0,
        });
        let faults = Faults(Arc::new(Mutex::new(entries.collect())));
        let start = Instant::now();
        for (index, strike) in strikes.into_iter().enumerate() {
            let healed = faults.lock()[index].heal.subscribe();
            let faults = faults.clone();
            let stage = Stage {
                healed,
                ..stage.clone()
            };
            // Armed before the first host runs.
            let begun = begin(&strike, &stage, start);
            tokio::spawn(async move {
                let begun = begun.await;
                faults.set(index, Progress::Going(begun.at));
                let struck = strike::carry_out(&strike, &stage, begun).await;
                info!(
                    kind = struck.kind,
                    hosts = strike::names(&strike.places),
                    against = strike::against(&strike),
                    affected = struck.affected,
                    effect = struck.effect,
                    "fault over"
                );
                let has_effect = struck.affected > 0 || strike.may_miss;
                stage.violations.unless(has_effect, "fault-has-effect", || {
                    let whom = struck.hosts.join(", ");
                    let (kind, effect) = (&struck.kind, &struck.effect);
                    format!("{kind} of {whom} has affected nothing: {effect}")
                });
                faults.set(index, Progress::Over(struck));
            });
        }
        faults
    }

    /// Whether a fault is under way or its time will come, those aside that have no end of their own.
    pub fn are_open(&self) -> bool {
        self.lock().iter().any(|entry| match entry.progress {
            Progress::Timed => true,
            Progress::Going(_) => entry.strike.lasts < Duration::MAX,
            Progress::Waiting | Progress::Over(_) => false,
        })
    }

    /// The faults under way that have no end of their own, by their numbers.
    pub fn lasting(&self) -> Vec<(usize, Strike)> {
        let entries = self.lock();
        let lasting = entries.iter().enumerate().filter(|(_, entry)| {
            matches!(entry.progress, Progress::Going(_)) && entry.strike.lasts == Duration::MAX
        });
        lasting
            .map(|(number, entry)| (number, entry.strike.clone()))
            .collect()
    }

    /// Ends one of [`Faults::lasting`].
    pub fn heal(&self, number: usize) {
        if let Some(entry) = self.lock().get(number) {
            entry.heal.send_replace(true);
        }
    }

    /// Ends what has no end of its own, so that it can be told what it did.
    pub async fn end_lasting(&self) {
        while let lasting @ [_, ..] = self.lasting().as_slice() {
            lasting.iter().for_each(|(number, _)| self.heal(*number));
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Ends what is under way, where a run has ended early. What takes longer to end is told as it is.
    pub async fn end_all(&self) {
        for _ in 0..ENDING_SECONDS {
            let going: Vec<usize> = {
                let entries = self.lock();
                let is_going =
                    |number: &usize| matches!(entries[*number].progress, Progress::Going(_));
                (0..entries.len()).filter(is_going).collect()
            };
            if going.is_empty() {
                return;
            }
            going.iter().for_each(|number| self.heal(*number));
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// What the faults did, in the order of time. One that waited in vain is a violation, unless it may.
    pub fn finish(&self, violations: &Violations) -> Vec<Struck> {
        let entries = self.lock();
        let mut struck = Vec::new();
        for Entry {
            strike, progress, ..
        } in entries.iter()
        {
            match progress {
                Progress::Over(what) => struck.push(what.clone()),
                Progress::Going(since) => struck.push(Struck {
                    kind: strike.kind.name().to_owned(),
                    hosts: strike.places.iter().map(Place::to_string).collect(),
                    at_seconds: since.as_secs_f64(),
                    lasted_seconds: Trace::now().saturating_sub(*since).as_secs_f64(),
                    affected: 0,
                    effect: "not over when the run ended".to_owned(),
                }),
                // Where the run ended early, on a violation.
                Progress::Timed => {}
                Progress::Waiting if strike.may_miss || !violations.is_empty() => {}
                Progress::Waiting => violations.add(
                    "fault-has-effect",
                    format!("{} has never begun: {:?}", strike.kind.name(), strike.start),
                ),
            }
        }
        struck.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
        struck
    }

    fn set(&self, index: usize, progress: Progress) {
        if let Some(entry) = self.lock().get_mut(index) {
            entry.progress = progress;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a strike has done in the very moment of its start.
struct Begun {
    at: Duration,
    /// Processes that a fail point has ended, and their writes that were not synced.
    killed: Vec<(HostName, u64)>,
}

/// Waits for a strike's start; what it waits for is watched from now on.
fn begin(
    strike: &Strike,
    stage: &Stage,
    start: Instant,
) -> impl Future<Output = Begun> + Send + 'static {
    enum Wait {
        Until(Instant),
        Round(watch::Receiver<u64>, u64, Duration),
        Point(oneshot::Receiver<Begun>),
    }
    let wait = match &strike.start {
        Start::At(at) => Wait::Until(start + *at),
        Start::Round { number, after } => Wait::Round(stage.rounds.clone(), *number, *after),
        Start::Point { point, pass, by } => {
            let (begun, told) = oneshot::channel();
            let victims: Vec<(HostName, Target)> = match strike.kind {
                FaultKind::Crash { .. } => nodes(strike, stage).collect(),
                _ => Vec::new(),
            };
            let kind = strike.kind.clone();
            stage.points.arm(point, *pass, *by, move |_| {
                let mut killed = Vec::new();
                for (host, target) in victims {
                    if let FaultKind::Crash { unsynced } = kind
                        && let Some(lost) = target.kill(unsynced)
                    {
                        killed.push((host, lost));
                    }
                }
                let at = Trace::now();
                // Nobody listens any more where the run has ended.
                let _ = begun.send(Begun { at, killed });
            });
            Wait::Point(told)
        }
    };
    async move {
        match wait {
            Wait::Until(at) => sleep_until(at).await,
            Wait::Round(mut rounds, number, after) => {
                if rounds.wait_for(|round| *round >= number).await.is_err() {
                    std::future::pending::<()>().await;
                }
                sleep(after).await;
            }
            Wait::Point(told) => match told.await {
                Ok(begun) => return begun,
                Err(_) => std::future::pending().await,
            },
        }
        Begun {
            at: Trace::now(),
            killed: Vec::new(),
        }
    }
}

/// The nodes' hosts that a strike is for.
fn nodes<'a>(
    strike: &'a Strike,
    stage: &'a Stage,
) -> impl Iterator<Item = (HostName, Target)> + 'a {
    strike.places.iter().filter_map(|place| match place {
        Place::Node(host) => Some((*host, stage.targets.get(host)?.clone())),
        Place::Chain => None,
    })
}

/// Whether a host's process runs.
fn runs(target: &Target) -> bool {
    !Handle::current().is_exit(target.node)
}
