//! One seed and one scenario give one run, in any process; another seed gives another.
#![cfg(madsim)]

mod common;

use std::collections::BTreeSet;

use common::{record, run, stderr, stdout};

/// A short story: what repeats here repeats in a long one, but for what only time brings, which `--check` on the real
/// scenarios covers.
const QUICK: &str = "sim/tests/quick.toml";

#[test]
fn a_seed_gives_the_same_trace_in_every_process_and_another_seed_another() {
    let mut hashes = BTreeSet::new();
    for seed in 1..=4 {
        let records: Vec<_> = (0..3).map(|_| record(&run(QUICK, seed, &[]))).collect();
        for record in &records {
            assert_eq!(record["outcome"], "held", "{record}");
            assert_eq!(
                record["trace_hash"], records[0]["trace_hash"],
                "seed {seed}"
            );
            assert_eq!(record["messages"], records[0]["messages"]);
            assert_eq!(record["virtual_seconds"], records[0]["virtual_seconds"]);
        }
        hashes.insert(records[0]["trace_hash"].as_str().unwrap().to_owned());
    }
    assert_eq!(hashes.len(), 4);
}

#[test]
fn runs_at_the_same_time_do_not_disturb_each_other() {
    let alone = record(&run(QUICK, 9, &[]));
    #[allow(clippy::disallowed_methods, reason = "starts processes side by side")]
    let together: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(|| record(&run(QUICK, 9, &[]))))
        .collect();
    for thread in together {
        assert_eq!(thread.join().unwrap()["trace_hash"], alone["trace_hash"]);
    }
}

#[test]
fn check_compares_two_runs_and_the_record_has_all_that_is_promised() {
    let output = run(QUICK, 5, &["--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("left the same trace"),
        "{}",
        stdout(&output)
    );
    let first_line = stdout(&output)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    assert!(
        first_line.contains("cargo sim run sim/tests/quick.toml --seed 5"),
        "{first_line}"
    );
    let record = record(&output);
    for field in [
        "scenario",
        "seed",
        "trace_hash",
        "virtual_seconds",
        "wall_seconds",
        "hosts",
        "messages",
        "state_updates",
        "jobs",
        "claims",
        "violations",
        "outcome",
    ] {
        assert!(
            record.get(field).is_some(),
            "{field} is missing in {record}"
        );
    }
    for field in ["submitted", "completed", "failed"] {
        assert!(
            record["jobs"].get(field).is_some(),
            "jobs.{field} is missing in {record}"
        );
    }
    assert_eq!(record["hosts"], 6);
    assert_eq!(record["state_updates"], 1);
}

#[test]
fn a_run_that_cannot_end_in_time_is_a_violation_with_the_command_that_replays_it() {
    let output = run("sim/tests/hopeless.toml", 3, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let record = record(&output);
    assert_eq!(record["outcome"], "violated");
    assert_eq!(
        record["violations"][0]["invariant"], "ends-in-time",
        "{record}"
    );
    assert!(
        stdout(&output).contains("replay: cargo sim run sim/tests/hopeless.toml --seed 3"),
        "{}",
        stdout(&output)
    );
}
