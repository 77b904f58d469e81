//! Admission, order, execution and failure of transactions.

mod chain_support;

use alloy::{
    consensus::{Transaction, TxEip2930, TxLegacy},
    eips::BlockId,
    primitives::{Address, B256, Bytes, TxKind, U256},
    sol_types::{Revert, SolError},
};
use chain_support::*;
use smartnodes_evm::chain::{CallError, ChainConfig, ChainError, ConfigError, MineError, TxError};

const RECEIVER: Address = Address::with_last_byte(0xaa);

#[test]
fn transfer_moves_value_and_charges_gas() {
    let mut chain = chain();
    let hash = chain
        .submit_raw(&signed(&signer(0), transfer(0, 5_000, 7)))
        .unwrap();
    let block = chain.mine(chain.timestamp() + 5).unwrap();
    assert_eq!(block.transactions, [hash]);
    assert_eq!(block.gas_used, 21_000);

    let receipt = chain.receipt(&hash).unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.effective_gas_price, u128::from(BASE_FEE) + 7);
    assert_eq!(receipt.block_hash, Some(block.hash));
    let paid = U256::from(FUNDS - 1 - 21_000 * (u128::from(BASE_FEE) + 7));
    assert_eq!(chain.balance(signer(0).address(), LATEST).unwrap(), paid);
    assert_eq!(chain.balance(RECEIVER, LATEST).unwrap(), U256::ONE);
    let tips = chain
        .balance(smartnodes_evm::chain::FEE_RECIPIENT, LATEST)
        .unwrap();
    assert_eq!(tips, U256::from(7 * 21_000));
    assert_eq!(chain.pending_len(), 0);
}

#[test]
fn every_supported_envelope_runs_and_others_are_refused() {
    let mut chain = chain();
    let to = TxKind::Call(RECEIVER);
    let legacy = TxLegacy {
        chain_id: Some(31_337),
        gas_price: 2_000,
        gas_limit: 21_000,
        to,
        ..Default::default()
    };
    let listed = TxEip2930 {
        chain_id: 31_337,
        nonce: 1,
        gas_price: 2_000,
        gas_limit: 21_000,
        to,
        ..Default::default()
    };
    let hashes = [
        chain
            .submit_raw(&signed(&signer(0), legacy.clone()))
            .unwrap(),
        chain.submit_raw(&signed(&signer(0), listed)).unwrap(),
        chain
            .submit_raw(&signed(&signer(0), transfer(2, 2_000, 1)))
            .unwrap(),
    ];
    assert_eq!(chain.mine_next().unwrap().transactions, hashes);
    assert!(
        hashes
            .iter()
            .all(|hash| chain.receipt(hash).unwrap().status())
    );

    let unprotected = TxLegacy {
        chain_id: None,
        nonce: 3,
        ..legacy
    };
    assert_eq!(
        chain.submit_raw(&signed(&signer(0), unprotected)),
        Err(TxError::Unprotected)
    );
    assert_eq!(chain.submit_raw(&[3, 0xc0]), Err(TxError::Type(3)));
    assert_eq!(chain.submit_raw(&[4, 0xc0]), Err(TxError::Type(4)));
    assert!(matches!(chain.submit_raw(&[]), Err(TxError::Decode(_))));
    assert!(matches!(
        chain.submit_raw(&[2, 0xc0]),
        Err(TxError::Decode(_))
    ));
    assert!(matches!(
        chain.submit_raw(&[0xff; 200_000]),
        Err(TxError::Oversized { size: 200_000, .. })
    ));
    let mut trailing = signed(&signer(0), transfer(3, 2_000, 1));
    trailing.push(0);
    assert!(matches!(
        chain.submit_raw(&trailing),
        Err(TxError::Decode(_))
    ));
}

