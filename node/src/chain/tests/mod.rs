//! The client against the contracts on the chain in the process, behind a transport that can fail.

mod boundaries;
mod crashes;
mod endpoints;
mod lies;
mod payload_gas;
mod reorgs;
mod round;
mod transactions;
pub(crate) mod world;
