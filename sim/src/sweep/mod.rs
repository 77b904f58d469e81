//! Sweeps: many seeds, a process for each, and what they found.

pub(crate) mod children;
mod coverage;
mod parquet;
mod parts;
mod plan;

pub use children::ChildError;
pub use coverage::{Coverage, Never, Reached};
pub use parts::PartError;
pub use plan::{Job, PlanError, Seeds, Shard, jobs};

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use self::children::Children;
use crate::case::{Case, CaseError, Sight};
use crate::output::{Folder, OutputError};
use crate::reason::Reason;
use crate::run::{Outcome, Record};

/// Time between two pictures of the progress on a terminal.
const SHOW: Duration = Duration::from_millis(500);

/// Time after which what has been found so far is written again.
const WRITE: Duration = Duration::from_secs(60);

/// How a sweep goes.
#[derive(Debug)]
pub struct Settings {
    /// How many processes at once.
    pub processes: usize,
    /// Which part of the whole this is.
    pub shard: Shard,
    /// Where Parquet parts and case files go.
    pub out: Option<PathBuf>,
    /// Whether to go on after a violation.
    pub keep_going: bool,
    /// The longest that a run may take on this machine.
    pub timeout: Duration,
    /// What the runs are made of: contracts, dependencies, toolchain.
    pub build: String,
}

/// What a sweep has found.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Runs that were to be made.
    pub planned: u64,
    /// Runs that ended with a record.
    pub done: u64,
    /// Runs in which something did not hold.
    pub violated: u64,
    /// Runs that left no record.
    pub failed: u64,
    /// Time that it took on this machine, in seconds.
    pub wall_seconds: f64,
    /// Virtual time of all runs together, in seconds.
    pub virtual_seconds: f64,
    /// What the runs have reached.
    pub coverage: Coverage,
    /// The commands that replay what was violated.
    pub replay: Vec<String>,
}

