//! The chain of blocks: a compact record for each, a body only for those with transactions, and the headers built from
//! them on demand.
//!
//! An empty block costs 48 bytes, an index entry and one header hash, because eight simulated hours hold 14,400 of them.

use std::collections::{BTreeMap, VecDeque};

use alloy::{
    consensus::{
        Eip2718EncodableReceipt, EthereumReceipt, Header, TxEnvelope, TxType,
        constants::{EMPTY_ROOT_HASH, EMPTY_WITHDRAWALS},
        transaction::Recovered,
    },
    eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718, eip7685::EMPTY_REQUESTS_HASH},
    primitives::{Address, B256, Bloom, keccak256},
};
use revm::primitives::B256Map;

use super::{
    config::ChainConfig,
    error::{BlockError, CallError},
    pool::Origin,
    roots::ordered_root,
    state::UndoLog,
};

/// Receives the priority fees: the address of Base's sequencer fee vault.
pub const FEE_RECIPIENT: Address =
    alloy::primitives::address!("4200000000000000000000000000000000000011");

/// What every block has, whether empty or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockRecord {
    pub(super) hash: B256,
    pub(super) timestamp: u64,
    pub(super) base_fee: u64,
}

/// A transaction in a block, with its outcome.
#[derive(Clone, Debug)]
pub(super) struct MinedTx {
    pub(super) tx: Recovered<TxEnvelope>,
    pub(super) origin: Origin,
    pub(super) receipt: EthereumReceipt<TxType>,
    pub(super) bloom: Bloom,
    pub(super) gas_used: u64,
    pub(super) effective_gas_price: u128,
    pub(super) contract_address: Option<Address>,
    /// Index in the block of the transaction's first log.
    pub(super) first_log_index: u64,
    /// Why it failed, if it did.
    pub(super) failure: Option<CallError>,
}

/// What only blocks with transactions have.
#[derive(Debug)]
pub(super) struct BlockBody {
    pub(super) transactions: Vec<MinedTx>,
    pub(super) gas_used: u64,
    pub(super) bloom: Bloom,
    pub(super) transactions_root: B256,
    pub(super) receipts_root: B256,
    pub(super) undo: UndoLog,
}

impl BlockBody {
    pub(super) fn new(transactions: Vec<MinedTx>, gas_used: u64, undo: UndoLog) -> Self {
        let mut bloom = Bloom::ZERO;
        for mined in &transactions {
            bloom |= mined.bloom;
        }
        let transactions_root = ordered_root(&transactions, |mined, out| mined.tx.encode_2718(out));
        let receipts_root = ordered_root(&transactions, |mined, out| {
            mined.receipt.eip2718_encode_with_bloom(&mined.bloom, out);
        });
        Self {
            transactions,
            gas_used,
            bloom,
            transactions_root,
            receipts_root,
            undo,
        }
    }
}

/// What the next block will carry, before its transactions are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextBlock {
    pub(super) number: u64,
    pub(super) timestamp: u64,
    pub(super) base_fee: u64,
    pub(super) prevrandao: B256,
}

/// The blocks that are kept, from `first` to the latest.
#[derive(Debug)]
pub(super) struct BlockStore {
    gas_limit: u64,
    randomness_seed: B256,
    history_blocks_max: u64,
    finality_depth_blocks: u64,
    /// Number of the oldest block kept.
    first: u64,
    /// Hash of the block before it.
    parent_of_first: B256,
    records: VecDeque<BlockRecord>,
    bodies: BTreeMap<u64, BlockBody>,
    numbers: B256Map<u64>,
    positions: B256Map<(u64, usize)>,
}

impl BlockStore {
    /// A store with the genesis block in it.
    pub(super) fn new(config: &ChainConfig) -> Self {
        let mut store = Self {
            gas_limit: config.gas_limit,
            randomness_seed: config.randomness_seed,
            history_blocks_max: config.history_blocks_max,
            finality_depth_blocks: config.finality_depth_blocks,
            first: 0,
            parent_of_first: B256::ZERO,
            records: VecDeque::new(),
            bodies: BTreeMap::new(),
            numbers: B256Map::default(),
            positions: B256Map::default(),
        };
        let genesis = NextBlock {
            number: 0,
            timestamp: config.start_timestamp,
            base_fee: config.base_fee,
            prevrandao: store.prevrandao(B256::ZERO),
        };
        store.push(genesis, None);
        store
    }

    pub(super) fn latest_number(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }

    pub(super) fn oldest_number(&self) -> u64 {
        self.first
    }

    pub(super) fn latest(&self) -> BlockRecord {
        *self
            .records
            .back()
            .expect("the genesis block is pushed at the start and the last block is never removed")
    }

