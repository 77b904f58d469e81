//! Fixtures for the unit tests: real wallets, real work, real signatures.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;

use crate::jobs::ledger::Ledger;
use crate::jobs::receipt::{Answer, Receipt, TaskDone, Work, WorkKind, WorkOrder, challenge_task};
use crate::jobs::{JobRequest, Shape};
use crate::signed::{Domain, Signed};
use crate::store::Store;
use crate::work::hash_chain::{self, HashChain};
use crate::work::{Task, TaskKind, TaskOutput};

pub(crate) fn domain() -> Domain {
    Domain {
        chain_id: 31_337,
        core: Address::repeat_byte(7),
        coordinator: Address::repeat_byte(8),
    }
}

pub(crate) fn wallet(byte: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(byte)).expect("a valid scalar")
}

pub(crate) fn ledger() -> Ledger {
    let store =
        Store::open(redb::backends::InMemoryBackend::new()).expect("an empty database opens");
    Ledger::open(store, domain()).expect("an empty ledger opens")
}

/// What an honest worker answers.
pub(crate) async fn answer(
    validator: Address,
    worker: &PrivateKeySigner,
    kind: WorkKind,
    task: Task,
) -> Answer {
    let output = task.execute().await.expect("the task is within bounds");
    signed_answer(validator, worker, kind, task, output)
}

/// A worker's answer with whatever output.
pub(crate) fn signed_answer(
    validator: Address,
    worker: &PrivateKeySigner,
    kind: WorkKind,
    task: Task,
    output: TaskOutput,
) -> Answer {
    let order = WorkOrder {
        validator,
        worker: worker.address(),
        kind,
        task,
    };
    let result = Signed::sign(order.result(&output), &domain(), worker);
    Answer { result, output }
}

pub(crate) fn receipt(
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
    Signed::sign(body, &domain(), validator)
}

pub(crate) async fn challenge_receipt(
    validator: &PrivateKeySigner,
    worker: &PrivateKeySigner,
    round: u64,
    index: u16,
    issued_at: u64,
) -> Signed<Receipt> {
    let kind = WorkKind::Challenge {
        round,
        index,
        nonce: B256::repeat_byte(3),
    };
    let task = challenge_task(&domain(), validator.address(), worker.address(), &kind);
    let answer = answer(validator.address(), worker, kind, task).await;
    receipt(validator, round, issued_at, Work::Challenge(answer))
}

pub(crate) fn job_request(
    user: &PrivateKeySigner,
    nonce: u64,
    payment: u128,
    tasks: usize,
) -> Signed<JobRequest> {
    let task = |index: usize| Task {
        kind: TaskKind::HashChain(HashChain { steps: 500 }),
        input: index.to_be_bytes().to_vec(),
    };
    let body = JobRequest {
        user: user.address(),
        network: hash_chain::NETWORK.into(),
        shape: Shape::Parallel,
        tasks: (0..tasks).map(task).collect(),
        replication: 1,
        payment,
        nonce,
    };
    Signed::sign(body, &domain(), user)
}

/// A job's receipt: each task done by the worker at its place, those without a worker not done.
pub(crate) async fn job_receipt(
    validator: &PrivateKeySigner,
    workers: &[&PrivateKeySigner],
    request: Signed<JobRequest>,
    round: u64,
    issued_at: u64,
) -> Signed<Receipt> {
    let each: Vec<Vec<&PrivateKeySigner>> = workers.iter().map(|worker| vec![*worker]).collect();
    replicated_receipt(validator, &each, request, round, issued_at).await
}

/// A job's receipt: each task done by the workers at its place, in their order; those without are not done.
pub(crate) async fn replicated_receipt(
    validator: &PrivateKeySigner,
    workers: &[Vec<&PrivateKeySigner>],
    request: Signed<JobRequest>,
    round: u64,
    issued_at: u64,
) -> Signed<Receipt> {
    let job = request.body.job_id(&domain());
    let mut tasks: Vec<Option<TaskDone>> = Vec::new();
    for (index, workers) in workers.iter().enumerate() {
        let before = tasks.last().and_then(Option::as_ref);
        let task = request
            .body
            .task(index, before.map(|done| &done.output))
            .expect("the task can be done");
        let kind = WorkKind::Job {
            job,
            task: index as u16,
            user: request.body.user,
        };
        let mut done: Option<TaskDone> = None;
        for worker in workers {
            let answer = answer(validator.address(), worker, kind.clone(), task.clone()).await;
            done.get_or_insert_with(|| TaskDone {
                output: answer.output,
                by: Vec::new(),
            })
            .by
            .push(answer.result);
        }
        tasks.push(done);
    }
    tasks.resize(request.body.tasks.len(), None);
    receipt(validator, round, issued_at, Work::Job { request, tasks })
}
