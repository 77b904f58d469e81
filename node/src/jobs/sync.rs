//! Pulls receipts that gossip did not bring: after a restart, a partition, or a lost message.

use std::sync::Arc;

use tracing::debug;

use crate::p2p::handshake::Role;
use crate::p2p::wire::{RECEIPTS_MAX, Request, Response};
use crate::roles::context::Peer;
use crate::roles::validator::Validator;
use crate::round::timing::Timing;
use alloy::primitives::B256;

/// Runs until the node stops.
pub(crate) async fn run(validator: Arc<Validator>) {
    loop {
        pull(&validator).await;
        validator.ctx.recheck_validators().await;
        let interval = match validator.ctx.chain.round_status().await {
            Ok(status) => status.update_interval,
            Err(_) => 0,
        };
        tokio::time::sleep(Timing::new(interval).sync_interval).await;
    }
}

/// Asks every connected validator for unsettled receipts that are unknown here.
pub(crate) async fn pull(validator: &Validator) {
    for peer in validator.ctx.peers_with(Role::Validator) {
        let Ok(Response::ReceiptIds(ids)) = validator
            .ctx
            .network
            .request(peer.id, Request::ReceiptIds)
            .await
        else {
            continue;
        };
        fetch(validator, &peer, ids).await;
    }
}

/// Fetches those of the given receipts that are unknown here from one validator, and verifies them.
pub(crate) async fn fetch(validator: &Validator, peer: &Peer, mut ids: Vec<B256>) {
    ids.retain(|id| !validator.ledger().contains(*id).unwrap_or(true));
    for chunk in ids.chunks(RECEIPTS_MAX) {
        let request = Request::Receipts {
            ids: chunk.to_vec(),
        };
        let Ok(Response::Receipts(receipts)) =
            validator.ctx.network.request(peer.id, request).await
        else {
            return;
        };
        for receipt in receipts {
            if let Err(error) = validator.take(receipt).await {
                debug!(peer = %peer.wallet, %error, "pulled receipt not taken");
            }
        }
    }
}
