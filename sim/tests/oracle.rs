//! The oracle on the real contracts: validators who agree on something untrue get it executed, and it is seen.
#![cfg(madsim)]

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token};
use smartnodes_evm::chain::{Chain, ChainConfig};
use smartnodes_evm::deployment::{DeployParams, Deployment, GenesisValidator, deploy_in_process};
use smartnodes_evm::reward_tree::RewardTree;
use smartnodes_evm::state_update::{StateUpdate, capacities_hash, proposal_hash, workers_hash};
use smartnodes_sim::oracle::books::Terms;
use smartnodes_sim::oracle::truth::Truth;
use smartnodes_sim::oracle::{Oracle, Tally};
use smartnodes_sim::violation::Violations;

const INTERVAL: u64 = 28_800;
const VALIDATORS: u8 = 3;
const WORKER: u8 = 7;
const DEPLOYER: u8 = 99;

fn signer(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(n)).expect("a small number is a key")
}

struct World {
    chain: Chain,
    deployment: Deployment,
    truth: Truth,
    violations: Violations,
    oracle: Oracle,
}

impl World {
    /// A deployed network with three validators, and an oracle that has seen the deployment.
    fn new() -> World {
        let wallets = (1..=VALIDATORS)
            .chain([WORKER, DEPLOYER])
            .map(|n| signer(n).address());
        let ether = U256::from(10).pow(U256::from(20));
        let config = ChainConfig {
            balances: wallets.map(|w| (w, ether)).collect(),
            ..ChainConfig::default()
        };
        let mut chain = Chain::new(config).unwrap();
        let genesis = (1..=VALIDATORS).map(|n| GenesisValidator {
            wallet: signer(n).address(),
            public_key_hash: keccak256([n]),
        });
        let params = DeployParams {
            genesis: genesis.collect(),
            ..DeployParams::default()
        };
        let deployment = deploy_in_process(&mut chain, &signer(DEPLOYER), &params).unwrap();
        let deployed_at = chain
            .read(deployment.token, &Token::i_deploymentTimestampCall {})
            .unwrap();
        let terms = Terms {
            genesis: VALIDATORS.into(),
            testnet: 0,
            deployed_at: deployed_at.saturating_to(),
            interval: INTERVAL,
            approval_percent: 66,
        };
        let (truth, violations) = (Truth::default(), Violations::default());
        let mut oracle = Oracle::new(deployment.clone(), terms, truth.clone(), violations.clone());
        (1..=chain.block_number()).for_each(|number| oracle.follow(&chain, number));
        oracle.compare(&chain);
        World {
            chain,
            deployment,
            truth,
            violations,
            oracle,
        }
    }

    fn send(&mut self, from: u8, to: Address, call: impl SolCall) {
        let data = Bytes::from(call.abi_encode());
        let receipt = self
            .chain
            .transact(&signer(from), TxKind::Call(to), data, U256::ZERO)
            .unwrap();
        assert!(
            receipt.status(),
            "{:?}",
            self.chain.failure(&receipt.transaction_hash)
        );
        self.oracle
            .follow(&self.chain, receipt.block_number.unwrap());
        self.oracle.compare(&self.chain);
    }