#[test]
fn impossible_transactions_are_refused_with_the_reason() {
    let mut chain = chain();
    let address = signer(0).address();
    let mut submit = |change: fn(&mut alloy::consensus::TxEip1559)| {
        let mut tx = transfer(0, 2_000, 1);
        change(&mut tx);
        chain.submit_raw(&signed(&signer(0), tx)).unwrap_err()
    };
    assert_eq!(
        submit(|tx| tx.chain_id = 1),
        TxError::ChainId {
            have: 1,
            want: 31_337
        }
    );
    assert_eq!(
        submit(|tx| tx.gas_limit = 20_999),
        TxError::IntrinsicGas {
            have: 20_999,
            want: 21_000
        }
    );
    assert_eq!(
        submit(|tx| tx.gas_limit = 60_000_001),
        TxError::GasLimit {
            have: 60_000_001,
            limit: 60_000_000
        }
    );
    assert_eq!(
        submit(|tx| tx.max_priority_fee_per_gas = 2_001),
        TxError::TipAboveFeeCap {
            priority: 2_001,
            max: 2_000
        }
    );
    assert_eq!(submit(|tx| tx.nonce = u64::MAX), TxError::NonceMax(address));
    let want = U256::from(FUNDS) + U256::from(21_000 * 2_000);
    let funds = TxError::InsufficientFunds {
        address,
        have: U256::from(FUNDS),
        want,
    };
    assert_eq!(submit(|tx| tx.value = U256::from(FUNDS)), funds);
    assert!(
        funds
            .to_string()
            .starts_with("insufficient funds for gas * price + value")
    );
    let init = TxError::InitCodeSize {
        size: 49_153,
        limit: 49_152,
    };
    assert_eq!(
        submit(|tx| {
            tx.to = TxKind::Create;
            tx.input = vec![0; 49_153].into();
        }),
        init
    );
    // Call data costs ten gas a zero byte at least (EIP-7623), beyond what execution uses.
    let floor = TxError::IntrinsicGas {
        have: 21_004,
        want: 21_010,
    };
    assert_eq!(
        submit(|tx| {
            tx.gas_limit = 21_004;
            tx.input = vec![0].into();
        }),
        floor
    );
}

#[test]
fn waiting_transactions_must_be_affordable_together() {
    let mut chain = chain();
    let half = U256::from(FUNDS / 2);
    let first = alloy::consensus::TxEip1559 {
        value: half,
        ..transfer(0, 2_000, 1)
    };
    let second = alloy::consensus::TxEip1559 {
        value: half,
        ..transfer(1, 2_000, 1)
    };
    chain.submit_raw(&signed(&signer(0), first)).unwrap();
    let refused = chain.submit_raw(&signed(&signer(0), second)).unwrap_err();
    assert!(matches!(refused, TxError::InsufficientFunds { .. }));
}

#[test]
fn future_nonces_wait_until_the_gap_closes() {
    let mut chain = chain();
    let address = signer(0).address();
    let third = chain
        .submit_raw(&signed(&signer(0), transfer(2, 2_000, 9)))
        .unwrap();
    let second = chain
        .submit_raw(&signed(&signer(0), transfer(1, 2_000, 1)))
        .unwrap();
    assert_eq!(chain.nonce(address, BlockId::pending()).unwrap(), 0);
    assert!(chain.mine_next().unwrap().transactions.is_empty());

    let first = chain
        .submit_raw(&signed(&signer(0), transfer(0, 2_000, 1)))
        .unwrap();
    assert_eq!(chain.nonce(address, BlockId::pending()).unwrap(), 3);
    assert_eq!(chain.nonce(address, LATEST).unwrap(), 0);
    assert_eq!(chain.transaction(&third).unwrap().block_number, None);
    assert_eq!(
        chain.mine_next().unwrap().transactions,
        [first, second, third]
    );
    assert_eq!(chain.nonce(address, LATEST).unwrap(), 3);

    let again = chain
        .submit_raw(&signed(&signer(0), transfer(2, 9_000, 99)))
        .unwrap_err();
    assert_eq!(
        again,
        TxError::NonceTooLow {
            address,
            tx: 2,
            state: 3
        }
    );
    assert!(again.to_string().starts_with("nonce too low"));
}

#[test]
fn replacement_needs_ten_percent_on_both_fees() {
    let mut chain = chain();
    let raw = signed(&signer(0), transfer(0, 2_000, 100));
    let first = chain.submit_raw(&raw).unwrap();
    assert_eq!(chain.submit_raw(&raw), Err(TxError::AlreadyKnown));

    let underpriced = TxError::ReplacementUnderpriced {
        max_fee_min: 2_200,
        priority_fee_min: 110,
    };
    assert_eq!(
        chain.submit_raw(&signed(&signer(0), transfer(0, 2_199, 110))),
        Err(underpriced.clone())
    );
    assert_eq!(
        chain.submit_raw(&signed(&signer(0), transfer(0, 2_200, 109))),
        Err(underpriced)
    );
    let second = chain
        .submit_raw(&signed(&signer(0), transfer(0, 2_200, 110)))
        .unwrap();

    assert!(chain.transaction(&first).is_none());
    assert_eq!(chain.mine_next().unwrap().transactions, [second]);
    assert!(chain.receipt(&first).is_none());
}

