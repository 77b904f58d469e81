//! What a receipt must prove, and to whom.

use alloy::primitives::{Address, B256};

use super::receipt::{
    Answer, CHALLENGES_PER_ROUND, CLOCK_TOLERANCE_SECONDS, Receipt, TaskDone, Work, WorkKind,
    WorkResult, challenge_task,
};
use super::{JobError, JobRequest};
use crate::signed::{Domain, SignatureError, Signed};
use crate::work::{Policy, Task, TaskError, TaskOutput};

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The validator's or a worker's signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The job request in it is wrong.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A proof in it does not hold.
    #[error("the proof of {worker} does not hold: {error}")]
    Proof {
        /// Whose work.
        worker: Address,
        /// What is wrong.
        error: TaskError,
    },
    /// The parts do not belong together.
    #[error("the receipt's parts do not belong together: {0}")]
    Mismatch(&'static str),
    /// It accuses a worker whose result is right.
    #[error("the result of {0} is right, though the receipt says that it is false")]
    NoFault(Address),
    /// Dated ahead of chain time.
    #[error("issued at {issued_at}, but chain time is {now}")]
    FromTheFuture {
        /// Date of issue, chain seconds.
        issued_at: u64,
        /// Chain time of the check, seconds.
        now: u64,
    },
}

/// Checks that an answer is the worker's own: its signature, and that task and output are those that it names.
fn check_word(answer: &Answer, task: &Task, domain: &Domain) -> Result<(), ReceiptError> {
    let result = &answer.result.body;
    answer.result.verify(domain, result.worker)?;
    if result.task != task.digest() {
        return Err(ReceiptError::Mismatch("the result is that of another task"));
    }
    if result.output != answer.output.digest() {
        return Err(ReceiptError::Mismatch(
            "the worker signed for another output",
        ));
    }
    if answer.output.bytes_max() > task.result_bytes_max() {
        return Err(ReceiptError::Mismatch(
            "the output is larger than the task's can be",
        ));
    }
    Ok(())
}

/// Checks one answer to the order to do `task`: the worker's word, then the proof at samples chosen by `seed`, as many as
/// `policy` says. [`ReceiptError::Proof`] means that the worker has signed a false result.
pub async fn verify_answer(
    answer: &Answer,
    task: &Task,
    domain: &Domain,
    seed: [u8; 32],
    policy: &Policy,
) -> Result<(), ReceiptError> {
    check_word(answer, task, domain)?;
    check_proof(
        task,
        &answer.output,
        answer.result.body.worker,
        seed,
        policy,
    )
    .await
}

async fn check_proof(
    task: &Task,
    output: &TaskOutput,
    worker: Address,
    seed: [u8; 32],
    policy: &Policy,
) -> Result<(), ReceiptError> {
    task.verify(output, seed, policy)
        .await
        .map_err(|error| ReceiptError::Proof { worker, error })
}

/// How much of the proofs in a receipt is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrutiny {
    /// Samples, as many as the network's policy says.
    Samples,
    /// Everything: somebody has found a receipt for the same work to be false.
    Thorough,
}

impl Scrutiny {
    fn policy(self, policy: Policy) -> Policy {
        match self {
            Self::Samples => policy,
            Self::Thorough => Policy::THOROUGH,
        }
    }
}

/// Checks what costs next to nothing: that its validator signed the receipt, and not ahead of chain time (`now`, seconds).
pub fn check_word_of_validator(
    receipt: &Signed<Receipt>,
    domain: &Domain,
    now: u64,
) -> Result<(), ReceiptError> {
    let body = &receipt.body;
    receipt.verify(domain, body.validator)?;
    if body.issued_at > now.saturating_add(CLOCK_TOLERANCE_SECONDS) {
        return Err(ReceiptError::FromTheFuture {
            issued_at: body.issued_at,
            now,
        });
    }
    Ok(())
}

/// Checks the work behind a receipt, as far as that needs no chain. `seed` chooses the samples of the proofs and must be
/// unknown to whoever made them.
pub async fn verify_work(
    body: &Receipt,
    domain: &Domain,
    seed: [u8; 32],
    scrutiny: Scrutiny,
) -> Result<(), ReceiptError> {
    match &body.work {
        Work::Challenge(answer) => {
            check_challenge(body, &answer.result.body)?;
            let result = &answer.result.body;
            let task = challenge_task(domain, result.validator, result.worker, &result.kind);
            let policy = scrutiny.policy(Policy::default());
            verify_answer(answer, &task, domain, seed, &policy).await
        }
        Work::Job { request, tasks } => {
            let policy = scrutiny.policy(request.body.policy());
            verify_job(body.validator, request, tasks, domain, seed, &policy).await
        }
        Work::Fault { answer, task } => verify_fault(body, answer, task, domain, seed).await,
    }
}

