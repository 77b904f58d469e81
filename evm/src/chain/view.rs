//! What can be seen: blocks, transactions, receipts, logs, accounts and fees, in the shapes of JSON-RPC.

use alloy::{
    consensus::{Header as ConsensusHeader, ReceiptEnvelope, ReceiptWithBloom, Transaction as _},
    eips::{BlockId, eip2718::Encodable2718},
    network::primitives::BlockTransactions,
    primitives::{Address, B256, Bytes, Sealed, U256},
    rlp::{Encodable, length_of_length},
    rpc::types::{
        Block, FeeHistory, Filter, FilterBlockOption, Header, Log, Transaction, TransactionReceipt,
    },
};

use super::{
    Chain,
    blocks::{BlockBody, BlockRecord, MinedTx},
    error::{BlockError, CallError},
};

/// Priority fee that suffices, in wei for each unit of gas: 0.001 gwei, customary on Base. Blocks are rarely full, so any
/// tip does.
pub const SUGGESTED_PRIORITY_FEE: u128 = 1_000_000;

/// Blocks that one fee history may cover.
pub const FEE_HISTORY_BLOCKS_MAX: u64 = 1_024;

/// Where a mined transaction is.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: u64,
    record: &'a BlockRecord,
    index: usize,
}

/// Why a log query gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogsError {
    /// A block of the range is not there.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The range ends before it begins.
    #[error("invalid block range params: from {from} to {to}")]
    Range {
        /// First block asked for.
        from: u64,
        /// Last block asked for.
        to: u64,
    },
    /// More logs than one answer may hold.
    #[error("query returned more than {max} results: ask for fewer blocks")]
    TooMany {
        /// The limit.
        max: usize,
    },
}

impl Chain {
    /// A block with its transactions, in full or as hashes.
    pub fn block(&self, id: BlockId, full: bool) -> Result<Block, BlockError> {
        let number = self.blocks.resolve(id)?;
        let record = self.blocks.record(number).ok_or(BlockError::Unknown)?;
        let header = self.blocks.header(number).ok_or(BlockError::Unknown)?;
        let mined = self
            .blocks
            .body(number)
            .map_or(&[][..], |body| &body.transactions);
        let transactions = if full {
            let place = |index| Place {
                number,
                record,
                index,
            };
            BlockTransactions::Full(
                mined
                    .iter()
                    .enumerate()
                    .map(|(i, mined)| transaction(mined, place(i)))
                    .collect(),
            )
        } else {
            BlockTransactions::Hashes(mined.iter().map(|mined| *mined.tx.tx_hash()).collect())
        };
        let size = block_size(&header, mined);
        let header = Header::from_consensus(
            Sealed::new_unchecked(header, record.hash),
            None,
            Some(U256::from(size)),
        );
        Ok(Block {
            header,
            uncles: Vec::new(),
            transactions,
            withdrawals: Some(Default::default()),
        })
    }

    /// Number of the latest block.
    #[must_use]
    pub fn block_number(&self) -> u64 {
        self.blocks.latest_number()
    }

