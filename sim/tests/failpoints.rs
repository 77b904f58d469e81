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

const SEED: u64 = 1;

/// A fault for the story: a host is killed as it passes a point, and started again after twenty seconds.
fn kill(victim: &str, point: &str, pass: u64, more: &str) -> String {
    format!(
        "[[fault]]\nkind = \"crash\"\nhost = \"{victim}\"\npoint = \"{point}\"\npass = {pass}\ndown_for = \"20s\"\n{more}"
    )
}

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

/// How long before the end of a run a receipt must have been issued to have reached everybody, in virtual nanoseconds.
const GOSSIP_NANOS: u64 = 60_000_000_000;

/// Receipts of which a host has told with this message up to a time, by host.
fn receipts(trace: &[Value], message: &str, until: u64) -> BTreeMap<String, BTreeSet<String>> {
    let mut by_host: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let told = |line: &&Value| line["message"] == message && line["t"].as_u64() <= Some(until);
    for line in trace.iter().filter(told) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let receipt = text(&line["fields"]["receipt"]);
        by_host
            .entry(text(&line["host"]))
            .or_default()
            .insert(receipt);
    }
    by_host
}

/// Every passing of every fail point by a host. The story has a fault that never comes, so that up to the kill a run with
/// one is the same run.
fn passings(folder: &Path, victim: &str) -> Vec<(String, u64)> {
    let (record, _) = play(
        folder,
        &kill(victim, "withdraw-eth/sent", 1, "may_miss = true\n"),
    );
    assert_eq!(record["outcome"], "held", "{record}");
    let points = record["points"]
        .as_object()
        .expect("the record counts them");
    let count = |by: &Value| by[victim].as_u64().unwrap_or(0);
    let passings = points
        .iter()
        .flat_map(|(point, by)| (1..=count(by)).map(move |pass| (point.clone(), pass)));
    passings.collect()
}

#[test]
fn a_validator_killed_at_any_fail_point_loses_nothing_and_does_nothing_twice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let everything = std::env::var("SMARTNODES_FAILPOINTS").is_ok_and(|which| which == "all");
    let mut seen = BTreeSet::new();
    let mut kills = 0;
    for victim in ["validator-1", "validator-2", "validator-3"] {
        for (point, pass) in passings(folder.path(), victim) {
            // A plain run of the tests has time for each point once.
            if seen.insert(point.clone()) || everything {
                killed(folder.path(), victim, &point, pass);
                kills += 1;
            }
        }
    }
    println!("{kills} kills at {} fail points", seen.len());
    for needed in [
        "votes/write",
        "votes/written",
        "vote/signed",
        "vote/sent",
        "vote/included",
        "vote/confirmed",
        "propose/signed",
        "propose/sent",
        "propose/included",
        "propose/confirmed",
        "execute/signed",
        "execute/sent",
        "execute/included",
        "execute/confirmed",
        "open-round/sent",
        "payload/published",
        "payloads/written",
        "receipt/gossiped",
        "receipts/write",
        "receipts/written",
        "jobs/write",
        "jobs/written",
        "transactions/write",
        "transactions/written",
    ] {
        assert!(
            seen.contains(needed),
            "no validator passes {needed}: {seen:?}"
        );
    }
}

/// Kills a validator once, and looks at what became of everything.
fn killed(folder: &Path, victim: &str, point: &str, pass: u64) {
    let (record, trace) = play(folder, &kill(victim, point, pass, ""));
    let at = format!("{victim} killed at {point}, passing {pass}");
    assert_eq!(record["outcome"], "held", "{at}: {record}");
    assert!(
        record["state_updates"].as_u64() >= Some(2),
        "{at}: {record}"
    );
    assert_eq!(record["jobs"]["completed"], 2, "{at}: {record}");
    assert_eq!(record["faults"][0]["affected"], 1, "{at}: {record}");
    // What the victim has issued, before and after, all others hold.
    let end = trace
        .last()
        .and_then(|line| line["t"].as_u64())
        .unwrap_or(0);
    let issued = receipts(&trace, "receipt issued", end.saturating_sub(GOSSIP_NANOS));
    let verified = receipts(&trace, "receipt verified", end);
    let own = issued.get(victim).cloned().unwrap_or_default();
    for (other, held) in verified
        .iter()
        .filter(|(other, _)| other.starts_with("validator"))
    {
        let lost: Vec<_> = own.difference(held).collect();
        assert!(lost.is_empty(), "{at}: {other} lacks {lost:?}");
    }
}
