//! What a sweep has reached: which faults really struck, which fail points were passed, which states the nodes and the
//! contracts came to, and what never happened.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use smartnodes_node::failpoint;
use smartnodes_scenarios::{PeerMisdeed, SwarmKind, UserMisdeed, ValidatorMisdeed, WorkerMisdeed};

use crate::run::{Outcome, Record};
use crate::vocabulary::{INVARIANTS, OUTSIDE_OF_RUNS};

/// What the runs of a sweep have reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// For each kind of fault, how often it struck.
    pub faults: BTreeMap<String, Reached>,
    /// For each fail point, how often it was passed.
    pub points: BTreeMap<String, Reached>,
    /// For each rare state that the node names, how often a node came to it.
    pub states: BTreeMap<String, Reached>,
    /// For each event of the contracts, how often it was emitted.
    pub events: BTreeMap<String, Reached>,
    /// For each invariant of the oracle, how often it was checked.
    pub checks: BTreeMap<String, Reached>,
    /// For each way not to play by the rules, how often somebody did what belongs to it.
    pub misdeeds: BTreeMap<String, Reached>,
    /// For each invariant that did not hold, in how many runs.
    pub violated: BTreeMap<String, u64>,
    /// What no run has reached.
    pub never: Never,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// In how many runs.
    pub runs: u64,
    /// How often in all.
    pub times: u64,
    /// How often without effect.
    pub missed: u64,
}

/// What never happened, though it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Never {
    /// Kinds of fault that no run has felt.
    pub faults: BTreeSet<String>,
    /// Fail points that no node has passed.
    pub points: BTreeSet<String>,
    /// Invariants of the oracle that were never checked.
    pub checks: BTreeSet<String>,
    /// States that no node came to.
    pub states: BTreeSet<String>,
    /// Events that no contract has emitted.
    pub events: BTreeSet<String>,
    /// Ways not to play by the rules that nobody has taken.
    pub misdeeds: BTreeSet<String>,
}

impl Default for Never {
    fn default() -> Self {
        let owned = |name: &&str| (*name).to_owned();
        Never {
            faults: SwarmKind::ALL.iter().map(|(name, _)| owned(name)).collect(),
            points: failpoint::points().into_iter().collect(),
            checks: INVARIANTS
                .iter()
                .filter(|name| !OUTSIDE_OF_RUNS.contains(name))
                .map(owned)
                .collect(),
            states: failpoint::SOMETIMES.iter().map(owned).collect(),
            events: smartnodes_evm::names::events().into_iter().collect(),
            misdeeds: misdeeds(),
        }
    }
}

impl Coverage {
    /// Adds a run.
    pub fn add(&mut self, record: &Record) {
        let mut faults: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for fault in &record.faults {
            let (times, missed) = faults.entry(&fault.kind).or_default();
            *times += 1;
            *missed += u64::from(fault.affected == 0);
        }
        for (kind, (times, missed)) in faults {
            let reached = self.faults.entry(kind.to_owned()).or_default();
            reached.runs += u64::from(times > missed);
            reached.times += times;
            reached.missed += missed;
            if times > missed {
                self.never.faults.remove(kind);
            }
        }
        for (point, by_host) in &record.points {
            reach(&mut self.points, point, by_host.values().sum());
            self.never.points.remove(point);
        }
        for (state, times) in &record.states {
            reach(&mut self.states, state, *times);
            self.never.states.remove(state);
        }
        for (event, times) in &record.events {
            reach(&mut self.events, event, *times);
            self.never.events.remove(event);
        }
        for (invariant, times) in &record.checks {
            reach(&mut self.checks, invariant, *times);
            self.never.checks.remove(invariant);
        }
        for (behaviour, times) in done(record) {
            reach(&mut self.misdeeds, &behaviour, times);
            self.never.misdeeds.remove(&behaviour);
        }
        if record.outcome == Outcome::Violated {
            let names: BTreeSet<&str> = record
                .violations
                .iter()
                .map(|v| v.invariant.as_str())
                .collect();
            for name in names {
                *self.violated.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    /// In words, a line for each subject.
    pub fn words(&self) -> Vec<String> {
        let list = |reached: &BTreeMap<String, Reached>| {
            let words = reached.iter().map(|(name, r)| match r.missed {
                0 => format!("{name} {}", r.times),
                missed => format!("{name} {} ({missed} without effect)", r.times),
            });
            words.collect::<Vec<_>>().join(", ")
        };
        let names = |never: &BTreeSet<String>| {
            let names: Vec<&str> = never.iter().map(String::as_str).collect();
            names.join(", ")
        };
        let mut lines = vec![
            format!("faults struck: {}", list(&self.faults)),
            format!("faults that no run has felt: {}", names(&self.never.faults)),
            format!("fail points passed: {}", list(&self.points)),
            format!("fail points never passed: {}", names(&self.never.points)),
            format!("states reached: {}", list(&self.states)),
            format!("states never reached: {}", names(&self.never.states)),
            format!("events of the contracts: {}", list(&self.events)),
            format!("events never emitted: {}", names(&self.never.events)),
            format!("invariants checked: {}", list(&self.checks)),
            format!("invariants never checked: {}", names(&self.never.checks)),
            format!("misdeeds done: {}", list(&self.misdeeds)),
            format!("misdeeds never done: {}", names(&self.never.misdeeds)),
        ];
        if !self.violated.is_empty() {
            let violated = self.violated.iter();
            let words: Vec<_> = violated
                .map(|(name, runs)| format!("{name} in {runs}"))
                .collect();
            lines.push(format!("violated, by runs: {}", words.join(", ")));
        }
        lines
    }
}

/// All ways not to play by the rules, each with the role that takes it.
fn misdeeds() -> BTreeSet<String> {
    fn of<T>(role: &str, all: &[(&str, T)]) -> Vec<String> {
        let names = all.iter().map(|(name, _)| format!("{role} {name}"));
        names.collect()
    }
    let all = [
        of("validator", &ValidatorMisdeed::ALL),
        of("worker", &WorkerMisdeed::ALL),
        of("user", &UserMisdeed::ALL),
        of("peer", &PeerMisdeed::ALL),
    ];
    all.into_iter().flatten().collect()
}

/// Which of [`misdeeds`] somebody did in a run, and how many acts that were.
fn done(record: &Record) -> BTreeMap<String, u64> {
    let validators = record.misdeeds.iter().filter_map(|(host, acts)| {
        let behaviour = record.behaviours.get(host)?;
        Some((host, behaviour, acts.values().sum::<u64>()))
    });
    let others = record.acted.iter().map(|acted| {
        let times: u64 = acted.deeds.values().sum();
        (&acted.host, &acted.behaviour, times)
    });
    let mut done = BTreeMap::new();
    for (host, behaviour, times) in validators.chain(others).filter(|(_, _, n)| *n > 0) {
        let role = host.split('-').next().unwrap_or_default();
        *done.entry(format!("{role} {behaviour}")).or_default() += times;
    }
    done
}

fn reach(reached: &mut BTreeMap<String, Reached>, name: &str, times: u64) {
    let reached = reached.entry(name.to_owned()).or_default();
    reached.runs += 1;
    reached.times += times;
}
