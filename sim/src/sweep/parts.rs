//! The part of a sweep as a Parquet table: one row a run.

use std::io;
use std::path::{Path, PathBuf};

use super::parquet::{self, Column, Values};
use crate::run::{Outcome, Record};

/// Why a part could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; give --out a folder that can be written", path.display())]
pub struct PartError {
    path: PathBuf,
    source: io::Error,
}

/// Writes one row for each run. Whoever reads meanwhile, or after a failure, finds the part as it was before.
#[allow(
    clippy::disallowed_methods,
    reason = "a sweep's own files, on the real disk"
)]
pub(super) fn write(path: &Path, build: &str, records: &[Record]) -> Result<(), PartError> {
    let unfinished = path.with_extension("parquet.new");
    std::fs::File::create(&unfinished)
        .and_then(|file| {
            let file = io::BufWriter::new(file);
            parquet::write(file, records.len(), &columns(build, records))
        })
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|source| PartError {
            path: path.to_owned(),
            source,
        })
}

/// The columns that reports read.
fn columns(build: &str, records: &[Record]) -> Vec<Column> {
    let text = |value: fn(&Record) -> String| Values::Text(records.iter().map(value).collect());
    let count = |value: fn(&Record) -> u64| Values::Count(records.iter().map(value).collect());
    let seconds = |value: fn(&Record) -> f64| Values::Real(records.iter().map(value).collect());
    fn json<T: serde::Serialize>(value: &T) -> String {
        serde_json::to_string(value).unwrap_or_default()
    }
    let column = |name, values| Column { name, values };
    let builds = vec![build.to_owned(); records.len()];
    let hosts = records
        .iter()
        .map(|r| u32::try_from(r.hosts).unwrap_or(u32::MAX));
    let adversaries = records.iter().map(|r| r.adversaries);
    vec![
        column("scenario", text(|r| r.scenario.clone())),
        column("seed", count(|r| r.seed)),
        column("build", Values::Text(builds)),
        column("trace_hash", text(|r| r.trace_hash.clone())),
        column(
            "outcome",
            text(|r| {
                let outcome = match r.outcome {
                    Outcome::Held => "held",
                    Outcome::Violated => "violated",
                };
                outcome.to_owned()
            }),
        ),
        column("adversaries", Values::Small(adversaries.collect())),
        column("limit", text(|r| r.limit.clone())),
        column("virtual_seconds", seconds(|r| r.virtual_seconds)),
        column("wall_seconds", seconds(|r| r.wall_seconds)),
        column("hosts", Values::Small(hosts.collect())),
        column("messages", count(|r| r.messages)),
        column("bytes", count(|r| r.bytes)),
        column("state_updates", count(|r| r.state_updates)),
        column("rounds_opened", count(|r| r.rounds_opened)),
        column("jobs_submitted", count(|r| r.jobs.submitted)),
        column("jobs_completed", count(|r| r.jobs.completed)),
        column("jobs_failed", count(|r| r.jobs.failed)),
        column("claims", count(|r| r.claims)),
        column("violations", text(|r| json(&r.violations))),
        column("faults", text(|r| json(&r.faults))),
    ]
}
