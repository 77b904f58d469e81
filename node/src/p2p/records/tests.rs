use std::time::{Duration, Instant};

use alloy::signers::local::PrivateKeySigner;
use libp2p::kad::{self, ProviderRecord, store::RecordStore};
use proptest::prelude::*;

use super::keeper::Keeper;
use super::*;
use crate::clock::ChainClock;
use crate::store::rows::{config, damaged, damages, rows_of};
use crate::store::{Store, Table};
use crate::testing::{domain, wallet};

const NOW: u64 = 1_000_000;

fn node(byte: u8, sequence: u64) -> NodeRecord {
    NodeRecord {
        wallet: wallet(byte).address(),
        role: Role::Worker,
        networks: vec!["hash-chain".into()],
        peer: PeerId::random().to_bytes(),
        addresses: vec!["/ip4/10.0.0.1/tcp/4000".parse().expect("an address")],
        sequence,
        expires_at: sequence + RECORD_LIFETIME_SECONDS,
    }
}

fn network(sequence: u64) -> NetworkRecord {
    NetworkRecord {
        publisher: wallet(1).address(),
        name: "wasm/audited".into(),
        workload: "wasm".into(),
        policy: Policy::default(),
        sequence,
        expires_at: sequence + RECORD_LIFETIME_SECONDS,
    }
}

fn job(sequence: u64) -> JobRecord {
    let worker = |n: usize| Address::from_word(B256::from(alloy::primitives::U256::from(n + 1)));
    JobRecord {
        validator: wallet(1).address(),
        job: B256::repeat_byte(5),
        user: wallet(2).address(),
        phase: JobPhase::Active,
        workers: (0..JOB_WORKERS_MAX).map(worker).collect(),
        sequence,
        expires_at: sequence + RECORD_LIFETIME_SECONDS,
    }
}

fn signed<T: Statement>(body: T, signer: &PrivateKeySigner) -> Signed<T> {
    Signed::sign(body, &domain(), signer)
}

fn all(sequence: u64) -> Vec<Record> {
    vec![
        Record::Node(signed(node(1, sequence), &wallet(1))),
        Record::Network(signed(network(sequence), &wallet(1))),
        Record::Job(signed(job(sequence), &wallet(1))),
    ]
}

fn verify(record: &Record, now: u64) -> Result<Record, RecordError> {
    Record::verify(&record.key(), &record.encode(), &domain(), now)
}

#[test]
fn good_records_of_every_kind_are_kept() {
    for record in all(NOW) {
        assert_eq!(verify(&record, NOW).as_ref(), Ok(&record));
    }
}

#[test]
fn a_record_belongs_under_its_key_and_lives_its_time() {
    for record in all(NOW) {
        let elsewhere = node_key(Address::ZERO);
        assert_eq!(
            Record::verify(&elsewhere, &record.encode(), &domain(), NOW).err(),
            Some(RecordError::WrongKey)
        );
        let last = NOW + RECORD_LIFETIME_SECONDS;
        assert!(verify(&record, last).is_ok());
        for now in [last + 1, NOW - CLOCK_TOLERANCE_SECONDS - 1] {
            let error = verify(&record, now).expect_err("not its time");
            assert!(matches!(error, RecordError::Expired { .. }), "{error}");
            assert!(!error.is_offence());
        }
    }
    let mut eternal = node(1, NOW);
    eternal.expires_at += 1;
    let eternal = Record::Node(signed(eternal, &wallet(1)));
    assert!(matches!(
        verify(&eternal, NOW),
        Err(RecordError::Expired { .. })
    ));
}

#[test]
fn a_record_is_signed_by_whom_it_names_for_this_deployment() {
    let forged = [
        Record::Node(signed(node(1, NOW), &wallet(2))),
        Record::Network(signed(network(NOW), &wallet(2))),
        Record::Job(signed(job(NOW), &wallet(2))),
    ];
    for record in forged {
        let error = verify(&record, NOW).expect_err("forged");
        assert!(matches!(error, RecordError::Signature(_)), "{error}");
        assert!(error.is_offence());
    }
    let elsewhere = Domain {
        core: Address::ZERO,
        ..domain()
    };
    for record in all(NOW) {
        let error = Record::verify(&record.key(), &record.encode(), &elsewhere, NOW);
        assert!(matches!(error, Err(RecordError::Signature(_))));
    }
}

