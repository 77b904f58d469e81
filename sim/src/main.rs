//! The simulator's command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use smartnodes_scenarios::{Scenario, ScenarioError, library};
use smartnodes_sim::aslr::{AslrError, fix_addresses};
use smartnodes_sim::check::{self, CheckError};
use smartnodes_sim::identity::Identity;
use smartnodes_sim::output::{self, Folder, OutputError};
use smartnodes_sim::run::{self, Outcome, Record, RunError};
use smartnodes_sim::violation::Violation;

/// Exit code for a run in which something did not hold.
const VIOLATED: u8 = 1;
/// Exit code for input that cannot be used; clap uses the same.
const BAD_INPUT: u8 = 2;

#[derive(Parser)]
#[command(
    name = "smartnodes-sim",
    about = "Runs Smartnodes on virtual time, from one seed, bit for bit the same each time"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario. Exit code 0: all held; 1: something did not; 2: bad input.
    Run(Run),
    /// List the scenarios with their summaries.
    List {
        /// The library's folder.
        #[arg(default_value = "scenarios")]
        folder: PathBuf,
    },
}

#[derive(clap::Args)]
struct Run {
    /// The scenario file.
    path: PathBuf,
    /// The seed, a whole number below 2^64: every seed is another run.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the outcome as one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// Run twice in fresh processes and compare the traces line by line.
    #[arg(long)]
    check: bool,
    /// Write the trace and the record into this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    out: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Addresses(#[from] AslrError),
    #[error("cannot make a temporary folder: {0}")]
    Scratch(std::io::Error),
    #[error("cannot write to standard output: {0}")]
    Print(#[from] std::io::Error),
}

fn main() -> ExitCode {
    // First of all, before anything has an address.
    let done = fix_addresses()
        .map_err(Failure::from)
        .and_then(|()| match Cli::parse().command {
            Command::Run(args) => run_scenario(&args),
            Command::List { folder } => list(&folder),
        });
    done.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::from(BAD_INPUT)
    })
}

fn run_scenario(args: &Run) -> Result<ExitCode, Failure> {
    let scenario = Scenario::load(&args.path)?;
    let folder = args.out.as_deref().map(Folder::create).transpose()?;
    let replay = format!("cargo sim run {} --seed {}", args.path.display(), args.seed);
    print(&format!(
        "{} · seed {} · {} · {replay}",
        scenario.name,
        args.seed,
        identity(&args.path)?
    ))?;
    let record = if args.check {
        checked(&args.path, args.seed)?
    } else {
        let sink = folder.as_ref().map(Folder::trace).transpose()?;
        let finished = run::run(scenario, args.seed, sink, output::progress());
        output::end_progress();
        let finished = finished?;
        if let Some(folder) = &folder {
            folder.finish(&finished)?;
        }
        finished.record
    };
    print(&output::summary(&record))?;
    if record.outcome == Outcome::Violated {
        print(&format!("replay: {replay}"))?;
    }
    if args.json {
        print(&serde_json::to_string(&record).map_err(std::io::Error::from)?)?;
    }
    Ok(match record.outcome {
        Outcome::Held => ExitCode::SUCCESS,
        Outcome::Violated => ExitCode::from(VIOLATED),
    })
}

fn identity(path: &Path) -> Result<Identity, ScenarioError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "read before the run, from the real disk"
    )]
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Identity::of(&text))
}

/// The record of a run that took place twice; a difference between the two is a violation.
fn checked(path: &Path, seed: u64) -> Result<Record, Failure> {
    let scratch = tempfile::tempdir().map_err(Failure::Scratch)?;
    let check::Checked {
        mut record,
        difference,
    } = check::twice(path, seed, scratch.path())?;
    match difference {
        None => print("check: two runs in fresh processes left the same trace")?,
        Some(detail) => {
            record.outcome = Outcome::Violated;
            let virtual_seconds = record.virtual_seconds;
            record.violations.push(Violation {
                invariant: "determinism".to_owned(),
                detail,
                virtual_seconds,
            });
        }
    }
    Ok(record)
}

fn list(folder: &Path) -> Result<ExitCode, Failure> {
    let mut usable = true;
    for entry in library(folder)? {
        match entry.scenario {
            Ok(scenario) => print(&format!(
                "{:<44} {}",
                entry.path.display().to_string(),
                scenario.summary
            ))?,
            Err(error) => {
                usable = false;
                eprintln!("error: {error}");
            }
        }
    }
    Ok(if usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BAD_INPUT)
    })
}

/// Prints a line; a reader that has gone away is an error, not a panic.
fn print(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}
