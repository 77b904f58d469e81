//! The exact wei of every balance after the whitepaper's story, from first principles: nothing here asks a contract.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use std::collections::BTreeMap;

use common::{record, run, stderr};
use serde_json::Value;

const SNO: u128 = 10u128.pow(18);

/// What one update paid for: capacity by worker, and the validators that approved it.
#[derive(Default)]
struct Update {
    capacities: BTreeMap<String, u128>,
    voters: Vec<String>,
}

/// Reads from the trace what validators approved and what workers claimed, by update from 1.
fn updates(trace: &str) -> BTreeMap<u64, Update> {
    let mut updates: BTreeMap<u64, Update> = BTreeMap::new();
    let mut executed = std::collections::BTreeSet::new();
    for line in trace.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (host, fields) = (
            line["host"].as_str().unwrap_or_default().to_owned(),
            &line["fields"],
        );
        // Here each round makes an update, so their numbers are the same.
        let number = |name: &str| fields[name].as_u64().unwrap();
        match line["message"].as_str() {
            Some("voted") => {
                let round = number("round");
                assert!(
                    !executed.contains(&round),
                    "a vote after the execution would not be paid"
                );
                updates.entry(round).or_default().voters.push(host);
            }
            Some("executed") => drop(executed.insert(number("round"))),
            Some("reward claimed") => {
                let capacity = &fields["capacity"];
                let capacity = capacity
                    .as_u64()
                    .map(u128::from)
                    .or_else(|| capacity.as_str()?.parse().ok())
                    .unwrap();
                updates
                    .entry(number("distribution"))
                    .or_default()
                    .capacities
                    .insert(host, capacity);
            }
            _ => {}
        }
    }
    updates
}

#[test]
fn every_balance_is_exact_to_the_wei() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        "scenarios/baseline/first-update.toml",
        7,
        &["--out", folder.path().to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = record(&output);
    let updates = updates(&std::fs::read_to_string(folder.path().join("trace.jsonl")).unwrap());
    assert_eq!(updates.len(), 2);

    let mut expected: BTreeMap<String, u128> = BTreeMap::new();
    let mut supply = 3 * 1_000_000 * SNO;
    let mut locked = supply;
    // The user's payment of 50 SNO is paid out with the second update.
    for (number, payments) in [(1, 0), (2, 50 * SNO)] {
        let pool = 45_000 * SNO + payments;
        let (workers, validators) = (pool * 85 / 100, pool * 10 / 100);
        let update = &updates[&number];
        let total: u128 = update.capacities.values().sum();
        let mut claimed = 0;
        for (worker, capacity) in &update.capacities {
            let share = workers * capacity / total;
            claimed += share;
            *expected.entry(worker.clone()).or_default() += share;
        }
        let each = validators / update.voters.len() as u128;
        for voter in &update.voters {
            *expected.entry(voter.clone()).or_default() += each;
        }
        *expected.entry("treasury".to_owned()).or_default() +=
            pool - workers - each * update.voters.len() as u128;
        // What is not claimed consists of payments in the proportion of the pool; the rest of it is never minted.
        let from_payments = payments * 85 / 100;
        let handed_on = from_payments - from_payments * (workers - claimed) / workers;
        supply += 45_000 * SNO - (workers - from_payments) + (claimed - handed_on);
        locked += from_payments - handed_on;
    }
    *expected.get_mut("worker-1").unwrap() -= 200 * SNO;
    expected.insert("user-1".to_owned(), (200 - 100 - 50) * SNO);
    locked += 100 * SNO;
    expected.insert("token".to_owned(), locked);
    expected.insert("supply".to_owned(), supply);

    let balances = record["balances"].as_object().unwrap();
    let found: BTreeMap<String, u128> = balances
        .iter()
        .map(|(name, wei)| (name.clone(), wei.as_str().unwrap().parse().unwrap()))
        .collect();
    assert_eq!(found, expected);
    let held: u128 = found
        .iter()
        .filter(|(name, _)| *name != "supply")
        .map(|(_, wei)| wei)
        .sum();
    assert_eq!(held, supply, "every wei is somewhere");
}
