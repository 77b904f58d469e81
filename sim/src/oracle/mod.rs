//! Checks the chain against what really happened, after every block with transactions.
//!
//! ```text
//!   chain host ── block ──► Oracle ── events ──► Books ──┐
//!                             │                          ├──► Violations
//!   worker hosts ── trace ──► Truth ─────────────────────┘
//! ```
//!
//! The [`Books`](books::Books) are an account of their own, kept from the chain's logs alone: what must be in the
//! contracts' books and is compared with them. The [`Truth`](truth::Truth) is what worker hosts really computed. Neither
//! uses the contracts' or the node's predicates: an error there must not hide itself.

pub mod books;
mod events;
pub mod truth;

use alloy::eips::BlockId;
use smartnodes_evm::chain::{BlockSummary, Chain};
use smartnodes_evm::deployment::Deployment;

use crate::oracle::books::{Balances, Books, Terms};
use crate::oracle::events::Token;
use crate::oracle::truth::Truth;
use crate::violation::Violations;

/// What the oracle has counted, for the run's record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// State updates executed.
    pub state_updates: u64,
    /// Rewards claimed.
    pub claims: u64,
    /// Capacity that has been distributed and not yet claimed.
    pub unclaimed_capacity: u128,
    /// Jobs whose payment is in escrow.
    pub open_jobs: u64,
}

/// The observer of one deployment.
pub struct Oracle {
    deployment: Deployment,
    books: Books,
    violations: Violations,
}

impl Oracle {
    /// An oracle that has seen nothing yet; it must be shown the blocks of the deployment too.
    pub fn new(
        deployment: Deployment,
        terms: Terms,
        truth: Truth,
        violations: Violations,
    ) -> Oracle {
        Oracle {
            deployment,
            books: Books::new(terms, truth),
            violations,
        }
    }

    /// Looks at a block that has just been mined.
    pub fn observe(&mut self, chain: &Chain, block: &BlockSummary) {
        self.follow(chain, block.number);
        self.compare(chain);
    }

    /// Enters the transactions of a block, which may be an old one.
    pub fn follow(&mut self, chain: &Chain, number: u64) {
        let id = BlockId::number(number);
        let read = chain
            .block_receipts(id)
            .and_then(|receipts| Ok((receipts, chain.block(id, false)?)));
        let (receipts, timestamp) = match read {
            Ok((receipts, block)) => (receipts, block.header.timestamp),
            Err(error) => {
                return self
                    .violations
                    .add("chain-readable", format!("block {number}: {error}"));
            }
        };
        for receipt in receipts.iter().filter(|receipt| receipt.status()) {
            let input = chain.transaction(&receipt.transaction_hash).map(|tx| {
                use alloy::consensus::Transaction as _;
                (tx.inner.signer(), tx.input().clone())
            });
            let logs = receipt.inner.logs().iter().map(|log| &log.inner);
            let seen = events::decode(
                &self.deployment,
                logs,
                input.as_ref().map(|(from, data)| (*from, &data[..])),
            );
            for (invariant, detail) in self.books.transaction(timestamp, &seen) {
                self.violations
                    .add(invariant, format!("block {number}: {detail}"));
            }
        }
    }

    /// Compares the contracts' books, as they are now, with the oracle's.
    pub fn compare(&mut self, chain: &Chain) {
        let number = chain.block_number();
        match self.balances(chain) {
            Ok(balances) => {
                for (invariant, detail) in self.books.compare(&balances) {
                    self.violations
                        .add(invariant, format!("block {number}: {detail}"));
                }
            }
            Err(error) => self
                .violations
                .add("chain-readable", format!("block {number}: {error}")),
        }
    }

    /// What has been counted so far.
    pub fn tally(&self) -> Tally {
        self.books.tally()
    }

    fn balances(&self, chain: &Chain) -> Result<Balances, smartnodes_evm::chain::ChainError> {
        let token = self.deployment.token;
        let unclaimed = chain.read(token, &Token::s_totalUnclaimedCall {})?;
        let escrowed = chain.read(token, &Token::s_totalEscrowedCall {})?;
        Ok(Balances {
            supply: chain.read(token, &Token::totalSupplyCall {})?,
            unclaimed: unclaimed.sno,
            escrowed: escrowed.sno,
            escrowed_eth: escrowed.eth,
            last_distribution: chain.read(token, &Token::s_currentDistributionIdCall {})?,
        })
    }
}
