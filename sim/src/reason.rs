//! Why a run failed, as far as two failures can be told to be the same.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::run::Record;
use crate::sweep::ChildError;

/// What does not hold of a run whose process ended without a record, or not at all.
pub const LEAVES_A_RECORD: &str = "leaves-a-record";

/// Why a run failed: nothing in it depends on numbers, hashes or hosts, which change when a scenario is made smaller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What did not hold, the first of all.
    pub invariant: String,
    /// How, where the invariant does not say it: the kind of verdict, the place of a panic, the end of a process.
    #[serde(default)]
    pub kind: Option<String>,
    /// What kinds of things a run lacked that did not come to its end in time.
    #[serde(default)]
    pub lacking: BTreeSet<String>,
}

impl Reason {
    /// Why a run failed; `None` if it did not.
    pub fn of(record: &Record) -> Option<Reason> {
        let first = record.violations.first()?;
        let (kind, lacking) = match first.invariant.as_str() {
            "ends-in-time" => (
                record.verdict.map(|verdict| verdict.kind().to_owned()),
                record.lacking.clone(),
            ),
            "no-panic" => (place(&first.detail), BTreeSet::new()),
            _ => (None, BTreeSet::new()),
        };
        Some(Reason {
            invariant: first.invariant.clone(),
            kind,
            lacking,
        })
    }

    /// Why a process left no record; `None` if it is the machine's fault.
    pub fn of_process(error: &ChildError) -> Option<Reason> {
        let kind = match error {
            ChildError::Start { .. } => return None,
            ChildError::Ended { ended, .. } => ended.clone(),
            ChildError::TimedOut { .. } => "does not end".to_owned(),
        };
        Some(Reason {
            invariant: LEAVES_A_RECORD.to_owned(),
            kind: Some(kind),
            lacking: BTreeSet::new(),
        })
    }
}

/// The place in the code at the end of a panic's words.
fn place(words: &str) -> Option<String> {
    let (_, place) = words.strip_suffix(')')?.rsplit_once('(')?;
    Some(place.to_owned())
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.invariant)?;
        let lacking = self.lacking.iter().map(String::as_str);
        let more: Vec<&str> = self.kind.as_deref().into_iter().chain(lacking).collect();
        match more.as_slice() {
            [] => Ok(()),
            more => write!(f, " ({})", more.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_panics_are_the_same_where_they_are_at_the_same_place() {
        let one = place("worker-1: no 3 (of) them (node/src/a.rs:7)");
        assert_eq!(one.as_deref(), Some("node/src/a.rs:7"));
        assert_eq!(one, place("user-2: no 4 (node/src/a.rs:7)"));
        assert_ne!(one, place("worker-1: no 3 (node/src/a.rs:8)"));
        assert_eq!(place("a panic without words"), None);
    }
}