#[test]
fn fields_are_within_bounds() {
    let bad_node = |change: fn(&mut NodeRecord)| {
        let mut body = node(1, NOW);
        change(&mut body);
        Record::Node(signed(body, &wallet(1)))
    };
    let mut other_workload = network(NOW);
    other_workload.workload = "matmul".into();
    let mut other_policy = network(NOW);
    other_policy.policy.vectors += 1;
    let mut no_name = network(NOW);
    no_name.name.clear();
    let mut twice = job(NOW);
    twice.workers[1] = twice.workers[0];
    let mut crowd = job(NOW);
    crowd.workers.push(Address::repeat_byte(0xff));
    let bad = [
        (bad_node(|node| node.peer.clear()), "peer"),
        (
            bad_node(|node| node.addresses = vec![node.addresses[0].clone(); ADDRESSES_MAX + 1]),
            "number of addresses",
        ),
        (
            bad_node(|node| node.networks = vec!["x".into(); NETWORKS_MAX + 1]),
            "list of networks",
        ),
        (
            bad_node(|node| node.networks = vec!["x".repeat(NETWORK_NAME_MAX + 1)]),
            "list of networks",
        ),
        (
            Record::Network(signed(other_workload, &wallet(1))),
            "workload",
        ),
        (Record::Network(signed(other_policy, &wallet(1))), "policy"),
        (Record::Network(signed(no_name, &wallet(1))), "name"),
        (Record::Job(signed(twice, &wallet(1))), "list of workers"),
        (Record::Job(signed(crowd, &wallet(1))), "list of workers"),
    ];
    for (record, field) in bad {
        assert_eq!(verify(&record, NOW).err(), Some(RecordError::Field(field)));
    }
    let long = bad_node(|node| {
        let host = "x".repeat(1_000);
        let address = format!("/dns/{host}/tcp/1").parse();
        node.addresses = vec![address.expect("an address"); 9];
    });
    assert!(matches!(
        verify(&long, NOW),
        Err(RecordError::TooLarge { .. })
    ));
    let key = node_key(Address::ZERO);
    let huge = Record::verify(&key, &vec![0; RECORD_BYTES_MAX + 1], &domain(), NOW);
    assert!(matches!(huge, Err(RecordError::TooLarge { .. })));
}

#[test]
fn a_later_record_replaces_an_earlier_one() {
    for (old, new) in all(NOW).iter().zip(all(NOW + 1)) {
        assert!(new.replaces(old) && !old.replaces(&new) && !old.replaces(old));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1_000)) {
        for key in [node_key(Address::ZERO), network_key("x"), payload_key(B256::ZERO)] {
            prop_assert!(Record::verify(&key, &bytes, &domain(), NOW).is_err());
        }
    }

    #[test]
    fn a_record_with_a_changed_byte_is_refused_or_the_same(which in 0usize..3, at: prop::sample::Index, to: u8) {
        let record = &all(NOW)[which];
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(found) = Record::verify(&record.key(), &bytes, &domain(), NOW) {
            // Only the signature has a second form (its recovery id), and it is no part of what is stated.
            prop_assert_eq!(found.life(), record.life());
            prop_assert!(!found.replaces(record));
        }
    }
}

fn store() -> Store {
    Store::in_memory().expect("an empty database opens")
}

fn keeper(local: PeerId, store: &Store, now: u64) -> Keeper {
    Keeper::open(local, &domain(), ChainClock::new(now), store.clone()).expect("opens")
}

fn kept(record: &Record, publisher: PeerId, lasts: u64) -> kad::Record {
    kad::Record {
        key: record.key(),
        value: record.encode(),
        publisher: Some(publisher),
        expires: Some(Instant::now() + Duration::from_secs(lasts)),
    }
}

