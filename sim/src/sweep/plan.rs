//! What a sweep runs: scenarios, seeds, and the share of this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use smartnodes_scenarios::{Scenario, ScenarioError, library};

use crate::variant::Variant;
use crate::vocabulary::vocabulary;

/// Seeds from one number up to, and without, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let mend = || {
            format!(
                "`{text}` names no seeds: write the first and the one after the last, such as 1..101"
            )
        };
        let (from, to) = text.split_once("..").ok_or_else(mend)?;
        let from = from.parse().map_err(|_| mend())?;
        let to = to.parse().map_err(|_| mend())?;
        if from >= to {
            return Err(mend());
        }
        Ok(Seeds { from, to })
    }
}

/// One of the parts that a sweep is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

impl Shard {
    /// The sweep as a whole.
    pub const WHOLE: Shard = Shard { number: 1, of: 1 };

    fn new(number: u64, of: u64) -> Option<Shard> {
        (1..=of).contains(&number).then_some(Shard { number, of })
    }

    /// Whether the job at this place in the whole sweep belongs to the part. Neighbours go to different parts, since
    /// they take about equally long.
    pub fn holds(self, place: u64) -> bool {
        place % self.of == self.number - 1
    }

    /// The part for an array job of a cluster, from its environment: the index of a Kubernetes Indexed Job (from 0), of
    /// which there are `of`, or the task of a Slurm array, which tells its bounds itself.
    pub fn from_environment(
        of: Option<u64>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Shard>, String> {
        let number = |name: &str| -> Result<Option<u64>, String> {
            let Some(text) = variable(name) else {
                return Ok(None);
            };
            let bad = |_| format!("{name} is `{text}`, not a number");
            text.parse().map(Some).map_err(bad)
        };
        if let Some(index) = number("JOB_COMPLETION_INDEX")? {
            let Some(of) = of else {
                return Err("JOB_COMPLETION_INDEX is set: say of how many with --shards".to_owned());
            };
            let bad = || format!("JOB_COMPLETION_INDEX is {index}, of {of} shards");
            return Shard::new(index + 1, of).ok_or_else(bad).map(Some);
        }
        if let Some(task) = number("SLURM_ARRAY_TASK_ID")? {
            let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let Some(of) = number("SLURM_ARRAY_TASK_COUNT")?.or(of) else {
                return Err("SLURM_ARRAY_TASK_ID is set: say of how many with --shards".to_owned());
            };
            let bad = || format!("SLURM_ARRAY_TASK_ID is {task}, from {first}, of {of} shards");
            let shard = task.checked_sub(first).and_then(|n| Shard::new(n + 1, of));
            return shard.ok_or_else(bad).map(Some);
        }
        match of {
            None | Some(1) => Ok(None),
            Some(of) => Err(format!(
                "--shards {of} takes the shard from JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID, and neither is set: give \
                 --shard k/{of}"
            )),
        }
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let mend =
            || format!("`{text}` is no shard: write which, from 1, of how many, such as 2/8");
        let (number, of) = text.split_once('/').ok_or_else(mend)?;
        let number = number.parse().map_err(|_| mend())?;
        let of = of.parse().map_err(|_| mend())?;
        Shard::new(number, of).ok_or_else(mend)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The scenario file.
    pub path: PathBuf,
    /// The seed.
    pub seed: u64,
    /// What is other than the file has it.
    pub variant: Variant,
}

/// Most runs of one part: of those that are still to come each takes some memory, and a part of so many takes weeks.
const RUNS_MAX: u64 = 10_000_000;

/// Why a sweep cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// Two scenarios that nobody could tell apart in records and case files.
    #[error("{} and {} are both called {name:?}: name each as its file is called", one.display(), other.display())]
    SameName {
        /// The name.
        name: String,
        /// One file.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// More runs than one part may have.
    #[error(
        "{seeds} seeds of {scenarios} scenarios are more than {RUNS_MAX} runs: give fewer seeds, or a part of them with --shard k/n"
    )]
    TooMany {
        /// Seeds.
        seeds: u64,
        /// Scenarios, those with a limit twice.
        scenarios: usize,
    },
}

