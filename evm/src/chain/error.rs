//! What can go wrong, as types: refused transactions, blocks that cannot be mined, failed calls, lost history.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::{Panic, Revert, SolError},
};
use thiserror::Error;

/// Why the mempool refused a transaction. The texts begin as geth's do, because clients match on them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TxError {
    /// The bytes are not a signed transaction.
    #[error("rlp: not a signed transaction: {0}")]
    Decode(String),
    /// More bytes than a transaction may have.
    #[error("oversized data: transaction size {size} bytes, limit {limit}")]
    Oversized {
        /// Encoded size, in bytes.
        size: usize,
        /// Greatest size allowed, in bytes.
        limit: usize,
    },
    /// An envelope type that this chain does not run (blob and set-code transactions).
    #[error(
        "transaction type not supported: type {0}; send a legacy, EIP-2930 or EIP-1559 transaction"
    )]
    Type(u8),
    /// A legacy signature that is valid on every chain.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// The transaction's chain id.
        have: u64,
        /// This chain's id.
        want: u64,
    },
    /// The signature is malformed or recovers to nobody.
    #[error("invalid sender: {0}")]
    Signature(String),
    /// The very same transaction waits already.
    #[error("already known")]
    AlreadyKnown,
    /// The account has used this nonce.
    #[error("nonce too low: address {address}, tx: {tx} state: {state}")]
    NonceTooLow {
        /// The sender.
        address: Address,
        /// The transaction's nonce.
        tx: u64,
        /// The account's next nonce.
        state: u64,
    },
    /// The last nonce cannot be used (EIP-2681).
    #[error("nonce has max value: address {0}")]
    NonceMax(Address),
    /// A waiting transaction with the same nonce pays nearly as much or more.
    #[error(
        "replacement transaction underpriced: both fees must rise by 10 %, to max fee {max_fee_min} and priority fee \
         {priority_fee_min} wei at least"
    )]
    ReplacementUnderpriced {
        /// Least maximum fee that would replace, in wei for each unit of gas.
        max_fee_min: u128,
        /// Least priority fee that would replace, in wei for each unit of gas.
        priority_fee_min: u128,
    },
    /// The sender cannot pay for this transaction and those that it has waiting.
    #[error(
        "insufficient funds for gas * price + value: address {address} have {have} want {want}"
    )]
    InsufficientFunds {
        /// The sender.
        address: Address,
        /// Its balance, in wei.
        have: U256,
        /// What all its waiting transactions may cost at most, in wei.
        want: U256,
    },
    /// The gas limit does not even pay for the transaction's bytes.
    #[error("intrinsic gas too low: have {have}, want {want}")]
    IntrinsicGas {
        /// The transaction's gas limit.
        have: u64,
        /// Least gas limit.
        want: u64,
    },
    /// The gas limit is above the block's.
    #[error("exceeds block gas limit: tx {have}, block {limit}")]
    GasLimit {
        /// The transaction's gas limit.
        have: u64,
        /// The block's gas limit.
        limit: u64,
    },
    /// The priority fee is above the fee that contains it.
    #[error(
        "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas {priority}, maxFeePerGas {max}"
    )]
    TipAboveFeeCap {
        /// Maximum priority fee, in wei for each unit of gas.
        priority: u128,
        /// Maximum fee, in wei for each unit of gas.
        max: u128,
    },
    /// Init code above EIP-3860's limit.
    #[error("max initcode size exceeded: code size {size}, limit {limit}")]
    InitCodeSize {
        /// Size of the init code, in bytes.
        size: usize,
        /// Greatest size allowed, in bytes.
        limit: usize,
    },
    /// Contracts do not sign transactions (EIP-3607).
    #[error("sender not an eoa: address {0} has code")]
    SenderHasCode(Address),
    /// Too many transactions wait.
    #[error("txpool is full: {limit} transactions wait{}", sender_suffix(.sender))]
    PoolFull {
        /// The limit that was reached.
        limit: usize,
        /// The sender, when the limit is one sender's.
        sender: Option<Address>,
    },
    /// The EVM refused to run it when its turn came.
    #[error("invalid transaction: {0}")]
    Invalid(String),
    /// A key that could not sign.
    #[error("signing failed: {0}")]
    Sign(String),
}

fn sender_suffix(sender: &Option<Address>) -> String {
    sender
        .map(|address| format!(" from {address}"))
        .unwrap_or_default()
}

/// Why no block was mined.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MineError {
    /// Timestamps strictly increase from block to block.
    #[error(
        "block timestamp {timestamp} s is not after its parent's, {parent} s: mine with a later time"
    )]
    Timestamp {
        /// The timestamp asked for, in seconds.
        timestamp: u64,
        /// The parent's timestamp, in seconds.
        parent: u64,
    },
    /// Time ran out of numbers.
    #[error("block timestamp exceeds 64 bits: use smaller times and offsets")]
    TimestampOverflow,
}

