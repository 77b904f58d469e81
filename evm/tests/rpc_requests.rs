//! Requests as bytes: the envelope, errors that name what is wrong, limits, and time travel.

mod chain_support;

use alloy::{
    hex,
    primitives::{Address, TxKind, U256},
    sol_types::{Panic, PanicKind, SolError},
};
use chain_support::*;
use serde_json::{Value, json};
use smartnodes_evm::{
    chain::Chain,
    rpc::{self, DevMethods, RpcConfig},
};

fn raw(chain: &mut Chain, body: &str) -> Value {
    let answer = rpc::handle(chain, &RpcConfig::default(), body.as_bytes());
    serde_json::from_slice(&answer)
        .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&answer)))
}

fn request(chain: &mut Chain, config: &RpcConfig, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let answer: Value =
        serde_json::from_slice(&rpc::handle(chain, config, body.as_bytes())).unwrap();
    assert_eq!(answer["id"], 1);
    answer
}

fn ok(chain: &mut Chain, method: &str, params: Value) -> Value {
    let mut answer = request(chain, &RpcConfig::default(), method, params);
    assert_eq!(answer["error"], Value::Null, "{method}");
    answer["result"].take()
}

/// Code and message of the error.
fn error(chain: &mut Chain, method: &str, params: Value) -> (i64, String) {
    let answer = request(chain, &RpcConfig::default(), method, params);
    (
        answer["error"]["code"].as_i64().unwrap(),
        answer["error"]["message"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn malformed_requests_are_answered_by_the_standard_codes() {
    let mut chain = chain();
    let mut code = |body: &str| raw(&mut chain, body)["error"]["code"].as_i64().unwrap();
    assert_eq!(code(""), -32700);
    assert_eq!(code("{"), -32700);
    assert_eq!(code("\u{fffd}"), -32700);
    assert_eq!(code(&"[".repeat(100_000)), -32700);
    assert_eq!(code("7"), -32600);
    assert_eq!(code("[]"), -32600);
    assert_eq!(code("{}"), -32600);
    assert_eq!(
        code(r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#),
        -32600
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":[],"method":"eth_chainId"}"#),
        -32600
    );
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":7}"#), -32600);
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}"#),
        -32602
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}"#),
        -32601
    );
    let (_, message) = error(&mut chain, "eth_nothing", json!([]));
    assert_eq!(
        message,
        "the method eth_nothing does not exist/is not available"
    );
}

#[test]
fn batches_answer_in_order_and_notifications_not_at_all() {
    let mut chain = chain();
    let answer = raw(
        &mut chain,
        r#"[{"jsonrpc":"2.0","id":"a","method":"eth_chainId"},
            {"jsonrpc":"2.0","method":"eth_chainId"},
            8,
            {"jsonrpc":"2.0","id":null,"method":"eth_blockNumber","params":null},
            {"jsonrpc":"2.0","id":2.5,"method":"net_version","params":[]}]"#,
    );
    assert_eq!(answer.as_array().unwrap().len(), 4);
    assert_eq!(
        answer[0],
        json!({ "jsonrpc": "2.0", "id": "a", "result": "0x7a69" })
    );
    assert_eq!(answer[1]["error"]["code"], -32600);
    assert_eq!(
        answer[2],
        json!({ "jsonrpc": "2.0", "id": null, "result": "0x0" })
    );
    assert_eq!(
        answer[3],
        json!({ "jsonrpc": "2.0", "id": 2.5, "result": "31337" })
    );

    let config = RpcConfig::default();
    let notification = r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#;
    assert!(rpc::handle(&mut chain, &config, notification.as_bytes()).is_empty());
    assert!(rpc::handle(&mut chain, &config, format!("[{notification}]").as_bytes()).is_empty());
}

