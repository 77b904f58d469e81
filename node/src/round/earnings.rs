//! What a period's receipts come to for each account: capacity and reputation.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, U256};

use super::payload::PayloadError;
use crate::jobs::receipt::{Earned, Receipt};

/// Free jobs earn at most one part of a period's capacity in so many; what they did beyond that is cut in proportion. It
/// bounds what users and workers who collude can draw from the emission without paying.
pub const FREE_SHARE_DIVISOR: u128 = 4;
/// Reputation that a worker gains in an update in which it completed tasks of a job.
pub const REPUTATION_STEP: i16 = 1;
/// Reputation that a false result costs.
pub const FAULT_STEP: i16 = 10;
/// The most by which an update may change a reputation (the rule of SmartnodesCore).
pub const REPUTATION_CHANGE_MAX: i16 = 100;

/// Capacity of each account, paid for and free.
#[derive(Clone, Debug, Default)]
pub(super) struct Earnings(BTreeMap<Address, Parts>);

#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    paid: u128,
    free: u128,
}

impl Earnings {
    /// How many accounts there are if this receipt's are added.
    pub(super) fn accounts_with(&self, receipt: &Receipt) -> usize {
        let earned = receipt.earned();
        let workers = earned.iter().map(|earned| earned.worker);
        count_with(&self.0, workers)
    }

    pub(super) fn add(&mut self, earned: Earned) -> Result<(), PayloadError> {
        let parts = self.0.entry(earned.worker).or_default();
        let part = if earned.free {
            &mut parts.free
        } else {
            &mut parts.paid
        };
        *part = part
            .checked_add(earned.capacity)
            .ok_or(PayloadError::Overflow)?;
        Ok(())
    }

    /// One leaf for each account, ascending; accounts that earn nothing have none.
    pub(super) fn settle(self) -> Result<Vec<(Address, u128)>, PayloadError> {
        let sum = |part: fn(&Parts) -> u128| {
            self.0
                .values()
                .try_fold(0u128, |sum, parts| sum.checked_add(part(parts)))
                .ok_or(PayloadError::Overflow)
        };
        let (paid, free) = (sum(|parts| parts.paid)?, sum(|parts| parts.free)?);
        // free / (paid + free) ≤ 1 / divisor.
        let allowed = free.min(paid / (FREE_SHARE_DIVISOR - 1));
        let leaves = self.0.into_iter().map(|(account, parts)| {
            let free = share(parts.free, allowed, free);
            let capacity = parts.paid.checked_add(free).ok_or(PayloadError::Overflow)?;
            Ok((account, capacity))
        });
        leaves.filter(|leaf| !matches!(leaf, Ok((_, 0)))).collect()
    }
}

/// `part · allowed / whole`, rounded down.
fn share(part: u128, allowed: u128, whole: u128) -> u128 {
    if whole == 0 {
        return 0;
    }
    let share = U256::from(part) * U256::from(allowed) / U256::from(whole);
    // At most `allowed`, since a part is at most the whole.
    share.saturating_to()
}

/// How many keys a map has if these are added.
fn count_with<T>(map: &BTreeMap<Address, T>, more: impl Iterator<Item = Address>) -> usize {
    let new: BTreeSet<Address> = more.filter(|account| !map.contains_key(account)).collect();
    map.len() + new.len()
}

/// What the receipts say about each account's reliability.
#[derive(Clone, Debug, Default)]
pub(super) struct Reputation(BTreeMap<Address, Standing>);

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    worked: bool,
    faults: i16,
}

impl Reputation {
    /// How many accounts there are if this receipt's are added.
    pub(super) fn accounts_with(&self, receipt: &Receipt) -> usize {
        count_with(
            &self.0,
            receipt.job_workers().chain(receipt.faulty_worker()),
        )
    }

    pub(super) fn add(&mut self, receipt: &Receipt) {
        for worker in receipt.job_workers() {
            self.0.entry(worker).or_default().worked = true;
        }
        if let Some(worker) = receipt.faulty_worker() {
            let standing = self.0.entry(worker).or_default();
            standing.faults = standing.faults.saturating_add(1);
        }
    }

    /// Ascending by account. Whoever gave a false result gains nothing by the right ones.
    pub(super) fn changes(self) -> Vec<(Address, i16)> {
        self.0
            .into_iter()
            .filter_map(|(account, standing)| match standing {
                Standing { faults: 0, worked } => worked.then_some((account, REPUTATION_STEP)),
                Standing { faults, .. } => {
                    let cost = faults.saturating_mul(FAULT_STEP).min(REPUTATION_CHANGE_MAX);
                    Some((account, -cost))
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }

    fn settle(earned: &[(u8, u128, bool)]) -> Result<Vec<(Address, u128)>, PayloadError> {
        let mut earnings = Earnings::default();
        for (worker, capacity, free) in earned {
            earnings.add(Earned {
                worker: account(*worker),
                capacity: *capacity,
                free: *free,
            })?;
        }
        earnings.settle()
    }

    #[test]
    fn free_work_within_the_cap_counts_in_full() {
        let leaves = settle(&[(1, 90, false), (2, 20, true), (1, 10, true)]);
        assert_eq!(leaves, Ok(vec![(account(1), 100), (account(2), 20)]));
    }

    #[test]
    fn free_work_beyond_the_cap_is_cut_in_proportion() {
        let leaves = settle(&[(1, 90, false), (2, 2_000, true), (1, 1_000, true)]);
        assert_eq!(leaves, Ok(vec![(account(1), 100), (account(2), 20)]));
    }

    #[test]
    fn free_work_alone_earns_nothing() {
        assert_eq!(settle(&[(1, 1_000, true)]), Ok(Vec::new()));
    }

    #[test]
    fn sums_that_do_not_fit_are_an_error() {
        let huge = [(1, u128::MAX, false), (2, 1, false)];
        assert_eq!(settle(&huge), Err(PayloadError::Overflow));
        let same = [(1, u128::MAX, false), (1, 1, false)];
        assert_eq!(settle(&same), Err(PayloadError::Overflow));
    }

    proptest! {
        #[test]
        fn the_free_share_is_bounded_and_no_capacity_is_made(
            earned in prop::collection::vec((0u8..6, 0u128..1 << 100, any::<bool>()), 0..30)
        ) {
            let total = |free: bool| -> u128 {
                earned.iter().filter(|e| e.2 == free).map(|e| e.1).sum()
            };
            let leaves = settle(&earned).expect("sums below 2^105");
            let settled: u128 = leaves.iter().map(|leaf| leaf.1).sum();
            let (paid, free) = (total(false), total(true));
            prop_assert!(settled >= paid && settled <= paid + free);
            prop_assert!((settled - paid) * (FREE_SHARE_DIVISOR - 1) <= paid);
            prop_assert!(leaves.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(leaves.iter().all(|leaf| leaf.1 > 0));
        }
    }
}
