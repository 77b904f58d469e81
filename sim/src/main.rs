//! The simulator's command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Parser, Subcommand};
use smartnodes_scenarios::{LimitError, Scenario, ScenarioError, duration, library};
use smartnodes_sim::aslr::{AslrError, fix_addresses};
use smartnodes_sim::case::{Case, CaseError};
use smartnodes_sim::check::{self, CheckError};
use smartnodes_sim::identity::Identity;
use smartnodes_sim::output::{self, Folder, OutputError};
use smartnodes_sim::reason::Reason;
use smartnodes_sim::replay::{Teller, Timeline};
use smartnodes_sim::run::{self, Outcome, Record, RunError};
use smartnodes_sim::shrink::{ShrinkError, shrink};
use smartnodes_sim::sweep::{self, PlanError, Seeds, Settings, Shard, SweepError};
use smartnodes_sim::variant::Variant;
use smartnodes_sim::violation::Violation;

/// Exit code for a run in which something did not hold.
const VIOLATED: u8 = 1;
/// Exit code for input that cannot be used; clap uses the same.
const BAD_INPUT: u8 = 2;
/// The longest that a run of a sweep or a shrink takes where nothing is said: the slowest of the library take a minute.
const TIMEOUT: &str = "15m";

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
    /// Run scenarios with many seeds, a process for each. Exit code 0: all held; 1: something did not; 2: bad input.
    Sweep(Sweep),
    /// Make a failure smaller while it fails for the same reason. Goes on where an earlier attempt was interrupted.
    Shrink {
        /// A case file that `sweep` has written.
        case: PathBuf,
        /// The longest that a run may take on this machine, such as "15m".
        #[arg(long, value_name = "T", value_parser = duration, default_value = TIMEOUT)]
        timeout: Duration,
    },
    /// Run a case file again and tell its story. Exit code as of `run`.
    Replay(Replay),
}

#[derive(clap::Args)]
struct Run {
    /// The scenario file.
    path: PathBuf,
    /// The seed, a whole number below 2^64: every seed is another run.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many validators do the misdeed that the scenario's limit is about [default: as many as the file has].
    #[arg(long, value_name = "N")]
    adversaries: Option<usize>,
    /// Strike it with a swarm of faults that the seed draws.
    #[arg(long)]
    swarm: bool,
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

#[derive(clap::Args)]
struct Sweep {
    /// A scenario file, a folder of them, or a library of such folders.
    path: PathBuf,
    /// The seeds, from the first up to the one after the last.
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// Strike every scenario with a swarm of faults that the seed draws.
    #[arg(long)]
    swarm: bool,
    /// Processes at once [default: one for each core].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Which part of the sweep to run, from 1, of how many.
    #[arg(long, value_name = "K/N", conflicts_with = "shards")]
    shard: Option<Shard>,
    /// How many parts the sweep has: which one this is says JOB_COMPLETION_INDEX or SLURM_ARRAY_TASK_ID.
    #[arg(long, value_name = "N")]
    shards: Option<u64>,
    /// Write a Parquet part and a case file for each failure into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// The longest that a run may take on this machine; one that takes longer has failed.
    #[arg(long, value_name = "T", value_parser = duration, default_value = TIMEOUT)]
    timeout: Duration,
    /// Print what was found as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Replay {
    /// A case file that `sweep` or `shrink` has written.
    case: PathBuf,
    /// Tell and draw up to this virtual time, such as "1h 30m".
    #[arg(long, value_name = "T", value_parser = duration)]
    until: Option<Duration>,
    /// Draw the run as a self-contained page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Shrink(#[from] ShrinkError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("{0}")]
    Shard(String),
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
            Command::Sweep(args) => run_sweep(&args),
            Command::Shrink { case, timeout } => run_shrink(&case, timeout),
            Command::Replay(args) => replay(&args),
        });
    done.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::from(BAD_INPUT)
    })
}

fn run_scenario(args: &Run) -> Result<ExitCode, Failure> {
    let variant = args.variant();
    let text = text(&args.path)?;
    let origin = args.path.display().to_string();
    let (_, scenario) = variant.of(&origin, &text, args.seed)?;
    let folder = args.out.as_deref().map(Folder::create).transpose()?;
    let seed = ["--seed".to_owned(), args.seed.to_string()];
    let said = [&seed[..], &variant.args()].concat().join(" ");
    let replay = format!("cargo sim run {origin} {said}");
    print(&format!(
        "{} · seed {} · {} · {replay}",
        scenario.name,
        args.seed,
        Identity::of(&text)
    ))?;
    let record = if args.check {
        checked(args)?
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
        print_json(&record)?;
    }
    Ok(code(record.outcome))
}