#[test]
fn better_payers_come_first_then_earlier_ones() {
    let mut chain = chain();
    let low = chain
        .submit_raw(&signed(&signer(0), transfer(0, 5_000, 1)))
        .unwrap();
    let early = chain
        .submit_raw(&signed(&signer(1), transfer(0, 5_000, 5)))
        .unwrap();
    let late = chain
        .submit_raw(&signed(&signer(2), transfer(0, 5_000, 5)))
        .unwrap();
    // The cap leaves a tip of 4 above the base fee.
    let capped = chain
        .submit_raw(&signed(&signer(3), transfer(0, 1_004, 500)))
        .unwrap();
    assert_eq!(
        chain.mine_next().unwrap().transactions,
        [early, late, capped, low]
    );
}

#[test]
fn fees_below_the_base_fee_wait_for_it_to_fall() {
    let mut chain = chain();
    let hash = chain
        .submit_raw(&signed(&signer(0), transfer(0, 1_500, 1)))
        .unwrap();
    chain.set_base_fee(2_000);
    assert!(chain.mine_next().unwrap().transactions.is_empty());
    assert_eq!(chain.pending().collect::<Vec<_>>(), [hash]);
    chain.set_base_fee(1_500);
    assert_eq!(chain.mine_next().unwrap().transactions, [hash]);
    assert_eq!(chain.receipt(&hash).unwrap().effective_gas_price, 1_500);
}

#[test]
fn blocks_keep_to_their_gas_limit() {
    let mut chain = smartnodes_evm::chain::Chain::new(ChainConfig {
        gas_limit: 50_000,
        ..config()
    })
    .unwrap();
    let hashes: Vec<B256> = (0..3)
        .map(|n| {
            chain
                .submit_raw(&signed(&signer(n), transfer(0, 2_000, 1)))
                .unwrap()
        })
        .collect();
    let first = chain.mine_next().unwrap();
    assert_eq!(first.transactions, hashes[..2]);
    assert_eq!(first.gas_used, 42_000);
    assert_eq!(chain.mine_next().unwrap().transactions, hashes[2..]);
    let receipt = chain.receipt(&hashes[1]).unwrap();
    assert_eq!(receipt.inner.cumulative_gas_used(), 42_000);
    assert_eq!(receipt.transaction_index, Some(1));
}

#[test]
fn deployment_gives_code_and_address() {
    let mut chain = chain();
    let address = deploy(&mut chain, STORE);
    assert_eq!(address, signer(9).address().create(0));
    assert_eq!(
        chain.code(address, LATEST).unwrap(),
        Bytes::from(alloy::hex::decode(STORE).unwrap())
    );
    assert_eq!(chain.nonce(address, LATEST).unwrap(), 1);
    chain
        .transact(&signer(0), TxKind::Call(address), word(42), U256::ZERO)
        .unwrap();
    assert_eq!(
        chain.storage(address, U256::ZERO, LATEST).unwrap(),
        U256::from(42)
    );
    chain
        .transact(&signer(0), TxKind::Call(address), word(0), U256::ZERO)
        .unwrap();
    assert_eq!(
        chain.storage(address, U256::ZERO, LATEST).unwrap(),
        U256::ZERO
    );
}

#[test]
fn revert_data_is_kept_and_read() {
    let mut chain = chain();
    let reverter = deploy(&mut chain, REVERTER);
    let data = Bytes::from(Revert::from("not today").abi_encode());

    let refused = chain
        .send(&signer(0), TxKind::Call(reverter), data.clone(), U256::ZERO)
        .unwrap_err();
    assert_eq!(
        refused.reverted().unwrap().reason().as_deref(),
        Some("not today")
    );
    assert_eq!(refused.to_string(), "execution reverted: not today");
    assert_eq!(chain.pending_len(), 0);

    let hash = chain
        .send_with_gas(
            &signer(0),
            TxKind::Call(reverter),
            data.clone(),
            U256::ONE,
            100_000,
        )
        .unwrap();
    let failed = chain.mine_for(hash).unwrap_err();
    assert_eq!(failed.reverted().unwrap().data, data);
    assert!(matches!(failed, ChainError::Failed { hash: failed, .. } if failed == hash));
    let receipt = chain.receipt(&hash).unwrap();
    assert!(!receipt.status());
    assert!(receipt.gas_used < 100_000);
    assert_eq!(chain.balance(reverter, LATEST).unwrap(), U256::ZERO);
    assert_eq!(chain.nonce(signer(0).address(), LATEST).unwrap(), 1);
}

