//! What a receipt must prove, and that each forgery is refused.

use super::receipt::{
    Receipt, ReceiptError, Scrutiny, Slot, Work, WorkKind, check_word_of_validator, verify_work,
};
use super::{JobError, JobRequest, Shape};
use crate::signed::Signed;
use crate::testing::{
    answer, challenge_receipt, domain, job_receipt, job_request, receipt, replicated_receipt,
    signed_answer, wallet,
};
use crate::work::hash_chain::HashChain;
use crate::work::{Task, TaskKind, TaskProof};

const NOW: u64 = 1_000;

async fn verify(receipt: &Signed<Receipt>) -> Result<(), ReceiptError> {
    check_word_of_validator(receipt, &domain(), NOW)?;
    verify_work(&receipt.body, &domain(), [1; 32], Scrutiny::Samples).await
}

fn mismatch(verified: &Result<(), ReceiptError>) -> bool {
    matches!(verified, Err(ReceiptError::Mismatch(_)))
}

/// The same receipt, with a change that its validator has signed.
fn resigned(receipt: &Signed<Receipt>, change: impl FnOnce(&mut Receipt)) -> Signed<Receipt> {
    let mut body = receipt.body.clone();
    change(&mut body);
    Signed::sign(body, &domain(), &wallet(1))
}

/// The same request, changed and signed by its user.
fn changed(
    request: &Signed<JobRequest>,
    change: impl FnOnce(&mut JobRequest),
) -> Signed<JobRequest> {
    let mut body = request.body.clone();
    change(&mut body);
    Signed::sign(body, &domain(), &wallet(9))
}

/// A job of one task for three workers.
fn replicated(shape: Shape, tasks: usize) -> Signed<JobRequest> {
    changed(&job_request(&wallet(9), 1, 0, tasks), |request| {
        request.replication = 3;
        request.shape = shape;
        if shape == Shape::Pipeline {
            request.tasks[1..]
                .iter_mut()
                .for_each(|task| task.input.clear());
        }
    })
}

#[tokio::test]
async fn honest_receipts_hold() {
    let challenge = challenge_receipt(&wallet(1), &wallet(11), 2, 0, NOW).await;
    assert_eq!(verify(&challenge).await, Ok(()));
    let request = job_request(&wallet(9), 1, 0, 2);
    let job = job_receipt(&wallet(1), &[&wallet(11), &wallet(12)], request, 2, NOW).await;
    assert_eq!(verify(&job).await, Ok(()));
    assert!(job.body.is_complete_job());
}

#[tokio::test]
async fn forged_and_mismatched_receipts_are_refused() {
    let good = challenge_receipt(&wallet(1), &wallet(11), 2, 0, NOW).await;
    assert!(matches!(
        verify(&resigned(&good, |body| body.issued_at = NOW + 1_000)).await,
        Err(ReceiptError::FromTheFuture { .. })
    ));
    assert!(mismatch(
        &verify(&resigned(&good, |body| body.round = 3)).await
    ));
    let tampered = resigned(&good, |body| {
        let Work::Challenge(answer) = &mut body.work else {
            unreachable!("a challenge")
        };
        let TaskProof::HashChain(proof) = &mut answer.output.proof else {
            unreachable!("a challenge is a hash chain")
        };
        proof.checkpoints[0].0[0] ^= 1;
    });
    assert!(
        mismatch(&verify(&tampered).await),
        "the worker did not sign for that"
    );
    let stolen = resigned(&good, |body| {
        let Work::Challenge(answer) = &mut body.work else {
            unreachable!("a challenge")
        };
        answer.result.body.worker = wallet(12).address();
    });
    assert!(
        matches!(verify(&stolen).await, Err(ReceiptError::Signature(_))),
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
        mismatch(&verify(&over).await),
        "no more challenges than a round has"
    );
}

