//! Makes reports whose numbers come from the deployed contracts and from the simulator's sweeps.
//!
//! [`emission`] executes decades of state updates on the contracts' bytecode and puts what they mint beside the closed
//! form; [`consensus`] asks the contract, combinatorics and simulations what the threshold protects from; [`run`] tells
//! what a [`sweep`] found. What a report says is a [`document`]: prose that names cells of its [`table`]s, and
//! [`picture`]s. It is a directory that appears as a whole or not at all ([`output`]); equal inputs give equal bytes.
//!
//! What this crate never does: read a clock or draw randomness that a report would show.

pub mod consensus;
pub mod document;
pub mod emission;
pub mod network;
pub mod output;
pub mod picture;
pub mod run;
pub mod stats;
pub mod sweep;
pub mod table;
pub mod units;
