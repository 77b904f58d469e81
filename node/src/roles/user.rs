//! The user: registers, escrows, submits jobs, and checks what comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use serde::de::IgnoredAny;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::context::{Context, Peer};
use crate::chain::{ChainError, Intent, JobState};
use crate::failpoint::sometimes;
use crate::jobs::coordinator::{DEADLINE_ROUNDS, escrow_needed};
use crate::jobs::{Delivery, JobError, JobRequest, JobStatus};
use crate::p2p::handshake::Role;
use crate::p2p::wire::{Refusal, Request, Response};
use crate::signed::Signed;
use crate::store::{Store, StoreError, Table};
use crate::work::{TaskError, TaskOutput};

/// Wait between two questions about a job.
const POLL: Duration = Duration::from_secs(2);
/// A validator that has not answered for this long is given up for another.
const PATIENCE: Duration = Duration::from_secs(300);

/// A user's functions. Each may be repeated after a crash, to the same effect.
pub struct User {
    /// The shared parts.
    pub ctx: Arc<Context>,
}

/// Why a job came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The request is out of bounds.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The chain refuses registration or escrow, or cannot be reached.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A validator refuses the job for good.
    #[error("the job is refused: {0}")]
    Refused(Refusal),
    /// The network has given the job up.
    #[error("the job has failed: {0}")]
    Failed(String),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such job was submitted from here.
    #[error(
        "job {0} was not submitted with this node's data_dir, so its results cannot be verified here"
    )]
    Unknown(B256),
    /// A result does not hold.
    #[error("the result of task {task} does not hold: {error}")]
    BadResult {
        /// Index of the task.
        task: usize,
        /// What is wrong.
        error: TaskError,
    },
}

/// Own jobs are remembered for this long after they were last submitted (seconds of chain time): nobody else keeps their
/// results for longer.
const OWN_JOB_LIFETIME_SECONDS: u64 = 90 * 24 * 3_600;

/// Own jobs, by id: when they were submitted, and what was asked for.
const OWN_JOB: &[u8] = b"own-job/";

fn own_job_key(job: B256) -> Vec<u8> {
    [OWN_JOB, job.as_slice()].concat()
}

/// Forgets own jobs that were submitted too long before `now` (chain seconds).
fn forget_old_jobs(store: &Store, now: u64) -> Result<(), StoreError> {
    let mut old = Vec::new();
    store.visit(
        Table::Jobs,
        OWN_JOB,
        |key, (since, _): (u64, IgnoredAny)| {
            if since.saturating_add(OWN_JOB_LIFETIME_SECONDS) < now {
                old.push(key.to_vec());
            }
        },
    )?;
    if old.is_empty() {
        return Ok(());
    }
    store.write(|batch| {
        old.iter()
            .try_for_each(|key| batch.delete(Table::Jobs, key))
    })
}

/// A job's end.
#[derive(Clone, Debug)]
pub struct Completed {
    /// The job.
    pub job: B256,
    /// One verified output for each task.
    pub outputs: Vec<TaskOutput>,
}

/// A validator's word on a job.
enum Answer {
    Complete(Vec<Delivery>),
    Failed(String),
    Going,
    Silent,
}

/// The validator that has admitted a job.
struct Coordinator {
    wallet: Address,
    /// When it last said that the job is under way.
    heard: Instant,
    /// How long it has; not known where the chain could not be asked.
    patience: Option<Patience>,
}

/// How long a validator is given for a job, in chain time (seconds).
struct Patience {
    /// From then on another one is asked too.
    turn_at: u64,
    /// From then on it is not believed that the job is under way still.
    over_at: u64,
}

/// A search for a validator that does its part.
struct Search {
    /// Whose turn it is. Begins anywhere, so that users do not all turn to the same one.
    turn: usize,
    /// Wallets of those that have refused the job for good, or said what does not hold.
    given_up: BTreeSet<Address>,
}

impl Search {
    fn begin() -> Self {
        Self {
            turn: usize::from(rand::random::<u16>()),
            given_up: BTreeSet::new(),
        }
    }