fn code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Held => ExitCode::SUCCESS,
        Outcome::Violated => ExitCode::from(VIOLATED),
    }
}

fn text(path: &Path) -> Result<String, ScenarioError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "read before the run, from the real disk"
    )]
    let text = std::fs::read_to_string(path);
    text.map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })
}

impl Run {
    fn variant(&self) -> Variant {
        Variant {
            adversaries: self.adversaries,
            swarm: self.swarm,
        }
    }
}

/// The record of a run that took place twice; a difference between the two is a violation.
fn checked(args: &Run) -> Result<Record, Failure> {
    let scratch = tempfile::tempdir().map_err(Failure::Scratch)?;
    let check::Checked {
        mut record,
        difference,
    } = check::twice(&args.path, args.seed, args.variant(), scratch.path())?;
    match difference {
        None => print("check: two runs in fresh processes left the same trace")?,
        Some(difference) => {
            record.outcome = Outcome::Violated;
            record.violations.push(Violation {
                invariant: "determinism".to_owned(),
                detail: difference.detail,
                virtual_seconds: difference.virtual_seconds,
                hosts: difference.hosts,
                last_events: difference.before,
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

fn run_sweep(args: &Sweep) -> Result<ExitCode, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let shard = match args.shard {
        Some(shard) => shard,
        None => Shard::from_environment(args.shards, variable)
            .map_err(Failure::Shard)?
            .unwrap_or(Shard::WHOLE),
    };
    let jobs = sweep::jobs(&args.path, args.seeds, shard, args.swarm)?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let settings = Settings {
        processes: args.jobs.map_or(cores, NonZeroUsize::get),
        shard,
        out: args.out.clone(),
        keep_going: args.keep_going,
        timeout: args.timeout,
        build: Identity::of("").build(),
    };
    let summary = sweep::sweep(jobs, &settings)?;
    print(&format!(
        "{} of {} runs · {} violated · {} left no record · shard {shard} · {:.0} virtual hours in {:.0} s",
        summary.done,
        summary.planned,
        summary.violated,
        summary.failed,
        summary.virtual_seconds / 3600.0,
        summary.wall_seconds
    ))?;
    for line in summary.coverage.words() {
        print(&line)?;
    }
    for command in &summary.replay {
        print(&format!("replay: {command}"))?;
    }
    if args.json {
        print_json(&summary)?;
    }
    Ok(if summary.violated + summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(VIOLATED)
    })
}

fn run_shrink(path: &Path, timeout: Duration) -> Result<ExitCode, Failure> {
    let small = path.with_extension("small.json");
    let case = Case::load(path)?;
    let shrunk = shrink(&case, &small, timeout, |step| {
        // A reader that has gone away is no reason to stop.
        let _ = print(step);
    })?;
    print(&format!(
        "{} runs, {} things left out\n\n{}\nreplay: cargo sim replay {}",
        shrunk.runs,
        shrunk.steps.len(),
        shrunk.case.scenario,
        small.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn replay(args: &Replay) -> Result<ExitCode, Failure> {
    let case = Case::load(&args.case)?;
    let scenario = Scenario::parse(&args.case.display().to_string(), &case.scenario)?;
    let timeline = Arc::new(Mutex::new(Timeline::default()));
    let until = args.until.unwrap_or(Duration::MAX);
    let teller = Teller::new(until, timeline.clone());
    let finished = run::run(scenario, case.seed, Some(Box::new(teller)), |_| {})?;
    let record = finished.record;
    print(&output::summary(&record))?;
    let again = Reason::of(&record);
    if again.as_ref().map(|reason| &reason.invariant) != Some(&case.reason.invariant) {
        let again = again.map_or_else(|| "nothing".to_owned(), |reason| reason.to_string());
        print(&format!(
            "the case violated {}, this run {again}; it was found with {}",
            case.reason, case.build
        ))?;
    }
    if let Some(file) = &args.html {
        let page = timeline
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .page(&record);
        output::write_page(file, &page)?;
        print(&format!("page: {}", file.display()))?;
    }
    Ok(code(record.outcome))
}

fn print_json(value: &impl serde::Serialize) -> std::io::Result<()> {
    print(&serde_json::to_string(value).map_err(std::io::Error::from)?)
}

/// Prints a line; a reader that has gone away is an error, not a panic.
fn print(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}
