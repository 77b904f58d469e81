//! A network of the smallest kind – three validators and a worker – that lives through its rounds on the real contracts.

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use smartnodes_evm::{
    bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token},
    chain::{BLOCK_HASHES_REACHABLE, Chain, ChainConfig, ChainError},
    deployment::{DeployParams, Deployment, GenesisValidator, deploy_in_process},
    emission,
    reward_tree::RewardTree,
    state_update::{StateUpdate, capacities_hash, proposal_hash, workers_hash},
};

use super::{EmissionError, INTERVAL_SECONDS, UpdateRecord};

/// Genesis validators: the rule book's default.
const VALIDATORS: u64 = 3;
/// Gas limit of each transaction; the dearest, an execution, uses a tenth.
const GAS_LIMIT: u64 = 5_000_000;
/// ETH for gas at genesis, in wei: far more than a century of updates costs.
const GAS_MONEY: u64 = 10_000_000_000_000_000_000;
/// The worker's capacity. It is the only worker, so any capacity earns the whole share.
const CAPACITY: u64 = 1;

/// The contracts on a chain in the process, with those who drive their rounds.
///
/// Transactions enter the chain without signatures, of which decades of updates would need hundreds of thousands;
/// in all else they are transactions.
#[derive(Debug)]
pub struct Network {
    chain: Chain,
    deployment: Deployment,
    validators: Vec<Address>,
    worker: Address,
    /// State updates executed so far.
    updates: u64,
    /// Supply now, in SNO wei.
    supply: U256,
}

impl Network {
    /// Deploys the contracts with the launch parameters and a fixed set of accounts.
    pub fn deploy() -> Result<Self, EmissionError> {
        let deployer = PrivateKeySigner::from_bytes(&keccak256("smartnodes-report deployer"))
            .expect("this hash is a valid key, and it never changes");
        let account = |name: &str, n: u64| {
            Address::from_word(keccak256(format!("smartnodes-report {name} {n}")))
        };
        let validators: Vec<Address> = (0..VALIDATORS).map(|n| account("validator", n)).collect();
        let worker = account("worker", 0);
        let config = ChainConfig {
            balances: validators
                .iter()
                .chain([&worker, &deployer.address()])
                .map(|account| (*account, U256::from(GAS_MONEY)))
                .collect(),
            // Nobody looks back further than the draw of a round does.
            history_blocks_max: BLOCK_HASHES_REACHABLE,
            ..ChainConfig::default()
        };
        let mut chain = Chain::new(config)?;
        let genesis = validators
            .iter()
            .map(|wallet| GenesisValidator {
                wallet: *wallet,
                public_key_hash: keccak256(wallet),
            })
            .collect();
        let params = DeployParams {
            genesis,
            update_interval_seconds: INTERVAL_SECONDS,
            ..DeployParams::default()
        };
        let deployment = deploy_in_process(&mut chain, &deployer, &params)?;
        let mut network = Self {
            chain,
            deployment,
            validators,
            worker,
            updates: 0,
            supply: U256::ZERO,
        };
        network.supply = network
            .total_supply()
            .map_err(|source| EmissionError::Update {
                update: 0,
                step: "reading the supply at genesis",
                source: Box::new(source),
            })?;
        Ok(network)
    }

