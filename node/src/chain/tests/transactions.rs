//! At most once, whatever fails.

use std::time::Duration;

use alloy::primitives::{Address, B256, U256, keccak256};
use smartnodes_evm::bindings::SmartnodesERC20 as Token;

use super::{round::open_round, world::*};
use crate::{
    chain::{ChainClient, ChainError, Intent},
    store::Table,
};

/// A transfer of nothing: the one transaction that always succeeds.
fn transfer(mark: u8) -> Intent {
    Intent::Transfer {
        to: Address::repeat_byte(9),
        amount: U256::ZERO,
        reference: B256::repeat_byte(mark),
    }
}

/// A vote that the contract refuses.
fn premature_vote() -> Intent {
    Intent::Vote {
        round: 1,
        number: 1,
        hash: keccak256("update"),
    }
}

#[tokio::test]
async fn an_intent_happens_once_and_another_one_again() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    let first = client.send(transfer(1)).await.unwrap();
    assert_eq!(client.send(transfer(1)).await.unwrap(), first);
    assert_eq!(shared.nonce(0), 1);
    // Also after a restart.
    let client = shared.client(0, store).await;
    assert_eq!(client.send(transfer(1)).await.unwrap(), first);
    assert_ne!(client.send(transfer(2)).await.unwrap(), first);
    assert_eq!(shared.nonce(0), 2);
    assert!(
        shared.lock().chain.block_number() > first.block,
        "it waits for the confirmation"
    );
}

#[tokio::test]
async fn intents_sent_at_once_are_all_mined_and_equal_ones_once() {
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    let sends = [1, 2, 1, 3, 2, 1].map(|mark| client.send(transfer(mark)));
    let mined: Vec<_> = futures::future::join_all(sends)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(shared.nonce(0), 3);
    assert_eq!(
        (mined[0], mined[1], mined[0]),
        (mined[2], mined[4], mined[5])
    );
}

#[tokio::test]
async fn a_revert_is_found_before_anything_is_sent() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    let error = client.send(premature_vote()).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Reverted { name, .. } if name.starts_with("Coordinator__")),
        "{error}"
    );
    assert!(
        error.to_string().contains("vote for proposal 1 of round 1"),
        "{error}"
    );
    assert_eq!(shared.lock().arrived.get("eth_sendRawTransaction"), None);
    assert_eq!(
        store
            .scan::<serde::de::IgnoredAny>(Table::Transactions)
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test]
async fn lost_requests_and_answers_are_repeated() {
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    shared.fail("eth_sendRawTransaction", Fault::AnswerLost, 2);
    shared.fail("eth_call", Fault::Lost, 3);
    shared.fail("eth_getTransactionReceipt", Fault::Silent, 1);
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 1);
}

#[tokio::test]
async fn an_unreachable_chain_is_reported_and_nothing_is_invented() {
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    shared.fail("eth_getBlockByNumber", Fault::Lost, u32::MAX);
    let error = client.head().await.unwrap_err();
    assert!(
        matches!(error, ChainError::Unreachable { attempts: 5, .. }),
        "{error}"
    );
    shared.fail("eth_getTransactionReceipt", Fault::Lost, u32::MAX);
    let error = client.send(transfer(1)).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error}");
    // The transaction was on its way all the same: to ask again finds it.
    shared.heal();
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 1);
}

#[tokio::test]
async fn a_crash_before_sending_is_made_good_by_the_next_run() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    shared.fail("eth_sendRawTransaction", Fault::Lost, u32::MAX);
    client.send(transfer(1)).await.unwrap_err();
    assert_eq!(shared.lock().chain.pending_len(), 0);
    drop(client);

    shared.heal();
    let client = shared.client(0, store).await;
    // Another intent comes first; the journalled one holds the lower nonce and is sent with it.
    client.send(transfer(2)).await.unwrap();
    assert_eq!(shared.nonce(0), 2);
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 2, "it was mined already");
}

#[tokio::test]
async fn a_crash_while_waiting_is_resumed_with_the_same_transaction() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    shared.lock().mining = false;
    give_up_after(Duration::from_millis(40), &client, transfer(1)).await;
    let waiting: Vec<B256> = shared.lock().chain.pending().collect();
    assert_eq!(waiting.len(), 1);
    drop(client);

    shared.lock().mining = true;
    let client = shared.client(0, store).await;
    let mined = client.send(transfer(1)).await.unwrap();
    assert_eq!(mined.hash, waiting[0]);
    assert_eq!(shared.nonce(0), 1);
}

