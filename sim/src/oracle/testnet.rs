//! Rewards of a testnet that are paid out on this chain.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};

use super::books::Broken;

/// Who has been paid, and how much, in SNO wei.
#[derive(Debug, Clone, Default)]
pub(super) struct Testnet(BTreeMap<Address, U256>);

impl Testnet {
    /// A reward is paid out, of at most `total` (SNO wei) for all together.
    pub(super) fn claimed(&mut self, account: Address, amount: U256, total: u128) -> Vec<Broken> {
        let mut broken = Vec::new();
        if self.0.insert(account, amount).is_some() {
            broken.push((
                "one-claim-each",
                format!("{account} claims its rewards of the testnet twice"),
            ));
        }
        let paid = self.0.values().copied();
        let paid = paid.fold(U256::ZERO, U256::saturating_add);
        if paid > U256::from(total) {
            broken.push((
                "supply",
                format!("rewards of the testnet have minted {paid} of {total}"),
            ));
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_paid_once_and_all_no_more_than_was_promised() {
        let mut testnet = Testnet::default();
        let mut broken = |account: u8, amount: u64| -> Vec<&'static str> {
            let account = Address::repeat_byte(account);
            let broken = testnet.claimed(account, U256::from(amount), 100);
            broken.into_iter().map(|(invariant, _)| invariant).collect()
        };
        assert!(broken(1, 60).is_empty());
        assert!(broken(2, 40).is_empty());
        assert_eq!(broken(1, 60), ["one-claim-each"]);
        assert_eq!(broken(3, 1), ["supply"]);
    }
}
