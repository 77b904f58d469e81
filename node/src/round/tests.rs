//! What a voter accepts, and that each single wrong field costs a proposal every honest vote.

use alloy::primitives::{Address, B256};

use super::judge::{Objection, RoundFacts, judge};
use super::payload::{Payload, PublishedError, PublishedPayload};
use crate::jobs::ledger::Ledger;
use crate::signed::Signed;
use crate::testing::{challenge_receipt, domain, job_receipt, job_request, ledger, wallet};

const DUE: u64 = 100_000;

fn facts() -> RoundFacts {
    RoundFacts {
        round: 4,
        cutoff: DUE,
        distribution_id: 4,
        gossip_margin_seconds: 900,
    }
}

/// Two challenges, a free job of two tasks and a paid job, verified long before the cut-off.
async fn full_ledger() -> Ledger {
    let mut ledger = ledger();
    let (validator, user) = (wallet(1), wallet(9));
    let workers = [wallet(11), wallet(12)];
    for worker in &workers {
        let receipt = challenge_receipt(&validator, worker, 4, 0, 50_000).await;
        assert!(ledger.insert(receipt, 50_001).expect("stored"));
    }
    for (nonce, payment) in [(1, 0), (2, 1_000)] {
        let request = job_request(&user, nonce, payment, 2);
        let receipt =
            job_receipt(&validator, &[&workers[0], &workers[1]], request, 4, 60_000).await;
        assert!(ledger.insert(receipt, 60_001).expect("stored"));
    }
    ledger
}

fn payload(ledger: &Ledger) -> Payload {
    let held = ledger.eligible(4, DUE);
    Payload::aggregate(
        4,
        4,
        held.iter().map(|held| (held.id, held.receipt)),
        &domain(),
    )
    .expect("aggregates")
}

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
async fn each_single_wrong_field_is_refused() {
    let ledger = full_ledger().await;
    let good = payload(&ledger);
    type Change = (&'static str, fn(&mut Payload));
    let wrong: [Change; 9] = [
        ("capacity", |payload| payload.workers[0].1 += 1),
        ("one bit of a capacity", |payload| {
            payload.workers[1].1 ^= 1 << 40
        }),
        ("swapped worker", |payload| {
            payload.workers[0].0 = Address::repeat_byte(1)
        }),
        ("dropped worker", |payload| payload.workers.truncate(1)),
        ("job id", |payload| payload.jobs[0] = B256::repeat_byte(1)),
        ("foreign job", |payload| {
            payload.jobs.push(B256::repeat_byte(0xff))
        }),
        ("removed validator", |payload| {
            payload.validators_to_remove.push(Address::repeat_byte(1))
        }),
        ("reputation change", |payload| {
            payload.reputation_changes[0].1 = 100
        }),
        ("slot of a receipt", |payload| {
            payload.receipts[0].1 = B256::ZERO
        }),
    ];
    for (name, change) in wrong {
        let mut payload = good.clone();
        change(&mut payload);
        let verdict = judge(&payload, &facts(), &ledger, &domain());
        assert!(
            matches!(verdict, Err(Objection::Differs(_))),
            "{name}: {verdict:?}"
        );
        assert_ne!(
            payload.proposal_hash(&domain()).ok(),
            good.proposal_hash(&domain()).ok(),
            "{name}: the hash binds everything"
        );
    }
    let mut payload = good.clone();
    payload.round = 5;
    assert!(matches!(
        judge(&payload, &facts(), &ledger, &domain()),
        Err(Objection::WrongRound { .. })
    ));
    let mut payload = good;
    payload.receipts.push((B256::repeat_byte(0xff), B256::ZERO));
    assert!(matches!(
        judge(&payload, &facts(), &ledger, &domain()),
        Err(Objection::UnknownReceipts(_))
    ));
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