#[tokio::test]
async fn fees_rise_until_the_transaction_is_mined() {
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    // Ten times the price, just after the fees were estimated.
    shared.lock().before_send = Some(Box::new(|chain| {
        let base_fee = chain.base_fee();
        chain.set_base_fee(base_fee * 10);
    }));
    let sent = |shared: &Shared| shared.lock().arrived.get("eth_sendRawTransaction").copied();
    let mined = client.send(transfer(1)).await.unwrap();
    assert!(sent(&shared) >= Some(2), "it was sent again");
    assert_eq!(shared.nonce(0), 1);
    assert!(shared.lock().chain.receipt(&mined.hash).unwrap().status());
}

#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_given_up_and_the_intent_done_with_the_next() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    shared.fail("eth_sendRawTransaction", Fault::Lost, u32::MAX);
    client.send(transfer(1)).await.unwrap_err();
    shared.heal();
    // The same wallet in another program.
    {
        let mut world = shared.lock();
        let token = world.deployment.token;
        world.interfere(
            0,
            token,
            Token::transferCall {
                to: Address::repeat_byte(8),
                value: U256::ZERO,
            },
        );
    }
    let client = shared.client(0, store).await;
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 2);
}

#[tokio::test]
async fn a_failed_transaction_is_an_error_with_its_reason_and_may_be_tried_again() {
    let shared = Shared::new();
    let opener = shared.client(0, memory()).await;
    open_round(&shared, &opener).await;
    let expires_at = opener.round_status().await.unwrap().expires_at;
    let proposer = opener.proposers().await.unwrap()[0];
    let n = (0..VALIDATORS)
        .find(|n| wallet(*n).address() == proposer)
        .unwrap();
    let nonce = shared.nonce(n);
    let store = memory();
    let client = shared.client(n, store.clone()).await;
    // Between the simulation and the block, the round expires.
    shared.lock().before_send = Some(Box::new(move |chain| {
        chain.mine(expires_at).unwrap();
    }));
    let propose = Intent::Propose {
        round: 1,
        hash: keccak256("update"),
    };
    let error = client.send(propose.clone()).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Failed { reason, .. } if reason == "Coordinator__RoundNotOpen"),
        "{error}"
    );
    assert_eq!(shared.nonce(n), nonce + 1);
    // The journal is closed: the next attempt is simulated anew.
    assert_eq!(
        store
            .scan::<serde::de::IgnoredAny>(Table::Transactions)
            .unwrap()
            .len(),
        0
    );
    let error = client.send(propose).await.unwrap_err();
    assert!(matches!(error, ChainError::Reverted { .. }), "{error}");
    assert_eq!(shared.nonce(n), nonce + 1);
}

#[tokio::test]
async fn a_reorganisation_is_undone_by_sending_again() {
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    shared.lock().mining = false;
    let before = shared.lock().chain.snapshot().unwrap();
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send(transfer(1)).await }
    });
    while shared.lock().chain.pending_len() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    shared.lock().chain.mine_next().unwrap();
    assert_eq!(shared.nonce(0), 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Neither a block nor the mempool knows of it any more.
    shared.lock().chain.revert(before).unwrap();
    assert_eq!(shared.nonce(0), 0);
    shared.lock().mining = true;
    let mined = sending.await.unwrap().unwrap();
    assert_eq!(shared.nonce(0), 1);
    assert_eq!(
        shared
            .lock()
            .chain
            .receipt(&mined.hash)
            .unwrap()
            .block_number,
        Some(mined.block)
    );
}

#[tokio::test]
async fn a_wallet_without_gas_money_is_told_so() {
    let shared = Shared::new();
    let client = shared.client(77, memory()).await;
    let error = client.send(transfer(1)).await.unwrap_err();
    assert!(
        matches!(error, ChainError::Refused { .. } | ChainError::Rpc { .. })
            && error.to_string().contains("funds"),
        "{error}"
    );
}

#[tokio::test]
async fn another_deployments_journal_is_not_ours() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    client.send(transfer(1)).await.unwrap();
    let client = shared
        .try_client(0, store, |d| d.start_time += 1)
        .await
        .unwrap();
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 2);
}

async fn give_up_after(time: Duration, client: &ChainClient, intent: Intent) {
    assert!(
        tokio::time::timeout(time, client.send(intent))
            .await
            .is_err(),
        "nothing is mined yet"
    );
}