    /// Timestamp of the latest block, in seconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        self.blocks.latest().timestamp
    }

    /// Hash of the latest block. It binds every block, transaction and receipt so far.
    #[must_use]
    pub fn block_hash(&self) -> B256 {
        self.blocks.latest().hash
    }

    /// A transaction, mined or waiting.
    #[must_use]
    pub fn transaction(&self, hash: &B256) -> Option<Transaction> {
        if let Some(pooled) = self.pool.get(hash) {
            return Some(Transaction {
                inner: pooled.tx.clone(),
                block_hash: None,
                block_number: None,
                transaction_index: None,
                effective_gas_price: None,
                block_timestamp: None,
            });
        }
        let (number, index, mined) = self.blocks.transaction(hash)?;
        let record = self.blocks.record(number)?;
        Some(transaction(
            mined,
            Place {
                number,
                record,
                index,
            },
        ))
    }

    /// The receipt of a mined transaction.
    #[must_use]
    pub fn receipt(&self, hash: &B256) -> Option<TransactionReceipt> {
        let (number, index, mined) = self.blocks.transaction(hash)?;
        let record = self.blocks.record(number)?;
        Some(receipt(
            mined,
            Place {
                number,
                record,
                index,
            },
        ))
    }

    /// Why a mined transaction failed, with its revert data; `None` if it succeeded or is unknown.
    #[must_use]
    pub fn failure(&self, hash: &B256) -> Option<&CallError> {
        self.blocks.transaction(hash)?.2.failure.as_ref()
    }

    /// The receipts of a block, in order.
    pub fn block_receipts(&self, id: BlockId) -> Result<Vec<TransactionReceipt>, BlockError> {
        let number = self.blocks.resolve(id)?;
        let record = self.blocks.record(number).ok_or(BlockError::Unknown)?;
        let mined = self
            .blocks
            .body(number)
            .map_or(&[][..], |body| &body.transactions);
        Ok(mined
            .iter()
            .enumerate()
            .map(|(index, mined)| {
                receipt(
                    mined,
                    Place {
                        number,
                        record,
                        index,
                    },
                )
            })
            .collect())
    }

    /// The logs that match a filter, oldest first, at most `max` of them. A range without a start begins, and one without
    /// an end ends, at the latest block; an end beyond the latest block means the latest.
    pub fn logs(&self, filter: &Filter, max: usize) -> Result<Vec<Log>, LogsError> {
        let (from, to) = self.log_range(filter)?;
        let mut logs = Vec::new();
        for (number, body) in self.blocks.bodies(from, to) {
            if !filter.matches_bloom(body.bloom) {
                continue;
            }
            let Some(record) = self.blocks.record(number) else {
                continue;
            };
            for (index, mined) in body.transactions.iter().enumerate() {
                let place = Place {
                    number,
                    record,
                    index,
                };
                let matching = mined
                    .receipt
                    .logs
                    .iter()
                    .enumerate()
                    .filter(|(_, log)| filter.matches(log));
                logs.extend(matching.map(|(offset, log)| rpc_log(mined, place, offset, log)));
                if logs.len() > max {
                    return Err(LogsError::TooMany { max });
                }
            }
        }
        Ok(logs)
    }

    fn log_range(&self, filter: &Filter) -> Result<(u64, u64), LogsError> {
        match filter.block_option {
            FilterBlockOption::AtBlockHash(hash) => {
                let number = self.blocks.resolve(BlockId::from(hash))?;
                Ok((number, number))
            }
            FilterBlockOption::Range {
                from_block,
                to_block,
            } => {
                let latest = self.blocks.latest_number();
                let number = |tag: Option<alloy::eips::BlockNumberOrTag>| match tag
                    .unwrap_or_default()
                {
                    // A range may reach into the future, as that of a poller does.
                    alloy::eips::BlockNumberOrTag::Number(number) if number > latest => Ok(number),
                    tag => self.blocks.resolve(BlockId::Number(tag)),
                };
                let (from, to) = (number(from_block)?, number(to_block)?);
                if from > to {
                    return Err(LogsError::Range { from, to });
                }
                Ok((from, to.min(latest)))
            }
        }
    }

    /// Balance after a block, in wei.
    pub fn balance(&self, address: Address, at: BlockId) -> Result<U256, BlockError> {
        let view = self.state_at(self.blocks.resolve(at)?);
        Ok(view.info(&address).map_or(U256::ZERO, |info| info.balance))
    }

    /// Transactions that the account had sent (contracts: created) after a block. With the tag `pending`, those that wait
    /// in an unbroken row count too: the nonce to use next.
    pub fn nonce(&self, address: Address, at: BlockId) -> Result<u64, BlockError> {
        if at.is_pending() {
            return Ok(self
                .pool
                .next_nonce(&address, self.accounts.nonce(&address)));
        }
        let view = self.state_at(self.blocks.resolve(at)?);
        Ok(view.info(&address).map_or(0, |info| info.nonce))
    }

    /// Code of an account after a block; empty if it has none.
    pub fn code(&self, address: Address, at: BlockId) -> Result<Bytes, BlockError> {
        let view = self.state_at(self.blocks.resolve(at)?);
        let code = view.info(&address).and_then(|info| info.code.as_ref());
        Ok(code.map(|code| code.original_bytes()).unwrap_or_default())
    }

    /// Value of a storage slot after a block.
    pub fn storage(&self, address: Address, slot: U256, at: BlockId) -> Result<U256, BlockError> {
        Ok(self
            .state_at(self.blocks.resolve(at)?)
            .storage(&address, &slot))
    }

    /// How many transactions wait.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pool.len()
    }

    /// The transactions that wait, by sender and nonce.
    pub fn pending(&self) -> impl Iterator<Item = B256> + '_ {
        self.pool.hashes()
    }

    /// Base fee of the next block, in wei for each unit of gas.
    #[must_use]
    pub fn base_fee(&self) -> u64 {
        self.base_fee
    }

    /// Sets the base fee of all later blocks. The chain never changes it by itself: with blocks that are nearly empty,
    /// EIP-1559's rule would only let it sink to nothing, and amounts could not be told in advance.
    pub fn set_base_fee(&mut self, base_fee: u64) {
        self.base_fee = base_fee;
    }

    /// A gas price that is mined at once: base fee and suggested tip, in wei for each unit of gas.
    #[must_use]
    pub fn gas_price(&self) -> u128 {
        u128::from(self.base_fee).saturating_add(SUGGESTED_PRIORITY_FEE)
    }

    /// Base fees, fullness and paid tips of up to `blocks` blocks that end with `newest`, and the next base fee.
    /// `percentiles` (0 to 100, ascending) choose the tips, weighted by gas used.
    pub fn fee_history(
        &self,
        blocks: u64,
        newest: BlockId,
        percentiles: &[f64],
    ) -> Result<FeeHistory, BlockError> {
        let newest = self.blocks.resolve(newest)?;
        let available = newest - self.blocks.oldest_number() + 1;
        let count = blocks.min(FEE_HISTORY_BLOCKS_MAX).min(available);
        let oldest = newest + 1 - count;
        let mut history = FeeHistory {
            oldest_block: oldest,
            ..FeeHistory::default()
        };
        if count == 0 {
            return Ok(history);
        }
        let mut rewards = Vec::new();
        for number in oldest..=newest {
            let Some(record) = self.blocks.record(number) else {
                continue;
            };
            let body = self.blocks.body(number);
            let gas_used = body.map_or(0, |body| body.gas_used);
            history.base_fee_per_gas.push(record.base_fee.into());
            history
                .gas_used_ratio
                .push(gas_used as f64 / self.config.gas_limit as f64);
            history.base_fee_per_blob_gas.push(1);
            history.blob_gas_used_ratio.push(0.0);
            rewards.push(tips(body, record.base_fee, percentiles));
        }
        let next = self
            .blocks
            .record(newest + 1)
            .map_or(self.base_fee, |record| record.base_fee);
        history.base_fee_per_gas.push(next.into());
        history.base_fee_per_blob_gas.push(1);
        history.reward = (!percentiles.is_empty()).then_some(rewards);
        Ok(history)
    }
}

