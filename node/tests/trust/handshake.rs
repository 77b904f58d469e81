//! Attacks on the handshake, one test each: real nodes, on a real deployment on the embedded chain.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy::primitives::{Address, B256, U256};
use libp2p::identity::Keypair;
use smartnodes_evm::bindings::{SmartnodesCore as Core, SmartnodesERC20 as Token};
use smartnodes_node::{
    p2p::{
        handshake::Role,
        wire::{Request, Response},
    },
    signed::Domain,
};
use tokio::time::{sleep, timeout};

use crate::world::{Peer, ROUND, World, connect, is_validator, keys, pass, refusal, until};

/// Asks.
const USER: u8 = 10;
/// Means harm.
const MALLORY: u8 = 20;

/// A user's node and a peer that it holds to be a validator, until `change`; then it must not within a round.
async fn loses_its_role_within_a_round(change: impl FnOnce(&World)) -> (World, String) {
    let world = World::new();
    let node = world.node(USER, Role::User).await;
    let validator = world.honest_validator(keys(1));
    assert_eq!(refusal(&node, &validator).await, None);
    assert!(is_validator(&node, &validator));
    change(&world);
    // What is left of the round is more than the node needs to look.
    pass(&node, ROUND * 3 / 4);
    let looked = timeout(ROUND / 4, async {
        while is_validator(&node, &validator) {
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(looked.await.is_ok(), "a round has passed");
    let reason = refusal(&node, &validator).await.expect("still refused");
    (world, reason)
}

#[tokio::test]
async fn a_replayed_statement_is_refused() {
    let world = World::new();
    let node = world.node(USER, Role::User).await;
    let recorded = Arc::new(Mutex::new(None));
    let (own, identity) = (world.clone(), keys(1));
    let validator = world.peer(keys(1), move |_, asker, nonce| {
        let mut recorded = recorded.lock().expect("no panic");
        let statement = recorded
            .get_or_insert_with(|| own.statement(&identity, asker, nonce, &own.domain()))
            .clone();
        std::future::ready(Response::Role(Box::new(statement)))
    });
    assert_eq!(refusal(&node, &validator).await, None, "the first time");
    node.context().renew_statements(0).await;
    let reason = refusal(&node, &validator).await.expect("a replay");
    assert!(reason.contains("replayed"), "{reason}");
    assert!(!is_validator(&node, &validator));
}

#[tokio::test]
async fn a_statement_relayed_through_a_third_node_is_refused() {
    let world = World::new();
    let node = world.node(USER, Role::User).await;
    let validator = world.node(1, Role::Validator).await;
    let honest = keys(1).peer_id();
    // Hands the nonce on to the validator, and the validator's answer back.
    let relay = world.peer(keys(MALLORY), move |network, _, nonce| async move {
        match network.request(honest, Request::Role { nonce }).await {
            Ok(answer @ Response::Role(_)) => answer,
            other => panic!("the validator answers anyone: {other:?}"),
        }
    });
    connect(&validator, &relay.network, relay.id).await;
    let reason = refusal(&node, &relay).await.expect("a relay");
    assert!(reason.contains("relayed"), "{reason}");
    assert!(!is_validator(&node, &relay));
}

#[tokio::test]
async fn a_statement_for_another_chain_or_deployment_is_refused() {
    let world = World::new();
    let node = world.node(USER, Role::User).await;
    let here = world.domain();
    let elsewhere = [
        Domain {
            chain_id: here.chain_id + 1,
            ..here
        },
        Domain {
            core: Address::repeat_byte(7),
            ..here
        },
    ];
    for (n, domain) in (0u8..).zip(elsewhere) {
        let own = world.clone();
        let validator = world.peer(keys(n), move |_, asker, nonce| {
            let statement = own.statement(&keys(n), asker, nonce, &domain);
            std::future::ready(Response::Role(Box::new(statement)))
        });
        let reason = refusal(&node, &validator).await.expect("another chain");
        assert!(reason.contains("signed by"), "{reason}");
        assert!(!is_validator(&node, &validator));
    }
}

#[tokio::test]
async fn an_impostor_is_no_validator() {
    let world = World::new();
    let node = world.node(USER, Role::User).await;
    // Its own wallet, and a validator's wallet whose key it does not have.
    let stranger = world.honest_validator(keys(MALLORY));
    let reason = refusal(&node, &stranger).await.expect("an impostor");
    assert!(reason.contains("no verified validator"), "{reason}");
    let own = world.clone();
    let forger = world.peer(keys(MALLORY + 1), move |_, asker, nonce| {
        let mut statement = own.statement(&keys(MALLORY + 1), asker, nonce, &own.domain());
        statement.body.wallet = keys(1).address();
        std::future::ready(Response::Role(Box::new(statement)))
    });
    let reason = refusal(&node, &forger).await.expect("a forger");
    assert!(reason.contains("signed by"), "{reason}");
    assert!(node.context().peers_with(Role::Validator).is_empty());
}

#[tokio::test]
async fn a_stolen_network_key_is_worthless_after_its_rotation() {
    let mut renewed = keys(1);
    renewed.network = Keypair::ed25519_from_bytes([9; 32]).expect("32 bytes");
    let call = Core::setPublicKeyHashCall {
        publicKeyHash: renewed.public_key_hash(),
    };
    // The thief even gets the wallet's signatures: only the old network key is held against it.
    let (world, reason) =
        loses_its_role_within_a_round(|world| world.act(1, world.deployment.core, call)).await;
    assert!(reason.contains("under this network key"), "{reason}");
    let node = world.node(USER, Role::User).await;
    let owner = world.honest_validator(renewed);
    assert_eq!(refusal(&node, &owner).await, None, "the new key serves");
}

#[tokio::test]
async fn a_validator_that_unlocks_loses_its_role_within_a_round() {
    let call = Core::unlockValidatorCall {};
    let (_, reason) =
        loses_its_role_within_a_round(|world| world.act(1, world.deployment.core, call)).await;
    assert!(reason.contains("no verified validator"), "{reason}");
}

#[tokio::test]
async fn a_validator_that_is_slashed_loses_its_role_within_a_round() {
    let call = Token::slashAndUnlockValidatorCall {
        validator: keys(1).address(),
        amount: U256::from(1),
    };
    let (_, reason) = loses_its_role_within_a_round(|world| {
        world.act_as(world.deployment.timelock, world.deployment.token, call);
    })
    .await;
    assert!(reason.contains("no verified validator"), "{reason}");
}

#[tokio::test]
async fn a_validator_without_reputation_loses_its_role_within_a_round() {
    let (_, reason) = loses_its_role_within_a_round(|world| {
        // From 500, by the largest step three times.
        for round in 1..=3 {
            let call = Core::updateContractCall {
                jobIds: Vec::new(),
                merkleRoot: B256::ZERO,
                totalCapacity: U256::ZERO,
                approvingValidators: vec![keys(0).address()],
                interval: U256::from(1),
                round,
                reputationChanges: vec![Core::ReputationChange {
                    account: keys(1).address(),
                    delta: -100,
                }],
            };
            world.act_as(world.deployment.coordinator, world.deployment.core, call);
        }
    })
    .await;
    assert!(reason.contains("reputation of 200"), "{reason}");
}

#[tokio::test]
async fn without_the_chain_nobody_is_a_validator() {
    let world = World::new();
    let node = world.node(USER, Role::User).await;
    let (known, new): (Peer, Peer) = (
        world.honest_validator(keys(1)),
        world.honest_validator(keys(2)),
    );
    assert_eq!(refusal(&node, &known).await, None);
    world.set_down(true);
    let reason = refusal(&node, &new).await.expect("fails closed");
    assert!(reason.contains("the chain cannot be asked"), "{reason}");
    assert!(!is_validator(&node, &new));
    // What the chain has borne out before ends with its round.
    pass(&node, ROUND);
    until("the other one is forgotten too", || async {
        !is_validator(&node, &known)
    })
    .await;
    world.set_down(false);
    until("both have their roles again", || async {
        refusal(&node, &known).await.is_none() && refusal(&node, &new).await.is_none()
    })
    .await;
}
