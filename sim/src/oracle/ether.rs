//! The account of ETH: what came to the token's contract, what left it, and whose the rest is.

use alloy::primitives::U256;

use super::books::Broke;
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
    /// How much of it was given, and belongs to nobody until it is swept.
    given: U256,
    left: U256,
}

impl Ether {
    /// Enters what came or left.
    pub(super) fn enter(&mut self, event: &Seen) {
        match event {
            Seen::EthCame(amount) => self.came = self.came.saturating_add(*amount),
            Seen::EthGiven(amount) => {
                self.came = self.came.saturating_add(*amount);
                self.given = self.given.saturating_add(*amount);
            }
            Seen::EthLeft(amount) => self.left = self.left.saturating_add(*amount),
            _ => {}
        }
    }

    /// Compares the contract's balance with the account, and with what it owes.
    pub(super) fn compare(&self, held: &EthHeld, broke: &mut Broke) {
        let Ether { came, given, left } = self;
        let all = held.all;
        broke.unless(all == came.saturating_sub(*left), "eth", || {
            format!("the token holds {all} wei of ETH, by the logs {came} came and {left} left")
        });
        let owned = held.owned.iter().copied().map(U256::from);
        let owned = owned.fold(U256::ZERO, U256::saturating_add);
        broke.unless(owned <= all, "eth", || {
            format!("the token owes {owned} wei of ETH and holds {all}")
        });
        // What is nobody's was given: a payment is always somebody's.
        broke.unless(all <= owned.saturating_add(*given), "eth", || {
            format!("the token holds {all} wei of ETH, owes {owned}, and was given {given}")
        });
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
        let broken = |ether: &Ether, all: u64, owned| {
            let mut broke = Broke::default();
            let all = U256::from(all);
            ether.compare(&EthHeld { all, owned }, &mut broke);
            broke.broken.len()
        };
        assert_eq!(broken(&ether, 70, [10, 20, 30, 10]), 0);
        assert_eq!(broken(&ether, 69, [10, 20, 30, 9]), 1);
        assert_eq!(broken(&ether, 70, [71, 0, 0, 0]), 1);
        assert_eq!(
            broken(&ether, 70, [69, 0, 0, 0]),
            1,
            "whose is the last one?"
        );
        ether.enter(&Seen::EthGiven(U256::from(5)));
        assert_eq!(broken(&ether, 75, [70, 0, 0, 0]), 0, "gifts are nobody's");
        assert_eq!(broken(&ether, 75, [69, 0, 0, 0]), 1);
    }
}
