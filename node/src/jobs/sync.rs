//! Pulls receipts that gossip did not bring: after a restart, a partition, or a lost message.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::debug;

use crate::p2p::handshake::Role;
use crate::p2p::wire::{RECEIPT_IDS_MAX, RECEIPTS_BYTES_MAX, RECEIPTS_MAX, Request, Response};
use crate::roles::context::Peer;
use crate::roles::validator::Validator;
use crate::round::timing::Timing;
use crate::signed::{Signed, encode};
use alloy::primitives::B256;

use super::receipt::Receipt;

/// Runs until the node stops.
pub(crate) async fn run(validator: Arc<Validator>) {
    loop {
        pull(&validator).await;
        let interval = match validator.ctx.chain.round_status().await {
            Ok(status) => status.update_interval,
            Err(_) => 0,
        };
        tokio::time::sleep(Timing::new(interval).sync_interval).await;
    }
}

/// Asks every connected validator for unsettled receipts that are unknown here.
pub async fn pull(validator: &Validator) {
    for peer in validator.ctx.peers_with(Role::Validator) {
        let mut after = B256::ZERO;
        loop {
            let request = Request::ReceiptIds { after };
            let Ok(Response::ReceiptIds(ids)) =
                validator.ctx.network.request(peer.id, request).await
            else {
                break;
            };
            let last = ids.last().copied();
            let is_full = ids.len() >= RECEIPT_IDS_MAX;
            fetch(validator, &peer, ids).await;
            match last {
                // Ids that do not rise would have no end.
                Some(last) if is_full && last > after => after = last,
                _ => break,
            }
        }
    }
}

/// Fetches those of the given receipts that are unknown here from one validator, and verifies them.
pub(crate) async fn fetch(validator: &Validator, peer: &Peer, mut ids: Vec<B256>) {
    ids.retain(|id| !validator.ledger().contains(*id).unwrap_or(true));
    while !ids.is_empty() {
        let asked = ids.len().min(RECEIPTS_MAX);
        let request = Request::Receipts {
            ids: ids[..asked].to_vec(),
        };
        let Ok(Response::Receipts(receipts)) =
            validator.ctx.network.request(peer.id, request).await
        else {
            return;
        };
        let mut received = BTreeSet::new();
        for receipt in receipts {
            received.insert(receipt.id(&validator.ctx.domain));
            if let Err(error) = validator.take(receipt).await {
                debug!(peer = %peer.wallet, %error, "pulled receipt not taken");
            }
        }
        // A response has room for some of them; none at all means that the peer has none of those asked for.
        let before = ids.len();
        if received.is_empty() {
            ids.drain(..asked);
        } else {
            ids.retain(|id| !received.contains(id));
            if ids.len() == before {
                // Receipts that nobody asked for.
                return;
            }
        }
    }
}

/// As many of these receipts as one response holds, from the first on that is here.
pub(crate) fn response(validator: &Validator, ids: &[B256]) -> Vec<Signed<Receipt>> {
    let mut room = RECEIPTS_BYTES_MAX;
    let ledger = validator.ledger();
    let mut found = Vec::new();
    for receipt in ids.iter().filter_map(|id| ledger.get(*id).ok().flatten()) {
        let bytes = encode(&receipt).len();
        if bytes > room {
            break;
        }
        room -= bytes;
        found.push(receipt);
    }
    found
}