#[tokio::test]
async fn what_was_done_of_a_job_that_ended_early_counts_but_does_not_complete_it() {
    let request = job_request(&wallet(9), 1, 1_000, 2);
    let short = job_receipt(&wallet(1), &[&wallet(11)], request.clone(), 2, NOW).await;
    assert_eq!(verify(&short).await, Ok(()));
    assert!(!short.body.is_complete_job());
    let earned = short.body.earned();
    assert_eq!(earned.len(), 1);
    assert!(earned[0].free && earned[0].capacity == 500);
    let nothing = job_receipt(&wallet(1), &[], request.clone(), 2, NOW).await;
    assert!(mismatch(&verify(&nothing).await));
    let surplus = resigned(&short, |body| {
        let Work::Job { tasks, .. } = &mut body.work else {
            unreachable!("a job")
        };
        tasks.push(None);
    });
    assert!(mismatch(&verify(&surplus).await));
}

#[tokio::test]
async fn a_job_receipt_is_for_the_users_own_request_and_for_others_work() {
    let request = job_request(&wallet(9), 1, 0, 2);
    let by_the_user = job_receipt(
        &wallet(1),
        &[&wallet(9), &wallet(11)],
        request.clone(),
        2,
        NOW,
    )
    .await;
    assert!(mismatch(&verify(&by_the_user).await));
    let mut changed = request;
    changed.body.payment = 5;
    let unsigned = job_receipt(&wallet(1), &[&wallet(11), &wallet(12)], changed, 2, NOW).await;
    assert!(matches!(verify(&unsigned).await, Err(ReceiptError::Job(_))));
}

#[tokio::test]
async fn a_replicated_task_needs_more_than_half_of_its_workers_each_once() {
    let request = replicated(Shape::Parallel, 1);
    let [a, b, c, d] = {
        let mut wallets = [11, 12, 13, 14].map(wallet);
        wallets.sort_by_key(|wallet| wallet.address());
        wallets
    };
    let with = |workers: Vec<&alloy::signers::local::PrivateKeySigner>| {
        let (workers, request) = (
            vec![workers.into_iter().cloned().collect::<Vec<_>>()],
            request.clone(),
        );
        async move {
            let workers: Vec<Vec<_>> = workers.iter().map(|of| of.iter().collect()).collect();
            let receipt = replicated_receipt(&wallet(1), &workers, request, 2, NOW).await;
            (verify(&receipt).await, receipt.body.earned().len())
        }
    };
    assert_eq!(with(vec![&a, &b, &c]).await, (Ok(()), 3));
    assert_eq!(with(vec![&a, &c]).await, (Ok(()), 2));
    assert!(mismatch(&with(vec![&a]).await.0), "no majority");
    assert!(mismatch(&with(vec![&a, &b, &c, &d]).await.0), "too many");
    assert!(
        mismatch(&with(vec![&a, &a, &b]).await.0),
        "one of them twice"
    );
    assert!(mismatch(&with(vec![&b, &a]).await.0), "out of order");
}

#[tokio::test]
async fn workers_of_one_task_must_have_signed_for_its_one_result() {
    let request = replicated(Shape::Parallel, 1);
    let mut workers = [11, 12].map(wallet);
    workers.sort_by_key(|wallet| wallet.address());
    let good = replicated_receipt(
        &wallet(1),
        &[workers.iter().collect()],
        request.clone(),
        2,
        NOW,
    )
    .await;
    assert_eq!(verify(&good).await, Ok(()));
    let other = Task {
        kind: TaskKind::HashChain(HashChain { steps: 501 }),
        ..request.body.tasks[0].clone()
    };
    let kind = WorkKind::Job {
        job: request.body.job_id(&domain()),
        task: 0,
        user: wallet(9).address(),
    };
    let foreign = other.execute().await.expect("within bounds");
    let dissent = signed_answer(
        wallet(1).address(),
        &workers[1],
        kind,
        request.body.tasks[0].clone(),
        foreign,
    );
    let mixed = resigned(&good, |body| {
        let Work::Job { tasks, .. } = &mut body.work else {
            unreachable!("a job")
        };
        tasks[0].as_mut().expect("done").by[1] = dissent.result;
    });
    assert!(mismatch(&verify(&mixed).await));
}

