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
pub mod draws;
mod ether;
mod events;
mod failures;
pub mod hostile;
pub mod isolation;
pub mod misdeeds;
pub mod results;
mod settings;
mod testnet;
mod transfers;
pub mod truth;

use std::collections::BTreeMap;

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_evm::chain::{BlockSummary, CallError, Chain};
use smartnodes_evm::deployment::Deployment;

use crate::oracle::books::{Balances, Books, Terms};
use crate::oracle::draws::Drawn;
use crate::oracle::ether::EthHeld;
use crate::oracle::events::Token;
use crate::oracle::failures::Failures;
use crate::oracle::transfers::{Planned, Transfers};
use crate::oracle::truth::Truth;
use crate::violation::Violations;

/// Bytes of a call that name the function.
const SELECTOR_BYTES: usize = 4;
/// Most blocks with transactions whose books are kept: more than the deepest reorganisation has blocks.
const HISTORY_BLOCKS_MAX: usize = 80;

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
    /// Validators that must approve a proposal in the set as it is now.
    pub required_approvals: u64,
    /// Rounds that have been opened.
    pub rounds_opened: u64,
    /// Of these, those that another one followed without an update.
    pub rounds_lost: u64,
    /// The number of the one that was opened last; 0 if none was.
    pub last_round: u64,
}

