//! A failure among many hosts and faults is brought to what it takes, and fails for the same reason.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use common::{sim, stderr, stdout};
use serde_json::Value;
use smartnodes_scenarios::{FaultKind, Scenario};

const CROWDED: &str = "sim/tests/crowded.toml";
const INVARIANT: &str = "proposals-stay";

#[test]
fn twelve_hosts_and_ten_faults_come_down_to_what_is_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("a plain path");
    let found = sim(&["sweep", CROWDED, "--seeds", "1..2", "--out", out]);
    assert_eq!(found.status.code(), Some(1), "{}", stdout(&found));
    let case = folder.path().join("cases/crowded-1.json");
    let read = |path: &std::path::Path| -> (Value, Scenario) {
        let text = std::fs::read_to_string(path).expect("a case");
        let case: Value = serde_json::from_str(&text).expect("a case");
        let text = case["scenario"].as_str().expect("a scenario").to_owned();
        let scenario = Scenario::parse("case", &text).expect("a scenario");
        (case, scenario)
    };
    let (large, scenario) = read(&case);
    assert_eq!(large["invariant"], INVARIANT, "{large}");
    assert_eq!((scenario.hosts().count(), scenario.faults.len()), (12, 10));

    let shrunk = sim(&["shrink", case.to_str().expect("a plain path")]);
    assert!(
        shrunk.status.success(),
        "{}{}",
        stdout(&shrunk),
        stderr(&shrunk)
    );
    println!("{}", stdout(&shrunk));
    let small = case.with_extension("small.json");
    let (case, scenario) = read(&small);
    assert_eq!(case["invariant"], INVARIANT, "{case}");
    // One whose proposal is wiped, one who wipes it, and one who gives the chain something to propose; only while no block
    // is made the time passes after which anybody may propose.
    assert!(scenario.hosts().count() <= 4, "{}", stdout(&shrunk));
    let kinds: Vec<&FaultKind> = scenario.faults.iter().map(|fault| &fault.kind).collect();
    assert_eq!(kinds, [&FaultKind::SequencerStop], "{}", stdout(&shrunk));
    assert!(scenario.users.iter().all(|user| user.jobs.is_empty()));
    assert_eq!(scenario.updates, 1);
    assert!(scenario.deadline.as_secs() < 3_600, "{}", stdout(&shrunk));

    let replayed = sim(&["replay", small.to_str().expect("a plain path")]);
    assert_eq!(replayed.status.code(), Some(1), "{}", stdout(&replayed));
    assert!(stdout(&replayed).contains(INVARIANT));
    assert!(!stdout(&replayed).contains("the case violated"));
}
