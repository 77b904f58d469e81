//! Whatever the database may hold under the keys of a node's rows: those who read them say what is wrong, and go on or stop.

use alloy::primitives::B256;
use ciborium::Value;
use libp2p::PeerId;
use proptest::prelude::*;

use super::{Store, Table};
use crate::clock::ChainClock;
use crate::jobs::Coordination;
use crate::jobs::ledger::Ledger;
use crate::p2p::{open_bans, open_keeper};
use crate::round::settle::distribution_payload;
use crate::testing::domain;

/// The beginnings of the keys that some table has.
const PREFIXES: [&[u8]; 12] = [
    b"",
    b"coordinated/",
    b"answer/",
    b"failed/",
    b"result/",
    b"result-age/",
    b"delivery/",
    b"own-job/",
    b"settled/",
    b"distribution/",
    b"candidate/",
    b"proposed/",
];

/// Values of the kinds that rows are made of.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<Vec<u8>>().prop_map(Value::from),
        any::<[u8; 32]>().prop_map(|bytes| Value::Bytes(bytes.to_vec())),
        any::<[u8; 20]>().prop_map(|bytes| Value::Bytes(bytes.to_vec())),
        ".{0,10}".prop_map(Value::from),
    ];
    const FIELDS: [&str; 12] = [
        "receipt",
        "body",
        "signature",
        "request",
        "round",
        "failed",
        "record",
        "publisher",
        "ends_at",
        "settled_in",
        "held_since",
        "reason",
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let field = prop::sample::select(&FIELDS[..]).prop_map(Value::from);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((field, inner), 0..6).prop_map(Value::Map),
        ]
    })
}

fn row() -> impl Strategy<Value = (usize, usize, Vec<u8>, Value)> {
    let end = prop_oneof![
        any::<[u8; 32]>().prop_map(|bytes| bytes.to_vec()),
        prop::collection::vec(any::<u8>(), 0..60),
        Just(1u64.to_be_bytes().to_vec()),
    ];
    (0..Table::ALL.len(), 0..PREFIXES.len(), end, value())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_rows_are_read_or_refused(rows in prop::collection::vec(row(), 1..6)) {
        let store = Store::in_memory().expect("opens");
        for (table, prefix, end, value) in rows {
            let key = [PREFIXES[prefix], &end].concat();
            store.put(Table::ALL[table], &key, &value).expect("any CBOR is stored");
        }
        let clock = ChainClock::new(1_000);
        let _ = open_keeper(PeerId::random(), &domain(), clock.clone(), store.clone());
        let _ = open_bans(store.clone(), clock);
        let _ = Coordination::open(store.clone());
        let _ = distribution_payload(&store, 1);
        if let Ok(mut ledger) = Ledger::open(store.clone(), domain()) {
            let all = (B256::repeat_byte(1), B256::repeat_byte(2));
            let _ = ledger.settle(&[all], 1, 1);
            let _ = ledger.unsettle(&[all], 1);
            let _ = ledger.forget(&[all]);
        }
    }
}
