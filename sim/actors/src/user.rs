//! Users that cheat.

use std::time::Duration;

use alloy::primitives::B256;
use futures::future::try_join_all;
use smartnodes_node::chain::{ChainError, Intent, JobState};
use smartnodes_node::identity::Identity;
use smartnodes_node::jobs::JobRequest;
use smartnodes_node::p2p::handshake::Role;
use smartnodes_node::p2p::wire::{Refusal, Request, Response};
use smartnodes_node::p2p::{Event, Network, NetworkError};
use smartnodes_node::roles::user::{User, UserError};
use smartnodes_node::signed::Signed;
use smartnodes_node::store::Store;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::info;

use crate::{Deeds, Speaker, Stand};

/// Wait between two rounds of submissions without a payment.
const PACE: Duration = Duration::from_secs(60);
/// What is escrowed where far more is named, in SNO wei.
const PITTANCE: u128 = 1;
/// The deed of a spammer that is turned away.
pub const REFUSED: &str = "is refused a free job";
/// Free jobs that a spammer submits to one validator in one turn, from each identity.
const SPAM: u64 = 3;
/// Wait between two turns of a crowd.
const CROWD_PACE: Duration = Duration::from_secs(60);
/// Times that the crowd lets go by before the first turn: validators are to know it.
const ARRIVAL: Duration = Duration::from_secs(5);

/// Submits a job to every validator again and again, as if it were paid for. A user that holds SNO escrows a pittance for
/// one of them; what it names is far more. It has that refunded when it can.
pub async fn underpay(user: &User, pattern: JobRequest, deeds: &Deeds) {
    let mut nonce = pattern.nonce;
    // Always the same, so that it is not forgotten if the user's process ends.
    let little = pattern.job_id(&user.ctx.domain);
    let mut escrowed = None;
    loop {
        let request = JobRequest {
            nonce,
            ..pattern.clone()
        };
        nonce += 1;
        match escrowed {
            // The chain refuses a user that has too little; it goes on without.
            None => {
                if let Ok(true) = escrow_little(user, &pattern).await {
                    deeds.did("escrows a pittance");
                    escrowed = Some(little);
                    nonce = pattern.nonce;
                    continue;
                }
            }
            Some(job) => {
                if let Ok(true) = refundable(user, job).await {
                    // It is tried again.
                    let _ = user.cancel_job(job).await;
                }
            }
        }
        let signed = Signed::sign(request, &user.ctx.domain, &user.ctx.identity.wallet);
        for validator in user.ctx.peers_with(Role::Validator) {
            deeds.did("submits a job that is not paid for");
            let request = Request::SubmitJob(Box::new(signed.clone()));
            let answer = user.ctx.network.request(validator.id, request).await;
            if let Ok(Response::JobAdmitted { .. }) = answer {
                deeds.gained("a job that is not paid for");
            }
        }
        sleep(PACE).await;
    }
}

/// Whether a pittance is escrowed for the job now.
async fn escrow_little(user: &User, request: &JobRequest) -> Result<bool, ChainError> {
    let chain = &user.ctx.chain;
    if chain.token_balance(user.ctx.address()).await?.is_zero() {
        return Ok(false);
    }
    // By a process that has ended since.
    let job = request.job_id(&user.ctx.domain);
    if chain.job(job).await?.is_some() {
        return Ok(true);
    }
    user.register().await?;
    let intent = Intent::RequestJob {
        job_hash: request.job_hash(&user.ctx.domain),
        network: request.network.clone(),
        payment: PITTANCE,
    };
    chain.send(intent).await?;
    Ok(true)
}

/// Whether a job is open, and its payment can be had back.
async fn refundable(user: &User, job: B256) -> Result<bool, ChainError> {
    let chain = &user.ctx.chain;
    let is_open = chain
        .job(job)
        .await?
        .is_some_and(|job| job.state == JobState::Open);
    Ok(is_open && user.ctx.clock.now() >= chain.cancellable_at(job).await?)
}

