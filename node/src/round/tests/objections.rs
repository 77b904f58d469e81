//! A proposal that is wrong in a single field gets no honest vote, and the objection names the field: one test each.

use alloy::primitives::{Address, B256, U256};
use smartnodes_evm::state_update::{StateUpdate, proposal_hash};

use super::{DUE, facts, full_ledger, payload};
use crate::jobs::ledger::{CARRY_ROUNDS, Ledger};
use crate::round::judge::{Objection, RoundFacts, judge};
use crate::round::payload::{Payload, PayloadError, PublishedError, PublishedPayload};
use crate::signed::Signed;
use crate::testing::{challenge_receipt, domain, job_receipt, job_request, wallet};

/// The objection to an honest payload after `change`, by a voter who holds everything.
async fn objection(change: impl FnOnce(&mut Payload)) -> Objection {
    let ledger = full_ledger().await;
    let good = payload(&ledger);
    assert!(judge(&good, &facts(), &ledger, &domain()).is_ok());
    let mut wrong = good.clone();
    change(&mut wrong);
    assert_ne!(wrong, good, "the change changes something");
    assert_ne!(
        wrong.proposal_hash(&domain()).ok(),
        good.proposal_hash(&domain()).ok(),
        "the hash that is voted for binds it"
    );
    judge(&wrong, &facts(), &ledger, &domain()).expect_err("no vote")
}

/// The objection to what follows from the receipts of `of`, by a voter who holds those of `voter`.
fn objection_of(voter: &Ledger, of: &Ledger, facts: &RoundFacts) -> Objection {
    let all: Vec<_> = of
        .unsettled_ids()
        .into_iter()
        .map(|id| (id, of.get(id).expect("reads").expect("is there").body))
        .collect();
    let wrong = Payload::aggregate(
        facts.round,
        facts.distribution_id,
        all.iter().map(|(id, body)| (*id, body)),
        &domain(),
    )
    .expect("aggregates");
    judge(&wrong, facts, voter, &domain()).expect_err("no vote")
}

/// One test for each change of one field: its name, the change, and what the objection says.
macro_rules! refused {
    ($($name:ident: $change:expr => $words:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let said = objection($change).await.to_string();
            assert!(said.contains($words), "{said}");
        }
    )*};
}

refused! {
    a_raised_capacity: |p| p.workers[0].1 += 1 => "a worker's capacity";
    a_lowered_capacity: |p| p.workers[1].1 -= 1 => "a worker's capacity";
    one_bit_of_a_capacity: |p| p.workers[1].1 ^= 1 << 40 => "a worker's capacity";
    capacities_exchanged_for_the_same_total: |p| {
        p.workers[0].1 += 7;
        p.workers[1].1 -= 7;
    } => "a worker's capacity";
    a_swapped_worker: |p| p.workers[0].0 = Address::repeat_byte(1) => "a worker's capacity";
    a_dropped_worker: |p| p.workers.truncate(1) => "a worker's capacity";
    an_added_worker: |p| p.workers.push((Address::repeat_byte(0xff), 1)) => "a worker's capacity";
    a_worker_listed_twice: |p| p.workers.push(p.workers[0]) => "a worker's capacity";
    another_job: |p| p.jobs[0] = B256::repeat_byte(1) => "the list of jobs";
    an_unfinished_job: |p| {
        p.jobs.push(job_request(&wallet(9), 77, 5_000, 1).body.job_id(&domain()));
        p.jobs.sort_unstable();
    } => "the list of jobs";
    a_dropped_job: |p| p.jobs.clear() => "the list of jobs";
    a_job_listed_twice: |p| p.jobs.push(p.jobs[0]) => "the list of jobs";
    a_free_job_among_the_paid: |p| {
        p.jobs.push(job_request(&wallet(9), 1, 0, 2).body.job_id(&domain()));
        p.jobs.sort_unstable();
    } => "the list of jobs";
    a_removed_validator: |p| p.validators_to_remove.push(wallet(2).address()) => "validators to remove";
    a_raised_reputation: |p| p.reputation_changes[0].1 = 100 => "a reputation change";
    a_lowered_reputation: |p| p.reputation_changes[0].1 = -100 => "a reputation change";
    a_dropped_reputation_change: |p| p.reputation_changes.clear() => "a reputation change";
    a_reputation_change_of_another: |p| p.reputation_changes[0].0 = wallet(2).address() => "a reputation change";
    a_receipt_whose_slot_is_another: |p| p.receipts[0].1 = B256::ZERO => "the list of receipts";
    a_receipt_listed_twice: |p| p.receipts.push(p.receipts[0]) => "the list of receipts";
    receipts_in_another_order: |p| p.receipts.swap(0, 1) => "the list of receipts";
    a_receipt_that_is_paid_for_but_not_listed: |p| p.receipts.truncate(3) => "is not what follows";
    a_receipt_that_nobody_has: |p| p.receipts.push((B256::repeat_byte(0xff), B256::ZERO)) => "unknown here";
    another_round: |p| p.round = 5 => "it is for round 5";
    another_distribution: |p| p.distribution_id = 5 => "distribution 5";
}

