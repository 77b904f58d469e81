//! Transfers of SNO that the scenario's people make: as often as they are on the plan, never more. A node that forgets what
//! it has sent sends it again, and no contract can tell.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};

use super::books::Broken;

/// From whom, to whom, how much in SNO wei.
pub type Planned = (Address, Address, U256);

/// The transfers of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Transfers {
    /// How often each is on the plan.
    planned: BTreeMap<Planned, usize>,
    /// The blocks in which each was made.
    made: BTreeMap<Planned, Vec<u64>>,
}

impl Transfers {
    pub(super) fn new(plan: impl IntoIterator<Item = Planned>) -> Self {
        let mut planned = BTreeMap::new();
        for transfer in plan {
            *planned.entry(transfer).or_default() += 1;
        }
        let made = BTreeMap::new();
        Self { planned, made }
    }

    /// A transfer was made in a block; so often its sender had to begin anew without knowing of it.
    pub(super) fn enter(
        &mut self,
        transfer: Planned,
        block: u64,
        times_forgotten: usize,
    ) -> Option<Broken> {
        let planned = *self.planned.get(&transfer)?;
        let made = self.made.entry(transfer).or_default();
        made.push(block);
        (made.len() > planned + times_forgotten).then(|| {
            let (from, to, amount) = transfer;
            let detail = format!(
                "{from} sends {amount} to {to} in blocks {made:?}, which is on the plan {planned} times"
            );
            ("transfer-once", detail)
        })
    }

    /// All blocks after `latest` are undone.
    pub(super) fn rewind(&mut self, latest: u64) {
        for blocks in self.made.values_mut() {
            blocks.retain(|block| *block <= latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_transfer_more_than_planned_is_seen_and_one_that_was_undone_does_not_count() {
        let [a, b] = [1, 2].map(Address::repeat_byte);
        let transfer = (a, b, U256::from(5));
        let mut transfers = Transfers::new([transfer, transfer]);
        assert_eq!(transfers.enter((b, a, U256::from(5)), 3, 0), None);
        assert_eq!(transfers.enter(transfer, 4, 0), None);
        assert_eq!(transfers.enter(transfer, 5, 0), None);
        transfers.rewind(4);
        assert_eq!(transfers.enter(transfer, 6, 0), None);
        let third = transfers.enter(transfer, 7, 0);
        assert_eq!(third.map(|(name, _)| name), Some("transfer-once"));
        // By a node that has lost its disk.
        assert_eq!(transfers.enter(transfer, 8, 2), None);
        assert!(transfers.enter(transfer, 9, 2).is_some());
    }
}
