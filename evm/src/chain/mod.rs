//! Runs an EVM chain inside the process: blocks, mempool, state, logs and history, driven only by its caller.
//!
//! ```text
//!   submit_raw ─┐                    ┌─ call, estimate_gas, read
//!   send        ├─► mempool ─ mine ─►├─ block, transaction, receipt, logs, fee_history
//!   impersonate ┘   (time, order)    └─ balance, nonce, code, storage
//! ```
//!
//! The chain is synchronous and single-threaded. It reads no clock and no entropy: time comes with
//! [`mine`](Chain::mine) or [`advance_to`](Chain::advance_to), randomness from
//! [`randomness_seed`](ChainConfig::randomness_seed). Equal inputs give equal block hashes, in any process. It never
//! retries, logs, sleeps or talks to a network; [`crate::rpc`] puts JSON-RPC in front of it. It is `Send`, for hosts that
//! keep it behind a lock.
//!
//! # Use
//! ```
//! use alloy::{primitives::{Bytes, TxKind, U256, address}, signers::local::PrivateKeySigner};
//! use smartnodes_evm::chain::{Chain, ChainConfig};
//!
//! let signer = PrivateKeySigner::from_slice(&[7; 32])?;
//! let mut config = ChainConfig::default();
//! config.balances.insert(signer.address(), U256::from(10).pow(U256::from(18)));
//! let mut chain = Chain::new(config)?;
//!
//! // One transaction, one block, one receipt:
//! let to = address!("00000000000000000000000000000000000000aa");
//! let receipt = chain.transact(&signer, TxKind::Call(to), Bytes::new(), U256::from(5))?;
//! assert!(receipt.status());
//! assert_eq!(chain.balance(to, Default::default())?, U256::from(5));
//!
//! // Or with the caller's time: what waits is mined when the time has come.
//! let hash = chain.send(&signer, TxKind::Call(to), Bytes::new(), U256::from(6))?;
//! chain.advance_to(chain.timestamp() + 60)?; // 30 blocks of 2 s; the transaction is in the first
//! assert_eq!(chain.receipt(&hash).and_then(|receipt| receipt.block_number), Some(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is, and is not
//! - **Rules**: Prague, on revm. Transactions of the types legacy (EIP-155), 2930 and 1559.
//! - **Blocks**: the hash is that of the RLP header, which binds the parent and the roots of transactions and receipts. The
//!   state root is zero, for there is no state trie (and no `eth_getProof`). Empty blocks cost a header hash and some 100
//!   bytes. Tips go to [`FEE_RECIPIENT`].
//! - **Base fee**: constant, until [`set_base_fee`](Chain::set_base_fee).
//! - **Tags**: `pending` is `latest` (except for nonces, which count the mempool); `safe` and `finalized` lag behind
//!   `latest` by [`finality_depth_blocks`](ChainConfig::finality_depth_blocks).
//! - **History**: [`history_blocks_max`](ChainConfig::history_blocks_max) blocks keep bodies and undo logs, so the state
//!   after each of them can be called, and [`revert`](Chain::revert) and [`reorg`](Chain::reorg) can return to them.

mod admission;
mod blocks;
mod bloom;
mod call;
mod client;
mod clock;
mod config;
mod error;
mod history;
mod mine;
mod pool;
mod roots;
mod state;
mod view;

pub use admission::TX_BYTES_MAX;
pub use blocks::FEE_RECIPIENT;
pub use config::{BLOCK_HASHES_REACHABLE, ChainConfig, ConfigError};
pub use error::{BlockError, CallError, ChainError, MineError, Reverted, RewindError, TxError};
pub use history::SNAPSHOTS_MAX;
pub use mine::{Advance, BlockSummary};
pub use pool::{POOL_TRANSACTIONS_MAX, POOL_TRANSACTIONS_PER_SENDER_MAX, REPLACEMENT_BUMP_PERCENT};
pub use view::{FEE_HISTORY_BLOCKS_MAX, LogsError, SUGGESTED_PRIORITY_FEE};

use revm::context_interface::cfg::GasParams;

/// An EVM chain in memory. See the [module](self) for what it does.
#[derive(Debug)]
pub struct Chain {
    config: ChainConfig,
    gas_params: GasParams,
    accounts: state::Accounts,
    blocks: blocks::BlockStore,
    pool: pool::Mempool,
    /// Of the next block, in wei for each unit of gas.
    base_fee: u64,
    clock: clock::Clock,
    snapshots: history::Snapshots,
    blooms: bloom::Blooms,
}

// Hosts keep it behind a lock that several tasks share; a field that is not `Send` must not compile.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Chain>();
};

impl Chain {
    /// A chain with its genesis block.
    pub fn new(config: ChainConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut accounts = state::Accounts::default();
        for (address, balance) in &config.balances {
            accounts.fund(*address, *balance);
        }
        Ok(Self {
            gas_params: GasParams::new_spec(mine::SPEC),
            accounts,
            blocks: blocks::BlockStore::new(&config),
            pool: pool::Mempool::default(),
            base_fee: config.base_fee,
            clock: clock::Clock::starting_at(config.start_timestamp),
            snapshots: history::Snapshots::default(),
            blooms: bloom::Blooms::default(),
            config,
        })
    }

    /// What the chain was made from.
    #[must_use]
    pub fn config(&self) -> &ChainConfig {
        &self.config
    }
}
