//! What a sweep has reached: which faults really struck, which fail points were passed, and what never happened.

use std::collections::BTreeMap;

use serde::Serialize;
use smartnodes_scenarios::SwarmKind;

use crate::run::{Outcome, Record};

/// What the runs of a sweep have reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// For each kind of fault, how often it struck.
    pub faults: BTreeMap<String, Reached>,
    /// For each fail point, how often it was passed.
    pub points: BTreeMap<String, Reached>,
    /// For each invariant that did not hold, in how many runs.
    pub violated: BTreeMap<String, u64>,
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
        }
        for (point, by_host) in &record.points {
            let reached = self.points.entry(point.clone()).or_default();
            reached.runs += 1;
            reached.times += by_host.values().sum::<u64>();
        }
        if record.outcome == Outcome::Violated {
            let mut names: Vec<&str> = record
                .violations
                .iter()
                .map(|v| v.invariant.as_str())
                .collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                *self.violated.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    /// Kinds of fault that no run has felt.
    pub fn faults_never_felt(&self) -> Vec<&'static str> {
        let felt = |kind: &str| {
            self.faults
                .get(kind)
                .is_some_and(|reached| reached.runs > 0)
        };
        let kinds = SwarmKind::ALL.iter().map(|(name, _)| *name);
        kinds.filter(|kind| !felt(kind)).collect()
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
        let mut lines = vec![
            format!("faults struck: {}", list(&self.faults)),
            format!(
                "faults that no run has felt: {}",
                self.faults_never_felt().join(", ")
            ),
            format!("fail points passed: {}", list(&self.points)),
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
