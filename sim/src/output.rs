//! Where a run's files go, and how a run is shown.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run::{Finished, Outcome, Record};
use crate::world::Status;

/// Name of the trace in a run's folder: one JSON object a line.
pub const TRACE_FILE: &str = "trace.jsonl";
/// Name of the record in a run's folder: one JSON object.
pub const RECORD_FILE: &str = "record.json";
/// Name of the traffic in a run's folder: one JSON object a line for each pair of hosts.
pub const TRAFFIC_FILE: &str = "traffic.jsonl";

/// A folder for a run's files.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// Why a run's files could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; give --out or --html a place that can be written", path.display())]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

impl Folder {
    /// Makes the folder if it is not there.
    pub fn create(path: &Path) -> Result<Folder, OutputError> {
        #[allow(
            clippy::disallowed_methods,
            reason = "made before the run, on the real disk"
        )]
        let made = std::fs::create_dir_all(path);
        made.map_err(|source| OutputError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Folder(path.to_owned()))
    }

    /// The sink for the trace's lines.
    pub fn trace(&self) -> Result<Box<dyn Write + Send>, OutputError> {
        Ok(Box::new(self.file(TRACE_FILE)?))
    }

    /// Writes what a run left, and says if a part of its trace could not be written.
    pub fn finish(&self, finished: &Finished) -> Result<(), OutputError> {
        let failed = |name: &str| {
            let path = self.0.join(name);
            move |source: io::Error| OutputError { path, source }
        };
        if let Some(error) = &finished.recorded.write_error {
            return Err(failed(TRACE_FILE)(io::Error::new(
                error.kind(),
                error.to_string(),
            )));
        }
        let mut record = self.file(RECORD_FILE)?;
        serde_json::to_writer_pretty(&mut record, &finished.record)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(record))
            .and_then(|()| record.flush())
            .map_err(failed(RECORD_FILE))?;
        let mut traffic = self.file(TRAFFIC_FILE)?;
        for ((from, to), sent) in &finished.recorded.traffic {
            let (messages, bytes) = (sent.messages, sent.bytes);
            let line =
                serde_json::json!({ "from": from, "to": to, "messages": messages, "bytes": bytes });
            writeln!(traffic, "{line}").map_err(failed(TRAFFIC_FILE))?;
        }
        traffic.flush().map_err(failed(TRAFFIC_FILE))
    }

    fn file(&self, name: &str) -> Result<BufWriter<File>, OutputError> {
        let path = self.0.join(name);
        #[allow(
            clippy::disallowed_methods,
            reason = "a run's own files, on the real disk"
        )]
        let file = File::create(&path);
        file.map(BufWriter::new)
            .map_err(|source| OutputError { path, source })
    }
}

/// Writes a page.
pub fn write_page(path: &Path, page: &str) -> Result<(), OutputError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "written after the run, to the real disk"
    )]
    std::fs::write(path, page).map_err(|source| OutputError {
        path: path.to_owned(),
        source,
    })
}

/// Shows where a run is, on one line of a terminal; elsewhere nothing.
pub fn progress() -> impl FnMut(Status) + Send {
    /// Virtual time between two pictures.
    const EVERY: Duration = Duration::from_secs(300);
    let terminal = io::stderr().is_terminal();
    let mut next = Duration::ZERO;
    move |status| {
        if terminal && status.now >= next {
            next = status.now + EVERY;
            let (done, of) = status.updates;
            eprint!(
                "\r{} · block {} · update {done}/{of} · {} messages ",
                clock(status.now),
                status.block,
                status.messages
            );
        }
    }
}

/// Ends the line that [`progress`] has left.
pub fn end_progress() {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}

/// The summary of a run, in lines.
pub fn summary(record: &Record) -> String {
    let mut lines = vec![format!(
        "{}: {} state updates, {} of {} jobs complete, {} claims, in {} of virtual time ({:.0} × real time)",
        match record.outcome {
            Outcome::Held => "held",
            Outcome::Violated => "VIOLATED",
        },
        record.state_updates,
        record.jobs.completed,
        record.jobs.submitted,
        record.claims,
        clock(Duration::from_secs_f64(record.virtual_seconds)),
        record.virtual_seconds / record.wall_seconds.max(1e-3),
    )];
    lines.push(format!(
        "{} hosts, {} messages, {} bytes, {:.1} s; trace {} ({} lines)",
        record.hosts,
        record.messages,
        record.bytes,
        record.wall_seconds,
        record.trace_hash,
        record.trace_lines,
    ));
    for fault in &record.faults {
        let at = clock(Duration::from_secs_f64(fault.at_seconds));
        lines.push(format!(
            "fault: {} of {} at {at} for {:.0} s: {}",
            fault.kind,
            fault.hosts.join(", "),
            fault.lasted_seconds,
            fault.effect
        ));
    }
    for acted in &record.acted {
        let did: Vec<String> = acted
            .deeds
            .iter()
            .map(|(what, times)| format!("{what} ({times} ×)"))
            .collect();
        lines.push(format!(
            "{} ({}): {}; banned {} times",
            acted.host,
            acted.behaviour,
            did.join(", "),
            acted.bans
        ));
    }
    for (host, acts) in &record.misdeeds {
        let acts = acts.iter().map(|(act, times)| format!("{act} {times}"));
        let acts: Vec<String> = acts.collect();
        lines.push(format!("misdeeds of {host}: {}", acts.join(", ")));
    }
    for violation in &record.expected {
        let at = clock(Duration::from_secs_f64(violation.virtual_seconds));
        lines.push(format!(
            "beyond the limit, as expected: {} at {at}: {}",
            violation.invariant, violation.detail
        ));
    }
    for (number, violation) in record.violations.iter().enumerate() {
        let at = clock(Duration::from_secs_f64(violation.virtual_seconds));
        let hosts = match violation.hosts.as_slice() {
            [] => String::new(),
            hosts => format!(" ({})", hosts.join(", ")),
        };
        lines.push(format!(
            "violation: {} at {at}{hosts}: {}",
            violation.invariant, violation.detail
        ));
        // Others often follow from the first.
        if number == 0 {
            let events = violation.last_events.iter();
            lines.extend(events.map(|event| format!("  before: {event}")));
        }
    }
    lines.join("\n")
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
