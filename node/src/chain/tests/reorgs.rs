//! What a reorganisation undid is done again, and nothing happens twice.

use alloy::primitives::{B256, U256, keccak256};
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use smartnodes_evm::{
    bindings::SmartnodesCoordinator as Coordinator,
    state_update::{StateUpdate, proposal_hash},
};

use super::{round::open_round, world::*};
use crate::{
    chain::{ChainClient, ChainError, Intent, journal::Entry},
    store::{Store, Table},
};

/// An update that pays nobody.
pub(super) fn empty_update(mark: u8) -> StateUpdate {
    StateUpdate {
        merkleRoot: B256::ZERO,
        totalCapacity: U256::ZERO,
        validatorsToRemove: vec![],
        jobIds: vec![],
        workersHash: B256::repeat_byte(mark),
        capacitiesHash: B256::ZERO,
        reputationChanges: vec![],
    }
}

/// The clients of all validators, in an open round; the first is a drawn proposer.
pub(super) async fn in_an_open_round(shared: &Shared, confirmations: u64) -> Vec<ChainClient> {
    let mut clients = Vec::new();
    for n in 0..VALIDATORS {
        clients.push(shared.client_at_depth(n, memory(), confirmations).await);
    }
    open_round(shared, &clients[0]).await;
    let drawn = clients[0].proposers().await.unwrap();
    let first = clients
        .iter()
        .position(|client| drawn.contains(&client.address()))
        .unwrap();
    clients.rotate_left(first);
    clients
}

pub(super) fn hash_of(client: &ChainClient, round: u64, update: &StateUpdate) -> B256 {
    let deployment = client.deployment();
    proposal_hash(deployment.chain_id, deployment.coordinator, round, update)
}

/// How often an event is in the chain's logs.
fn count<E: SolEvent>(shared: &Shared) -> usize {
    let world = shared.lock();
    let filter = Filter::new()
        .address(world.deployment.coordinator)
        .event_signature(E::SIGNATURE_HASH)
        .from_block(0);
    world.chain.logs(&filter, usize::MAX).unwrap().len()
}

/// What is sent is mined together in the next block, and nothing else is.
async fn in_one_block(shared: &Shared, sends: &[(&ChainClient, Intent)]) {
    let sending: Vec<_> = sends
        .iter()
        .map(|(client, intent)| {
            let (client, intent) = ((*client).clone(), intent.clone());
            tokio::spawn(async move { client.send(intent).await })
        })
        .collect();
    shared.until_pending(sends.len()).await;
    shared.mine(1);
    for send in sending {
        send.await.unwrap().unwrap();
    }
}

/// A proposal and the votes of all, in one block each. Returns the intents, and that of the execution.
async fn voted_in_two_blocks(shared: &Shared, clients: &[ChainClient]) -> Vec<Intent> {
    let update = empty_update(1);
    let hash = hash_of(&clients[0], 1, &update);
    let intents = vec![
        Intent::Propose { round: 1, hash },
        Intent::Vote {
            round: 1,
            number: 1,
            hash,
        },
        Intent::Execute {
            round: 1,
            number: 1,
            update,
        },
    ];
    shared.lock().mining = false;
    in_one_block(shared, &[(&clients[0], intents[0].clone())]).await;
    let votes: Vec<_> = clients
        .iter()
        .map(|client| (client, intents[1].clone()))
        .collect();
    in_one_block(shared, &votes).await;
    intents
}

/// The same, and the execution in a third block.
async fn executed_in_three_blocks(shared: &Shared, clients: &[ChainClient]) -> Vec<Intent> {
    let intents = voted_in_two_blocks(shared, clients).await;
    in_one_block(shared, &[(&clients[0], intents[2].clone())]).await;
    intents
}

/// Does what validators do: looks at the chain, and has done what is missing. What comes back too early fails, and is
/// done again.
async fn carry_on(shared: &Shared, clients: &[ChainClient], intents: &[Intent]) {
    shared.lock().mining = true;
    let send = async |client: &ChainClient, intent: &Intent| match client.send(intent.clone()).await
    {
        Ok(_) | Err(ChainError::Failed { .. } | ChainError::Reverted { .. }) => {}
        Err(error) => panic!("{error}"),
    };
    for _ in 0..4 {
        for client in clients {
            client.redo_undone().await.unwrap();
            shared.mine(1);
            if count::<Coordinator::StateUpdateExecuted>(shared) > 0 {
                continue;
            }
            if client.proposals().await.unwrap().is_empty() {
                send(&clients[0], &intents[0]).await;
            }
            if client.voted_for(client.address()).await.unwrap().is_none() {
                send(client, &intents[1]).await;
            }
            if client.can_execute(1).await.unwrap() {
                send(client, &intents[2]).await;
            }
        }
    }
}

