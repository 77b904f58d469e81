//! What the DHT is for, on real sockets: records, payloads and providers are found by whoever was told of none of them.
//! And a network key that is rotated while its thief is connected.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes and files are the point here"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256};
use smartnodes_actors::Speaker;
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesCore as Core};
use smartnodes_node::{
    p2p::{
        Event, Network,
        handshake::Role,
        records::{NodeRecord, RECORD_LIFETIME_SECONDS, Record, node_key, payload_key},
        wire::{Refusal, Request, Response},
    },
    signed::Signed,
};
use smartnodes_tests::story::{Settings, Testnet};
use tokio::{sync::mpsc, time::sleep};

/// Longest that a record may take to be found by somebody who has just joined.
const PATIENCE: Duration = Duration::from_secs(60);

async fn testnet(dir: &tempfile::TempDir, interval_seconds: u64) -> Testnet {
    let settings = Settings {
        validators: 3,
        workers: 2,
        users: 1,
        updates: 1,
        interval_seconds,
        dir: dir.path().join("testnet"),
        rpc_port: 0,
    };
    Testnet::start(settings).await.expect("the network starts")
}

/// Says what a peer is to whoever asks, for as long as its swarm lives.
fn introduce(speaker: Speaker, mut events: mpsc::Receiver<Event>) {
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Request {
                peer,
                request: Request::Role { nonce },
                responder,
            } = event
            {
                responder.send(speaker.answer(peer, nonce)).await;
            }
        }
    });
}

/// Asks until the answer is one.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "{what} is not found");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn what_is_in_the_dht_is_found_through_any_node_by_whoever_was_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut testnet = testnet(&dir, 40).await;

    // Published through one validator, looked up through another one and through a worker.
    let (author, one, events) = testnet.stranger("validator-1").await.unwrap();
    let (domain, wallet) = (author.domain, author.identity.wallet.clone());
    let now = author.clock.now();
    let body = NodeRecord {
        wallet: wallet.address(),
        role: Role::User,
        networks: Vec::new(),
        peer: author.identity.peer_id().to_bytes(),
        addresses: vec!["/ip4/192.0.2.7/tcp/4000".parse().unwrap()],
        sequence: now,
        expires_at: now + RECORD_LIFETIME_SECONDS,
    };
    introduce(author, events);
    until("a connection", async || {
        (!one.peers().await.is_empty()).then_some(())
    })
    .await;
    let record = Record::Node(Signed::sign(body, &domain, &wallet));
    one.put_record(&record).await;
    let key = node_key(wallet.address());
    let mut strangers = Vec::new();
    for through in ["validator-3", "worker-2"] {
        let (speaker, network, events) = testnet.stranger(through).await.unwrap();
        introduce(speaker, events);
        let found = until("the record", async || {
            network.find_records(key.clone()).await.into_iter().next()
        })
        .await;
        assert_eq!(found, record, "through {through}");
        strangers.push(network);
    }
    // The author is gone, and its record is not.
    drop(one);
    let found = strangers[0].find_records(key.clone()).await;
    assert_eq!(found, [record]);

    // Who serves a network.
    let workers: BTreeSet<_> = testnet
        .names(Role::Worker)
        .filter_map(|name| testnet.peer_id(&name))
        .collect();
    for stranger in &strangers {
        let found = until("every worker of a network", async || {
            let found = stranger.network_workers("hash-chain").await;
            let found: BTreeSet<_> = found.into_iter().collect();
            (found == workers).then_some(found)
        })
        .await;
        assert_eq!(found, workers);
        assert!(stranger.network_workers("no-such").await.is_empty());
    }

    // The payload of an update, by the hash that the chain names.
    testnet.until_claimed(1).await.unwrap();
    let coordinator = testnet.deployment().coordinator;
    let executed: Vec<Coordinator::StateUpdateExecuted> =
        testnet.chain().events(coordinator).unwrap();
    let hash = executed[0].proposalHash;
    for stranger in &strangers {
        let payload = until("the payload", async || {
            let found = stranger.find_records(payload_key(hash)).await;
            found.into_iter().find_map(|record| match record {
                Record::Payload(payload) => Some(payload),
                _ => None,
            })
        })
        .await;
        assert_eq!(payload.check(&domain), Ok(()));
        assert_eq!(payload.body.payload.proposal_hash(&domain), Ok(hash));
        assert_eq!(payload.body.payload.workers.len(), 2);
        let unknown = payload_key(B256::repeat_byte(1));
        assert!(stranger.find_records(unknown).await.is_empty());
    }
    testnet.stop().await.unwrap();
}

