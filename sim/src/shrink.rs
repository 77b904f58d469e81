//! Shrinking: a failure with fewer hosts, faults, acts and jobs, in less time, that is still the same failure.
//!
//! Greedy: one thing at a time is left out or made smaller, and stays so where a run, in a process of its own, still
//! fails for the same [`Reason`]. Whatever has been reached is on disk, so that an interrupted shrink goes on from there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use smartnodes_scenarios::Scenario;
use toml::{Table, Value};

use crate::case::{self, Case, CaseError, Sight};
use crate::identity::Identity;
use crate::reason::{LEAVES_A_RECORD, Reason};
use crate::sweep::Job;
use crate::sweep::children::{ChildError, Children};
use crate::variant::Variant;

/// Invariants that hold sooner or later: a run that ends before shows nothing.
const OF_DEADLINES: [&str; 3] = ["ends-in-time", "limit", LEAVES_A_RECORD];

/// Why a case could not be shrunk.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// The case.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A run.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// Files of the runs.
    #[error("cannot run processes: {0}")]
    Processes(#[from] io::Error),
    /// It does not fail any more.
    #[error(
        "the case does not violate {reason} any more{}: build the commit that found it, or call it mended",
        found.as_ref().map(|other| format!(", but {other}")).unwrap_or_default()
    )]
    Gone {
        /// Why the case failed.
        reason: Box<Reason>,
        /// Why its run fails now.
        found: Option<Box<Reason>>,
    },
}

/// What shrinking has brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// The smaller case.
    pub case: Case,
    /// Runs that it took.
    pub runs: u64,
    /// What was left out or made smaller, in order.
    pub steps: Vec<String>,
}

/// Something smaller to try, and what it leaves out.
struct Candidate {
    table: Table,
    what: String,
}

/// Makes a case smaller while it fails for the same reason; what has been reached is written to `file`, from which an
/// interrupted attempt at the same case goes on. `tell` hears of each step. A run that takes longer than `timeout` on this
/// machine does not end.
pub fn shrink(
    case: &Case,
    file: &Path,
    timeout: Duration,
    mut tell: impl FnMut(&str),
) -> Result<Shrunk, ShrinkError> {
    let scratch = tempfile::tempdir()?;
    let mut runner = Runner {
        children: Children::new(1, timeout)?,
        file: scratch.path().join("candidate.toml"),
        seed: case.seed,
        runs: 0,
    };
    let mut best = match begun(case, file)? {
        Some(begun) => {
            tell(&format!("goes on from {}", file.display()));
            begun
        }
        None => case.clone(),
    };
    best.shrunk_from = Some(case.identity());
    // One that cannot be run is no failure that has gone.
    Scenario::parse(&format!("the case of {}", best.found_in), &best.scenario)
        .map_err(CaseError::from)?;
    let failed = runner.run(&best.scenario)?;
    let reason = match failed {
        Some((reason, _)) if is_still(&best.reason, &reason) => reason,
        other => {
            return Err(ShrinkError::Gone {
                reason: Box::new(best.reason),
                found: other.map(|(reason, _)| Box::new(reason)),
            });
        }
    };
    best.reason = reason;
    let mut steps = Vec::new();
    // A round that brings something makes new things possible.
    let mut improved = true;
    while improved {
        improved = false;
        let mut next = 0;
        loop {
            let table = case::parse(&best.scenario)?;
            let Some(candidate) = candidates(&table, &best).into_iter().nth(next) else {
                break;
            };
            let text = case::text_of(&candidate.table)?;
            let smaller = match Scenario::parse("candidate", &text) {
                // A plan that cannot come true is not tried.
                Err(_) => None,
                Ok(_) => runner.run(&text)?,
            };
            match smaller.filter(|(reason, _)| *reason == best.reason) {
                Some((_, seen)) => {
                    best.build = Identity::of(&text).to_string();
                    best.scenario = text;
                    best.seen = seen;
                    best.save(file)?;
                    tell(&format!(
                        "without {}: still {}",
                        candidate.what, best.reason
                    ));
                    steps.push(candidate.what);
                    improved = true;
                    // The list has changed; what came before was in vain.
                }
                None => next += 1,
            }
        }
    }
    best.save(file)?;
    Ok(Shrunk {
        case: best,
        runs: runner.runs,
        steps,
    })
}

