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
async fn of_two_endpoints_neither_convinces_the_other_by_a_later_block() {
    // The one that is asked first invents a future, or it is the other one: nobody can tell.
    for ahead in [0, 1] {
        let worlds: [Shared; 2] = worlds();
        let client = Shared::client_of(&worlds, 0, memory()).await;
        client.cross_check().await.unwrap();
        let later = worlds[ahead].lock().chain.timestamp() + 100_000;
        worlds[ahead].wait_until(later);
        let error = client.cross_check().await.unwrap_err();
        assert!(matches!(error, ChainError::Apart { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("name a third in chain.rpc"), "{said}");
        let error = client.executed_updates(0, 1).await.unwrap_err();
        assert!(matches!(error, ChainError::Apart { .. }), "{error}");
        // Until the other one has the same block, too.
        worlds[1 - ahead].wait_until(later);
        client.cross_check().await.unwrap();
    }
}

#[tokio::test]
async fn of_two_endpoints_the_one_that_is_not_ahead_is_asked() {
    let worlds: [Shared; 2] = worlds();
    let client = Shared::client_of(&worlds, 0, memory()).await;
    // As many blocks as are not believed yet are no reason to change.
    mine(&worlds[0], client.settings().confirmations);
    client.cross_check().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 0);
    mine(&worlds[0], 3);
    client.cross_check().await.unwrap();
    assert_eq!(answering(&client, &worlds).await, 1);
    // What only one of them has got to is not known yet.
    let head = worlds[0].lock().chain.block_number();
    let error = client.executed_updates(0, head).await.unwrap_err();
    assert!(
        matches!(error, ChainError::Apart { seconds, .. } if seconds < 60),
        "{error}"
    );
    let catching_up = async {
        tokio::time::sleep(client.settings().poll_interval).await;
        mine(&worlds[1], 3 + client.settings().confirmations);
    };
    let (asked, ()) = tokio::join!(client.executed_updates(0, head), catching_up);
    assert!(asked.unwrap().is_empty());
}

#[tokio::test]
async fn two_of_three_endpoints_that_are_left_are_two() {
    let worlds: [Shared; 3] = worlds();
    let client = Shared::client_of(&worlds, 0, memory()).await;
    worlds[0].fail("eth_getBlockByNumber", Fault::Silent, u32::MAX);
    let later = worlds[1].lock().chain.timestamp() + 100_000;
    worlds[1].wait_until(later);
    let error = client.cross_check().await.unwrap_err();
    assert!(matches!(error, ChainError::Apart { .. }), "{error}");
}

/// The transaction that waits in a world.
fn waiting(world: &Shared) -> Vec<u8> {
    let world = world.lock();
    let hash = world.chain.pending().next().unwrap();
    let transaction = world.chain.transaction(&hash).unwrap();
    alloy::eips::eip2718::Encodable2718::encoded_2718(&transaction.inner.into_inner())
}

#[tokio::test]
async fn an_endpoint_that_keeps_transactions_to_itself_is_left() {
    let worlds: [Shared; 2] = worlds();
    for world in &worlds {
        world.lock().mining = false;
    }
    let client = Shared::client_of(&worlds, USER, memory()).await;
    let transfer = Intent::Transfer {
        to: wallet(WORKER).address(),
        amount: U256::ZERO,
        reference: key_hash(1),
    };
    let mut sending = tokio::spawn(async move { client.send(transfer).await });
    worlds[1].until_pending(1).await;
    assert_eq!(worlds[0].nonce(USER), 0);
    let raw = waiting(&worlds[1]);
    mine(&worlds[1], 2);
    let alone = tokio::time::timeout(std::time::Duration::from_millis(50), &mut sending);
    assert!(alone.await.is_err(), "one of two has not convinced anybody");
    worlds[0].lock().chain.submit_raw(&raw).unwrap();
    mine(&worlds[0], 2);
    sending.await.unwrap().unwrap();
    assert_eq!((worlds[0].nonce(USER), worlds[1].nonce(USER)), (1, 1));
}