/// The runs of a part: each scenario at `path` (a file, a folder of files, or a library of folders) with each seed, and on
/// both sides of its limit if it has one; with a `swarm`, on this side only. All scenarios have a first seed before any has
/// a second.
pub fn jobs(path: &Path, seeds: Seeds, shard: Shard, swarm: bool) -> Result<Vec<Job>, PlanError> {
    let mut scenarios = Vec::new();
    if path.is_dir() {
        for entry in library(path)? {
            scenarios.push((entry.path, entry.scenario?));
        }
    } else {
        scenarios.push((path.to_owned(), Scenario::load(path)?));
    }
    let mut names = BTreeMap::new();
    for (path, scenario) in &scenarios {
        check_names(path)?;
        if let Some(other) = names.insert(scenario.name.as_str(), path) {
            return Err(PlanError::SameName {
                name: scenario.name.clone(),
                one: other.clone(),
                other: path.clone(),
            });
        }
    }
    let mut sides = Vec::new();
    for (path, scenario) in scenarios {
        // Beyond a limit it is the adversaries who must be seen to break what they can.
        let far = scenario.limit.filter(|_| !swarm);
        let far = far.map(|limit| Some(limit.fails));
        sides.extend([None].into_iter().chain(far).map(|n| (path.clone(), n)));
    }
    let runs = (seeds.to - seeds.from).checked_mul(sides.len() as u64);
    if runs.is_none_or(|runs| runs / shard.of > RUNS_MAX) {
        return Err(PlanError::TooMany {
            seeds: seeds.to - seeds.from,
            scenarios: sides.len(),
        });
    }
    let all = (seeds.from..seeds.to).flat_map(|seed| sides.iter().map(move |side| (seed, side)));
    let jobs = all.enumerate().filter_map(|(place, (seed, side))| {
        let (path, adversaries) = side.clone();
        shard.holds(place as u64).then_some(Job {
            path,
            seed,
            variant: Variant { adversaries, swarm },
        })
    });
    Ok(jobs.collect())
}

/// Refuses a scenario that names what there is not, before the first run of many.
fn check_names(path: &Path) -> Result<(), ScenarioError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "scenario files are read before a run starts, from the real disk"
    )]
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })?;
    vocabulary().check(&path.display().to_string(), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_shards_read_as_they_are_written() {
        assert_eq!("3..7".parse(), Ok(Seeds { from: 3, to: 7 }));
        for bad in ["7", "7..7", "8..7", "a..b", "..", "-1..2"] {
            assert!(bad.parse::<Seeds>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("2/8".parse(), Ok(Shard { number: 2, of: 8 }));
        for bad in ["0/8", "9/8", "1/0", "1", "a/b", "1/2/3"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_shards_together_are_the_whole_and_share_nothing() {
        for of in 1..6 {
            let parts = |place| {
                (1..=of)
                    .filter(|n| Shard { number: *n, of }.holds(place))
                    .count()
            };
            assert!((0..50).all(|place| parts(place) == 1));
        }
    }

    #[test]
    fn clusters_say_which_shard_it_is() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let shard = |number, of| Ok(Some(Shard { number, of }));
        assert_eq!(Shard::from_environment(None, env(&[])), Ok(None));
        let indexed = env(&[("JOB_COMPLETION_INDEX", "0")]);
        assert_eq!(Shard::from_environment(Some(4), indexed), shard(1, 4));
        assert!(Shard::from_environment(None, indexed).is_err());
        let beyond = env(&[("JOB_COMPLETION_INDEX", "4")]);
        assert!(Shard::from_environment(Some(4), beyond).is_err());
        let slurm = env(&[
            ("SLURM_ARRAY_TASK_ID", "7"),
            ("SLURM_ARRAY_TASK_MIN", "5"),
            ("SLURM_ARRAY_TASK_COUNT", "10"),
        ]);
        assert_eq!(Shard::from_environment(None, slurm), shard(3, 10));
        let nonsense = env(&[("SLURM_ARRAY_TASK_ID", "x")]);
        assert!(Shard::from_environment(Some(2), nonsense).is_err());
        assert!(Shard::from_environment(Some(2), env(&[])).is_err());
    }
}
