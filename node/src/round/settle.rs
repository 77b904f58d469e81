//! Payloads: kept, found, and settled once executed.

use alloy::primitives::{Address, B256};
use tracing::{debug, info};

use super::payload::SignedPayload;
use crate::chain::ChainError;
use crate::p2p::handshake::Role;
use crate::p2p::records::{Record, payload_key};
use crate::p2p::wire::{Request, Response};
use crate::roles::validator::Validator;
use crate::store::{Store, StoreError, Table};

/// Block of the last update that has been settled here.
const CURSOR: &[u8] = b"settled-block";

/// Why executed updates are not settled here yet.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody reachable has the payload of an executed update.
    #[error("the payload of executed proposal {0} is nowhere to be found yet")]
    PayloadMissing(B256),
}

fn distribution_key(id: u64) -> Vec<u8> {
    [b"distribution/".as_slice(), &id.to_be_bytes()].concat()
}

/// A payload from the store.
pub fn stored_payload(store: &Store, proposal: B256) -> Result<Option<SignedPayload>, StoreError> {
    store.get(Table::Payloads, proposal.as_slice())
}

/// The payload of an executed distribution, from the store.
pub fn distribution_payload(store: &Store, id: u64) -> Result<Option<SignedPayload>, StoreError> {
    match store.get::<B256>(Table::Meta, &distribution_key(id))? {
        Some(proposal) => stored_payload(store, proposal),
        None => Ok(None),
    }
}

/// The payload behind a proposal hash: from the store, the DHT, `creator`, or any other validator. What is found has
/// been verified, and is kept.
pub(crate) async fn find_payload(
    validator: &Validator,
    proposal: B256,
    creator: Address,
) -> Result<Option<SignedPayload>, StoreError> {
    let ctx = &validator.ctx;
    if let Some(payload) = stored_payload(&ctx.store, proposal)? {
        return Ok(Some(payload));
    }
    let key = payload_key(proposal);
    let now = ctx.clock.now();
    let mut found = ctx
        .network
        .get_record(key.clone())
        .await
        .iter()
        .find_map(
            |bytes| match Record::verify(&key, bytes, &ctx.domain, now) {
                Ok(Record::Payload(payload)) => Some(*payload),
                _ => None,
            },
        );
    if found.is_none() {
        let mut peers = ctx.peers_with(Role::Validator);
        peers.sort_by_key(|peer| peer.wallet != creator);
        for peer in peers {
            match ctx
                .network
                .request(peer.id, Request::Payload { proposal })
                .await
            {
                Ok(Response::Payload(payload)) if payload.body.proposal_hash == proposal => {
                    match payload.check(&ctx.domain) {
                        Ok(()) => {
                            found = Some(*payload);
                            break;
                        }
                        Err(error) => debug!(peer = %peer.wallet, %error, "payload refused"),
                    }
                }
                Ok(_) => {}
                Err(error) => debug!(peer = %peer.wallet, %error, "payload not to be had"),
            }
        }
    }
    if let Some(payload) = &found {
        ctx.store
            .put(Table::Payloads, proposal.as_slice(), payload)?;
    }
    Ok(found)
}

/// Settles every executed update that has not been settled here. Until this succeeds a validator neither proposes nor
/// votes, since it could pay for the same work twice.
pub(crate) async fn catch_up(validator: &Validator) -> Result<(), SettleError> {
    let ctx = &validator.ctx;
    let from = ctx
        .store
        .get::<u64>(Table::Meta, CURSOR)?
        .map_or(0, |block| block + 1);
    for update in ctx.chain.executed_updates(from).await? {
        let payload = find_payload(validator, update.proposal_hash, update.executor)
            .await?
            .ok_or(SettleError::PayloadMissing(update.proposal_hash))?;
        validator.ledger().settle(
            &payload.body.payload.receipts,
            update.distribution_id,
            update.round,
        )?;
        ctx.store.write(|batch| {
            batch.put(
                Table::Meta,
                &distribution_key(update.distribution_id),
                &update.proposal_hash,
            )?;
            batch.put(Table::Meta, CURSOR, &update.block)
        })?;
        info!(
            round = update.round,
            distribution = update.distribution_id,
            receipts = payload.body.payload.receipts.len(),
            "update settled"
        );
    }
    Ok(())
}
