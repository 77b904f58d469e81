//! Endpoints that lie about what happened, or serve another chain.

use alloy::primitives::{B256, U256};
use serde_json::{Value, json};

use super::{
    reorgs::{empty_update, hash_of, in_an_open_round},
    world::*,
};
use crate::chain::{ChainClient, ChainError, Intent, journal::Entry};
use crate::store::Table;

fn transfer(mark: u8) -> Intent {
    Intent::Transfer {
        to: wallet(WORKER).address(),
        amount: U256::ZERO,
        reference: B256::repeat_byte(mark),
    }
}

fn worlds<const N: usize>() -> [Shared; N] {
    std::array::from_fn(|_| Shared::new())
}

/// A receipt for whatever is asked for, in a block that there is.
fn invented(_: Value) -> Value {
    json!({
        "type": "0x2",
        "status": "0x1",
        "cumulativeGasUsed": "0x5208",
        "logs": [],
        "logsBloom": format!("0x{}", "0".repeat(512)),
        "transactionHash": B256::repeat_byte(1),
        "transactionIndex": "0x0",
        "blockHash": B256::repeat_byte(2),
        "blockNumber": "0x5",
        "gasUsed": "0x5208",
        "effectiveGasPrice": "0x1",
        "from": wallet(USER).address(),
        "to": wallet(WORKER).address(),
        "contractAddress": null
    })
}

#[tokio::test]
async fn an_invented_receipt_closes_nothing() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    shared.lock().mining = false;
    shared
        .lock()
        .lies
        .insert("eth_getTransactionReceipt", invented);
    let sending = tokio::time::timeout(
        std::time::Duration::from_millis(50),
        client.send(transfer(1)),
    );
    assert!(sending.await.is_err(), "its block is not on chain");
    let entries = store.scan::<Entry>(Table::Transactions).unwrap();
    assert!(matches!(entries[..], [(_, Entry::Pending(_))]));
    shared.lock().lies.clear();
    shared.lock().mining = true;
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 1);
}

#[tokio::test]
async fn a_receipt_that_one_of_three_endpoints_invents_or_hides_convinces_nobody() {
    for lie in [invented, |_| Value::Null] {
        let worlds: [Shared; 3] = worlds();
        let client = Shared::client_of(&worlds, USER, memory()).await;
        worlds[0]
            .lock()
            .lies
            .insert("eth_getTransactionReceipt", lie);
        // The other two see the transaction too.
        for world in &worlds {
            world.lock().mining = false;
        }
        let sending = tokio::spawn({
            let client = client.clone();
            async move { client.send(transfer(1)).await }
        });
        worlds[0].until_pending(1).await;
        let raw: Vec<u8> = {
            let world = worlds[0].lock();
            let hash = world.chain.pending().next().unwrap();
            let transaction = world.chain.transaction(&hash).unwrap();
            alloy::eips::eip2718::Encodable2718::encoded_2718(&transaction.inner.into_inner())
        };
        for world in &worlds[1..] {
            world.lock().chain.submit_raw(&raw).unwrap();
        }
        while !sending.is_finished() {
            for world in &worlds {
                world.mine(1);
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let mined = sending.await.unwrap().unwrap();
        let truth = worlds[1].lock().chain.receipt(&mined.hash).unwrap();
        assert_eq!(truth.block_hash, Some(mined.block_hash));
        assert_eq!(worlds[1].nonce(USER), 1);
    }
}

/// The same, of the logs.
#[tokio::test]
async fn an_execution_that_one_of_three_endpoints_hides_is_seen() {
    let worlds: [Shared; 3] = worlds();
    for world in &worlds {
        let clients = in_an_open_round(world, 0).await;
        let update = empty_update(1);
        let hash = hash_of(&clients[0], 1, &update);
        clients[0]
            .send(Intent::Propose { round: 1, hash })
            .await
            .unwrap();
        for client in &clients {
            let vote = Intent::Vote {
                round: 1,
                number: 1,
                hash,
            };
            client.send(vote).await.unwrap();
        }
        let execute = Intent::Execute {
            round: 1,
            number: 1,
            update,
        };
        clients[0].send(execute).await.unwrap();
    }
    let client = Shared::client_of(&worlds, USER, memory()).await;
    let head = client.head().await.unwrap().number;
    let truth = client.executed_updates(0, head).await.unwrap();
    assert_eq!(truth.len(), 1);
    worlds[0].lock().lies.insert("eth_getLogs", |_| json!([]));
    assert_eq!(client.executed_updates(0, head).await.unwrap(), truth);
    // With two, nobody knows.
    let two = Shared::client_of(&worlds[..2], USER, memory()).await;
    let error = two.executed_updates(0, head).await.unwrap_err();
    assert!(
        matches!(error, ChainError::Contradiction { answers: 2, .. }),
        "{error}"
    );
}

async fn connected(worlds: &[Shared]) -> Result<ChainClient, ChainError> {
    let rpc = worlds.iter().map(Shared::rpc).collect();
    let deployment = worlds[0].lock().deployment.clone();
    ChainClient::connect(rpc, wallet(USER), deployment, memory(), settings()).await
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_refused_at_the_start_and_never_believed_later() {
    let worlds: [Shared; 2] = worlds();
    worlds[1]
        .lock()
        .lies
        .insert("eth_chainId", |_| json!("0x2105"));
    let error = connected(&worlds).await.err().unwrap();
    assert!(
        matches!(
            error,
            ChainError::WrongChain {
                expected: 31_337,
                found: 8_453
            }
        ),
        "{error}"
    );
    // Silent at the start, and asked only when the other one fails.
    worlds[1].fail("eth_chainId", Fault::Lost, 1);
    let client = connected(&worlds).await.unwrap();
    worlds[0].fail("eth_getBlockByNumber", Fault::Lost, u32::MAX);
    let error = client.head().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error}");
    assert_eq!(
        worlds[1].lock().arrived.get("eth_getBlockByNumber"),
        None,
        "it was asked for its chain, and for nothing else"
    );
    worlds[1].lock().lies.clear();
    client.head().await.unwrap();
}
