//! A deployed network on the chain in the process, and the steps of a round, for the tests of the contracts.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod actors;
pub mod governance;
pub mod shorthand;
mod variants;

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolError, SolEvent},
};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
    },
    chain::{Chain, ChainConfig, ChainError},
    deployment::{DeployParams, Deployment, DeploymentPlan, GenesisValidator, deploy_in_process},
    reward_tree::RewardTree,
    state_update::{StateUpdate, proposal_hash},
};
pub use variants::*;

/// The default update interval, in seconds.
pub const INTERVAL: u64 = 8 * 3_600;

/// One SNO in wei.
pub const SNO: u128 = 1_000_000_000_000_000_000;

/// An amount of SNO in wei.
pub fn sno(amount: u64) -> U256 {
    U256::from(amount) * U256::from(SNO)
}

/// The n-th test key.
pub fn signer(n: u32) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(n.to_be_bytes())).expect("a hash is a valid key")
}

/// The hash of the n-th test node's network key.
pub fn key_hash(n: u32) -> B256 {
    keccak256([b"network key".as_slice(), &n.to_be_bytes()].concat())
}

/// Workers are the signers from here on.
pub const FIRST_WORKER: u32 = 500;
/// The user.
pub const USER: u32 = 900;
/// The deployer, who is nobody afterwards.
pub const DEPLOYER: u32 = 999;

/// A deployed network. Validators are the signers 0, 1, 2, ...
pub struct World {
    pub chain: Chain,
    pub deployment: Deployment,
}

impl World {
    /// A network of `genesis` validators with the default parameters.
    pub fn new(genesis: u32) -> Self {
        Self::with(genesis, DeployParams::default())
    }

    /// A network of `genesis` validators; the rest of the parameters is given.
    pub fn with(genesis: u32, params: DeployParams) -> Self {
        Self::deploy(genesis, params, None).expect("deployed")
    }

    /// As [`World::with`], with one contract replaced by a broken variant if one is given.
    pub fn deploy(
        genesis: u32,
        params: DeployParams,
        variant: Option<&Variant>,
    ) -> Result<Self, ChainError> {
        let ether = U256::from(SNO) * U256::from(1_000);
        let people = (0..genesis.max(20))
            .chain(FIRST_WORKER..FIRST_WORKER + 10)
            .chain([USER, DEPLOYER]);
        let config = ChainConfig {
            balances: people.map(|n| (signer(n).address(), ether)).collect(),
            // Hundreds of validators need more room than a block of Base.
            gas_limit: 1_000_000_000,
            ..ChainConfig::default()
        };
        let mut chain = Chain::new(config).expect("a valid configuration");
        let genesis = (0..genesis)
            .map(|n| GenesisValidator {
                wallet: signer(n).address(),
                public_key_hash: key_hash(n),
            })
            .collect();
        let params = DeployParams { genesis, ..params };
        let deployer = signer(DEPLOYER);
        let deployment = match variant {
            None => deploy_in_process(&mut chain, &deployer, &params).expect("deployed"),
            Some(variant) => {
                let chain_id = chain.config().chain_id;
                let mut plan = DeploymentPlan::new(&params, deployer.address(), 0, chain_id)
                    .expect("good parameters");
                variant.replace_in(&mut plan);
                let mut start = None;
                for init_code in &plan.transactions {
                    chain.transact(&deployer, TxKind::Create, init_code.clone(), U256::ZERO)?;
                    start.get_or_insert((chain.block_number(), chain.timestamp()));
                }
                let (number, timestamp) = start.expect("a plan has transactions");
                plan.started(number, timestamp)
            }
        };
        Ok(Self { chain, deployment })
    }

    /// Sends a call and mines it.
    pub fn send<C: SolCall>(
        &mut self,
        from: u32,
        to: Address,
        call: C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.pay(from, to, call, U256::ZERO)
    }