#[test]
fn limits_are_kept_and_named() {
    let mut chain = chain();
    let logger = deploy(&mut chain, LOGGER);
    for n in 0..3 {
        chain
            .transact(
                &signer(0),
                TxKind::Call(logger),
                words(&[n, n, n]),
                U256::ZERO,
            )
            .unwrap();
    }
    let config = RpcConfig {
        body_bytes_max: 200,
        batch_items_max: 3,
        response_bytes_max: 500,
        logs_max: 2,
        ..RpcConfig::default()
    };
    let mut answer = |body: &str| -> Value {
        serde_json::from_slice(&rpc::handle(&mut chain, &config, body.as_bytes())).unwrap()
    };
    let long = answer(&" ".repeat(201));
    assert_eq!(
        long["error"]["message"],
        "request too large: 201 bytes, the limit is 200"
    );
    let many = answer("[1,2,3,4]");
    assert_eq!(
        many["error"]["message"],
        "batch too large: 4 requests, the limit is 3"
    );
    let logs =
        answer(r#"{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x0"}]}"#);
    assert_eq!(logs["error"]["code"], -32005);
    let block =
        answer(r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["latest"]}"#);
    assert_eq!(block["error"]["code"], -32003);
}

#[test]
fn parameters_are_named_in_errors() {
    let mut chain = chain();
    let mut check = |method, params, expected: &str| {
        let (code, message) = error(&mut chain, method, params);
        assert_eq!(code, -32602, "{message}");
        assert!(message.starts_with(expected), "{message}");
    };
    check(
        "eth_getBalance",
        json!([]),
        "missing value for required argument 0 (address)",
    );
    check(
        "eth_getBalance",
        json!(["0x12"]),
        "invalid argument 0 (address): ",
    );
    check(
        "eth_getBalance",
        json!([Address::ZERO, "soon"]),
        "invalid argument 1 (block): ",
    );
    check(
        "eth_getBalance",
        json!([Address::ZERO, "latest", 1]),
        "too many arguments, want at most 2",
    );
    check(
        "eth_chainId",
        json!([1]),
        "too many arguments, want at most 0",
    );
    check(
        "eth_call",
        json!([{ "to": 5 }]),
        "invalid argument 0 (transaction): ",
    );
    check(
        "eth_call",
        json!([{}, "latest", { "0x00": {} }]),
        "state overrides are not supported",
    );
    check(
        "eth_sendRawTransaction",
        json!(["0x2"]),
        "invalid argument 0 (transaction): ",
    );
    check(
        "eth_getLogs",
        json!([{ "fromBlock": "0x5", "toBlock": "0x4" }]),
        "invalid block range params",
    );
    check(
        "eth_feeHistory",
        json!(["0x1", "latest", [2, 1]]),
        "invalid argument 2 (reward percentiles): ",
    );
    check(
        "eth_feeHistory",
        json!(["0x1", "latest", [-1]]),
        "invalid argument 2 (reward percentiles): ",
    );
}

#[test]
fn refusals_read_as_geths_do() {
    let mut chain = chain();
    let spinner = deploy(&mut chain, LOOP);
    let send = |chain: &mut Chain, tx| {
        let raw = hex::encode_prefixed(signed(&signer(0), tx));
        error(chain, "eth_sendRawTransaction", json!([raw]))
    };
    let first = hex::encode_prefixed(signed(&signer(0), transfer(0, 2_000, 100)));
    ok(&mut chain, "eth_sendRawTransaction", json!([first]));
    assert_eq!(
        error(&mut chain, "eth_sendRawTransaction", json!([first])),
        (-32000, "already known".to_owned())
    );
    let starts = |(code, message): (i64, String), text: &str| {
        assert_eq!(code, -32000);
        assert!(message.starts_with(text), "{message}");
    };
    starts(
        send(&mut chain, transfer(0, 2_100, 105)),
        "replacement transaction underpriced",
    );
    chain.mine_next().unwrap();
    starts(send(&mut chain, transfer(0, 5_000, 500)), "nonce too low");
    let rich = alloy::consensus::TxEip1559 {
        value: U256::from(FUNDS),
        ..transfer(1, 2_000, 1)
    };
    starts(
        send(&mut chain, rich),
        "insufficient funds for gas * price + value",
    );

    let call = json!([{ "to": spinner, "gas": "0x10000" }, "latest"]);
    assert_eq!(
        error(&mut chain, "eth_call", call),
        (-32000, "out of gas".to_owned())
    );
    let estimate = json!([{ "to": spinner }]);
    starts(
        error(&mut chain, "eth_estimateGas", estimate),
        "gas required exceeds allowance (60000000)",
    );
    let low = json!([{ "to": spinner, "gas": "0x5207" }]);
    starts(error(&mut chain, "eth_call", low), "intrinsic gas too low");
    let both = json!([{ "gasPrice": "0x1", "maxFeePerGas": "0x1" }]);
    starts(
        error(&mut chain, "eth_call", both),
        "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified",
    );
    let differ = json!([{ "data": "0x01", "input": "0x02" }]);
    starts(
        error(&mut chain, "eth_call", differ),
        "both \"data\" and \"input\" are set and not equal",
    );
    starts(
        error(&mut chain, "eth_getBalance", json!([spinner, "0xffff"])),
        "header not found",
    );
}

#[test]
fn reverts_carry_code_message_and_data() {
    let mut chain = chain();
    let reverter = deploy(&mut chain, REVERTER);
    let panic = hex::encode_prefixed(Panic::from(PanicKind::UnderOverflow).abi_encode());
    let call = json!([{ "to": reverter, "data": panic }, "latest"]);
    for method in ["eth_call", "eth_estimateGas"] {
        let answer = request(&mut chain, &RpcConfig::default(), method, call.clone());
        let message = "execution reverted: panic: arithmetic underflow or overflow (0x11)";
        assert_eq!(
            answer["error"],
            json!({ "code": 3, "message": message, "data": panic })
        );
    }
    let empty = request(
        &mut chain,
        &RpcConfig::default(),
        "eth_call",
        json!([{ "to": reverter }]),
    );
    assert_eq!(
        empty["error"],
        json!({ "code": 3, "message": "execution reverted", "data": "0x" })
    );
}

#[test]
fn calls_need_no_funds_and_may_come_from_contracts() {
    let mut chain = chain();
    let contract = deploy(&mut chain, "335f5260205ff3"); // returns the caller
    let call = json!([{ "from": contract, "to": contract, "nonce": "0x7" }]);
    let caller = ok(&mut chain, "eth_call", call);
    assert_eq!(caller, json!(contract.into_word()));
    let priced = json!([{ "from": contract, "to": contract, "gasPrice": "0x3e8" }]);
    let (_, message) = error(&mut chain, "eth_call", priced);
    assert!(message.starts_with("insufficient funds"), "{message}");
}

#[test]
fn calls_with_any_fees_need_no_chain_id_but_may_not_name_another() {
    let mut chain = chain();
    let contract = deploy(&mut chain, "465f5260205ff3"); // returns the chain id
    let ours = json!(
        U256::from(31_337)
            .to_be_bytes::<32>()
            .map(|byte| format!("{byte:02x}"))
            .concat()
    );
    for fees in [
        json!({}),
        json!({ "gasPrice": "0x3e8" }),
        json!({ "maxFeePerGas": "0x3e8", "maxPriorityFeePerGas": "0x1" }),
        json!({ "gasPrice": "0x3e8", "accessList": [{ "address": contract, "storageKeys": [] }] }),
    ] {
        let mut call = fees;
        call["from"] = json!(signer(0).address());
        call["to"] = json!(contract);
        call["gas"] = json!("0x10000");
        for method in ["eth_call", "eth_estimateGas"] {
            ok(&mut chain, method, json!([call]));
        }
        let answer = ok(&mut chain, "eth_call", json!([call]));
        assert_eq!(answer.as_str().map(|hex| &hex[2..]), ours.as_str());
        call["chainId"] = json!("0x7a69");
        ok(&mut chain, "eth_call", json!([call]));
        call["chainId"] = json!("0x1");
        let message = "chainId does not match node's (have=1, want=31337)";
        assert_eq!(
            error(&mut chain, "eth_call", json!([call])),
            (-32000, message.to_owned())
        );
    }
}

#[test]
fn time_travel_needs_to_be_enabled() {
    let mut chain = chain();
    for method in [
        "evm_mine",
        "evm_increaseTime",
        "evm_setNextBlockTimestamp",
        "evm_snapshot",
        "evm_revert",
    ] {
        assert_eq!(error(&mut chain, method, json!([])).0, -32601);
    }
    let config = RpcConfig {
        dev_methods: DevMethods::Enabled,
        ..RpcConfig::default()
    };
    let start = chain.timestamp();
    let mut dev = |method, params| request(&mut chain, &config, method, params)["result"].take();
    assert_eq!(dev("evm_snapshot", json!([])), "0x1");
    assert_eq!(dev("evm_mine", json!([])), "0x0");
    assert_eq!(dev("evm_increaseTime", json!([3_600])), 3_602);
    assert_eq!(dev("evm_mine", json!([])), "0x0");
    let timestamp = |block: Value| block["timestamp"].clone();
    let latest = json!(["latest", false]);
    assert_eq!(
        timestamp(dev("eth_getBlockByNumber", latest.clone())),
        format!("{:#x}", start + 3_602)
    );
    assert_eq!(
        dev("evm_setNextBlockTimestamp", json!([start + 9_000])),
        Value::Null
    );
    assert_eq!(dev("evm_mine", json!([{ "blocks": 3 }])), "0x0");
    assert_eq!(
        timestamp(dev("eth_getBlockByNumber", latest.clone())),
        format!("{:#x}", start + 9_004)
    );
    assert_eq!(
        dev("evm_mine", json!([format!("{:#x}", start + 9_100)])),
        "0x0"
    );
    assert_eq!(
        timestamp(dev("eth_getBlockByNumber", latest)),
        format!("{:#x}", start + 9_100)
    );
    assert_eq!(dev("evm_revert", json!(["0x1"])), true);
    assert_eq!(dev("evm_revert", json!(["0x1"])), false);
    assert_eq!(dev("eth_blockNumber", json!([])), "0x0");
    let refused = request(
        &mut chain,
        &config,
        "evm_mine",
        json!([{ "blocks": 100_001 }]),
    );
    assert_eq!(refused["error"]["code"], -32602);

    // Time moves from the latest block on, even one that was mined ahead of the host's clock.
    let latest = chain.mine_next().unwrap().timestamp;
    request(&mut chain, &config, "evm_increaseTime", json!(["0x64"]));
    request(&mut chain, &config, "evm_mine", json!([]));
    assert_eq!(chain.timestamp(), latest + 100);

    // A host with a slower clock can go on mining.
    for _ in 0..10 {
        request(&mut chain, &config, "evm_mine", json!([]));
    }
    chain.mine(start + 1).unwrap();
}
