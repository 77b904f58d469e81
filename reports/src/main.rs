//! `smartnodes-report`: reports whose numbers come from the deployed contracts.
//!
//! Exit status: 0 the report is written and holds, 1 the contracts did something else than they should, 2 bad input.

use std::{
    io::{IsTerminal, Write},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use smartnodes_reports::{
    emission::{self, Discrepancy, EmissionError, FILES, Tables, UPDATES_CSV, UPDATES_PER_YEAR},
    output::Staging,
};

/// The longest report, in years.
const YEARS_MAX: u64 = 100;

/// Reports whose numbers come from the deployed contracts.
#[derive(Debug, Parser)]
#[command(name = "smartnodes-report", version)]
struct Cli {
    #[command(subcommand)]
    report: Report,
}

#[derive(Debug, Subcommand)]
enum Report {
    /// What the contracts mint, update by update, beside the closed form
    Emission(EmissionArgs),
}

#[derive(Debug, Args)]
struct EmissionArgs {
    /// Years of 365 days from deployment, 1 to 100
    #[arg(long, value_name = "N", value_parser = years)]
    years: NonZeroU64,
    /// Directory of the report: new, empty, or with an earlier report to replace
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
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
    let Report::Emission(args) = Cli::parse().report;
    match emission_report(&args) {
        Ok(None) => ExitCode::SUCCESS,
        // The report is there, and shows it.
        Ok(Some(discrepancy)) => {
            eprintln!("error: {discrepancy}: see {UPDATES_CSV}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                EmissionError::Output(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Writes the report; returns the first update, if any, that minted what it should not have.
fn emission_report(args: &EmissionArgs) -> Result<Option<Discrepancy>, EmissionError> {
    // Before the work, so that a directory that cannot be used is told at once.
    let staging = Staging::create(&args.out, &FILES)?;
    let mut progress = Progress::new(args.years.get().saturating_mul(UPDATES_PER_YEAR));
    let records = emission::execute(args.years, |update| progress.show(update));
    progress.clear();
    let records = records?;

    let mut tables = Tables::new(&records)?;
    emission::write(&staging, &records, &mut tables)?;
    let dir = staging.publish()?;
    // A reader that has gone away does not make the report worse.
    let _ = writeln!(
        std::io::stdout(),
        "{}\nreport: {}",
        tables.summary(),
        dir.display()
    );
    Ok(emission::discrepancy(&records))
}

/// A line on the terminal that tells how far the work is; nothing elsewhere.
struct Progress {
    total: u64,
    shown: bool,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self {
            total,
            shown: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, done: u64) {
        if self.shown && done.is_multiple_of(self.total.div_ceil(100)) {
            eprint!("\rstate update {done} of {}", self.total);
        }
    }

    fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
