//! A job's way through one validator: admitted, recruited for, run, verified, receipted.
//!
//! What is decided is in the store before anyone acts on it; after a restart every open job goes on from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{Address, B256};
use futures::{StreamExt, TryStreamExt, stream};
use tracing::{info, warn};

use super::belief::Unbelieved;
use super::coordination::{Failed, Job};
use super::receipt::{TaskDone, Work};
use super::recruit::{self, Recruiting};
use super::{Delivery, FREE_JOBS_PER_ROUND, JobRequest, JobStatus, Shape};
use crate::chain::ChainError;
use crate::failpoint::sometimes;
use crate::p2p::records::JobPhase;
use crate::p2p::wire::Refusal;
use crate::roles::context::{Context, Peer};
use crate::roles::validator::Validator;
use crate::signed::Signed;
use crate::store::StoreError;
use crate::tasks::JoinSet;
use crate::work::TaskOutput;

/// Wait between two rounds of offers when no worker took a task.
const RETRY: Duration = Duration::from_secs(5);
/// A job that is not done after this many rounds has failed.
pub(crate) const DEADLINE_ROUNDS: u64 = 2;
/// Why a job that its user called off has no result.
const CALLED_OFF: &str = "called off by its user";

fn unavailable(error: impl std::fmt::Display) -> Refusal {
    Refusal::Unavailable(error.to_string())
}

/// Admits a job, or says why not. The same job again is admitted again, to no further effect.
pub(crate) async fn submit(
    validator: &Validator,
    user: &Peer,
    request: Signed<JobRequest>,
) -> Result<B256, Refusal> {
    let ctx = &validator.ctx;
    request
        .check(&ctx.domain)
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    if request.body.user != user.wallet {
        return Err(Refusal::Invalid("the request is another user's".into()));
    }
    let id = request.body.job_id(&ctx.domain);
    if let Some(job) = validator.coordination.job(id) {
        // One that is being given up is not taken up again before it has ended.
        return if job.failed.is_none() {
            Ok(id)
        } else {
            Err(Refusal::Busy)
        };
    }
    if validator.ledger().job(id).map_err(unavailable)?.is_some() {
        return Ok(id);
    }
    let network = &request.body.network;
    if !is_network(ctx, network).await.map_err(unavailable)? {
        return Err(Refusal::Invalid(format!(
            "there is no network {network:?} on chain; `smartnode network list` shows those that there are"
        )));
    }
    let status = ctx.chain.round_status().await.map_err(unavailable)?;
    if request.body.payment == 0 {
        check_quota(validator, &request.body, status.round)?;
    } else {
        check_payment(validator, &request.body, status.update_interval).await?;
    }
    let (tasks, payment) = (request.body.tasks.len(), request.body.payment);
    if !validator
        .coordination
        .admit(id, request, status.round)
        .map_err(unavailable)?
    {
        return Err(Refusal::Busy);
    }
    info!(job = %id, user = %user.wallet, tasks, payment, "job admitted");
    ctx.publish_job(id, user.wallet, JobPhase::Active, []).await;
    Ok(id)
}

/// Whether a network is on the registry, by endpoints that agree if it is not: a user who is told so asks nobody else.
async fn is_network(ctx: &Context, network: &str) -> Result<bool, ChainError> {
    if ctx.chain.is_network(network).await? {
        return Ok(true);
    }
    ctx.chain.cross_check().await?;
    ctx.chain.is_network(network).await
}

/// How long a payment must stay escrowed for a job to be admitted, in seconds: the next update is due within an interval, and is
/// executed well before the one after it.
pub(crate) fn escrow_needed(interval: u64) -> u64 {
    interval.saturating_add(interval / 2)
}

