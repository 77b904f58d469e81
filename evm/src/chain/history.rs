//! Going back: snapshots for tests, reorganisations for the faults of a simulated network.

use std::collections::BTreeMap;

use alloy::primitives::B256;

use super::{Chain, clock::Clock, error::RewindError, pool::Mempool};

/// Snapshots that may be held at once.
pub const SNAPSHOTS_MAX: usize = 256;

/// A point to return to. The state is not copied: undo logs lead back to it.
#[derive(Debug)]
struct Snapshot {
    block: u64,
    pool: Mempool,
    clock: Clock,
    base_fee: u64,
}

/// The snapshots that are held, by id.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    held: BTreeMap<u64, Snapshot>,
    taken: u64,
}

impl Chain {
    /// Remembers this moment and returns an id for [`Chain::revert`]. Costs a copy of the mempool.
    pub fn snapshot(&mut self) -> Result<u64, RewindError> {
        if self.snapshots.held.len() >= SNAPSHOTS_MAX {
            return Err(RewindError::TooManySnapshots(SNAPSHOTS_MAX));
        }
        self.snapshots.taken += 1;
        let id = self.snapshots.taken;
        let snapshot = Snapshot {
            block: self.blocks.latest_number(),
            pool: self.pool.clone(),
            clock: self.clock,
            base_fee: self.base_fee,
        };
        self.snapshots.held.insert(id, snapshot);
        Ok(id)
    }

    /// Returns to a snapshot: blocks, state, mempool, base fee and time offset are as they were. The snapshot and all
    /// taken after it are used up.
    pub fn revert(&mut self, id: u64) -> Result<(), RewindError> {
        let snapshot = self
            .snapshots
            .held
            .get(&id)
            .ok_or(RewindError::UnknownSnapshot(id))?;
        let block = snapshot.block;
        self.check_kept(block)?;
        self.remove_blocks_above(block);
        let used_up = self.snapshots.held.split_off(&id);
        if let Some((_, snapshot)) = used_up.into_iter().next() {
            self.pool = snapshot.pool;
            self.clock = snapshot.clock;
            self.base_fee = snapshot.base_fee;
        }
        Ok(())
    }

    /// Removes the latest `depth` blocks and the snapshots taken in them, as a reorganisation does before the other branch is mined, and returns the
    /// hashes of the transactions that were in them. These wait again, except any that the state before or the mempool
    /// no longer admits.
    pub fn reorg(&mut self, depth: u64) -> Result<Vec<B256>, RewindError> {
        let removed = self.undo(depth)?;
        let hashes = removed.iter().map(|mined| *mined.tx.tx_hash()).collect();
        for mined in removed {
            // A refusal is no error: the mempool may hold a replacement, or the sender's funds came from a lost block.
            let _ = self.submit(mined.tx, mined.origin);
        }
        Ok(hashes)
    }

    /// The same to a branch whose miners have never heard of the transactions: whoever wants one must send it again.
    pub fn reorg_forgetting(&mut self, depth: u64) -> Result<Vec<B256>, RewindError> {
        let removed = self.undo(depth)?;
        Ok(removed.iter().map(|mined| *mined.tx.tx_hash()).collect())
    }

    fn undo(&mut self, depth: u64) -> Result<Vec<super::blocks::MinedTx>, RewindError> {
        let latest = self.blocks.latest_number();
        let target = latest
            .checked_sub(depth)
            .ok_or(RewindError::Depth { depth, latest })?;
        self.check_kept(target)?;
        let removed = self.remove_blocks_above(target);
        self.snapshots
            .held
            .retain(|_, snapshot| snapshot.block <= target);
        Ok(removed)
    }

    fn check_kept(&self, target: u64) -> Result<(), RewindError> {
        let oldest = self.blocks.oldest_number();
        if target < oldest {
            Err(RewindError::Pruned { target, oldest })
        } else {
            Ok(())
        }
    }

    /// Takes blocks back until `target` is the latest. Returns their transactions, oldest first.
    fn remove_blocks_above(&mut self, target: u64) -> Vec<super::blocks::MinedTx> {
        let mut removed = Vec::new();
        while self.blocks.latest_number() > target {
            if let Some(body) = self.blocks.pop() {
                self.accounts.undo(body.undo);
                removed.push(body.transactions);
            }
        }
        removed.into_iter().rev().flatten().collect()
    }
}