/// Time between two state updates where a scenario does not say.
const UPDATE_INTERVAL: Duration = Duration::from_secs(8 * 3_600);

/// What an earlier attempt at this very case has reached.
fn begun(case: &Case, file: &Path) -> Result<Option<Case>, CaseError> {
    if !file.exists() {
        return Ok(None);
    }
    let begun = Case::load(file)?;
    let is_of_it = begun.shrunk_from == Some(case.identity());
    Ok(is_of_it.then_some(begun))
}

/// Whether a run fails as a case says. Cases that are older than kinds of reasons say less.
fn is_still(said: &Reason, found: &Reason) -> bool {
    let says_less = said.kind.is_none() && said.lacking.is_empty();
    said == found || (says_less && said.invariant == found.invariant)
}

struct Runner {
    children: Children,
    file: PathBuf,
    seed: u64,
    runs: u64,
}

impl Runner {
    /// Why a scenario fails, and what that looks like; `None` if it holds.
    fn run(&mut self, text: &str) -> Result<Option<(Reason, Sight)>, ShrinkError> {
        case::write(&self.file, text)?;
        self.runs += 1;
        self.children.start(Job {
            path: self.file.clone(),
            seed: self.seed,
            variant: Variant::default(),
        })?;
        let (_, record) = self.children.next();
        match record {
            Ok(record) => {
                let reason = Reason::of(&record);
                let first = record.violations.into_iter().next();
                Ok(reason.zip(first.map(Sight::from)))
            }
            Err(error) => match Reason::of_process(&error) {
                Some(reason) => Ok(Some((reason, Sight::of_process(&error)))),
                None => Err(error.into()),
            },
        }
    }
}

