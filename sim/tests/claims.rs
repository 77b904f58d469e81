//! When all is claimed, workers rest: also where nobody had a share in the first distribution.
#![cfg(madsim)]

mod common;

use std::fs;

use common::{record, run};
use serde_json::Value;

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "reads the trace of a run that is over"
)]
fn a_distribution_of_nothing_is_not_asked_for_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().display().to_string();
    let scenario = "scenarios/tokenomics/long-silence.toml";
    let record = record(&run(scenario, 3, &["--out", &out]));
    assert_eq!(record["outcome"], "held", "{record}");
    let trace = fs::read_to_string(folder.path().join("trace.jsonl")).expect("a trace");
    let events = trace.lines().filter(|line| line.contains("rewards"));
    let waits = events.filter_map(|line| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        (event["message"] == "not all rewards are claimed").then(|| event["t"].as_u64())?
    });
    let ended = record["virtual_seconds"].as_f64().expect("seconds");
    // The run goes on for a minute when everything is claimed.
    let late: Vec<f64> = waits
        .map(|nanos| nanos as f64 / 1e9)
        .filter(|at| *at > ended - 50.0)
        .collect();
    assert!(late.is_empty(), "{late:?}, the run ended at {ended}");
}
