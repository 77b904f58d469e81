//! What a node has written down about executed updates, as a damaged disk gives it back: it is read or refused, and with it
//! neither settling nor claiming ends in a panic.

use alloy::primitives::B256;
use ciborium::Value;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::collect::after_an_update;
use super::world::{VALIDATORS, World, validator};
use crate::round::claims::claim_all;
use crate::round::settle::{SettleError, catch_up};
use crate::store::rows::{Row, config, damages, overwrite, rows_of};
use crate::store::{Store, Table};

/// How many times something is damaged.
const CASES: usize = 400;

fn rows_under(store: &Store, prefixes: &[&[u8]]) -> Vec<Row> {
    let mut rows = rows_of(store);
    rows.retain(|(table, key, _)| {
        let is_one = |prefix: &&[u8]| key.starts_with(prefix);
        *table == Table::Meta && prefixes.iter().any(is_one)
    });
    rows
}

#[tokio::test]
async fn damaged_books_of_updates_are_read_or_refused() {
    let world = World::new();
    let observer = world.observer().await;
    let node = after_an_update(&world, &observer, VALIDATORS).await;
    let validator = validator(&node);
    world.shared.mine(3);
    let settled = catch_up(validator).await.expect("it is settled");
    assert_eq!(settled.distribution_id, 1);
    let store = &node.context().store;
    let rows = rows_under(store, &[b"settled-", b"distribution/"]);
    assert_eq!(rows.len(), 3, "cursor, tail and payload");

    let mut runner = TestRunner::new(config());
    for case in 0..CASES {
        let damages = damages().new_tree(&mut runner).expect("any").current();
        // Seen where it ends in a panic.
        println!("{damages:?}");
        let damaged = overwrite(store, &rows, &damages);
        // Without a cursor, every update is looked at again with what the rest says.
        if case % 2 == 0 {
            store.delete(Table::Meta, b"settled-to").expect("deleted");
        }
        match catch_up(validator).await {
            Ok(_) | Err(SettleError::Store(_) | SettleError::Gap { .. }) => {}
            Err(SettleError::Behind { .. } | SettleError::PayloadMissing(_)) => {}
            Err(SettleError::Chain(error)) => panic!("the chain is there: {error}"),
        }
        for (table, key, _) in damaged {
            store.delete(table, &key).expect("deleted");
        }
        overwrite(store, &rows, &[]);
        let settled = catch_up(validator).await.expect("nothing is damaged");
        assert_eq!(settled.distribution_id, 1);
    }
}

#[tokio::test]
async fn damaged_claims_are_read_or_refused() {
    let world = World::new();
    let observer = world.observer().await;
    let node = after_an_update(&world, &observer, VALIDATORS).await;
    let store = &node.context().store;
    store
        .put(Table::Meta, b"next-claim", &1u64)
        .expect("stored");
    // As it is written once a claim has ended.
    let ended = Value::Map(vec![
        ("root".into(), Value::Bytes(B256::ZERO.to_vec())),
        ("share".into(), false.into()),
    ]);
    let key = [b"claimed/".as_slice(), &1u64.to_be_bytes()].concat();
    store.put(Table::Meta, &key, &ended).expect("stored");
    let rows = rows_under(store, &[b"next-claim", b"claimed/"]);
    assert_eq!(rows.len(), 2);

    let mut runner = TestRunner::new(config());
    for _ in 0..CASES {
        let damages = damages().new_tree(&mut runner).expect("any").current();
        println!("{damages:?}");
        let damaged = overwrite(store, &rows, &damages);
        let _ = claim_all(node.context(), &mut 0).await;
        for (table, key, _) in damaged {
            store.delete(table, &key).expect("deleted");
        }
        overwrite(store, &rows, &[]);
    }
}
