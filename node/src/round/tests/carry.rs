//! Over any sequence of rounds, with late receipts, lost proposals and reorganisations, each piece of work is settled
//! exactly once, and none is lost.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::jobs::ledger::Ledger;
use crate::jobs::receipt::Receipt;
use crate::round::aggregate::compose;
use crate::round::judge::{RoundFacts, judge};
use crate::round::payload::Payload;
use crate::signed::Signed;
use crate::testing::{challenge_receipt, domain, job_receipt, job_request, ledger, wallet};

const VALIDATORS: usize = 3;
const ROUNDS: u64 = 6;
/// Seconds between two due times.
const INTERVAL: u64 = 1_000;
const GOSSIP_MARGIN: u64 = 30;

/// What becomes of a round's proposal.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Executed,
    /// Nobody votes in time.
    Lost,
    /// Executed, and then a reorganisation drops it: the round is held again, by another proposer.
    Reorganised,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    proposer: usize,
    fate: Fate,
    /// Whether the validators exchange what they hold before the round.
    synced: bool,
}

/// When and where a receipt turns up: the round, and by bit the validators.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    round: u64,
    holders: u8,
    /// After the round's proposal is built.
    late: bool,
}

fn round() -> impl Strategy<Value = Round> {
    let fate = prop_oneof![
        3 => Just(Fate::Executed),
        2 => Just(Fate::Lost),
        2 => Just(Fate::Reorganised),
    ];
    (0..VALIDATORS, fate, any::<bool>()).prop_map(|(proposer, fate, synced)| Round {
        proposer,
        fate,
        synced,
    })
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (1..=ROUNDS, 1..1u8 << VALIDATORS, any::<bool>()).prop_map(|(round, holders, late)| Arrival {
        round,
        holders,
        late,
    })
}

/// Receipts for challenges and for paid jobs, some of the jobs with a receipt of each of two validators.
async fn receipts() -> Vec<Signed<Receipt>> {
    let workers = [wallet(11), wallet(12)];
    let mut receipts = Vec::new();
    for worker in &workers {
        for index in 0..2 {
            receipts.push(challenge_receipt(&wallet(1), worker, 1, index, 10).await);
        }
    }
    for nonce in 0..4 {
        let request = job_request(&wallet(9), nonce, 1_000, 1);
        for validator in [wallet(1), wallet(2)].iter().take(1 + nonce as usize % 2) {
            let request = request.clone();
            receipts.push(job_receipt(validator, &[&workers[0]], request, 1, 20).await);
        }
    }
    receipts
}

fn slot_of(receipt: &Signed<Receipt>) -> B256 {
    receipt.body.slot(&domain()).hash()
}

/// Every validator gets what any other holds.
fn sync(ledgers: &mut [Ledger], now: u64) {
    let all: Vec<Signed<Receipt>> = ledgers
        .iter()
        .flat_map(|ledger| {
            ledger
                .unsettled_ids()
                .into_iter()
                .filter_map(|id| ledger.get(id).expect("reads"))
        })
        .collect();
    for ledger in ledgers {
        for receipt in &all {
            ledger.insert(receipt.clone(), now).expect("stored");
        }
    }
}

fn propose(ledger: &Ledger, round: u64, distribution_id: u64) -> Payload {
    let cutoff = round * INTERVAL;
    compose(ledger, round, cutoff, distribution_id, &domain()).expect("aggregates")
}

/// What is executed on the chain as it is in the end.
#[derive(Default)]
struct Chain {
    settled: BTreeMap<B256, u64>,
    distributions: u64,
}

impl Chain {
    fn execute(&mut self, ledgers: &mut [Ledger], payload: &Payload) -> Result<(), TestCaseError> {
        self.distributions += 1;
        prop_assert_eq!(payload.distribution_id, self.distributions);
        for (_, slot) in &payload.receipts {
            let before = self.settled.insert(*slot, self.distributions);
            prop_assert_eq!(before, None, "settled twice");
        }
        settle_all(ledgers, payload);
        Ok(())
    }
}

fn settle_all(ledgers: &mut [Ledger], payload: &Payload) {
    for ledger in ledgers {
        ledger
            .settle(&payload.receipts, payload.distribution_id, payload.round)
            .expect("settles");
    }
}