    /// All validators agree on an update that pays the one worker, and it is executed and claimed.
    fn update(&mut self, capacity: u64, jobs: Vec<B256>) {
        let coordinator = self.deployment.coordinator;
        let due = self
            .chain
            .read(coordinator, &Coordinator::roundStatusCall {})
            .unwrap()
            .dueTime;
        self.chain.mine(due).unwrap();
        self.send(1, coordinator, Coordinator::openRoundCall {});
        (0..3).for_each(|_| drop(self.chain.mine_next().unwrap()));
        self.send(1, coordinator, Coordinator::openRoundCall {});

        let status = self
            .chain
            .read(coordinator, &Coordinator::roundStatusCall {})
            .unwrap();
        let (worker, capacity) = (signer(WORKER).address(), U256::from(capacity));
        let tree = RewardTree::new(status.nextDistributionId, vec![(worker, capacity)]).unwrap();
        let update = StateUpdate {
            merkleRoot: tree.root(),
            totalCapacity: capacity,
            validatorsToRemove: Vec::new(),
            jobIds: jobs,
            workersHash: workers_hash(&[worker]),
            capacitiesHash: capacities_hash(&[capacity]),
            reputationChanges: Vec::new(),
        };
        let proposal = proposal_hash(self.deployment.chain_id, coordinator, status.round, &update);
        let proposers = self
            .chain
            .read(coordinator, &Coordinator::getCurrentRoundValidatorsCall {})
            .unwrap();
        let proposer = (1..=VALIDATORS)
            .find(|n| proposers.contains(&signer(*n).address()))
            .unwrap();
        self.send(
            proposer,
            coordinator,
            Coordinator::createProposalCall {
                proposalHash: proposal,
            },
        );
        for validator in 1..=VALIDATORS {
            let vote = Coordinator::voteForProposalCall {
                proposalNum: 1,
                proposalHash: proposal,
            };
            self.send(validator, coordinator, vote);
        }
        self.send(
            proposer,
            coordinator,
            Coordinator::executeProposalCall {
                proposalNum: 1,
                update,
            },
        );
        let claim = Token::claimMerkleRewardsCall {
            distributionId: U256::from(status.nextDistributionId),
            capacity,
            proof: tree.proof(worker).unwrap(),
        };
        self.send(WORKER, self.deployment.token, claim);
    }

    fn broken(&self) -> Vec<String> {
        self.violations
            .all()
            .into_iter()
            .map(|violation| violation.invariant)
            .collect()
    }
}

#[test]
fn what_is_true_breaks_nothing() {
    let mut world = World::new();
    world.truth.submitted(B256::repeat_byte(5), 1);
    world.truth.computed(
        B256::repeat_byte(1),
        signer(WORKER).address(),
        100,
        Some((B256::repeat_byte(5), 0)),
    );
    world.update(100, vec![B256::repeat_byte(5)]);
    assert_eq!(world.violations.all(), []);
    let tally = Tally {
        state_updates: 1,
        claims: 1,
        unclaimed_capacity: 0,
        open_jobs: 0,
        required_approvals: 2,
        rounds_opened: 1,
        rounds_lost: 0,
        last_round: 1,
    };
    assert_eq!(world.oracle.tally(), tally);
}

#[test]
fn one_unit_of_capacity_too_many_is_seen_at_the_execution_and_at_the_claim() {
    let mut world = World::new();
    world
        .truth
        .computed(B256::repeat_byte(1), signer(WORKER).address(), 100, None);
    world.update(101, Vec::new());
    assert_eq!(world.broken(), ["executed-is-true", "executed-is-true"]);
}

#[test]
fn one_flipped_bit_in_a_job_is_seen() {
    let mut world = World::new();
    let (job, mut flipped) = (B256::repeat_byte(5), B256::repeat_byte(5));
    flipped.0[31] ^= 1;
    world.truth.submitted(job, 1);
    world.truth.computed(
        B256::repeat_byte(1),
        signer(WORKER).address(),
        100,
        Some((job, 0)),
    );
    world.update(100, vec![flipped]);
    assert_eq!(world.broken(), ["executed-is-true"]);
}

#[test]
fn an_oracle_with_another_vote_rule_sees_the_contracts_break_it() {
    let mut world = World::new();
    let deployed_at = world
        .chain
        .read(world.deployment.token, &Token::i_deploymentTimestampCall {})
        .unwrap();
    let deployed_at = deployed_at.saturating_to();
    let terms = Terms {
        genesis: 3,
        testnet: 0,
        deployed_at,
        interval: INTERVAL,
        approval_percent: 100,
    };
    world.oracle = Oracle::new(
        world.deployment.clone(),
        terms,
        world.truth.clone(),
        world.violations.clone(),
    );
    (1..=world.chain.block_number()).for_each(|number| world.oracle.follow(&world.chain, number));
    world
        .truth
        .computed(B256::repeat_byte(1), signer(WORKER).address(), 100, None);
    world.update(100, Vec::new());
    assert!(
        world.broken().contains(&"approved".to_owned()),
        "{:?}",
        world.violations.all()
    );
}
