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
    /// The hash of its block.
    pub block_hash: B256,
    /// Gas that it used.
    pub gas_used: u64,
}

/// What the journal knows of an intent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    /// Signed, perhaps sent, perhaps mined.
    Pending(Pending),
    /// Done.
    Mined {
        mined: Mined,
        /// What to send again if a reorganisation undoes it; `None` once it is too deep for one.
        undoable: Option<Pending>,
    },
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

    /// Every entry whose key satisfies `ours`.
    pub(super) fn entries(
        &self,
        ours: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<(Vec<u8>, Entry)>, StoreError> {
        let mut entries = self.store.scan::<Entry>(Table::Transactions)?;
        entries.retain(|(key, _)| ours(key));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signed::{decode, encode};

    fn attempt() -> impl Strategy<Value = Attempt> {
        (any::<[u8; 32]>(), any::<Vec<u8>>(), any::<[u64; 2]>()).prop_map(|(hash, raw, fees)| {
            Attempt {
                hash: hash.into(),
                raw: raw.into(),
                max_fee: fees[0].into(),
                priority_fee: fees[1].into(),
            }
        })
    }

    fn pending() -> impl Strategy<Value = Pending> {
        let attempts = prop::collection::vec(attempt(), 1..4);
        (
            any::<String>(),
            any::<[u64; 2]>(),
            any::<[u8; 20]>(),
            any::<Vec<u8>>(),
            attempts,
        )
            .prop_map(|(what, [nonce, gas_limit], to, input, attempts)| Pending {
                what,
                nonce,
                to: to.into(),
                input: input.into(),
                gas_limit,
                attempts,
            })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let mined = (
            any::<[u8; 32]>(),
            any::<u64>(),
            any::<[u8; 32]>(),
            any::<u64>(),
        )
            .prop_map(|(hash, block, block_hash, gas_used)| Mined {
                hash: hash.into(),
                block,
                block_hash: block_hash.into(),
                gas_used,
            });
        prop_oneof![
            pending().prop_map(Entry::Pending),
            (mined, prop::option::of(pending()))
                .prop_map(|(mined, undoable)| Entry::Mined { mined, undoable }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arbitrary_bytes_are_an_entry_or_an_error(bytes: Vec<u8>) {
            if let Ok(entry) = decode::<Entry>(&bytes) {
                prop_assert!(decode::<Entry>(&encode(&entry)).is_ok());
            }
        }

        #[test]
        fn an_entry_survives_its_encoding_and_a_damaged_one_breaks_nothing(
            entry in entry(),
            at: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let mut bytes = encode(&entry);
            let back = decode::<Entry>(&bytes);
            prop_assert_eq!(back.ok().map(|back| encode(&back)), Some(bytes.clone()));
            let at = at.index(bytes.len());
            prop_assert!(decode::<Entry>(&bytes[..at]).is_err(), "cut short");
            bytes[at] ^= 1 << bit;
            let _ = decode::<Entry>(&bytes);
        }
    }
}
