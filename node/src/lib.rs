//! Runs a Smartnodes node: validator, worker or user, over libp2p, against any EVM chain.
//!
//! A message's way can be walked through the folders: [`p2p`] (swarm, handshake, records) → [`jobs`] (life cycle,
//! receipts) → [`work`] (workloads, verification) → [`round`] (aggregate, propose, judge, vote, execute, claim) →
//! [`chain`] (views, transactions), with [`store`] under all and [`roles`] wiring them. [`node`] puts a node together
//! from five replaceable parts: runtime (clock and entropy come with it), wire, chain endpoint, disk and keys.
//!
//! What a node never does: read the wall clock (timing follows the chain, [`clock`]), start a thread, or believe
//! anything that it has not verified itself.

pub mod chain;
#[cfg(not(madsim))]
pub mod cli;
pub mod clock;
pub mod failpoint;
pub mod identity;
pub mod jobs;
#[cfg(not(madsim))]
pub mod keystore;
pub mod node;
pub mod p2p;
pub mod roles;
pub mod round;
pub mod signed;
pub mod store;
pub mod tasks;
#[cfg(test)]
mod testing;
pub mod work;