/// A payment must be escrowed, and stay so until an update can have paid the workers with it.
async fn check_payment(
    validator: &Validator,
    request: &JobRequest,
    interval: u64,
) -> Result<(), Refusal> {
    let ctx = &validator.ctx;
    validator
        .check_escrow(request)
        .await
        .map_err(|error| match error {
            Unbelieved::NotEscrowed { .. } => Refusal::Invalid(error.to_string()),
            other => unavailable(other),
        })?;
    let job = request.job_id(&ctx.domain);
    let cancellable = ctx.chain.cancellable_at(job).await.map_err(unavailable)?;
    if cancellable < ctx.clock.now().saturating_add(escrow_needed(interval)) {
        sometimes!("job/payment-too-old");
        return Err(Refusal::Invalid(format!(
            "the payment can be taken back at {cancellable}, before it is sure that an update has used it; cancel it then, and escrow it for a new job"
        )));
    }
    Ok(())
}

/// A free job needs no lock, so each identity has few of them in a round.
fn check_quota(validator: &Validator, request: &JobRequest, round: u64) -> Result<(), Refusal> {
    let open = validator.coordination.free_jobs(request.user, round);
    let receipted = validator.ledger().free_jobs(request.user, round);
    if open + receipted >= FREE_JOBS_PER_ROUND {
        sometimes!("job/over-quota");
        return Err(Refusal::Invalid(format!(
            "{} has had its {FREE_JOBS_PER_ROUND} free jobs of round {round}; escrow a payment, or wait for the next round",
            request.user
        )));
    }
    Ok(())
}

/// Gives up a job for its user. What has been done of it counts for its workers; a payment is refunded by the contract,
/// once no update can complete the job any more.
pub(crate) fn call_off(validator: &Validator, user: &Peer, id: B256) -> Result<(), Refusal> {
    let owner = match validator.coordination.job(id) {
        Some(job) => Some(job.request.body.user),
        None => failed(validator, id)?.map(|note| note.user),
    };
    if owner != Some(user.wallet) {
        return Err(Refusal::NotFound);
    }
    sometimes!("job/called-off");
    validator
        .coordination
        .give_up(id, CALLED_OFF)
        .map_err(unavailable)
}

/// How far a job is, as far as this validator knows.
pub(crate) fn status(validator: &Validator, id: B256) -> Result<JobStatus, Refusal> {
    let open = validator.coordination.job(id);
    let reason = match &open {
        Some(job) => job.failed.clone(),
        None => failed(validator, id)?.map(|note| note.reason),
    };
    if let Some(reason) = reason {
        return Ok(JobStatus::Failed { reason });
    }
    if let Some(receipt) = validator.ledger().job(id).map_err(unavailable)? {
        return receipted(&receipt.body.work).ok_or(Refusal::NotFound);
    }
    let request = open.ok_or(Refusal::NotFound)?.request.body;
    let total = request.tasks.len();
    let done = done_tasks(validator, id, &request).map_err(unavailable)?;
    let done = done.iter().flatten().count();
    let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    Ok(match done {
        0 => JobStatus::Pending,
        _ => JobStatus::Active {
            done: count(done),
            total: count(total),
        },
    })
}

fn failed(validator: &Validator, id: B256) -> Result<Option<Failed>, Refusal> {
    validator.coordination.failure(id).map_err(unavailable)
}

/// What a job's receipt says of its end.
fn receipted(work: &Work) -> Option<JobStatus> {
    let Work::Job { tasks, .. } = work else {
        return None;
    };
    let delivery = |done: &TaskDone| Delivery {
        digest: done.output.digest(),
        workers: done.by.iter().map(|result| result.body.worker).collect(),
    };
    let results: Option<Vec<Delivery>> = tasks
        .iter()
        .map(|done| done.as_ref().map(delivery))
        .collect();
    Some(match results {
        Some(results) => JobStatus::Complete { results },
        None => JobStatus::Failed {
            reason: format!(
                "given up after {} of {} tasks",
                tasks.iter().flatten().count(),
                tasks.len()
            ),
        },
    })
}

/// The result of a task of a job that has its receipt, for the job's user.
pub(crate) fn output(
    validator: &Validator,
    user: &Peer,
    id: B256,
    task: u16,
) -> Result<TaskOutput, Refusal> {
    let receipt = validator
        .ledger()
        .job(id)
        .map_err(unavailable)?
        .ok_or(Refusal::NotFound)?;
    match receipt.body.work {
        Work::Job { request, mut tasks } if request.body.user == user.wallet => tasks
            .get_mut(usize::from(task))
            .and_then(Option::take)
            .map(|done| done.output)
            .ok_or(Refusal::NotFound),
        _ => Err(Refusal::NotFound),
    }
}

