//! Flaws of the contracts that only a network shows: with a contract that has one, scenarios of the library see it.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{record, root, run};

/// Runs a scenario of the library on a broken variant of a contract with these seeds, and returns the invariants that break.
fn broken(scenario: &str, variant: &str, seeds: std::ops::Range<u64>) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(format!("scenarios/{scenario}.toml")))
        .expect("a scenario of the library");
    let replaced = format!("[chain]\nreplaced = [\"evm/artifacts/variants/{variant}.json\"]\n");
    let text = text.replacen("[chain]\n", &replaced, 1);
    assert!(text.contains("replaced"), "{scenario} has a [chain] table");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("flawed.toml");
    fs::write(&file, text).expect("a temporary file");
    let mut invariants = BTreeSet::new();
    for seed in seeds {
        let record = record(&run(file.to_str().expect("a plain path"), seed, &[]));
        for violation in record["violations"].as_array().into_iter().flatten() {
            invariants.extend(violation["invariant"].as_str().map(str::to_owned));
        }
        if !invariants.is_empty() {
            break;
        }
    }
    invariants
}

fn sees(scenario: &str, variant: &str, invariant: &str) {
    let seen = broken(scenario, variant, 1..4);
    assert!(
        seen.contains(invariant),
        "{variant} in {scenario}: {seen:?}"
    );
}

#[test]
fn a_vote_that_stays_when_its_validator_leaves_is_cast_twice() {
    sees(
        "governance/leave-and-rejoin",
        "f01",
        "votes-of-the-snapshot",
    );
}

#[test]
fn a_late_proposal_that_discards_those_before_it_wipes_their_votes() {
    sees("validator/griefing", "f10", "approved");
}

#[test]
fn a_total_that_no_hash_binds_is_understated() {
    sees("validator/understated-total", "f20", "executed-is-true");
}
