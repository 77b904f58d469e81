//! A validator collects what waits for it, once for each update.

use alloy::primitives::U256;
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token};

use super::world::{World, identity, validator};

use crate::round::payload::{Payload, PublishedPayload};
use crate::signed::Signed;
use crate::store::Table;

/// More than are sent their share of an update.
const MANY: u8 = 101;

#[tokio::test]
async fn what_waits_after_an_update_is_collected_once() {
    let world = World::of(MANY);
    let domain = world.domain();
    let observer = world.observer().await;
    let (round, creator) = world.open_round(&observer).await;
    let payload = Payload::aggregate(round, 1, [], &domain).expect("of no receipts");
    let update = payload.state_update().expect("an update");
    let hash = payload.proposal_hash(&domain).expect("hashes");
    world.act(
        creator,
        Coordinator::createProposalCall { proposalHash: hash },
    );
    for n in 0..MANY {
        let vote = Coordinator::voteForProposalCall {
            proposalNum: 1,
            proposalHash: hash,
        };
        world.send(n, vote);
    }
    world.shared.mine(1);
    let execute = Coordinator::executeProposalCall {
        proposalNum: 1,
        update,
    };
    world.act(creator, execute);
    let me = identity(0).address();
    let waiting = observer.credits(me).await.expect("the chain answers").sno;
    assert!(waiting > 0);
    let nonce = world.shared.nonce(0);

    let node = world.start(0, false).await;
    let body = PublishedPayload {
        publisher: identity(creator).address(),
        proposal_hash: hash,
        payload,
    };
    let published = Signed::sign(body, &domain, &identity(creator).wallet);
    let store = &validator(&node).ctx.store;
    store
        .put(Table::Payloads, hash.as_slice(), &published)
        .expect("stored");
    let token = world.shared.lock().deployment.token;
    let read = |call: Token::balanceOfCall| world.shared.lock().chain.read(token, &call);
    let mut seconds_after = 0;
    world
        .live("the collection, and some time after it", || {
            let balance = read(Token::balanceOfCall { account: me }).expect("a balance");
            seconds_after += u32::from(!balance.is_zero());
            seconds_after > 20
        })
        .await;
    let balance = read(Token::balanceOfCall { account: me }).expect("a balance");
    assert_eq!(balance, U256::from(waiting));
    assert_eq!(
        world.shared.nonce(0),
        nonce + 1,
        "one transaction, and no other"
    );
}
