//! A host that loses its power at any request leaves a thing done once or not at all, and the next run does it once.

use std::sync::Arc;

use alloy::primitives::{B256, U256};
use tokio::sync::Notify;

use super::world::*;
use crate::chain::Intent;

fn transfer(mark: u8) -> Intent {
    Intent::Transfer {
        to: wallet(WORKER).address(),
        amount: U256::ZERO,
        reference: B256::repeat_byte(mark),
    }
}

#[tokio::test]
async fn a_crash_at_any_request_of_a_transaction_is_made_good_once() {
    let shared = Shared::new();
    let store = memory();
    let mut finished = 0;
    let mut done = 0;
    let mut crashes = 0;
    for after in 0.. {
        for last_arrives in [false, true] {
            let client = shared.client(0, store.clone()).await;
            let dark = Arc::new(Notify::new());
            shared.lock().power_cut = Some(PowerCut {
                after,
                last_arrives,
                dark: dark.clone(),
            });
            let intent = transfer(done);
            tokio::select! {
                biased;
                sent = client.send(intent.clone()) => {
                    sent.unwrap();
                    finished += 1;
                }
                () = dark.notified() => crashes += 1,
            }
            // The process is gone, the disk is not.
            drop(client);
            shared.lock().power_cut = None;
            let client = shared.client(0, store.clone()).await;
            client.send(intent).await.unwrap();
            done += 1;
            assert_eq!(
                shared.nonce(0),
                u64::from(done),
                "after {after} requests, the last {last_arrives}"
            );
        }
        if finished == 2 {
            break;
        }
    }
    assert!(crashes > 20, "{crashes} crashes");
}

#[tokio::test]
async fn a_nonce_that_is_stuck_below_the_market_is_freed_and_what_waits_behind_it_too() {
    let shared = Shared::new();
    let store = memory();
    let client = shared.client(0, store.clone()).await;
    shared.lock().mining = false;
    let waited = std::time::Duration::from_millis(20);
    let sending = tokio::time::timeout(waited, client.send(transfer(1)));
    assert!(sending.await.is_err(), "nothing is mined");
    drop(client);
    // A hundred times the price, for long.
    let base_fee = shared.lock().chain.base_fee();
    shared.lock().chain.set_base_fee(base_fee * 100);
    shared.lock().mining = true;
    let client = shared.client(0, store).await;
    client.send(transfer(2)).await.unwrap();
    client.send(transfer(1)).await.unwrap();
    assert_eq!(shared.nonce(0), 2);
}
