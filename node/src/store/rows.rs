//! Whatever the database may hold under the keys of a node's rows: those who read them say what is wrong, and go on or stop.
//!
//! Here are the means to do harm to a database, and the rows that receipts and payloads leave; other modules do the same to
//! rows of their own.

use alloy::primitives::{Address, B256};
use ciborium::Value;
use libp2p::PeerId;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Store, StoreError, Table, decode};
use crate::clock::ChainClock;
use crate::jobs::Coordination;
use crate::jobs::ledger::Ledger;
use crate::jobs::receipt::{Answer, Receipt};
use crate::p2p::{open_bans, open_keeper};
use crate::round::payload::{Payload, PublishedPayload, SignedPayload};
use crate::round::settle::distribution_payload;
use crate::signed::Signed;
use crate::testing::{challenge_receipt, domain, job_receipt, job_request, wallet};

/// The beginnings of the keys that some table has.
const PREFIXES: [&[u8]; 6] = [
    b"",
    b"coordinated/",
    b"answer/",
    b"failed/",
    b"settled/",
    b"distribution/",
];

/// Table, key and value as they lie on the disk.
pub(crate) type Row = (Table, Vec<u8>, Vec<u8>);

/// What has become of a row.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    /// A number in it is another one.
    Number(Index, u64),
    /// Some part of it is something else.
    Part(Index, Value),
    /// One of its bits is another one.
    Bit(Index, u8),
    /// It ends too early.
    Cut(Index),
    /// It is nothing that anyone has written.
    Bytes(Vec<u8>),
    /// Its key has another byte.
    Key(Index, u8),
    /// Its key ends too early.
    KeyCut(Index),
}

/// Leaves no file behind where something is found: what is printed says it all.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Every row of a database.
pub(crate) fn rows_of(store: &Store) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in Table::ALL {
        store
            .visit(table, &[], |key, value: Value| {
                let bytes = super::encode(table, key, &value).expect("it was decoded");
                rows.push((table, key.to_vec(), bytes));
            })
            .expect("nothing is damaged yet");
    }
    rows
}

/// What may become of a database: the rows, by number, and what is done to each.
pub(crate) fn damages() -> impl Strategy<Value = Vec<(Index, Damage)>> {
    let number = prop_oneof![
        any::<u64>(),
        Just(u64::MAX),
        Just(0),
        Just(i64::MAX as u64),
        0..5_000u64
    ];
    let place = any::<Index>;
    let damage = prop_oneof![
        4 => (place(), number).prop_map(|(place, number)| Damage::Number(place, number)),
        2 => (place(), value()).prop_map(|(place, value)| Damage::Part(place, value)),
        1 => (place(), 0..8u8).prop_map(|(place, bit)| Damage::Bit(place, bit)),
        1 => place().prop_map(Damage::Cut),
        1 => any::<Vec<u8>>().prop_map(Damage::Bytes),
        1 => (place(), any::<u8>()).prop_map(|(place, byte)| Damage::Key(place, byte)),
        1 => place().prop_map(Damage::KeyCut),
    ];
    prop::collection::vec((place(), damage), 1..5)
}

/// A database with these rows, after the damage.
pub(crate) fn damaged(rows: &[Row], damages: &[(Index, Damage)]) -> Store {
    let store = Store::in_memory().expect("opens");
    overwrite(&store, rows, damages);
    store
}

/// Puts these rows, after the damage, into the place of what a database has. Returns what it has now.
pub(crate) fn overwrite(store: &Store, rows: &[Row], damages: &[(Index, Damage)]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    let before = rows.clone();
    for (at, damage) in damages {
        let at = at.index(rows.len());
        apply(&mut rows[at], damage);
    }
    let written = store.write(|batch| {
        for (table, key, _) in &before {
            batch.delete(*table, key)?;
        }
        for (table, key, bytes) in &rows {
            let mut table = batch.open(*table)?;
            table
                .insert(key.as_slice(), bytes.as_slice())
                .expect("stored");
        }
        Ok(())
    });
    written.expect("stored");
    rows
}

fn apply((_, key, bytes): &mut Row, damage: &Damage) {
    match damage {
        Damage::Number(place, number) => {
            change(bytes, *place, Value::is_integer, &(*number).into())
        }
        Damage::Part(place, value) => change(bytes, *place, |_| true, value),
        Damage::Bit(place, bit) if !bytes.is_empty() => {
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Cut(place) if !bytes.is_empty() => bytes.truncate(place.index(bytes.len())),
        Damage::Bytes(others) => bytes.clone_from(others),
        Damage::Key(place, byte) if !key.is_empty() => {
            let at = place.index(key.len());
            key[at] = *byte;
        }
        Damage::KeyCut(place) if !key.is_empty() => key.truncate(place.index(key.len())),
        Damage::Bit(..) | Damage::Cut(_) | Damage::Key(..) | Damage::KeyCut(_) => {}
    }
}

/// Puts `by` into the place of one of the parts for which `is` holds, if these are CBOR with such a part.
fn change(bytes: &mut Vec<u8>, place: Index, is: fn(&Value) -> bool, by: &Value) {
    let Ok(mut value) = ciborium::from_reader::<Value, _>(bytes.as_slice()) else {
        return;
    };
    let mut found = Vec::new();
    parts(&mut value, is, &mut found);
    if found.is_empty() {
        return;
    }
    let at = place.index(found.len());
    *found.swap_remove(at) = by.clone();
    bytes.clear();
    ciborium::into_writer(&value, bytes).expect("any value has its CBOR");
}

/// Of the parts of a value that have no parts, those for which `is` holds.
fn parts<'a>(value: &'a mut Value, is: fn(&Value) -> bool, found: &mut Vec<&'a mut Value>) {
    let has_parts = match &*value {
        // Bytes that are written as numbers are one part, or there would be hardly any other.
        Value::Array(items) => items.len() < 20 || !items.iter().all(Value::is_integer),
        other => other.is_map(),
    };
    if !has_parts {
        if is(value) {
            found.push(value);
        }
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| parts(item, is, found)),
        Value::Map(fields) => fields
            .iter_mut()
            .for_each(|(_, field)| parts(field, is, found)),
        _ => {}
    }
}