#[test]
fn what_was_kept_is_there_after_a_restart_until_it_ends() {
    let (local, other, store) = (PeerId::random(), PeerId::random(), store());
    let mut first = keeper(local, &store, NOW);
    for (index, record) in all(NOW).iter().enumerate() {
        let lasts = [10, 1_000, 2_000][index];
        first
            .put(kept(record, [local, other, other][index], lasts))
            .expect("there is room");
    }
    first.remove(&all(NOW)[2].key());
    first.flush();

    let second = keeper(local, &store, NOW + 100);
    let found: Vec<_> = second.records().map(|record| record.into_owned()).collect();
    assert_eq!(found.len(), 1, "one has ended, one was removed");
    let expected = &all(NOW)[1];
    assert_eq!(found[0].value, expected.encode());
    assert_eq!(found[0].publisher, Some(other));
    let left = found[0].expires.expect("it ends") - Instant::now();
    assert!((890..=900).contains(&left.as_secs()), "{left:?}");

    let mut second = second;
    second.flush();
    let rows = store
        .scan::<ciborium::Value>(Table::Records)
        .expect("reads");
    assert_eq!(rows.len(), 1, "what has ended is gone from the disk too");
}

#[test]
fn a_changed_record_on_disk_is_dropped_and_a_corrupted_one_is_an_error() {
    let (local, store) = (PeerId::random(), store());
    let mut first = keeper(local, &store, NOW);
    let record = &all(NOW)[0];
    first.put(kept(record, local, 1_000)).expect("room");
    first.flush();
    let rows = store
        .scan::<ciborium::Value>(Table::Records)
        .expect("reads");
    let elsewhere = node_key(Address::ZERO).to_vec();
    store
        .put(Table::Records, &elsewhere, &rows[0].1)
        .expect("writes");
    assert_eq!(keeper(local, &store, NOW).records().count(), 1);
    store.put(Table::Records, b"x", &"y").expect("writes");
    let opened = Keeper::open(local, &domain(), ChainClock::new(NOW), store);
    assert!(opened.is_err_and(|error| error.to_string().contains("table records")));
}

#[test]
fn no_kind_takes_more_than_its_room_and_own_records_stay() {
    let (local, store) = (PeerId::random(), store());
    let mut keeper = keeper(local, &store, NOW);
    let own = Record::Job(signed(job(NOW), &wallet(1)));
    keeper.put(kept(&own, local, 5)).expect("own");
    let mut of_job = |n: u64, lasts: u64| {
        let mut body = job(NOW);
        body.job = B256::from(alloy::primitives::U256::from(n));
        body.workers.clear();
        // Kept as verified: the keeper does not look at the signature again.
        let record = Record::Job(signed(body, &wallet(1)));
        keeper.put(kept(&record, PeerId::random(), lasts)).is_ok()
    };
    for n in 0..2_048 {
        assert!(of_job(n, 1_000 + n));
    }
    assert!(!of_job(5_000, 10), "what ends sooner than all others");
    assert!(
        of_job(5_001, 9_000),
        "what lasts takes the place of the first to end"
    );
    let first = job_key(B256::ZERO, wallet(1).address());
    assert!(keeper.get(&first).is_none() && keeper.get(&own.key()).is_some());
    assert_eq!(keeper.records().count(), 2_049);
    let node = Record::Node(signed(node(1, NOW), &wallet(1)));
    assert!(keeper.put(kept(&node, PeerId::random(), 1)).is_ok());

    let garbage = kad::Record::new(node_key(Address::ZERO), vec![1, 2, 3]);
    assert!(keeper.put(garbage).is_err());
}