/// Everything that could be left out or made smaller, the largest first, of the table that fails as `case` says.
fn candidates(table: &Table, case: &Case) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let list = |key: &str| -> Vec<Value> {
        table
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut with = |what: String, change: &dyn Fn(&mut Table)| {
        let mut smaller = table.clone();
        change(&mut smaller);
        if smaller != *table {
            let table = smaller;
            candidates.push(Candidate { table, what });
        }
    };
    for key in ["fault", "act", "transfer", "user", "peer"] {
        let items = list(key);
        if items.len() > 1 {
            with(format!("all {key}s"), &|t| {
                t.remove(key);
                forget_missing(t);
            });
            let half = items.len() / 2;
            for (keep, which) in [(0..half, "last"), (half..items.len(), "first")] {
                let kept = items[keep].to_vec();
                with(format!("the {which} {key}s"), &move |t| {
                    t.insert(key.to_owned(), Value::Array(kept.clone()));
                    forget_missing(t);
                });
            }
        }
        for index in 0..items.len() {
            let mut kept = items.clone();
            kept.remove(index);
            with(format!("{key} {}", index + 1), &move |t| {
                t.insert(key.to_owned(), Value::Array(kept.clone()));
                forget_missing(t);
            });
        }
    }
    for (index, fault) in list("fault").iter().enumerate() {
        for key in ["hosts", "against"] {
            let names = fault.get(key).and_then(Value::as_array);
            let names = names.filter(|names| names.len() > 1);
            for place in 0..names.map_or(0, Vec::len) {
                let mut kept = names.cloned().unwrap_or_default();
                let name = kept.remove(place);
                let name = name.as_str().unwrap_or_default();
                with(format!("{name} in fault {}", index + 1), &move |t| {
                    set(t, "fault", index, key, Value::Array(kept.clone()));
                });
            }
        }
    }
    for key in ["worker", "validator", "user"] {
        let groups = list(key);
        for (index, group) in groups.iter().enumerate() {
            if key != "user" && groups.len() > 1 {
                let mut kept = groups.clone();
                kept.remove(index);
                with(format!("group {} of {key}s", index + 1), &move |t| {
                    t.insert(key.to_owned(), Value::Array(kept.clone()));
                    forget_missing(t);
                });
            }
            let count = group.get("count").and_then(Value::as_integer).unwrap_or(0);
            for fewer in [1, count / 2, count - 1] {
                if (1..count).contains(&fewer) {
                    with(format!("{} of {count} {key}s", count - fewer), &move |t| {
                        set(t, key, index, "count", fewer.into());
                        forget_missing(t);
                    });
                }
            }
            let jobs = group
                .get("job")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            for number in 0..jobs.len() {
                let mut kept = jobs.clone();
                kept.remove(number);
                with(
                    format!("job {} of {key} {}", number + 1, index + 1),
                    &move |t| {
                        set(t, key, index, "job", Value::Array(kept.clone()));
                    },
                );
            }
        }
    }
    let updates = table
        .get("updates")
        .and_then(Value::as_integer)
        .unwrap_or(1);
    for fewer in [1, updates - 1] {
        if (1..updates).contains(&fewer) {
            with(format!("{} updates", updates - fewer), &move |t| {
                t.insert("updates".to_owned(), fewer.into());
            });
        }
    }
    let span = |table: Option<&Table>, key: &str| {
        let text = table?.get(key)?.as_str()?;
        smartnodes_scenarios::duration(text).ok()
    };
    let interval = span(
        table.get("chain").and_then(Value::as_table),
        "update_interval",
    );
    // A deadline leaves room for the updates, whether they come about or not.
    let updates = table.get("updates").and_then(Value::as_integer);
    let rounds = interval.unwrap_or(UPDATE_INTERVAL).as_secs() as i64 * updates.unwrap_or(0);
    let minutes = ((case.seen.virtual_seconds / 60.0) as i64 + 2).max(rounds / 60 + 1);
    let given = span(Some(table), "deadline");
    let is_shorter = given.is_some_and(|given| given.as_secs() as i64 > minutes * 60);
    // What does not come to its end in time would fail all the more, and show nothing.
    if is_shorter && !OF_DEADLINES.contains(&case.reason.invariant.as_str()) {
        with(format!("all after {minutes} minutes"), &move |t| {
            t.insert("deadline".to_owned(), format!("{minutes}m").into());
        });
    }
    candidates
}

/// Faults forget hosts that are no longer there, and what strikes nobody else is left out.
fn forget_missing(table: &mut Table) {
    let count = |role: &str| {
        let groups = table
            .get(role)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let counts = groups.filter_map(|group| group.get("count")?.as_integer());
        counts.sum::<i64>()
    };
    let left = ["validator", "worker", "user", "peer"].map(|role| (role, count(role)));
    let is_there = |name: &Value| {
        let named = name.as_str().and_then(|name| name.split_once('-'));
        let Some((role, number)) = named else {
            return true;
        };
        let number: i64 = number.parse().unwrap_or(0);
        left.iter()
            .any(|(known, count)| *known == role && number <= *count)
    };
    let Some(faults) = table.get_mut("fault").and_then(Value::as_array_mut) else {
        return;
    };
    faults.retain_mut(|fault| {
        let Some(fault) = fault.as_table_mut() else {
            return true;
        };
        ["hosts", "against"].into_iter().all(|key| {
            let Some(names) = fault.get_mut(key).and_then(Value::as_array_mut) else {
                return true;
            };
            names.retain(is_there);
            !names.is_empty()
        }) && ["host", "by_host"]
            .into_iter()
            .all(|key| fault.get(key).is_none_or(is_there))
    });
}

