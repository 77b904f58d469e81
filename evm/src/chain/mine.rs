//! Blocks: which transactions enter, how they run, and when.

use std::cmp::Reverse;

use alloy::{
    consensus::{EthereumReceipt, Transaction, TxEnvelope, Typed2718, transaction::Recovered},
    eips::eip2930::AccessList,
    primitives::{B256, U256},
};
use revm::{
    ExecuteEvm, MainnetEvm,
    context::{
        BlockEnv, Evm, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason},
    },
    context_interface::{FrameStack, block::BlobExcessGasAndPrice},
    handler::{EthPrecompiles, MainnetContext, instructions::EthInstructions},
    primitives::{eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE, hardfork::SpecId},
};

use super::{
    Chain,
    blocks::{BlockBody, FEE_RECIPIENT, MinedTx, NextBlock},
    bloom::Blooms,
    error::{CallError, MineError, Reverted, TxError},
    pool::{Origin, PooledTx},
    state::{HeadState, UndoLog},
};

/// The rules that the EVM follows. Prague is what Base runs at the least, and prices call data as Base does (EIP-7623).
pub(super) const SPEC: SpecId = SpecId::PRAGUE;

/// A block that was mined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSummary {
    /// Its number; genesis is 0.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its timestamp, in seconds since the Unix epoch.
    pub timestamp: u64,
    /// Gas that its transactions used.
    pub gas_used: u64,
    /// Its transactions, in order.
    pub transactions: Vec<B256>,
    /// Transactions that had become impossible and were thrown out of the mempool, with the reason.
    pub dropped: Vec<(B256, TxError)>,
}

/// The blocks that one [`Chain::advance_to`] mined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// How many, empty ones included.
    pub blocks: u64,
    /// Those with transactions, or with dropped ones.
    pub busy: Vec<BlockSummary>,
}

impl Advance {
    fn add(&mut self, summary: BlockSummary) {
        self.blocks += 1;
        if !summary.transactions.is_empty() || !summary.dropped.is_empty() {
            self.busy.push(summary);
        }
    }
}

/// What came of running the waiting transactions.
#[derive(Default)]
struct Execution {
    mined: Vec<MinedTx>,
    gas_used: u64,
    undo: UndoLog,
    dropped: Vec<(B256, TxError)>,
}

impl Chain {
    /// Mines one block at `timestamp` (seconds since the Unix epoch), which must be later than the latest block's.
    ///
    /// Transactions enter in the order of the tip that they pay, then of arrival; those of one sender in the order of
    /// their nonces; each only if its gas limit still fits.
    pub fn mine(&mut self, timestamp: u64) -> Result<BlockSummary, MineError> {
        let time = self.clock.read(timestamp)?;
        let parent = self.blocks.latest().timestamp;
        if time.chain_s <= parent {
            return Err(MineError::Timestamp {
                timestamp: time.chain_s,
                parent,
            });
        }
        self.clock = time.clock;
        Ok(self.produce(time.chain_s))
    }

    /// Mines every block that is due by `now` (seconds since the Unix epoch): one for each
    /// [`block_time_seconds`](super::ChainConfig::block_time_seconds) after the latest. What waits enters the first.
    ///
    /// A host that calls this before it answers a request needs no timer: the chain looks as if it had mined on time.
    pub fn advance_to(&mut self, now: u64) -> Result<Advance, MineError> {
        let mut advance = Advance::default();
        if self.clock.overrides_next() {
            advance.add(self.mine(now)?);
        }
        let time = self.clock.read(now)?;
        let step = self.config.block_time_seconds;
        while let Some(due) = self.blocks.latest().timestamp.checked_add(step)
            && due <= time.chain_s
        {
            let summary = self.produce(due);
            advance.add(summary);
        }
        self.clock = time.clock;
        Ok(advance)
    }

    /// Appends the block with this timestamp, which the caller has checked.
    pub(super) fn produce(&mut self, timestamp: u64) -> BlockSummary {
        let parent = self.blocks.latest();
        let block = NextBlock {
            number: self.blocks.latest_number() + 1,
            timestamp,
            base_fee: self.base_fee,
            prevrandao: self.blocks.prevrandao(parent.hash),
        };
        let Execution {
            mined,
            gas_used,
            undo,
            dropped,
        } = self.execute_waiting(&block);
        let transactions: Vec<B256> = mined.iter().map(|mined| *mined.tx.tx_hash()).collect();
        let body = (!mined.is_empty()).then(|| BlockBody::new(mined, gas_used, undo));
        let hash = self.blocks.push(block, body);
        BlockSummary {
            number: block.number,
            hash,
            timestamp,
            gas_used,
            transactions,
            dropped,
        }
    }

