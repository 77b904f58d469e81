//! Everything that reads from the wire, the chain or the disk, given arbitrary bytes: an error or a value, never a panic.
//!
//! Others have such tests beside them: frames (`p2p::codec`), records (`p2p::records`), tasks, results and proofs (`work`), the
//! names of networks (`work::network`), the journal and revert data (`chain`), rows of the database (`store`), and the
//! configuration (`cli::config`).

use std::{fs, sync::LazyLock, time::Duration};

use alloy::primitives::{Address, B256};
use libp2p::{PeerId, kad::RecordKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use smartnodes_node::{
    chain::{ChainClient, Intent},
    identity::peer_key_hash,
    jobs::{JobRequest, receipt::Receipt},
    keystore::{self, KeystoreError, Password},
    p2p::{
        handshake::{Role, RoleStatement, check_statement},
        records::{network_key, network_of_key},
        wire::{Gossip, Request, Response},
    },
    round::payload::SignedPayload,
    signed::{Domain, Signed, decode, encode},
    store::{Store, Table},
};
use tokio::time::timeout;

use crate::world::{Twist, World, keys};

fn domain() -> Domain {
    Domain {
        chain_id: 1,
        core: Address::repeat_byte(1),
        coordinator: Address::repeat_byte(2),
    }
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn messages_of_the_wire(bytes in bytes(2_000)) {
        let _ = decode::<Gossip>(&bytes);
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Response>(&bytes);
        let _ = decode::<Signed<Receipt>>(&bytes);
        let _ = decode::<Signed<JobRequest>>(&bytes);
        if let Ok(payload) = decode::<SignedPayload>(&bytes) {
            prop_assert!(payload.check(&domain()).is_err());
        }
        if let Ok(peer) = PeerId::from_bytes(&bytes) {
            let _ = peer_key_hash(&peer);
        }
        if let Some(name) = network_of_key(&RecordKey::from(bytes.clone())) {
            prop_assert_eq!(network_key(name).to_vec(), bytes);
        }
    }

    #[test]
    fn a_statement_with_changed_bytes_is_refused_or_says_the_same(at: prop::sample::Index, to: u8) {
        let (prover, verifier) = (keys(1), keys(2).peer_id());
        let nonce = B256::repeat_byte(9);
        let body = RoleStatement {
            role: Role::Worker,
            wallet: prover.address(),
            networks: vec!["hash-chain".into()],
            capacity: 3,
            prover: prover.peer_id().to_bytes(),
            verifier: verifier.to_bytes(),
            nonce,
            expires_at: 1_000,
        };
        let statement = Signed::sign(body.clone(), &domain(), &prover.wallet);
        let mut bytes = encode(&statement);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(changed) = decode::<Signed<RoleStatement>>(&bytes) {
            let held = check_statement(&changed, &domain(), &prover.peer_id(), &verifier, nonce, 990);
            prop_assert!(held.is_err() || changed.body == body);
        }
    }

    #[test]
    fn values_of_the_database(bytes in bytes(500)) {
        // Any CBOR, under keys that have a type.
        if let Ok(value) = ciborium::from_reader::<ciborium::Value, _>(bytes.as_slice()) {
            let store = Store::in_memory().expect("opens");
            for table in Table::ALL {
                store.put(table, b"key", &value).expect("any CBOR is stored");
                let _ = store.get::<Signed<Receipt>>(table, b"key");
                let _ = store.get::<SignedPayload>(table, b"key");
                let _ = store.scan::<B256>(table);
            }
            let _ = smartnodes_node::jobs::ledger::Ledger::open(store, domain());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_database_file(bytes in bytes(20_000), begins_well: bool) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.redb");
        let mut content = Vec::new();
        if begins_well {
            Store::open(backend(&path)).expect("a new one opens");
            content = fs::read(&path).expect("readable");
            content.truncate(content.len().min(4_096));
        }
        content.extend(bytes);
        fs::write(&path, &content).expect("written");
        let _ = Store::open(backend(&path));
    }

    #[test]
    fn a_keystore_file(bytes in bytes(500)) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key.json");
        fs::write(&path, &bytes).expect("written");
        let password = Password::new("p").expect("a password");
        prop_assert!(keystore::load(&path, &path, &password).is_err());
        let _ = Password::read(Some(&path));
    }

    #[test]
    fn a_keystore_of_which_some_part_is_something_else(
        place: usize,
        value in prop_oneof![json_or_nothing(), of_a_keystore().prop_map(Some)],
        is_pbkdf2: bool,
    ) {
        let twist = Twist { place, value };
        let text = twist.apply(&wrapped_keystore(is_pbkdf2));
        let changed: Value = serde_json::from_slice(&text).expect("JSON");
        open_changed(changed["result"].to_string().as_bytes())?;
    }

    #[test]
    fn a_keystore_with_a_changed_byte(at: prop::sample::Index, to: u8, is_pbkdf2: bool) {
        let keystore: Value = serde_json::from_slice(&wrapped_keystore(is_pbkdf2)).expect("JSON");
        let mut bytes = keystore["result"].to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        open_changed(&bytes)?;
    }

    #[test]
    fn answers_of_the_chain(bytes in bytes(300)) {
        with_a_client(async |world, chain| {
            world.lie(bytes);
            ask_everything(chain).await;
        });
    }

    #[test]
    fn answers_of_the_chain_that_are_wrong_in_some_part(place: usize, value in json_or_nothing()) {
        with_a_client(async |world, chain| {
            world.twist(Twist { place, value });
            ask_everything(chain).await;
            let _ = chain.cross_check().await;
            // Whoever is told nonsense may wait for a receipt for long.
            let sending = chain.send(Intent::OpenRound { round: 1 });
            let _ = timeout(Duration::from_millis(200), sending).await;
        });
    }
}

/// A keystore of [`keys`] 1 with the password `p`, as the result of an answer. One that is said to be PBKDF2 has everything
/// that it should have, but no password fits.
fn wrapped_keystore(is_pbkdf2: bool) -> Vec<u8> {
    static SAVED: LazyLock<Value> = LazyLock::new(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let (wallet, network) = (dir.path().join("w.json"), dir.path().join("n.json"));
        let password = Password::new("p").expect("a password");
        keystore::save(&keys(1), &wallet, &network, &password).expect("saved");
        serde_json::from_slice(&fs::read(wallet).expect("readable")).expect("JSON")
    });
    let mut saved = SAVED.clone();
    if is_pbkdf2 {
        let salt = saved["crypto"]["kdfparams"]["salt"].take();
        saved["crypto"]["kdf"] = "pbkdf2".into();
        saved["crypto"]["kdfparams"] =
            json!({ "c": 10, "dklen": 32, "prf": "hmac-sha256", "salt": salt });
    }
    json!({ "result": saved }).to_string().into_bytes()
}