fn assert_done_once(shared: &Shared) {
    assert_eq!(count::<Coordinator::ProposalCreated>(shared), 1);
    assert_eq!(
        count::<Coordinator::VoteCast>(shared),
        usize::from(VALIDATORS)
    );
    assert_eq!(count::<Coordinator::StateUpdateExecuted>(shared), 1);
}

#[tokio::test]
async fn a_reorganisation_of_depth_3_that_drops_a_whole_round_ends_in_one_execution() {
    // Which of the validators notices first decides in what order things come back.
    for first in 0..usize::from(VALIDATORS) {
        let shared = Shared::new();
        let mut clients = in_an_open_round(&shared, 0).await;
        let before = shared.lock().chain.snapshot().unwrap();
        let block = shared.lock().chain.block_number();
        let intents = executed_in_three_blocks(&shared, &clients).await;
        assert_eq!(shared.lock().chain.block_number(), block + 3);
        assert_done_once(&shared);

        // Neither the blocks nor the mempool know of it any more.
        shared.lock().chain.revert(before).unwrap();
        assert_eq!(count::<Coordinator::ProposalCreated>(&shared), 0);
        shared.mine(4);
        let proposer = clients[0].clone();
        clients.rotate_left(first);
        clients.insert(0, proposer);
        carry_on(&shared, &clients, &intents).await;
        assert_done_once(&shared);
        assert_eq!(clients[0].distribution_count().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_reorganisation_that_puts_all_back_into_the_mempool_ends_in_one_execution() {
    let shared = Shared::new();
    let clients = in_an_open_round(&shared, 0).await;
    let intents = executed_in_three_blocks(&shared, &clients).await;
    let dropped = shared.lock().chain.reorg(3).unwrap();
    assert_eq!(dropped.len(), 2 + usize::from(VALIDATORS));
    carry_on(&shared, &clients, &intents).await;
    assert_done_once(&shared);
}

#[tokio::test]
async fn an_execution_that_comes_back_after_anothers_only_costs_a_cheap_revert() {
    let shared = Shared::new();
    let clients = in_an_open_round(&shared, 0).await;
    let intents = voted_in_two_blocks(&shared, &clients).await;
    let before = shared.lock().chain.snapshot().unwrap();
    let execute = (&clients[0], intents[2].clone());
    in_one_block(&shared, std::slice::from_ref(&execute)).await;
    shared.lock().chain.revert(before).unwrap();

    // On the other branch another validator is faster.
    let created_at = clients[1].proposals().await.unwrap()[0].created_at;
    shared.wait_until(created_at + INTERVAL / 16);
    shared.lock().mining = true;
    let another = clients[1].send(intents[2].clone()).await.unwrap();
    clients[0].redo_undone().await.unwrap();
    let lost: Vec<B256> = shared.lock().chain.pending().collect();
    assert_eq!(lost.len(), 1, "what was undone is sent again");
    shared.mine(1);
    let receipt = shared.lock().chain.receipt(&lost[0]).unwrap();
    assert!(!receipt.status());
    assert!(receipt.gas_used < 60_000, "{}", receipt.gas_used);
    assert_done_once(&shared);
    assert!(another.block < receipt.block_number.unwrap());
    // And is not done again.
    let error = clients[0].send(intents[2].clone()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ChainError::Failed { .. } | ChainError::Reverted { .. }
        ),
        "{error}"
    );
    assert_done_once(&shared);
}

fn transfer(mark: u8) -> Intent {
    Intent::Transfer {
        to: wallet(WORKER).address(),
        amount: U256::ZERO,
        reference: B256::repeat_byte(mark),
    }
}

#[tokio::test]
async fn what_was_confirmed_and_is_undone_comes_back_by_itself_also_after_a_restart() {
    for restart in [false, true] {
        let shared = Shared::new();
        let store = memory();
        let mut client = shared.client(0, store.clone()).await;
        let before = shared.lock().chain.snapshot().unwrap();
        let done = client.send(transfer(1)).await.unwrap();
        shared.lock().chain.revert(before).unwrap();
        if restart {
            client = shared.client(0, store).await;
        }
        // As long as the new branch is shorter, nobody can tell it from an endpoint that lags.
        client.redo_undone().await.unwrap();
        assert_eq!(shared.lock().chain.pending_len(), 0);
        shared.mine(3);
        client.redo_undone().await.unwrap();
        let waiting: Vec<B256> = shared.lock().chain.pending().collect();
        assert_eq!(waiting, [done.hash], "the same transaction, not another");
        let again = client.send(transfer(1)).await.unwrap();
        assert_eq!((again.hash, shared.nonce(0)), (done.hash, 1));
        assert_ne!(again.block_hash, done.block_hash);
    }
}

#[tokio::test]
async fn a_transaction_in_another_block_of_the_new_branch_is_left_alone() {
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    let done = client.send(transfer(1)).await.unwrap();
    let depth = shared.lock().chain.block_number() - done.block + 1;
    shared.lock().chain.reorg(depth).unwrap();
    let time = shared.lock().chain.timestamp() + 1;
    shared.lock().chain.mine(time).unwrap();
    shared.mine(3);
    client.redo_undone().await.unwrap();
    assert_eq!(shared.lock().chain.pending_len(), 0);
    let again = client.send(transfer(1)).await.unwrap();
    assert_eq!((again.hash, shared.nonce(0)), (done.hash, 1));
    assert_ne!(again.block_hash, done.block_hash);
}

#[tokio::test]
async fn a_nonce_that_a_forgotten_failure_leaves_free_holds_up_nothing() {
    let shared = Shared::new();
    let clients = in_an_open_round(&shared, 0).await;
    let client = &clients[0];
    let n = (0..VALIDATORS)
        .find(|n| wallet(*n).address() == client.address())
        .unwrap();
    let nonce = shared.nonce(n);
    let expires_at = client.round_status().await.unwrap().expires_at;
    let before = shared.lock().chain.snapshot().unwrap();
    // Between the simulation and the block, the round expires.
    shared.lock().before_send = Some(Box::new(move |chain| {
        chain.mine(expires_at).unwrap();
    }));
    let hash = keccak256("update");
    let error = client
        .send(Intent::Propose { round: 1, hash })
        .await
        .unwrap_err();
    assert!(matches!(error, ChainError::Failed { .. }), "{error}");
    client.send(transfer(2)).await.unwrap();
    assert_eq!(shared.nonce(n), nonce + 2);

    shared.lock().chain.revert(before).unwrap();
    assert_eq!(shared.nonce(n), nonce);
    shared.mine(30);
    client.send(transfer(2)).await.unwrap();
    assert_eq!(
        shared.nonce(n),
        nonce + 2,
        "one fills the gap, the other is the transfer"
    );
    client.send(transfer(3)).await.unwrap();
    assert_eq!(shared.nonce(n), nonce + 3);
}

fn undoable(store: &Store) -> usize {
    let entries = store.scan::<Entry>(Table::Transactions).unwrap();
    let is_undoable = |entry: &Entry| {
        matches!(
            entry,
            Entry::Mined {
                undoable: Some(_),
                ..
            }
        )
    };
    entries
        .iter()
        .filter(|(_, entry)| is_undoable(entry))
        .count()
}

#[tokio::test]
async fn what_is_deep_enough_is_not_watched_for_ever() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    client.send(transfer(1)).await.unwrap();
    assert_eq!(undoable(&store), 1);
    shared.mine(600);
    client.redo_undone().await.unwrap();
    assert_eq!(undoable(&store), 0);
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 1, "it is still known to be done");
}