#[test]
fn providers_are_kept_for_networks_and_within_bounds() {
    let (local, store) = (PeerId::random(), store());
    let mut keeper = keeper(local, &store, NOW);
    let wasm = network_key("wasm");
    let provider = |key: &RecordKey, peer| ProviderRecord::new(key.clone(), peer, Vec::new());
    for other in [node_key(Address::ZERO), network_key("")] {
        assert!(keeper.add_provider(provider(&other, local)).is_err());
    }
    assert!(keeper.add_provider(provider(&wasm, local)).is_ok());
    let accepted = (0..1_000)
        .filter(|_| {
            keeper
                .add_provider(provider(&wasm, PeerId::random()))
                .is_ok()
        })
        .count();
    assert_eq!(accepted, 255);
    assert!(keeper.add_provider(provider(&wasm, local)).is_ok(), "again");
    assert_eq!(keeper.providers(&wasm).len(), 256);
    assert_eq!(keeper.provided().count(), 1);
    keeper.remove_provider(&wasm, &local);
    assert_eq!(
        (keeper.provided().count(), keeper.providers(&wasm).len()),
        (0, 255)
    );
}

#[test]
fn providers_are_there_after_a_restart_until_they_end_and_own_ones_are_said_anew() {
    let (local, store) = (PeerId::random(), store());
    let wasm = network_key("wasm");
    let others = [10, 1_000].map(|lasts| (PeerId::random(), lasts));
    let mut first = keeper(local, &store, NOW);
    for (provider, lasts) in others {
        let mut record = ProviderRecord::new(wasm.clone(), provider, Vec::new());
        record.addresses = vec!["/ip4/10.0.0.1/tcp/4000".parse().expect("an address")];
        record.expires = Some(Instant::now() + Duration::from_secs(lasts));
        first.add_provider(record).expect("room");
    }
    let own = ProviderRecord::new(wasm.clone(), local, Vec::new());
    first.add_provider(own).expect("room");
    first.flush();

    let mut second = keeper(local, &store, NOW + 100);
    let found = second.providers(&wasm);
    assert_eq!(found.len(), 1, "one has ended, one was its own");
    assert_eq!(found[0].provider, others[1].0);
    assert_eq!(found[0].addresses.len(), 1);
    let left = found[0].expires.expect("it ends") - Instant::now();
    assert!((890..=900).contains(&left.as_secs()), "{left:?}");
    second.remove_provider(&wasm, &others[1].0);
    second.flush();
    let rows = store.scan::<ciborium::Value>(Table::Providers);
    assert!(rows.expect("reads").is_empty());
}

#[test]
fn a_damaged_database_is_read_or_refused_and_nothing_in_it_lasts_for_ever() {
    let (local, other, store) = (PeerId::random(), PeerId::random(), store());
    let mut first = keeper(local, &store, NOW);
    for record in &all(NOW) {
        first.put(kept(record, other, 1_000)).expect("room");
    }
    let network = network_key("hash-chain");
    for provider in [PeerId::random(), other] {
        let record = ProviderRecord {
            key: network.clone(),
            provider,
            expires: Some(Instant::now() + Duration::from_secs(1_000)),
            addresses: vec!["/ip4/10.0.0.1/tcp/4000".parse().expect("an address")],
        };
        first.add_provider(record).expect("room");
    }
    first.flush();
    let rows = rows_of(&store);
    assert_eq!(rows.len(), 4);
    let longest = Duration::from_secs(RECORD_LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS);
    let now = prop_oneof![4 => Just(NOW), 1 => 0..2 * NOW];
    proptest!(config(), |(damages in damages(), now in now)| {
        let clock = ChainClock::new(now);
        let store = damaged(&rows, &damages);
        let Ok(mut keeper) = Keeper::open(local, &domain(), clock.clone(), store.clone()) else {
            return Ok(());
        };
        let mut ends: Vec<_> = keeper.records().map(|record| record.expires).collect();
        ends.extend(keeper.providers(&network).iter().map(|provider| provider.expires));
        for end in ends {
            prop_assert!(end.is_some_and(|end| end <= Instant::now() + longest));
        }
        keeper.sweep();
        keeper.flush();
        prop_assert!(Keeper::open(local, &domain(), clock, store).is_ok());
    });
}