/// What stands in keystores: small numbers, any, and bytes. Numbers that are allowed and take long are hardly among them.
fn of_a_keystore() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..40u32).prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        "([0-9a-f]{2}){0,40}".prop_map(Value::from),
        proptest::sample::select(&["aes-128-ctr", "scrypt", "pbkdf2", "hmac-sha256"][..])
            .prop_map(Value::from),
    ]
}

/// A keystore that was changed gives up the key that was saved, another one (no checksum covers the initialisation vector),
/// or an error.
fn open_changed(bytes: &[u8]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("key.json");
    fs::write(&path, bytes).expect("written");
    let password = Password::new("p").expect("a password");
    match keystore::load_wallet(&path, &password) {
        Ok(wallet) => {
            let iv = |bytes: &[u8]| -> Value {
                let keystore: Value = serde_json::from_slice(bytes).expect("it was read");
                keystore["crypto"]["cipherparams"].clone()
            };
            let saved: Value = serde_json::from_slice(&wrapped_keystore(false)).expect("JSON");
            let is_same = iv(bytes) == iv(saved["result"].to_string().as_bytes());
            prop_assert!(!is_same || wallet.address() == keys(1).address());
        }
        Err(
            KeystoreError::File { .. }
            | KeystoreError::Format { .. }
            | KeystoreError::WrongPassword { .. }
            | KeystoreError::NotAKey { .. },
        ) => {}
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    }
    Ok(())
}

/// Runs `test` on a deployment and a client of it.
fn with_a_client(test: impl AsyncFnOnce(&World, &ChainClient)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let world = World::new();
        let chain = world.client(1).await;
        test(&world, &chain).await;
    });
}

/// Some JSON of the kinds that answers are made of, or nothing at all.
fn json_or_nothing() -> impl Strategy<Value = Option<Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "0x[0-9a-f]{0,70}".prop_map(Value::from),
        Just(Value::from(format!("0x{}", "f".repeat(64)))),
    ];
    let value = leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    proptest::option::of(value)
}

fn backend(path: &std::path::Path) -> redb::backends::FileBackend {
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .expect("opens");
    redb::backends::FileBackend::new(file).expect("nobody else has it")
}

/// Every view once. What is answered is of no matter.
async fn ask_everything(chain: &ChainClient) {
    let account = Address::ZERO;
    let _ = chain.round_status().await;
    let _ = chain.validators().await;
    let _ = chain.proposers().await;
    let _ = chain.credential_of(account).await;
    let _ = chain.is_verified_validator(account, B256::ZERO).await;
    let _ = chain.is_snapshot_validator(account).await;
    let _ = chain.is_active(account).await;
    let _ = chain.required_approvals().await;
    let _ = chain.is_user(account).await;
    let _ = chain.reputation(account).await;
    let _ = chain.networks().await;
    let _ = chain.is_network("x").await;
    let _ = chain.proposals().await;
    let _ = chain.voted_for(account).await;
    let _ = chain.can_execute(1).await;
    let _ = chain.job(B256::ZERO).await;
    let _ = chain.cancellable_at(B256::ZERO).await;
    let _ = chain.distribution_count().await;
    let _ = chain.distribution(1).await;
    let _ = chain.claimed(1, account).await;
    let _ = chain.credits(account).await;
    let _ = chain.token_balance(account).await;
    let _ = chain.head().await;
    let _ = chain.block_hash(0).await;
    let _ = chain.cost_of_gas(u64::MAX).await;
    let _ = chain.executed_updates(0, 10).await;
}