#[tokio::test]
async fn a_stage_of_a_pipeline_works_on_the_result_before_it() {
    let request = replicated(Shape::Pipeline, 2);
    assert_eq!(request.check(&domain()), Ok(()));
    let mut workers = [11, 12].map(wallet);
    workers.sort_by_key(|wallet| wallet.address());
    let each: Vec<_> = workers.iter().collect();
    let good = replicated_receipt(
        &wallet(1),
        &[each.clone(), each.clone()],
        request.clone(),
        2,
        NOW,
    )
    .await;
    assert_eq!(verify(&good).await, Ok(()));
    // The second stage's work, done on another input.
    let alone = replicated_receipt(
        &wallet(1),
        &[each.clone(), each],
        changed(&request, |request| request.shape = Shape::Parallel),
        2,
        NOW,
    )
    .await;
    let mixed = resigned(&good, |body| {
        let (Work::Job { tasks, .. }, Work::Job { tasks: others, .. }) =
            (&mut body.work, alone.body.work.clone())
        else {
            unreachable!("jobs")
        };
        tasks[1] = others[1].clone();
    });
    assert!(mismatch(&verify(&mixed).await));
    let headless = resigned(&good, |body| {
        let Work::Job { tasks, .. } = &mut body.work else {
            unreachable!("a job")
        };
        tasks[0] = None;
    });
    assert!(mismatch(&verify(&headless).await));
    let with_input = changed(&request, |request| request.tasks[1].input = vec![1]);
    assert_eq!(with_input.check(&domain()), Err(JobError::StageInput(1)));
    for replication in [0, 8] {
        let request = changed(&request, |request| request.replication = replication);
        assert_eq!(
            request.check(&domain()),
            Err(JobError::Replication(replication))
        );
    }
}

#[tokio::test]
async fn a_fault_is_proven_by_the_workers_own_signature_and_only_if_it_is_one() {
    let (validator, worker) = (wallet(1), wallet(11));
    let task = Task {
        kind: TaskKind::HashChain(HashChain { steps: 500 }),
        input: vec![1],
    };
    let kind = WorkKind::Job {
        job: alloy::primitives::B256::repeat_byte(5),
        task: 0,
        user: wallet(9).address(),
    };
    let honest = answer(validator.address(), &worker, kind.clone(), task.clone()).await;
    let mut output = honest.output.clone();
    output.output.0[0] ^= 1;
    let lie = signed_answer(
        validator.address(),
        &worker,
        kind.clone(),
        task.clone(),
        output.clone(),
    );
    let fault = |answer, task| receipt(&validator, 2, NOW, Work::Fault { answer, task });
    let proven = fault(lie.clone(), task.clone());
    assert_eq!(verify(&proven).await, Ok(()));
    assert_eq!(proven.body.faulty_worker(), Some(worker.address()));
    assert!(proven.body.earned().is_empty());
    assert_eq!(
        verify(&fault(honest.clone(), task.clone())).await,
        Err(ReceiptError::NoFault(worker.address()))
    );
    let mut framed = honest;
    framed.output = output;
    assert!(
        mismatch(&verify(&fault(framed, task.clone())).await),
        "a false output that the worker did not sign for"
    );
    let impossible = Task {
        kind: TaskKind::HashChain(HashChain { steps: 0 }),
        input: Vec::new(),
    };
    let trapped = signed_answer(
        validator.address(),
        &worker,
        kind,
        impossible.clone(),
        lie.output.clone(),
    );
    assert!(
        mismatch(&verify(&fault(trapped, impossible)).await),
        "a task that nobody can do"
    );
    let elsewhere = Signed::sign(
        Receipt {
            validator: wallet(2).address(),
            ..proven.body
        },
        &domain(),
        &wallet(2),
    );
    assert!(
        mismatch(&verify(&elsewhere).await),
        "another validator's order"
    );
}

#[tokio::test]
async fn a_slot_does_not_depend_on_the_nonce_so_that_a_challenge_counts_once() {
    let receipt = challenge_receipt(&wallet(1), &wallet(11), 2, 1, NOW)
        .await
        .body;
    let Work::Challenge(answer) = &receipt.work else {
        unreachable!("a challenge")
    };
    assert!(matches!(
        answer.result.body.kind,
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
