//! The journal of transactions: what makes an intent happen at most once.

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError, Table};

/// An intent that is on chain, as deep as the settings ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mined {
    /// The transaction.
    pub hash: B256,
    /// The number of its block.
    pub block: u64,
    /// Gas that it used.
    pub gas_used: u64,
}

/// What the journal knows of an intent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    /// Signed, perhaps sent, perhaps mined.
    Pending(Pending),
    /// Done.
    Mined(Mined),
}

/// One nonce that was given to an intent, and every transaction signed for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The intent in words.
    pub(super) what: String,
    pub(super) nonce: u64,
    pub(super) to: Address,
    pub(super) input: Bytes,
    pub(super) gas_limit: u64,
    /// Oldest first, at least one. Any of them may be mined, one at most.
    pub(super) attempts: Vec<Attempt>,
}

/// A signed transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) hash: B256,
    pub(super) raw: Bytes,
    /// Maximum fee, in wei for each unit of gas.
    pub(super) max_fee: u128,
    /// Maximum priority fee, in wei for each unit of gas.
    pub(super) priority_fee: u128,
}

/// The journal in the node's database.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    store: Store,
}

impl Journal {
    pub(super) fn new(store: Store) -> Journal {
        Journal { store }
    }

    pub(super) fn load(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.store.get(Table::Transactions, key)
    }

    pub(super) fn save(&self, key: &[u8], entry: &Entry) -> Result<(), StoreError> {
        self.store.put(Table::Transactions, key, entry)
    }

    /// Forgets an intent, so that it may be tried again.
    pub(super) fn close(&self, key: &[u8]) -> Result<(), StoreError> {
        self.store.delete(Table::Transactions, key)
    }

    /// Keys and nonces of everything pending whose key satisfies `ours`.
    pub(super) fn pending(
        &self,
        ours: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let entries = self.store.scan::<Entry>(Table::Transactions)?;
        Ok(entries
            .into_iter()
            .filter(|(key, _)| ours(key))
            .filter_map(|(key, entry)| match entry {
                Entry::Pending(pending) => Some((pending.nonce, key)),
                Entry::Mined(_) => None,
            })
            .collect())
    }
}