#[test]
fn out_of_gas_takes_all_the_gas_and_the_nonce() {
    let mut chain = chain();
    let spinner = deploy(&mut chain, LOOP);
    let hash = chain
        .send_with_gas(
            &signer(0),
            TxKind::Call(spinner),
            Bytes::new(),
            U256::ZERO,
            50_000,
        )
        .unwrap();
    chain.mine_next().unwrap();
    let receipt = chain.receipt(&hash).unwrap();
    assert!(!receipt.status());
    assert_eq!(receipt.gas_used, 50_000);
    let halted = CallError::Halted {
        reason: "out of gas".to_owned(),
        gas_used: 50_000,
    };
    assert_eq!(chain.failure(&hash), Some(&halted));
    assert_eq!(chain.nonce(signer(0).address(), LATEST).unwrap(), 1);
    let estimate = chain
        .send(&signer(0), TxKind::Call(spinner), Bytes::new(), U256::ZERO)
        .unwrap_err();
    assert_eq!(
        estimate.to_string(),
        "gas required exceeds allowance (60000000)"
    );
}

#[test]
fn impersonated_contracts_send_and_pay() {
    let mut chain = chain();
    let store = deploy(&mut chain, STORE);
    let other = deploy(&mut chain, STORE);
    chain
        .transact(&signer(0), TxKind::Call(other), word(1), U256::from(0))
        .unwrap();
    let poor = chain.impersonate(store, TxKind::Call(other), word(7), U256::ZERO, 50_000);
    assert!(matches!(
        poor,
        Err(ChainError::Tx(TxError::InsufficientFunds { .. }))
    ));

    // Money without a call, as a miner's tip or a self-destruct would bring it.
    let init =
        Bytes::from(alloy::hex::decode(format!("73{}ff", alloy::hex::encode(store))).unwrap());
    chain
        .transact(&signer(1), TxKind::Create, init, U256::from(FUNDS / 2))
        .unwrap();
    let hash = chain
        .impersonate(store, TxKind::Call(other), word(7), U256::ZERO, 50_000)
        .unwrap();
    let receipt = chain.mine_for(hash).unwrap();
    assert_eq!(receipt.from, store);
    assert_eq!(
        chain.storage(other, U256::ZERO, LATEST).unwrap(),
        U256::from(7)
    );
    assert_eq!(chain.nonce(store, LATEST).unwrap(), 2);
    assert!(chain.balance(store, LATEST).unwrap() < U256::from(FUNDS / 2));
    assert_eq!(chain.transaction(&hash).unwrap().inner.signer(), store);
    assert_eq!(chain.transaction(&hash).unwrap().nonce(), 1);
}

#[test]
fn self_destructed_accounts_are_gone() {
    let mut chain = chain();
    let init = Bytes::from(alloy::hex::decode(SELF_DESTRUCT_INIT).unwrap());
    let receipt = chain
        .transact(&signer(0), TxKind::Create, init, U256::from(9))
        .unwrap();
    let address = receipt.contract_address.unwrap();
    assert_eq!(chain.nonce(address, LATEST).unwrap(), 0);
    assert_eq!(chain.balance(address, LATEST).unwrap(), U256::ZERO);
    assert_eq!(chain.balance(RECEIVER, LATEST).unwrap(), U256::from(9));
}

#[test]
fn timestamps_strictly_increase() {
    let mut chain = chain();
    let start = chain.timestamp();
    assert_eq!(
        chain.mine(start),
        Err(MineError::Timestamp {
            timestamp: start,
            parent: start
        })
    );
    assert_eq!(
        chain.mine(start - 1),
        Err(MineError::Timestamp {
            timestamp: start - 1,
            parent: start
        })
    );
    assert_eq!(chain.mine(start + 1).unwrap().timestamp, start + 1);
    assert_eq!(chain.block_number(), 1);
}

