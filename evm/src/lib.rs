//! Hosts the Smartnodes contracts for Rust: typed bindings, deployment to any chain, the reward tree, the emission
//! schedule, and a revm-backed chain with a JSON-RPC interface for wherever a real chain is not wanted.
//!
//! What this crate never does: read a clock, draw entropy or start a thread. Time comes from the caller.

pub mod bindings;
pub mod chain;
pub mod deployment;
pub mod emission;
pub mod names;
pub mod reward_tree;
pub mod rpc;
pub mod state_update;
