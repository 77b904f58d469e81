//! Reads the contracts and sends transactions, over any JSON-RPC transport that alloy can drive.
//!
//! [`ChainClient`] has typed views of the contracts, and is the one owner of its wallet's nonce: whoever wants something
//! done on chain hands over an [`Intent`] and waits until it is mined and confirmed. An intent happens at most once, also
//! across restarts, because each transaction is journalled in the [`Store`](crate::store::Store) before it is sent.
//!
//! Chains reorganise: what counted as done and is undone is sent again as it was signed ([`ChainClient::redo_undone`]).
//! Endpoints lag and lie: where there are several, what decides anything is what most of them say
//! ([`ChainClient::cross_check`]).
//!
//! Requests that fail are repeated a bounded number of times, then reported as [`ChainError::Unreachable`]: success is
//! never assumed. Nothing here spawns a task; all waiting is on the node's own clock.

mod bids;
mod client;
mod endpoints;
mod error;
mod gas;
mod intent;
mod journal;
mod nonces;
mod reorgs;
mod revert;
#[cfg(test)]
pub(crate) mod tests;
mod transactions;
mod views;

pub use client::{ChainClient, ChainSettings};
pub use error::ChainError;
pub use intent::Intent;
pub use journal::Mined;
pub use views::{
    Credits, Distribution, ExecutedUpdate, Head, JobState, OnChainJob, Proposal, RoundPhase,
    RoundStatus,
};
