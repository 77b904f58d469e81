//! A network of the smallest kind – a few validators and a worker – that lives through its rounds on the real contracts.

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use smartnodes_evm::{
    bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token},
    chain::{BLOCK_HASHES_REACHABLE, Chain, ChainConfig, ChainError, ConfigError},
    deployment::{
        DeployParams, Deployment, DeploymentPlan, GenesisValidator, InProcessError,
        deploy_in_process,
    },
    reward_tree::{RewardTree, RewardTreeError},
    state_update::{StateUpdate, capacities_hash, proposal_hash, workers_hash},
};

use thiserror::Error;

/// Gas limit of each transaction: nearly the most that one may have (EIP-7825). The dearest is an execution with a
/// hundred voters.
const GAS_LIMIT: u64 = 16_000_000;
/// ETH for gas at genesis, in wei: far more than a century of updates costs.
const GAS_MONEY: u128 = 1_000_000_000_000_000_000_000;
/// What a newcomer is given for gas, in wei.
const GAS_GIFT: u64 = 100_000_000_000_000_000;
/// Blocks whose hash nobody can know when the draw is sealed.
const DRAW_BLOCKS: u32 = 2;

/// Why the contracts could not be driven.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The chain in the process cannot be made.
    #[error("chain: {0}")]
    Chain(#[from] ConfigError),
    /// The contracts cannot be deployed.
    #[error("deployment: {0}")]
    Deployment(#[from] InProcessError),
    /// Something on the way to a state update failed.
    #[error("state update {update}: {step}: {source}")]
    Step {
        /// Its number, from 1.
        update: u64,
        /// What was being done.
        step: &'static str,
        /// What the chain said.
        source: Box<ChainError>,
    },
    /// The contracts did not announce what they should have.
    #[error(
        "state update {update}: the contracts did not announce {event}: are artifacts and bindings of one make?"
    )]
    NoEvent {
        /// Its number, from 1.
        update: u64,
        /// The event.
        event: &'static str,
    },
    /// The workers' rewards have no tree.
    #[error("state update {update}: {source}")]
    RewardTree {
        /// Its number, from 1.
        update: u64,
        /// Why.
        source: RewardTreeError,
    },
}

/// Where the supply is, as the contracts tell, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContractBooks {
    /// All SNO.
    pub supply: U256,
    /// What the contracts do not hold.
    pub circulating: U256,
    /// Collateral.
    pub locked: U256,
    /// Workers' rewards that are not claimed.
    pub unclaimed: U256,
    /// Payments of jobs that are not completed.
    pub escrowed: U256,
    /// Burned by slashing.
    pub burned: U256,
    /// What the treasury holds.
    pub treasury: U256,
}

/// A round that has been opened.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// Its number.
    pub round: u64,
    /// The proposers drawn, in their order.
    pub proposers: Vec<Address>,
    /// How many validators count in it.
    pub snapshot: u64,
    /// How many of them must approve.
    pub required: u64,
    /// When it was opened, in chain seconds.
    pub at: u64,
}

impl Opened {
    /// The one who proposes; a round has at least one.
    pub(crate) fn proposer(&self) -> Address {
        self.proposers.first().copied().unwrap_or_default()
    }
}

/// The contracts on a chain in the process, with those who drive their rounds.
///
/// Transactions enter the chain without signatures, of which decades of updates would need hundreds of thousands;
/// in all else they are transactions.
#[derive(Debug)]
pub struct Network {
    pub(crate) chain: Chain,
    pub(crate) deployment: Deployment,
    /// Seconds between two state updates.
    pub(crate) interval_seconds: u64,
    /// Those in the set.
    pub(crate) validators: Vec<Address>,
    /// The worker that earns and claims.
    pub(crate) worker: Address,
    /// State updates executed so far.
    pub(crate) updates: u64,
}

/// An account of its own for each name.
pub(crate) fn account(name: &str, number: u64) -> Address {
    Address::from_word(keccak256(format!("smartnodes-report {name} {number}")))
}

