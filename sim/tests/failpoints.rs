//! A validator is killed at every fail point of two rounds: nothing is lost, nothing is done twice.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{record, run};
use serde_json::Value;

/// Two rounds of ten minutes; the second update settles what the first has not.
const STORY: &str = r#"
name = "two-rounds"
summary = "Two short rounds: for the sweep of the fail points"
updates = 2
deadline = "3h"

[chain]
update_interval = "10m"

[[validator]]
count = 3

[[worker]]
count = 1

[[user]]
count = 1

[[user.job]]
network = "hash-chain"
steps = 2_000

[[user.job]]
network = "hash-chain"
steps = 2_000
after_update = 1
"#;

const VICTIM: &str = "validator-1";
const SEED: u64 = 1;

/// Kills that a plain run of the tests makes: as many as CI has time for, spread over all fail points.
const KILLS: usize = 16;

/// Runs the story with further lines, and returns its record and the lines of its trace.
fn play(folder: &Path, more: &str) -> (Value, Vec<Value>) {
    let file = folder.join("story.toml");
    std::fs::write(&file, format!("{STORY}{more}")).expect("a temporary file");
    let out = folder.join("out");
    let output = run(
        file.to_str().expect("a plain path"),
        SEED,
        &["--out", out.to_str().expect("a plain path")],
    );
    let trace = std::fs::read_to_string(out.join("trace.jsonl")).unwrap_or_default();
    let lines = trace
        .lines()
        .map(|line| serde_json::from_str(line).expect("a trace is JSON"));
    (record(&output), lines.collect())
}

/// Receipts of which a host has told with this message, by host.
fn receipts(trace: &[Value], message: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut by_host: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in trace.iter().filter(|line| line["message"] == message) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let receipt = text(&line["fields"]["receipt"]);
        by_host
            .entry(text(&line["host"]))
            .or_default()
            .insert(receipt);
    }
    by_host
}

/// Every passing of every fail point by the victim, as a plain run of the story has them.
fn passings(record: &Value) -> Vec<(String, u64)> {
    let points = record["points"]
        .as_object()
        .expect("the record counts them");
    let count = |by: &Value| by[VICTIM].as_u64().unwrap_or(0);
    let passings = points
        .iter()
        .flat_map(|(point, by)| (1..=count(by)).map(move |pass| (point.clone(), pass)));
    passings.collect()
}

#[test]
fn a_validator_killed_at_any_fail_point_loses_nothing_and_does_nothing_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (plain, _) = play(folder.path(), "");
    assert_eq!(plain["outcome"], "held", "{plain}");
    let all = passings(&plain);
    for needed in [
        "votes/write",
        "votes/written",
        "vote/signed",
        "vote/sent",
        "vote/included",
        "vote/confirmed",
        "receipts/written",
        "receipt/gossiped",
        "transactions/write",
        "payloads/written",
        "execute/sent",
        "propose/sent",
    ] {
        assert!(
            plain["points"][needed].is_object(),
            "nobody passes {needed}: {}",
            plain["points"]
        );
    }
    let everything = std::env::var("SMARTNODES_FAILPOINTS").is_ok_and(|which| which == "all");
    let kills: Vec<_> = if everything {
        all
    } else {
        // A first passing of each point, then evenly from these.
        let first: Vec<_> = all.into_iter().filter(|(_, pass)| *pass == 1).collect();
        let step = first.len().div_ceil(KILLS).max(1);
        first.into_iter().step_by(step).collect()
    };
    println!("{} kills", kills.len());
    for (point, pass) in kills {
        let fault = format!(
            "[[fault]]\nkind = \"crash\"\nhost = \"{VICTIM}\"\npoint = \"{point}\"\npass = {pass}\ndown_for = \"20s\"\n"
        );
        let (record, trace) = play(folder.path(), &fault);
        let at = format!("killed at {point}, passing {pass}");
        assert_eq!(record["outcome"], "held", "{at}: {record}");
        assert!(
            record["state_updates"].as_u64() >= Some(2),
            "{at}: {record}"
        );
        assert_eq!(record["jobs"]["completed"], 2, "{at}: {record}");
        assert_eq!(record["faults"][0]["affected"], 1, "{at}: {record}");
        // What the victim has issued, before and after, all others hold.
        let issued = receipts(&trace, "receipt issued");
        let verified = receipts(&trace, "receipt verified");
        let own = issued.get(VICTIM).cloned().unwrap_or_default();
        for other in ["validator-2", "validator-3"] {
            let held = verified.get(other).cloned().unwrap_or_default();
            let lost: Vec<_> = own.difference(&held).collect();
            assert!(lost.is_empty(), "{at}: {other} lacks {lost:?}");
        }
    }
}
