//! What a payload says that its jobs and reputation changes take in gas is enough, and not far too much.

use alloy::primitives::{Address, B256, U256};
use smartnodes_evm::{
    bindings::SmartnodesCore as Core,
    state_update::{ReputationChange, StateUpdate, job_id},
};

use super::{
    reorgs::{empty_update, hash_of},
    round::open_round,
    world::*,
};
use crate::chain::{ChainClient, Intent};
use crate::round::payload::{EXECUTION_GAS_MAX, JOB_GAS, REPUTATION_CHANGE_GAS};

/// Enough for what does not depend on their number to count for little.
const MANY: u64 = 100;
/// The most gas that a transaction may have (EIP-7825).
const TRANSACTION_GAS_MAX: u64 = 16_777_216;

/// Has the update executed in a round of its own, and returns the gas that it took.
async fn execute(
    shared: &Shared,
    clients: &[ChainClient],
    round: u64,
    make: impl FnOnce(u8) -> StateUpdate,
) -> u64 {
    open_round(shared, &clients[0]).await;
    let drawn = clients[0].proposers().await.unwrap();
    let proposer = clients
        .iter()
        .find(|client| drawn.contains(&client.address()))
        .unwrap();
    let update = make(round as u8);
    let hash = hash_of(proposer, round, &update);
    proposer
        .send(Intent::Propose { round, hash })
        .await
        .unwrap();
    for client in clients {
        let vote = Intent::Vote {
            round,
            number: 1,
            hash,
        };
        client.send(vote).await.unwrap();
    }
    let execute = Intent::Execute {
        round,
        number: 1,
        update,
    };
    proposer.send(execute).await.unwrap().gas_used
}

#[tokio::test]
async fn jobs_and_reputation_changes_take_no_more_gas_than_is_reckoned_with() {
    let shared = Shared::new();
    let mut clients = Vec::new();
    for n in 0..VALIDATORS {
        clients.push(shared.client(n, memory()).await);
    }
    // The first update fills what is empty until then, and gives a validator SNO to pay with.
    execute(&shared, &clients, 1, empty_update).await;
    let user = &clients[0];
    let key_hash = key_hash(USER);
    user.send(Intent::CreateUser { key_hash }).await.unwrap();
    let (core, chain_id) = (user.deployment().core, user.deployment().chain_id);
    let hashes: Vec<B256> = (1..=MANY).map(|n| B256::from(U256::from(n))).collect();
    for job_hash in &hashes {
        let request = Core::requestJobCall {
            userHash: key_hash,
            jobHash: *job_hash,
            network: "hash-chain".into(),
            capacities: Vec::new(),
            payment: 1,
        };
        shared.lock().interfere(0, core, request);
    }
    let bare = execute(&shared, &clients, 2, empty_update).await;
    let with_jobs = execute(&shared, &clients, 3, |mark| StateUpdate {
        jobIds: hashes
            .iter()
            .map(|hash| job_id(chain_id, core, user.address(), *hash))
            .collect(),
        ..empty_update(mark)
    })
    .await;
    let with_changes = execute(&shared, &clients, 4, |mark| StateUpdate {
        reputationChanges: (1..=MANY)
            .map(|n| ReputationChange {
                account: Address::from_word(B256::from(U256::from(n))),
                delta: -10,
            })
            .collect(),
        ..empty_update(mark)
    })
    .await;
    let job = (with_jobs - bare) / MANY;
    let change = (with_changes - bare) / MANY;
    println!("{job} gas for a job, {change} for a reputation change");
    assert!(job <= JOB_GAS && JOB_GAS <= 2 * job, "{job}");
    assert!(
        change <= REPUTATION_CHANGE_GAS && REPUTATION_CHANGE_GAS <= 2 * change,
        "{change}"
    );
    // The figure of evm/gas.snap for the most voters that are sent their share.
    const { assert!(EXECUTION_GAS_MAX + 6_872_158 <= TRANSACTION_GAS_MAX) };
}
