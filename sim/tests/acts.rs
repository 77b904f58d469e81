//! What people do on chain is on record, and an act without the effect that the scenario states fails the run.
#![cfg(madsim)]

mod common;

use common::{record, run, stderr};
use serde_json::Value;

/// Kind and effect of each act, in the order of the file.
fn effects(record: &Value) -> Vec<(String, String)> {
    let acts = record["acts"].as_array().expect("a record has its acts");
    let text = |act: &Value, field: &str| act[field].as_str().unwrap_or_default().to_owned();
    acts.iter()
        .map(|act| (text(act, "kind"), text(act, "effect")))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(kind, effect)| ((*kind).to_owned(), (*effect).to_owned()))
        .collect()
}

#[test]
fn an_act_without_its_stated_effect_is_a_violation() {
    let output = run("sim/tests/wrong-act.toml", 1, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let record = record(&output);
    assert_eq!(
        effects(&record),
        pairs(&[("leave", "included"), ("rejoin", "included")])
    );
    let violations = record["violations"].as_array().expect("there are some");
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!(violations[0]["invariant"], "act-has-effect");
}

#[test]
fn claims_that_must_not_be_paid_are_refused_by_name() {
    let output = run("scenarios/tokenomics/double-claims.toml", 3, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = record(&output);
    let expected = [
        ("claim-again", "Token__RewardsAlreadyClaimed"),
        ("claim-foreign", "Token__InvalidMerkleProof"),
        ("claim-unknown", "Token__UnknownDistribution"),
    ];
    assert_eq!(effects(&record), pairs(&expected));
}
