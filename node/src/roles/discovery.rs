//! Keeps every node connected to all validators, and every validator to be found.
//!
//! The chain says who the validators are, the DHT says where: each validator publishes a signed node record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use libp2p::{Multiaddr, PeerId};
use tracing::debug;

use super::context::Context;
use crate::p2p::handshake::Role;
use crate::p2p::records::{
    ADDRESSES_MAX, NODE_RECORD_LIFETIME_SECONDS, NodeRecord, Record, node_key,
};
use crate::signed::Signed;

/// Shortest and longest wait between two attempts to reach a validator that is not connected.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Wait between two looks at the set while all validators are connected.
const STEADY: Duration = Duration::from_secs(600);
/// A node record is published again after this time, in seconds.
const REPUBLISH_SECONDS: u64 = 6 * 3_600;

/// Runs until the node stops.
pub async fn run(ctx: Arc<Context>) {
    let mut wait = RETRY_MIN;
    let mut known: BTreeMap<Address, (PeerId, Vec<Multiaddr>)> = BTreeMap::new();
    let mut published = (0, 0);
    loop {
        if ctx.config.role == Role::Validator {
            publish(&ctx, &mut published).await;
        }
        let missing = connect(&ctx, &mut known).await;
        let changed = ctx.connections_changed.notified();
        if missing {
            // Attempts are spaced out; a change in between must not turn them into a storm.
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        } else {
            wait = RETRY_MIN;
            let _ = tokio::time::timeout(STEADY, changed).await;
            tokio::time::sleep(RETRY_MIN).await;
        }
    }
}

/// Dials validators that are not connected. Whether any is missing.
async fn connect(ctx: &Context, known: &mut BTreeMap<Address, (PeerId, Vec<Multiaddr>)>) -> bool {
    if ctx.network.peers().await.is_empty() {
        for address in &ctx.config.bootstrap {
            ctx.network.dial(None, vec![address.clone()]).await;
        }
    }
    let validators = match ctx.chain.validators().await {
        Ok(validators) => validators,
        Err(error) => {
            debug!(%error, "the chain does not say who the validators are");
            return true;
        }
    };
    let mut missing = false;
    for wallet in validators {
        if wallet == ctx.address() || ctx.peer_of(wallet).is_some() {
            continue;
        }
        missing = true;
        if let Some(found) = locate(ctx, wallet).await {
            known.insert(wallet, found);
        }
        if let Some((peer, addresses)) = known.get(&wallet) {
            ctx.network.dial(Some(*peer), addresses.clone()).await;
            if ctx.network.peers().await.contains(peer)
                && let Err(error) = ctx.verify_peer(*peer).await
            {
                debug!(%peer, %error, "not verified");
            }
        }
    }
    if missing {
        for address in &ctx.config.bootstrap {
            ctx.network.dial(None, vec![address.clone()]).await;
        }
    }
    missing
}

/// The newest valid node record of `wallet` in the DHT.
pub(super) async fn locate(ctx: &Context, wallet: Address) -> Option<(PeerId, Vec<Multiaddr>)> {
    let key = node_key(wallet);
    let now = ctx.clock.now();
    ctx.network
        .get_record(key.clone())
        .await
        .iter()
        .filter_map(
            |bytes| match Record::verify(&key, bytes, &ctx.domain, now) {
                Ok(Record::Node(record)) => Some(record.body),
                _ => None,
            },
        )
        .max_by_key(|record| record.sequence)
        .and_then(|record| Some((record.peer_id()?, record.addresses)))
}

/// Publishes the node's own record when it has more peers than last time, or the last one ages.
async fn publish(ctx: &Context, published: &mut (u64, usize)) {
    let (last, last_peers) = *published;
    let now = ctx.clock.now();
    let peers = ctx.network.peers().await.len();
    if peers == 0 || (peers <= last_peers && now < last + REPUBLISH_SECONDS) {
        return;
    }
    let mut addresses = ctx.network.addresses().await;
    addresses.truncate(ADDRESSES_MAX);
    let body = NodeRecord {
        wallet: ctx.address(),
        peer: ctx.identity.peer_id().to_bytes(),
        addresses,
        sequence: now,
        expires_at: now + NODE_RECORD_LIFETIME_SECONDS,
    };
    ctx.network
        .put_record(&Record::Node(Signed::sign(
            body,
            &ctx.domain,
            &ctx.identity.wallet,
        )))
        .await;
    *published = (now, peers);
}
