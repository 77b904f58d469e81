//! Claims: validators serve proofs of executed distributions, workers fetch, check and redeem them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use smartnodes_evm::reward_tree::{RewardTree, verify};
use tracing::{debug, info, warn};

use super::payloads::distribution_payload;
use super::timing::Timing;
use crate::chain::{ChainError, Distribution, Intent};
use crate::failpoint::sometimes;
use crate::p2p::handshake::Role;
use crate::p2p::wire::{Refusal, Request, Response};
use crate::roles::context::Context;
use crate::store::{Store, StoreError, Table};

/// How many of the latest distributions are looked at again after they were claimed: at each look, and once for each new one.
/// An endpoint that lies for a while costs nobody a reward.
const RECHECKED: u64 = 2;
const RECHECKED_ONCE_MORE: u64 = 32;
/// How many distributions are looked at in a row: an endpoint may tell any number.
const LOOKED_AT: u64 = 1_024;
/// Trees kept in memory; older ones are built again when they are asked for.
const TREES_MAX: usize = 8;

/// The distributions that this validator has served lately.
#[derive(Debug, Default)]
pub struct Trees(Mutex<BTreeMap<u64, Arc<Served>>>);

#[derive(Debug)]
struct Served {
    capacities: BTreeMap<Address, u128>,
    tree: Option<RewardTree>,
}

impl Trees {
    /// Capacity and proof of `account` in a distribution; capacity zero and no proof if it has no share.
    pub(crate) fn proof(
        &self,
        store: &Store,
        distribution: u64,
        account: Address,
    ) -> Result<(u128, Vec<B256>), Refusal> {
        let served = self.served(store, distribution)?;
        let Some(capacity) = served.capacities.get(&account) else {
            return Ok((0, Vec::new()));
        };
        let proof = served
            .tree
            .as_ref()
            .and_then(|tree| tree.proof(account))
            .ok_or(Refusal::NotFound)?;
        Ok((*capacity, proof))
    }

    /// Forgets a distribution that a reorganisation has dropped: its id may come to stand for another one.
    pub(crate) fn forget(&self, distribution: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&distribution);
    }

    fn served(&self, store: &Store, distribution: u64) -> Result<Arc<Served>, Refusal> {
        let mut trees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(served) = trees.get(&distribution) {
            return Ok(served.clone());
        }
        let payload = distribution_payload(store, distribution)
            .map_err(|error| Refusal::Unavailable(error.to_string()))?
            .ok_or(Refusal::NotFound)?
            .body
            .payload;
        let tree = payload
            .tree()
            .map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let served = Arc::new(Served {
            capacities: payload.workers.into_iter().collect(),
            tree,
        });
        trees.insert(distribution, served.clone());
        if trees.len() > TREES_MAX {
            trees.pop_first();
        }
        Ok(served)
    }
}

/// Why a claim has to wait.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No validator has given a proof that holds.
    #[error("no validator has given a valid proof for distribution {0} yet")]
    NoProof(u64),
}

/// Claims every reward of a worker until the node stops.
pub async fn run(ctx: Arc<Context>) {
    let mut wait = Duration::from_secs(1);
    let mut known = 0;
    loop {
        tokio::time::sleep(wait).await;
        let interval = match ctx.chain.round_status().await {
            Ok(status) => status.update_interval,
            Err(error) => {
                debug!(%error, "the chain cannot be asked");
                wait = Duration::from_secs(30);
                continue;
            }
        };
        let timing = Timing::new(interval);
        wait = match claim_all(&ctx, &mut known).await {
            Ok(()) => timing.idle,
            Err(error) => {
                warn!(%error, "not all rewards are claimed");
                timing.poll
            }
        };
    }
}

fn claimed_key(distribution: u64) -> Vec<u8> {
    [b"claimed/".as_slice(), &distribution.to_be_bytes()].concat()
}

/// How a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    /// Root of the distribution: after a reorganisation another one may have its id.
    root: B256,
    /// Whether there was a share in it.
    share: bool,
}

