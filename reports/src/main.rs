//! `smartnodes-report`: reports whose numbers come from the deployed contracts and from the simulator's sweeps.
//!
//! Exit status: 0 the report is written and holds, 1 the contracts did something else than they should, 2 bad input.

use std::{
    io::{IsTerminal, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use smartnodes_reports::{
    consensus::{self, ConsensusError, Limits, LimitsError},
    document::{Document, DocumentError},
    emission::{self, EmissionError, ParamError, Params},
    output::{OutputError, Staging},
    run::{self, RunError},
    sweep::{Sweep, SweepError},
};
use thiserror::Error;

/// The longest report, in years.
const YEARS_MAX: u64 = 100;
/// The most trials: their years are a table of the report.
const TRIALS_MAX: u64 = 10_000;

/// Reports whose numbers come from the deployed contracts and from the simulator's sweeps.
#[derive(Debug, Parser)]
#[command(name = "smartnodes-report", version)]
struct Cli {
    #[command(subcommand)]
    report: Report,
}

#[derive(Debug, Subcommand)]
enum Report {
    /// What the contracts mint, update by update, beside the closed form, the whitepaper and what could go wrong
    Emission(EmissionArgs),
    /// What the threshold of a state update protects from, by combinatorics, by the contract and by simulations
    Consensus(ConsensusArgs),
    /// What a sweep of the simulator found
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct EmissionArgs {
    /// Years of 365 days from deployment, 1 to 100
    #[arg(long, value_name = "N", value_parser = years)]
    years: NonZeroU64,
    /// Directory of the report: new, empty, or with an earlier report to replace
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A parameter; may be repeated. The report lists all of them with their bounds and meanings
    #[arg(long = "param", value_name = "KEY=VALUE")]
    params: Vec<String>,
    /// Monte-Carlo trials, 0 to 10,000
    #[arg(long, value_name = "M", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=TRIALS_MAX))]
    trials: u64,
    /// Seed of the trials
    #[arg(long, value_name = "SEED", default_value_t = emission::SEED)]
    seed: u64,
}

#[derive(Debug, Args)]
struct ConsensusArgs {
    /// Directory of the report: new, empty, or with an earlier report to replace
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rounds of which the proposers are counted, 20 to 20,000
    #[arg(long, value_name = "R", default_value_t = consensus::ROUNDS, value_parser = clap::value_parser!(u64).range(20..=20_000))]
    rounds: u64,
    /// Directory of a sweep whose full simulations are put beside it, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "DIR")]
    sweep: Option<String>,
    /// Library of the scenarios that the sweep ran
    #[arg(long, value_name = "DIR", default_value = consensus::SCENARIOS, requires = "sweep")]
    scenarios: PathBuf,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Directory with the parts of a sweep (part-*.parquet), or s3://BUCKET/PREFIX
    #[arg(value_name = "DIR")]
    sweep: String,
    /// Directory of the report: new, empty, or with an earlier report to replace [default: DIR/report, if that is a directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Why there is no report.
#[derive(Debug, Error)]
enum Error {
    #[error("a report cannot be written to {0}: name a directory for it with --out")]
    NoOut(String),
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error(transparent)]
    Emission(#[from] EmissionError),
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    #[error(transparent)]
    Limits(#[from] LimitsError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Error {
    /// Whether the command could not be done as asked, rather than begun and failed.
    fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::NoOut(_)
                | Self::Param(_)
                | Self::Limits(_)
                | Self::Sweep(_)
                | Self::Output(_)
                | Self::Consensus(ConsensusError::Limits(_) | ConsensusError::Sweep(_))
        )
    }
}

fn years(text: &str) -> Result<NonZeroU64, String> {
    let years = text
        .parse()
        .ok()
        .and_then(NonZeroU64::new)
        .filter(|years| years.get() <= YEARS_MAX);
    years.ok_or_else(|| format!("use a whole number from 1 to {YEARS_MAX}"))
}

fn main() -> ExitCode {
    let made = match Cli::parse().report {
        Report::Emission(args) => emission_report(&args),
        Report::Consensus(args) => consensus_report(args),
        Report::Run(args) => run_report(&args),
    };
    match made {
        Ok(None) => ExitCode::SUCCESS,
        // The report is there, and shows it.
        Ok(Some(fault)) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            if error.is_bad_input() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Writes the emission report; returns what in it is not as it should be.
fn emission_report(args: &EmissionArgs) -> Result<Option<String>, Error> {
    let options = emission::Options {
        years: args.years,
        params: Params::parse(args.params.iter().map(String::as_str))?,
        trials: args.trials,
        seed: args.seed,
    };
    let files = emission::report_files();
    // Before the work, so that a directory that cannot be used is told at once.
    let staging = Staging::create(&args.out, &files)?;
    let mut progress = Progress::new();
    let report = emission::report(&options, |what, done, of| progress.show(what, done, of));
    progress.clear();
    let report = report?;
    let dir = publish(staging, &report.document, &files)?;
    say(&format!(
        "{}\nreport: {}",
        report.summary,
        page(&dir, &report.document)
    ));
    let discrepancy = report.discrepancy.map(|found| found.to_string());
    Ok(discrepancy.or(report.difference.map(|found| found.to_string())))
}

/// Writes the consensus report; returns what in it is not as it should be.
fn consensus_report(args: ConsensusArgs) -> Result<Option<String>, Error> {
    let files = consensus::report_files();
    let staging = Staging::create(&args.out, &files)?;
    let simulated = match &args.sweep {
        Some(sweep) => Some((Sweep::read(sweep)?, Limits::read(&args.scenarios)?)),
        None => None,
    };
    let options = consensus::Options {
        rounds: args.rounds,
        simulated,
    };
    let mut progress = Progress::new();
    let report = consensus::report(&options, |what, done, of| progress.show(what, done, of));
    progress.clear();
    let report = report?;
    let dir = publish(staging, &report.document, &files)?;
    let cells = report.cells;
    say(&format!(
        "{cells} cells compared\nreport: {}",
        page(&dir, &report.document)
    ));
    Ok(report
        .disagreement
        .map(|case| format!("enumeration, contract and formula do not agree on {case:?}")))
}

/// Writes the report of a sweep.
fn run_report(args: &RunArgs) -> Result<Option<String>, Error> {
    if args.out.is_none() && Sweep::is_remote(&args.sweep) {
        return Err(Error::NoOut(args.sweep.clone()));
    }
    let sweep = Sweep::read(&args.sweep)?;
    let files = run::report_files();
    let source = Path::new(&args.sweep);
    let out = args.out.clone().unwrap_or_else(|| source.join("report"));
    let staging = Staging::create(&out, &files)?;
    // Beside the parts, pages are one directory up from the report; elsewhere they have their whole address.
    let beside = args.out.is_none();
    let document = run::report(&sweep, |page| {
        if beside {
            format!("../{page}")
        } else {
            source.join(page).display().to_string()
        }
    })?;
    let dir = publish(staging, &document, &files)?;
    say(&format!(
        "{} runs\nreport: {}",
        sweep.runs().len(),
        page(&dir, &document)
    ));
    Ok(None)
}

/// Writes a document's files and puts them in their place.
fn publish(staging: Staging, document: &Document, files: &[String]) -> Result<PathBuf, Error> {
    let mut progress = Progress::new();
    let mut done = 0;
    let written = document.write(&staging, files, |_| {
        done += 1;
        progress.show("file", done, files.len() as u64);
    });
    progress.clear();
    written?;
    Ok(staging.publish()?)
}

fn page(dir: &Path, document: &Document) -> String {
    dir.join(format!("{}.html", document.name))
        .display()
        .to_string()
}

/// A reader that has gone away does not make the report worse.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on the terminal that tells how far the work is; nothing elsewhere.
struct Progress {
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            shown: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, what: &str, done: u64, of: u64) {
        if self.shown && (done == of || done.is_multiple_of(of.div_ceil(100).max(1))) {
            eprint!("\r\x1b[K{what} {done} of {of}");
        }
    }

    fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
