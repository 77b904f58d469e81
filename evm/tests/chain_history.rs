//! Views of blocks and past states, logs, snapshots, reorganisations, pruning, time and determinism.

mod chain_support;

use alloy::{
    consensus::BlockHeader,
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bloom, BloomInput, Bytes, TxKind, U256},
    rpc::types::{Block, Filter, TransactionRequest},
};
use chain_support::*;
use smartnodes_evm::chain::{BlockError, Chain, ChainConfig, LogsError, MineError, RewindError};

fn topic(value: u64) -> B256 {
    B256::from(U256::from(value))
}

fn transactions_root(block: &Block) -> B256 {
    let envelopes: Vec<_> = block
        .transactions
        .txns()
        .map(|tx| tx.inner.inner().clone())
        .collect();
    alloy::consensus::proofs::calculate_transaction_root(&envelopes)
}

fn call(chain: &Chain, to: Address, input: Bytes, at: BlockId) -> Result<U256, String> {
    let request = TransactionRequest {
        input: input.into(),
        ..TransactionRequest::default()
    }
    .to(to);
    chain
        .call(&request, at)
        .map(|output| U256::from_be_slice(&output))
        .map_err(|error| error.to_string())
}

#[test]
fn blocks_link_by_hash_and_tags_resolve() {
    let mut chain = chain();
    for _ in 0..15 {
        chain.mine_next().unwrap();
    }
    chain
        .transact(
            &signer(0),
            TxKind::Call(Address::ZERO),
            Bytes::new(),
            U256::ONE,
        )
        .unwrap();
    for number in 1..=16 {
        let block = chain.block(number.into(), false).unwrap();
        let parent = chain.block((number - 1).into(), false).unwrap();
        assert_eq!(block.header.parent_hash(), parent.header.hash);
        assert_eq!(block.header.inner.hash_slow(), block.header.hash);
        assert!(block.header.timestamp() > parent.header.timestamp());
        assert_eq!(
            chain.block(block.header.hash.into(), true).unwrap().header,
            block.header
        );
    }
    let number = |tag| {
        chain
            .block(BlockId::Number(tag), false)
            .map(|block| block.header.number())
    };
    assert_eq!(number(BlockNumberOrTag::Latest), Ok(16));
    assert_eq!(number(BlockNumberOrTag::Pending), Ok(16));
    assert_eq!(number(BlockNumberOrTag::Safe), Ok(6));
    assert_eq!(number(BlockNumberOrTag::Finalized), Ok(6));
    assert_eq!(number(BlockNumberOrTag::Earliest), Ok(0));
    assert_eq!(
        number(BlockNumberOrTag::Number(17)),
        Err(BlockError::Unknown)
    );
    assert_eq!(
        chain.block(B256::ZERO.into(), false).map(drop),
        Err(BlockError::Unknown)
    );

    let full = chain.block(LATEST, true).unwrap();
    assert_eq!(full.transactions.len(), 1);
    assert_eq!(full.header.transactions_root(), transactions_root(&full));
    assert_eq!(
        full.transactions.as_transactions().unwrap()[0]
            .inner
            .signer(),
        signer(0).address()
    );
}

#[test]
fn block_hash_opcode_reaches_256_blocks() {
    let mut chain = chain();
    let contract = deploy(&mut chain, BLOCK_HASH);
    for _ in 0..300 {
        chain.mine_next().unwrap();
    }
    let latest = chain.block_number();
    let hash = |number: u64| B256::from(call(&chain, contract, word(number), LATEST).unwrap());
    for number in [latest - 1, latest - 100, latest - 256] {
        assert_eq!(
            hash(number),
            chain.block(number.into(), false).unwrap().header.hash
        );
    }
    assert_eq!(hash(latest), B256::ZERO);
    assert_eq!(hash(latest - 257), B256::ZERO);
}

#[test]
fn randomness_depends_on_the_seed_and_the_block() {
    let values = |seed: u8| {
        let mut chain = Chain::new(ChainConfig {
            randomness_seed: B256::repeat_byte(seed),
            ..config()
        })
        .unwrap();
        let contract = deploy(&mut chain, PREVRANDAO);
        let first = call(&chain, contract, Bytes::new(), LATEST).unwrap();
        chain.mine_next().unwrap();
        let second = call(&chain, contract, Bytes::new(), LATEST).unwrap();
        let header = chain.block(LATEST, false).unwrap().header;
        assert_eq!(Some(B256::from(second)), header.mix_hash());
        [first, second]
    };
    let (one, same, other) = (values(1), values(1), values(2));
    assert_eq!(one, same);
    assert_ne!(one[0], one[1]);
    assert_ne!(one[0], other[0]);
}