/// Why a block, or the state after it, cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// No such block on this chain.
    #[error("header not found")]
    Unknown,
    /// The block was there, but its history is no longer kept.
    #[error("pruned history unavailable: the oldest block kept is {oldest}")]
    Pruned {
        /// Number of the oldest block that can be seen.
        oldest: u64,
    },
}

/// Why a call or a gas estimate gave no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// The contract reverted.
    #[error("{0}")]
    Reverted(Reverted),
    /// Execution stopped without a revert: out of gas, invalid opcode and the like.
    #[error("{reason} (gas used {gas_used})")]
    Halted {
        /// What stopped it.
        reason: String,
        /// Gas that was spent, all of the limit.
        gas_used: u64,
    },
    /// The call's own fields are impossible.
    #[error("{0}")]
    Invalid(String),
    /// Even the greatest possible gas limit does not suffice.
    #[error("gas required exceeds allowance ({allowance})")]
    GasAllowance {
        /// The greatest gas limit tried.
        allowance: u64,
    },
    /// The block whose state was asked for is not there.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// A revert: the bytes that the contract gave, and what they say.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("execution reverted{}", self.reason_suffix())]
pub struct Reverted {
    /// The revert data: `Error(string)`, `Panic(uint256)`, a custom error, or nothing.
    pub data: Bytes,
}

impl Reverted {
    /// The reason in words: the text of `Error(string)`, the meaning of `Panic(uint256)`, the selector of a custom error.
    /// `None` when the data says nothing.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        if let Ok(revert) = Revert::abi_decode(&self.data) {
            return Some(revert.reason);
        }
        if let Ok(panic) = Panic::abi_decode(&self.data) {
            return Some(match panic.kind() {
                Some(kind) => format!("panic: {} (0x{:02x})", kind.as_str(), kind as u32),
                None => format!("panic: unknown code 0x{:x}", panic.code),
            });
        }
        self.data
            .get(..4)
            .map(|selector| format!("custom error 0x{}", alloy::hex::encode(selector)))
    }

    /// The custom error `E`, if the data is one.
    #[must_use]
    pub fn custom<E: SolError>(&self) -> Option<E> {
        E::abi_decode(&self.data).ok()
    }

    fn reason_suffix(&self) -> String {
        self.reason()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default()
    }
}

/// Why the chain could not go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RewindError {
    /// No snapshot with this id; it was never taken, or reverted already, or a reorganisation removed its block.
    #[error("no snapshot {0}: each can be reverted once, and one that is older removes it")]
    UnknownSnapshot(u64),
    /// The blocks in between are no longer kept.
    #[error(
        "cannot go back to block {target}: the oldest block kept is {oldest}; raise history_blocks_max"
    )]
    Pruned {
        /// The block to return to.
        target: u64,
        /// Number of the oldest block that is kept.
        oldest: u64,
    },
    /// Deeper than the chain is long.
    #[error("cannot remove {depth} blocks of a chain whose latest block is {latest}")]
    Depth {
        /// Blocks to remove.
        depth: u64,
        /// Number of the latest block.
        latest: u64,
    },
    /// Too many snapshots are held.
    #[error("{0} snapshots are held already: revert to one first")]
    TooManySnapshots(usize),
}

/// Any failure of the in-process conveniences ([`Chain::transact`](super::Chain::transact) and its siblings).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChainError {
    /// The mempool refused the transaction.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The block could not be mined.
    #[error(transparent)]
    Mine(#[from] MineError),
    /// The call, or the estimate before a transaction, failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The transaction was mined and failed; it used its nonce and gas.
    #[error("transaction {hash} failed: {error}")]
    Failed {
        /// The transaction.
        hash: B256,
        /// Why it failed.
        error: CallError,
    },
    /// The transaction waits: its fee is below the base fee, its nonce is ahead, or the block was full.
    #[error(
        "transaction {0} was not included in the block that was mined for it: raise its fee or send the missing nonce"
    )]
    NotIncluded(B256),
    /// The answer of a contract is not what its interface says.
    #[error("cannot decode the answer of {contract}: {error}")]
    Decode {
        /// The contract that was called.
        contract: Address,
        /// What the decoder said.
        error: String,
    },
}

impl ChainError {
    /// The revert behind this error, if a contract reverted.
    #[must_use]
    pub fn reverted(&self) -> Option<&Reverted> {
        match self {
            Self::Call(CallError::Reverted(reverted)) => Some(reverted),
            Self::Failed {
                error: CallError::Reverted(reverted),
                ..
            } => Some(reverted),
            _ => None,
        }
    }
}
