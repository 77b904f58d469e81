//! The validator: admits and coordinates jobs, challenges workers, keeps receipts, and takes part in rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tasks::JoinSet;
use alloy::primitives::{Address, B256};
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;
use tracing::{debug, info, warn};

use super::context::Context;
use crate::failpoint::{fail_point, sometimes};
use crate::jobs::belief::{Beliefs, Unbelieved};
use crate::jobs::ledger::Ledger;
use crate::jobs::receipt::{Receipt, Work};
use crate::jobs::{Coordination, challenges, coordinator, sync};
use crate::p2p::handshake::Role;
use crate::p2p::wire::{
    GOSSIPED_RECEIPT_BYTES_MAX, Gossip, RECEIPT_IDS_MAX, RECEIPTS_MAX, Refusal, Request, Response,
};
use crate::round::{claims, driver, settle};
use crate::signed::{Signed, decode, encode};
use crate::store::StoreError;

/// A validator's state. Locks are held for moments, never across an await.
pub struct Validator {
    /// The shared parts.
    pub ctx: Arc<Context>,
    pub(crate) coordination: Coordination,
    pub(crate) claims: claims::Trees,
    pub(crate) beliefs: Beliefs,
    ledger: Mutex<Ledger>,
    /// Workers that have registered since the start, by wallet.
    workers: Mutex<BTreeMap<Address, PeerId>>,
}

impl Validator {
    /// Reads the validator's state from its store.
    pub fn open(ctx: Arc<Context>) -> Result<Self, StoreError> {
        Ok(Self {
            ledger: Mutex::new(Ledger::open(ctx.store.clone(), ctx.domain)?),
            coordination: Coordination::open(ctx.store.clone())?,
            claims: claims::Trees::default(),
            beliefs: Beliefs::new(),
            workers: Mutex::default(),
            ctx,
        })
    }

    pub(super) fn spawn_tasks(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        tasks.spawn(driver::run(self.clone()));
        self.spawn_services(tasks);
    }

    /// Starts what a validator does for workers and users: all of its tasks but its part in the rounds.
    pub fn spawn_services(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        tasks.spawn(challenges::run(self.clone()));
        tasks.spawn(sync::run(self.clone()));
        tasks.spawn(coordinator::run(self.clone()));
    }

    /// The receipts that this validator holds.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registered workers that are connected and verified now, in a fixed order.
    pub(crate) fn workers(&self) -> Vec<super::context::Peer> {
        let registered: BTreeSet<PeerId> = self
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .copied()
            .collect();
        let mut workers = self.ctx.peers_with(Role::Worker);
        workers.retain(|worker| registered.contains(&worker.id));
        workers
    }

    /// Verifies what `origin` has gossiped, whoever forwarded it.
    pub(super) async fn gossiped(&self, origin: Option<PeerId>, data: &[u8]) -> MessageAcceptance {
        let receipt = match decode::<Gossip>(data) {
            Ok(Gossip::Receipt(receipt)) => *receipt,
            Ok(Gossip::Announcement { receipt, issuer }) => {
                return match origin.and_then(|origin| self.ctx.peer(&origin)) {
                    // Only its issuer announces a receipt: nobody can send others to a validator with questions.
                    Some(peer) if peer.role == Role::Validator && peer.wallet == issuer => {
                        self.announced(&peer, receipt).await
                    }
                    _ => MessageAcceptance::Ignore,
                };
            }
            Ok(Gossip::Refutation { receipt, slot }) => {
                return match origin.and_then(|origin| self.ctx.peer(&origin)) {
                    Some(peer) if peer.role == Role::Validator => {
                        self.refutation(receipt, slot).await
                    }
                    _ => MessageAcceptance::Ignore,
                };
            }
            Err(error) => {
                debug!(%error, "gossip is no receipt");
                return MessageAcceptance::Reject;
            }
        };
        match self.take(receipt).await {
            Ok(_) => MessageAcceptance::Accept,
            Err(error) if error.is_conclusive() => {
                sometimes!("receipt/refused");
                warn!(%error, "gossiped receipt refused");
                MessageAcceptance::Reject
            }
            Err(error) => {
                debug!(%error, "gossiped receipt not taken");
                MessageAcceptance::Ignore
            }
        }
    }

