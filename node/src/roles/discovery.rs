//! Keeps every node connected to all validators, and every node to be found.
//!
//! The chain says who the validators are, the DHT says where: each node publishes a signed node record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use libp2p::{Multiaddr, PeerId};
use tracing::debug;

use super::context::Context;
use crate::chain::ChainError;
use crate::p2p::handshake::Role;

/// Shortest and longest wait between two attempts to reach a validator that is not connected.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Wait between two looks at the set while all validators are connected.
const STEADY: Duration = Duration::from_secs(600);
/// A node record is published again after this time, in seconds.
const REPUBLISH_SECONDS: u64 = 6 * 3_600;

/// Shortest and longest wait between two looks at whose statement has aged.
const RENEWAL_MIN: Duration = Duration::from_secs(2);
const RENEWAL_MAX: Duration = Duration::from_secs(1_800);

/// Runs until the node stops.
pub async fn run(ctx: Arc<Context>) {
    let mut wait = RETRY_MIN;
    let mut known: BTreeMap<Address, (PeerId, Vec<Multiaddr>)> = BTreeMap::new();
    let mut published = (0, 0);
    loop {
        // A machine that was suspended has stopped measuring time, and what it would state now would have expired.
        if let Err(error) = ctx.observe_head().await {
            debug!(%error, "the chain does not say what time it is");
        }
        publish(&ctx, &mut published).await;
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

/// Keeps what is known of peers no older than a round, until the node stops.
pub async fn renew(ctx: Arc<Context>) {
    let mut round_seconds = 0;
    loop {
        match round_length(&ctx).await {
            Ok(seconds) => round_seconds = seconds,
            // Without the chain, what it has borne out before ends with its round.
            Err(error) => debug!(%error, "the chain does not say how long a round is"),
        }
        if round_seconds > 0 {
            ctx.renew_statements(round_seconds).await;
        }
        let wait = Duration::from_secs(round_seconds / 8);
        tokio::time::sleep(wait.clamp(RENEWAL_MIN, RENEWAL_MAX)).await;
    }
}

/// How long a round is, in seconds, and on the way what time it is, by endpoints that agree: what one alone says of who has
/// which role is not to part a node from its validators.
async fn round_length(ctx: &Context) -> Result<u64, ChainError> {
    ctx.chain.cross_check().await?;
    ctx.observe_head().await?;
    Ok(ctx.chain.round_status().await?.update_interval)
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
        if let Some(record) = ctx.find_node(wallet).await
            && let Some(peer) = record.peer_id()
        {
            known.insert(wallet, (peer, record.addresses));
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

/// Publishes the node's records when it has twice as many peers as last time, so that those who come later have them too,
/// or when the last ones age.
async fn publish(ctx: &Context, published: &mut (u64, usize)) {
    let (last, last_peers) = *published;
    let now = ctx.clock.now();
    let peers = ctx.network.peers().await.len();
    let more = peers >= 2 * last_peers.max(1) || (last == 0 && peers > 0);
    if peers == 0 || (!more && now < last.saturating_add(REPUBLISH_SECONDS)) {
        return;
    }
    ctx.publish_node().await;
    let of_networks = match ctx.config.role {
        Role::Validator => ctx.publish_networks().await,
        Role::Worker => ctx.publish_service().await,
        Role::User => Ok(()),
    };
    if let Err(error) = of_networks {
        debug!(%error, "the chain does not say which networks there are");
        return;
    }
    *published = (now, peers);
}
