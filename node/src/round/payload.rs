//! A state update's payload: everything that a proposal hash stands for, and the receipts that it rests on.
//!
//! [`Aggregate`] is the one way to get from receipts to a payload. The proposer takes it to propose, and every voter takes
//! it again on its own copies of the receipts: two honest validators get the same bytes.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Keccak256, U256};
use serde::{Deserialize, Serialize};
use smartnodes_evm::reward_tree::{RewardTree, RewardTreeError};
use smartnodes_evm::state_update::{
    ReputationChange, StateUpdate, capacities_hash, proposal_hash, workers_hash,
};

pub use super::aggregate::Aggregate;
use crate::jobs::receipt::Receipt;
#[cfg(doc)]
use crate::jobs::receipt::Slot;
use crate::signed::{Domain, SignatureError, Signed, Statement};

/// Most receipts in one payload; the rest is carried over.
pub const RECEIPTS_MAX: usize = 5_000;
/// Most workers in one payload.
pub const WORKERS_MAX: usize = 10_000;
/// Gas that the jobs and the reputation changes of one payload may come to. An update is executed by one transaction, which
/// may have 16,777,216 (EIP-7825); 7,000,000 of it are for all that does not depend on the payload (`evm/gas.snap` has
/// 6,872,158 with the most voters that are paid at once). A payload beyond it could never be executed, nor could any of
/// the rounds after it that inherit its receipts.
pub const EXECUTION_GAS_MAX: u64 = 9_000_000;
/// Gas to complete a paid job, rounded up.
pub const JOB_GAS: u64 = 20_000;
/// Gas to change the reputation of an account for the first time, rounded up.
pub const REPUTATION_CHANGE_GAS: u64 = 30_000;

/// The data of one state update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Round of the Coordinator.
    pub round: u64,
    /// Distribution that the update creates.
    pub distribution_id: u64,
    /// Receipts settled: id and slot ([`Slot::hash`]), ascending by id.
    pub receipts: Vec<(B256, B256)>,
    /// Capacity (work units) of each worker, one leaf for each account, ascending by address.
    pub workers: Vec<(Address, u128)>,
    /// Paid jobs completed, ascending.
    pub jobs: Vec<B256>,
    /// Validators to remove, ascending.
    pub validators_to_remove: Vec<Address>,
    /// Reputation changes, ascending by address.
    pub reputation_changes: Vec<(Address, i16)>,
}

/// Why no update follows from a payload or a set of receipts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The reward tree refuses the leaves.
    #[error("no reward tree: {0}")]
    Tree(String),
    /// Two receipts for one piece of work.
    #[error("receipt {0} settles work that another receipt in the payload settles")]
    DuplicateWork(B256),
    /// The sum of the capacities does not fit.
    #[error("the total capacity overflows 128 bits")]
    Overflow,
    /// Over the limits.
    #[error("{what}: {found}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// No transaction can execute it.
    #[error(
        "{jobs} jobs and {reputation_changes} reputation changes take {gas} gas to execute, at most {EXECUTION_GAS_MAX} are allowed"
    )]
    Gas {
        /// Paid jobs completed.
        jobs: usize,
        /// Reputations changed.
        reputation_changes: usize,
        /// Gas that they take.
        gas: u64,
    },
}

impl From<RewardTreeError> for PayloadError {
    fn from(error: RewardTreeError) -> Self {
        Self::Tree(error.to_string())
    }
}

impl Payload {
    /// What follows from these receipts, given by id. The result does not depend on their order.
    pub fn aggregate<'a>(
        round: u64,
        distribution_id: u64,
        receipts: impl IntoIterator<Item = (B256, &'a Receipt)>,
        domain: &Domain,
    ) -> Result<Self, PayloadError> {
        let receipts: BTreeMap<B256, &Receipt> = receipts.into_iter().collect();
        let mut aggregate = Aggregate::new(*domain);
        for (id, receipt) in receipts {
            aggregate.add(id, receipt)?;
        }
        aggregate.payload(round, distribution_id)
    }

    /// Refuses a payload that one update has no room for.
    pub(super) fn check_limits(&self) -> Result<(), PayloadError> {
        check_count("receipts", self.receipts.len(), RECEIPTS_MAX)?;
        check_count("workers", self.workers.len(), WORKERS_MAX)?;
        check_gas(self.jobs.len(), self.reputation_changes.len())
    }

