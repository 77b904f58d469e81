//! Flaws of contracts that only a network shows: sweeps of the library find them where a contract has them, and nothing
//! where it has not.
//!
//! `SMARTNODES_FLAW_SEEDS=20 cargo simtest --test flaws -- --nocapture` says what is seen in how many of so many seeds.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use std::fs;

use common::{root, sim, stderr, stdout};
use serde_json::Value;

/// Seeds of each sweep.
const SEEDS: u64 = 3;

/// Sweeps a scenario of the library, with a broken variant in the place of a contract if one is named. Returns in how many
/// of how many runs which invariants did not hold.
fn sweep(scenario: &str, variant: Option<&str>) -> (u64, Value) {
    let path = root().join(format!("scenarios/{scenario}.toml"));
    let mut text = fs::read_to_string(path).expect("a scenario of the library");
    if let Some(variant) = variant {
        let replaced = format!("[chain]\nreplaced = [\"evm/artifacts/variants/{variant}.json\"]\n");
        text = text.replacen("[chain]\n", &replaced, 1);
        assert!(text.contains("replaced"), "{scenario} has a [chain] table");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("flaw.toml");
    fs::write(&file, text).expect("a temporary file");
    let seeds = std::env::var("SMARTNODES_FLAW_SEEDS").ok();
    let seeds: u64 = seeds.map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let path = file.to_str().expect("a plain path");
    let range = format!("1..{}", seeds + 1);
    let output = sim(&["sweep", path, "--seeds", &range, "--keep-going", "--json"]);
    let text = stdout(&output);
    let summary: Value = serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error} in {text}; {}", stderr(&output)));
    assert_eq!(summary["done"], seeds, "{summary}");
    (seeds, summary["coverage"].clone())
}

/// With the variant, the invariant breaks in some seed; with the contract as it is, none does in any.
#[track_caller]
fn is_found(variant: &str, scenario: &str, misdeed: &str, invariant: &str) {
    let (seeds, seen) = sweep(scenario, Some(variant));
    let violated = &seen["violated"];
    println!("{variant} in {scenario}, of {seeds} seeds: {violated}");
    assert!(violated.get(invariant).is_some(), "{variant}: {violated}");
    let (_, seen) = sweep(scenario, None);
    assert_eq!(seen["violated"], serde_json::json!({}), "{scenario}");
    // Not for want of trying.
    let tried = &seen["misdeeds"][misdeed]["runs"];
    assert_eq!(*tried, seeds, "{misdeed}: {}", seen["misdeeds"]);
}

#[test]
fn a_vote_that_outlives_its_voter_is_noticed() {
    is_found(
        "f01",
        "validator/returning",
        "validator returning",
        "votes-are-counted",
    );
}

#[test]
fn a_late_proposal_that_wipes_those_before_it_is_noticed() {
    is_found(
        "f10",
        "validator/griefing-late",
        "validator griefing",
        "proposals-stay",
    );
}

#[test]
fn a_total_that_the_hash_does_not_bind_is_overstated() {
    is_found(
        "f20c",
        "validator/overstated-total",
        "validator overstating",
        "executed-is-true",
    );
}