#[test]
fn logs_are_found_by_address_topics_and_range() {
    let mut chain = chain();
    let (a, b) = (deploy(&mut chain, LOGGER), deploy(&mut chain, LOGGER));
    let first = chain.block_number() + 1;
    for (contract, input) in [
        (a, [1, 10, 100]),
        (a, [2, 10, 200]),
        (b, [1, 20, 300]),
        (b, [3, 20, 400]),
    ] {
        chain
            .transact(
                &signer(0),
                TxKind::Call(contract),
                words(&input),
                U256::ZERO,
            )
            .unwrap();
    }
    let all = Filter::new().from_block(0);
    let data = |filter: &Filter| -> Vec<u64> {
        let logs = chain.logs(filter, 100).unwrap();
        logs.iter()
            .map(|log| U256::from_be_slice(&log.inner.data.data).to())
            .collect()
    };
    assert_eq!(data(&all), [100, 200, 300, 400]);
    assert_eq!(data(&all.clone().address(a)), [100, 200]);
    assert_eq!(data(&all.clone().address(vec![a, b])), [100, 200, 300, 400]);
    assert_eq!(data(&all.clone().address(Address::ZERO)), [0u64; 0]);
    assert_eq!(data(&all.clone().event_signature(topic(1))), [100, 300]);
    assert_eq!(
        data(&all.clone().event_signature(vec![topic(1), topic(3)])),
        [100, 300, 400]
    );
    assert_eq!(data(&all.clone().topic1(topic(20))), [300, 400]);
    assert_eq!(
        data(&all.clone().event_signature(topic(1)).topic1(topic(20))),
        [300]
    );
    assert_eq!(data(&all.clone().topic2(topic(1))), [0u64; 0]);
    assert_eq!(
        data(&Filter::new().from_block(first + 1).to_block(first + 2)),
        [200, 300]
    );
    assert_eq!(
        data(&Filter::new().from_block(first + 3).to_block(first + 99)),
        [400]
    );
    assert_eq!(
        data(&Filter::new().from_block(first + 50).to_block(first + 99)),
        [0u64; 0]
    );
    assert_eq!(data(&Filter::new()), [400]);
    let hash = chain.block(first.into(), false).unwrap().header.hash;
    assert_eq!(data(&Filter::new().at_block_hash(hash)), [100]);

    assert_eq!(chain.logs(&all, 3), Err(LogsError::TooMany { max: 3 }));
    let reversed = Filter::new().from_block(5).to_block(4);
    assert_eq!(
        chain.logs(&reversed, 100),
        Err(LogsError::Range { from: 5, to: 4 })
    );
    let unknown = Filter::new().at_block_hash(B256::ZERO);
    assert_eq!(
        chain.logs(&unknown, 100),
        Err(LogsError::Block(BlockError::Unknown))
    );
}

#[test]
fn logs_number_through_the_block_and_enter_the_bloom() {
    let mut chain = chain();
    let logger = deploy(&mut chain, LOGGER);
    for n in 0..3 {
        let input = words(&[n, 5, n]);
        chain
            .send(&signer(n as u8), TxKind::Call(logger), input, U256::ZERO)
            .unwrap();
    }
    chain.mine_next().unwrap();
    let receipts = chain.block_receipts(LATEST).unwrap();
    assert_eq!(receipts.len(), 3);
    for (n, receipt) in receipts.iter().enumerate() {
        let log = &receipt.inner.logs()[0];
        assert_eq!(
            (log.log_index, log.transaction_index),
            (Some(n as u64), Some(n as u64))
        );
        assert_eq!(log.block_timestamp, Some(chain.timestamp()));
        let mut bloom = Bloom::ZERO;
        for raw in [
            logger.as_slice(),
            topic(n as u64).as_slice(),
            topic(5).as_slice(),
        ] {
            bloom.accrue(BloomInput::Raw(raw));
        }
        assert_eq!(*receipt.inner.logs_bloom(), bloom);
        assert!(
            chain
                .block(LATEST, false)
                .unwrap()
                .header
                .logs_bloom()
                .contains(&bloom)
        );
    }
}

