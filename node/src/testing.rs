//! Fixtures for the unit tests: real wallets, real work, real signatures.

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;

use crate::jobs::JobRequest;
use crate::jobs::ledger::Ledger;
use crate::jobs::receipt::{Receipt, Work, WorkKind, WorkOrder, WorkResult, challenge_task};
use crate::signed::{Domain, Signed};
use crate::store::Store;
use crate::work::hash_chain::{self, HashChain};
use crate::work::{Task, TaskKind};

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

async fn result(
    validator: Address,
    worker: &PrivateKeySigner,
    kind: WorkKind,
    task: Task,
) -> Signed<WorkResult> {
    let output = task.execute().await.expect("the task is within bounds");
    let order = WorkOrder {
        validator,
        worker: worker.address(),
        kind,
        task,
    };
    Signed::sign(WorkResult { order, output }, &domain(), worker)
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
    let work = Work::Challenge(result(validator.address(), worker, kind, task).await);
    let body = Receipt {
        validator: validator.address(),
        round,
        issued_at,
        work,
    };
    Signed::sign(body, &domain(), validator)
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
        tasks: (0..tasks).map(task).collect(),
        payment,
        nonce,
    };
    Signed::sign(body, &domain(), user)
}

pub(crate) async fn job_receipt(
    validator: &PrivateKeySigner,
    workers: &[&PrivateKeySigner],
    request: Signed<JobRequest>,
    round: u64,
    issued_at: u64,
) -> Signed<Receipt> {
    let job = request.body.job_id(&domain());
    let mut results = Vec::new();
    for (index, (worker, task)) in workers.iter().zip(&request.body.tasks).enumerate() {
        let kind = WorkKind::Job {
            job,
            task: index as u16,
        };
        results.push(result(validator.address(), worker, kind, task.clone()).await);
    }
    let work = Work::Job { request, results };
    let body = Receipt {
        validator: validator.address(),
        round,
        issued_at,
        work,
    };
    Signed::sign(body, &domain(), validator)
}
