//! What a receipt must prove, and that each forgery is refused.

use super::receipt::{Receipt, ReceiptError, Slot, Work, WorkKind, verify_receipt};
use crate::signed::Signed;
use crate::testing::{challenge_receipt, domain, job_receipt, job_request, wallet};
use crate::work::TaskProof;

const NOW: u64 = 1_000;

async fn verify(receipt: &Signed<Receipt>) -> Result<(), ReceiptError> {
    verify_receipt(receipt, &domain(), NOW, [1; 32]).await
}

#[tokio::test]
async fn honest_receipts_hold() {
    let challenge = challenge_receipt(&wallet(1), &wallet(11), 2, 0, NOW).await;
    assert_eq!(verify(&challenge).await, Ok(()));
    let request = job_request(&wallet(9), 1, 0, 2);
    let job = job_receipt(&wallet(1), &[&wallet(11), &wallet(12)], request, 2, NOW).await;
    assert_eq!(verify(&job).await, Ok(()));
}

#[tokio::test]
async fn forged_and_mismatched_receipts_are_refused() {
    let good = challenge_receipt(&wallet(1), &wallet(11), 2, 0, NOW).await;
    let resign = |change: &dyn Fn(&mut Receipt)| {
        let mut body = good.body.clone();
        change(&mut body);
        Signed::sign(body, &domain(), &wallet(1))
    };
    assert!(matches!(
        verify(&resign(&|body| body.issued_at = NOW + 1_000)).await,
        Err(ReceiptError::FromTheFuture { .. })
    ));
    assert!(matches!(
        verify(&resign(&|body| body.round = 3)).await,
        Err(ReceiptError::Mismatch(_))
    ));
    let tampered = resign(&|body| {
        let Work::Challenge(result) = &mut body.work else {
            unreachable!("a challenge")
        };
        let TaskProof::HashChain(proof) = &mut result.body.output.proof else {
            unreachable!("a challenge is a hash chain")
        };
        proof.checkpoints[0].0[0] ^= 1;
    });
    assert!(
        matches!(verify(&tampered).await, Err(ReceiptError::Signature(_))),
        "the worker did not sign that"
    );
    let stolen = resign(&|body| {
        let Work::Challenge(result) = &mut body.work else {
            unreachable!("a challenge")
        };
        result.body.order.worker = wallet(12).address();
    });
    assert!(
        verify(&stolen).await.is_err(),
        "another worker's result is not one's own"
    );
    let over = challenge_receipt(
        &wallet(1),
        &wallet(11),
        2,
        super::receipt::CHALLENGES_PER_ROUND,
        NOW,
    )
    .await;
    assert!(
        matches!(verify(&over).await, Err(ReceiptError::Mismatch(_))),
        "no more challenges than a round has"
    );
}

#[tokio::test]
async fn a_job_receipt_needs_every_task_of_the_users_own_request() {
    let request = job_request(&wallet(9), 1, 0, 2);
    let short = job_receipt(&wallet(1), &[&wallet(11)], request.clone(), 2, NOW).await;
    assert!(matches!(
        verify(&short).await,
        Err(ReceiptError::Mismatch(_))
    ));
    let by_the_user = job_receipt(
        &wallet(1),
        &[&wallet(9), &wallet(11)],
        request.clone(),
        2,
        NOW,
    )
    .await;
    assert!(matches!(
        verify(&by_the_user).await,
        Err(ReceiptError::Mismatch(_))
    ));
    let mut changed = request;
    changed.body.payment = 5;
    let unsigned = job_receipt(&wallet(1), &[&wallet(11), &wallet(12)], changed, 2, NOW).await;
    assert!(matches!(verify(&unsigned).await, Err(ReceiptError::Job(_))));
}

#[tokio::test]
async fn a_slot_does_not_depend_on_the_nonce_so_that_a_challenge_counts_once() {
    let receipt = challenge_receipt(&wallet(1), &wallet(11), 2, 1, NOW)
        .await
        .body;
    let Work::Challenge(result) = &receipt.work else {
        unreachable!("a challenge")
    };
    assert!(matches!(
        result.body.order.kind,
        WorkKind::Challenge { index: 1, .. }
    ));
    assert_eq!(
        receipt.slot(&domain()),
        Slot::Challenge {
            round: 2,
            validator: wallet(1).address(),
            worker: wallet(11).address(),
            index: 1
        }
    );
}
