//! What a reorganisation undid is done again: the same signed transactions are sent, so nothing can happen twice.

use tracing::{info, warn};

use super::{
    client::ChainClient,
    error::ChainError,
    intent::done_once_only_here,
    journal::{Entry, Mined},
    nonces::NonceOwner,
};
use crate::failpoint::sometimes;

/// A transaction this many blocks deep is final here. Rollups give up blocks that their data layer does not confirm,
/// which takes them minutes.
const FINAL_BLOCKS: u64 = 512;
/// A transaction that is this deep and still counts as waiting has nobody who waits for it.
const ORPHAN_BLOCKS: u64 = 16;

impl ChainClient {
    /// Looks whether a reorganisation has undone transactions that counted as done, however deep they were, and sends
    /// them again. Whatever [`ChainClient::send`] does, this comes first, so it is needed only where nothing is sent
    /// for long.
    pub async fn redo_undone(&self) -> Result<(), ChainError> {
        // Who holds the lock is sending, and has looked or will look.
        let Ok(mut owner) = self.inner.owner.try_lock() else {
            return Ok(());
        };
        self.redo(&mut owner).await?;
        self.push_waiting(&mut owner, false).await
    }

    /// Takes what is not on chain any more back into what waits; the caller sends that.
    pub(super) async fn redo(&self, owner: &mut NonceOwner) -> Result<(), ChainError> {
        self.close_orphans(owner).await?;
        let Some(newest) = owner.newest() else {
            return Ok(());
        };
        let (block, hash) = (newest.block, newest.block_hash);
        let head = self.head().await?.number;
        if head < block {
            // An endpoint that lags cannot tell.
            return Ok(());
        }
        // A block's hash binds all blocks before it.
        if self.block_hash(block).await? == Some(hash) {
            return self.make_final(owner, head);
        }
        let undoable: Vec<(u64, Vec<u8>)> = owner
            .undoable
            .iter()
            .map(|(nonce, undoable)| (*nonce, undoable.key.clone()))
            .collect();
        for (nonce, key) in undoable {
            self.redo_one(owner, nonce, &key).await?;
        }
        Ok(())
    }

    async fn redo_one(
        &self,
        owner: &mut NonceOwner,
        nonce: u64,
        key: &[u8],
    ) -> Result<(), ChainError> {
        let journal = &self.inner.journal;
        let pending = match journal.load(key)? {
            Some(Entry::Mined {
                undoable: Some(pending),
                ..
            }) if pending.nonce == nonce => pending,
            // The same intent was sent anew.
            _ => {
                owner.undoable.remove(&nonce);
                return Ok(());
            }
        };
        match self.receipt_of(&pending).await? {
            Some((block, receipt)) if receipt.status() => {
                let mined = Mined::new(&receipt, block);
                owner.mined(nonce, key.to_vec(), &mined);
                let undoable = Some(pending);
                journal.save(key, &Entry::Mined { mined, undoable })?;
            }
            Some(_) => {
                warn!(
                    what = pending.what,
                    nonce, "after a reorganisation the transaction failed"
                );
                journal.close(key)?;
                owner.undoable.remove(&nonce);
            }
            None => {
                sometimes!("chain/confirmed-undone");
                warn!(
                    what = pending.what,
                    nonce, "a reorganisation undid a confirmed transaction, sending it again"
                );
                journal.save(key, &Entry::Pending(pending))?;
                owner.undoable.remove(&nonce);
                owner.pending.insert(nonce, key.to_vec());
            }
        }
        Ok(())
    }

    /// Drops the means to send again what is too deep to be undone, and, where the contracts would not do it a second time
    /// anyway, the record that it was done.
    fn make_final(&self, owner: &mut NonceOwner, head: u64) -> Result<(), ChainError> {
        let is_final = |block: u64| block.saturating_add(FINAL_BLOCKS) <= head;
        let journal = &self.inner.journal;
        let deep: Vec<(u64, Vec<u8>)> = owner
            .undoable
            .iter()
            .filter(|(_, undoable)| is_final(undoable.block))
            .map(|(nonce, undoable)| (*nonce, undoable.key.clone()))
            .collect();
        for (nonce, key) in deep {
            if let Some(Entry::Mined {
                mined,
                undoable: Some(pending),
            }) = journal.load(&key)?
                && pending.nonce == nonce
            {
                if done_once_only_here(&key) {
                    let undoable = None;
                    journal.save(&key, &Entry::Mined { mined, undoable })?;
                } else {
                    journal.close(&key)?;
                }
            }
            owner.undoable.remove(&nonce);
        }
        Ok(())
    }

    /// Closes the journal over transactions that are mined and that nobody waits for: sent again after a
    /// reorganisation, or before a restart.
    async fn close_orphans(&self, owner: &mut NonceOwner) -> Result<(), ChainError> {
        if owner.pending.is_empty() {
            return Ok(());
        }
        let head = self.head().await?.number;
        if head < owner.orphans_sought_at.saturating_add(ORPHAN_BLOCKS) {
            return Ok(());
        }
        owner.orphans_sought_at = head;
        let used = self.nonces_used().await?;
        let candidates: Vec<Vec<u8>> = owner
            .pending
            .range(..used)
            .map(|(_, key)| key.clone())
            .collect();
        let depth = ORPHAN_BLOCKS.saturating_add(self.settings().confirmations);
        for key in candidates {
            let Some(Entry::Pending(pending)) = self.inner.journal.load(&key)? else {
                continue;
            };
            if let Some((block, receipt)) = self.receipt_of(&pending).await?
                && block.saturating_add(depth) <= head
            {
                info!(what = pending.what, "mined while nobody waited for it");
                // A failure is in the log, and there is nobody else to be told.
                let _ = self.finish(owner, &key, &pending, &receipt, block).await?;
            }
        }
        Ok(())
    }
}
