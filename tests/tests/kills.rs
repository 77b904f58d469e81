//! A validator that is killed again and again, at moments drawn from a seed, on real processes.
//!
//! `SMARTNODES_KILLS=20` kills it so often instead of CI's few times, and `SMARTNODES_KILL_SEED=7` draws other moments.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes, files and clocks are the point here"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, keccak256},
    sol_types::SolCall,
};
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_node::{
    jobs::ledger::Ledger, round::settle::distribution_payload, signed::Domain, store::Store,
};
use smartnodes_tests::story::{Settings, Testnet};
use tokio::time::sleep;

const INTERVAL: u64 = 32;
/// The one that is killed. Both validators are needed for a majority, so nothing is executed without it.
const VICTIM: &str = "validator-1";
const VALIDATORS: [&str; 2] = [VICTIM, "validator-2"];
const KILLS: usize = 4;
const SEED: u64 = 1;
/// The longest that two updates may take.
const PATIENCE: Duration = Duration::from_secs(240);

fn number_from(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    }
}

/// Moments, in order, within the time that two rounds take.
fn moments(seed: u64, count: usize) -> Vec<Duration> {
    let span = 2 * INTERVAL * 1_000;
    let mut moments: Vec<Duration> = (0..count as u64)
        .map(|index| {
            let drawn = keccak256([seed.to_be_bytes(), index.to_be_bytes()].concat());
            let drawn = u64::from_be_bytes(drawn[..8].try_into().expect("eight bytes"));
            Duration::from_millis(drawn % span)
        })
        .collect();
    moments.sort_unstable();
    moments
}

fn executed(testnet: &Testnet) -> Vec<Coordinator::StateUpdateExecuted> {
    testnet
        .chain()
        .events(testnet.deployment().coordinator)
        .expect("logs")
}

#[tokio::test]
async fn a_validator_killed_at_random_moments_of_two_rounds_does_nothing_twice_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let seed = number_from("SMARTNODES_KILL_SEED", SEED);
    let kills = number_from("SMARTNODES_KILLS", KILLS as u64) as usize;
    let settings = Settings {
        validators: VALIDATORS.len() as u16,
        workers: 2,
        users: 1,
        updates: 1,
        interval_seconds: INTERVAL,
        dir: dir.path().join("testnet"),
        rpc_port: 0,
    };
    let mut testnet = Testnet::start(settings).await.expect("the network starts");
    let moments = moments(seed, kills);
    println!("{VICTIM} is killed {kills} times, seed {seed}: {moments:?} after the start");
    let start = Instant::now();
    for moment in moments {
        sleep(moment.saturating_sub(start.elapsed())).await;
        testnet.kill(VICTIM).await.expect("it was running");
        testnet.restart(VICTIM).await.expect("it starts again");
        testnet.check_nodes().await.expect("the others live");
    }
    while executed(&testnet).len() < 2 {
        assert!(
            start.elapsed() < PATIENCE,
            "two updates are not executed within {PATIENCE:?}"
        );
        testnet.check_nodes().await.expect("every node lives");
        sleep(Duration::from_millis(500)).await;
    }
    println!("two updates after {:?}", start.elapsed());
    testnet.stop_nodes().await.expect("they stop");

    for name in VALIDATORS {
        nothing_twice(&testnet, testnet.address(name).expect("a node"));
    }
    nothing_lost(&testnet);
}

/// No vote, no proposal, no execution and no transaction twice.
fn nothing_twice(testnet: &Testnet, validator: Address) {
    let coordinator = testnet.deployment().coordinator;
    let votes: Vec<Coordinator::VoteCast> = testnet.chain().events(coordinator).expect("logs");
    let rounds: Vec<u64> = votes
        .iter()
        .filter(|vote| vote.validator == validator)
        .map(|vote| vote.round)
        .collect();
    assert!(!rounds.is_empty(), "it has voted");
    let distinct: BTreeSet<u64> = rounds.iter().copied().collect();
    assert_eq!(distinct.len(), rounds.len(), "votes in rounds {rounds:?}");
    let mut count: BTreeMap<_, usize> = BTreeMap::new();
    for sent in testnet.chain().sent_by(validator).expect("blocks") {
        // The one call that belongs to a round more than once.
        if sent
            .input
            .starts_with(&Coordinator::openRoundCall::SELECTOR)
        {
            continue;
        }
        *count.entry((sent.to, sent.input)).or_default() += 1;
    }
    assert!(!count.is_empty());
    for ((to, input), times) in count {
        assert_eq!(
            times, 1,
            "{validator} called {to:?} with {input} {times} times"
        );
    }
}

/// Receipts that a validator says it has issued, by its log: it says so when they are on its disk.
fn issued(testnet: &Testnet, name: &str) -> Vec<B256> {
    let log = fs::read_to_string(testnet.layout().log_file(name)).expect("a log");
    log.lines()
        .filter(|line| line.contains("receipt issued"))
        .map(|line| {
            let (_, id) = line.split_once("receipt=").expect("it names the receipt");
            let id = id.split_whitespace().next().unwrap_or_default();
            id.parse().expect("a hash")
        })
        .collect()
}

/// Every receipt issued is settled in one update, or still held to be settled by a later one.
fn nothing_lost(testnet: &Testnet) {
    let deployment = testnet.deployment();
    let domain = Domain {
        chain_id: deployment.chain_id,
        core: deployment.core,
        coordinator: deployment.coordinator,
    };
    let mut settled_in: BTreeMap<B256, BTreeSet<u64>> = BTreeMap::new();
    let mut receipts = 0;
    for name in VALIDATORS {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(testnet.layout().database_file(name))
            .expect("a database");
        let backend = redb::backends::FileBackend::new(file).expect("nobody else has it");
        let store = Store::open(backend).expect("a database of ours");
        let ledger = Ledger::open(store.clone(), domain).expect("a ledger");
        for id in 1..=executed(testnet).len() as u64 {
            // The last one may have come too late to be settled here.
            let Some(payload) = distribution_payload(&store, id).expect("reads") else {
                continue;
            };
            for (_, slot) in payload.body.payload.receipts {
                settled_in.entry(slot).or_default().insert(id);
            }
        }
        let held: BTreeSet<B256> = ledger.unsettled_ids().into_iter().collect();
        for id in issued(testnet, name) {
            receipts += 1;
            let receipt = ledger
                .get(id)
                .expect("reads")
                .unwrap_or_else(|| panic!("{name} has lost receipt {id}"));
            let slot = receipt.body.slot(&domain).hash();
            let settled = ledger.settled(slot).expect("reads");
            assert!(
                settled.is_some() != held.contains(&id),
                "{name}: receipt {id} is settled in {settled:?}, held: {}",
                held.contains(&id)
            );
        }
    }
    for (slot, distributions) in &settled_in {
        assert_eq!(
            distributions.len(),
            1,
            "{slot} is settled in {distributions:?}"
        );
    }
    assert!(!settled_in.is_empty(), "work was paid for");
    println!(
        "{receipts} receipts issued, {} slots settled",
        settled_in.len()
    );
}
