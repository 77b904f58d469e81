//! Which nonce belongs to which intent.

use std::collections::BTreeMap;

use alloy::primitives::B256;

use super::journal::{Entry, Journal, Mined};
use crate::store::StoreError;

/// Most nonces of a gap that are filled at once.
const GAP_MAX: usize = 16;

/// Something mined that a reorganisation may still undo.
#[derive(Clone, Debug)]
pub(super) struct Undoable {
    /// Its journal key.
    pub(super) key: Vec<u8>,
    /// Its block.
    pub(super) block: u64,
    /// The block's hash.
    pub(super) block_hash: B256,
}

/// The nonces that are given out.
#[derive(Debug, Default)]
pub(super) struct NonceOwner {
    /// Journal keys of what may still be waiting, by nonce.
    pub(super) pending: BTreeMap<u64, Vec<u8>>,
    /// What is mined, but not too deep to be undone, by nonce.
    pub(super) undoable: BTreeMap<u64, Undoable>,
    /// Block at which it was last looked for transactions that nobody waits for any more.
    pub(super) orphans_sought_at: u64,
}

impl NonceOwner {
    /// Reads what was pending or might be undone when the node stopped.
    pub(super) fn restore(journal: &Journal, scope: B256) -> Result<NonceOwner, StoreError> {
        let mut owner = NonceOwner::default();
        for (key, entry) in journal.entries(|key| key.starts_with(scope.as_slice()))? {
            match entry {
                Entry::Pending(pending) => {
                    owner.pending.insert(pending.nonce, key);
                }
                Entry::Mined {
                    mined,
                    undoable: Some(pending),
                } => owner.mined(pending.nonce, key, &mined),
                Entry::Mined { undoable: None, .. } => {}
            }
        }
        Ok(owner)
    }

    /// The nonce for a new transaction, where the chain has counted `used`.
    pub(super) fn next(&self, used: u64) -> u64 {
        self.pending
            .last_key_value()
            .map_or(used, |(last, _)| used.max(last.saturating_add(1)))
    }

    /// Nothing waits under this nonce any more, if `key` did.
    pub(super) fn forget(&mut self, nonce: u64, key: &[u8]) {
        if self.pending.get(&nonce).is_some_and(|holder| holder == key) {
            self.pending.remove(&nonce);
        }
    }

    /// What held this nonce is mined.
    pub(super) fn mined(&mut self, nonce: u64, key: Vec<u8>, mined: &Mined) {
        self.forget(nonce, &key);
        let undoable = Undoable {
            key,
            block: mined.block,
            block_hash: mined.block_hash,
        };
        self.undoable.insert(nonce, undoable);
    }

    /// Of what may be undone, that in the latest block.
    pub(super) fn newest(&self) -> Option<&Undoable> {
        self.undoable.values().max_by_key(|mined| mined.block)
    }

    /// Nonces that nothing of ours holds, though something waits behind them: from `used`, which the chain has counted.
    pub(super) fn gap(&self, used: u64) -> Vec<u64> {
        let Some((first, _)) = self.pending.range(used..).next() else {
            return Vec::new();
        };
        (used..*first)
            .filter(|nonce| !self.undoable.contains_key(nonce))
            .take(GAP_MAX)
            .collect()
    }
}

/// Journal key of a transaction that does nothing but use a nonce.
pub(super) fn filler_key(scope: B256, nonce: u64) -> Vec<u8> {
    [scope.as_slice(), b"fill/", &nonce.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, Bytes};
    use proptest::prelude::*;

    use super::super::journal::{Attempt, Pending};
    use super::*;
    use crate::store::Store;
    use crate::store::rows::{config, damaged, damages, rows_of};

    fn mined(block: u64) -> Mined {
        Mined {
            hash: B256::ZERO,
            block,
            block_hash: B256::with_last_byte(block as u8),
            gas_used: 0,
        }
    }

    #[test]
    fn nonces_follow_both_the_chain_and_what_is_pending() {
        let mut owner = NonceOwner::default();
        assert_eq!(owner.next(5), 5);
        owner.pending.insert(7, b"a".to_vec());
        assert_eq!(owner.next(5), 8);
        assert_eq!(owner.next(9), 9);
        owner.forget(7, b"another");
        assert_eq!(owner.next(5), 8);
        owner.forget(7, b"a");
        assert_eq!(owner.next(5), 5);
    }

    #[test]
    fn a_gap_is_what_neither_waits_nor_may_come_back() {
        let mut owner = NonceOwner::default();
        assert!(owner.gap(3).is_empty(), "nothing waits");
        owner.pending.insert(7, b"a".to_vec());
        assert!(owner.gap(7).is_empty());
        assert!(owner.gap(8).is_empty(), "it is mined");
        assert_eq!(owner.gap(4), [4, 5, 6]);
        owner.pending.insert(5, b"b".to_vec());
        owner.mined(5, b"b".to_vec(), &mined(20));
        owner.mined(3, b"c".to_vec(), &mined(19));
        assert_eq!(owner.gap(4), [4, 6]);
        assert_eq!(owner.newest().map(|newest| newest.block), Some(20));
    }

    #[test]
    fn a_damaged_journal_is_read_or_refused() {
        let scope = B256::repeat_byte(1);
        let pending = |nonce: u64| Pending {
            what: "vote".into(),
            nonce,
            to: Address::repeat_byte(2),
            input: Bytes::from_static(b"input"),
            gas_limit: 100_000,
            attempts: vec![Attempt {
                hash: B256::repeat_byte(3),
                raw: Bytes::from_static(b"raw"),
                max_fee: 2_000,
                priority_fee: 1_000,
            }],
        };
        let undoable = |undoable| Entry::Mined {
            mined: mined(20),
            undoable,
        };
        let store = Store::in_memory().expect("opens");
        let journal = Journal::new(store.clone());
        let entries = [
            Entry::Pending(pending(5)),
            Entry::Pending(pending(9)),
            undoable(Some(pending(4))),
            undoable(None),
        ];
        for (n, entry) in entries.iter().enumerate() {
            let key = [scope.as_slice(), &[n as u8]].concat();
            journal.save(&key, entry).expect("stored");
        }
        let rows = rows_of(&store);
        proptest!(config(), |(damages in damages(), used in 0..10u64)| {
            let journal = Journal::new(damaged(&rows, &damages));
            if let Ok(owner) = NonceOwner::restore(&journal, scope) {
                prop_assert!(owner.next(used) >= used);
                let gap = owner.gap(used);
                prop_assert!(gap.len() <= GAP_MAX && gap.iter().all(|nonce| *nonce >= used));
                prop_assert!(owner.newest().is_some() != owner.undoable.is_empty());
            }
        });
    }
}
