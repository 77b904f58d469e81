//! What a state update is, and the hashes by which the contracts know it and its parts.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolValue;

pub use crate::bindings::SmartnodesCoordinator::{ReputationChange, StateUpdate};

/// The hash that is proposed and voted for: it binds everything that is executed, on one chain, by one Coordinator, in
/// one round. Equal to `SmartnodesCoordinator.hashStateUpdate`.
#[must_use]
pub fn proposal_hash(
    chain_id: u64,
    coordinator: Address,
    round: u64,
    update: &StateUpdate,
) -> B256 {
    keccak256(
        (
            U256::from(chain_id),
            coordinator,
            round,
            update.merkleRoot,
            update.totalCapacity,
            update.validatorsToRemove.clone(),
            update.jobIds.clone(),
            update.workersHash,
            update.capacitiesHash,
            update.reputationChanges.clone(),
        )
            .abi_encode_params(),
    )
}

/// `workersHash` of a state update: keccak256(abi.encode(address[])).
#[must_use]
pub fn workers_hash(workers: &[Address]) -> B256 {
    keccak256(workers.abi_encode())
}

/// `capacitiesHash` of a state update: keccak256(abi.encode(uint256[])) of the workers' capacities, in their order.
#[must_use]
pub fn capacities_hash(capacities: &[U256]) -> B256 {
    keccak256(capacities.abi_encode())
}

/// A job's id: bound to its owner and to the hash of what is asked for. Equal to `SmartnodesCore.jobIdOf`.
#[must_use]
pub fn job_id(chain_id: u64, core: Address, owner: Address, job_hash: B256) -> B256 {
    keccak256((U256::from(chain_id), core, owner, job_hash).abi_encode())
}
