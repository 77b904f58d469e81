//! Reads the contracts and sends transactions, over any JSON-RPC transport that alloy can drive.
//!
//! [`ChainClient`] has typed views of the contracts, and is the one owner of its wallet's nonce: whoever wants something
//! done on chain hands over an [`Intent`] and waits until it is mined and confirmed. An intent happens at most once, also
//! across restarts, because each transaction is journalled in the [`Store`](crate::store::Store) before it is sent.
//!
//! Requests that fail are repeated a bounded number of times, then reported as [`ChainError::Unreachable`]: success is
//! never assumed. Nothing here spawns a task; all waiting is on the node's own clock.

mod client;
mod endpoints;
mod error;
mod intent;
mod journal;
mod revert;
#[cfg(test)]
mod tests;
mod transactions;
mod views;

pub use client::{ChainClient, ChainSettings};
pub use error::ChainError;
pub use intent::Intent;
pub use journal::Mined;
pub use views::{
    Distribution, ExecutedUpdate, Head, JobState, OnChainJob, Proposal, RoundPhase, RoundStatus,
};
