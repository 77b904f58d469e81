//! A job's way through one validator: admitted, recruited for, run, verified, receipted.
//!
//! What is decided is in the store before anyone acts on it; after a restart every open job goes on from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::tasks::JoinSet;
use alloy::primitives::B256;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::receipt::{Work, WorkKind, WorkOrder, WorkResult, verify_result};
use super::{FREE_JOBS_PER_ROUND, JobRequest, JobStatus};
use crate::p2p::wire::{Refusal, Request, Response};
use crate::roles::context::Peer;
use crate::roles::validator::{Unbelieved, Validator};
use crate::signed::Signed;
use crate::store::{Store, StoreError, Table};

/// Jobs that one validator runs at once.
const OPEN_JOBS_MAX: usize = 1_024;
/// Wait between two rounds of offers when no worker took a task.
const RETRY: Duration = Duration::from_secs(5);
/// A job that is not done after this many rounds has failed.
const DEADLINE_ROUNDS: u64 = 2;

/// A job as the coordinating validator keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Job {
    request: Signed<JobRequest>,
    /// Round in which it was admitted.
    round: u64,
    /// One for each task.
    results: Vec<Option<Signed<WorkResult>>>,
    failed: Option<String>,
    /// A receipt has been issued.
    receipted: bool,
}

impl Job {
    fn is_open(&self) -> bool {
        self.failed.is_none() && !self.receipted
    }
}

/// The jobs that this validator coordinates.
#[derive(Debug)]
pub struct Coordination {
    open: Mutex<BTreeMap<B256, Job>>,
    admitted: Notify,
}

fn key(job: B256) -> Vec<u8> {
    [b"coordinated/".as_slice(), job.as_slice()].concat()
}