/// Runs all open jobs until the node stops.
pub(crate) async fn run(validator: Arc<Validator>) {
    let mut running: BTreeMap<B256, ()> = BTreeMap::new();
    let mut drivers = JoinSet::new();
    loop {
        for id in validator.coordination.ids() {
            if running.insert(id, ()).is_none() {
                let validator = validator.clone();
                drivers.spawn(async move {
                    drive(&validator, id).await;
                    id
                });
            }
        }
        tokio::select! {
            biased;
            Some(ended) = drivers.join_next() => match ended {
                Ok(id) => { running.remove(&id); }
                Err(error) => warn!(%error, "a job's driver ended badly"),
            },
            () = validator.coordination.admitted.notified() => {}
        }
    }
}

async fn drive(validator: &Validator, id: B256) {
    let Some(called_off) = validator.coordination.called_off(id) else {
        return;
    };
    loop {
        // What workers have been ordered to do is waited for also when the job is called off: they are credited for it, and
        // the user has it from them.
        match step(validator, id).await {
            Ok(Step::Over) => return,
            Ok(Step::Progress) => continue,
            Ok(Step::Stuck) => look_further(validator, id).await,
            Err(error) => warn!(job = %id, %error, "the job cannot go on now"),
        }
        // A call that comes meanwhile is kept, and heard by the next turn.
        let _ = tokio::time::timeout(RETRY, called_off.notified()).await;
    }
}

/// Dials workers that say in the DHT that they serve a job's network and are not connected here: for the next turn.
async fn look_further(validator: &Validator, id: B256) {
    let Some(job) = validator.coordination.job(id) else {
        return;
    };
    let ctx = &validator.ctx;
    let connected = ctx.network.peers().await;
    for worker in ctx.find_workers(&job.request.body.network).await {
        if !connected.contains(&worker) {
            ctx.network.dial(Some(worker), Vec::new()).await;
        }
    }
}

/// How a look at a job ended.
enum Step {
    /// The job has ended.
    Over,
    /// Something was done, and more can be done at once.
    Progress,
    /// Nobody takes what is left now.
    Stuck,
}

/// Has all tasks done that can be done now.
async fn step(validator: &Validator, id: B256) -> Result<Step, Unbelieved> {
    let Some(job) = validator.coordination.job(id) else {
        return Ok(Step::Over);
    };
    if validator.ledger().job(id)?.is_some() {
        // Receipted before a crash; or another validator, to whom the user turned as well, was first.
        let round = validator.ctx.chain.round_status().await?.round;
        validator.coordination.close(id, round)?;
        return Ok(Step::Over);
    }
    if job.failed.is_some() {
        end(validator, id, job).await?;
        return Ok(Step::Over);
    }
    let before = done_tasks(validator, id, &job.request.body)?;
    let (done, hopeless) = match job.request.body.shape {
        Shape::Parallel => (parallel(validator, id, &job, before.clone()).await?, None),
        Shape::Pipeline => pipeline(validator, id, &job, before.clone()).await?,
    };
    if done.iter().all(Option::is_some) {
        end(validator, id, job).await?;
        return Ok(Step::Over);
    }
    let round = validator.ctx.chain.round_status().await?.round;
    let late = (round >= job.round.saturating_add(DEADLINE_ROUNDS))
        .then(|| format!("not done within {DEADLINE_ROUNDS} rounds"));
    if let Some(reason) = hopeless.or(late) {
        sometimes!("job/failed");
        warn!(job = %id, reason, "job failed");
        validator.coordination.give_up(id, &reason)?;
        return Ok(Step::Progress);
    }
    let count = |tasks: &[Option<TaskDone>]| tasks.iter().flatten().count();
    Ok(if count(&done) > count(&before) {
        Step::Progress
    } else {
        Step::Stuck
    })
}

