//! The mempool: signed transactions that wait, at most one for each sender and nonce.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::Recovered},
    primitives::{Address, B256, U256},
};

use super::error::TxError;

/// Transactions that may wait at once.
pub const POOL_TRANSACTIONS_MAX: usize = 16_384;

/// Transactions that may wait at once for one sender.
pub const POOL_TRANSACTIONS_PER_SENDER_MAX: usize = 1_024;

/// How much both fees must rise to replace a waiting transaction, in per cent.
pub const REPLACEMENT_BUMP_PERCENT: u128 = 10;

/// Whether a sender signed for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The signature is the sender's.
    Signed,
    /// The signature is a filler ([`Chain::impersonate`](super::Chain::impersonate)); the sender may be a contract.
    Impersonated,
}

/// A transaction that waits.
#[derive(Clone, Debug)]
pub(super) struct PooledTx {
    pub(super) tx: Recovered<TxEnvelope>,
    /// What it may cost its sender at most, in wei.
    pub(super) cost_max: U256,
    pub(super) origin: Origin,
    /// Place in the order of arrival, which decides between equal fees.
    arrival: u64,
}

/// A sender whose next transaction can be mined, ordered by tip, then arrival.
pub(super) type Ready = (u128, Reverse<u64>, Address);

/// All transactions that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Mempool {
    senders: BTreeMap<Address, BTreeMap<u64, PooledTx>>,
    hashes: BTreeMap<B256, (Address, u64)>,
    arrivals: u64,
}

impl Mempool {
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn contains(&self, hash: &B256) -> bool {
        self.hashes.contains_key(hash)
    }

    pub(super) fn get(&self, hash: &B256) -> Option<&PooledTx> {
        let (sender, nonce) = self.hashes.get(hash)?;
        self.at(sender, *nonce)
    }

    pub(super) fn at(&self, sender: &Address, nonce: u64) -> Option<&PooledTx> {
        self.senders.get(sender)?.get(&nonce)
    }

    /// The first nonce from `next` on for which nothing waits.
    pub(super) fn next_nonce(&self, sender: &Address, next: u64) -> u64 {
        let Some(waiting) = self.senders.get(sender) else {
            return next;
        };
        let unbroken = waiting
            .range(next..)
            .zip(next..)
            .take_while(|((nonce, _), expected)| *nonce == expected)
            .count();
        next + unbroken as u64
    }

    /// What the sender's transactions may cost at most, leaving out the one with `except_nonce`.
    pub(super) fn cost_max(&self, sender: &Address, except_nonce: u64) -> U256 {
        let Some(waiting) = self.senders.get(sender) else {
            return U256::ZERO;
        };
        waiting
            .iter()
            .filter(|(nonce, _)| **nonce != except_nonce)
            .fold(U256::ZERO, |sum, (_, pooled)| {
                sum.saturating_add(pooled.cost_max)
            })
    }

    /// Adds a transaction, or replaces one of the same sender and nonce if the fees rise enough.
    pub(super) fn insert(
        &mut self,
        tx: Recovered<TxEnvelope>,
        cost_max: U256,
        origin: Origin,
    ) -> Result<(), TxError> {
        let (sender, nonce, hash) = (tx.signer(), tx.nonce(), *tx.tx_hash());
        let waiting = self.senders.get(&sender);
        if let Some(old) = waiting.and_then(|waiting| waiting.get(&nonce)) {
            let max_fee_min = bumped(old.tx.max_fee_per_gas());
            let priority_fee_min = bumped(old.tx.priority_fee_or_price());
            if tx.max_fee_per_gas() < max_fee_min || tx.priority_fee_or_price() < priority_fee_min {
                return Err(TxError::ReplacementUnderpriced {
                    max_fee_min,
                    priority_fee_min,
                });
            }
            self.hashes.remove(old.tx.tx_hash());
        } else {
            if self.hashes.len() >= POOL_TRANSACTIONS_MAX {
                return Err(TxError::PoolFull {
                    limit: POOL_TRANSACTIONS_MAX,
                    sender: None,
                });
            }
            if waiting.is_some_and(|waiting| waiting.len() >= POOL_TRANSACTIONS_PER_SENDER_MAX) {
                return Err(TxError::PoolFull {
                    limit: POOL_TRANSACTIONS_PER_SENDER_MAX,
                    sender: Some(sender),
                });
            }
        }
        self.hashes.insert(hash, (sender, nonce));
        self.senders.entry(sender).or_default().insert(
            nonce,
            PooledTx {
                tx,
                cost_max,
                origin,
                arrival: self.arrivals,
            },
        );
        self.arrivals += 1;
        Ok(())
    }

    /// Takes a transaction out.
    pub(super) fn remove(&mut self, sender: &Address, nonce: u64) -> Option<PooledTx> {
        let waiting = self.senders.get_mut(sender)?;
        let pooled = waiting.remove(&nonce)?;
        if waiting.is_empty() {
            self.senders.remove(sender);
        }
        self.hashes.remove(pooled.tx.tx_hash());
        Some(pooled)
    }

    /// Takes out what can never be mined, because the sender's nonce has passed it by: that of a contract which has
    /// created another, for instance. Returns each sender's next nonce with it.
    pub(super) fn take_stale(
        &mut self,
        nonce_of: impl Fn(&Address) -> u64,
    ) -> Vec<(PooledTx, u64)> {
        let mut stale = Vec::new();
        for (sender, waiting) in &mut self.senders {
            let next = nonce_of(sender);
            while let Some(entry) = waiting.first_entry()
                && *entry.key() < next
            {
                stale.push((entry.remove(), next));
            }
        }
        for (pooled, _) in &stale {
            self.hashes.remove(pooled.tx.tx_hash());
        }
        if !stale.is_empty() {
            self.senders.retain(|_, waiting| !waiting.is_empty());
        }
        stale
    }

    /// The senders whose next transaction pays the base fee, the best payer on top.
    pub(super) fn ready(
        &self,
        base_fee: u64,
        nonce_of: impl Fn(&Address) -> u64,
    ) -> BinaryHeap<Ready> {
        self.senders
            .keys()
            .filter_map(|sender| self.ready_at(sender, nonce_of(sender), base_fee))
            .collect()
    }

    /// The sender's entry in the order of mining, if its transaction with this nonce waits and pays the base fee.
    pub(super) fn ready_at(&self, sender: &Address, nonce: u64, base_fee: u64) -> Option<Ready> {
        let pooled = self.at(sender, nonce)?;
        let tip = pooled.tx.effective_tip_per_gas(base_fee)?;
        Some((tip, Reverse(pooled.arrival), *sender))
    }

    /// Hashes of all transactions that wait, by sender and nonce.
    pub(super) fn hashes(&self) -> impl Iterator<Item = B256> + '_ {
        self.senders
            .values()
            .flat_map(BTreeMap::values)
            .map(|pooled| *pooled.tx.tx_hash())
    }
}

/// The least fee that replaces `fee`.
fn bumped(fee: u128) -> u128 {
    // Rounded up, so that a fee of a few wei must rise too.
    fee.saturating_add(fee.saturating_mul(REPLACEMENT_BUMP_PERCENT).div_ceil(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacement_fee_rises_by_ten_percent_rounded_up() {
        assert_eq!(bumped(100), 110);
        assert_eq!(bumped(1), 2);
        assert_eq!(bumped(0), 0);
        assert_eq!(bumped(u128::MAX), u128::MAX);
    }
}
