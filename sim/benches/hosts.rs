//! What a simulated network costs: virtual seconds for each CPU second and memory at 10, 20, 50 and 100 hosts, one process
//! each, with an update interval of 8 hours; and how many more seeds two processes run than one.
//!
//! `cargo simbench` prints a line for each size; numbers of hosts behind `--` run these sizes only. A run is minutes of CPU
//! and deterministic, so it is made once rather than sampled. No bound is asserted: the figures depend on the machine,
//! their ratios less so.

#![cfg(madsim)]

use std::process::{Command, ExitCode};

use nix::sys::resource::{UsageWho, getrusage};

/// Validators and workers; with one user and the chain's host they make 10, 20, 50 and 100 hosts.
const SIZES: [(u32, u32); 4] = [(3, 5), (5, 13), (10, 38), (20, 78)];
/// Seeds of the sweeps whose times are compared.
const SEEDS: &str = "1..21";
/// How often each of them is run.
const TURNS: u32 = 5;

fn main() -> ExitCode {
    let story = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../scenarios/baseline/first-update.toml"
    );
    // `cargo bench` adds flags of its own.
    let wanted: Vec<u32> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    println!(
        "{:>6} {:>12} {:>9} {:>16} {:>14} {:>10} {:>9}",
        "hosts", "virtual s", "CPU s", "virtual s/CPU s", "CPU s/day", "messages", "MB/host"
    );
    for (validators, workers) in SIZES {
        if !wanted.is_empty() && !wanted.contains(&(validators + workers + 2)) {
            continue;
        }
        match measure(story, validators, workers) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{validators} validators, {workers} workers: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    match compare() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sweep: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many more seeds two processes run than one. Turn by turn, so that whatever else the machine does strikes both.
fn compare() -> Result<String, Box<dyn std::error::Error>> {
    let (mut one, mut two) = (0.0, 0.0);
    for _ in 0..TURNS {
        one += sweep(1)?;
        two += sweep(2)?;
    }
    Ok(format!(
        "seeds {SEEDS}, {TURNS} times: {one:.1} s with one process, {two:.1} s with two: {:.2} x",
        one / two
    ))
}

/// Seconds that a sweep takes with so many processes at once.
#[allow(
    clippy::disallowed_methods,
    reason = "the benchmark runs outside of the simulation"
)]
fn sweep(processes: u32) -> Result<f64, Box<dyn std::error::Error>> {
    let story = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/quick.toml");
    let start = std::time::Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_smartnodes-sim"))
        .args([
            "sweep",
            story,
            "--seeds",
            SEEDS,
            "--jobs",
            &processes.to_string(),
        ])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stdout).into());
    }
    Ok(start.elapsed().as_secs_f64())
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
    // One interval of eight hours says as much as two.
    scenario.insert("updates".to_owned(), 1.into());
    scenario.remove("transfer");
    let user = scenario.get_mut("user").and_then(toml::Value::as_array_mut);
    let jobs = user.and_then(|user| user[0].get_mut("job")?.as_array_mut());
    jobs.ok_or("the story has no jobs")?.truncate(1);
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
    let hosts = record["hosts"].as_f64().ok_or("no hosts in the record")?;
    // Of the largest run so far, which is this one. In KiB on Linux.
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss() as f64 * 1024.0 / 1e6;
    Ok(format!(
        "{:>6} {virtual_seconds:>12.0} {used:>9.1} {:>16.0} {:>14.1} {:>10} {:>9.1}",
        record["hosts"],
        virtual_seconds / used,
        used * 86_400.0 / virtual_seconds,
        record["messages"],
        peak / hosts
    ))
}