impl Network {
    /// Deploys the contracts with so many validators, this update interval, else the launch parameters, and a fixed set
    /// of accounts.
    pub fn deploy(interval_seconds: u64, validators: u64) -> Result<Self, NetworkError> {
        let deployer = PrivateKeySigner::from_bytes(&keccak256("smartnodes-report deployer"))
            .expect("this hash is a valid key, and it never changes");
        let validators: Vec<Address> = (0..validators).map(|n| account("validator", n)).collect();
        let worker = account("worker", 0);
        let genesis = validators
            .iter()
            .map(|wallet| GenesisValidator {
                wallet: *wallet,
                public_key_hash: keccak256(wallet),
            })
            .collect();
        let params = DeployParams {
            genesis,
            update_interval_seconds: interval_seconds,
            ..DeployParams::default()
        };
        let chain_id = ChainConfig::default().chain_id;
        let plan = DeploymentPlan::new(&params, deployer.address(), 0, chain_id)
            .map_err(InProcessError::from)?;
        let timelock = plan.deployment.timelock;
        let config = ChainConfig {
            balances: validators
                .iter()
                .chain([&worker, &account("user", 0), &deployer.address(), &timelock])
                .map(|account| (*account, U256::from(GAS_MONEY)))
                .collect(),
            // Nobody looks back further than the draw of a round does.
            history_blocks_max: BLOCK_HASHES_REACHABLE,
            ..ChainConfig::default()
        };
        let mut chain = Chain::new(config)?;
        let deployment = deploy_in_process(&mut chain, &deployer, &params)?;
        Ok(Self {
            chain,
            deployment,
            interval_seconds,
            validators,
            worker,
            updates: 0,
        })
    }

    /// Where the supply is.
    pub fn books(&self) -> Result<ContractBooks, NetworkError> {
        let step = "reading where the supply is";
        let token = self.deployment.token;
        let parts = self.read(step, token, &Token::getSupplyBreakdownCall {})?;
        Ok(ContractBooks {
            supply: parts._totalSupply,
            circulating: parts._circulating,
            locked: parts._locked,
            unclaimed: parts._unclaimed,
            escrowed: parts._escrowed,
            burned: self.read(step, token, &Token::s_totalBurnedCall {})?,
            treasury: self.balance(self.deployment.timelock)?,
        })
    }

    /// What an account holds, in SNO wei.
    pub(crate) fn balance(&self, account: Address) -> Result<U256, NetworkError> {
        let call = Token::balanceOfCall { account };
        self.read("reading a balance", self.deployment.token, &call)
    }

    /// Opens the round: `opener` seals the draw at the time `at` (chain seconds), draws and opens.
    pub(crate) fn open_round(&mut self, opener: Address, at: u64) -> Result<Opened, NetworkError> {
        let coordinator = self.deployment.coordinator;
        let call = Coordinator::openRoundCall {};
        let sealing = self.send("sealing the draw", opener, coordinator, &call)?;
        self.mine_at("waiting until it is due", at)?;
        self.receipt("sealing the draw", sealing)?;
        for _ in 0..DRAW_BLOCKS {
            self.mine_next("waiting for the draw")?;
        }
        let step = "opening the round";
        let opening = self.send(step, opener, coordinator, &call)?;
        self.mine_next(step)?;
        let receipt = self.receipt(step, opening)?;
        let no_event = |event| NetworkError::NoEvent {
            update: self.updates + 1,
            event,
        };
        let opened =
            event::<Coordinator::RoundOpened>(&receipt).ok_or_else(|| no_event("RoundOpened"))?;
        let started = event::<Coordinator::NewRoundStarted>(&receipt)
            .ok_or_else(|| no_event("NewRoundStarted"))?;
        Ok(Opened {
            round: opened.round,
            proposers: started.selectedValidators,
            snapshot: opened.snapshotCount,
            required: opened.requiredApprovals,
            at: self.chain.timestamp(),
        })
    }

    /// Lets the round's proposer propose; returns the hash to vote for.
    pub(crate) fn propose(
        &mut self,
        opened: &Opened,
        content: &StateUpdate,
    ) -> Result<B256, NetworkError> {
        let coordinator = self.deployment.coordinator;
        let proposal_hash =
            proposal_hash(self.deployment.chain_id, coordinator, opened.round, content);
        let call = Coordinator::createProposalCall {
            proposalHash: proposal_hash,
        };
        self.send("proposing", opened.proposer(), coordinator, &call)?;
        Ok(proposal_hash)
    }

    /// Lets a validator vote for the round's first proposal.
    pub(crate) fn vote(&mut self, validator: Address, hash: B256) -> Result<B256, NetworkError> {
        let vote = Coordinator::voteForProposalCall {
            proposalNum: 1,
            proposalHash: hash,
        };
        self.send("voting", validator, self.deployment.coordinator, &vote)
    }

