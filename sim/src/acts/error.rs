//! Why an act could not be played to its end.

use alloy::primitives::B256;
use smartnodes_evm::chain::ChainError;
use smartnodes_scenarios::HostName;

/// Why an act could not be played to its end. A transaction that a contract reverts is none of these: it is an effect.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No such host.
    #[error("{0} is not in this scenario")]
    NoHost(HostName),
    /// The deployment has no stake for a validator.
    #[error("{0} has no stake to claim: only a validator without a seat at the start has one")]
    NoStake(HostName),
    /// A wallet does not sign.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// The chain refuses a transaction before it is in a block.
    #[error("the chain refuses a transaction: {0}")]
    Refused(String),
    /// A view of a contract.
    #[error("cannot read a contract: {0}")]
    Read(#[from] ChainError),
    /// A transaction that created no contract.
    #[error("transaction {0} created no contract")]
    NotCreated(B256),
    /// What is in the contracts' books is something else than the act brings about.
    #[error("{what} is {found}, and should be {expected}")]
    Books {
        /// What was looked at.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}