#[tokio::test]
async fn what_the_contracts_refuse_a_second_time_leaves_the_journal_in_the_end() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    shared.wait_until(client.round_status().await.unwrap().due_time);
    client.send(Intent::OpenRound { round: 1 }).await.unwrap();
    let rows = || store.scan::<Entry>(Table::Transactions).unwrap().len();
    assert_eq!(rows(), 1);
    shared.mine(600);
    client.redo_undone().await.unwrap();
    assert_eq!(rows(), 0);
}

#[tokio::test]
async fn an_update_executed_on_a_dropped_branch_is_seen_by_its_blocks_hash() {
    let shared = Shared::new();
    let clients = in_an_open_round(&shared, 0).await;
    executed_in_three_blocks(&shared, &clients).await;
    let head = clients[0].head().await.unwrap().number;
    let executed = clients[0].executed_updates(0, head).await.unwrap();
    assert_eq!(
        clients[0].block_hash(executed[0].block).await.unwrap(),
        Some(executed[0].block_hash)
    );
    assert_eq!(clients[0].block_hash(head + 1).await.unwrap(), None);
    shared.lock().chain.reorg(1).unwrap();
    let time = shared.lock().chain.timestamp() + 1;
    shared.lock().chain.mine(time).unwrap();
    assert_ne!(
        clients[0].block_hash(executed[0].block).await.unwrap(),
        Some(executed[0].block_hash)
    );
}
