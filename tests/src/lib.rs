//! Runs a local Smartnodes network of real processes on real sockets, and checks what comes of it.
//!
//! [`chain_host`] serves the contracts on an embedded chain over HTTP, with a block each second; [`layout`] writes keys and
//! configurations; [`process`] starts, asks and stops `smartnode` processes; [`story`] makes the network live through its
//! first state updates and checks every claim. Nothing outlives the program: processes end and files go on every way out.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes, files and clocks are the point here"
)]

pub mod chain_host;
pub mod error;
pub mod layout;
pub mod process;
pub mod story;