#[test]
fn past_states_can_be_read_and_called() {
    let mut chain = chain();
    let before = chain.block_number();
    let store = deploy(&mut chain, STORE);
    let deployed = chain.block_number();
    for value in [5, 6, 7] {
        chain
            .transact(&signer(0), TxKind::Call(store), word(value), U256::ZERO)
            .unwrap();
        chain.mine_next().unwrap();
    }
    let slot = |at: u64| chain.storage(store, U256::ZERO, at.into()).unwrap();
    assert_eq!(slot(deployed), U256::ZERO);
    assert_eq!(
        [1, 2, 3, 4, 5, 6].map(|n| slot(deployed + n).to::<u64>()),
        [5, 5, 6, 6, 7, 7]
    );
    assert_eq!(chain.code(store, before.into()).unwrap(), Bytes::new());
    assert_eq!(
        chain
            .nonce(signer(0).address(), (deployed + 3).into())
            .unwrap(),
        2
    );
    assert_eq!(
        chain.balance(signer(0).address(), before.into()).unwrap(),
        U256::from(FUNDS)
    );
    assert!(chain.balance(signer(0).address(), LATEST).unwrap() < U256::from(FUNDS));

    let request = TransactionRequest {
        input: word(1).into(),
        ..TransactionRequest::default()
    }
    .to(store);
    let now = chain.estimate_gas(&request, LATEST).unwrap();
    let then = chain.estimate_gas(&request, deployed.into()).unwrap();
    assert!(
        then > now + 15_000,
        "the first write of a slot costs 20,000 gas, a later one 5,000: {then} {now}"
    );
}

#[test]
fn estimates_suffice_and_are_tight() {
    let mut chain = chain();
    let store = deploy(&mut chain, STORE);
    let from = signer(0).address();
    for input in [word(1), word(0), Bytes::new()] {
        let request = TransactionRequest {
            input: input.clone().into(),
            ..TransactionRequest::default()
        };
        let estimate = chain
            .estimate_gas(&request.from(from).to(store), LATEST)
            .unwrap();
        let hash = chain
            .send_with_gas(&signer(0), TxKind::Call(store), input, U256::ZERO, estimate)
            .unwrap();
        let receipt = chain.mine_for(hash).unwrap();
        assert!(
            estimate - receipt.gas_used <= 4_800 + estimate / 64,
            "{estimate} for {}",
            receipt.gas_used
        );
    }
    let transfer = TransactionRequest::default()
        .from(from)
        .to(Address::ZERO)
        .value(U256::ONE);
    assert_eq!(chain.estimate_gas(&transfer, LATEST).unwrap(), 21_000);
    let poor = TransactionRequest {
        gas_price: Some(2_000),
        ..transfer.clone()
    }
    .from(Address::with_last_byte(1));
    let error = chain.estimate_gas(&poor, LATEST).unwrap_err().to_string();
    assert!(
        error.starts_with("insufficient funds for gas * price + value"),
        "{error}"
    );
}

#[test]
fn revert_restores_everything() {
    let mut chain = chain();
    let store = deploy(&mut chain, STORE);
    chain
        .transact(&signer(0), TxKind::Call(store), word(1), U256::ZERO)
        .unwrap();
    let waiting = chain
        .send(&signer(1), TxKind::Call(store), word(2), U256::ZERO)
        .unwrap();
    let (hash, balance) = (
        chain.block_hash(),
        chain.balance(signer(0).address(), LATEST).unwrap(),
    );

    let id = chain.snapshot().unwrap();
    let later = chain.snapshot().unwrap();
    let receipt = chain
        .transact(&signer(0), TxKind::Call(store), word(0), U256::ZERO)
        .unwrap();
    let other = deploy(&mut chain, STORE);
    chain.set_base_fee(77);
    chain.increase_time(1_000).unwrap();
    assert_eq!(chain.pending_len(), 0);

    chain.revert(id).unwrap();
    assert_eq!(chain.block_hash(), hash);
    assert_eq!(chain.balance(signer(0).address(), LATEST).unwrap(), balance);
    assert_eq!(chain.storage(store, U256::ZERO, LATEST).unwrap(), U256::ONE);
    assert_eq!(chain.code(other, LATEST).unwrap(), Bytes::new());
    assert!(chain.receipt(&receipt.transaction_hash).is_none());
    assert_eq!(chain.pending().collect::<Vec<_>>(), [waiting]);
    assert_eq!(
        (chain.base_fee(), chain.time()),
        (BASE_FEE, chain.config().start_timestamp)
    );
    assert_eq!(chain.revert(id), Err(RewindError::UnknownSnapshot(id)));
    assert_eq!(
        chain.revert(later),
        Err(RewindError::UnknownSnapshot(later))
    );
}

