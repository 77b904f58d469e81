//! Several endpoints: one stands in for another, and one that lags or lies is noticed.
//!
//! Each world is an endpoint. All of them begin with the same blocks.

use alloy::primitives::U256;

use super::world::{Fault, Shared, USER, WORKER, key_hash, memory, wallet};
use crate::chain::{ChainClient, ChainError, Intent};
use smartnodes_evm::bindings::SmartnodesERC20 as Token;

fn worlds<const N: usize>() -> [Shared; N] {
    std::array::from_fn(|_| Shared::new())
}

/// How often the endpoint was asked for blocks.
fn asked(world: &Shared) -> u32 {
    world
        .lock()
        .arrived
        .get("eth_getBlockByNumber")
        .copied()
        .unwrap_or_default()
}

/// The place of the endpoint that answers now.
async fn answering(client: &ChainClient, worlds: &[Shared]) -> usize {
    let before: Vec<u32> = worlds.iter().map(asked).collect();
    client.head().await.unwrap();
    (0..worlds.len())
        .find(|place| asked(&worlds[*place]) > before[*place])
        .unwrap()
}

fn mine(world: &Shared, blocks: u64) {
    for _ in 0..blocks {
        world.lock().chain.mine_next().unwrap();
    }
}

/// A block in this world that no other has.
fn diverge(world: &Shared) {
    let mut world = world.lock();
    let token = world.deployment.token;
    world.interfere(
        WORKER,
        token,
        Token::approveCall {
            spender: wallet(USER).address(),
            value: U256::from(1),
        },
    );
}

#[tokio::test]
async fn an_endpoint_that_fails_is_replaced_by_the_next() {
    let worlds: [Shared; 2] = worlds();
    let client = Shared::client_of(&worlds, 0, memory()).await;
    assert_eq!(answering(&client, &worlds).await, 0);
    worlds[0].fail("eth_getBlockByNumber", Fault::Lost, u32::MAX);
    client.head().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 1);
    // Both gone: said after each was tried as often as a single one is.
    worlds[1].fail("eth_getBlockByNumber", Fault::Lost, u32::MAX);
    let error = client.head().await.unwrap_err();
    assert!(
        matches!(error, ChainError::Unreachable { attempts: 10, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_endpoint_that_lags_is_left() {
    let worlds: [Shared; 3] = worlds();
    let client = Shared::client_of(&worlds, 0, memory()).await;
    client.cross_check().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 0, "all are equal");
    let later = worlds[0].lock().chain.timestamp() + 600;
    for world in &worlds[1..] {
        world.wait_until(later);
    }
    client.cross_check().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 1);
}

#[tokio::test]
async fn one_endpoint_of_three_that_invents_a_future_convinces_nobody() {
    let worlds: [Shared; 3] = worlds();
    let client = Shared::client_of(&worlds, 0, memory()).await;
    let later = worlds[2].lock().chain.timestamp() + 100_000;
    worlds[2].wait_until(later);
    client.cross_check().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 0);
}

#[tokio::test]
async fn an_endpoint_that_contradicts_the_majority_is_left() {
    let worlds: [Shared; 3] = worlds();
    let client = Shared::client_of(&worlds, 0, memory()).await;
    diverge(&worlds[0]);
    mine(&worlds[1], 1);
    mine(&worlds[2], 1);
    for world in &worlds {
        mine(world, 1);
    }
    client.cross_check().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 1);
}

#[tokio::test]
async fn two_endpoints_that_contradict_each_other_decide_nothing() {
    let worlds: [Shared; 2] = worlds();
    let client = Shared::client_of(&worlds, 0, memory()).await;
    diverge(&worlds[0]);
    mine(&worlds[1], 1);
    for world in &worlds {
        mine(world, 1);
    }
    let error = client.cross_check().await.unwrap_err();
    assert!(
        matches!(error, ChainError::Contradiction { answers: 2, .. }),
        "{error}"
    );
    // With one of them silent the other is believed, as if it were alone.
    worlds[0].fail("eth_getBlockByNumber", Fault::Silent, u32::MAX);
    client.cross_check().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 1);
}

#[tokio::test]
async fn an_endpoint_that_keeps_transactions_to_itself_is_left() {
    let worlds: [Shared; 2] = worlds();
    worlds[0].lock().mining = false;
    let client = Shared::client_of(&worlds, USER, memory()).await;
    let transfer = Intent::Transfer {
        to: wallet(WORKER).address(),
        amount: U256::ZERO,
        reference: key_hash(1),
    };
    client.send(transfer).await.unwrap();
    assert_eq!((worlds[0].nonce(USER), worlds[1].nonce(USER)), (0, 1));
}
