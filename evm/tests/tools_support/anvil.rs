//! An `anvil` of our own: a process that is asked over a Unix socket and ends with its owner.

use std::{
    fs,
    io::{BufReader, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use smartnodes_evm::chain::{ChainConfig, FEE_RECIPIENT};
use tempfile::TempDir;

use super::{Missing, foundry};

/// How long it may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `anvil`.
pub struct Anvil {
    process: Child,
    requests: UnixStream,
    answers: serde_json::StreamDeserializer<
        'static,
        serde_json::de::IoRead<BufReader<UnixStream>>,
        Value,
    >,
    /// Its genesis and its socket.
    _directory: TempDir,
}

impl Anvil {
    /// Starts one with the genesis that `config` describes, under the rules that our chain follows. It mines when it is
    /// told to.
    pub fn start(config: &ChainConfig) -> Result<Self, Missing> {
        let program = foundry("anvil")?;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (genesis, socket) = (
            directory.path().join("genesis.json"),
            directory.path().join("anvil.ipc"),
        );
        fs::write(&genesis, genesis_json(config).to_string()).expect("a file in our directory");
        let mut process = Command::new(&program)
            .arg("--init")
            .arg(&genesis)
            .arg("--ipc")
            .arg(&socket)
            .args(["--port", "0", "--hardfork", "prague", "--no-mining"])
            .args(["--accounts", "0", "--order", "fifo", "--quiet"])
            .args(["--chain-id", &config.chain_id.to_string()])
            .args(["--timestamp", &config.start_timestamp.to_string()])
            .args(["--gas-limit", &config.gas_limit.to_string()])
            .args(["--base-fee", &config.base_fee.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stream = connect(&socket, &mut process);
        let answers = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut anvil = Self {
            process,
            requests: stream,
            answers: serde_json::Deserializer::from_reader(answers).into_iter(),
            _directory: directory,
        };
        anvil.ask("anvil_setCoinbase", json!([FEE_RECIPIENT]));
        Ok(anvil)
    }

    /// Sends one request, or a batch of them, and waits for the answer.
    pub fn exchange(&mut self, body: &Value) -> Value {
        let mut bytes = serde_json::to_vec(body).expect("JSON");
        bytes.push(b'\n');
        self.requests.write_all(&bytes).expect("anvil listens");
        self.answers
            .next()
            .expect("anvil answers")
            .expect("an answer in JSON")
    }

    /// The result of a method that must succeed.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut answer = self.exchange(&body);
        match answer.get_mut("result") {
            Some(result) => result.take(),
            None => panic!("{method} {params}: {answer}"),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may be gone already; there is nobody left to tell.
        let _ = self.requests.shutdown(Shutdown::Both);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(socket: &Path, process: &mut Child) -> UnixStream {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            return stream;
        }
        if let Some(status) = process.try_wait().expect("our own child") {
            panic!("anvil ended before it listened: {status}");
        }
        if Instant::now() > deadline {
            let _ = process.kill();
            panic!("anvil does not listen after {START_TIMEOUT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Geth's description of a genesis block, with every fork up to Prague from the start.
fn genesis_json(config: &ChainConfig) -> Value {
    let alloc: serde_json::Map<String, Value> = config
        .balances
        .iter()
        .map(|(address, balance)| (address.to_string(), json!({"balance": balance})))
        .collect();
    json!({
        "config": {
            "chainId": config.chain_id,
            "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0,
            "berlinBlock": 0, "londonBlock": 0,
            "terminalTotalDifficulty": 0, "terminalTotalDifficultyPassed": true,
            "shanghaiTime": 0, "cancunTime": 0, "pragueTime": 0,
        },
        "nonce": "0x0",
        "timestamp": format!("{:#x}", config.start_timestamp),
        "extraData": "0x",
        "gasLimit": format!("{:#x}", config.gas_limit),
        "difficulty": "0x0",
        "mixHash": alloy::primitives::B256::ZERO,
        "coinbase": FEE_RECIPIENT,
        "baseFeePerGas": format!("{:#x}", config.base_fee),
        "alloc": alloc,
    })
}
