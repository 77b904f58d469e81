//! State updates per second on our chain and on `anvil`, in one run; then what an update costs, and how much memory it
//! takes, as our chain grows to 100,000 blocks.
//!
//! A state update is five transactions of three validators in one block: proposal, three votes, execution. Before it,
//! its round is opened: sealed, drawn two blocks later, opened in the next. Both chains get the same work in the same
//! blocks, signed beforehand. Ours is called; anvil is asked over a Unix socket, one batch for all that can be sent at
//! once, with one mine for each update, which is the fastest that it can be driven.
//!
//! ```sh
//! cargo bench -p smartnodes-evm --bench anvil
//! ```

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/tools_support/mod.rs"]
mod tools_support;

use std::{
    fs,
    ops::Add,
    time::{Duration, Instant},
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::{BlockId, eip2718::Encodable2718},
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolValue},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use smartnodes_evm::{
    bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token},
    chain::{Chain, ChainConfig},
    deployment::{DeployParams, Deployment, DeploymentPlan, GenesisValidator},
    state_update::{StateUpdate, proposal_hash},
};
use tools_support::anvil::Anvil;

/// Updates that both chains execute.
const UPDATES: u64 = 1_000;
/// How much faster ours has to be.
const RATIO_MIN: f64 = 20.0;
const VALIDATORS: u8 = 3;
const INTERVAL: u64 = 8 * 3_600;
/// Gas limit of each transaction: more than any of them uses.
const GAS: u64 = 6_500_000;
/// Lengths of our chain, in blocks, at which its costs are shown.
const LENGTHS: [u64; 4] = [1_000, 10_000, 50_000, 100_000];
/// Blocks that the growing chain remembers.
const HISTORY: u64 = 10_000;
/// Updates over which a cost is taken.
const SAMPLE: u64 = 100;

fn signer(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[n + 1; 32]).expect("a small number is a valid key")
}

fn config() -> ChainConfig {
    let ether = U256::from(10).pow(U256::from(24));
    ChainConfig {
        balances: (0..=VALIDATORS)
            .map(|n| (signer(n).address(), ether))
            .collect(),
        ..ChainConfig::default()
    }
}

/// The blocks of a batch: when each is mined, and what is in it.
type Blocks = Vec<(u64, Vec<Vec<u8>>)>;

/// A chain under test.
trait Side {
    /// Sends and mines.
    fn mine(&mut self, blocks: &Blocks);
    /// Hash of the latest block.
    fn latest_hash(&mut self) -> B256;
    /// What a view answers.
    fn view(&mut self, to: Address, data: Bytes) -> Bytes;
    /// CPU time used so far.
    fn cpu(&self) -> Duration;
}

struct Ours(Chain);

impl Side for Ours {
    fn mine(&mut self, blocks: &Blocks) {
        for (time, transactions) in blocks {
            for raw in transactions {
                self.0.submit_raw(raw).expect("a good transaction");
            }
            let block = self.0.mine(*time).expect("time goes on");
            assert_eq!(block.transactions.len(), transactions.len());
        }
    }

    fn latest_hash(&mut self) -> B256 {
        self.0.block_hash()
    }

    fn view(&mut self, to: Address, data: Bytes) -> Bytes {
        let request = alloy::rpc::types::TransactionRequest::default()
            .to(to)
            .input(data.into());
        self.0.call(&request, BlockId::latest()).expect("a view")
    }

    fn cpu(&self) -> Duration {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::try_from(time).expect("it counts from zero")
    }
}

impl Side for Anvil {
    fn mine(&mut self, blocks: &Blocks) {
        let mut batch = Vec::new();
        let mut add = |method: &str, params: Value| {
            batch.push(
                json!({"jsonrpc": "2.0", "id": batch.len(), "method": method, "params": params}),
            );
        };
        for (time, transactions) in blocks {
            for raw in transactions {
                add(
                    "eth_sendRawTransaction",
                    json!([Bytes::copy_from_slice(raw)]),
                );
            }
            add("evm_setNextBlockTimestamp", json!([time]));
            add("evm_mine", json!([]));
        }
        let answers = self.exchange(&Value::from(batch));
        for answer in answers.as_array().expect("a batch") {
            assert!(answer.get("error").is_none(), "{answer}");
        }
    }

    fn latest_hash(&mut self) -> B256 {
        let block = self.ask("eth_getBlockByNumber", json!(["latest", false]));
        serde_json::from_value(block["hash"].clone()).expect("a hash")
    }

    fn view(&mut self, to: Address, data: Bytes) -> Bytes {
        let answer = self.ask("eth_call", json!([{"to": to, "input": data}, "latest"]));
        serde_json::from_value(answer).expect("bytes")
    }

