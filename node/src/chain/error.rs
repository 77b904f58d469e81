//! What can go wrong between the node and the chain.

use alloy::primitives::{Address, B256};

use crate::store::StoreError;

/// A view or a transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The endpoint serves another chain than the deployment's.
    #[error(
        "the RPC endpoint serves chain {found}, the deployment is on chain {expected}; correct chain.rpc or the deployment file"
    )]
    WrongChain {
        /// The deployment's chain id.
        expected: u64,
        /// The endpoint's chain id.
        found: u64,
    },
    /// The deployment names an address without code.
    #[error(
        "no contract at {address}, where the deployment says {contract} is; correct the deployment file, or wait until the node behind the RPC endpoint has caught up"
    )]
    NoContract {
        /// Which contract.
        contract: &'static str,
        /// The address without code.
        address: Address,
    },
    /// The endpoint did not answer, or not in time.
    #[error(
        "the chain did not answer {method} after {attempts} attempts: {reason}; check that chain.rpc is reachable"
    )]
    Unreachable {
        /// The JSON-RPC method.
        method: &'static str,
        /// How often it was tried.
        attempts: u32,
        /// What happened the last time.
        reason: String,
    },
    /// No endpoint is configured.
    #[error("chain.rpc names no endpoint; name at least one")]
    NoEndpoint,
    /// The endpoints do not agree, and no majority of those that answered does.
    #[error(
        "{answers} RPC endpoints contradict each other about block {block}; find out which of chain.rpc is wrong and remove it, or name a third"
    )]
    Contradiction {
        /// The block's number.
        block: u64,
        /// How many answered.
        answers: usize,
    },
    /// Only two endpoints answer, and one of them is ahead of the other.
    #[error(
        "of two RPC endpoints one is at block {behind}, the other at block {ahead}, {seconds} s later, and nobody can tell which of them is right; name a third in chain.rpc, or remove the one that lags or lies"
    )]
    Apart {
        /// The lower of their latest blocks.
        behind: u64,
        /// The higher one.
        ahead: u64,
        /// Time between them, in seconds.
        seconds: u64,
    },
    /// The endpoint answered with an error that is not a revert.
    #[error("the chain refused {method}: {message} (code {code})")]
    Rpc {
        /// The JSON-RPC method.
        method: &'static str,
        /// JSON-RPC error code.
        code: i64,
        /// The endpoint's words.
        message: String,
    },
    /// The endpoint answered with something that does not mean what it should.
    #[error(
        "the chain answered {method} with something unexpected: {reason}; the deployment file may be of other contracts"
    )]
    Response {
        /// The JSON-RPC method or contract function.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A contract refuses the call. Found before anything was sent.
    #[error("the contract refuses to {what}: {name}{details}")]
    Reverted {
        /// The intent or view.
        what: String,
        /// The custom error's name, `Error` for a revert with a message, `Panic` for a Solidity panic.
        name: String,
        /// Its arguments or message, in parentheses; empty if it has none.
        details: String,
    },
    /// A transaction was mined, but the contract refused it. It may be tried again.
    #[error("the transaction {hash} to {what} was mined and failed: {reason}")]
    Failed {
        /// The intent.
        what: String,
        /// The transaction.
        hash: B256,
        /// The contract's error, found by replaying the call.
        reason: String,
    },
    /// The endpoint will not take the transaction. Nothing was sent on.
    #[error(
        "the chain does not accept the transaction to {what}: {message}; check that the wallet {wallet} has ETH for gas"
    )]
    Refused {
        /// The intent.
        what: String,
        /// The sender.
        wallet: Address,
        /// The endpoint's words.
        message: String,
    },
    /// The transaction waits, and was not mined however much its fees were raised. It may still be: sending the same
    /// intent again goes on waiting for it.
    #[error(
        "the transaction to {what} (nonce {nonce}, last hash {hash}) is not mined after {attempts} fee bids; it is still pending"
    )]
    NotMined {
        /// The intent.
        what: String,
        /// The transaction's nonce.
        nonce: u64,
        /// The last of its hashes.
        hash: B256,
        /// How many were sent, each with higher fees.
        attempts: usize,
    },
    /// The wallet's key could not sign.
    #[error("the wallet could not sign the transaction to {what}: {reason}")]
    Signing {
        /// The intent.
        what: String,
        /// The signer's reason.
        reason: String,
    },
    /// The journal could not be read or written, so nothing was sent.
    #[error(transparent)]
    Store(#[from] StoreError),
}