    /// Sends a call with ETH and mines it.
    pub fn pay<C: SolCall>(
        &mut self,
        from: u32,
        to: Address,
        call: C,
        value: U256,
    ) -> Result<TransactionReceipt, ChainError> {
        self.chain.transact(
            &signer(from),
            TxKind::Call(to),
            Bytes::from(call.abi_encode()),
            value,
        )
    }

    /// Sends a call as the timelock, which is what governance's decisions become.
    pub fn govern<C: SolCall>(
        &mut self,
        to: Address,
        call: C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.impersonate(self.deployment.timelock, to, call)
    }

    /// Sends a call as any account, contracts included.
    pub fn impersonate<C: SolCall>(
        &mut self,
        from: Address,
        to: Address,
        call: C,
    ) -> Result<TransactionReceipt, ChainError> {
        if self
            .chain
            .balance(from, alloy::eips::BlockId::latest())
            .expect("latest")
            < U256::from(SNO) / U256::from(10)
        {
            // Gas money by self-destruct, which no contract can refuse.
            let init: Bytes = [&[0x73][..], from.as_slice(), &[0xff]].concat().into();
            self.chain
                .transact(&signer(DEPLOYER), TxKind::Create, init, U256::from(SNO))
                .expect("gas money");
        }
        let hash = self.chain.impersonate(
            from,
            TxKind::Call(to),
            Bytes::from(call.abi_encode()),
            U256::ZERO,
            30_000_000,
        )?;
        self.chain.mine_for(hash)
    }

    pub fn coordinator<C: SolCall>(&self, call: C) -> C::Return {
        self.chain
            .read(self.deployment.coordinator, &call)
            .expect("a view of the Coordinator")
    }

    pub fn core<C: SolCall>(&self, call: C) -> C::Return {
        self.chain
            .read(self.deployment.core, &call)
            .expect("a view of Core")
    }

    pub fn token<C: SolCall>(&self, call: C) -> C::Return {
        self.chain
            .read(self.deployment.token, &call)
            .expect("a view of the token")
    }

    pub fn balance(&self, account: Address) -> U256 {
        self.token(Token::balanceOfCall { account })
    }

    pub fn balance_of(&self, n: u32) -> U256 {
        self.balance(signer(n).address())
    }

    pub fn status(&self) -> Coordinator::RoundStatus {
        self.coordinator(Coordinator::roundStatusCall {})
    }

    /// Waits until `time` (chain seconds).
    pub fn wait_until(&mut self, time: u64) {
        if time > self.chain.timestamp() {
            self.chain.mine(time).expect("time goes on");
        }
    }

    pub fn wait(&mut self, seconds: u64) {
        self.wait_until(self.chain.timestamp() + seconds);
    }

    pub fn mine_blocks(&mut self, count: u64) {
        for _ in 0..count {
            self.chain.mine_next().expect("time goes on");
        }
    }

    /// Brings the round to the open phase, driven by validator `by`.
    pub fn open_round(&mut self, by: u32) -> Coordinator::RoundStatus {
        let coordinator = self.deployment.coordinator;
        if self.status().phase == 0 {
            self.wait_until(self.status().dueTime);
        }
        for _ in 0..4 {
            match self.status().phase {
                4 => break,
                2 => self.mine_blocks(3),
                _ => {
                    self.send(by, coordinator, Coordinator::openRoundCall {})
                        .expect("openRound");
                }
            }
        }
        let status = self.status();
        assert_eq!(status.phase, 4, "the round is open");
        status
    }

    /// The number of a drawn proposer among the first signers.
    pub fn proposer(&self) -> u32 {
        let proposers = self.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
        (0..300)
            .find(|n| proposers.contains(&signer(*n).address()))
            .expect("the proposers are among the first signers")
    }

    pub fn hash(&self, update: &StateUpdate) -> B256 {
        proposal_hash(
            self.deployment.chain_id,
            self.deployment.coordinator,
            self.status().round,
            update,
        )
    }