    /// Asks this validator no more. The error comes back if no other one is left.
    fn give_up(
        &mut self,
        wallet: Address,
        validators: &[Peer],
        error: UserError,
    ) -> Result<(), UserError> {
        self.given_up.insert(wallet);
        let mut wallets = validators.iter().map(|peer| peer.wallet);
        if wallets.all(|wallet| self.given_up.contains(&wallet)) {
            return Err(error);
        }
        Ok(())
    }
}

impl User {
    /// A user.
    pub fn new(ctx: Arc<Context>) -> Self {
        if let Err(error) = forget_old_jobs(&ctx.store, ctx.clock.now()) {
            warn!(%error, "jobs of long ago are still remembered");
        }
        Self { ctx }
    }

    /// Waits until a validator is connected.
    pub async fn connected(&self) {
        while self.ctx.peers_with(Role::Validator).is_empty() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Registers on chain if that has not been done: locks the user amount (100 SNO by default).
    pub async fn register(&self) -> Result<(), ChainError> {
        if self.ctx.chain.is_user(self.ctx.address()).await? {
            return Ok(());
        }
        self.ctx
            .chain
            .send(Intent::CreateUser {
                key_hash: self.ctx.identity.public_key_hash(),
            })
            .await?;
        info!(user = %self.ctx.address(), "user registered");
        Ok(())
    }

    /// Runs a job to its end: escrows its payment if it has one, submits it, waits, fetches the results from the workers,
    /// and verifies them. The same request again finds the same job.
    pub async fn run_job(&self, request: JobRequest) -> Result<Completed, UserError> {
        let (job, signed) = self.prepare(request).await?;
        let outputs = self.wait_for(job, &signed).await?;
        info!(%job, "result received");
        Ok(Completed { job, outputs })
    }

    /// The verified results of a job that was submitted from here; `None` if it is not complete.
    pub async fn result(&self, job: B256) -> Result<Option<Completed>, UserError> {
        let (_, request) = self
            .ctx
            .store
            .get::<(u64, JobRequest)>(Table::Jobs, &own_job_key(job))?
            .ok_or(UserError::Unknown(job))?;
        let mut worst = None;
        for validator in self.who_may_know(job).await {
            match self.ask(&validator, job, &request).await {
                Answer::Complete(results) => {
                    match self.fetch_all(job, &request, &results).await {
                        Ok(Some(outputs)) => return Ok(Some(Completed { job, outputs })),
                        Ok(None) => {}
                        // Another validator may tell the truth.
                        Err(error) => worst = Some(error),
                    }
                }
                Answer::Failed(reason) => {
                    worst.get_or_insert(UserError::Failed(reason));
                }
                Answer::Going | Answer::Silent => {}
            }
        }
        worst.map_or(Ok(None), Err)
    }

    /// How far a job is, as far as validators tell; `None` if no one that can be reached knows the job.
    pub async fn job_status(&self, job: B256) -> Option<JobStatus> {
        let mut known = None;
        for validator in self.who_may_know(job).await {
            match self.status_at(&validator, job).await {
                Some(status @ JobStatus::Complete { .. }) => return Some(status),
                Some(status) => known = Some(status),
                None => {}
            }
        }
        known
    }

    /// The connected validators, and those of the others that say in the DHT that they coordinate this job, dialled now.
    async fn who_may_know(&self, job: B256) -> Vec<Peer> {
        let mut peers = self.ctx.peers_with(Role::Validator);
        let validators = match self.ctx.chain.validators().await {
            Ok(validators) => validators,
            Err(error) => {
                debug!(%job, %error, "only the connected validators are asked");
                return peers;
            }
        };
        for wallet in validators {
            if peers.iter().all(|peer| peer.wallet != wallet)
                && self.ctx.is_coordinator(wallet, job).await
                && let Some(peer) = self.ctx.reach(wallet).await
            {
                peers.push(peer);
            }
        }
        peers
    }

    /// Calls a job off at every validator that may know it, and has its payment refunded if it has one and the contract gives it
    /// back by now: it does so once no update can complete the job any more. `Ok(Some(time))`: not before this chain
    /// time (seconds).
    pub async fn cancel_job(&self, job: B256) -> Result<Option<u64>, ChainError> {
        for validator in self.who_may_know(job).await {
            let request = Request::CancelJob { job };
            match self.ctx.network.request(validator.id, request).await {
                Ok(Response::JobCancelled) => {
                    info!(%job, validator = %validator.wallet, "job called off");
                }
                Ok(other) => {
                    debug!(validator = %validator.wallet, answer = ?other, "not called off")
                }
                Err(error) => debug!(validator = %validator.wallet, %error, "not called off"),
            }
        }
        let escrow = self.ctx.chain.job(job).await?;
        let owner = self.ctx.address();
        if !escrow.is_some_and(|escrow| escrow.owner == owner && escrow.state == JobState::Open) {
            return Ok(None);
        }
        let refundable = self.ctx.chain.cancellable_at(job).await?;
        if self.ctx.chain.head().await?.timestamp < refundable {
            return Ok(Some(refundable));
        }
        self.ctx.chain.send(Intent::CancelJob { job }).await?;
        info!(%job, "payment refunded");
        Ok(None)
    }

    /// Escrows a job's payment if it has one, and submits the job until a validator admits it. Its result can be had
    /// by [`User::run_job`] with the same request.
    pub async fn submit_job(&self, request: JobRequest) -> Result<B256, UserError> {
        let (job, signed) = self.prepare(request).await?;
        let mut search = Search::begin();
        loop {
            let validators = self.ctx.peers_with(Role::Validator);
            if self
                .find_coordinator(&mut search, &validators, &signed)
                .await?
                .is_some()
            {
                return Ok(job);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Checks and signs a request, and escrows its payment if that has not been done.
    async fn prepare(&self, request: JobRequest) -> Result<(B256, Signed<JobRequest>), UserError> {
        request.check()?;
        let domain = &self.ctx.domain;
        let job = request.job_id(domain);
        // So that the result can be had, and verified, by the job's id alone.
        let submitted = (self.ctx.clock.now(), &request);
        self.ctx
            .store
            .put(Table::Jobs, &own_job_key(job), &submitted)?;
        if request.payment > 0 && self.ctx.chain.job(job).await?.is_none() {
            let intent = Intent::RequestJob {
                job_hash: request.job_hash(domain),
                network: request.network.clone(),
                payment: request.payment,
            };
            self.ctx.chain.send(intent).await?;
            info!(%job, payment = request.payment, "payment escrowed");
        }
        Ok((
            job,
            Signed::sign(request, domain, &self.ctx.identity.wallet),
        ))
    }

    /// Submits to one validator and asks until somebody's results hold; turns to the next one if it falls silent, says
    /// what is not true, or has the job under way for longer than any may be.
    async fn wait_for(
        &self,
        job: B256,
        signed: &Signed<JobRequest>,
    ) -> Result<Vec<TaskOutput>, UserError> {
        let mut search = Search::begin();
        let mut coordinator: Option<Coordinator> = None;
        loop {
            let validators = self.ctx.peers_with(Role::Validator);
            let Some(current) = &mut coordinator else {
                if let Some(wallet) = self
                    .find_coordinator(&mut search, &validators, signed)
                    .await?
                {
                    coordinator = Some(Coordinator {
                        wallet,
                        heard: Instant::now(),
                        patience: self.patience(job, signed.body.payment > 0).await,
                    });
                }
                tokio::time::sleep(POLL).await;
                continue;
            };
            // Any validator that has the receipt can tell; only the one that admitted the job can give it up.
            for peer in &validators {
                if search.given_up.contains(&peer.wallet) {
                    continue;
                }
                let is_coordinator = peer.wallet == current.wallet;
                match self.ask(peer, job, &signed.body).await {
                    Answer::Complete(results) => {
                        match self.fetch_all(job, &signed.body, &results).await {
                            Ok(Some(outputs)) => return Ok(outputs),
                            Ok(None) => {}
                            Err(error) => {
                                warn!(%job, validator = %peer.wallet, %error, "not believed");
                                search.give_up(peer.wallet, &validators, error)?;
                            }
                        }
                    }
                    Answer::Failed(reason) if is_coordinator => {
                        return Err(UserError::Failed(reason));
                    }
                    Answer::Going if is_coordinator => current.heard = Instant::now(),
                    _ => {}
                }
            }
            if current.patience.is_none() {
                current.patience = self.patience(job, signed.body.payment > 0).await;
            }
            let now = self.ctx.clock.now();
            let is_past = |limit: fn(&Patience) -> u64| {
                let patience = current.patience.as_ref();
                patience.is_some_and(|patience| now >= limit(patience))
            };
            if is_past(|patience| patience.over_at) && !search.given_up.contains(&current.wallet) {
                let reason = format!(
                    "validator {} has it under way for longer than any job may be",
                    current.wallet
                );
                search.give_up(current.wallet, &validators, UserError::Failed(reason))?;
            }
            if current.heard.elapsed() > PATIENCE
                || is_past(|patience| patience.turn_at)
                || search.given_up.contains(&current.wallet)
            {
                sometimes!("user/other-validator");
                info!(%job, validator = %current.wallet, "given up for another validator");
                coordinator = None;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How long a validator that admits the job now is given for it. It may keep it for no good, so another one must hear of a
    /// paid job while it can still be settled with the payment: nobody admits it later.
    async fn patience(&self, job: B256, is_paid: bool) -> Option<Patience> {
        let limits = async {
            let interval = self.ctx.chain.round_status().await?.update_interval;
            let refundable = match is_paid {
                true => self.ctx.chain.cancellable_at(job).await?,
                false => u64::MAX,
            };
            Ok::<_, ChainError>((interval, refundable))
        };
        let (interval, refundable) = match limits.await {
            Ok(limits) => limits,
            Err(error) => {
                debug!(%job, %error, "how long the job may take is not known");
                return None;
            }
        };
        let now = self.ctx.clock.now();
        let over_at = now.saturating_add((DEADLINE_ROUNDS + 1).saturating_mul(interval));
        let turn_at = refundable.saturating_sub(escrow_needed(interval) + interval / 4);
        Some(Patience {
            turn_at: if turn_at > now { turn_at } else { u64::MAX },
            over_at,
        })
    }

    /// Offers the job to the next validator in turn. The one that has admitted it, if it did; an error if all that are
    /// connected refuse it for good, since one alone may say so without a reason.
    async fn find_coordinator(
        &self,
        search: &mut Search,
        validators: &[Peer],
        signed: &Signed<JobRequest>,
    ) -> Result<Option<Address>, UserError> {
        let mut left = validators
            .iter()
            .filter(|peer| !search.given_up.contains(&peer.wallet));
        let count = left.clone().count().max(1);
        let Some(validator) = left.nth(search.turn % count) else {
            return Ok(None);
        };
        search.turn += 1;
        match self
            .ctx
            .network
            .request(validator.id, Request::SubmitJob(Box::new(signed.clone())))
            .await
        {
            Ok(Response::JobAdmitted { job }) => {
                info!(%job, validator = %validator.wallet, "job admitted");
                return Ok(Some(validator.wallet));
            }
            Ok(Response::Refused(refusal @ Refusal::Invalid(_))) => {
                info!(validator = %validator.wallet, %refusal, "job refused");
                search.give_up(validator.wallet, validators, UserError::Refused(refusal))?;
            }
            Ok(other) => {
                debug!(validator = %validator.wallet, answer = ?other, "job not admitted");
            }
            Err(error) => {
                debug!(validator = %validator.wallet, %error, "job not admitted");
            }
        }
        Ok(None)
    }

    /// What one validator says of the job.
    async fn ask(&self, validator: &Peer, job: B256, request: &JobRequest) -> Answer {
        match self.status_at(validator, job).await {
            Some(JobStatus::Complete { results }) if results.len() == request.tasks.len() => {
                Answer::Complete(results)
            }
            Some(JobStatus::Complete { .. }) | None => Answer::Silent,
            Some(JobStatus::Failed { reason }) => Answer::Failed(reason),
            Some(JobStatus::Pending | JobStatus::Active { .. }) => Answer::Going,
        }
    }

    async fn status_at(&self, validator: &Peer, job: B256) -> Option<JobStatus> {
        let request = Request::JobStatus { job };
        match self.ctx.network.request(validator.id, request).await {
            Ok(Response::JobStatus(status)) => Some(*status),
            _ => None,
        }
    }

    /// Fetches and verifies the results of all tasks. `None` if one is not to be had now.
    async fn fetch_all(
        &self,
        job: B256,
        request: &JobRequest,
        results: &[Delivery],
    ) -> Result<Option<Vec<TaskOutput>>, UserError> {
        let mut outputs: Vec<TaskOutput> = Vec::with_capacity(results.len());
        for (index, delivery) in results.iter().enumerate() {
            let before = outputs.last();
            let Some(task) = request.task(index, before) else {
                return Err(UserError::Failed(format!(
                    "the result of stage {index} cannot be the input of the one after it"
                )));
            };
            let number = u16::try_from(index).unwrap_or(u16::MAX);
            let Some(output) = self.fetch(job, number, delivery).await else {
                return Ok(None);
            };
            task.verify(&output, rand::random(), &request.policy())
                .await
                .map_err(|error| UserError::BadResult { task: index, error })?;
            outputs.push(output);
        }
        Ok(Some(outputs))
    }

    /// The result of one task: from one of the workers that agree on it, else from a validator.
    async fn fetch(&self, job: B256, task: u16, delivery: &Delivery) -> Option<TaskOutput> {
        let mut sources = Vec::new();
        for worker in &delivery.workers {
            if let Some(peer) = self.ctx.reach(*worker).await {
                sources.push(peer.id);
            }
        }
        let validators = self.ctx.peers_with(Role::Validator);
        sources.extend(validators.iter().map(|validator| validator.id));
        for peer in sources {
            match self
                .ctx
                .network
                .request(peer, Request::Output { job, task })
                .await
            {
                Ok(Response::Output(output)) if output.digest() == delivery.digest => {
                    debug!(%job, task, %peer, "result fetched");
                    return Some(*output);
                }
                Ok(other) => debug!(%job, task, %peer, answer = ?other, "no result"),
                Err(error) => debug!(%job, task, %peer, %error, "no result"),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::rows::{config, damaged, damages, rows_of};
    use crate::testing::{job_request, wallet};

    #[test]
    fn own_jobs_are_forgotten_when_nobody_can_have_their_results_any_more() {
        const NOW: u64 = 1_000;
        let store = Store::in_memory().expect("opens");
        let request = job_request(&wallet(9), 1, 0, 1).body;
        for (byte, since) in [(1, NOW), (2, NOW + 100)] {
            let key = own_job_key(B256::repeat_byte(byte));
            store
                .put(Table::Jobs, &key, &(since, &request))
                .expect("writes");
        }
        let left = |now: u64| {
            forget_old_jobs(&store, now).expect("stored");
            let rows = store.scan_prefix::<(u64, JobRequest)>(Table::Jobs, OWN_JOB);
            rows.expect("reads").len()
        };
        assert_eq!(left(NOW + OWN_JOB_LIFETIME_SECONDS), 2);
        assert_eq!(left(NOW + OWN_JOB_LIFETIME_SECONDS + 1), 1);
        assert_eq!(left(NOW + OWN_JOB_LIFETIME_SECONDS + 101), 0);
    }

    #[test]
    fn damaged_own_jobs_are_read_or_refused() {
        let store = Store::in_memory().expect("opens");
        let request = job_request(&wallet(9), 1, 0, 1).body;
        let keys = [1, 2].map(|byte| own_job_key(B256::repeat_byte(byte)));
        for key in &keys {
            let row = (1_000u64, &request);
            store.put(Table::Jobs, key, &row).expect("writes");
        }
        let rows = rows_of(&store);
        proptest!(config(), |(damages in damages(), now: u64)| {
            let store = damaged(&rows, &damages);
            if forget_old_jobs(&store, now).is_ok() {
                for key in &keys {
                    let row = store.get::<(u64, JobRequest)>(Table::Jobs, key);
                    let is_old = |since: u64| since.saturating_add(OWN_JOB_LIFETIME_SECONDS) < now;
                    prop_assert!(!matches!(row, Ok(Some((since, _))) if is_old(since)));
                }
            }
        });
    }
}