/// The answers in a receipt that are false, each with its task, everything looked at.
pub async fn false_answers(body: &Receipt, domain: &Domain, seed: [u8; 32]) -> Vec<(Answer, Task)> {
    let mut answers = Vec::new();
    match &body.work {
        Work::Challenge(answer) => {
            let result = &answer.result.body;
            let task = challenge_task(domain, result.validator, result.worker, &result.kind);
            answers.push((answer.clone(), task));
        }
        Work::Job { request, tasks } => {
            let mut before = None;
            for (index, done) in tasks.iter().enumerate() {
                let task = done.as_ref().and_then(|_| request.body.task(index, before));
                before = done.as_ref().map(|done| &done.output);
                let (Some(done), Some(task)) = (done, task) else {
                    continue;
                };
                answers.extend(done.by.iter().map(|result| {
                    let (result, output) = (result.clone(), done.output.clone());
                    (Answer { result, output }, task.clone())
                }));
            }
        }
        // It says itself that its answer is false.
        Work::Fault { .. } => {}
    }
    let mut found = Vec::new();
    for (answer, task) in answers {
        let verified = verify_answer(&answer, &task, domain, seed, &Policy::THOROUGH).await;
        if let Err(ReceiptError::Proof { .. }) = verified {
            found.push((answer, task));
        }
    }
    found
}

fn check_challenge(receipt: &Receipt, result: &WorkResult) -> Result<(), ReceiptError> {
    let WorkKind::Challenge { round, index, .. } = result.kind else {
        return Err(ReceiptError::Mismatch(
            "the result is not that of a challenge",
        ));
    };
    if result.validator != receipt.validator {
        return Err(ReceiptError::Mismatch(
            "the challenge was another validator's",
        ));
    }
    if round != receipt.round {
        return Err(ReceiptError::Mismatch(
            "the challenge was given in another round",
        ));
    }
    if index >= CHALLENGES_PER_ROUND {
        return Err(ReceiptError::Mismatch("more challenges than a round has"));
    }
    Ok(())
}

async fn verify_job(
    validator: Address,
    request: &Signed<JobRequest>,
    tasks: &[Option<TaskDone>],
    domain: &Domain,
    seed: [u8; 32],
    policy: &Policy,
) -> Result<(), ReceiptError> {
    request.check(domain)?;
    let request = &request.body;
    let job = request.job_id(domain);
    if tasks.len() != request.tasks.len() {
        return Err(ReceiptError::Mismatch("not one entry for each task"));
    }
    if tasks.iter().all(Option::is_none) {
        return Err(ReceiptError::Mismatch("no task of the job is done"));
    }
    let mut before = None;
    for (index, done) in tasks.iter().enumerate() {
        let Some(done) = done else {
            before = None;
            continue;
        };
        let task = request
            .task(index, before)
            .ok_or(ReceiptError::Mismatch("a stage without the one before"))?;
        let kind = WorkKind::Job {
            job,
            task: u16::try_from(index).unwrap_or(u16::MAX),
            user: request.user,
        };
        check_agreement(validator, request, done, &kind, task.digest(), domain)?;
        // The first of them: they all signed the same.
        let worker = done.by[0].body.worker;
        check_proof(&task, &done.output, worker, seed, policy).await?;
        before = Some(&done.output);
    }
    Ok(())
}

/// Checks that more than half of the workers that a task is for, each once, signed for its result.
fn check_agreement(
    validator: Address,
    request: &JobRequest,
    done: &TaskDone,
    kind: &WorkKind,
    task: B256,
    domain: &Domain,
) -> Result<(), ReceiptError> {
    if done.by.len() < request.majority() || done.by.len() > usize::from(request.replication) {
        return Err(ReceiptError::Mismatch(
            "not the number of workers that the job asks for",
        ));
    }
    if !done
        .by
        .windows(2)
        .all(|pair| pair[0].body.worker < pair[1].body.worker)
    {
        return Err(ReceiptError::Mismatch(
            "a task's workers are not in order, each once",
        ));
    }
    let output = done.output.digest();
    for signed in &done.by {
        let result = &signed.body;
        if result.kind != *kind || result.task != task {
            return Err(ReceiptError::Mismatch("a result answers another task"));
        }
        if result.output != output {
            return Err(ReceiptError::Mismatch("a worker signed for another output"));
        }
        if result.validator != validator {
            return Err(ReceiptError::Mismatch(
                "a task was ordered by another validator",
            ));
        }
        if result.worker == request.user {
            return Err(ReceiptError::Mismatch("the user works for itself"));
        }
        signed.verify(domain, result.worker)?;
    }
    Ok(())
}

/// Checks that a worker signed a result that does not hold, for a task that it was ordered to do by whoever says so.
async fn verify_fault(
    receipt: &Receipt,
    answer: &Answer,
    task: &Task,
    domain: &Domain,
    seed: [u8; 32],
) -> Result<(), ReceiptError> {
    let result = &answer.result.body;
    if result.validator != receipt.validator {
        return Err(ReceiptError::Mismatch("the order was another validator's"));
    }
    if task.check().is_err() {
        return Err(ReceiptError::Mismatch("the task cannot be done at all"));
    }
    if matches!(result.kind, WorkKind::Challenge { .. })
        && *task != challenge_task(domain, result.validator, result.worker, &result.kind)
    {
        return Err(ReceiptError::Mismatch(
            "the task is not the one that a challenge gives",
        ));
    }
    match verify_answer(answer, task, domain, seed, &Policy::THOROUGH).await {
        Err(ReceiptError::Proof { .. }) => Ok(()),
        Ok(()) => Err(ReceiptError::NoFault(result.worker)),
        Err(other) => Err(other),
    }
}
