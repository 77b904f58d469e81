//! Whether a run repeats: twice in fresh processes, and the traces compared line by line.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::output::{RECORD_FILE, TRACE_FILE};
use crate::run::Record;
use crate::trace::in_words;
use crate::variant::Variant;

/// Why two runs could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file or folder.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A child did not come to an end of its own.
    #[error("the run in a fresh process failed: {0}")]
    Child(String),
}

/// Two runs.
#[derive(Debug)]
pub struct Checked {
    /// The first one's record.
    pub record: Record,
    /// Where they first differ.
    pub difference: Option<Difference>,
}

/// Where two traces part.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The line and both events, in words.
    pub detail: String,
    /// When, in virtual seconds from the start: the earlier of the two.
    pub virtual_seconds: f64,
    /// On which hosts.
    pub hosts: Vec<String>,
    /// The lines before, which both have, in words.
    pub before: Vec<String>,
}

/// How many lines before a difference are told.
const BEFORE: usize = 10;

/// Runs a scenario file twice with a seed, each time in a fresh process, below the folder `scratch`, varied alike.
pub fn twice(
    scenario: &Path,
    seed: u64,
    variant: Variant,
    scratch: &Path,
) -> Result<Checked, CheckError> {
    let folders = [scratch.join("first"), scratch.join("second")];
    let mut records = Vec::new();
    for folder in &folders {
        records.push(child(scenario, seed, variant, folder)?);
    }
    let traces = folders.map(|folder| folder.join(TRACE_FILE));
    let difference = first_difference(&traces[0], &traces[1])?;
    Ok(Checked {
        record: records.swap_remove(0),
        difference,
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "each run has a process of its own"
)]
fn child(
    scenario: &Path,
    seed: u64,
    variant: Variant,
    folder: &Path,
) -> Result<Record, CheckError> {
    let program = std::env::current_exe().map_err(|e| CheckError::Child(e.to_string()))?;
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(scenario)
        .args(["--seed", &seed.to_string(), "--out"])
        .arg(folder)
        .args(variant.args());
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
    let output = output.map_err(|e| CheckError::Child(e.to_string()))?;
    // A violated run has a record as well; only a run that did not take place has none.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(CheckError::Child(format!(
            "{}: {}",
            output.status,
            words.trim()
        )));
    }
    let path = folder.join(RECORD_FILE);
    let file = open(&path)?;
    serde_json::from_reader(file)
        .map_err(|e| CheckError::Child(format!("its record is unreadable: {e}")))
}

fn open(path: &Path) -> Result<BufReader<File>, CheckError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "compares files of finished runs, outside of any"
    )]
    let file = File::open(path);
    file.map(BufReader::new).map_err(|source| CheckError::File {
        path: path.to_owned(),
        source,
    })
}

/// The first line at which two traces differ, with what was before it; `None` if they are equal.
fn first_difference(first: &Path, second: &Path) -> Result<Option<Difference>, CheckError> {
    let lines = |path: &Path| -> Result<_, CheckError> {
        let path = path.to_owned();
        Ok(open(&path)?.lines().map(move |line| {
            line.map_err(|source| CheckError::File {
                path: path.clone(),
                source,
            })
        }))
    };
    let (mut first, mut second) = (lines(first)?, lines(second)?);
    let mut before = VecDeque::with_capacity(BEFORE);
    for number in 1u64.. {
        let (a, b) = (first.next().transpose()?, second.next().transpose()?);
        match (a, b) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                if before.len() == BEFORE {
                    before.pop_front();
                }
                before.push_back(a);
            }
            (a, b) => {
                let words = |line: &Option<String>| {
                    line.as_ref()
                        .map_or_else(|| "the end".to_owned(), |line| in_words(line))
                };
                let mut hosts = BTreeSet::new();
                let mut nanos = u64::MAX;
                for line in a.iter().chain(&b) {
                    let fields: Value = serde_json::from_str(line).unwrap_or_default();
                    hosts.extend(fields["host"].as_str().map(str::to_owned));
                    nanos = nanos.min(fields["t"].as_u64().unwrap_or_default());
                }
                return Ok(Some(Difference {
                    detail: format!("line {number}: first {}; second {}", words(&a), words(&b)),
                    virtual_seconds: nanos as f64 / 1e9,
                    hosts: hosts.into_iter().collect(),
                    before: before.iter().map(|line| in_words(line)).collect(),
                }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "files of a test")]
    fn the_first_difference_is_named_with_time_host_and_the_events_before() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let same: String = (1..=BEFORE + 2)
            .map(|n| format!("{{\"t\":{n},\"host\":\"a\",\"to\":\"b\",\"bytes\":{n}}}\n"))
            .collect();
        let event = "{\"t\":2500000000,\"host\":\"worker-1\",\"message\":\"voted\",\"fields\":{\"round\":1}}\n";
        let sent = "{\"t\":2600000000,\"host\":\"user-1\",\"to\":\"worker-1\",\"bytes\":9}\n";
        let (a, b) = (
            write("a", &format!("{same}{event}")),
            write("b", &format!("{same}{sent}")),
        );
        assert_eq!(first_difference(&a, &a).unwrap(), None);
        let found = first_difference(&a, &b).unwrap().unwrap();
        assert_eq!(
            found.detail,
            "line 13: first at 2.500000000 s worker-1 \"voted\" {\"round\":1}; second at 2.600000000 s user-1 sends 9 \
             bytes to worker-1"
        );
        assert_eq!(found.virtual_seconds, 2.5);
        assert_eq!(found.hosts, ["user-1", "worker-1"]);
        assert_eq!(found.before.len(), BEFORE);
        assert_eq!(
            found.before[BEFORE - 1],
            "at 0.000000012 s a sends 12 bytes to b"
        );
        let short = write("short", &same);
        let found = first_difference(&a, &short).unwrap().unwrap();
        assert!(found.detail.ends_with("second the end"));
        assert_eq!(found.hosts, ["worker-1"]);
        assert!(first_difference(&a, &folder.path().join("none")).is_err());
    }
}