/// Claims what has not been claimed. The latest distributions are looked at again, for a reorganisation may have
/// dropped them or the claim. `known`: how many there were at the last look.
pub(super) async fn claim_all(ctx: &Context, known: &mut u64) -> Result<(), ClaimError> {
    const NEXT: &[u8] = b"next-claim";
    ctx.chain.redo_undone().await?;
    let mut next = ctx.store.get::<u64>(Table::Meta, NEXT)?.unwrap_or(1);
    let count = ctx.chain.distribution_count().await?;
    let rechecked = match count == *known {
        true => RECHECKED,
        false => RECHECKED_ONCE_MORE,
    };
    let ended = |id| ctx.store.get::<Ended>(Table::Meta, &claimed_key(id));
    let mut first_error = None;
    for id in next..=count.min(next.saturating_add(LOOKED_AT)) {
        if id.saturating_add(rechecked) <= count && ended(id)?.is_some() {
            continue;
        }
        match claim(ctx, id).await {
            Ok(ended) => ctx.store.put(Table::Meta, &claimed_key(id), &ended)?,
            // One distribution that cannot be claimed now must not hold up the others.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    *known = count;
    while next.saturating_add(RECHECKED_ONCE_MORE) <= count && ended(next)?.is_some() {
        ctx.store.delete(Table::Meta, &claimed_key(next))?;
        next += 1;
        ctx.store.put(Table::Meta, NEXT, &next)?;
    }
    first_error.map_or(Ok(()), Err)
}

/// Claims one distribution, or finds that there is nothing to claim.
async fn claim(ctx: &Context, id: u64) -> Result<Ended, ClaimError> {
    let account = ctx.address();
    let Some(distribution) = ctx.chain.distribution(id).await? else {
        // Of an update in which nobody earned anything; or gone by a reorganisation since it was counted, and looked at
        // again when there is another one.
        let root = B256::ZERO;
        return Ok(Ended { root, share: false });
    };
    let root = distribution.merkle_root;
    if ctx.chain.claimed(id, account).await? {
        return Ok(Ended { root, share: true });
    }
    let before = ctx.store.get::<Ended>(Table::Meta, &claimed_key(id))?;
    if before == Some(Ended { root, share: false }) {
        return Ok(Ended { root, share: false });
    }
    match fetch_proof(ctx, id, &distribution).await? {
        None => {
            sometimes!("claim/no-share");
            info!(distribution = id, "no share in this distribution");
            Ok(Ended { root, share: false })
        }
        Some((capacity, proof)) => {
            ctx.chain
                .send(Intent::Claim {
                    distribution_id: id,
                    capacity: U256::from(capacity),
                    proof,
                })
                .await?;
            info!(distribution = id, capacity, worker = %account, "reward claimed");
            Ok(Ended { root, share: true })
        }
    }
}

/// A proof that holds against the root on chain; `None` if as many validators as approve an update say that there is no
/// share. Fewer could be those that lie, for a worker that is connected to few: it would never ask again.
async fn fetch_proof(
    ctx: &Context,
    id: u64,
    distribution: &Distribution,
) -> Result<Option<(u128, Vec<B256>)>, ClaimError> {
    let account = ctx.address();
    let mut no_share = 0;
    for peer in ctx.peers_with(Role::Validator) {
        let request = Request::ClaimProof {
            distribution_id: id,
            account,
        };
        match ctx.network.request(peer.id, request).await {
            Ok(Response::ClaimProof { capacity: 0, .. }) => no_share += 1,
            Ok(Response::ClaimProof { capacity, proof }) => {
                if verify(
                    distribution.merkle_root,
                    account,
                    U256::from(capacity),
                    id,
                    &proof,
                ) {
                    return Ok(Some((capacity, proof)));
                }
                sometimes!("claim/bad-proof");
                warn!(validator = %peer.wallet, distribution = id, "the proof does not hold");
            }
            Ok(_) | Err(_) => {}
        }
    }
    if no_share > 0 && no_share >= ctx.chain.required_approvals().await? {
        Ok(None)
    } else {
        Err(ClaimError::NoProof(id))
    }
}
