//! How many virtual seconds one CPU second buys: the story of `first-update` with 8, 20 and 50 hosts, one process each.
//!
//! `cargo simbench` prints a line for each size. A run is minutes of CPU and deterministic, so it is made once rather
//! than sampled. No bound is asserted: the figures depend on the machine, their ratios less so.

#![cfg(madsim)]

use std::process::{Command, ExitCode};

use nix::sys::resource::{UsageWho, getrusage};

/// Validators and workers; with one user and the chain's host they make 8, 20 and 50 hosts.
const SIZES: [(u32, u32); 3] = [(3, 3), (5, 13), (10, 38)];

fn main() -> ExitCode {
    let story = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../scenarios/baseline/first-update.toml"
    );
    println!(
        "{:>6} {:>12} {:>9} {:>16} {:>10}",
        "hosts", "virtual s", "CPU s", "virtual s/CPU s", "messages"
    );
    for (validators, workers) in SIZES {
        match measure(story, validators, workers) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{validators} validators, {workers} workers: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

#[allow(
    clippy::disallowed_methods,
    reason = "the benchmark runs outside of the simulation"
)]
fn measure(
    story: &str,
    validators: u32,
    workers: u32,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut scenario: toml::Table = std::fs::read_to_string(story)?.parse()?;
    for (group, count) in [("validator", validators), ("worker", workers)] {
        let groups = scenario
            .get_mut(group)
            .and_then(toml::Value::as_array_mut)
            .ok_or("the story has no such group")?;
        groups[0]["count"] = count.into();
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("story.toml");
    std::fs::write(&path, toml::to_string(&scenario)?)?;
    let cpu = || -> Result<f64, nix::Error> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
    };
    let before = cpu()?;
    let output = Command::new(env!("CARGO_BIN_EXE_smartnodes-sim"))
        .args(["run", "--seed", "7", "--json"])
        .arg(&path)
        .output()?;
    let used = cpu()? - before;
    let record: serde_json::Value = serde_json::from_slice(
        output
            .stdout
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default(),
    )?;
    if record["outcome"] != "held" {
        return Err(format!("the run did not hold: {record}").into());
    }
    let virtual_seconds = record["virtual_seconds"]
        .as_f64()
        .ok_or("no virtual_seconds in the record")?;
    Ok(format!(
        "{:>6} {virtual_seconds:>12.0} {used:>9.1} {:>16.0} {:>10}",
        record["hosts"],
        virtual_seconds / used,
        record["messages"]
    ))
}
