//! State updates per second through [`Chain`], beside a bare revm loop that executes the same calls on the same state.
//!
//! One update is a whole round of three validators: seal, open, propose, three votes, execute; seven transactions in five
//! blocks. A script of rounds is made once; then the chain and the bare loop run it in turns, and the ratios of their
//! best times are printed, so that neither a warm cache nor a busy machine favours one.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use alloy::{
    consensus::{Transaction, TxEnvelope, Typed2718, transaction::SignerRecoverable},
    eips::{
        BlockId,
        eip2718::{Decodable2718, Encodable2718},
    },
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    rpc::types::Block,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use criterion::{Criterion, criterion_group};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext,
    context::{BlockEnv, TxEnv},
    context_interface::block::BlobExcessGasAndPrice,
    database::{CacheDB, EmptyDB},
    primitives::{eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE, hardfork::SpecId},
    state::AccountInfo,
};
use smartnodes_evm::{
    bindings::SmartnodesCoordinator as Coordinator,
    chain::{Chain, ChainConfig},
    deployment::{DeployParams, Deployment, GenesisValidator, deploy_in_process},
    state_update::{StateUpdate, proposal_hash},
};

const VALIDATORS: u8 = 3;
/// Rounds in a script.
const UPDATES: u64 = 50;
/// How often each side runs the script for the printed ratios.
const TURNS: usize = 30;
/// Gas limit of each transaction: more than any of them uses.
const GAS: u64 = 1_000_000;

/// How the validators' transactions come to the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Signed,
    Impersonated,
}

/// What one transaction is made from.
#[derive(Clone)]
enum Input {
    Raw(Vec<u8>),
    Call {
        from: Address,
        to: Address,
        data: Bytes,
    },
}

/// A block of the script.
struct Step {
    timestamp: u64,
    inputs: Vec<Input>,
}

/// The same work for both sides.
struct Script {
    sending: Sending,
    /// Blocks after the deployment.
    steps: Vec<Step>,
    /// Every block of the chain, deployment included, with the environment for the bare loop.
    blocks: Vec<(BlockEnv, Vec<TxEnv>)>,
    hashes: Vec<B256>,
    gas_used: u64,
    deployed_blocks: usize,
}

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

fn deployed() -> (Chain, Deployment) {
    let mut chain = Chain::new(config()).expect("a valid configuration");
    let validator = |n| GenesisValidator {
        wallet: signer(n).address(),
        public_key_hash: keccak256([n]),
    };
    let params = DeployParams {
        genesis: (0..VALIDATORS).map(validator).collect(),
        ..DeployParams::default()
    };
    let deployment = deploy_in_process(&mut chain, &signer(VALIDATORS), &params).expect("deployed");
    (chain, deployment)
}

/// Drives a chain through the rounds and writes down what was sent.
struct Recorder {
    chain: Chain,
    coordinator: Address,
    sending: Sending,
    steps: Vec<Step>,
}

impl Recorder {
    /// Mines a block with these calls of validators.
    fn step(&mut self, timestamp: u64, calls: Vec<(u8, Vec<u8>)>) {
        let mut inputs = Vec::new();
        for (from, data) in calls {
            let (to, data, from) = (
                TxKind::Call(self.coordinator),
                Bytes::from(data),
                signer(from),
            );
            let input = match self.sending {
                Sending::Signed => {
                    let hash = self
                        .chain
                        .send_with_gas(&from, to, data, U256::ZERO, GAS)
                        .expect("sent");
                    Input::Raw(
                        self.chain
                            .transaction(&hash)
                            .expect("it waits")
                            .inner
                            .encoded_2718(),
                    )
                }
                Sending::Impersonated => {
                    let from = from.address();
                    self.chain
                        .impersonate(from, to, data.clone(), U256::ZERO, GAS)
                        .expect("sent");
                    Input::Call {
                        from,
                        to: self.coordinator,
                        data,
                    }
                }
            };
            inputs.push(input);
        }
        let block = self.chain.mine(timestamp).expect("time goes on");
        assert_eq!(block.transactions.len(), inputs.len());
        for hash in &block.transactions {
            assert_eq!(self.chain.failure(hash), None);
        }
        self.steps.push(Step { timestamp, inputs });
    }

