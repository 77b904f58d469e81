//! Receipts for work that is false in part: what becomes of them does not depend on how often they are offered, and who
//! finds one out makes the others see it.

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use libp2p::gossipsub::MessageAcceptance;

use super::world::{World, challenge, identity, validator};
use crate::jobs::belief::Unbelieved;
use crate::jobs::receipt::{Answer, Receipt, ReceiptError, Work, WorkOrder, challenge_task};
use crate::roles::validator::Validator;
use crate::signed::{Domain, Signed};
use crate::testing::{job_request, wallet};
use crate::work::TaskProof;

/// A challenge's receipt with six of 256 segments that do not hold: some three of ten verifications at 16 samples see it.
async fn false_in_part(
    domain: &Domain,
    validator: &PrivateKeySigner,
    worker: &PrivateKeySigner,
    issued_at: u64,
) -> Signed<Receipt> {
    let honest = challenge(domain, validator, worker, 1, issued_at).await;
    let Work::Challenge(Answer { result, mut output }) = honest.body.work else {
        panic!("it is a challenge");
    };
    let TaskProof::HashChain(proof) = &mut output.proof else {
        panic!("a challenge is a hash chain");
    };
    for place in [50, 100, 150] {
        proof.checkpoints[place] = B256::repeat_byte(7);
    }
    let kind = result.body.kind;
    let order = WorkOrder {
        validator: validator.address(),
        worker: worker.address(),
        task: challenge_task(domain, validator.address(), worker.address(), &kind),
        kind,
    };
    let result = Signed::sign(order.result(&output), domain, worker);
    let work = Work::Challenge(Answer { result, output });
    signed(domain, validator, 1, issued_at, work)
}

fn signed(
    domain: &Domain,
    validator: &PrivateKeySigner,
    round: u64,
    issued_at: u64,
    work: Work,
) -> Signed<Receipt> {
    let body = Receipt {
        validator: validator.address(),
        round,
        issued_at,
        work,
    };
    Signed::sign(body, domain, validator)
}

/// False receipts for the work of many workers, until one of each kind has come: a receipt that the validator's samples
/// find out, and one that they miss.
async fn refused_and_missed(
    taker: &Validator,
    domain: &Domain,
    issuer: &PrivateKeySigner,
    now: u64,
) -> (Signed<Receipt>, Signed<Receipt>) {
    let (mut refused, mut missed) = (None, None);
    for worker in 20..=255 {
        let receipt = false_in_part(domain, issuer, &wallet(worker), now).await;
        match taker.take(receipt.clone()).await {
            Ok(true) => missed = Some(receipt),
            Err(Unbelieved::Receipt(ReceiptError::Proof { .. })) => refused = Some(receipt),
            other => panic!("{other:?}"),
        }
        if let (Some(refused), Some(missed)) = (&refused, &missed) {
            return (refused.clone(), missed.clone());
        }
    }
    panic!("all of one kind: that is no sampling")
}