/// The tips at the percentiles of a block's gas.
fn tips(body: Option<&BlockBody>, base_fee: u64, percentiles: &[f64]) -> Vec<u128> {
    let Some(body) = body else {
        return vec![0; percentiles.len()];
    };
    let tip = |mined: &MinedTx| {
        mined
            .effective_gas_price
            .saturating_sub(u128::from(base_fee))
    };
    let mut paid: Vec<(u128, u64)> = body
        .transactions
        .iter()
        .map(|mined| (tip(mined), mined.gas_used))
        .collect();
    paid.sort_unstable();
    let reward = |percentile: &f64| {
        let threshold = (body.gas_used as f64 * percentile / 100.0) as u64;
        let mut gas = 0;
        let found = paid.iter().find(|(_, used)| {
            gas += used;
            gas >= threshold
        });
        found.or(paid.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(reward).collect()
}

/// Size of the encoded block, in bytes.
fn block_size(header: &ConsensusHeader, mined: &[MinedTx]) -> usize {
    let transactions: usize = mined.iter().map(|mined| mined.tx.network_len()).sum();
    // Beside the transactions: an empty list of uncles and one of withdrawals, a byte each.
    let payload = header.length() + transactions + length_of_length(transactions) + 2;
    payload + length_of_length(payload)
}

fn transaction(mined: &MinedTx, place: Place<'_>) -> Transaction {
    Transaction {
        inner: mined.tx.clone(),
        block_hash: Some(place.record.hash),
        block_number: Some(place.number),
        transaction_index: Some(place.index as u64),
        effective_gas_price: Some(mined.effective_gas_price),
        block_timestamp: Some(place.record.timestamp),
    }
}

fn receipt(mined: &MinedTx, place: Place<'_>) -> TransactionReceipt {
    let logs = mined
        .receipt
        .logs
        .iter()
        .enumerate()
        .map(|(offset, log)| rpc_log(mined, place, offset, log))
        .collect();
    let receipt = alloy::consensus::Receipt {
        status: mined.receipt.success.into(),
        cumulative_gas_used: mined.receipt.cumulative_gas_used,
        logs,
    };
    let inner = ReceiptEnvelope::from_typed(
        mined.receipt.tx_type,
        ReceiptWithBloom {
            receipt,
            logs_bloom: mined.bloom,
        },
    );
    TransactionReceipt {
        inner,
        transaction_hash: *mined.tx.tx_hash(),
        transaction_index: Some(place.index as u64),
        block_hash: Some(place.record.hash),
        block_number: Some(place.number),
        gas_used: mined.gas_used,
        effective_gas_price: mined.effective_gas_price,
        blob_gas_used: None,
        blob_gas_price: None,
        from: mined.tx.signer(),
        to: mined.tx.to(),
        contract_address: mined.contract_address,
    }
}

fn rpc_log(mined: &MinedTx, place: Place<'_>, offset: usize, log: &alloy::primitives::Log) -> Log {
    Log {
        inner: log.clone(),
        block_hash: Some(place.record.hash),
        block_number: Some(place.number),
        block_timestamp: Some(place.record.timestamp),
        transaction_hash: Some(*mined.tx.tx_hash()),
        transaction_index: Some(place.index as u64),
        log_index: Some(mined.first_log_index + offset as u64),
        removed: false,
    }
}
