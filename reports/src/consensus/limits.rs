//! Scenarios that say how many adversaries a network bears, and what their runs say about it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use smartnodes_scenarios::{Scenario, ScenarioError, library};
use thiserror::Error;

use super::{attack::Goal, contract::Truth, exact::required};
use crate::sweep::{Run, Side, Sweep};

/// The invariant that does not hold where no update is executed.
const IN_TIME: &str = "ends-in-time";
/// What a run beyond its limit is said to have violated if none of the limit's invariants broke.
const LIMIT: &str = "limit";

/// Why the runs of a sweep cannot be put beside the formula.
#[derive(Debug, Error)]
pub enum LimitsError {
    /// The library cannot be read.
    #[error(
        "{folder:?} cannot be read as a library of scenarios: {source}: name another with --scenarios"
    )]
    Library {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        source: ScenarioError,
    },
    /// A scenario of the sweep is not there.
    #[error(
        "the sweep has runs of scenario {scenario}, which {folder:?} has not, or not with a limit: name the library that it was made \
         from with --scenarios"
    )]
    Missing {
        /// The scenario.
        scenario: String,
        /// The library.
        folder: PathBuf,
    },
    /// A scenario is another one than that of the sweep.
    #[error(
        "seed {seed} of scenario {scenario} has {hosts} hosts with {adversaries} adversaries, and the file in {folder:?} is of \
         something else: name the library that the sweep was made from with --scenarios"
    )]
    Other {
        /// The scenario.
        scenario: String,
        /// The library.
        folder: PathBuf,
        /// The run's seed.
        seed: u64,
        /// The run's hosts.
        hosts: u64,
        /// The run's adversaries.
        adversaries: u64,
    },
}

/// All scenarios of a library that have a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    folder: PathBuf,
    scenarios: BTreeMap<String, Scenario>,
}

impl Limits {
    /// Reads the library in a folder.
    pub fn read(folder: &Path) -> Result<Self, LimitsError> {
        let failed = |source| LimitsError::Library {
            folder: folder.to_owned(),
            source,
        };
        let mut scenarios = BTreeMap::new();
        for entry in library(folder).map_err(failed)? {
            let scenario = entry.scenario.map_err(failed)?;
            if scenario.limit.is_some() {
                scenarios.insert(scenario.name.clone(), scenario);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            scenarios,
        })
    }

    /// Where it was read from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The scenario of a run as it was run: with as many adversaries.
    fn of(&self, run: &Run, side: Side) -> Result<Scenario, LimitsError> {
        let Some(scenario) = self.scenarios.get(&run.scenario) else {
            return Err(LimitsError::Missing {
                scenario: run.scenario.clone(),
                folder: self.folder.clone(),
            });
        };
        let other = || LimitsError::Other {
            scenario: run.scenario.clone(),
            folder: self.folder.clone(),
            seed: run.seed,
            hosts: run.hosts,
            adversaries: run.adversaries,
        };
        let adversaries = usize::try_from(run.adversaries).map_err(|_| other())?;
        let played = scenario
            .with_adversaries(adversaries)
            .map_err(|_| other())?;
        let same_side = match played.side() {
            Some(smartnodes_scenarios::Side::Near) => side == Side::Near,
            Some(smartnodes_scenarios::Side::Far) => side == Side::Far,
            None => false,
        };
        // The chain is a host besides.
        let hosts = played.hosts().count() as u64 + 1;
        if same_side && hosts == run.hosts {
            Ok(played)
        } else {
            Err(other())
        }
    }
}

/// Runs of a network with so many adversaries, beside what the formula and the contract say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The scenario and how many are against it.
    pub label: String,
    /// What the adversaries want.
    pub goal: Goal,
    /// Validators, all of which count.
    pub validators: u32,
    /// More than this share of them must approve, in per cent.
    pub percent: u32,
    /// Validators that do not play by the rules.
    pub adversaries: u32,
    /// Runs.
    pub runs: u64,
    /// Those in which the adversaries reached their goal.
    pub reached: u64,
    /// Whether they do on the contract alone; `None` where that was not tried.
    pub contract: Option<bool>,
    /// What the first run tells that did not do what the formula says.
    pub instead: Option<String>,
}