/// Values of the kinds that rows are made of.
pub(crate) fn value() -> impl Strategy<Value = Value> {
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
    const FIELDS: [&str; 14] = [
        "receipt",
        "body",
        "signature",
        "request",
        "round",
        "failed",
        "record",
        "publisher",
        "provider",
        "addresses",
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

/// What the receipts of a round and the payload of its update leave, some of them settled.
async fn books() -> Vec<Row> {
    let store = Store::in_memory().expect("opens");
    let mut ledger = Ledger::open(store.clone(), domain()).expect("opens");
    let (validator, worker) = (wallet(1), wallet(11));
    let challenge = challenge_receipt(&validator, &worker, 1, 0, 10).await;
    let mut receipts = vec![challenge];
    for (nonce, payment) in [(1, 0), (2, 1_000)] {
        let request = job_request(&wallet(9), nonce, payment, 1);
        receipts.push(job_receipt(&validator, &[&worker], request, 1, 10).await);
    }
    let mut settled = Vec::new();
    for receipt in receipts {
        let slot = receipt.body.slot(&domain()).hash();
        settled.push((receipt.id(&domain()), slot));
        ledger.insert(receipt, 20).expect("stored");
    }
    settled.truncate(2);
    ledger.settle(&settled, 1, 1).expect("settles");
    let payload = Payload {
        round: 1,
        distribution_id: 1,
        receipts: settled,
        workers: vec![(worker.address(), 20_500)],
        jobs: Vec::new(),
        validators_to_remove: Vec::new(),
        reputation_changes: Vec::new(),
    };
    let hash = payload.proposal_hash(&domain()).expect("hashes");
    let body = PublishedPayload {
        publisher: validator.address(),
        proposal_hash: hash,
        payload,
    };
    let published = Signed::sign(body, &domain(), &validator);
    store
        .put(Table::Payloads, hash.as_slice(), &published)
        .expect("stored");
    let distribution = [b"distribution/".as_slice(), &1u64.to_be_bytes()].concat();
    store
        .put(Table::Meta, &distribution, &hash)
        .expect("stored");
    rows_of(&store)
}

/// Asks the books for everything that they may be asked for.
fn consult(store: &Store, known: &[Row]) -> Result<(), StoreError> {
    let ledger = Ledger::open(store.clone(), domain())?;
    for (_, key, _) in known {
        // Receipts are under their ids, the rest under ids that follow a word.
        let start = key.len().saturating_sub(32);
        let id = B256::left_padding_from(&key[start..]);
        let _ = ledger.contains(id);
        let _ = ledger.job(id);
        let _ = ledger.settled(id);
        if let Ok(Some(receipt)) = ledger.get(id) {
            let _ = ledger.has_slot(&receipt.body.slot(&domain()));
        }
    }
    let held = ledger.eligible(1, u64::MAX);
    assert!(held.len() <= ledger.unsettled_ids().len());
    let _ = ledger.free_jobs(wallet(9).address(), 1);
    if let Some(payload) = distribution_payload(store, 1)? {
        let _ = payload.check(&domain());
        let _ = payload.body.payload.tree();
    }
    Ok(())
}

/// These bytes are a value of this type, or an error that says where they are.
fn is_value_or_error<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<(), TestCaseError> {
    match decode::<T>(Table::Votes, b"key", bytes) {
        Ok(_) => Ok(()),
        Err(StoreError::Corrupted { table, key, .. }) => {
            prop_assert_eq!((table, key.as_str()), (Table::Votes, "6b6579"));
            Ok(())
        }
        Err(other) => Err(TestCaseError::fail(other.to_string())),
    }
}

proptest! {
    #![proptest_config(config())]

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

    #[test]
    fn bytes_that_may_be_no_cbor_are_a_value_or_corrupted(bytes: Vec<u8>) {
        is_value_or_error::<u64>(&bytes)?;
        is_value_or_error::<B256>(&bytes)?;
        is_value_or_error::<(Address, B256, u64)>(&bytes)?;
        is_value_or_error::<Option<(B256, u16)>>(&bytes)?;
        is_value_or_error::<Answer>(&bytes)?;
        is_value_or_error::<Signed<Receipt>>(&bytes)?;
        is_value_or_error::<SignedPayload>(&bytes)?;
        is_value_or_error::<Value>(&bytes)?;
    }

    #[test]
    fn bytes_that_are_no_cbor_are_an_error_of_whoever_reads_the_table(
        table in prop::sample::select(&Table::ALL[..]),
        key: Vec<u8>,
        bytes: Vec<u8>,
    ) {
        let is_cbor = decode::<Value>(table, &key, &bytes).is_ok();
        let store = damaged(&[(table, key.clone(), bytes)], &[]);
        prop_assert_eq!(store.get::<Value>(table, &key).is_ok(), is_cbor);
        prop_assert_eq!(store.scan::<Value>(table).is_ok(), is_cbor);
    }
}

#[tokio::test]
async fn damaged_books_are_read_or_refused() {
    let rows = books().await;
    consult(&damaged(&rows, &[]), &rows).expect("nothing is damaged");
    proptest!(config(), |(damages in damages())| {
        let _ = consult(&damaged(&rows, &damages), &rows);
    });
}