#[tokio::test]
async fn a_false_receipt_that_was_found_out_is_refused_however_often_it_is_offered() {
    let world = World::new();
    let domain = world.domain();
    let now = world
        .observer()
        .await
        .head()
        .await
        .expect("a head")
        .timestamp;
    let node = world.start(0, true).await;
    let issuer = identity(1).wallet;
    let (refused, _) = refused_and_missed(validator(&node), &domain, &issuer, now).await;
    for _ in 0..50 {
        let again = validator(&node).take(refused.clone()).await;
        assert!(matches!(again, Err(Unbelieved::Refuted(_))), "{again:?}");
    }
    // Signed anew it is another receipt, for the same work.
    for earlier in 1..=50 {
        let work = refused.body.work.clone();
        let anew = signed(&domain, &issuer, 1, now - earlier, work);
        let again = validator(&node).take(anew).await;
        assert!(
            matches!(again, Err(Unbelieved::Receipt(ReceiptError::Proof { .. }))),
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn what_another_has_found_false_is_looked_at_and_dropped_and_its_worker_accused() {
    let world = World::new();
    let domain = world.domain();
    let now = world
        .observer()
        .await
        .head()
        .await
        .expect("a head")
        .timestamp;
    let node = world.start(0, true).await;
    let (node, own) = (validator(&node), identity(0).wallet);
    let (_, missed) = refused_and_missed(node, &domain, &own, now).await;
    let (id, slot) = (missed.id(&domain), missed.body.slot(&domain).hash());
    assert!(node.ledger().is_unsettled(id));
    let before = node.ledger().unsettled_ids().len();
    assert_eq!(node.refutation(id, slot).await, MessageAcceptance::Accept);
    assert!(!node.ledger().contains(id).expect("reads"));
    let again = node.take(missed.clone()).await;
    assert!(matches!(again, Err(Unbelieved::Refuted(_))), "{again:?}");
    // It was this validator's own: now the worker's signature is evidence against the worker.
    let Work::Challenge(answer) = &missed.body.work else {
        panic!("it is a challenge");
    };
    let ids = node.ledger().unsettled_ids();
    assert_eq!(ids.len(), before);
    let accused = ids.iter().any(|id| {
        let receipt = node.ledger().get(*id).expect("reads").expect("is there");
        receipt.body.faulty_worker() == Some(answer.result.body.worker)
    });
    assert!(accused);
    // Told again, by whoever else has found it: it goes on to those who do not know it yet.
    assert_eq!(node.refutation(id, slot).await, MessageAcceptance::Accept);
}

#[tokio::test]
async fn a_true_receipt_that_is_called_false_stays() {
    let world = World::new();
    let domain = world.domain();
    let now = world
        .observer()
        .await
        .head()
        .await
        .expect("a head")
        .timestamp;
    let node = world.start(0, true).await;
    let node = validator(&node);
    let honest = challenge(&domain, &identity(1).wallet, &wallet(11), 1, now).await;
    let (id, slot) = (honest.id(&domain), honest.body.slot(&domain).hash());
    assert!(node.take(honest.clone()).await.expect("a true receipt"));
    for _ in 0..2 {
        assert_eq!(node.refutation(id, slot).await, MessageAcceptance::Ignore);
        assert!(node.ledger().is_unsettled(id));
    }
    // One that comes after it was called false is looked at, and kept.
    let later = challenge(&domain, &identity(1).wallet, &wallet(12), 1, now).await;
    let (id, slot) = (later.id(&domain), later.body.slot(&domain).hash());
    assert_eq!(node.refutation(id, slot).await, MessageAcceptance::Accept);
    assert!(node.take(later).await.expect("a true receipt"));
}

#[tokio::test]
async fn a_round_that_is_not_there_yet_and_a_network_that_never_was_are_refused() {
    let world = World::new();
    let domain = world.domain();
    let now = world
        .observer()
        .await
        .head()
        .await
        .expect("a head")
        .timestamp;
    let node = world.start(0, true).await;
    let node = validator(&node);
    let issuer = identity(1).wallet;
    let honest = challenge(&domain, &issuer, &wallet(11), 1, now).await;
    let Work::Challenge(answer) = honest.body.work else {
        panic!("it is a challenge");
    };
    let task = challenge_task(
        &domain,
        issuer.address(),
        wallet(11).address(),
        &answer.result.body.kind,
    );
    for round in [9, u64::MAX] {
        let work = Work::Fault {
            answer: answer.clone(),
            task: task.clone(),
        };
        let taken = node.take(signed(&domain, &issuer, round, now, work)).await;
        assert!(
            matches!(taken, Err(Unbelieved::RoundAhead { round: r, now: 1 }) if r == round),
            "{taken:?}"
        );
    }
    // A policy that nobody has decided on.
    let mut request = job_request(&wallet(9), 1, 0, 1).body;
    request.network = "hash-chain?segments=1".to_owned();
    let request = Signed::sign(request, &domain, &wallet(9));
    let work = Work::Job {
        request,
        tasks: vec![None],
    };
    let taken = node.take(signed(&domain, &issuer, 1, now, work)).await;
    assert!(matches!(taken, Err(Unbelieved::NoNetwork(_))), "{taken:?}");
}
