//! The user: registers, escrows, submits jobs, and checks what comes back.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use tokio::time::Instant;
use tracing::{debug, info};

use super::context::{Context, Peer};
use crate::chain::{ChainError, Intent};
use crate::jobs::{JobError, JobRequest, JobStatus};
use crate::p2p::handshake::Role;
use crate::p2p::wire::{Refusal, Request, Response};
use crate::signed::Signed;
use crate::work::{Policy, TaskError, TaskOutput};

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
    /// A result does not hold.
    #[error("the result of task {task} does not hold: {error}")]
    BadResult {
        /// Index of the task.
        task: usize,
        /// What is wrong.
        error: TaskError,
    },
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
    Complete(Vec<TaskOutput>),
    Failed(String),
    Going,
    Silent,
}

impl User {
    /// A user.
    pub fn new(ctx: Arc<Context>) -> Self {
        Self { ctx }
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

    /// Runs a job to its end: escrows its payment if it has one, submits it, waits, and verifies the results. The same
    /// request again finds the same job.
    pub async fn run_job(&self, request: JobRequest) -> Result<Completed, UserError> {
        let (job, signed) = self.prepare(request).await?;
        let outputs = self.wait_for(job, &signed).await?;
        for (task, (asked, output)) in signed.body.tasks.iter().zip(&outputs).enumerate() {
            asked
                .verify(output, rand::random(), &Policy::default())
                .await
                .map_err(|error| UserError::BadResult { task, error })?;
        }
        info!(%job, "result received");
        Ok(Completed { job, outputs })
    }

    /// Escrows a job's payment if it has one, and submits the job until a validator admits it. Its result can be had
    /// by [`User::run_job`] with the same request.
    pub async fn submit_job(&self, request: JobRequest) -> Result<B256, UserError> {
        let (job, signed) = self.prepare(request).await?;
        let mut turn = 0;
        loop {
            let validators = self.ctx.peers_with(Role::Validator);
            if let Some(validator) = validators.get(turn % validators.len().max(1))
                && self.submit(validator, &signed).await?
            {
                return Ok(job);
            }
            turn += 1;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Checks and signs a request, and escrows its payment if that has not been done.
    async fn prepare(&self, request: JobRequest) -> Result<(B256, Signed<JobRequest>), UserError> {
        request.check()?;
        let domain = &self.ctx.domain;
        let job = request.job_id(domain);
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

    /// Submits to one validator and asks it until the job ends; turns to the next one if it falls silent.
    async fn wait_for(
        &self,
        job: B256,
        signed: &Signed<JobRequest>,
    ) -> Result<Vec<TaskOutput>, UserError> {
        let mut turn = 0;
        let mut admitted_by: Option<Address> = None;
        let mut heard = Instant::now();
        loop {
            let validators = self.ctx.peers_with(Role::Validator);
            match admitted_by {
                None => {
                    if let Some(validator) = validators.get(turn % validators.len().max(1))
                        && self.submit(validator, signed).await?
                    {
                        admitted_by = Some(validator.wallet);
                        heard = Instant::now();
                    }
                    turn += 1;
                }
                // Any validator that has the receipt can tell; only the one that admitted the job can give it up.
                Some(coordinator) => {
                    for peer in &validators {
                        match self.ask(peer, job, signed).await {
                            Answer::Complete(outputs) => return Ok(outputs),
                            Answer::Failed(reason) if peer.wallet == coordinator => {
                                return Err(UserError::Failed(reason));
                            }
                            Answer::Going if peer.wallet == coordinator => heard = Instant::now(),
                            _ => {}
                        }
                    }
                    if heard.elapsed() > PATIENCE {
                        admitted_by = None;
                    }
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether the validator has admitted the job. A refusal that another validator would repeat is an error.
    async fn submit(
        &self,
        validator: &Peer,
        signed: &Signed<JobRequest>,
    ) -> Result<bool, UserError> {
        match self
            .ctx
            .network
            .request(validator.id, Request::SubmitJob(Box::new(signed.clone())))
            .await
        {
            Ok(Response::JobAdmitted { job }) => {
                info!(%job, validator = %validator.wallet, "job admitted");
                Ok(true)
            }
            Ok(Response::Refused(refusal @ Refusal::Invalid(_))) => {
                Err(UserError::Refused(refusal))
            }
            Ok(other) => {
                debug!(validator = %validator.wallet, answer = ?other, "job not admitted");
                Ok(false)
            }
            Err(error) => {
                debug!(validator = %validator.wallet, %error, "job not admitted");
                Ok(false)
            }
        }
    }

    /// What one validator says of the job.
    async fn ask(&self, validator: &Peer, job: B256, signed: &Signed<JobRequest>) -> Answer {
        match self
            .ctx
            .network
            .request(validator.id, Request::JobStatus { job })
            .await
        {
            Ok(Response::JobStatus(status)) => match *status {
                JobStatus::Complete { outputs } if outputs.len() == signed.body.tasks.len() => {
                    Answer::Complete(outputs)
                }
                JobStatus::Complete { .. } => Answer::Silent,
                JobStatus::Failed { reason } => Answer::Failed(reason),
                JobStatus::Pending | JobStatus::Active { .. } => Answer::Going,
            },
            _ => Answer::Silent,
        }
    }
}