    pub fn propose(&mut self, by: u32, hash: B256) -> Result<TransactionReceipt, ChainError> {
        let coordinator = self.deployment.coordinator;
        self.send(
            by,
            coordinator,
            Coordinator::createProposalCall { proposalHash: hash },
        )
    }

    pub fn vote(
        &mut self,
        by: u32,
        number: u8,
        hash: B256,
    ) -> Result<TransactionReceipt, ChainError> {
        let coordinator = self.deployment.coordinator;
        self.send(
            by,
            coordinator,
            Coordinator::voteForProposalCall {
                proposalNum: number,
                proposalHash: hash,
            },
        )
    }

    pub fn execute(
        &mut self,
        by: u32,
        number: u8,
        update: &StateUpdate,
    ) -> Result<TransactionReceipt, ChainError> {
        let coordinator = self.deployment.coordinator;
        self.send(
            by,
            coordinator,
            Coordinator::executeProposalCall {
                proposalNum: number,
                update: update.clone(),
            },
        )
    }

    /// Opens a round, driven by validator `by`, in which a drawn proposer proposes `update`: the hash and the proposer.
    pub fn proposed(&mut self, by: u32, update: &StateUpdate) -> (B256, u32) {
        self.open_round(by);
        let proposer = self.proposer();
        let hash = self.hash(update);
        self.propose(proposer, hash).expect("proposed");
        (hash, proposer)
    }

    /// Validator `n` leaves the set.
    pub fn leave(&mut self, n: u32) {
        let coordinator = self.deployment.coordinator;
        self.send(n, coordinator, Coordinator::removeValidatorCall {})
            .expect("left");
    }

    /// Validator `n`, who is out of the set, asks to be in it again.
    pub fn join(&mut self, n: u32) -> Result<TransactionReceipt, ChainError> {
        let coordinator = self.deployment.coordinator;
        self.send(n, coordinator, Coordinator::addValidatorCall {})
    }

    /// Whether proposal `number` has the approvals that it needs.
    pub fn is_ready(&self, number: u8) -> bool {
        self.coordinator(Coordinator::isProposalReadyCall {
            proposalNum: number,
        })
    }

    /// A whole round, in which `voters` vote for `update`; returns the execution's receipt.
    pub fn run_round(&mut self, voters: &[u32], update: &StateUpdate) -> TransactionReceipt {
        self.open_round(voters[0]);
        let proposer = self.proposer();
        let hash = self.hash(update);
        self.propose(proposer, hash).expect("proposed");
        for voter in voters {
            self.vote(*voter, 1, hash).expect("voted");
        }
        self.wait(INTERVAL / 32);
        self.execute(proposer, 1, update).expect("executed")
    }

    /// Runs rounds without capacity until `time` (chain seconds) is reached.
    pub fn run_empty_rounds(&mut self, voters: &[u32], count: u64) {
        for _ in 0..count {
            self.run_round(voters, &empty_update());
        }
    }

    /// Checks the supply identity and that the token holds exactly what it owes.
    pub fn assert_books(&self) {
        let terms = self.token(Token::getSupplyTermsCall {});
        let supply = self.token(Token::totalSupplyCall {});
        assert_eq!(
            supply,
            terms.genesis + terms.mintedByUpdates + terms.mintedByClaims + terms.testnet
                - terms.burned,
            "supply identity"
        );
        let escrowed = self.token(Token::s_totalEscrowedCall {});
        let credits = self.token(Token::s_totalCreditsCall {});
        let released = self.token(Token::s_releasedCall {});
        let unclaimed = self.token(Token::s_totalUnclaimedCall {});
        let last = self
            .token(Token::s_currentDistributionIdCall {})
            .to::<u64>();
        let unclaimed_payments: U256 = (last.saturating_sub(501)..=last)
            .map(|id| {
                self.token(Token::unclaimedOfCall {
                    distributionId: U256::from(id),
                })
                .payments
            })
            .sum();
        let held = self.token(Token::s_totalLockedCall {})
            + U256::from(escrowed.sno)
            + U256::from(released.sno)
            + U256::from(credits.sno)
            + unclaimed_payments;
        assert_eq!(
            self.balance(self.deployment.token),
            held,
            "the token's own SNO"
        );
        let eth = U256::from(escrowed.eth)
            + U256::from(released.eth)
            + U256::from(unclaimed.eth)
            + U256::from(credits.eth);
        let balance = self
            .chain
            .balance(self.deployment.token, alloy::eips::BlockId::latest())
            .expect("latest");
        assert!(balance >= eth, "the token's ETH");
    }
}

