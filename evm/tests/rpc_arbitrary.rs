//! Whatever comes in, an answer goes out and the chain still works.

mod chain_support;

use chain_support::*;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use smartnodes_evm::{
    chain::Chain,
    rpc::{self, DevMethods, RpcConfig},
};

const METHODS: [&str; 29] = [
    "eth_accounts",
    "eth_blobBaseFee",
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getCode",
    "eth_getLogs",
    "eth_getStorageAt",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_maxPriorityFeePerGas",
    "eth_sendRawTransaction",
    "eth_syncing",
    "net_listening",
    "net_version",
    "web3_clientVersion",
    "evm_increaseTime",
    "evm_mine",
    "evm_revert",
    "evm_setNextBlockTimestamp",
    "evm_snapshot",
];

/// Values of the right shape now and then, so that many requests get past the parser.
fn plausible() -> impl Strategy<Value = Value> {
    let address = any::<[u8; 20]>().prop_map(alloy::hex::encode_prefixed);
    let hash = any::<[u8; 32]>().prop_map(alloy::hex::encode_prefixed);
    let data = vec(any::<u8>(), 0..100).prop_map(alloy::hex::encode_prefixed);
    let quantity = any::<u64>().prop_map(|value| format!("{value:#x}"));
    let tag = prop::sample::select(vec![
        "latest",
        "pending",
        "earliest",
        "safe",
        "finalized",
        "0x0",
        "0x1",
    ]);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        tag.prop_map(Value::from),
        address.prop_map(Value::from),
        hash.prop_map(Value::from),
        data.prop_map(Value::from),
        quantity.prop_map(Value::from),
    ]
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "from",
            "to",
            "data",
            "input",
            "value",
            "gas",
            "gasPrice",
            "maxFeePerGas",
            "maxPriorityFeePerGas",
            "nonce",
            "accessList",
            "type",
            "chainId",
            "address",
            "topics",
            "fromBlock",
            "toBlock",
            "blockHash",
            "blockNumber",
            "timestamp",
            "blocks",
            "jsonrpc",
            "id",
            "method",
            "params",
            "authorizationList",
        ])
        .prop_map(str::to_owned),
        ".*",
    ];
    plausible().prop_recursive(3, 32, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((key.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn busy_chain() -> Chain {
    let mut chain = chain();
    let logger = deploy(&mut chain, LOGGER);
    for n in 0..3 {
        let to = alloy::primitives::TxKind::Call(logger);
        chain
            .transact(
                &signer(0),
                to,
                words(&[n, n, n]),
                alloy::primitives::U256::ZERO,
            )
            .unwrap();
    }
    chain
}

/// The answer is JSON-RPC, or empty for notifications, and the chain still answers.
fn check(chain: &mut Chain, body: &[u8]) {
    let config = RpcConfig {
        dev_methods: DevMethods::Enabled,
        ..RpcConfig::default()
    };
    let answer = rpc::handle(chain, &config, body);
    if !answer.is_empty() {
        let answer: Value = serde_json::from_slice(&answer).expect("the answer is JSON");
        let answers = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
        for answer in answers {
            assert_eq!(answer["jsonrpc"], "2.0");
            assert_ne!(
                answer.get("result").is_some(),
                answer.get("error").is_some()
            );
        }
    }
    let alive = rpc::handle(
        chain,
        &config,
        br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#,
    );
    assert_eq!(alive, br#"{"jsonrpc":"2.0","id":1,"result":"0x7a69"}"#);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..300)) {
        check(&mut chain(), &body);
    }

    #[test]
    fn arbitrary_json_never_panics(body in arbitrary_json()) {
        check(&mut chain(), body.to_string().as_bytes());
    }

    #[test]
    fn arbitrary_parameters_never_panic(calls in vec((0..METHODS.len(), vec(arbitrary_json(), 0..4)), 1..8)) {
        let mut chain = busy_chain();
        for (method, params) in calls {
            let body = json!({ "jsonrpc": "2.0", "id": 7, "method": METHODS[method], "params": params });
            check(&mut chain, body.to_string().as_bytes());
        }
    }

    #[test]
    fn arbitrary_transactions_never_panic(head in 0u8..5, tail in vec(any::<u8>(), 0..200)) {
        let mut chain = chain();
        let mut raw = vec![head];
        raw.extend(&tail);
        prop_assert!(chain.submit_raw(&raw).is_err());
        prop_assert!(chain.submit_raw(&tail).is_err());
    }

    #[test]
    fn a_flipped_bit_never_spends_anothers_money(bit in 0usize..800) {
        let mut chain = chain();
        let mut raw = signed(&signer(0), transfer(0, 2_000, 1));
        let bit = bit % (raw.len() * 8);
        raw[bit / 8] ^= 1 << (bit % 8);
        // A changed transaction recovers to a stranger without funds, or is refused before.
        prop_assert!(chain.submit_raw(&raw).is_err());
    }
}