#[test]
fn replaying_after_a_revert_gives_the_same_blocks() {
    let mut chain = chain();
    let store = deploy(&mut chain, STORE);
    let id = chain.snapshot().unwrap();
    let run = |chain: &mut Chain| {
        for value in [3, 0, 4] {
            chain
                .transact(&signer(0), TxKind::Call(store), word(value), U256::ZERO)
                .unwrap();
        }
        chain.block_hash()
    };
    let first = run(&mut chain);
    chain.revert(id).unwrap();
    assert_eq!(run(&mut chain), first);
}

#[test]
fn reorganised_transactions_wait_again() {
    let mut chain = chain();
    let store = deploy(&mut chain, STORE);
    let kept = chain.snapshot().unwrap();
    let first = chain
        .transact(&signer(0), TxKind::Call(store), word(1), U256::ZERO)
        .unwrap();
    let lost = chain.snapshot().unwrap();
    let second = chain
        .transact(&signer(0), TxKind::Call(store), word(2), U256::ZERO)
        .unwrap();
    let abandoned = chain.block_hash();

    let hashes = [first.transaction_hash, second.transaction_hash];
    assert_eq!(chain.reorg(2).unwrap(), hashes);
    assert_eq!(
        chain.storage(store, U256::ZERO, LATEST).unwrap(),
        U256::ZERO
    );
    assert_eq!(chain.pending_len(), 2);
    let block = chain.mine(chain.timestamp() + 60).unwrap();
    assert_eq!(block.transactions, hashes);
    assert_ne!(block.hash, first.block_hash.unwrap());
    assert_eq!(
        chain.block(abandoned.into(), false).map(drop),
        Err(BlockError::Unknown)
    );
    assert_eq!(
        chain.storage(store, U256::ZERO, LATEST).unwrap(),
        U256::from(2)
    );

    assert_eq!(chain.revert(lost), Err(RewindError::UnknownSnapshot(lost)));
    assert_eq!(chain.revert(kept), Ok(()));
    let latest = chain.block_number();
    assert_eq!(
        chain.reorg(latest + 1),
        Err(RewindError::Depth {
            depth: latest + 1,
            latest
        })
    );
    assert_eq!(chain.reorg(0), Ok(Vec::new()));
}

#[test]
fn old_history_is_forgotten() {
    let mut chain = Chain::new(ChainConfig {
        history_blocks_max: 300,
        ..config()
    })
    .unwrap();
    let id = chain.snapshot().unwrap();
    let receipt = chain
        .transact(
            &signer(0),
            TxKind::Call(Address::ZERO),
            Bytes::new(),
            U256::ONE,
        )
        .unwrap();
    let hash = receipt.transaction_hash;
    for _ in 0..298 {
        chain.mine_next().unwrap();
    }
    assert!(chain.receipt(&hash).is_some());
    assert!(chain.block(0.into(), false).is_ok());
    for _ in 0..2 {
        chain.mine_next().unwrap();
    }
    assert!(chain.receipt(&hash).is_none());
    assert_eq!(
        chain.block(1.into(), false).map(drop),
        Err(BlockError::Pruned { oldest: 2 })
    );
    assert_eq!(
        chain.balance(Address::ZERO, 0.into()),
        Err(BlockError::Pruned { oldest: 2 })
    );
    assert_eq!(chain.balance(Address::ZERO, LATEST), Ok(U256::ONE));
    assert_eq!(
        chain.revert(id),
        Err(RewindError::Pruned {
            target: 0,
            oldest: 2
        })
    );
    assert_eq!(
        chain.reorg(300),
        Err(RewindError::Pruned {
            target: 1,
            oldest: 2
        })
    );
    let oldest = chain.block(2.into(), false).unwrap().header;
    assert_eq!(oldest.inner.hash_slow(), oldest.hash);
}