/// Why a sweep could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Its processes.
    #[error("cannot run processes: {0}")]
    Processes(#[from] io::Error),
    /// One of them.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// Its folder.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A part.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A case file.
    #[error(transparent)]
    Case(#[from] CaseError),
}

/// Makes all runs, and tells of those that fail as they do.
pub fn sweep(jobs: Vec<Job>, settings: &Settings) -> Result<Summary, SweepError> {
    let started = clock();
    let cases = settings.out.as_ref().map(|out| out.join("cases"));
    if let Some(cases) = &cases {
        Folder::create(cases)?;
    }
    let mut summary = Summary {
        planned: jobs.len() as u64,
        done: 0,
        violated: 0,
        failed: 0,
        wall_seconds: 0.0,
        virtual_seconds: 0.0,
        coverage: Coverage::default(),
        replay: Vec::new(),
    };
    let mut children = Children::new(settings.processes, settings.timeout)?;
    let mut waiting = jobs.into_iter();
    let mut records = Vec::new();
    let (mut shown, mut written) = (started, started);
    let mut stopping = false;
    loop {
        while !stopping && children.have_room() {
            let Some(job) = waiting.next() else {
                break;
            };
            children.start(job)?;
        }
        if children.are_idle() {
            break;
        }
        let (job, record) = children.next();
        match record {
            Ok(record) => {
                summary.done += 1;
                summary.virtual_seconds += record.virtual_seconds;
                summary.coverage.add(&record);
                if record.outcome == Outcome::Violated {
                    summary.violated += 1;
                    if let Some(failed) = Failed::of(&record) {
                        summary.replay.push(failed.tell(&job, cases.as_deref())?);
                    }
                    stopping |= !settings.keep_going;
                }
                records.push(record);
            }
            Err(error) => {
                summary.failed += 1;
                match Failed::of_process(&job, &error) {
                    Some(failed) => summary.replay.push(failed.tell(&job, cases.as_deref())?),
                    None => {
                        end_line();
                        eprintln!("{error}");
                    }
                }
                stopping |= !settings.keep_going;
            }
        }
        if written.elapsed() >= WRITE {
            // An interrupted sweep keeps what it has found.
            settings.write(&records)?;
            written = clock();
        }
        if shown.elapsed() >= SHOW {
            shown = clock();
            progress(&summary, started.elapsed());
        }
    }
    end_line();
    settings.write(&records)?;
    summary.wall_seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

impl Settings {
    /// Writes the part as far as it is.
    fn write(&self, records: &[Record]) -> Result<(), PartError> {
        let Some(out) = &self.out else {
            return Ok(());
        };
        let Shard { number, of } = self.shard;
        let path = out.join(format!("part-{number:05}-of-{of:05}.parquet"));
        parts::write(&path, &self.build, records)
    }
}

/// A run that failed.
struct Failed {
    scenario: String,
    reason: Reason,
    seen: Sight,
}

impl Failed {
    fn of(record: &Record) -> Option<Failed> {
        Some(Failed {
            scenario: record.scenario.clone(),
            reason: Reason::of(record)?,
            seen: record.violations.first()?.clone().into(),
        })
    }

    fn of_process(job: &Job, error: &ChildError) -> Option<Failed> {
        let name = job.path.file_stem().unwrap_or_default();
        Some(Failed {
            scenario: name.to_string_lossy().into_owned(),
            reason: Reason::of_process(error)?,
            seen: Sight::of_process(error),
        })
    }

    /// Tells of it and writes its case. Returns the command that replays it.
    fn tell(self, job: &Job, cases: Option<&Path>) -> Result<String, SweepError> {
        let Failed {
            scenario,
            reason,
            seen,
        } = self;
        end_line();
        let hosts = match seen.hosts.as_slice() {
            [] => String::new(),
            hosts => format!(" ({})", hosts.join(", ")),
        };
        eprintln!(
            "{scenario} · seed {}: {} at {:.1} s{hosts}: {}",
            job.seed, reason.invariant, seen.virtual_seconds, seen.detail
        );
        let path = job.path.display().to_string();
        let Some(cases) = cases else {
            let seed = ["--seed".to_owned(), job.seed.to_string()];
            let args = [&seed[..], &job.variant.args()].concat().join(" ");
            return Ok(format!("cargo sim run {path} {args}"));
        };
        #[allow(
            clippy::disallowed_methods,
            reason = "read outside of any run, from the real disk"
        )]
        let text = std::fs::read_to_string(&job.path)?;
        let (text, _) = job.variant.of(&path, &text, job.seed)?;
        let case = Case::new(&path, &text, job.seed, reason, seen)?;
        let far = job.variant.adversaries;
        let far = far.map(|n| format!("-{n}")).unwrap_or_default();
        let swarm = if job.variant.swarm { "-swarm" } else { "" };
        let file = cases.join(format!("{scenario}-{}{far}{swarm}.json", job.seed));
        case.save(&file)?;
        Ok(format!("cargo sim replay {}", file.display()))
    }
}

/// Where the sweep is, on one line of a terminal; elsewhere nothing.
fn progress(summary: &Summary, elapsed: Duration) {
    if !io::stderr().is_terminal() {
        return;
    }
    let ended = summary.done + summary.failed;
    let rate = ended as f64 / elapsed.as_secs_f64().max(0.001);
    let left = (summary.planned - ended) as f64 / rate.max(1e-9);
    eprint!(
        "\r{ended}/{} runs · {} violated · {:.1} runs/min · {:.0} min left ",
        summary.planned,
        summary.violated + summary.failed,
        rate * 60.0,
        (left / 60.0).ceil()
    );
    // A terminal that has gone away is no reason to stop.
    let _ = io::stderr().flush();
}

fn end_line() {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

/// The machine's clock, for progress and rates.
#[allow(
    clippy::disallowed_methods,
    reason = "a sweep is watched on the machine's clock, outside of any run"
)]
fn clock() -> Instant {
    Instant::now()
}
