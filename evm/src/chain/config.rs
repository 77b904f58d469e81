//! What a chain is made of: identity, timing, limits and the genesis balances.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use thiserror::Error;

/// Blocks whose hashes the `BLOCKHASH` opcode can reach; a chain may not forget them.
pub const BLOCK_HASHES_REACHABLE: u64 = 256;

/// Gas that the cheapest possible transaction needs; a block that cannot hold one is useless.
const GAS_LIMIT_MIN: u64 = 21_000;

/// How to build a [`Chain`](super::Chain). The defaults resemble Base: blocks of 60 million gas every two seconds and a
/// base fee of 0.01 gwei.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    /// Chain id (EIP-155) that every signature binds.
    pub chain_id: u64,
    /// Timestamp of the genesis block, in seconds since the Unix epoch.
    pub start_timestamp: u64,
    /// Gas limit of each block, and so of each transaction, call and estimate.
    pub gas_limit: u64,
    /// Base fee of the first blocks, in wei for each unit of gas. It stays constant until
    /// [`Chain::set_base_fee`](super::Chain::set_base_fee) changes it.
    pub base_fee: u64,
    /// Seconds between two blocks, where the chain itself chooses the next timestamp
    /// ([`Chain::advance_to`](super::Chain::advance_to), [`Chain::transact`](super::Chain::transact)).
    pub block_time_seconds: u64,
    /// Balances at genesis, in wei.
    pub balances: BTreeMap<Address, U256>,
    /// Seed of the chain's randomness (`PREVRANDAO`). It is in no block, so nobody on the chain can foresee or choose
    /// the values; equal seeds and equal blocks give equal values.
    pub randomness_seed: B256,
    /// How many blocks the tags `safe` and `finalized` lag behind `latest`.
    pub finality_depth_blocks: u64,
    /// How many recent blocks keep their headers, transactions, receipts and undo logs. Older ones are forgotten: views
    /// of them fail with "pruned", and neither a snapshot nor a reorganisation can go back beyond them.
    pub history_blocks_max: u64,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            chain_id: 31_337,
            start_timestamp: 1_767_225_600, // 2026-01-01T00:00:00Z
            gas_limit: 60_000_000,
            base_fee: 10_000_000,
            block_time_seconds: 2,
            balances: BTreeMap::new(),
            randomness_seed: B256::ZERO,
            finality_depth_blocks: 10,
            history_blocks_max: 100_000,
        }
    }
}

/// A [`ChainConfig`] that no chain can be built from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The chain id is zero, which EIP-155 reserves for "no chain".
    #[error("chain_id is 0: give the chain an id of 1 or more")]
    ChainId,
    /// Blocks too small for a single transaction.
    #[error("gas_limit {0} is below {GAS_LIMIT_MIN}, the gas of one transfer: raise it")]
    GasLimit(u64),
    /// Blocks without a distance in time.
    #[error("block_time_seconds is 0: block timestamps strictly increase, so use 1 or more")]
    BlockTime,
    /// Less history than the `BLOCKHASH` opcode reaches.
    #[error(
        "history_blocks_max {0} is below {BLOCK_HASHES_REACHABLE}, the reach of the BLOCKHASH opcode: raise it"
    )]
    History(u64),
    /// More history asked of the `safe` and `finalized` tags than is kept.
    #[error(
        "finality_depth_blocks {depth} is not below history_blocks_max {history}: lower the first or raise the second"
    )]
    FinalityDepth {
        /// The configured depth, in blocks.
        depth: u64,
        /// The configured history, in blocks.
        history: u64,
    },
}

impl ChainConfig {
    /// Checks what the types cannot say.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.chain_id == 0 {
            return Err(ConfigError::ChainId);
        }
        if self.gas_limit < GAS_LIMIT_MIN {
            return Err(ConfigError::GasLimit(self.gas_limit));
        }
        if self.block_time_seconds == 0 {
            return Err(ConfigError::BlockTime);
        }
        if self.history_blocks_max < BLOCK_HASHES_REACHABLE {
            return Err(ConfigError::History(self.history_blocks_max));
        }
        if self.finality_depth_blocks >= self.history_blocks_max {
            return Err(ConfigError::FinalityDepth {
                depth: self.finality_depth_blocks,
                history: self.history_blocks_max,
            });
        }
        Ok(())
    }
}
