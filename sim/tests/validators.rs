//! Validators that cheat: on this side of the line nothing gives way, beyond it the harness sees what does.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use common::{record, root, run, sim, stderr, stdout};
use serde_json::Value;

const COLLUDERS: &str = "scenarios/validator/colluders.toml";

fn acts<'a>(record: &'a Value, host: &str) -> &'a serde_json::Map<String, Value> {
    let acts = record["misdeeds"][host].as_object();
    acts.unwrap_or_else(|| panic!("{host} has done nothing: {record}"))
}

#[test]
fn one_less_than_the_threshold_gets_nothing_executed_and_the_threshold_does() {
    let near = run(COLLUDERS, 5, &[]);
    let record_near = record(&near);
    assert_eq!(near.status.code(), Some(0), "{}", stdout(&near));
    assert_eq!(record_near["state_updates"], 0);
    assert_eq!(record_near["limit"], "near");
    assert_eq!(record_near["adversaries"], 2);
    assert!(acts(&record_near, "validator-3").contains_key("vote-for-accomplice"));

    let far = run(COLLUDERS, 5, &["--adversaries", "3"]);
    let record_far = record(&far);
    assert_eq!(far.status.code(), Some(0), "{}", stdout(&far));
    assert_eq!(
        (&record_far["limit"], &record_far["adversaries"]),
        (&"far".into(), &3.into())
    );
    assert_eq!(record_far["violations"], Value::Array(Vec::new()));
    assert_eq!(record_far["expected"][0]["invariant"], "executed-is-true");
}

#[test]
fn a_failure_beyond_the_limit_that_nobody_sees_fails_the_run() {
    let text = std::fs::read_to_string(root().join(COLLUDERS)).expect("it is there");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("colluders.toml");
    // What breaks is not what is named.
    let other = text.replace("\"executed-is-true\"", "\"supply\"");
    std::fs::write(&file, other).expect("the folder can be written");
    let path = file.to_str().expect("a plain path");
    let output = run(path, 5, &["--adversaries", "3"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let record = record(&output);
    let violations = record["violations"].as_array().expect("a list");
    let names: Vec<&str> = violations
        .iter()
        .filter_map(|v| v["invariant"].as_str())
        .collect();
    assert!(
        names.contains(&"executed-is-true") && names.contains(&"limit"),
        "{names:?}"
    );
}

#[test]
fn nobody_honest_votes_for_what_is_made_up() {
    for (scenario, acted) in [
        ("expelling", "false-proposal"),
        ("wrong-total", "false-proposal"),
        ("withheld-payload", "false-proposal"),
        ("forged-receipts", "forged-receipt"),
    ] {
        let output = run(&format!("scenarios/validator/{scenario}.toml"), 3, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
        let record = record(&output);
        assert!(acts(&record, "validator-4").contains_key(acted), "{record}");
    }
}

#[test]
fn what_can_be_done_once_is_refused_a_second_time() {
    let mut refused = 0;
    for seed in 1..=3 {
        let output = run("scenarios/validator/equivocation.toml", seed, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
        let record = record(&output);
        let acts = acts(&record, "validator-4");
        for what in ["proposal", "vote"] {
            let taken = format!("second-{what}-taken");
            assert!(!acts.contains_key(&taken), "{record}");
            let times = acts.get(&format!("second-{what}-refused"));
            refused += times.map_or(0, |n| n.as_u64().unwrap_or(0));
        }
    }
    assert!(refused > 0, "nothing was tried twice");
}

#[test]
fn a_side_that_is_none_is_refused() {
    for (scenario, count, words) in [
        ("scenarios/baseline/first-update.toml", "1", "add a [limit]"),
        (COLLUDERS, "9", "could be"),
        ("scenarios/validator/expelling.toml", "2", "neither side"),
    ] {
        let output = sim(&["run", scenario, "--adversaries", count]);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