/// What a validator says to whoever asks it for something that only validators get.
async fn asks_for_receipts(network: &Network, testnet: &Testnet, of: &str) -> Response {
    let peer = testnet.peer_id(of).unwrap();
    let asked = network
        .request(peer, Request::ReceiptIds { after: B256::ZERO })
        .await;
    asked.unwrap_or_else(|error| panic!("{of}: {error}"))
}

fn registered_key(testnet: &Testnet, account: Address) -> B256 {
    let call = Core::credentialOfCall { account };
    testnet
        .chain()
        .read(testnet.deployment().core, &call)
        .unwrap()
}

#[tokio::test]
async fn a_rotated_network_key_is_worth_nothing_within_a_round_and_the_new_one_goes_on() {
    const ROUND: u64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let mut testnet = testnet(&dir, ROUND).await;
    testnet.until_claimed(1).await.unwrap();
    let owner = testnet.address("validator-2").unwrap();
    let before = registered_key(&testnet, owner);

    // A thief with all keys is taken for the validator, as long as its owner does nothing about it.
    testnet.kill("validator-2").await.unwrap();
    let (thief, network, events) = testnet.impersonate("validator-2").await.unwrap();
    let stolen = thief.identity.public_key_hash();
    assert_eq!(stolen, before);
    introduce(thief, events);
    for of in ["validator-1", "validator-3"] {
        until("the thief's welcome", async || {
            let said = asks_for_receipts(&network, &testnet, of).await;
            matches!(said, Response::ReceiptIds(_)).then_some(())
        })
        .await;
    }

    let shown = testnet
        .smartnode("validator-2", &["keys", "rotate"])
        .await
        .unwrap();
    let rotated = Instant::now();
    let key_hash: B256 = serde_json::from_value(shown["public_key_hash"].clone()).unwrap();
    assert_eq!(shown["registered"], true);
    assert_ne!(key_hash, before);
    assert_eq!(registered_key(&testnet, owner), key_hash);
    testnet.restart("validator-2").await.unwrap();
    for of in ["validator-1", "validator-3"] {
        loop {
            match asks_for_receipts(&network, &testnet, of).await {
                Response::Refused(Refusal::NotAllowed(Role::Validator)) => break,
                Response::ReceiptIds(_) => {}
                other => panic!("{of}: {other:?}"),
            }
            assert!(
                rotated.elapsed().as_secs() <= ROUND,
                "{of} still believes the old key"
            );
            sleep(Duration::from_millis(500)).await;
        }
    }

    // Under the new key it is known to the others, and votes.
    let peer_id = shown["peer_id"].as_str().unwrap().to_owned();
    let known = format!("peer verified peer={peer_id} role=validator wallet={owner}");
    for of in ["validator-1", "validator-3"] {
        let looked = async || testnet.log(of).unwrap().contains(&known).then_some(());
        until("the new key in the others' logs", looked).await;
    }
    let coordinator = testnet.deployment().coordinator;
    let votes = |net: &Testnet| {
        let votes: Vec<Coordinator::VoteCast> = net.chain().events(coordinator)?;
        Ok(votes.iter().filter(|vote| vote.validator == owner).count())
    };
    let so_far = votes(&testnet).unwrap();
    testnet
        .until("a vote under the new key", |net| Ok(votes(net)? > so_far))
        .await
        .unwrap();
    testnet.stop().await.unwrap();
}
