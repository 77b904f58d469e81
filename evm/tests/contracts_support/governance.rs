//! A decision of the DAO, the whole way: propose, vote, queue, wait, execute.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::rpc::types::TransactionReceipt;
use smartnodes_evm::bindings::SmartnodesDAO as Dao;
use smartnodes_evm::chain::ChainError;

use super::{World, empty_update, shorthand::DAY};

/// Calls that the timelock makes if the DAO decides so: target, ETH (wei), call data.
pub type Actions = Vec<(Address, U256, Bytes)>;

/// A proposal of the DAO.
#[derive(Clone, Debug)]
pub struct Decision {
    targets: Vec<Address>,
    values: Vec<U256>,
    calldatas: Vec<Bytes>,
    description: String,
}

impl Decision {
    /// A decision to make these calls.
    pub fn new(actions: Actions, description: impl Into<String>) -> Self {
        let mut decision = Self {
            targets: vec![],
            values: vec![],
            calldatas: vec![],
            description: description.into(),
        };
        for (target, value, calldata) in actions {
            decision.targets.push(target);
            decision.values.push(value);
            decision.calldatas.push(calldata);
        }
        decision
    }

    fn description_hash(&self) -> B256 {
        keccak256(&self.description)
    }

    /// The proposal's id in the DAO.
    pub fn id(&self, world: &World) -> U256 {
        let call = Dao::getProposalIdCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: self.description_hash(),
        };
        world
            .chain
            .read(world.deployment.dao, &call)
            .expect("a view of the DAO")
    }

    /// The proposal's state: 0 pending, 1 active, 2 canceled, 3 defeated, 4 succeeded, 5 queued, 6 expired, 7 executed.
    pub fn state(&self, world: &World) -> u8 {
        let call = Dao::stateCall {
            proposalId: self.id(world),
        };
        world
            .chain
            .read(world.deployment.dao, &call)
            .expect("a view of the DAO")
    }

    /// Proposes it.
    pub fn propose(&self, world: &mut World, by: u32) -> Result<TransactionReceipt, ChainError> {
        let call = Dao::proposeCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            description: self.description.clone(),
        };
        world.send(by, world.deployment.dao, call)
    }

    /// Votes: 0 against, 1 for, 2 abstain.
    pub fn vote(
        &self,
        world: &mut World,
        by: u32,
        support: u8,
    ) -> Result<TransactionReceipt, ChainError> {
        let call = Dao::castVoteCall {
            proposalId: self.id(world),
            support,
        };
        world.send(by, world.deployment.dao, call)
    }

    /// Puts it into the timelock.
    pub fn queue(&self, world: &mut World, by: u32) -> Result<TransactionReceipt, ChainError> {
        let call = Dao::queueCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: self.description_hash(),
        };
        world.send(by, world.deployment.dao, call)
    }

    /// Executes it.
    pub fn execute(&self, world: &mut World, by: u32) -> Result<TransactionReceipt, ChainError> {
        let call = Dao::executeCall {
            targets: self.targets.clone(),
            values: self.values.clone(),
            calldatas: self.calldatas.clone(),
            descriptionHash: self.description_hash(),
        };
        world.send(by, world.deployment.dao, call)
    }

    /// Takes it from the proposal to where only the execution is left: `voters` propose and approve it.
    pub fn pass(&self, world: &mut World, voters: &[u32]) {
        // Votes count as of the block before the proposal.
        world.mine_blocks(1);
        self.propose(world, voters[0]).expect("proposed");
        world.wait(DAY + 2);
        for voter in voters {
            self.vote(world, *voter, 1).expect("voted");
        }
        world.wait(7 * DAY);
        self.queue(world, voters[0]).expect("queued");
        world.wait(2 * DAY);
    }

    /// As [`Decision::pass`], while the network's rounds go on.
    pub fn pass_while_running(&self, world: &mut World, voters: &[u32]) {
        world.mine_blocks(1);
        self.propose(world, voters[0]).expect("proposed");
        world.run_rounds_for(voters, DAY + 2);
        for voter in voters {
            self.vote(world, *voter, 1).expect("voted");
        }
        world.run_rounds_for(voters, 7 * DAY);
        self.queue(world, voters[0]).expect("queued");
        world.run_rounds_for(voters, 2 * DAY);
    }
}

impl World {
    /// Runs rounds without work, each when it is due, for `seconds`.
    pub fn run_rounds_for(&mut self, voters: &[u32], seconds: u64) {
        let end = self.chain.timestamp() + seconds;
        // A round takes a part of an hour, which must not carry it past the end.
        while self.status().dueTime + 3_600 <= end {
            self.run_round(voters, &empty_update());
        }
        self.wait_until(end);
    }
}