    /// Lets the worker claim from the next distribution.
    pub(crate) fn claim(
        &mut self,
        tree: &RewardTree,
        capacity: U256,
    ) -> Result<B256, NetworkError> {
        let claim = Token::claimMerkleRewardsCall {
            distributionId: U256::from(self.updates + 1),
            capacity,
            proof: tree.proof(self.worker).unwrap_or_default(),
        };
        self.send("claiming", self.worker, self.deployment.token, &claim)
    }

    /// The next update: these accounts worked with these capacities, these jobs were completed.
    pub(crate) fn content(
        &self,
        leaves: Vec<(Address, U256)>,
        jobs: Vec<B256>,
    ) -> Result<(RewardTree, StateUpdate), NetworkError> {
        let update = self.updates + 1;
        let (workers, capacities): (Vec<_>, Vec<_>) = leaves.iter().copied().unzip();
        let tree = RewardTree::new(update, leaves)
            .map_err(|source| NetworkError::RewardTree { update, source })?;
        let content = StateUpdate {
            merkleRoot: tree.root(),
            totalCapacity: capacities.iter().fold(U256::ZERO, |sum, one| sum + one),
            validatorsToRemove: Vec::new(),
            jobIds: jobs,
            workersHash: workers_hash(&workers),
            capacitiesHash: capacities_hash(&capacities),
            reputationChanges: Vec::new(),
        };
        Ok((tree, content))
    }

    /// All SNO, in wei.
    pub(crate) fn read_supply(&self) -> Result<U256, NetworkError> {
        let call = Token::totalSupplyCall {};
        self.read("reading the supply", self.deployment.token, &call)
    }

    pub(crate) fn read<C: SolCall>(
        &self,
        step: &'static str,
        contract: Address,
        call: &C,
    ) -> Result<C::Return, NetworkError> {
        self.chain.read(contract, call).map_err(self.failed(step))
    }

    /// Lets a transaction wait for the next block.
    pub(crate) fn send(
        &mut self,
        step: &'static str,
        from: Address,
        to: Address,
        call: &impl SolCall,
    ) -> Result<B256, NetworkError> {
        let data = Bytes::from(call.abi_encode());
        let to = TxKind::Call(to);
        let sent = self
            .chain
            .impersonate(from, to, data, U256::ZERO, GAS_LIMIT);
        sent.map_err(self.failed(step))
    }

    /// Gives an account ETH for gas with the next block.
    pub(crate) fn fund(&mut self, to: Address) -> Result<B256, NetworkError> {
        let (to, money) = (TxKind::Call(to), U256::from(GAS_GIFT));
        let sent = self
            .chain
            .impersonate(self.worker, to, Bytes::new(), money, GAS_LIMIT);
        sent.map_err(self.failed("giving a newcomer ETH for gas"))
    }

    pub(crate) fn mine_next(&mut self, step: &'static str) -> Result<(), NetworkError> {
        let mined = self.chain.mine_next();
        mined
            .map(|_| ())
            .map_err(|error| self.failed(step)(error.into()))
    }

    /// Mines a block with the time `at` (chain seconds), or with the next possible one if that has passed.
    pub(crate) fn mine_at(&mut self, step: &'static str, at: u64) -> Result<(), NetworkError> {
        let at = at.max(self.chain.timestamp() + 1);
        let mined = self.chain.mine(at);
        mined
            .map(|_| ())
            .map_err(|error| self.failed(step)(error.into()))
    }

    /// The receipt of a transaction in the latest block, which must have succeeded.
    pub(crate) fn receipt(
        &self,
        step: &'static str,
        hash: B256,
    ) -> Result<TransactionReceipt, NetworkError> {
        let receipt = match self.chain.failure(&hash) {
            Some(error) => Err(ChainError::Failed {
                hash,
                error: error.clone(),
            }),
            None => self
                .chain
                .receipt(&hash)
                .ok_or(ChainError::NotIncluded(hash)),
        };
        receipt.map_err(self.failed(step))
    }

    fn failed(&self, step: &'static str) -> impl Fn(ChainError) -> NetworkError + use<> {
        let update = self.updates + 1;
        move |source| NetworkError::Step {
            update,
            step,
            source: Box::new(source),
        }
    }
}

/// The first event of a kind in a receipt.
fn event<E: SolEvent>(receipt: &TransactionReceipt) -> Option<E> {
    receipt
        .inner
        .logs()
        .iter()
        .find_map(|log| E::decode_log(&log.inner).ok().map(|log| log.data))
}
