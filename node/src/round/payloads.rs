//! Payloads: kept, and found.

use alloy::primitives::{Address, B256};
use tracing::debug;

use super::payload::{PublishedError, SignedPayload};
use super::retention::candidate_key;
use crate::p2p::handshake::Role;
use crate::p2p::records::{Record, payload_key};
use crate::p2p::wire::{Request, Response};
use crate::roles::validator::Validator;
use crate::store::{Batch, Store, StoreError, Table};

/// What became of the search for a payload.
#[derive(Debug)]
pub enum Found {
    /// It is here, verified and kept.
    Here(Box<SignedPayload>),
    /// Nobody who could be asked has it.
    Nowhere,
    /// What was published for the proposal does not yield its hash, or is otherwise wrong, and nobody has another.
    Refused(PublishedError),
}

pub(super) fn distribution_key(id: u64) -> Vec<u8> {
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

/// Keeps the payload of a proposal of `round`, which may come to be executed or not.
pub(super) fn keep_payload(
    batch: &mut Batch<'_>,
    round: u64,
    payload: &SignedPayload,
) -> Result<(), StoreError> {
    let proposal = payload.body.proposal_hash;
    batch.put(Table::Payloads, proposal.as_slice(), payload)?;
    batch.put(Table::Meta, &candidate_key(round, proposal), &())
}

/// The payload behind the hash of a proposal of `round`: from the store, the DHT, `creator`, or any other validator. What
/// is found has been verified, and is kept.
pub async fn find_payload(
    validator: &Validator,
    proposal: B256,
    creator: Address,
    round: u64,
) -> Result<Found, StoreError> {
    let ctx = &validator.ctx;
    if let Some(payload) = stored_payload(&ctx.store, proposal)? {
        return Ok(Found::Here(Box::new(payload)));
    }
    let mut refused = None;
    let records = ctx.network.find_records(payload_key(proposal)).await;
    let mut found = records.into_iter().find_map(|record| match record {
        Record::Payload(payload) => Some(payload),
        _ => None,
    });
    if found.is_none() {
        let mut peers = ctx.peers_with(Role::Validator);
        peers.sort_by_key(|peer| peer.wallet != creator);
        for peer in peers {
            let request = Request::Payload { proposal };
            match ctx.network.request(peer.id, request).await {
                Ok(Response::Payload(payload)) if payload.body.proposal_hash == proposal => {
                    match payload.check(&ctx.domain) {
                        Ok(()) => {
                            found = Some(payload);
                            break;
                        }
                        Err(error) => refused = Some(error),
                    }
                }
                Ok(_) => {}
                Err(error) => debug!(peer = %peer.wallet, %error, "payload not to be had"),
            }
        }
    }
    Ok(match (found, refused) {
        (Some(payload), _) => {
            ctx.store
                .write(|batch| keep_payload(batch, round, &payload))?;
            Found::Here(payload)
        }
        (None, Some(error)) => Found::Refused(error),
        (None, None) => Found::Nowhere,
    })
}
