//! The account of ETH: what came to the token's contract, what left it, and whose the rest is.

use alloy::primitives::U256;

use super::books::Broken;
use super::events::Seen;

/// ETH of the token's contract, in wei, as the chain has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EthHeld {
    /// Its balance.
    pub all: U256,
    /// What of it is somebody's: unclaimed by workers, in escrow, released for the next distribution, waiting to be
    /// collected. The rest was given to nobody.
    pub owned: [u128; 4],
}

/// The account, in wei.
#[derive(Debug, Clone, Default)]
pub(super) struct Ether {
    came: U256,
    left: U256,
}

impl Ether {
    /// Enters what came or left.
    pub(super) fn enter(&mut self, event: &Seen) {
        match event {
            Seen::EthCame(amount) => self.came = self.came.saturating_add(*amount),
            Seen::EthLeft(amount) => self.left = self.left.saturating_add(*amount),
            _ => {}
        }
    }

    /// Compares the contract's balance with the account, and with what it owes.
    pub(super) fn compare(&self, held: &EthHeld) -> Vec<Broken> {
        let mut broken = Vec::new();
        let expected = self.came.saturating_sub(self.left);
        if held.all != expected {
            let (all, came, left) = (held.all, self.came, self.left);
            broken.push((
                "eth",
                format!(
                    "the token holds {all} wei of ETH, by the logs {came} came and {left} left"
                ),
            ));
        }
        let owned = held.owned.iter().copied().map(U256::from);
        let owned = owned.fold(U256::ZERO, U256::saturating_add);
        if owned > held.all {
            broken.push((
                "eth",
                format!("the token owes {owned} wei of ETH and holds {}", held.all),
            ));
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wei_came_from_somewhere_and_is_there_for_its_owner() {
        let mut ether = Ether::default();
        ether.enter(&Seen::EthCame(U256::from(100)));
        ether.enter(&Seen::EthLeft(U256::from(30)));
        let held = |all: u64, owned| EthHeld {
            all: U256::from(all),
            owned,
        };
        assert_eq!(ether.compare(&held(70, [10, 20, 30, 10])), []);
        assert_eq!(
            ether.compare(&held(70, [0; 4])),
            [],
            "donations are nobody's"
        );
        assert_eq!(ether.compare(&held(69, [0; 4])).len(), 1);
        assert_eq!(ether.compare(&held(70, [71, 0, 0, 0])).len(), 1);
    }
}
