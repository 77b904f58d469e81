//! The whole path: a validator proposes and publishes something wrong, and no honest node votes for it.

use alloy::primitives::{B256, U256};
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_evm::state_update::proposal_hash;

use super::world::{VALIDATORS, World, challenge, identity, validator};
use crate::jobs::receipt::Receipt;
use crate::round::payload::{Payload, PublishedPayload, SignedPayload};
use crate::signed::{Domain, Signed};
use crate::store::Table;
use crate::testing::wallet;

/// The liar publishes what `lie` makes of the honest payload, proposes its hash before anyone else can, and the others
/// say `objection`, vote for an honest proposal, and execute it.
async fn gets_no_honest_vote(
    lie: impl FnOnce(Payload, &Domain) -> PublishedPayload,
    objection: &str,
) {
    let world = World::new();
    let domain = world.domain();
    let observer = world.observer().await;
    let issued_at = observer.head().await.expect("a head").timestamp;
    let receipts: Vec<Signed<Receipt>> = {
        let issuer = identity(0).wallet;
        vec![
            challenge(&domain, &issuer, &wallet(11), 1, issued_at).await,
            challenge(&domain, &issuer, &wallet(12), 1, issued_at).await,
        ]
    };
    let (round, liar) = world.open_round(&observer).await;
    let payload = Payload::aggregate(
        round,
        1,
        receipts
            .iter()
            .map(|receipt| (receipt.id(&domain), &receipt.body)),
        &domain,
    )
    .expect("aggregates");
    let honest = payload.proposal_hash(&domain).expect("hashes");
    let mut body = lie(payload, &domain);
    body.publisher = identity(liar).address();
    let lied = body.proposal_hash;
    assert_ne!(lied, honest);
    let published: SignedPayload = Signed::sign(body, &domain, &identity(liar).wallet);

    let node = world.start(liar, true).await;
    let store = &node.context().store;
    store
        .put(Table::Payloads, lied.as_slice(), &published)
        .expect("stored");
    world.act(liar, Coordinator::createProposalCall { proposalHash: lied });
    let mut nodes = vec![node];
    for n in (0..VALIDATORS).filter(|n| *n != liar) {
        let node = world.start(n, false).await;
        for receipt in &receipts {
            validator(&node)
                .take(receipt.clone())
                .await
                .expect("a true receipt");
        }
        nodes.push(node);
    }
    world
        .live("an execution", || {
            !world
                .events::<Coordinator::StateUpdateExecuted>()
                .is_empty()
        })
        .await;

    let log = world.log();
    let said = log
        .lines()
        .find(|line| {
            line.contains("no vote") && line.contains(objection) && line.contains(&lied.to_string())
        })
        .unwrap_or_else(|| panic!("nobody says {objection:?}:\n{log}"));
    assert!(said.contains("WARN"), "{said}");
    let executed: Vec<B256> = world
        .events::<Coordinator::StateUpdateExecuted>()
        .iter()
        .map(|event| event.proposalHash)
        .collect();
    assert_eq!(executed, [honest]);
    for vote in world.events::<Coordinator::VoteCast>() {
        assert_eq!(vote.proposalHash, honest, "{}", vote.validator);
    }
}

#[tokio::test]
async fn a_payload_with_a_wrong_capacity_gets_no_honest_vote() {
    let lie = |mut payload: Payload, domain: &Domain| {
        payload.workers[0].1 += 1;
        PublishedPayload {
            publisher: Default::default(),
            proposal_hash: payload.proposal_hash(domain).expect("hashes"),
            payload,
        }
    };
    gets_no_honest_vote(lie, "a worker's capacity is not what follows").await;
}

#[tokio::test]
async fn a_proposal_with_a_wrong_total_gets_no_honest_vote() {
    let lie = |payload: Payload, domain: &Domain| {
        let mut update = payload.state_update().expect("an update");
        update.totalCapacity -= U256::from(1);
        PublishedPayload {
            publisher: Default::default(),
            proposal_hash: proposal_hash(
                domain.chain_id,
                domain.coordinator,
                payload.round,
                &update,
            ),
            payload,
        }
    };
    gets_no_honest_vote(lie, "the payload yields the hash").await;
}

#[tokio::test]
async fn a_payload_that_comes_late_with_a_receipt_that_the_voters_lack_is_voted_for() {
    let world = World::new();
    let domain = world.domain();
    let observer = world.observer().await;
    let issued_at = observer.head().await.expect("a head").timestamp;
    let issuer = identity(0).wallet;
    let known = challenge(&domain, &issuer, &wallet(11), 1, issued_at).await;
    let unknown = challenge(&domain, &issuer, &wallet(12), 1, issued_at).await;
    let (round, proposer) = world.open_round(&observer).await;
    let receipts = [&known, &unknown].map(|receipt| (receipt.id(&domain), &receipt.body));
    let payload = Payload::aggregate(round, 1, receipts, &domain).expect("aggregates");
    let hash = payload.proposal_hash(&domain).expect("hashes");
    let node = world.start(proposer, true).await;
    world.act(
        proposer,
        Coordinator::createProposalCall { proposalHash: hash },
    );
    let mut nodes = Vec::new();
    for n in (0..VALIDATORS).filter(|n| *n != proposer) {
        let node = world.start(n, false).await;
        validator(&node)
            .take(known.clone())
            .await
            .expect("a true receipt");
        nodes.push(node);
    }
    world
        .live("a look for the payload", || {
            world
                .log()
                .contains("no vote yet: the payload is not there")
        })
        .await;
    assert!(world.events::<Coordinator::VoteCast>().is_empty());

    for receipt in [known, unknown] {
        validator(&node)
            .take(receipt)
            .await
            .expect("a true receipt");
    }
    let body = PublishedPayload {
        publisher: identity(proposer).address(),
        proposal_hash: hash,
        payload,
    };
    let published = Signed::sign(body, &domain, &identity(proposer).wallet);
    node.context()
        .store
        .put(Table::Payloads, hash.as_slice(), &published)
        .expect("stored");
    // Whoever has looked for it in vain looks again, whatever else is proposed meanwhile.
    world
        .live("a vote for it", || {
            world
                .events::<Coordinator::VoteCast>()
                .iter()
                .any(|vote| vote.proposalHash == hash)
        })
        .await;
}
