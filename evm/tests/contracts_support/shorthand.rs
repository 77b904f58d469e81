//! What many tests ask of the contracts, in one word each.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, U256};
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

use super::{USER, World, fund_and_register_user, key_hash, signer};

/// The validators of [`world_with_user`].
pub const VOTERS: [u32; 3] = [0, 1, 2];

/// A day in seconds.
pub const DAY: u64 = 24 * 3_600;

/// The n-th signer's address.
pub fn address(n: u32) -> Address {
    signer(n).address()
}

/// A network of three validators and a user with 900 free SNO, after the first update.
pub fn world_with_user() -> World {
    let mut world = World::new(3);
    fund_and_register_user(&mut world, &VOTERS);
    world
}

/// The user's request of a job that pays `payment` wei.
pub fn request(hash: B256, payment: u128) -> Core::requestJobCall {
    Core::requestJobCall {
        userHash: key_hash(USER),
        jobHash: hash,
        network: "hash-chain".into(),
        capacities: vec![U256::from(1)],
        payment,
    }
}

/// The id of the user's job.
pub fn job_id(world: &World, hash: B256) -> B256 {
    world.core(Core::jobIdOfCall {
        owner: address(USER),
        jobHash: hash,
    })
}

/// A job's state: 0 none, 1 open, 2 complete, 3 cancelled.
pub fn job_state(world: &World, id: B256) -> u8 {
    world.core(Core::getJobCall { jobId: id }).state
}

/// The ETH of an account, in wei.
pub fn eth(world: &World, account: Address) -> U256 {
    world
        .chain
        .balance(account, BlockId::latest())
        .expect("latest")
}

/// The treasury's SNO, in wei.
pub fn treasury(world: &World) -> U256 {
    world.balance(world.deployment.timelock)
}

/// The hash of the n-th signer's network key, as Core has it.
pub fn credential(world: &World, n: u32) -> B256 {
    world.core(Core::credentialOfCall {
        account: address(n),
    })
}

/// Whether Core vouches for the n-th signer as a validator.
pub fn verified(world: &World, n: u32) -> bool {
    world.core(Core::isVerifiedValidatorCall {
        account: address(n),
        publicKeyHash: key_hash(n),
    })
}

/// Whether the n-th signer is in the validator set.
pub fn is_validator(world: &World, n: u32) -> bool {
    world.coordinator(Coordinator::isValidatorCall {
        account: address(n),
    })
}

/// The n-th signer's voting power, in SNO wei.
pub fn votes(world: &World, n: u32) -> U256 {
    world.token(Token::getVotesCall {
        account: address(n),
    })
}

/// Takes the n-th signer out of the validator set, by its own call.
pub fn leave(world: &mut World, n: u32) {
    let coordinator = world.deployment.coordinator;
    world
        .send(n, coordinator, Coordinator::removeValidatorCall {})
        .expect("left");
}

/// Enters the n-th signer in the validator set again.
pub fn join(world: &mut World, n: u32) {
    let coordinator = world.deployment.coordinator;
    world
        .send(n, coordinator, Coordinator::addValidatorCall {})
        .expect("joined");
}

/// Whether a proposal has the approvals it needs.
pub fn ready(world: &World, number: u8) -> bool {
    world.coordinator(Coordinator::isProposalReadyCall {
        proposalNum: number,
    })
}

/// Opens a round and proposes `update`; the hash and the proposer.
pub fn proposed(
    world: &mut World,
    by: u32,
    update: &smartnodes_evm::state_update::StateUpdate,
) -> (B256, u32) {
    world.open_round(by);
    let proposer = world.proposer();
    let hash = world.hash(update);
    world.propose(proposer, hash).expect("proposed");
    (hash, proposer)
}