    /// Executes the next state update: waits until it is due, opens the round, proposes, votes, executes, claims.
    pub fn update(&mut self) -> Result<UpdateRecord, EmissionError> {
        let update = self.updates + 1;
        let failed = |step| {
            move |source: ChainError| EmissionError::Update {
                update,
                step,
                source: Box::new(source),
            }
        };
        let (coordinator, token) = (self.deployment.coordinator, self.deployment.token);

        let opener = self.validators[0];
        let due = self
            .deployment
            .start_time
            .saturating_add(update.saturating_mul(INTERVAL_SECONDS));
        let sealing = self
            .send(opener, coordinator, &Coordinator::openRoundCall {})
            .map_err(failed("sealing the draw"))?;
        self.chain
            .mine(due)
            .map_err(|error| failed("waiting until it is due")(error.into()))?;
        self.receipt(sealing).map_err(failed("sealing the draw"))?;
        // The two blocks whose hash nobody can know when the draw is sealed.
        for _ in 0..2 {
            self.chain
                .mine_next()
                .map_err(|error| failed("waiting for the draw")(error.into()))?;
        }
        let opening = self
            .send(opener, coordinator, &Coordinator::openRoundCall {})
            .map_err(failed("opening the round"))?;
        let opened = self
            .chain
            .mine_for(opening)
            .map_err(failed("opening the round"))?;
        let no_event = |event| EmissionError::NoEvent { update, event };
        let round = event::<Coordinator::RoundOpened>(&opened)
            .ok_or(no_event("RoundOpened"))?
            .round;
        let proposer = event::<Coordinator::NewRoundStarted>(&opened)
            .and_then(|started| started.selectedValidators.first().copied())
            .ok_or(no_event("NewRoundStarted"))?;

        let (tree, content) = self.content(update)?;
        let proposal = proposal_hash(self.deployment.chain_id, coordinator, round, &content);
        self.send(
            proposer,
            coordinator,
            &Coordinator::createProposalCall {
                proposalHash: proposal,
            },
        )
        .map_err(failed("proposing"))?;
        for validator in self.validators.clone() {
            let vote = Coordinator::voteForProposalCall {
                proposalNum: 1,
                proposalHash: proposal,
            };
            self.send(validator, coordinator, &vote)
                .map_err(failed("voting"))?;
        }
        // All have voted by then, so the voting window does not matter.
        let execute = Coordinator::executeProposalCall {
            proposalNum: 1,
            update: content,
        };
        let execution = self
            .send(proposer, coordinator, &execute)
            .map_err(failed("executing"))?;
        let claim = Token::claimMerkleRewardsCall {
            distributionId: U256::from(update),
            capacity: U256::from(CAPACITY),
            proof: tree.proof(self.worker).unwrap_or_default(),
        };
        let claiming = self
            .send(self.worker, token, &claim)
            .map_err(failed("claiming"))?;
        // One block holds all of these, in the order in which they were sent.
        self.chain
            .mine_next()
            .map_err(|error| failed("executing")(error.into()))?;
        let executed = self.receipt(execution).map_err(failed("executing"))?;
        let claimed = self.receipt(claiming).map_err(failed("claiming"))?;

        let before = self.supply;
        self.supply = self.total_supply().map_err(failed("reading the supply"))?;
        self.updates = update;
        let elapsed_seconds = self.chain.timestamp() - self.deployment.start_time;
        let era = emission::paid_era(elapsed_seconds, INTERVAL_SECONDS);
        let received = |receipt, of: &dyn Fn(&Address) -> bool| received(receipt, token, of);
        Ok(UpdateRecord {
            update,
            elapsed_seconds,
            era,
            minted: self.supply.saturating_sub(before),
            closed_form: emission::per_update(era, INTERVAL_SECONDS),
            supply: self.supply,
            workers: received(&claimed, &|to| *to == self.worker),
            validators: received(&executed, &|to| self.validators.contains(to)),
            treasury: received(&executed, &|to| *to == self.deployment.timelock),
        })
    }

    /// A period in which the worker did all the work; without any, the workers' share would not be minted.
    fn content(&self, update: u64) -> Result<(RewardTree, StateUpdate), EmissionError> {
        let capacity = U256::from(CAPACITY);
        let tree = RewardTree::new(update, vec![(self.worker, capacity)])
            .map_err(|source| EmissionError::RewardTree { update, source })?;
        let content = StateUpdate {
            merkleRoot: tree.root(),
            totalCapacity: capacity,
            validatorsToRemove: Vec::new(),
            jobIds: Vec::new(),
            workersHash: workers_hash(&[self.worker]),
            capacitiesHash: capacities_hash(&[capacity]),
            reputationChanges: Vec::new(),
        };
        Ok((tree, content))
    }

    fn total_supply(&self) -> Result<U256, ChainError> {
        self.chain
            .read(self.deployment.token, &Token::totalSupplyCall {})
    }

    fn send(
        &mut self,
        from: Address,
        to: Address,
        call: &impl SolCall,
    ) -> Result<B256, ChainError> {
        self.chain.impersonate(
            from,
            TxKind::Call(to),
            Bytes::from(call.abi_encode()),
            U256::ZERO,
            GAS_LIMIT,
        )
    }

    /// The receipt of a transaction in the latest block, which must have succeeded.
    fn receipt(&self, hash: B256) -> Result<TransactionReceipt, ChainError> {
        match self.chain.failure(&hash) {
            Some(error) => Err(ChainError::Failed {
                hash,
                error: error.clone(),
            }),
            None => self
                .chain
                .receipt(&hash)
                .ok_or(ChainError::NotIncluded(hash)),
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

/// How much SNO (wei) the accounts `of` received in a transaction.
fn received(receipt: &TransactionReceipt, token: Address, of: &dyn Fn(&Address) -> bool) -> U256 {
    receipt
        .inner
        .logs()
        .iter()
        .filter(|log| log.address() == token)
        .filter_map(|log| Token::Transfer::decode_log(&log.inner).ok())
        .filter(|transfer| of(&transfer.to))
        .fold(U256::ZERO, |sum, transfer| {
            sum.saturating_add(transfer.value)
        })
}
