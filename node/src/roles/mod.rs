//! The three roles, and what they share.

pub mod context;
mod directory;
pub mod discovery;
mod results;
pub mod user;
pub mod validator;
pub mod worker;

use std::sync::Arc;

use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;
use tokio::sync::{Semaphore, mpsc};

use tracing::debug;

use crate::p2p::wire::{Refusal, Request, Response};
use crate::p2p::{Event, Offence};
use crate::tasks::JoinSet;
use context::Context;

/// Requests and gossip handled at once; more are refused.
const HANDLERS_MAX: usize = 128;

/// Requests handled at once of peers that have not shown their role yet: they cannot keep others from being served.
const STRANGERS_MAX: usize = 64;
/// Records that the chain is asked about at once: it may not answer, and requests must not wait for that.
const OFFERS_MAX: usize = 16;

/// A role's state.
#[derive(Clone)]
pub enum RoleState {
    /// A validator.
    Validator(Arc<validator::Validator>),
    /// A worker.
    Worker(Arc<worker::Worker>),
    /// A user.
    User(Arc<user::User>),
}

impl RoleState {
    /// Starts the role's own tasks.
    pub(crate) fn spawn_tasks(&self, tasks: &mut JoinSet<()>) {
        match self {
            Self::Validator(validator) => validator.spawn_tasks(tasks),
            Self::Worker(worker) => worker.spawn_tasks(tasks),
            Self::User(_) => {}
        }
    }

    async fn answer(&self, peer: PeerId, request: Request) -> Response {
        let answer = match self {
            Self::Validator(validator) => validator.answer(peer, request).await,
            Self::Worker(worker) => worker.answer(peer, request).await,
            Self::User(_) => Err(Refusal::NotServed),
        };
        answer.unwrap_or_else(Response::Refused)
    }
}

/// Handles the swarm's events until the node stops.
pub async fn serve(ctx: Arc<Context>, role: RoleState, mut events: mpsc::Receiver<Event>) {
    let permits = Arc::new(Semaphore::new(HANDLERS_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let offers = Arc::new(Semaphore::new(OFFERS_MAX));
    let mut handlers = JoinSet::new();
    while let Some(event) = events.recv().await {
        while handlers.try_join_next().is_some() {}
        match event {
            Event::Connected(peer) => {
                let ctx = ctx.clone();
                let role = role.clone();
                handlers.spawn(async move {
                    match ctx.verify_peer(peer).await {
                        Ok(verified) => {
                            if let RoleState::Worker(worker) = &role {
                                worker.greet(&verified).await;
                            }
                        }
                        Err(error) => debug!(%peer, %error, "peer has no role here"),
                    }
                });
            }
            Event::Disconnected(peer) => {
                ctx.forget(&peer);
                ctx.connections_changed.notify_one();
            }
            Event::Request {
                peer,
                request: Request::Role { nonce },
                responder,
            } => {
                let statement = Response::Role(Box::new(ctx.role_statement(&peer, nonce)));
                handlers.spawn(responder.send(statement));
            }
            Event::Request {
                peer,
                request,
                responder,
            } => {
                let places = if ctx.peer(&peer).is_some() {
                    &permits
                } else {
                    &strangers
                };
                let Ok(permit) = places.clone().try_acquire_owned() else {
                    handlers.spawn(responder.send(Response::Refused(Refusal::Busy)));
                    continue;
                };
                let (ctx, role) = (ctx.clone(), role.clone());
                handlers.spawn(async move {
                    let kind = request.kind();
                    let response = role.answer(peer, request).await;
                    if let Response::Refused(refusal) = &response {
                        debug!(%peer, kind, %refusal, "request refused");
                        if matches!(refusal, Refusal::Invalid(_)) {
                            ctx.network.report(peer, Offence::InvalidRequest).await;
                        }
                    }
                    responder.send(response).await;
                    drop(permit);
                });
            }
            Event::Offered(offer) => {
                let Ok(permit) = offers.clone().try_acquire_owned() else {
                    // It comes again when it is published again.
                    continue;
                };
                let ctx = ctx.clone();
                handlers.spawn(async move {
                    match ctx.bears_out(&offer).await {
                        Ok(true) => ctx.network.keep(offer).await,
                        Ok(false) => debug!(?offer, "not kept: the chain does not bear it out"),
                        Err(error) => debug!(%error, "not kept: the chain cannot be asked"),
                    }
                    drop(permit);
                });
            }
            Event::Gossip {
                data,
                origin,
                ticket,
            } => {
                let RoleState::Validator(validator) = &role else {
                    // Others forward nothing that they have not checked.
                    ctx.network.judge(ticket, MessageAcceptance::Ignore).await;
                    continue;
                };
                let Ok(permit) = permits.clone().try_acquire_owned() else {
                    // Nobody's gossip holds up everybody's requests. Receipts that are missed are pulled later.
                    ctx.network.judge(ticket, MessageAcceptance::Ignore).await;
                    continue;
                };
                let validator = validator.clone();
                handlers.spawn(async move {
                    let verdict = validator.gossiped(origin, &data).await;
                    validator.ctx.network.judge(ticket, verdict).await;
                    drop(permit);
                });
            }
        }
    }
}
