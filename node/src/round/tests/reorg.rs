//! Whole validators through a reorganisation that drops a round: one effective execution, and books that agree with it.

use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;

use super::world::{VALIDATORS, World, challenge, identity, validator};
use crate::testing::wallet;

#[tokio::test]
async fn a_reorganisation_that_drops_a_round_ends_in_one_effective_execution() {
    let world = World::new();
    let domain = world.domain();
    let observer = world.observer().await;
    let issued_at = observer.head().await.expect("a head").timestamp;
    let issuer = identity(0).wallet;
    let receipt = challenge(&domain, &issuer, &wallet(11), 1, issued_at).await;
    let slot = receipt.body.slot(&domain).hash();
    let (round, _) = world.open_round(&observer).await;
    // Neither blocks nor mempool will know of what follows.
    let before = world.shared.lock().chain.snapshot().expect("a snapshot");
    let mut nodes = Vec::new();
    for n in 0..VALIDATORS {
        let node = world.start(n, false).await;
        validator(&node)
            .take(receipt.clone())
            .await
            .expect("a true receipt");
        nodes.push(node);
    }
    let executed = || world.events::<Coordinator::StateUpdateExecuted>();
    let settled = || {
        nodes
            .iter()
            .all(|node| validator(node).ledger().settled(slot).expect("reads") == Some(1))
    };
    world
        .live("an execution that all have settled", || {
            !executed().is_empty() && settled()
        })
        .await;
    let dropped = executed();
    assert_eq!(dropped.len(), 1);
    let dropped_block = world.shared.lock().chain.block_hash();
    let length = world.shared.lock().chain.block_number();

    world
        .shared
        .lock()
        .chain
        .revert(before)
        .expect("the snapshot is held");
    assert!(length - world.shared.lock().chain.block_number() >= 3);
    assert!(executed().is_empty());
    // What the nodes hold of the old branch they find out when the new one is as long.
    let unsettled = "a reorganisation dropped an executed update";
    world
        .live("the new branch's execution", || !executed().is_empty())
        .await;
    world
        .live("the settlement of it, by all", || {
            settled()
                && world.log().matches(unsettled).count() >= usize::from(VALIDATORS)
                && nodes
                    .iter()
                    .all(|node| validator(node).ledger().unsettled_ids().is_empty())
        })
        .await;

    let done = executed();
    assert_eq!(done.len(), 1, "one effective execution");
    assert_eq!(done[0].distributionId, 1);
    assert!(done[0].round >= round);
    assert_ne!(world.shared.lock().chain.block_hash(), dropped_block);
    let mut voters: Vec<_> = world
        .events::<Coordinator::VoteCast>()
        .into_iter()
        .filter(|vote| vote.round == done[0].round)
        .map(|vote| vote.validator)
        .collect();
    let votes = voters.len();
    voters.sort_unstable();
    voters.dedup();
    assert_eq!(voters.len(), votes, "nobody votes twice");
    assert_eq!(observer.distribution_count().await.expect("answers"), 1);
}