fn set(table: &mut Table, list: &str, index: usize, key: &str, value: Value) {
    let item = table.get_mut(list).and_then(|items| items.get_mut(index));
    if let Some(item) = item.and_then(Value::as_table_mut) {
        item.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_forget_hosts_that_are_gone() {
        let mut table: Table = r#"
            worker = [{ count = 1 }]
            fault = [
                { hosts = ["worker-1"], against = ["worker-1", "worker-2", "chain"] },
                { hosts = ["worker-2"], against = ["chain"] },
                { host = "any worker" },
                { host = "worker-3" },
            ]
        "#
        .parse()
        .expect("a table");
        forget_missing(&mut table);
        assert_eq!(table["fault"].as_array().map(Vec::len), Some(2));
        assert_eq!(table["fault"][1]["host"].as_str(), Some("any worker"));
        assert_eq!(table["fault"][0]["hosts"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            table["fault"][0]["against"].as_array().map(Vec::len),
            Some(2)
        );
    }

    fn case() -> Case {
        Case {
            found_in: "a.toml".to_owned(),
            scenario: String::new(),
            seed: 1,
            build: String::new(),
            reason: Reason {
                invariant: "supply".to_owned(),
                ..Reason::default()
            },
            seen: Sight {
                virtual_seconds: 100.0,
                ..Sight::default()
            },
            shrunk_from: None,
        }
    }

    #[test]
    fn only_an_attempt_at_the_same_case_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.small.json");
        let case = case();
        assert_eq!(begun(&case, &file).expect("no file"), None);
        let mut small = case.clone();
        small.scenario = "smaller".to_owned();
        small.save(&file).expect("a case file");
        assert_eq!(begun(&case, &file).expect("an old file"), None);
        small.shrunk_from = Some(case.identity());
        small.save(&file).expect("a case file");
        assert_eq!(begun(&case, &file).expect("a file"), Some(small));
        let mut other = case.clone();
        other.reason.invariant = "ends-in-time".to_owned();
        assert_eq!(begun(&other, &file).expect("a file"), None);
    }

    #[test]
    fn another_verdict_or_another_lack_is_another_reason() {
        let reason = |kind: Option<&str>, lacking: &[&str]| Reason {
            invariant: "ends-in-time".to_owned(),
            kind: kind.map(str::to_owned),
            lacking: lacking.iter().map(|lack| (*lack).to_owned()).collect(),
        };
        let said = reason(Some("defect"), &["updates"]);
        assert!(is_still(&said, &said));
        assert!(!is_still(&said, &reason(Some("late"), &["updates"])));
        assert!(!is_still(&said, &reason(Some("defect"), &["claims"])));
        assert!(is_still(&reason(None, &[]), &said), "an old case");
    }

    #[test]
    fn everything_can_be_left_out_once() {
        let table: Table = r#"
            deadline = "9h"
            updates = 3
            chain = { update_interval = "10m" }
            fault = [{ kind = "a" }, { kind = "b" }]
            act = [{ kind = "c" }]
            worker = [{ count = 5 }]
            validator = [{ count = 1 }, { count = 2 }]
            user = [{ count = 1, job = [{ steps = 1 }] }]
        "#
        .parse()
        .expect("a table");
        let mut case = case();
        let all = candidates(&table, &case);
        let what: Vec<&str> = all.iter().map(|c| c.what.as_str()).collect();
        for expected in [
            "the last faults",
            "fault 2",
            "user 1",
            "4 of 5 workers",
            "1 of 5 workers",
            "job 1 of user 1",
            "2 updates",
            "all faults",
            "act 1",
            "group 2 of validators",
            "all after 31 minutes",
        ] {
            assert!(what.contains(&expected), "{expected} is not in {what:?}");
        }
        assert!(all.iter().all(|candidate| candidate.table != table));
        case.reason.invariant = "ends-in-time".to_owned();
        let all = candidates(&table, &case);
        assert!(
            all.iter()
                .all(|candidate| !candidate.what.contains("minutes"))
        );
    }
}