    fn execute_waiting(&mut self, block: &NextBlock) -> Execution {
        let mut execution = Execution::default();
        let stale = self.pool.take_stale(|sender| self.accounts.nonce(sender));
        execution.dropped = stale
            .into_iter()
            .map(|(pooled, state)| too_low(&pooled, state))
            .collect();
        let mut ready = self
            .pool
            .ready(block.base_fee, |sender| self.accounts.nonce(sender));
        if ready.is_empty() {
            return execution;
        }
        let Self {
            config,
            accounts,
            blocks,
            pool,
            blooms,
            ..
        } = self;
        let head = HeadState { accounts, blocks };
        let env = block_env(block, config.gas_limit);
        let mut evm = evm(head, config.chain_id, env);
        let mut log_index = 0;
        while let Some((_, Reverse(_), sender)) = ready.pop() {
            let nonce = evm.ctx.journaled_state.database.accounts.nonce(&sender);
            let Some(pooled) = pool.at(&sender, nonce) else {
                continue;
            };
            // A transaction that does not fit keeps its successors waiting too, as their nonces follow it.
            if pooled.tx.gas_limit() > config.gas_limit - execution.gas_used {
                continue;
            }
            let Some(pooled) = pool.remove(&sender, nonce) else {
                continue;
            };
            evm.ctx.cfg.disable_eip3607 = pooled.origin == Origin::Impersonated;
            match evm.transact(tx_env(&pooled.tx)) {
                Ok(outcome) => {
                    evm.ctx
                        .journaled_state
                        .database
                        .accounts
                        .commit(outcome.state, &mut execution.undo);
                    execution.gas_used += outcome.result.tx_gas_used();
                    let mined = mined_tx(
                        pooled,
                        outcome.result,
                        execution.gas_used,
                        log_index,
                        block.base_fee,
                        blooms,
                    );
                    log_index += mined.receipt.logs.len() as u64;
                    execution.mined.push(mined);
                    ready.extend(pool.ready_at(&sender, nonce + 1, block.base_fee));
                }
                Err(error) => {
                    execution
                        .dropped
                        .push((*pooled.tx.tx_hash(), TxError::Invalid(error_text(&error))));
                }
            }
        }
        execution
    }
}

fn too_low(pooled: &PooledTx, state: u64) -> (B256, TxError) {
    let (address, tx) = (pooled.tx.signer(), pooled.tx.nonce());
    (
        *pooled.tx.tx_hash(),
        TxError::NonceTooLow { address, tx, state },
    )
}

/// What the EVM says of a transaction that it will not run, without its prefix.
pub(super) fn error_text<E: std::fmt::Display>(error: &EVMError<E>) -> String {
    match error {
        EVMError::Transaction(invalid) => invalid.to_string(),
        other => other.to_string(),
    }
}

/// The EVM over a database, in the environment of a block.
pub(super) fn evm<DB: revm::Database>(
    database: DB,
    chain_id: u64,
    block: BlockEnv,
) -> MainnetEvm<MainnetContext<DB>> {
    let ctx = MainnetContext::new(database, SPEC)
        .with_block(block)
        .modify_cfg_chained(|cfg| cfg.chain_id = chain_id);
    Evm {
        ctx,
        inspector: (),
        instruction: EthInstructions::new_mainnet_with_spec(SPEC),
        precompiles: EthPrecompiles::new(SPEC),
        // Frames are made as calls nest; the usual eight in advance cost as much as a small transaction.
        frame_stack: FrameStack::new(),
    }
}

/// The environment that a block gives to its transactions.
pub(super) fn block_env(block: &NextBlock, gas_limit: u64) -> BlockEnv {
    BlockEnv {
        number: U256::from(block.number),
        beneficiary: FEE_RECIPIENT,
        timestamp: U256::from(block.timestamp),
        gas_limit,
        basefee: block.base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(block.prevrandao),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(
            0,
            BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE,
        )),
        slot_num: 0,
    }
}

fn tx_env(tx: &Recovered<TxEnvelope>) -> TxEnv {
    TxEnv {
        tx_type: tx.ty(),
        caller: tx.signer(),
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        access_list: tx
            .access_list()
            .cloned()
            .unwrap_or_else(AccessList::default),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    }
}

fn mined_tx(
    pooled: PooledTx,
    result: ExecutionResult,
    cumulative_gas_used: u64,
    first_log_index: u64,
    base_fee: u64,
    blooms: &mut Blooms,
) -> MinedTx {
    let PooledTx { tx, origin, .. } = pooled;
    let (gas_used, contract_address) = (result.tx_gas_used(), result.created_address());
    let (logs, failure) = match result {
        ExecutionResult::Success { logs, .. } => (logs, None),
        ExecutionResult::Revert { output, .. } => (
            Vec::new(),
            Some(CallError::Reverted(Reverted { data: output })),
        ),
        ExecutionResult::Halt { reason, .. } => (
            Vec::new(),
            Some(CallError::Halted {
                reason: halt_text(&reason),
                gas_used,
            }),
        ),
    };
    let bloom = blooms.of(&logs);
    let receipt = EthereumReceipt {
        tx_type: tx.tx_type(),
        success: failure.is_none(),
        cumulative_gas_used,
        logs,
    };
    let effective_gas_price = tx.effective_gas_price(Some(base_fee));
    MinedTx {
        tx,
        origin,
        receipt,
        bloom,
        gas_used,
        effective_gas_price,
        contract_address,
        first_log_index,
        failure,
    }
}

/// Why execution stopped, in geth's words where clients look for them.
pub(super) fn halt_text(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".to_owned(),
        other => other.to_string(),
    }
}