#[test]
fn advancing_mines_the_blocks_that_are_due() {
    let mut chain = chain();
    let start = chain.timestamp();
    assert_eq!(chain.advance_to(start + 1).unwrap().blocks, 0);
    let hash = chain
        .send(
            &signer(0),
            TxKind::Call(Address::ZERO),
            Bytes::new(),
            U256::ONE,
        )
        .unwrap();
    let advance = chain.advance_to(start + 8 * 3_600 + 1).unwrap();
    assert_eq!(advance.blocks, 14_400);
    assert_eq!(advance.busy.len(), 1);
    assert_eq!(advance.busy[0].transactions, [hash]);
    assert_eq!(advance.busy[0].timestamp, start + 2);
    assert_eq!(chain.timestamp(), start + 8 * 3_600);
    assert_eq!(chain.advance_to(start).unwrap().blocks, 0);
}

#[test]
fn time_can_be_moved_and_set() {
    let mut chain = chain();
    let start = chain.timestamp();
    assert_eq!(chain.increase_time(100).unwrap(), 100);
    assert_eq!(chain.mine(start + 1).unwrap().timestamp, start + 101);
    chain.set_next_timestamp(start + 500).unwrap();
    assert_eq!(chain.mine(start + 2).unwrap().timestamp, start + 500);
    assert_eq!(chain.mine(start + 3).unwrap().timestamp, start + 501);
    let early = chain.set_next_timestamp(start + 501);
    assert_eq!(
        early,
        Err(MineError::Timestamp {
            timestamp: start + 501,
            parent: start + 501
        })
    );
    chain.set_next_timestamp(start + 600).unwrap();
    assert_eq!(chain.mine_next().unwrap().timestamp, start + 600);
    assert_eq!(chain.mine_next().unwrap().timestamp, start + 602);
    chain.set_next_timestamp(start + 705).unwrap();
    assert_eq!(chain.advance_to(start + 4).unwrap().blocks, 1);
    assert_eq!(chain.timestamp(), start + 705);
    assert_eq!(
        chain.increase_time(u64::MAX),
        Err(MineError::TimestampOverflow)
    );
}

#[test]
fn equal_inputs_give_equal_hashes_and_unequal_ones_do_not() {
    let run = |last: u64| {
        let mut chain = chain();
        let logger = deploy(&mut chain, LOGGER);
        let store = deploy(&mut chain, STORE);
        for n in 0..40u64 {
            for who in 0..5 {
                let (to, input) = if (n + who) % 2 == 0 {
                    (logger, words(&[n, who, 9]))
                } else {
                    (store, word(n))
                };
                chain
                    .send_with_gas(
                        &signer(who as u8),
                        TxKind::Call(to),
                        input,
                        U256::ZERO,
                        100_000,
                    )
                    .unwrap();
            }
            chain.mine_next().unwrap();
        }
        chain
            .transact(&signer(0), TxKind::Call(store), word(last), U256::ZERO)
            .unwrap();
        chain.block_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn fee_history_shows_what_was_paid() {
    let mut chain = chain();
    chain
        .submit_raw(&signed(&signer(0), transfer(0, 5_000, 10)))
        .unwrap();
    chain
        .submit_raw(&signed(&signer(1), transfer(0, 5_000, 30)))
        .unwrap();
    chain.mine_next().unwrap();
    chain.set_base_fee(2_000);
    let history = chain.fee_history(10, LATEST, &[0.0, 50.0, 100.0]).unwrap();
    assert_eq!(history.oldest_block, 0);
    assert_eq!(history.base_fee_per_gas, [1_000, 1_000, 2_000]);
    assert_eq!(history.gas_used_ratio, [0.0, 42_000.0 / 60_000_000.0]);
    assert_eq!(history.reward, Some(vec![vec![0, 0, 0], vec![10, 10, 30]]));
    assert_eq!(
        chain.gas_price(),
        2_000 + smartnodes_evm::chain::SUGGESTED_PRIORITY_FEE
    );
}