    fn cpu(&self) -> Duration {
        // It works only when it is asked, so its steps are lost nowhere between two askings.
        cpu_time(self.id())
    }
}

/// User and system time of a process, its threads included, in steps of a hundredth of a second.
fn cpu_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux");
    // The name may hold spaces; utime and stime are the 14th and 15th field, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Memory of this process, in MiB.
fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a running process has memory");
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kib / 1_024
}

/// Time that passed and CPU time that a chain used.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
        }
    }
}

impl Cost {
    fn rate(self, updates: u64) -> f64 {
        updates as f64 / self.wall.as_secs_f64()
    }

    /// CPU time of one, in microseconds.
    fn per_update(self, updates: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / updates as f64
    }
}

/// A deployment on one chain, and how far its rounds have come.
struct Network<S> {
    side: S,
    deployment: Deployment,
    signers: Vec<PrivateKeySigner>,
    nonces: Vec<u64>,
    round: u64,
    due: u64,
    opening: Cost,
    update: Cost,
}

impl<S: Side> Network<S> {
    fn deploy(side: S) -> Self {
        let config = config();
        let deployer = usize::from(VALIDATORS);
        let signers: Vec<_> = (0..=VALIDATORS).map(signer).collect();
        let validator = |n| GenesisValidator {
            wallet: signer(n).address(),
            public_key_hash: keccak256([n]),
        };
        let params = DeployParams {
            genesis: (0..VALIDATORS).map(validator).collect(),
            update_interval_seconds: INTERVAL,
            ..DeployParams::default()
        };
        let plan = DeploymentPlan::new(&params, signers[deployer].address(), 0, config.chain_id)
            .expect("good parameters");
        let mut network = Self {
            side,
            deployment: plan.deployment,
            nonces: vec![0; signers.len()],
            signers,
            round: 1,
            due: config.start_timestamp + 2 + INTERVAL,
            opening: Cost::default(),
            update: Cost::default(),
        };
        for (place, init_code) in plan.transactions.into_iter().enumerate() {
            let raw = network.sign(deployer, TxKind::Create, init_code);
            let time = config.start_timestamp + 2 + 2 * place as u64;
            network.side.mine(&vec![(time, vec![raw])]);
        }
        network
    }

    fn sign(&mut self, by: usize, to: TxKind, input: Bytes) -> Vec<u8> {
        let nonce = self.nonces[by];
        self.nonces[by] += 1;
        let tx = TxEip1559 {
            chain_id: self.deployment.chain_id,
            nonce,
            gas_limit: GAS,
            max_fee_per_gas: 100_000_000,
            max_priority_fee_per_gas: 1_000_000,
            to,
            input,
            ..TxEip1559::default()
        };
        let signature = self.signers[by]
            .sign_hash_sync(&tx.signature_hash())
            .expect("a local key signs");
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
    }

    fn call(&mut self, by: usize, call: impl SolCall) -> Vec<u8> {
        let to = TxKind::Call(self.deployment.coordinator);
        self.sign(by, to, call.abi_encode().into())
    }

    /// A proposer, drawn as the Coordinator draws: all have voted in the round before.
    fn proposer(&mut self) -> usize {
        let hash = self.side.latest_hash();
        let seed = (hash, self.deployment.coordinator, U256::from(self.round)).abi_encode();
        let seed = keccak256(seed);
        (0..usize::from(VALIDATORS))
            .min_by_key(|n| keccak256((seed, self.signers[*n].address()).abi_encode()))
            .expect("there are validators")
    }

    /// Opens a round and executes an update in it; what it cost is added up.
    fn round(&mut self) {
        let due = self.due;
        let open = || Coordinator::openRoundCall {};
        let seal = vec![self.call(0, open())];
        let sealing = vec![(due, seal), (due + 2, vec![]), (due + 4, vec![])];
        let opening = vec![(due + 6, vec![self.call(0, open())])];
        let first = measure(&mut self.side, |side| side.mine(&sealing));
        let proposer = self.proposer();
        let second = measure(&mut self.side, |side| side.mine(&opening));

        let update = StateUpdate {
            merkleRoot: keccak256(self.round.to_be_bytes()),
            totalCapacity: U256::from(1_000_000),
            validatorsToRemove: vec![],
            jobIds: vec![],
            workersHash: B256::ZERO,
            capacitiesHash: B256::ZERO,
            reputationChanges: vec![],
        };
        let d = &self.deployment;
        let hash = proposal_hash(d.chain_id, d.coordinator, self.round, &update);
        let propose = Coordinator::createProposalCall { proposalHash: hash };
        let mut transactions = vec![self.call(proposer, propose)];
        for voter in 0..usize::from(VALIDATORS) {
            let vote = Coordinator::voteForProposalCall {
                proposalNum: 1,
                proposalHash: hash,
            };
            transactions.push(self.call(voter, vote));
        }
        let execute = Coordinator::executeProposalCall {
            proposalNum: 1,
            update,
        };
        transactions.push(self.call(proposer, execute));
        let block = vec![(due + 8, transactions)];
        let third = measure(&mut self.side, |side| side.mine(&block));
        self.opening = self.opening + first + second;
        self.update = self.update + third;
        self.round += 1;
        self.due += INTERVAL;
    }

