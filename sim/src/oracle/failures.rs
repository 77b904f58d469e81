//! Transactions that fail in a block. One may, where somebody else was faster; many of one wallet in one round are a node
//! that lives by the wrong time, or asks for what it should know it cannot have.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};

use super::books::Broken;

/// Most transactions of one wallet that may fail in one round: a validator has five to send in it, each of which another
/// one can overtake, and a reorganisation can make it send them again.
const FAILURES_MAX: usize = 10;

/// Failed transactions of the latest round.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    round: u64,
    failed: BTreeMap<Address, BTreeSet<B256>>,
}

impl Failures {
    /// A transaction has failed while this round was the last that had been opened.
    pub(super) fn enter(&mut self, round: u64, from: Address, hash: B256) -> Option<Broken> {
        if round != self.round {
            self.round = round;
            self.failed.clear();
        }
        let failed = self.failed.entry(from).or_default();
        // The same one comes again where its block is undone.
        if !failed.insert(hash) || failed.len() != FAILURES_MAX + 1 {
            return None;
        }
        Some((
            "no-storm-of-reverts",
            format!(
                "{} transactions of {from} have failed since round {round} opened",
                failed.len()
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_may_fail_in_a_round_and_many_of_one_wallet_are_told_once() {
        let mut failures = Failures::default();
        let mut told = 0;
        for round in 1..=2 {
            for n in 0..FAILURES_MAX as u8 {
                for account in 1..=3 {
                    let hash = B256::repeat_byte(n * 3 + account);
                    let broken = failures.enter(round, Address::repeat_byte(account), hash);
                    assert_eq!(broken, None);
                }
            }
        }
        for n in 100..105 {
            let (account, hash) = (Address::repeat_byte(1), B256::repeat_byte(n));
            told += usize::from(failures.enter(2, account, hash).is_some());
        }
        assert_eq!(told, 1);
    }
}
