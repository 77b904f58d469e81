//! Any one node is killed at any moment and started again; the story still ends.
#![cfg(madsim)]

mod common;

use common::{record, run};

/// Runs the scenario with some seeds. `SMARTNODES_SEEDS` asks for more: the promise is for 50.
fn holds_for_seeds(scenario: &str) {
    let seeds = std::env::var("SMARTNODES_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    for seed in 1..=seeds {
        let record = record(&run(scenario, seed, &[]));
        assert_eq!(record["outcome"], "held", "seed {seed}: {record}");
        assert_eq!(record["jobs"]["completed"], 2, "seed {seed}: {record}");
        assert_eq!(
            record["faults"].as_array().map(Vec::len),
            Some(1),
            "seed {seed}: {record}"
        );
        assert!(
            record["state_updates"].as_u64() >= Some(2),
            "seed {seed}: {record}"
        );
    }
}

#[test]
fn killed_at_any_moment() {
    holds_for_seeds("scenarios/process/kill-and-restart.toml");
}

#[test]
fn killed_while_a_job_runs() {
    holds_for_seeds("scenarios/process/kill-during-job.toml");
}

#[test]
fn killed_while_a_round_runs() {
    holds_for_seeds("scenarios/process/kill-during-round.toml");
}