    /// Fetches a receipt that is too large for gossip. The announcement goes on only if the receipt holds.
    async fn announced(&self, issuer: &super::context::Peer, receipt: B256) -> MessageAcceptance {
        sync::fetch(self, issuer, vec![receipt]).await;
        match self.ledger().contains(receipt) {
            Ok(true) => MessageAcceptance::Accept,
            // Whether it is false, or the issuer is not connected: what is missing here is pulled later.
            _ => MessageAcceptance::Ignore,
        }
    }

    /// Issues, keeps and gossips a receipt of one's own.
    pub(crate) async fn issue(&self, round: u64, work: Work) -> Result<(), Unbelieved> {
        let body = Receipt {
            validator: self.ctx.address(),
            round,
            issued_at: self.ctx.clock.now(),
            work,
        };
        let receipt = Signed::sign(body, &self.ctx.domain, &self.ctx.identity.wallet);
        let id = receipt.id(&self.ctx.domain);
        let mut gossip = encode(&Gossip::Receipt(Box::new(receipt.clone())));
        if gossip.len() > GOSSIPED_RECEIPT_BYTES_MAX {
            gossip = encode(&Gossip::Announcement {
                receipt: id,
                issuer: self.ctx.address(),
            });
        }
        if self.take(receipt).await? {
            info!(receipt = %id, round, "receipt issued");
            self.ctx.network.publish(gossip).await;
            fail_point!("receipt", "gossiped");
        }
        Ok(())
    }

    pub(super) async fn answer(
        self: &Arc<Self>,
        peer: PeerId,
        request: Request,
    ) -> Result<Response, Refusal> {
        match request {
            Request::Register => {
                let worker = self.ctx.require(peer, Role::Worker).await?;
                let known = self
                    .workers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(worker.wallet, worker.id);
                if known != Some(worker.id) {
                    info!(worker = %worker.wallet, capacity = worker.capacity, "worker registered");
                }
                Ok(Response::Registered)
            }
            Request::SubmitJob(request) => {
                let user = self.ctx.require(peer, Role::User).await?;
                let job = coordinator::submit(self, &user, *request).await?;
                Ok(Response::JobAdmitted { job })
            }
            Request::JobStatus { job } => {
                coordinator::status(self, job).map(|status| Response::JobStatus(Box::new(status)))
            }
            Request::CancelJob { job } => {
                let user = self.ctx.require(peer, Role::User).await?;
                coordinator::call_off(self, &user, job)?;
                Ok(Response::JobCancelled)
            }
            Request::Output { job, task } => {
                let user = self.ctx.require(peer, Role::User).await?;
                coordinator::output(self, &user, job, task)
                    .map(|output| Response::Output(Box::new(output)))
            }
            Request::ReceiptIds { after } => {
                self.ctx.require(peer, Role::Validator).await?;
                let ids = self.ledger().unsettled_after(after, RECEIPT_IDS_MAX);
                Ok(Response::ReceiptIds(ids))
            }
            Request::Receipts { ids } => {
                self.ctx.require(peer, Role::Validator).await?;
                if ids.len() > RECEIPTS_MAX {
                    return Err(Refusal::Invalid(format!(
                        "{} receipts asked for, at most {RECEIPTS_MAX}",
                        ids.len()
                    )));
                }
                Ok(Response::Receipts(sync::response(self, &ids)))
            }
            Request::Payload { proposal } => {
                match settle::stored_payload(&self.ctx.store, proposal) {
                    Ok(Some(payload)) => Ok(Response::Payload(Box::new(payload))),
                    Ok(None) => Err(Refusal::NotFound),
                    Err(error) => Err(Refusal::Unavailable(error.to_string())),
                }
            }
            Request::ClaimProof {
                distribution_id,
                account,
            } => {
                let (capacity, proof) =
                    self.claims
                        .proof(&self.ctx.store, distribution_id, account)?;
                Ok(Response::ClaimProof { capacity, proof })
            }
            Request::Role { .. } | Request::Work(_) | Request::Offer { .. } => {
                Err(Refusal::NotServed)
            }
        }
    }
}