    pub(super) fn record(&self, number: u64) -> Option<&BlockRecord> {
        self.records
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn hash(&self, number: u64) -> Option<B256> {
        self.record(number).map(|record| record.hash)
    }

    pub(super) fn body(&self, number: u64) -> Option<&BlockBody> {
        self.bodies.get(&number)
    }

    /// Bodies from `from` to `to`, both included, in order.
    pub(super) fn bodies(
        &self,
        from: u64,
        to: u64,
    ) -> impl DoubleEndedIterator<Item = (u64, &BlockBody)> {
        // A reversed range would panic in the map.
        let range = if from <= to {
            Some(self.bodies.range(from..=to))
        } else {
            None
        };
        range
            .into_iter()
            .flatten()
            .map(|(number, body)| (*number, body))
    }

    /// Block number and index of a mined transaction.
    pub(super) fn position(&self, transaction: &B256) -> Option<(u64, usize)> {
        self.positions.get(transaction).copied()
    }

    /// A mined transaction, with its place.
    pub(super) fn transaction(&self, hash: &B256) -> Option<(u64, usize, &MinedTx)> {
        let (number, index) = self.position(hash)?;
        let mined = self.body(number)?.transactions.get(index)?;
        Some((number, index, mined))
    }

    /// The number of the block that `id` names, if it is kept. `pending` means `latest`: a block under construction is
    /// not shown. `safe` and `finalized` lag behind the latest by the configured depth.
    pub(super) fn resolve(&self, id: BlockId) -> Result<u64, BlockError> {
        let latest = self.latest_number();
        let number = match id {
            BlockId::Hash(hash) => {
                return self
                    .numbers
                    .get(&hash.block_hash)
                    .copied()
                    .ok_or(BlockError::Unknown);
            }
            BlockId::Number(BlockNumberOrTag::Latest | BlockNumberOrTag::Pending) => latest,
            BlockId::Number(BlockNumberOrTag::Safe | BlockNumberOrTag::Finalized) => {
                latest.saturating_sub(self.finality_depth_blocks)
            }
            BlockId::Number(BlockNumberOrTag::Earliest) => 0,
            BlockId::Number(BlockNumberOrTag::Number(number)) => number,
        };
        if number > latest {
            Err(BlockError::Unknown)
        } else if number < self.first {
            Err(BlockError::Pruned { oldest: self.first })
        } else {
            Ok(number)
        }
    }

    /// Randomness of the child of `parent`: unpredictable without the seed, whatever the transactions.
    pub(super) fn prevrandao(&self, parent: B256) -> B256 {
        let mut preimage = [0u8; 64];
        preimage[..32].copy_from_slice(self.randomness_seed.as_slice());
        preimage[32..].copy_from_slice(parent.as_slice());
        keccak256(preimage)
    }

    /// What a block that is kept gave to its transactions.
    pub(super) fn environment(&self, number: u64) -> Option<NextBlock> {
        let record = self.record(number)?;
        let prevrandao = self.prevrandao(self.parent_hash(number)?);
        Some(NextBlock {
            number,
            timestamp: record.timestamp,
            base_fee: record.base_fee,
            prevrandao,
        })
    }

    /// The header of a block that is kept.
    pub(super) fn header(&self, number: u64) -> Option<Header> {
        Some(self.build_header(
            self.parent_hash(number)?,
            self.environment(number)?,
            self.body(number),
        ))
    }

    fn parent_hash(&self, number: u64) -> Option<B256> {
        if number == self.first {
            Some(self.parent_of_first)
        } else {
            self.hash(number.checked_sub(1)?)
        }
    }

    /// The state root is zero: no state trie is kept. The hash still binds all that happened, through the roots of
    /// transactions and receipts and through the parent.
    fn build_header(
        &self,
        parent_hash: B256,
        block: NextBlock,
        body: Option<&BlockBody>,
    ) -> Header {
        Header {
            parent_hash,
            beneficiary: FEE_RECIPIENT,
            state_root: B256::ZERO,
            transactions_root: body.map_or(EMPTY_ROOT_HASH, |body| body.transactions_root),
            receipts_root: body.map_or(EMPTY_ROOT_HASH, |body| body.receipts_root),
            logs_bloom: body.map_or(Bloom::ZERO, |body| body.bloom),
            number: block.number,
            gas_limit: self.gas_limit,
            gas_used: body.map_or(0, |body| body.gas_used),
            timestamp: block.timestamp,
            mix_hash: block.prevrandao,
            base_fee_per_gas: Some(block.base_fee),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        }
    }

    /// Appends a block and forgets what is older than the history to keep. Returns the new block's hash.
    pub(super) fn push(&mut self, block: NextBlock, body: Option<BlockBody>) -> B256 {
        let parent = self
            .records
            .back()
            .map_or(self.parent_of_first, |record| record.hash);
        let hash = self.build_header(parent, block, body.as_ref()).hash_slow();
        self.records.push_back(BlockRecord {
            hash,
            timestamp: block.timestamp,
            base_fee: block.base_fee,
        });
        self.numbers.insert(hash, block.number);
        if let Some(body) = body {
            for (index, mined) in body.transactions.iter().enumerate() {
                self.positions
                    .insert(*mined.tx.tx_hash(), (block.number, index));
            }
            self.bodies.insert(block.number, body);
        }
        while self.records.len() as u64 > self.history_blocks_max {
            self.forget_oldest();
        }
        hash
    }

    fn forget_oldest(&mut self) {
        let Some(record) = self.records.pop_front() else {
            return;
        };
        self.numbers.remove(&record.hash);
        if let Some(body) = self.bodies.remove(&self.first) {
            self.forget_positions(&body);
        }
        self.parent_of_first = record.hash;
        self.first += 1;
    }

    /// Removes the latest block, unless it is the only one kept, and returns its body if it had transactions.
    pub(super) fn pop(&mut self) -> Option<BlockBody> {
        let number = self.latest_number();
        if number == self.first {
            return None;
        }
        let record = self.records.pop_back()?;
        self.numbers.remove(&record.hash);
        let body = self.bodies.remove(&number)?;
        self.forget_positions(&body);
        Some(body)
    }

    fn forget_positions(&mut self, body: &BlockBody) {
        for mined in &body.transactions {
            self.positions.remove(mined.tx.tx_hash());
        }
    }
}