fn play(
    receipts: &[Signed<Receipt>],
    rounds: &[Round],
    arrivals: &[Arrival],
) -> Result<(), TestCaseError> {
    let mut ledgers: Vec<Ledger> = (0..VALIDATORS).map(|_| ledger()).collect();
    let mut chain = Chain::default();
    let arrive = |ledgers: &mut [Ledger], round: u64, late: bool| {
        for (receipt, arrival) in receipts.iter().zip(arrivals) {
            if (arrival.round, arrival.late) != (round, late) {
                continue;
            }
            for (place, ledger) in ledgers.iter_mut().enumerate() {
                if arrival.holders & (1 << place) != 0 {
                    let now = round * INTERVAL - 1;
                    ledger.insert(receipt.clone(), now).expect("stored");
                }
            }
        }
    };
    let mut number = 0;
    for round in rounds {
        number += 1;
        arrive(&mut ledgers, number, false);
        if round.synced {
            sync(&mut ledgers, number * INTERVAL - 1);
        }
        let id = chain.distributions + 1;
        let payload = propose(&ledgers[round.proposer], number, id);
        arrive(&mut ledgers, number, true);
        match round.fate {
            Fate::Executed => chain.execute(&mut ledgers, &payload)?,
            Fate::Lost => {}
            Fate::Reorganised => {
                settle_all(&mut ledgers, &payload);
                for ledger in &mut ledgers {
                    ledger.unsettle(&payload.receipts, id).expect("unsettles");
                }
                let next = (round.proposer + 1) % VALIDATORS;
                let another = propose(&ledgers[next], number, id);
                chain.execute(&mut ledgers, &another)?;
            }
        }
    }
    // In the end everything has reached everybody, and one more round settles what is left.
    sync(&mut ledgers, number * INTERVAL);
    number += 1;
    let payload = propose(&ledgers[0], number, chain.distributions + 1);
    let facts = RoundFacts {
        round: number,
        cutoff: number * INTERVAL,
        distribution_id: payload.distribution_id,
        gossip_margin_seconds: GOSSIP_MARGIN,
    };
    for voter in &ledgers {
        let verdict = judge(&payload, &facts, voter, &domain());
        prop_assert!(verdict.is_ok(), "{:?}", verdict);
    }
    chain.execute(&mut ledgers, &payload)?;
    let settled: BTreeSet<B256> = chain.settled.keys().copied().collect();
    prop_assert_eq!(
        settled,
        receipts.iter().map(slot_of).collect(),
        "one is lost"
    );
    for ledger in &ledgers {
        prop_assert_eq!(ledger.unsettled_ids(), Vec::<B256>::new());
        for (slot, id) in &chain.settled {
            prop_assert_eq!(ledger.settled(*slot).expect("reads"), Some(*id));
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_slot_is_settled_once_and_none_is_lost() {
    let receipts = receipts().await;
    let strategy = (
        prop::collection::vec(round(), ROUNDS as usize),
        prop::collection::vec(arrival(), receipts.len()),
    );
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&strategy, |(rounds, arrivals)| {
            play(&receipts, &rounds, &arrivals)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn what_is_given_back_survives_a_restart() {
    let store = crate::store::Store::open(redb::backends::InMemoryBackend::new())
        .expect("an empty database opens");
    let open = || Ledger::open(store.clone(), domain()).expect("opens");
    let mut ledger = open();
    for receipt in receipts().await {
        ledger.insert(receipt, 100).expect("stored");
    }
    let before = ledger.unsettled_ids();
    let payload = propose(&ledger, 1, 1);
    ledger.settle(&payload.receipts, 1, 1).expect("settles");
    ledger = open();
    assert!(ledger.unsettled_ids().is_empty());
    // What another distribution has settled stays settled.
    ledger.unsettle(&payload.receipts, 2).expect("unsettles");
    assert!(ledger.unsettled_ids().is_empty());
    ledger.unsettle(&payload.receipts, 1).expect("unsettles");
    let given_back = ledger.unsettled_ids();
    assert_eq!(propose(&ledger, 1, 1), payload);
    assert!(given_back.iter().all(|id| before.contains(id)));
    assert_eq!(open().unsettled_ids(), given_back);
}