    fn whole(&self) -> Cost {
        self.opening + self.update
    }

    fn view<C: SolCall>(&mut self, contract: Address, call: &C) -> C::Return {
        let output = self.side.view(contract, call.abi_encode().into());
        C::abi_decode_returns(&output).expect("the contract's answer")
    }

    /// All rounds were executed; the supply that they made.
    fn executed(&mut self) -> U256 {
        let token = self.deployment.token;
        let last = self.view(token, &Token::s_currentDistributionIdCall {});
        assert_eq!(
            last,
            U256::from(self.round - 1),
            "every update was executed"
        );
        self.view(token, &Token::totalSupplyCall {})
    }
}

fn measure<S: Side>(side: &mut S, run: impl FnOnce(&mut S)) -> Cost {
    let (cpu, start) = (side.cpu(), Instant::now());
    run(side);
    let wall = start.elapsed();
    let cpu = side.cpu().saturating_sub(cpu);
    Cost { wall, cpu }
}

fn beside_anvil() {
    let anvil = match Anvil::start(&config()) {
        Ok(anvil) => anvil,
        Err(missing) => return missing.report("the comparison with anvil"),
    };
    let mut theirs = Network::deploy(anvil);
    let mut ours = Network::deploy(Ours(Chain::new(config()).expect("a valid configuration")));
    // In turns, so that a busy machine favours neither.
    for _ in 0..UPDATES {
        ours.round();
        theirs.round();
    }
    assert_eq!(ours.executed(), theirs.executed(), "both did the same");
    println!("{UPDATES} state updates of {VALIDATORS} validators:");
    for (what, left, right) in [
        ("5 transactions, one mine", ours.update, theirs.update),
        (
            "the whole round: 7 in 5 blocks",
            ours.whole(),
            theirs.whole(),
        ),
    ] {
        let times = |left: Duration, right: Duration| right.as_secs_f64() / left.as_secs_f64();
        println!(
            "  {what:30}  ours {:6.0}/s, anvil {:5.1}/s: {:5.1} times; CPU time {:5.2} s and {:5.2} s: {:5.1} times",
            left.rate(UPDATES),
            right.rate(UPDATES),
            times(left.wall, right.wall),
            left.cpu.as_secs_f64(),
            right.cpu.as_secs_f64(),
            times(left.cpu, right.cpu),
        );
    }
    // CPU time, which other work on the machine does not change.
    let ratio = theirs.whole().cpu.as_secs_f64() / ours.whole().cpu.as_secs_f64();
    assert!(
        ratio >= RATIO_MIN,
        "{ratio:.1} times anvil's rate; {RATIO_MIN} are wanted"
    );
}

fn growing() {
    let config = ChainConfig {
        history_blocks_max: HISTORY,
        ..config()
    };
    let mut network = Network::deploy(Ours(Chain::new(config).expect("a valid configuration")));
    println!("our chain, {HISTORY} blocks of history, CPU time:");
    for length in LENGTHS {
        // A sample ends at the length; a round takes five blocks.
        while network.side.0.block_number() + 5 * SAMPLE < length {
            network.round();
        }
        (network.opening, network.update) = (Cost::default(), Cost::default());
        for _ in 0..SAMPLE {
            network.round();
        }
        let cpu = network.side.cpu();
        for _ in 0..SAMPLE {
            network.view(
                network.deployment.coordinator,
                &Coordinator::roundStatusCall {},
            );
        }
        println!(
            "  {:7} blocks: {:5.0} us an update, {:5.0} us opening, {:5.1} us a call of a view, {:4} MiB resident",
            network.side.0.block_number(),
            network.update.per_update(SAMPLE),
            network.opening.per_update(SAMPLE),
            (network.side.cpu() - cpu).as_secs_f64() * 1e6 / SAMPLE as f64,
            resident_mib(),
        );
    }
    network.executed();
}

fn main() {
    // Cargo also runs benchmarks as tests, to see that they build.
    if std::env::args().any(|argument| argument == "--bench") {
        // First, while the process is small.
        growing();
        beside_anvil();
    }
}
