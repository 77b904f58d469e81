//! Executed updates: settled once they are deep enough on chain, and unsettled if a reorganisation drops them.
//!
//! The cursor is a block's hash, which binds everything before it: as long as that block is on chain, what has been
//! settled is what the chain says.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::payloads::{Found, distribution_key, find_payload};
pub use super::payloads::{distribution_payload, stored_payload};
use super::retention::{candidate_key, forget_old_rounds};
use crate::chain::{ChainError, ExecutedUpdate};
use crate::failpoint::sometimes;
use crate::roles::validator::Validator;
use crate::store::{StoreError, Table};

/// How far executed updates have been settled.
const CURSOR: &[u8] = b"settled-to";
/// The latest settled updates.
const TAIL: &[u8] = b"settled-tail";
/// How many of them are kept to be unsettled. Should a reorganisation drop more, all is settled anew.
const TAIL_MAX: usize = 64;
/// The cursor moves on at least when so many blocks without an update follow it.
const CURSOR_BLOCKS: u64 = 1_000;

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
    /// The endpoint leaves an execution out.
    #[error(
        "after distribution {settled} the RPC endpoint tells of the execution that made distribution {found}; it leaves one out, or is of another deployment"
    )]
    Gap {
        /// The last distribution that is settled here.
        settled: u64,
        /// The next one of which it tells.
        found: u64,
    },
    /// The endpoint has not got as far as what is settled.
    #[error(
        "the RPC endpoint's latest block is {head}, but updates are settled up to block {settled}; it lags, or the chain is being reorganised"
    )]
    Behind {
        /// The endpoint's latest block.
        head: u64,
        /// The block up to which updates are settled.
        settled: u64,
    },
}

/// How far this validator's books are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The last distribution that is settled here; 0 if none is.
    pub distribution_id: u64,
    /// Whether an update is executed, but not deep enough yet to be settled.
    pub unconfirmed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    block: u64,
    hash: B256,
}

/// A settled update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    distribution_id: u64,
    proposal: B256,
    block: u64,
    block_hash: B256,
}

/// Settles every executed update that has not been settled here, and unsettles what is not on chain any more. Until
/// this succeeds a validator neither proposes nor votes, since it could pay for the same work twice.
pub async fn catch_up(validator: &Validator) -> Result<Settled, SettleError> {
    let chain = &validator.ctx.chain;
    let store = &validator.ctx.store;
    let head = chain.head().await?.number;
    let confirmed = head.saturating_sub(chain.settings().confirmations);
    let mut tail: Vec<Entry> = store.get(Table::Meta, TAIL)?.unwrap_or_default();
    let mut cursor: Option<Cursor> = store.get(Table::Meta, CURSOR)?;
    if let Some(Cursor { block, hash }) = cursor {
        if head < block {
            let settled = block;
            return Err(SettleError::Behind { head, settled });
        }
        if chain.block_hash(block).await? != Some(hash) {
            cursor = unsettle_dropped(validator, &mut tail).await?;
        }
    }
    let deployed_at = chain.deployment().deployed_at;
    let first = cursor.map_or(deployed_at, |cursor| cursor.block.saturating_add(1));
    // Read before the logs: if a reorganisation comes between, the cursor is found to be off next time.
    let new_cursor = match cursor {
        Some(cursor) if confirmed < cursor.block.saturating_add(CURSOR_BLOCKS) => None,
        _ => chain.block_hash(confirmed).await?.map(|hash| Cursor {
            block: confirmed,
            hash,
        }),
    };
    let mut unconfirmed = false;
    for update in chain.executed_updates(first, head).await? {
        if update.block > confirmed {
            unconfirmed = true;
            break;
        }
        settle(validator, &mut tail, &update).await?;
    }
    if let Some(cursor) = new_cursor {
        store.put(Table::Meta, CURSOR, &cursor)?;
    }
    Ok(Settled {
        distribution_id: tail.last().map_or(0, |entry| entry.distribution_id),
        unconfirmed,
    })
}

async fn settle(
    validator: &Validator,
    tail: &mut Vec<Entry>,
    update: &ExecutedUpdate,
) -> Result<(), SettleError> {
    let store = &validator.ctx.store;
    let settled = tail.last().map_or(0, |entry| entry.distribution_id);
    let found = update.distribution_id;
    if settled.checked_add(1) != Some(found) {
        return Err(SettleError::Gap { settled, found });
    }
    let proposal = update.proposal_hash;
    let payload = match find_payload(validator, proposal, update.executor, update.round).await? {
        Found::Here(payload) => payload.body.payload,
        Found::Nowhere | Found::Refused(_) => {
            return Err(SettleError::PayloadMissing(proposal));
        }
    };
    // Before the cursor, and the same if it is done again: a crash in between loses nothing.
    {
        let mut ledger = validator.ledger();
        ledger.settle(&payload.receipts, found, update.round)?;
        forget_old_rounds(store, &mut ledger, update.round, found)?;
    }
    tail.push(Entry {
        distribution_id: found,
        proposal,
        block: update.block,
        block_hash: update.block_hash,
    });
    if tail.len() > TAIL_MAX {
        tail.remove(0);
    }
    let cursor = Cursor {
        block: update.block,
        hash: update.block_hash,
    };
    store.write(|batch| {
        batch.put(Table::Meta, &distribution_key(found), &proposal)?;
        batch.delete(Table::Meta, &candidate_key(update.round, proposal))?;
        batch.put(Table::Meta, TAIL, tail)?;
        batch.put(Table::Meta, CURSOR, &cursor)
    })?;
    info!(
        round = update.round,
        distribution = found,
        receipts = payload.receipts.len(),
        "update settled"
    );
    Ok(())
}

/// Gives back the receipts of the settled updates that are not on chain any more. Returns where to go on: after the
/// last one that still is, or from the start.
async fn unsettle_dropped(
    validator: &Validator,
    tail: &mut Vec<Entry>,
) -> Result<Option<Cursor>, SettleError> {
    let chain = &validator.ctx.chain;
    let store = &validator.ctx.store;
    while let Some(entry) = tail.last().copied() {
        if chain.block_hash(entry.block).await? == Some(entry.block_hash) {
            break;
        }
        let payload = stored_payload(store, entry.proposal)?.map(|payload| payload.body.payload);
        if let Some(payload) = &payload {
            validator
                .ledger()
                .unsettle(&payload.receipts, entry.distribution_id)?;
        }
        sometimes!("settle/undone");
        validator.claims.forget(entry.distribution_id);
        tail.pop();
        warn!(
            distribution = entry.distribution_id,
            proposal = %entry.proposal,
            block = entry.block,
            "a reorganisation dropped an executed update: its receipts are unsettled again"
        );
        store.write(|batch| {
            batch.delete(Table::Meta, &distribution_key(entry.distribution_id))?;
            if let Some(payload) = &payload {
                let key = candidate_key(payload.round, entry.proposal);
                batch.put(Table::Meta, &key, &())?;
            }
            batch.put(Table::Meta, TAIL, tail)
        })?;
    }
    let cursor = tail.last().map(|entry| Cursor {
        block: entry.block,
        hash: entry.block_hash,
    });
    match &cursor {
        Some(cursor) => store.put(Table::Meta, CURSOR, cursor)?,
        None => store.delete(Table::Meta, CURSOR)?,
    }
    Ok(cursor)
}
