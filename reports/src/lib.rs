//! Makes reports whose numbers come from the deployed contracts.
//!
//! [`emission`] executes decades of state updates on the contracts' bytecode and puts what they mint beside the closed
//! form. A report is a directory that appears as a whole or not at all ([`output`]); equal inputs give equal bytes.
//!
//! What this crate never does: read a clock or draw randomness that a report would show.

pub mod emission;
pub mod output;
