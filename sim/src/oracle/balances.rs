//! What the contracts say they hold, against the books.

use alloy::primitives::{B256, U256};

use super::{Books, Broke, Broken};
use crate::oracle::ether::EthHeld;

/// What the contracts say, to be compared with the books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balances {
    /// The token's total supply.
    pub supply: U256,
    /// SNO that workers have yet to claim.
    pub unclaimed: u128,
    /// SNO escrowed.
    pub escrowed: u128,
    /// ETH escrowed.
    pub escrowed_eth: u128,
    /// ETH that the token's contract holds.
    pub eth: EthHeld,
    /// The last distribution's id.
    pub last_distribution: U256,
    /// Hash and votes of each proposal of the open round, in their order.
    pub proposals: Vec<(B256, u64)>,
}

impl Books {
    /// Compares what the contracts say with the books.
    pub fn compare(&mut self, balances: &Balances) -> Vec<Broken> {
        let mut broke = Broke::default();
        let mut equal = |invariant, what: &str, chain: U256, books: U256| {
            broke.unless(chain == books, invariant, || {
                format!("{what} is {chain} on chain, {books} by the logs")
            });
        };
        equal("supply", "the total supply", balances.supply, self.supply);
        let unclaimed: u128 = self
            .distributions
            .values()
            .map(|d| d.pool.saturating_sub(d.claimed))
            .sum();
        equal(
            "unclaimed",
            "what is unclaimed",
            U256::from(balances.unclaimed),
            U256::from(unclaimed),
        );
        let escrow = |sno| {
            self.open_jobs
                .values()
                .filter(|j| j.sno == sno)
                .map(|j| U256::from(j.payment))
                .sum()
        };
        equal(
            "escrow",
            "SNO in escrow",
            U256::from(balances.escrowed),
            escrow(true),
        );
        equal(
            "escrow",
            "ETH in escrow",
            U256::from(balances.escrowed_eth),
            escrow(false),
        );
        let ids = U256::from(self.distributions.len());
        equal(
            "distribution-ids-without-gaps",
            "the last distribution",
            balances.last_distribution,
            ids,
        );
        self.ether.compare(&balances.eth, &mut broke);
        self.compare_votes(&balances.proposals, &mut broke);
        self.counted(broke)
    }
}