/// An update without work.
pub fn empty_update() -> StateUpdate {
    StateUpdate {
        merkleRoot: B256::ZERO,
        totalCapacity: U256::ZERO,
        validatorsToRemove: vec![],
        jobIds: vec![],
        workersHash: B256::ZERO,
        capacitiesHash: B256::ZERO,
        reputationChanges: vec![],
    }
}

/// The tree and the update of the next distribution, for workers with these capacities.
pub fn work(distribution_id: u64, capacities: &[(u32, u64)]) -> (RewardTree, StateUpdate) {
    let leaves: Vec<_> = capacities
        .iter()
        .map(|(n, capacity)| (signer(*n).address(), U256::from(*capacity)))
        .collect();
    let tree = RewardTree::new(distribution_id, leaves.clone()).expect("distinct workers");
    let (workers, amounts): (Vec<_>, Vec<_>) = leaves.into_iter().unzip();
    let update = StateUpdate {
        merkleRoot: tree.root(),
        totalCapacity: amounts.iter().sum(),
        workersHash: smartnodes_evm::state_update::workers_hash(&workers),
        capacitiesHash: smartnodes_evm::state_update::capacities_hash(&amounts),
        ..empty_update()
    };
    (tree, update)
}

/// Claims a worker's reward.
pub fn claim(
    world: &mut World,
    worker: u32,
    distribution_id: u64,
    capacity: u64,
    tree: &RewardTree,
) -> Result<TransactionReceipt, ChainError> {
    let proof = tree
        .proof(signer(worker).address())
        .expect("the worker has a leaf");
    let token = world.deployment.token;
    world.send(
        worker,
        token,
        Token::claimMerkleRewardsCall {
            distributionId: U256::from(distribution_id),
            capacity: U256::from(capacity),
            proof,
        },
    )
}

/// Asserts that a contract reverted with the error `E`.
#[track_caller]
pub fn assert_reverts<E: SolError>(result: Result<TransactionReceipt, ChainError>) {
    let error = result.expect_err("must revert");
    let revert = error
        .reverted()
        .unwrap_or_else(|| panic!("not a revert: {error}"));
    assert!(
        revert.custom::<E>().is_some(),
        "expected {}, got {error}",
        E::SIGNATURE
    );
}

/// The events of one kind in a receipt.
pub fn events<E: SolEvent>(receipt: &TransactionReceipt) -> Vec<E> {
    receipt
        .inner
        .logs()
        .iter()
        .filter_map(|log| E::decode_log(&log.inner).ok().map(|log| log.data))
        .collect()
}

/// A user with `amount` SNO, which worker 500 earned in the first update and sent.
pub fn fund_and_register_user(world: &mut World, voters: &[u32]) {
    let id = world.status().nextDistributionId;
    let (tree, update) = work(id, &[(FIRST_WORKER, 1)]);
    world.run_round(voters, &update);
    claim(world, FIRST_WORKER, id, 1, &tree).expect("claimed");
    let (token, core) = (world.deployment.token, world.deployment.core);
    world
        .send(
            FIRST_WORKER,
            token,
            Token::transferCall {
                to: signer(USER).address(),
                value: sno(1_000),
            },
        )
        .expect("sent");
    world
        .send(
            USER,
            core,
            Core::createUserCall {
                publicKeyHash: key_hash(USER),
            },
        )
        .expect("registered");
}