impl Point {
    /// Approvals that an update needs.
    #[must_use]
    pub fn required(&self) -> u32 {
        required(self.validators, self.percent)
    }

    /// Adversaries that it takes.
    #[must_use]
    pub fn needed(&self) -> u32 {
        match self.goal {
            Goal::Execute => self.required(),
            Goal::Block => self.validators - self.required() + 1,
        }
    }

    /// Whether they reach their goal by the formula.
    #[must_use]
    pub fn formula(&self) -> bool {
        self.adversaries >= self.needed()
    }

    /// Whether every run did what the formula says.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.reached == if self.formula() { self.runs } else { 0 }
    }
}

/// Whether so many adversaries reach a goal by the votes with which the contract executed.
#[must_use]
pub fn on_contract(
    truth: &Truth,
    goal: Goal,
    validators: u32,
    percent: u32,
    adversaries: u32,
) -> Option<bool> {
    match goal {
        Goal::Execute => truth.executes(validators, percent, adversaries),
        Goal::Block => truth
            .executes(validators, percent, validators.checked_sub(adversaries)?)
            .map(|executes| !executes),
    }
}

/// What the runs of scenarios with a limit say, in the order of scenario and number of adversaries.
pub fn points(sweep: &Sweep, limits: &Limits, truth: &Truth) -> Result<Vec<Point>, LimitsError> {
    let mut points: BTreeMap<(&str, u64), Point> = BTreeMap::new();
    for run in sweep.runs() {
        let Some(side) = run.side else { continue };
        let scenario = limits.of(run, side)?;
        let invariants = scenario
            .limit
            .as_ref()
            .map(|limit| limit.invariants.as_slice())
            .unwrap_or_default();
        let goal = if invariants.iter().any(|name| name == IN_TIME) {
            Goal::Block
        } else {
            Goal::Execute
        };
        let reached = match side {
            Side::Near => invariants.iter().any(|name| run.broke(name)),
            // What a limit names is no violation beyond it; that it did not come is one.
            Side::Far => !run.broke(LIMIT),
        };
        let of = points
            .entry((&run.scenario, run.adversaries))
            .or_insert_with(|| {
                let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
                let (validators, percent) = (
                    number(scenario.validators),
                    u32::from(scenario.chain.approval_percent),
                );
                // Whoever votes for the false also if the limit is about others.
                let adversaries = number(scenario.validator_misdeeds.len());
                Point {
                    label: run.label(),
                    goal,
                    validators,
                    percent,
                    adversaries,
                    runs: 0,
                    reached: 0,
                    contract: on_contract(truth, goal, validators, percent, adversaries),
                    instead: None,
                }
            });
        of.runs += 1;
        of.reached += u64::from(reached);
        if reached != of.formula() {
            let told = run.violations.first().map_or("nothing", String::as_str);
            of.instead
                .get_or_insert_with(|| format!("seed {}: {told}", run.seed));
        }
    }
    Ok(points.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(goal: Goal, validators: u32, percent: u32, adversaries: u32) -> Point {
        Point {
            label: String::new(),
            goal,
            validators,
            percent,
            adversaries,
            runs: 5,
            reached: 5,
            contract: None,
            instead: None,
        }
    }

    #[test]
    fn it_takes_the_threshold_to_execute_and_one_more_than_the_rest_to_hold_back() {
        for (goal, validators, percent, needed) in [
            (Goal::Execute, 4, 66, 3),
            (Goal::Block, 4, 66, 2),
            (Goal::Execute, 7, 66, 5),
            (Goal::Block, 5, 75, 2),
            (Goal::Block, 3, 100, 1),
        ] {
            let of = |adversaries| point(goal, validators, percent, adversaries);
            assert_eq!(of(0).needed(), needed);
            assert!(!of(needed - 1).formula() && of(needed).formula());
            assert!(of(needed).agrees() && !of(needed - 1).agrees());
        }
    }
}