#[test]
fn impossible_configurations_are_refused() {
    let build = |config: ChainConfig| smartnodes_evm::chain::Chain::new(config).unwrap_err();
    assert_eq!(
        build(ChainConfig {
            chain_id: 0,
            ..config()
        }),
        ConfigError::ChainId
    );
    assert_eq!(
        build(ChainConfig {
            gas_limit: 20_999,
            ..config()
        }),
        ConfigError::GasLimit(20_999)
    );
    assert_eq!(
        build(ChainConfig {
            block_time_seconds: 0,
            ..config()
        }),
        ConfigError::BlockTime
    );
    assert_eq!(
        build(ChainConfig {
            history_blocks_max: 255,
            ..config()
        }),
        ConfigError::History(255)
    );
    let deep = ChainConfig {
        finality_depth_blocks: 256,
        history_blocks_max: 256,
        ..config()
    };
    assert_eq!(
        build(deep),
        ConfigError::FinalityDepth {
            depth: 256,
            history: 256
        }
    );
}

#[test]
fn transactions_that_became_impossible_are_dropped_with_the_reason() {
    let mut chain = chain();
    let stranger = alloy::signers::local::PrivateKeySigner::from_slice(&[0x77; 32]).unwrap();
    let gift = U256::from(FUNDS / 2);
    let to = TxKind::Call(stranger.address());
    chain.transact(&signer(0), to, Bytes::new(), gift).unwrap();
    let greedy = chain
        .submit_raw(&signed(&stranger, transfer(0, 5_000_000, 4_000_000)))
        .unwrap();

    // The gift waits again, behind the stranger's better tip.
    chain.reorg(1).unwrap();
    let block = chain.mine_next().unwrap();
    assert_eq!(block.transactions.len(), 1);
    assert!(matches!(block.dropped[..], [(hash, TxError::Invalid(_))] if hash == greedy));
    assert_eq!(chain.pending_len(), 0);
    assert!(chain.transaction(&greedy).is_none());
}

#[test]
fn nonces_that_were_passed_by_are_dropped() {
    let mut chain = chain();
    // Whatever it is called with, it creates an empty contract, which takes a nonce.
    let creator = deploy(&mut chain, "5f5f5ff0");
    let init =
        Bytes::from(alloy::hex::decode(format!("73{}ff", alloy::hex::encode(creator))).unwrap());
    chain
        .transact(&signer(1), TxKind::Create, init, U256::from(FUNDS / 2))
        .unwrap();
    let to = TxKind::Call(RECEIVER);
    let passed_by = chain
        .impersonate(creator, to, Bytes::new(), U256::ONE, 21_000)
        .unwrap();
    let call = TxKind::Call(creator);
    let create = |chain: &mut smartnodes_evm::chain::Chain, nonce| {
        let tx = alloy::consensus::TxEip1559 {
            to: call,
            gas_limit: 100_000,
            value: U256::ZERO,
            ..transfer(nonce, 50_000_000, 40_000_000)
        };
        chain.submit_raw(&signed(&signer(2), tx)).unwrap()
    };
    let creation = create(&mut chain, 0);
    assert_eq!(chain.mine_next().unwrap().transactions, [creation]);
    let error = TxError::NonceTooLow {
        address: creator,
        tx: 1,
        state: 2,
    };
    assert_eq!(chain.mine_next().unwrap().dropped, [(passed_by, error)]);
    assert_eq!(chain.pending_len(), 0);
}

#[test]
fn one_sender_cannot_fill_the_mempool() {
    use smartnodes_evm::chain::POOL_TRANSACTIONS_PER_SENDER_MAX as LIMIT;
    let mut chain = chain();
    let from = signer(0).address();
    let mut send = || {
        chain.impersonate(
            from,
            TxKind::Call(RECEIVER),
            Bytes::new(),
            U256::ONE,
            21_000,
        )
    };
    for _ in 0..LIMIT {
        send().unwrap();
    }
    let full = TxError::PoolFull {
        limit: LIMIT,
        sender: Some(from),
    };
    assert_eq!(send(), Err(ChainError::Tx(full)));
    assert_eq!(chain.mine_next().unwrap().transactions.len(), LIMIT);
}
