//! Time for each Monte-Carlo trial: `cargo bench -p smartnodes-reports --bench trials`.
//!
//! `radcad_emission.py` runs the same trials in radCAD; its header says how to compare the two.

use std::time::Instant;

use smartnodes_reports::emission::{Params, model::Schedule, trials};

/// Years of each trial.
const YEARS: u64 = 20;
/// Trials measured.
const TRIALS: u64 = 200;

fn main() {
    let params = Params::default();
    let schedule = Schedule::new(&params);
    let start = Instant::now();
    let mut supply = 0;
    for trial in 0..TRIALS {
        let years = trials::trial(&params, &schedule, YEARS, 1, trial, true);
        // Used, so that nothing of the trial is left out.
        supply = years.last().map_or(0, |year| year.supply);
    }
    let one = start.elapsed().as_secs_f64() / TRIALS as f64;
    println!(
        "one core: {:.3} ms for a trial of {YEARS} years (the last ends with {supply} wei)",
        1e3 * one
    );
    let start = Instant::now();
    let all = trials::run(&params, YEARS, TRIALS, 1, |_| {});
    let each = start.elapsed().as_secs_f64() / all.len() as f64;
    println!("all cores: {:.3} ms for a trial", 1e3 * each);
}
