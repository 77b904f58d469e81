//! What a voter accepts.

use alloy::primitives::B256;

use super::{DUE, facts, full_ledger, payload};
use crate::jobs::ledger::CARRY_ROUNDS;
use crate::round::judge::{Objection, RoundFacts, judge};
use crate::round::payload::{Payload, PublishedError, PublishedPayload};
use crate::signed::Signed;
use crate::testing::{challenge_receipt, domain, job_receipt, job_request, ledger, wallet};

#[tokio::test]
async fn two_validators_with_the_same_receipts_agree_to_the_byte() {
    let (one, two) = (full_ledger().await, full_ledger().await);
    let payload = payload(&one);
    assert!(judge(&payload, &facts(), &two, &domain()).is_ok());
    assert_eq!(payload.workers.len(), 2);
    assert_eq!(
        payload.jobs.len(),
        1,
        "only the paid job is settled on chain"
    );
    assert!(
        payload
            .workers
            .iter()
            .all(|(_, capacity)| *capacity == 20_000 + 500 + 500)
    );
}

#[tokio::test]
async fn a_receipt_left_out_is_missed_unless_it_came_too_late_to_be_known() {
    let mut voter = full_ledger().await;
    let proposed = payload(&voter);
    let late = challenge_receipt(&wallet(2), &wallet(11), 4, 0, DUE - 10).await;
    voter.insert(late, DUE - 9).expect("stored");
    assert!(judge(&proposed, &facts(), &voter, &domain()).is_ok());
    let early = challenge_receipt(&wallet(2), &wallet(12), 4, 0, 50_000).await;
    voter.insert(early.clone(), 50_001).expect("stored");
    match judge(&proposed, &facts(), &voter, &domain()) {
        Err(Objection::LeftOut(id, _)) => assert_eq!(id, early.id(&domain())),
        other => panic!("expected an objection to the omission, got {other:?}"),
    }
}

#[tokio::test]
async fn work_is_settled_once_and_what_is_left_out_is_carried_over() {
    let mut ledger = full_ledger().await;
    let first = payload(&ledger);
    let late = challenge_receipt(&wallet(2), &wallet(11), 4, 0, DUE + 5).await;
    ledger.insert(late.clone(), DUE + 6).expect("stored");
    ledger.settle(&first.receipts, 4, 4).expect("settles");
    let facts = RoundFacts {
        round: 5,
        cutoff: 2 * DUE,
        distribution_id: 5,
        gossip_margin_seconds: 900,
    };
    let again = Payload {
        round: 5,
        distribution_id: 5,
        ..first
    };
    let verdict = judge(&again, &facts, &ledger, &domain());
    assert!(
        matches!(verdict, Err(Objection::NotEligible(_, "settled before"))),
        "{verdict:?}"
    );
    let next = ledger.eligible(5, 2 * DUE);
    assert_eq!(
        next.iter().map(|held| held.id).collect::<Vec<_>>(),
        [late.id(&domain())]
    );
}

#[tokio::test]
async fn a_receipt_of_a_round_long_past_is_settled_by_none() {
    let ledger = full_ledger().await;
    let late = |rounds| RoundFacts {
        round: 4 + rounds,
        ..facts()
    };
    let proposed = |facts: &RoundFacts| Payload {
        round: facts.round,
        ..payload(&ledger)
    };
    let last = late(CARRY_ROUNDS);
    assert!(judge(&proposed(&last), &last, &ledger, &domain()).is_ok());
    let late = late(CARRY_ROUNDS + 1);
    let verdict = judge(&proposed(&late), &late, &ledger, &domain());
    assert!(
        matches!(
            verdict,
            Err(Objection::NotEligible(_, "of a round that is too far away"))
        ),
        "{verdict:?}"
    );
}

#[test]
fn an_objection_to_receipts_without_one_is_said_of_the_first() {
    let unknown = Objection::UnknownReceipts(vec![B256::repeat_byte(3), B256::ZERO]);
    assert!(unknown.to_string().contains("2 receipts"), "{unknown}");
}

#[tokio::test]
async fn free_jobs_beyond_the_quota_are_neither_proposed_nor_missed() {
    let mut ledger = ledger();
    for nonce in 0..4 {
        let request = job_request(&wallet(9), nonce, 0, 1);
        let receipt = job_receipt(&wallet(1), &[&wallet(11)], request, 4, 60_000).await;
        ledger.insert(receipt, 60_001).expect("stored");
    }
    let proposed = payload(&ledger);
    assert_eq!(proposed.receipts.len(), crate::jobs::FREE_JOBS_PER_ROUND);
    assert!(judge(&proposed, &facts(), &ledger, &domain()).is_ok());
    let all: Vec<_> = ledger
        .unsettled_ids()
        .into_iter()
        .map(|id| (id, ledger.get(id).expect("reads").expect("is there").body))
        .collect();
    let greedy = Payload::aggregate(4, 4, all.iter().map(|(id, body)| (*id, body)), &domain())
        .expect("aggregates");
    assert!(matches!(
        judge(&greedy, &facts(), &ledger, &domain()),
        Err(Objection::FreeQuota(_))
    ));
}

#[tokio::test]
async fn a_published_payload_is_bound_to_its_hash_and_publisher() {
    let payload = payload(&full_ledger().await);
    let proposal_hash = payload.proposal_hash(&domain()).expect("hashes");
    let body = PublishedPayload {
        publisher: wallet(1).address(),
        proposal_hash,
        payload,
    };
    let good = Signed::sign(body.clone(), &domain(), &wallet(1));
    assert_eq!(good.check(&domain()), Ok(()));
    let mut flipped = body;
    flipped.payload.workers[0].1 ^= 1;
    let flipped = Signed::sign(flipped, &domain(), &wallet(1));
    assert!(matches!(
        flipped.check(&domain()),
        Err(PublishedError::WrongHash { .. })
    ));
    let mut forged = good;
    forged.body.publisher = wallet(2).address();
    assert!(matches!(
        forged.check(&domain()),
        Err(PublishedError::Signature(_))
    ));
}
