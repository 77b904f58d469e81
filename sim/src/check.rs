//! Whether a run repeats: twice in fresh processes, and the traces compared line by line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::output::{RECORD_FILE, TRACE_FILE};
use crate::run::Record;
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
    /// Where they first differ, in words.
    pub difference: Option<String>,
}

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

/// The first line at which two traces differ, with its virtual time, host and event; `None` if they are equal.
fn first_difference(first: &Path, second: &Path) -> Result<Option<String>, CheckError> {
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
    for number in 1u64.. {
        let (a, b) = (first.next().transpose()?, second.next().transpose()?);
        match (a, b) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                let words = |line: Option<String>| {
                    line.map_or_else(|| "the end".to_owned(), |line| words(&line))
                };
                return Ok(Some(format!(
                    "line {number}: first {}; second {}",
                    words(a),
                    words(b)
                )));
            }
        }
    }
    Ok(None)
}

fn words(line: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
        return format!("`{line}`");
    };
    let seconds = fields.get("t").and_then(Value::as_u64).unwrap_or_default() as f64 / 1e9;
    let host = fields.get("host").and_then(Value::as_str).unwrap_or("?");
    let event = match (
        fields.get("to").and_then(Value::as_str),
        fields.get("message").and_then(Value::as_str),
    ) {
        (Some(to), _) => format!(
            "sends {} bytes to {to}",
            fields.get("bytes").unwrap_or(&Value::Null)
        ),
        (None, Some(message)) => format!(
            "{message:?} {}",
            fields.get("fields").unwrap_or(&Value::Null)
        ),
        (None, None) => format!("`{line}`"),
    };
    format!("at {seconds:.9} s {host} {event}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "files of a test")]
    fn the_first_difference_is_named_with_time_host_and_event() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let same = "{\"t\":1,\"host\":\"a\",\"to\":\"b\",\"bytes\":3}\n";
        let event = "{\"t\":2500000000,\"host\":\"worker-1\",\"message\":\"voted\",\"fields\":{\"round\":1}}\n";
        let sent = "{\"t\":2500000000,\"host\":\"worker-1\",\"to\":\"user-1\",\"bytes\":9}\n";
        let (a, b) = (
            write("a", &format!("{same}{event}")),
            write("b", &format!("{same}{sent}")),
        );
        assert_eq!(first_difference(&a, &a).unwrap(), None);
        assert_eq!(
            first_difference(&a, &b).unwrap().unwrap(),
            "line 2: first at 2.500000000 s worker-1 \"voted\" {\"round\":1}; second at 2.500000000 s worker-1 sends 9 \
             bytes to user-1"
        );
        let short = write("short", same);
        assert!(
            first_difference(&a, &short)
                .unwrap()
                .unwrap()
                .ends_with("second the end")
        );
        assert!(first_difference(&a, &folder.path().join("none")).is_err());
    }
}
