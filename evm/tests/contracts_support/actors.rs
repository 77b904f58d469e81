//! What the tests of money, collateral and governance need around a round: people with SNO, contracts that refuse ETH, and
//! jobs.

use alloy::{
    primitives::{Address, B256, TxKind, U256},
    rpc::types::TransactionReceipt,
};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
    },
    chain::ChainError,
    state_update::StateUpdate,
};

use super::{INTERVAL, USER, World, key_hash, signer, sno};

/// Emission of an hour in era 0, in SNO.
const EMISSION_PER_HOUR: u64 = 5_625;

/// A request of the signer `n` for a job; ETH is sent with the call.
pub fn request_of(n: u32, hash: B256, payment: u128) -> Core::requestJobCall {
    Core::requestJobCall {
        userHash: key_hash(n),
        jobHash: hash,
        network: "hash-chain".into(),
        capacities: vec![U256::from(1)],
        payment,
    }
}

impl World {
    /// Gives each account at least `amount` SNO: the validators' share of an update that Core is made to ask for, after
    /// the time that its emission takes. All validators are active afterwards, and the next round is due.
    pub fn grant(&mut self, accounts: &[Address], amount: U256) {
        let (core, token) = (self.deployment.core, self.deployment.token);
        let needed = amount * U256::from(accounts.len()) * U256::from(10);
        let hours = needed.div_ceil(sno(EMISSION_PER_HOUR)).to::<u64>();
        assert!(hours < 365 * 24, "more than the first era emits");
        self.wait(hours * 3_600);
        let update = Token::createMerkleDistributionCall {
            merkleRoot: B256::ZERO,
            totalCapacity: U256::ZERO,
            approvingValidators: accounts.to_vec(),
            interval: U256::from(hours * 3_600),
        };
        self.impersonate(core, token, update).expect("granted");
        self.resume();
        for account in accounts {
            assert!(self.balance(*account) >= amount);
        }
    }

    /// Makes the network ready for rounds again after time or distributions went by without any.
    pub fn resume(&mut self) {
        // Two periods, so that the rounds to come are paid for on their own grid.
        self.wait(2 * INTERVAL);
        let coordinator = self.deployment.coordinator;
        for validator in self.coordinator(Coordinator::getValidatorsCall {}) {
            self.impersonate(validator, coordinator, Coordinator::reactivateCall {})
                .expect("active");
        }
    }

    /// Registers the signer `n` as a user, after it got `amount` SNO and its collateral.
    pub fn grant_user(&mut self, n: u32, amount: U256) {
        self.grant(&[signer(n).address()], amount + sno(100));
        self.register_user(n);
    }

    /// Registers the signer `n`, who has the collateral, as a user.
    pub fn register_user(&mut self, n: u32) {
        let core = self.deployment.core;
        let call = Core::createUserCall {
            publicKeyHash: key_hash(n),
        };
        self.send(n, core, call).expect("registered");
    }

    /// Lets the user request a job paid in SNO (wei); returns its id.
    pub fn request_sno(&mut self, hash: B256, payment: u128) -> B256 {
        let core = self.deployment.core;
        let receipt = self
            .send(USER, core, request_of(USER, hash, payment))
            .expect("requested");
        super::events::<Core::JobRequested>(&receipt)[0].jobId
    }

    /// Lets the user request a job paid in ETH (wei); returns its id.
    pub fn request_eth(&mut self, hash: B256, payment: u128) -> B256 {
        let core = self.deployment.core;
        let receipt = self
            .pay(
                USER,
                core,
                request_of(USER, hash, payment),
                U256::from(payment),
            )
            .expect("requested");
        super::events::<Core::JobRequested>(&receipt)[0].jobId
    }

    /// Deploys a contract that refuses whatever it is sent.
    pub fn refusing_contract(&mut self) -> Address {
        // Runtime code 5f5ffd: reverts with nothing.
        let init = [
            0x62, 0x5f, 0x5f, 0xfd, 0x5f, 0x52, 0x60, 0x03, 0x60, 0x1d, 0xf3,
        ];
        self.chain
            .transact(&signer(0), TxKind::Create, init.into(), U256::ZERO)
            .expect("deployed")
            .contract_address
            .expect("a contract")
    }

    /// Makes a distribution by a call of Core, an hour after the one before: quicker than a round.
    pub fn distribute(&mut self, root: B256, capacity: U256) {
        let (core, token) = (self.deployment.core, self.deployment.token);
        self.wait(3_600);
        let update = Token::createMerkleDistributionCall {
            merkleRoot: root,
            totalCapacity: capacity,
            approvingValidators: vec![signer(0).address()],
            interval: U256::from(3_600),
        };
        self.impersonate(core, token, update).expect("distributed");
    }

    /// Makes `count` distributions without capacity.
    pub fn distribute_nothing(&mut self, count: u64) {
        for _ in 0..count {
            self.distribute(B256::ZERO, U256::ZERO);
        }
    }

    /// Proposes `hash` in the open round, by a drawn proposer, who is returned, and lets `voters` approve it.
    pub fn bring_to_vote(&mut self, voters: &[u32], hash: B256) -> u32 {
        let proposer = self.proposer();
        self.propose(proposer, hash).expect("proposed");
        for voter in voters {
            self.vote(*voter, 1, hash).expect("voted");
        }
        self.wait(INTERVAL / 32);
        proposer
    }

    /// A whole round up to the execution of `update`, which may revert.
    pub fn try_round(
        &mut self,
        voters: &[u32],
        update: &StateUpdate,
    ) -> Result<TransactionReceipt, ChainError> {
        self.open_round(voters[0]);
        let hash = self.hash(update);
        let proposer = self.bring_to_vote(voters, hash);
        self.execute(proposer, 1, update)
    }

    /// Collateral (SNO wei) of the signer `n` as a validator or as a user.
    pub fn collateral(&self, n: u32, validator: bool) -> U256 {
        let call = Token::lockOfCall {
            user: signer(n).address(),
            isValidator: validator,
        };
        self.token(call).amount
    }

    /// Slashes the signer `n` by governance.
    pub fn slash(&mut self, n: u32, amount: U256) -> Result<TransactionReceipt, ChainError> {
        let token = self.deployment.token;
        let call = Token::slashAndUnlockValidatorCall {
            validator: signer(n).address(),
            amount,
        };
        self.govern(token, call)
    }
}
