//! skeleton

pub mod chain;
pub mod rpc;
