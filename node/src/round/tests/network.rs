//! The whole path: what a validator proposes, whoever has it when, comes to its votes.

use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;

use super::world::{VALIDATORS, World, challenge, identity, validator};
use crate::round::payload::{Payload, PublishedPayload};
use crate::signed::Signed;
use crate::store::Table;
use crate::testing::wallet;

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
