//! The worker: registers with every validator, executes what it is given, and claims its rewards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::tasks::JoinSet;
use alloy::primitives::B256;
use libp2p::PeerId;
use tokio::time::Instant;
use tracing::{debug, info};

use super::context::{Context, Peer};
use crate::jobs::receipt::{WorkKind, WorkOrder, WorkResult, challenge_task};
use crate::p2p::handshake::Role;
use crate::p2p::wire::{Refusal, Request, Response};
use crate::round::claims;
use crate::signed::{Signed, Statement};
use crate::store::Table;

/// How long a task is kept a place for, from the offer to its result.
const RESERVATION: Duration = Duration::from_secs(120);

/// A worker registers on every new connection, and again after this time: the answer may have been lost.
const REGISTER_AGAIN: Duration = Duration::from_secs(300);

/// A worker's state.
pub struct Worker {
    /// The shared parts.
    pub ctx: Arc<Context>,
    /// Job tasks that are reserved or running, at most `capacity` of them, and until when a reservation holds.
    busy: Mutex<BTreeMap<(B256, u16), Instant>>,
}

impl Worker {
    /// A worker without work.
    pub fn new(ctx: Arc<Context>) -> Self {
        Self {
            ctx,
            busy: Mutex::default(),
        }
    }

    pub(super) fn spawn_tasks(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        tasks.spawn(claims::run(self.ctx.clone()));
        let worker = self.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(REGISTER_AGAIN).await;
                for validator in worker.ctx.peers_with(Role::Validator) {
                    worker.greet(&validator).await;
                }
            }
        });
    }

    /// Registers with a validator.
    pub(super) async fn greet(&self, peer: &Peer) {
        if peer.role != Role::Validator {
            return;
        }
        match self.ctx.network.request(peer.id, Request::Register).await {
            Ok(Response::Registered) => debug!(validator = %peer.wallet, "registered"),
            Ok(other) => debug!(validator = %peer.wallet, answer = ?other, "not registered"),
            Err(error) => debug!(validator = %peer.wallet, %error, "not registered"),
        }
    }

    pub(super) async fn answer(&self, peer: PeerId, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::Offer { job, task } => {
                self.ctx.require(peer, Role::Validator).await?;
                let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                busy.retain(|_, until| *until > now);
                if !busy.contains_key(&(job, task))
                    && busy.len() >= self.ctx.config.capacity as usize
                {
                    return Err(Refusal::Busy);
                }
                busy.insert((job, task), now + RESERVATION);
                Ok(Response::Accepted)
            }
            Request::Work(order) => {
                let validator = self.ctx.require(peer, Role::Validator).await?;
                let result = self.work(&validator, *order).await?;
                Ok(Response::Work(Box::new(result)))
            }
            _ => Err(Refusal::NotServed),
        }
    }

    /// Does what a validator orders, once: asked again, it gives the same result.
    async fn work(
        &self,
        validator: &Peer,
        order: WorkOrder,
    ) -> Result<Signed<WorkResult>, Refusal> {
        self.check(validator, &order)?;
        let key = order.digest(&self.ctx.domain);
        let unavailable = |error: crate::store::StoreError| Refusal::Unavailable(error.to_string());
        let stored = self
            .ctx
            .store
            .get::<Signed<WorkResult>>(Table::Jobs, key.as_slice())
            .map_err(unavailable)?;
        let result = match stored {
            Some(result) => result,
            None => {
                let output = order
                    .task
                    .execute()
                    .await
                    .map_err(|error| Refusal::Invalid(error.to_string()))?;
                let result = Signed::sign(
                    WorkResult { order, output },
                    &self.ctx.domain,
                    &self.ctx.identity.wallet,
                );
                self.ctx
                    .store
                    .put(Table::Jobs, key.as_slice(), &result)
                    .map_err(unavailable)?;
                let WorkResult { order, output } = &result.body;
                let capacity = order.task.capacity(output);
                let (job, task) = match result.body.order.kind {
                    WorkKind::Job { job, task } => (Some(job), Some(task)),
                    WorkKind::Challenge { .. } => (None, None),
                };
                let job = job.map(tracing::field::display);
                info!(order = %key, worker = %self.ctx.address(), capacity, job, task, "work done");
                result
            }
        };
        if let WorkKind::Job { job, task } = result.body.order.kind {
            self.busy
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&(job, task));
        }
        Ok(result)
    }

    fn check(&self, validator: &Peer, order: &WorkOrder) -> Result<(), Refusal> {
        if order.worker != self.ctx.address() {
            return Err(Refusal::Invalid("the order is for another worker".into()));
        }
        if order.validator != validator.wallet {
            return Err(Refusal::Invalid("the order is another validator's".into()));
        }
        order
            .task
            .check()
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
        match &order.kind {
            kind @ WorkKind::Challenge { .. } => {
                let expected =
                    challenge_task(&self.ctx.domain, order.validator, order.worker, kind);
                if order.task != expected {
                    return Err(Refusal::Invalid(
                        "the task is not the one that the challenge gives".into(),
                    ));
                }
            }
            WorkKind::Job { job, task } => {
                let network = order.task.network();
                if !self.ctx.config.networks.iter().any(|own| own == network) {
                    return Err(Refusal::Invalid(format!(
                        "this worker does not serve {network:?}"
                    )));
                }
                if !self
                    .busy
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains_key(&(*job, *task))
                {
                    // After a restart the reservation is gone; the validator offers again.
                    return Err(Refusal::Busy);
                }
            }
        }
        Ok(())
    }
}