    fn round(&mut self, chain_id: u64) {
        let read = |chain: &Chain| {
            chain
                .read(self.coordinator, &Coordinator::roundStatusCall {})
                .expect("status")
        };
        let status = read(&self.chain);
        let due: u64 = status.dueTime.max(self.chain.timestamp() + 2);
        let open = || Coordinator::openRoundCall {}.abi_encode();
        self.step(due, vec![(0, open())]);
        self.step(due + 2, vec![]);
        self.step(due + 4, vec![]);
        self.step(due + 6, vec![(0, open())]);

        let update = StateUpdate {
            merkleRoot: keccak256(status.round.to_be_bytes()),
            totalCapacity: U256::from(1_000_000),
            validatorsToRemove: vec![],
            jobIds: vec![],
            workersHash: B256::ZERO,
            capacitiesHash: B256::ZERO,
            reputationChanges: vec![],
        };
        let hash = proposal_hash(chain_id, self.coordinator, status.round, &update);
        let drawn = self
            .chain
            .read(
                self.coordinator,
                &Coordinator::getCurrentRoundValidatorsCall {},
            )
            .expect("the round is open");
        let proposer = (0..VALIDATORS)
            .find(|n| drawn.contains(&signer(*n).address()))
            .expect("one is drawn");
        self.step(
            due + 8,
            vec![(
                proposer,
                Coordinator::createProposalCall { proposalHash: hash }.abi_encode(),
            )],
        );
        let vote = Coordinator::voteForProposalCall {
            proposalNum: 1,
            proposalHash: hash,
        }
        .abi_encode();
        self.step(
            due + 10,
            (0..VALIDATORS).map(|n| (n, vote.clone())).collect(),
        );
        let execute = Coordinator::executeProposalCall {
            proposalNum: 1,
            update,
        }
        .abi_encode();
        self.step(due + 12, vec![(proposer, execute)]);
    }
}

fn record(sending: Sending) -> Script {
    let (chain, deployment) = deployed();
    let deployed_blocks = usize::try_from(chain.block_number()).expect("few") + 1;
    let chain_id = chain.config().chain_id;
    let mut recorder = Recorder {
        chain,
        coordinator: deployment.coordinator,
        sending,
        steps: Vec::new(),
    };
    for _ in 0..UPDATES {
        recorder.round(chain_id);
    }
    let chain = recorder.chain;
    let blocks: Vec<Block> = (0..=chain.block_number())
        .map(|number| {
            chain
                .block(BlockId::from(number), true)
                .expect("all history is kept")
        })
        .collect();
    Script {
        sending,
        steps: recorder.steps,
        hashes: blocks.iter().map(|block| block.header.hash).collect(),
        gas_used: blocks[deployed_blocks..]
            .iter()
            .map(|block| block.header.gas_used)
            .sum(),
        blocks: blocks.iter().map(environment).collect(),
        deployed_blocks,
    }
}

fn environment(block: &Block) -> (BlockEnv, Vec<TxEnv>) {
    let header = &block.header;
    let env = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.expect("London and later"),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(
            0,
            BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE,
        )),
        slot_num: 0,
    };
    let transactions = block
        .transactions
        .txns()
        .map(|tx| tx_env(tx.inner.inner(), tx.inner.signer()));
    (env, transactions.collect())
}

fn tx_env(tx: &TxEnvelope, caller: Address) -> TxEnv {
    TxEnv {
        tx_type: tx.ty(),
        caller,
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        ..TxEnv::default()
    }
}

/// Runs the script on a chain that stands where the deployment left it.
fn run_chain(chain: &mut Chain, script: &Script) {
    for step in &script.steps {
        for input in &step.inputs {
            match input {
                Input::Raw(raw) => chain.submit_raw(raw).expect("as recorded"),
                Input::Call { from, to, data } => {
                    let to = TxKind::Call(*to);
                    chain
                        .impersonate(*from, to, data.clone(), U256::ZERO, GAS)
                        .expect("as recorded")
                }
            };
        }
        black_box(chain.mine(step.timestamp).expect("as recorded"));
    }
}

/// Runs blocks in a bare EVM that commits each transaction to revm's own database. Returns the gas used.
fn run_bare(database: &mut CacheDB<EmptyDB>, blocks: &[(BlockEnv, Vec<TxEnv>)]) -> u64 {
    let mut evm = Context::mainnet()
        .with_db(database)
        .modify_cfg_chained(|cfg| {
            cfg.set_spec_and_mainnet_gas_params(SpecId::PRAGUE);
            cfg.chain_id = config().chain_id;
        })
        .build_mainnet();
    let mut gas_used = 0;
    for (block, transactions) in blocks {
        evm.set_block(block.clone());
        for tx in transactions {
            let result = evm.transact_commit(tx.clone()).expect("as recorded");
            assert!(result.is_success());
            gas_used += result.tx_gas_used();
        }
    }
    gas_used
}

