//! The client against the contracts on the chain in the process, behind a transport that can fail.

mod endpoints;
mod round;
mod transactions;
mod world;