#[tokio::test]
async fn an_omitted_receipt_that_the_voter_holds() {
    let (proposer, mut voter) = (full_ledger().await, full_ledger().await);
    let kept_back = challenge_receipt(&wallet(2), &wallet(12), 4, 0, 50_000).await;
    voter.insert(kept_back.clone(), 50_001).expect("stored");
    match objection_of(&voter, &proposer, &facts()) {
        Objection::LeftOut(id, age) => {
            assert_eq!((id, age), (kept_back.id(&domain()), DUE - 50_001));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_receipt_of_a_round_to_come() {
    let mut ledger = full_ledger().await;
    let early = challenge_receipt(&wallet(2), &wallet(12), 5, 0, 50_000).await;
    ledger.insert(early.clone(), 50_001).expect("stored");
    match objection_of(&ledger, &ledger, &facts()) {
        Objection::NotEligible(id, reason) => {
            assert_eq!(id, early.id(&domain()));
            assert!(reason.contains("round"), "{reason}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_receipt_of_a_round_long_past() {
    let ledger = full_ledger().await;
    let late = RoundFacts {
        round: 4 + CARRY_ROUNDS + 1,
        ..facts()
    };
    let said = objection_of(&ledger, &ledger, &late).to_string();
    assert!(said.contains("round that is too far away"), "{said}");
}

#[tokio::test]
async fn a_receipt_issued_after_the_cut_off() {
    let mut ledger = full_ledger().await;
    let late = challenge_receipt(&wallet(2), &wallet(12), 4, 0, DUE).await;
    ledger.insert(late.clone(), DUE + 1).expect("stored");
    let said = objection_of(&ledger, &ledger, &facts()).to_string();
    assert!(said.contains("issued after the cut-off"), "{said}");
}

#[tokio::test]
async fn a_receipt_that_is_settled_already() {
    let mut voter = full_ledger().await;
    let proposer = full_ledger().await;
    let one = payload(&voter).receipts[2];
    voter.settle(&[one], 3, 3).expect("settles");
    match objection_of(&voter, &proposer, &facts()) {
        Objection::NotEligible(id, "settled before") => assert_eq!(id, one.0),
        other => panic!("{other}"),
    }
}

/// Also if another validator's receipt settled it, in a round in which this one was not proposed.
#[tokio::test]
async fn work_that_another_receipt_has_settled() {
    let mut voter = full_ledger().await;
    let request = job_request(&wallet(9), 2, 1_000, 2);
    let workers = [&wallet(11), &wallet(12)];
    let another = job_receipt(&wallet(3), &workers, request, 4, 61_000).await;
    let slot = another.body.slot(&domain()).hash();
    voter
        .settle(&[(another.id(&domain()), slot)], 3, 3)
        .expect("settles");
    let proposer = full_ledger().await;
    let said = objection_of(&voter, &proposer, &facts()).to_string();
    assert!(said.contains("settled before"), "{said}");
}

#[tokio::test]
async fn one_piece_of_work_under_two_receipts() {
    let mut ledger = full_ledger().await;
    let request = job_request(&wallet(9), 2, 1_000, 2);
    let workers = [&wallet(11), &wallet(12)];
    let again = job_receipt(&wallet(3), &workers, request, 4, 61_000).await;
    assert!(ledger.insert(again.clone(), 61_001).expect("stored"));
    let mut wrong = payload(&ledger);
    assert_eq!(wrong.receipts.len(), 4, "an honest payload has one of them");
    for id in ledger.unsettled_ids() {
        let slot = ledger
            .get(id)
            .expect("reads")
            .expect("is there")
            .body
            .slot(&domain())
            .hash();
        if !wrong.receipts.contains(&(id, slot)) {
            wrong.receipts.push((id, slot));
        }
    }
    wrong.receipts.sort_unstable();
    assert_eq!(wrong.receipts.len(), 5);
    assert!(matches!(
        judge(&wrong, &facts(), &ledger, &domain()),
        Err(Objection::Payload(PayloadError::DuplicateWork(_)))
    ));
}

#[tokio::test]
async fn more_free_jobs_of_a_user_than_its_quota() {
    let mut ledger = full_ledger().await;
    for nonce in 10..10 + crate::jobs::FREE_JOBS_PER_ROUND as u64 {
        let request = job_request(&wallet(9), nonce, 0, 1);
        let receipt = job_receipt(&wallet(1), &[&wallet(11)], request, 4, 60_000).await;
        ledger.insert(receipt, 60_001).expect("stored");
    }
    let said = objection_of(&ledger, &ledger, &facts()).to_string();
    assert!(said.contains("more free jobs"), "{said}");
}

#[test]
fn an_objection_to_receipts_without_one_is_said_of_the_first() {
    let unknown = Objection::UnknownReceipts(vec![B256::repeat_byte(3), B256::ZERO]);
    assert!(unknown.to_string().contains("2 receipts"), "{unknown}");
}

/// Fields of the call that a payload does not carry, because they follow from it: a proposal with another value has a
/// hash that no payload yields. Whatever is published for it is refused, so nobody comes to judge it, let alone vote.
async fn refused_by_its_hash(change: impl FnOnce(&mut StateUpdate)) {
    let payload = payload(&full_ledger().await);
    let honest = payload.state_update().expect("an update");
    let mut update = payload.state_update().expect("an update");
    change(&mut update);
    assert_ne!(update, honest);
    let (chain_id, coordinator) = (domain().chain_id, domain().coordinator);
    let hash = proposal_hash(chain_id, coordinator, payload.round, &update);
    let body = PublishedPayload {
        publisher: wallet(2).address(),
        proposal_hash: hash,
        payload: payload.clone(),
    };
    let published = Signed::sign(body, &domain(), &wallet(2));
    let honest = payload.proposal_hash(&domain()).expect("hashes");
    assert_eq!(
        published.check(&domain()),
        Err(PublishedError::WrongHash {
            expected: hash,
            found: honest
        })
    );
}

#[tokio::test]
async fn another_total() {
    refused_by_its_hash(|update| update.totalCapacity += U256::from(1)).await;
}

#[tokio::test]
async fn the_root_of_other_leaves() {
    let mut other = payload(&full_ledger().await);
    other.workers[0].1 += 1;
    let root = other.tree().expect("a tree").expect("leaves").root();
    refused_by_its_hash(|update| update.merkleRoot = root).await;
}

#[tokio::test]
async fn the_hash_of_other_workers() {
    refused_by_its_hash(|update| update.workersHash = B256::repeat_byte(1)).await;
}

#[tokio::test]
async fn the_hash_of_other_capacities_or_receipts() {
    refused_by_its_hash(|update| update.capacitiesHash = B256::repeat_byte(1)).await;
}