/// Runs the tasks that are not done side by side, as many at once as the workers have room for.
async fn parallel(
    validator: &Validator,
    id: B256,
    job: &Job,
    done: Vec<Option<TaskDone>>,
) -> Result<Vec<Option<TaskDone>>, Unbelieved> {
    let request = &job.request.body;
    let load = Mutex::new(BTreeMap::new());
    let room: usize = validator
        .workers()
        .iter()
        .filter(|worker| worker.serves(&request.network))
        .map(|worker| worker.capacity as usize)
        .sum();
    let at_once = (room / usize::from(request.replication)).max(1);
    let tasks = done.into_iter().enumerate().map(|(index, done)| {
        let load = &load;
        async move {
            if done.is_some() {
                return Ok(done);
            }
            recruit(validator, id, request, index, None, load).await
        }
    });
    stream::iter(tasks).buffered(at_once).try_collect().await
}

/// Runs the stages that are not done one after the other, up to one that nobody takes. The second value says why the
/// pipeline can never end, if so.
async fn pipeline(
    validator: &Validator,
    id: B256,
    job: &Job,
    mut done: Vec<Option<TaskDone>>,
) -> Result<(Vec<Option<TaskDone>>, Option<String>), Unbelieved> {
    let request = &job.request.body;
    for index in 0..done.len() {
        if done[index].is_some() {
            continue;
        }
        let before = index
            .checked_sub(1)
            .and_then(|index| done[index].as_ref())
            .map(|done| &done.output);
        if request.task(index, before).is_none() {
            let reason = format!(
                "the result of stage {index} cannot be the input of the one after it: it is a fault, or too large"
            );
            return Ok((done, Some(reason)));
        }
        let load = Mutex::new(BTreeMap::new());
        let stage = recruit(validator, id, request, index, before, &load).await?;
        let stuck = stage.is_none();
        done[index] = stage;
        if stuck {
            break;
        }
    }
    Ok((done, None))
}

async fn recruit(
    validator: &Validator,
    id: B256,
    request: &JobRequest,
    index: usize,
    before: Option<&TaskOutput>,
    load: &Mutex<BTreeMap<Address, usize>>,
) -> Result<Option<TaskDone>, Unbelieved> {
    let Some(task) = request.task(index, before) else {
        return Ok(None);
    };
    let recruiting = Recruiting {
        validator,
        job: id,
        request,
        index: u16::try_from(index).unwrap_or(u16::MAX),
        task,
    };
    let done = recruiting.run(load).await?;
    if done.is_some() {
        info!(job = %id, task = index, "task done");
    }
    Ok(done)
}

fn done_tasks(
    validator: &Validator,
    id: B256,
    request: &JobRequest,
) -> Result<Vec<Option<TaskDone>>, StoreError> {
    (0..request.tasks.len())
        .map(|index| {
            let task = u16::try_from(index).unwrap_or(u16::MAX);
            let answers = validator.coordination.answers(id, task)?;
            Ok(recruit::done(request, &answers))
        })
        .collect()
}

/// Issues the receipt for what was done, if anything was, and closes the job.
async fn end(validator: &Validator, id: B256, job: Job) -> Result<(), Unbelieved> {
    let round = validator.ctx.chain.round_status().await?.round;
    let tasks = done_tasks(validator, id, &job.request.body)?;
    let (done, total) = (tasks.iter().flatten().count(), tasks.len());
    let user = job.request.body.user;
    let phase = match job.failed.as_deref() {
        _ if done == total => JobPhase::Complete,
        Some(CALLED_OFF) => JobPhase::Cancelled,
        _ => JobPhase::Failed,
    };
    let workers: Vec<Address> = tasks
        .iter()
        .flatten()
        .flat_map(|task| task.by.iter().map(|result| result.body.worker))
        .collect();
    if done > 0 {
        let request = job.request;
        validator.issue(round, Work::Job { request, tasks }).await?;
    }
    validator.coordination.close(id, round)?;
    validator.ctx.publish_job(id, user, phase, workers).await;
    if done == total {
        info!(job = %id, "job complete");
    } else {
        let reason = job.failed.as_deref().unwrap_or_default();
        info!(job = %id, done, total, reason, "job ended early");
    }
    Ok(())
}