    /// The tree of the workers' rewards; `None` if nobody worked.
    pub fn tree(&self) -> Result<Option<RewardTree>, PayloadError> {
        if self.workers.is_empty() {
            return Ok(None);
        }
        let leaves = self
            .workers
            .iter()
            .map(|(worker, capacity)| (*worker, U256::from(*capacity)))
            .collect();
        Ok(Some(RewardTree::new(self.distribution_id, leaves)?))
    }

    /// The call data of the update.
    pub fn state_update(&self) -> Result<StateUpdate, PayloadError> {
        let total = self
            .workers
            .iter()
            .try_fold(0u128, |sum, (_, capacity)| sum.checked_add(*capacity))
            .ok_or(PayloadError::Overflow)?;
        let accounts: Vec<Address> = self.workers.iter().map(|(worker, _)| *worker).collect();
        let capacities: Vec<U256> = self
            .workers
            .iter()
            .map(|(_, capacity)| U256::from(*capacity))
            .collect();
        Ok(StateUpdate {
            merkleRoot: self.tree()?.map_or(B256::ZERO, |tree| tree.root()),
            totalCapacity: U256::from(total),
            validatorsToRemove: self.validators_to_remove.clone(),
            jobIds: self.jobs.clone(),
            workersHash: workers_hash(&accounts),
            capacitiesHash: self.evidence_hash(capacities_hash(&capacities)),
            reputationChanges: self
                .reputation_changes
                .iter()
                .map(|(account, delta)| ReputationChange {
                    account: *account,
                    delta: *delta,
                })
                .collect(),
        })
    }

    /// The contract binds `capacitiesHash` without reading it. It covers the list of receipts too, so that a proposal
    /// hash has exactly one payload: the payload is content-addressed.
    fn evidence_hash(&self, capacities_hash: B256) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(capacities_hash);
        for (id, slot) in &self.receipts {
            hasher.update(id);
            hasher.update(slot);
        }
        hasher.finalize()
    }

    /// The hash that is proposed and voted for.
    pub fn proposal_hash(&self, domain: &Domain) -> Result<B256, PayloadError> {
        Ok(proposal_hash(
            domain.chain_id,
            domain.coordinator,
            self.round,
            &self.state_update()?,
        ))
    }
}

fn check_count(what: &'static str, found: usize, max: usize) -> Result<(), PayloadError> {
    if found > max {
        Err(PayloadError::TooMany { what, found, max })
    } else {
        Ok(())
    }
}

/// Refuses more jobs and reputation changes than one transaction has the gas for.
pub(super) fn check_gas(jobs: usize, reputation_changes: usize) -> Result<(), PayloadError> {
    let gas = (jobs as u64)
        .saturating_mul(JOB_GAS)
        .saturating_add((reputation_changes as u64).saturating_mul(REPUTATION_CHANGE_GAS));
    if gas > EXECUTION_GAS_MAX {
        return Err(PayloadError::Gas {
            jobs,
            reputation_changes,
            gas,
        });
    }
    Ok(())
}

/// A payload under the hash that it yields, as it travels and as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPayload {
    /// Who publishes it.
    pub publisher: Address,
    /// The hash that the payload yields, and its key.
    pub proposal_hash: B256,
    /// The payload.
    pub payload: Payload,
}

impl Statement for PublishedPayload {
    const TAG: &'static str = "payload";
}

/// A signed [`PublishedPayload`].
pub type SignedPayload = Signed<PublishedPayload>;

/// Why a published payload is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishedError {
    /// Not signed by whom it names.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It yields no update.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// It yields another hash than the one that it is published under.
    #[error("the payload yields the hash {found}, but was published under {expected}")]
    WrongHash {
        /// The hash that it was published under.
        expected: B256,
        /// The hash that it yields.
        found: B256,
    },
}

impl SignedPayload {
    /// Checks signature and content address.
    pub fn check(&self, domain: &Domain) -> Result<(), PublishedError> {
        self.body.payload.check_limits()?;
        self.verify(domain, self.body.publisher)?;
        let found = self.body.payload.proposal_hash(domain)?;
        if found != self.body.proposal_hash {
            return Err(PublishedError::WrongHash {
                expected: self.body.proposal_hash,
                found,
            });
        }
        Ok(())
    }
}