/// Submits a job, and has no more to do with it: whoever calls this ends the user.
pub async fn vanish(user: &User, request: JobRequest, deeds: &Deeds) -> Result<(), UserError> {
    if request.payment > 0 {
        user.register().await?;
    }
    user.submit_job(request).await?;
    deeds.did("is gone after a job was admitted");
    Ok(())
}

/// What a crowd of users does with free jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// Each submits far more than its quota, to all validators.
    Spamming,
    /// Each uses up its quota at one validator, and no more.
    Farming,
}

/// Submits free jobs from every identity until it is dropped. It returns only if it cannot begin.
pub async fn crowd(
    misuse: Misuse,
    stand: &Stand,
    pattern: &JobRequest,
) -> Result<(), NetworkError> {
    let all = [&stand.identity].into_iter().chain(&stand.crowd);
    let living = all.enumerate().map(|(number, identity)| {
        let one = One {
            stand,
            identity,
            pattern,
            misuse,
            number,
        };
        one.live()
    });
    try_join_all(living).await?;
    Ok(())
}

/// One of a crowd.
struct One<'a> {
    stand: &'a Stand,
    identity: &'a Identity,
    pattern: &'a JobRequest,
    misuse: Misuse,
    number: usize,
}

impl One<'_> {
    async fn live(self) -> Result<(), NetworkError> {
        let (network, events) = Network::start(
            self.stand.wire.transport(self.identity)?,
            self.identity,
            Role::User,
            &[],
            self.stand.domain,
            self.stand.clock.clone(),
            Store::in_memory()?,
            &self.stand.settings,
        )?;
        futures::join!(self.introduce(events), self.submit(&network));
        Ok(())
    }

    /// Says that it is a user, to whoever asks.
    async fn introduce(&self, mut events: mpsc::Receiver<Event>) {
        let speaker = Speaker {
            identity: self.identity.clone(),
            role: Role::User,
            networks: Vec::new(),
            capacity: 0,
            domain: self.stand.domain,
            clock: self.stand.clock.clone(),
        };
        while let Some(event) = events.recv().await {
            if let Event::Request {
                peer,
                request,
                responder,
            } = event
            {
                let answer = match request {
                    Request::Role { nonce } => speaker.answer(peer, nonce),
                    _ => Response::Refused(Refusal::NotServed),
                };
                responder.send(answer).await;
            }
        }
    }

    async fn submit(&self, network: &Network) {
        let validators = &self.stand.validators;
        let mut nonce = 0;
        for turn in 0usize.. {
            for address in self.stand.bootstrap() {
                network.dial(None, vec![address]).await;
            }
            sleep(ARRIVAL).await;
            let (index, times) = match self.misuse {
                Misuse::Spamming => (turn + self.number, SPAM),
                Misuse::Farming => (self.number, 1),
            };
            if let Some(validator) = validators.get(index % validators.len().max(1)) {
                for _ in 0..times {
                    nonce += 1;
                    self.submit_one(network, validator.peer, nonce).await;
                }
            }
            sleep(CROWD_PACE).await;
        }
    }

    async fn submit_one(&self, network: &Network, validator: libp2p::PeerId, nonce: u64) {
        let request = JobRequest {
            user: self.identity.address(),
            nonce,
            ..self.pattern.clone()
        };
        let signed = Signed::sign(request, &self.stand.domain, &self.identity.wallet);
        let deeds = &self.stand.deeds;
        let request = Request::SubmitJob(Box::new(signed));
        match network.request(validator, request).await {
            Ok(Response::JobAdmitted { job }) => {
                info!(%job, user = %self.identity.address(), "free job admitted");
                deeds.did("has a free job admitted");
            }
            Ok(Response::Refused(_)) => deeds.did(REFUSED),
            // As good as silence.
            Ok(_) | Err(_) => {}
        }
    }
}