/// The observer of one deployment.
pub struct Oracle {
    deployment: Deployment,
    books: Books,
    violations: Violations,
    /// The books after each of the latest blocks with transactions, where blocks may be undone.
    history: Option<BTreeMap<u64, Books>>,
    /// Blocks in which a wallet has done something with the contracts, by wallet, contract and hash of the call.
    done: BTreeMap<(Address, Address, B256), u64>,
    /// How often the contracts emitted each event.
    events: BTreeMap<String, u64>,
    failures: Failures,
    transfers: Transfers,
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
            history: None,
            done: BTreeMap::new(),
            events: BTreeMap::new(),
            failures: Failures::default(),
            transfers: Transfers::default(),
        }
    }

    /// Expects these transfers, each as often as it is named.
    pub fn expect_transfers(&mut self, plan: impl IntoIterator<Item = Planned>) {
        self.transfers = Transfers::new(plan);
    }

    /// Keeps old books from now on, so that [`Oracle::rewind`] can go back to them.
    pub fn remember(&mut self, chain: &Chain) {
        let now = (chain.block_number(), self.books.clone());
        self.history = Some(BTreeMap::from([now]));
    }

    /// Looks at a block that has just been mined.
    pub fn observe(&mut self, chain: &Chain, block: &BlockSummary) {
        self.follow(chain, block.number);
        self.compare(chain);
        if let Some(history) = &mut self.history {
            history.insert(block.number, self.books.clone());
            if history.len() > HISTORY_BLOCKS_MAX {
                history.pop_first();
            }
        }
    }

    /// All blocks after `latest` are undone.
    pub fn rewind(&mut self, chain: &Chain, latest: u64) {
        self.done.retain(|_, block| *block <= latest);
        self.transfers.rewind(latest);
        let history = self.history.get_or_insert_default();
        history.split_off(&(latest + 1));
        match history.last_key_value() {
            Some((_, books)) => {
                self.books = books.clone();
                self.compare(chain);
            }
            None => self.violations.add(
                "chain-readable",
                format!("no books are kept of block {latest}, to which the chain has gone back"),
            ),
        }
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
        for failed in receipts.iter().filter(|receipt| !receipt.status()) {
            let round = self.books.tally().last_round;
            let (from, hash) = (failed.from, failed.transaction_hash);
            self.violations.checked("no-storm-of-reverts");
            if let Some((invariant, detail)) = self.failures.enter(round, from, hash) {
                self.violations
                    .add(invariant, format!("block {number}: {detail}"));
            }
        }
        for receipt in receipts.iter().filter(|receipt| receipt.status()) {
            let input = chain.transaction(&receipt.transaction_hash).map(|tx| {
                use alloy::consensus::Transaction as _;
                (tx.inner.signer(), tx.input().clone())
            });
            if let (Some((from, data)), Some(to)) = (&input, receipt.to) {
                self.once(*from, to, data, number);
                self.transferred(*from, to, data, number);
            }
            for log in receipt.inner.logs() {
                if let Some(name) = events::name(&self.deployment, &log.inner) {
                    *self.events.entry(name).or_default() += 1;
                }
            }
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
        self.violations.checked("chain-readable");
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

    /// A call with arguments to Coordinator or Core names what it is about: the same wallet has no reason to do it twice.
    /// (Transfers of tokens may repeat; calls without arguments move rounds on; an execution names no round, so that two of
    /// updates without content are the same call, and the books count executions by round.)
    fn once(&mut self, from: Address, to: Address, data: &[u8], number: u64) {
        let ours = [self.deployment.coordinator, self.deployment.core];
        if !ours.contains(&to)
            || data.len() <= SELECTOR_BYTES
            || data.starts_with(&events::EXECUTE_SELECTOR)
        {
            return;
        }
        let key = (from, to, keccak256(data));
        let before = self.done.insert(key, number);
        self.violations
            .unless(before.is_none(), "transaction-once", || {
                let selector = alloy::hex::encode(&data[..SELECTOR_BYTES]);
                let before = before.unwrap_or_default();
                format!("{from} calls {selector} of {to} in block {number} as in block {before}")
            });
    }

    /// A call that sends SNO.
    fn transferred(&mut self, from: Address, to: Address, data: &[u8], number: u64) {
        if to != self.deployment.token {
            return;
        }
        let Ok(call) = Token::transferCall::abi_decode(data) else {
            return;
        };
        let made = (from, call.to, call.value);
        self.violations.checked("transfer-once");
        let times_forgotten = self.books.truth().times_forgotten(&made);
        if let Some((invariant, detail)) = self.transfers.enter(made, number, times_forgotten) {
            self.violations.add(invariant, detail);
        }
    }

    /// The account that is kept.
    pub(crate) fn books(&self) -> &Books {
        &self.books
    }

    /// The contracts.
    pub(crate) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// What has been counted so far.
    pub fn tally(&self) -> Tally {
        self.books.tally()
    }

    /// How often the contracts emitted each event, in blocks that were undone too.
    pub fn events(&self) -> BTreeMap<String, u64> {
        self.events.clone()
    }

    /// Workers that should have been paid by now, and were not. To be asked when everything is claimed.
    pub fn unpaid(&self) -> Vec<Address> {
        self.books.unpaid()
    }

    /// How often each validator was drawn to propose, and should have been.
    pub fn draws(&self) -> BTreeMap<Address, Drawn> {
        self.books.draws()
    }

    /// How often each invariant of the books was checked.
    pub fn checks(&self) -> BTreeMap<String, u64> {
        self.books.checks()
    }

    fn balances(&self, chain: &Chain) -> Result<Balances, smartnodes_evm::chain::ChainError> {
        let token = self.deployment.token;
        let unclaimed = chain.read(token, &Token::s_totalUnclaimedCall {})?;
        let escrowed = chain.read(token, &Token::s_totalEscrowedCall {})?;
        let released = chain.read(token, &Token::s_releasedCall {})?;
        let credits = chain.read(token, &Token::s_totalCreditsCall {})?;
        let proposals = chain.read(
            self.deployment.coordinator,
            &Coordinator::getProposalsCall {},
        )?;
        Ok(Balances {
            eth: EthHeld {
                all: chain
                    .balance(token, BlockId::latest())
                    .map_err(CallError::Block)?,
                owned: [unclaimed.eth, escrowed.eth, released.eth, credits.eth],
            },
            supply: chain.read(token, &Token::totalSupplyCall {})?,
            unclaimed: unclaimed.sno,
            escrowed: escrowed.sno,
            escrowed_eth: escrowed.eth,
            last_distribution: chain.read(token, &Token::s_currentDistributionIdCall {})?,
            proposals: proposals
                .into_iter()
                .map(|proposal| (proposal.proposalHash, proposal.votes.into()))
                .collect(),
        })
    }
}