/// Decodes the script's transactions and recovers their signers, which a chain has to do and a bare EVM has not.
fn recover(script: &Script) {
    for input in script.steps.iter().flat_map(|step| &step.inputs) {
        if let Input::Raw(raw) = input {
            let envelope = TxEnvelope::decode_2718_exact(raw).expect("as recorded");
            black_box(envelope.recover_signer().expect("as recorded"));
        }
    }
}

/// The state after the deployment, in revm's own database.
fn bare_database(script: &Script) -> CacheDB<EmptyDB> {
    let mut database = CacheDB::new(EmptyDB::new());
    for (address, balance) in config().balances {
        database.insert_account_info(
            address,
            AccountInfo {
                balance,
                ..AccountInfo::default()
            },
        );
    }
    for (number, hash) in script.hashes.iter().enumerate() {
        database
            .cache
            .block_hashes
            .insert(U256::from(number), *hash);
    }
    run_bare(&mut database, &script.blocks[..script.deployed_blocks]);
    database
}

fn time<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(run());
    start.elapsed()
}

/// One turn of the chain; it is taken back afterwards.
fn time_chain(chain: &mut Chain, script: &Script) -> Duration {
    let id = chain.snapshot().expect("none is held");
    let elapsed = time(|| run_chain(chain, script));
    assert_eq!(
        Some(&chain.block_hash()),
        script.hashes.last(),
        "the replay is exact"
    );
    chain.revert(id).expect("just taken");
    elapsed
}

/// One turn of the bare loop.
fn time_bare(base: &CacheDB<EmptyDB>, script: &Script) -> Duration {
    let mut database = base.clone();
    let blocks = &script.blocks[script.deployed_blocks..];
    let mut gas_used = 0;
    let elapsed = time(|| gas_used = run_bare(&mut database, blocks));
    assert_eq!(
        gas_used, script.gas_used,
        "the bare loop does the same work"
    );
    elapsed
}

fn per_second(elapsed: Duration) -> f64 {
    UPDATES as f64 / elapsed.as_secs_f64()
}

fn compare(script: &Script) {
    let (mut chain, _) = deployed();
    let base = bare_database(script);
    let [mut best_chain, mut best_bare, mut best_recovery] = [Duration::MAX; 3];
    for _ in 0..TURNS {
        best_bare = best_bare.min(time_bare(&base, script));
        best_recovery = best_recovery.min(time(|| recover(script)));
        best_chain = best_chain.min(time_chain(&mut chain, script));
    }
    let ratio = |bare: Duration| best_chain.as_secs_f64() / bare.as_secs_f64();
    println!(
        "{}: {:.0} updates/s through the chain, {:.0} in a bare loop, ratio {:.2} ({} gas an update)",
        if script.sending == Sending::Signed {
            "signed      "
        } else {
            "impersonated"
        },
        per_second(best_chain),
        per_second(best_bare),
        ratio(best_bare),
        script.gas_used / UPDATES,
    );
    if script.sending == Sending::Signed {
        println!(
            "              {:.0} in a bare loop that recovers the signers too, ratio {:.2}",
            per_second(best_bare + best_recovery),
            ratio(best_bare + best_recovery),
        );
    }
}

fn state_updates(criterion: &mut Criterion) {
    let scripts = [Sending::Signed, Sending::Impersonated].map(record);
    for script in &scripts {
        compare(script);
    }
    let mut group = criterion.benchmark_group("state_updates");
    group
        .sample_size(10)
        .throughput(criterion::Throughput::Elements(UPDATES));
    for (name, script) in ["chain_signed", "chain_impersonated"]
        .into_iter()
        .zip(&scripts)
    {
        let (mut chain, _) = deployed();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|turns| (0..turns).map(|_| time_chain(&mut chain, script)).sum());
        });
    }
    let base = bare_database(&scripts[0]);
    group.bench_function("bare_revm", |bencher| {
        bencher.iter_custom(|turns| (0..turns).map(|_| time_bare(&base, &scripts[0])).sum());
    });
    group.finish();
}

/// Eight hours of empty blocks.
fn empty_blocks(criterion: &mut Criterion) {
    criterion.bench_function("empty_blocks/8_hours", |bencher| {
        let mut chain = Chain::new(config()).expect("a valid configuration");
        bencher.iter(|| {
            chain
                .advance_to(chain.timestamp() + 8 * 3_600)
                .expect("time goes on")
        });
    });
}

criterion_group!(benches, state_updates, empty_blocks);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