impl Coordination {
    /// Reads the open jobs from the store.
    pub fn open(store: &Store) -> Result<Self, StoreError> {
        let open = store
            .scan::<Job>(Table::Jobs)?
            .into_iter()
            .filter(|(_, job)| job.is_open())
            .filter_map(|(key, job)| {
                Some((
                    B256::try_from(key.strip_prefix(b"coordinated/")?).ok()?,
                    job,
                ))
            })
            .collect();
        Ok(Self {
            open: Mutex::new(open),
            admitted: Notify::new(),
        })
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<B256, Job>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a job in the store, then in memory; closed jobs leave the memory.
    fn update(
        &self,
        store: &Store,
        id: B256,
        change: impl FnOnce(&mut Job),
    ) -> Result<(), StoreError> {
        let mut jobs = self.jobs();
        if let Some(job) = jobs.get_mut(&id) {
            let mut changed = job.clone();
            change(&mut changed);
            store.put(Table::Jobs, &key(id), &changed)?;
            if changed.is_open() {
                *job = changed;
            } else {
                jobs.remove(&id);
            }
        }
        Ok(())
    }
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
    let unavailable = |error: StoreError| Refusal::Unavailable(error.to_string());
    let id = request.body.job_id(&ctx.domain);
    let known = ctx
        .store
        .get::<Job>(Table::Jobs, &key(id))
        .map_err(unavailable)?;
    if known.is_some_and(|job| job.failed.is_none())
        || validator.ledger().job(id).map_err(unavailable)?.is_some()
    {
        return Ok(id);
    }
    let status = ctx
        .chain
        .round_status()
        .await
        .map_err(|error| Refusal::Unavailable(error.to_string()))?;
    if request.body.payment == 0 {
        check_quota(validator, &request.body, status.round)?;
    } else {
        validator
            .check_escrow(&request.body)
            .await
            .map_err(|error| match error {
                Unbelieved::NotEscrowed { .. } => Refusal::Invalid(error.to_string()),
                other => Refusal::Unavailable(other.to_string()),
            })?;
    }
    let job = Job {
        results: vec![None; request.body.tasks.len()],
        request,
        round: status.round,
        failed: None,
        receipted: false,
    };
    let mut jobs = validator.coordination.jobs();
    if jobs.len() >= OPEN_JOBS_MAX {
        return Err(Refusal::Busy);
    }
    ctx.store
        .put(Table::Jobs, &key(id), &job)
        .map_err(unavailable)?;
    info!(job = %id, user = %user.wallet, tasks = job.results.len(), payment = job.request.body.payment, "job admitted");
    jobs.insert(id, job);
    drop(jobs);
    validator.coordination.admitted.notify_one();
    Ok(id)
}

/// A free job needs no lock, so each identity has few of them in a round.
fn check_quota(validator: &Validator, request: &JobRequest, round: u64) -> Result<(), Refusal> {
    let open = validator
        .coordination
        .jobs()
        .values()
        .filter(|job| {
            job.round == round
                && job.request.body.user == request.user
                && job.request.body.payment == 0
        })
        .count();
    let receipted = validator.ledger().free_jobs(request.user, round);
    if open + receipted >= FREE_JOBS_PER_ROUND {
        return Err(Refusal::Invalid(format!(
            "{} has had its {FREE_JOBS_PER_ROUND} free jobs of round {round}; escrow a payment, or wait for the next round",
            request.user
        )));
    }
    Ok(())
}

/// How far a job is, as far as this validator knows.
pub(crate) fn status(validator: &Validator, id: B256) -> Result<JobStatus, Refusal> {
    let unavailable = |error: StoreError| Refusal::Unavailable(error.to_string());
    if let Some(receipt) = validator.ledger().job(id).map_err(unavailable)? {
        let outputs = receipt
            .body
            .results()
            .iter()
            .map(|result| result.body.output.clone())
            .collect();
        return Ok(JobStatus::Complete { outputs });
    }
    match validator
        .ctx
        .store
        .get::<Job>(Table::Jobs, &key(id))
        .map_err(unavailable)?
    {
        None => Err(Refusal::NotFound),
        Some(Job {
            failed: Some(reason),
            ..
        }) => Ok(JobStatus::Failed { reason }),
        Some(job) => {
            let done = job.results.iter().flatten().count();
            let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
            if done == 0 {
                Ok(JobStatus::Pending)
            } else {
                Ok(JobStatus::Active {
                    done: count(done),
                    total: count(job.results.len()),
                })
            }
        }
    }
}

/// Runs all open jobs until the node stops.
pub(crate) async fn run(validator: Arc<Validator>) {
    let mut running: BTreeMap<B256, ()> = BTreeMap::new();
    let mut drivers = JoinSet::new();
    loop {
        let open: Vec<B256> = validator.coordination.jobs().keys().copied().collect();
        for id in open {
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
    loop {
        match step(validator, id).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => warn!(job = %id, %error, "the job cannot go on now"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Tries all tasks that are not done. Whether the job is over.
async fn step(validator: &Validator, id: B256) -> Result<bool, Unbelieved> {
    let ctx = &validator.ctx;
    let Some(job) = validator.coordination.jobs().get(&id).cloned() else {
        return Ok(true);
    };
    if validator.ledger().job(id)?.is_some() {
        // Another validator, to whom the user turned as well, was first.
        validator
            .coordination
            .update(&ctx.store, id, |job| job.receipted = true)?;
        return Ok(true);
    }
    for (index, task) in job.request.body.tasks.iter().enumerate() {
        if job.results[index].is_some() {
            continue;
        }
        let kind = WorkKind::Job {
            job: id,
            task: u16::try_from(index).unwrap_or(u16::MAX),
        };
        let order = |worker: &Peer| WorkOrder {
            validator: ctx.address(),
            worker: worker.wallet,
            kind: kind.clone(),
            task: task.clone(),
        };
        if let Some(result) = recruit(validator, &job, index, order).await {
            validator
                .coordination
                .update(&ctx.store, id, |job| job.results[index] = Some(result))?;
        }
    }
    let status = ctx.chain.round_status().await?;
    let Some(job) = validator.coordination.jobs().get(&id).cloned() else {
        return Ok(true);
    };
    let results: Vec<Signed<WorkResult>> = job.results.iter().flatten().cloned().collect();
    if results.len() == job.results.len() {
        validator
            .issue(
                status.round,
                Work::Job {
                    request: job.request,
                    results,
                },
            )
            .await?;
        validator
            .coordination
            .update(&ctx.store, id, |job| job.receipted = true)?;
        info!(job = %id, "job complete");
        return Ok(true);
    }
    if status.round >= job.round + DEADLINE_ROUNDS {
        let reason = format!("not done within {DEADLINE_ROUNDS} rounds");
        warn!(job = %id, reason, "job failed");
        validator
            .coordination
            .update(&ctx.store, id, |job| job.failed = Some(reason))?;
        return Ok(true);
    }
    Ok(false)
}

/// Offers a task to one worker after the other until one has done it and the result holds.
async fn recruit(
    validator: &Validator,
    job: &Job,
    index: usize,
    order: impl Fn(&Peer) -> WorkOrder,
) -> Option<Signed<WorkResult>> {
    let ctx = &validator.ctx;
    let network = &job.request.body.network;
    let mut candidates = validator.workers();
    candidates.retain(|worker| {
        worker.networks.contains(network) && worker.wallet != job.request.body.user
    });
    candidates.shuffle(&mut rand::rng());
    // Workers without a task of this job first: the tasks are to run side by side.
    candidates.sort_by_key(|worker| {
        job.results
            .iter()
            .flatten()
            .filter(|result| result.body.order.worker == worker.wallet)
            .count()
    });
    for worker in candidates {
        let order = order(&worker);
        let WorkKind::Job { job: id, task } = order.kind else {
            return None;
        };
        match ctx
            .network
            .request(worker.id, Request::Offer { job: id, task })
            .await
        {
            Ok(Response::Accepted) => {}
            Ok(_) => continue,
            Err(error) => {
                debug!(job = %id, task = index, %error, "offer not answered");
                continue;
            }
        }
        match ctx
            .network
            .request(worker.id, Request::Work(Box::new(order.clone())))
            .await
        {
            Ok(Response::Work(result)) if result.body.order == order => {
                match verify_result(&result, &ctx.domain, rand::random()).await {
                    Ok(()) => {
                        info!(job = %id, task = index, worker = %worker.wallet, "task verified");
                        return Some(*result);
                    }
                    Err(error) => {
                        warn!(job = %id, task = index, worker = %worker.wallet, %error, "result refused")
                    }
                }
            }
            Ok(_) => debug!(job = %id, task = index, worker = %worker.wallet, "no result"),
            Err(error) => {
                debug!(job = %id, task = index, worker = %worker.wallet, %error, "no result")
            }
        }
    }
    None
}
