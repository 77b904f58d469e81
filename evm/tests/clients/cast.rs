//! `cast` against the chain: what an operator would type.

use std::{path::PathBuf, process::Command};

use alloy::primitives::U256;
use serde_json::Value;

use crate::{
    host::{Host, Mining, key},
    tools_support::foundry,
};

/// One million SNO in wei, with which a genesis node starts.
const GENESIS_AMOUNT: &str = "1000000000000000000000000";

struct Cast {
    program: PathBuf,
    host: Host,
}

impl Cast {
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("ETH_RPC_URL", self.host.url())
            // A proxy of the machine's would not find our loopback.
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .expect("cast starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    /// What a command prints.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> String {
        self.run(arguments)
            .unwrap_or_else(|error| panic!("cast {arguments:?}: {error}"))
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.ask(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Sends from a key; the receipt.
    #[track_caller]
    fn send(&self, from: u8, arguments: &[&str]) -> Value {
        let key = key_hex(from);
        let head = [
            "send",
            "--json",
            "--private-key",
            &key,
            "--poll-interval",
            "1",
        ];
        let printed = self.ask(&[&head, arguments].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }
}

fn key_hex(n: u8) -> String {
    alloy::hex::encode_prefixed([n; 32])
}

fn address(n: u8) -> String {
    key(n).address().to_string()
}

fn token_bytecode() -> String {
    let artifact: Value =
        serde_json::from_str(include_str!("../../artifacts/SmartnodesERC20.json")).expect("JSON");
    artifact["bytecode"].as_str().expect("hex").to_owned()
}

#[test]
fn cast_reads_and_drives_the_chain() {
    let cast = match foundry("cast") {
        Ok(program) => Cast {
            program,
            host: Host::start(Mining::AtOnce),
        },
        Err(missing) => return missing.report("the test with cast"),
    };
    assert_eq!(cast.ask(&["chain-id"]), "31337");
    assert!(cast.ask(&["client"]).starts_with("smartnodes-evm/"));
    assert_eq!(cast.ask(&["block-number"]), "0");
    assert_eq!(cast.ask(&["base-fee"]), "10000000");
    assert_eq!(cast.ask(&["gas-price"]), "11000000");

    // Money, in both forms of fees.
    let receipt = cast.send(1, &[&address(50), "--value", "7"]);
    assert_eq!(
        (&receipt["status"], &receipt["type"]),
        (&"0x1".into(), &"0x2".into())
    );
    let receipt = cast.send(1, &[&address(50), "--value", "8", "--legacy"]);
    assert_eq!(
        (&receipt["status"], &receipt["type"]),
        (&"0x1".into(), &"0x0".into())
    );
    assert_eq!(cast.ask(&["balance", &address(50)]), "15");
    assert_eq!(cast.ask(&["nonce", &address(1)]), "2");

    let token = deploy(&cast);
    calls_and_logs(&cast, &token);
    reverts(&cast, &token);
    time_and_snapshots(&cast, &token);
}

/// The token, whose Core, Coordinator and timelock are the keys 2, 3 and 4. Its address.
fn deploy(cast: &Cast) -> String {
    let genesis = format!("[{}]", address(1));
    let receipt = cast.send(
        1,
        &[
            "--create",
            &token_bytecode(),
            "constructor(address[],address,address,address,bytes32,uint256)",
            &genesis,
            &address(2),
            &address(3),
            &address(4),
            &alloy::primitives::B256::ZERO.to_string(),
            "0",
        ],
    );
    assert_eq!(receipt["status"], "0x1");
    let token = receipt["contractAddress"].as_str().expect("an address");
    assert!(
        cast.ask(&["codesize", token])
            .parse::<u64>()
            .expect("bytes")
            > 10_000
    );
    assert!(cast.ask(&["code", token]).starts_with("0x6"));
    assert_eq!(cast.ask(&["call", token, "symbol()(string)"]), "\"SNO\"");
    token.to_owned()
}

fn calls_and_logs(cast: &Cast, token: &str) {
    let locked = cast.ask(&[
        "call",
        token,
        "lockOf(address,bool)(uint256,uint256,bool)",
        &address(1),
        "true",
    ]);
    let lines: Vec<&str> = locked.lines().collect();
    assert!(lines[0].starts_with(GENESIS_AMOUNT), "{locked}");
    assert_eq!(lines[1..], ["0", "true"]);

    let (set, five) = ("setUserLockAmount(uint256)", "5000000000000000000");
    let gas = cast.ask(&["estimate", token, set, five, "--from", &address(4)]);
    let receipt = cast.send(4, &[token, set, five]);
    assert_eq!(receipt["status"], "0x1");
    let used: U256 = serde_json::from_value(receipt["gasUsed"].clone()).expect("gas");
    assert!(used <= gas.parse::<U256>().expect("gas"), "{used} of {gas}");
    let topic = cast.ask(&["sig-event", "UserLockAmountUpdated(uint256,uint256)"]);
    assert_eq!(receipt["logs"][0]["topics"][0], topic.as_str());

    let hash = receipt["transactionHash"].as_str().expect("a hash");
    assert_eq!(cast.json(&["receipt", hash])["gasUsed"], receipt["gasUsed"]);
    let tx = cast.json(&["tx", hash]);
    assert_eq!(tx["blockNumber"], receipt["blockNumber"]);
    assert_eq!(
        tx["from"].as_str().map(str::to_lowercase),
        Some(address(4).to_lowercase())
    );
    let number = receipt["blockNumber"].as_str().expect("a number");
    let block = cast.json(&["block", number]);
    assert_eq!(block["hash"], receipt["blockHash"]);
    assert_eq!(block["transactions"], serde_json::json!([hash]));
    let logs = cast.json(&[
        "logs",
        "UserLockAmountUpdated(uint256,uint256)",
        "--address",
        token,
        "--from-block",
        "0",
    ]);
    let logs = logs.as_array().expect("a list");
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0]["transactionHash"], hash);
    // Before the change, the amount was another: 100 SNO.
    let amount = "s_userLockAmount()(uint256)";
    let before =
        U256::from_str_radix(number.trim_start_matches("0x"), 16).expect("hex") - U256::ONE;
    let then = cast.ask(&["call", token, amount, "--block", &before.to_string()]);
    assert!(then.starts_with("100000000000000000000"), "{then}");
    let now = cast.ask(&["call", token, amount]);
    assert!(now.starts_with("5000000000000000000 "), "{now}");
    assert_eq!(cast.ask(&["storage", token, "0"]).len(), 66);
}

fn reverts(cast: &Cast, token: &str) {
    let transfer = [token, "transfer(address,uint256)", &address(9), "1"];
    // ERC20InsufficientBalance(address,uint256,uint256)
    let selector = "0xe450d38c";
    let from = address(1);
    let call = [&["call", "--from", &from][..], &transfer].concat();
    let error = cast.run(&call).expect_err("nobody has SNO");
    assert!(error.contains(selector), "{error}");
    let estimate = [&["estimate", "--from", &from][..], &transfer].concat();
    let error = cast.run(&estimate).expect_err("nobody has SNO");
    assert!(error.contains(selector), "{error}");
    let key = key_hex(1);
    let send = [&["send", "--private-key", &key][..], &transfer].concat();
    let error = cast.run(&send).expect_err("refused by the estimate");
    assert!(error.contains(selector), "{error}");
    // With a gas limit of its own, nothing is estimated: it is mined, and fails.
    let receipt = cast.send(1, &[&transfer[..], &["--gas-limit", "200000"]].concat());
    assert_eq!(
        (&receipt["status"], &receipt["logs"]),
        (&"0x0".into(), &serde_json::json!([]))
    );
}

fn time_and_snapshots(cast: &Cast, token: &str) {
    let number = || {
        cast.ask(&["block-number"])
            .parse::<u64>()
            .expect("a number")
    };
    let age = || {
        cast.ask(&["block", "latest", "-f", "timestamp"])
            .parse::<u64>()
            .expect("seconds")
    };
    let snapshot = cast.ask(&["rpc", "evm_snapshot"]);
    let (block, time) = (number(), age());
    cast.send(
        4,
        &[token, "setUserLockAmount(uint256)", "6000000000000000000"],
    );
    cast.ask(&["rpc", "evm_increaseTime", "86400"]);
    cast.ask(&["rpc", "evm_mine"]);
    assert_eq!(number(), block + 2);
    assert!(age() >= time + 86_400);
    let later = (age() + 500).to_string();
    cast.ask(&["rpc", "evm_setNextBlockTimestamp", &later]);
    cast.ask(&["rpc", "evm_mine"]);
    assert_eq!(age().to_string(), later);
    let amount = cast.ask(&["call", token, "s_userLockAmount()(uint256)"]);
    assert!(amount.starts_with("6000000000000000000 "), "{amount}");
    let id = snapshot.trim_matches('"');
    assert_eq!(cast.ask(&["rpc", "evm_revert", id]), "true");
    assert_eq!((number(), age()), (block, time));
    let amount = cast.ask(&["call", token, "s_userLockAmount()(uint256)"]);
    assert!(amount.starts_with("5000000000000000000 "), "{amount}");
}
