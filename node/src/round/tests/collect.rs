//! A validator collects what waits for it, once for each update.

use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token};

use super::world::{VALIDATORS, World, identity, validator};

use crate::chain::ChainClient;
use crate::chain::tests::world::{USER, WORKER, wallet};
use crate::node::Node;
use crate::round::payload::{Payload, PublishedPayload};
use crate::signed::Signed;
use crate::store::Table;

/// More than are sent their share of an update.
const MANY: u8 = 101;
/// Gas for a call in Core's name.
const GAS: u64 = 1_000_000;

/// Has the first update executed, approved by all, and then starts the first validator. What it pays for is of no matter, but
/// it is something: payments wait for an update with capacity.
pub(super) async fn after_an_update(world: &World, observer: &ChainClient, validators: u8) -> Node {
    let domain = world.domain();
    let (round, creator) = world.open_round(observer).await;
    let mut payload = Payload::aggregate(round, 1, [], &domain).expect("of no receipts");
    payload.workers = vec![(wallet(WORKER).address(), 1)];
    let update = payload.state_update().expect("an update");
    let hash = payload.proposal_hash(&domain).expect("hashes");
    world.act(
        creator,
        Coordinator::createProposalCall { proposalHash: hash },
    );
    for n in 0..validators {
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
    node
}

#[tokio::test]
async fn what_waits_after_an_update_is_collected_once() {
    let world = World::of(MANY);
    let observer = world.observer().await;
    let me = identity(0).address();
    let _node = after_an_update(&world, &observer, MANY).await;
    let nonce = world.shared.nonce(0);
    let waiting = observer.credits(me).await.expect("the chain answers").sno;
    assert!(waiting > 0);

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

/// Pays in ETH what the next update hands on, as Core does for a job that is completed.
fn pay_in_eth(world: &World, payer: Address, wei: U256) {
    let mut world = world.shared.lock();
    let (core, token) = (world.deployment.core, world.deployment.token);
    // Core takes no ETH but with a call, so a contract that ends in its own making leaves it what it has.
    let init = [&[0x73], core.as_slice(), &[0xff]].concat();
    let twice = wei * U256::from(2);
    world
        .chain
        .transact(&wallet(USER), TxKind::Create, init.into(), twice)
        .expect("mined");
    let escrow = Token::escrowEthPaymentCall {
        user: payer,
        payment: wei,
    };
    let release = Token::releaseEscrowedEthPaymentCall {
        user: payer,
        amount: wei,
    };
    for (data, value) in [
        (escrow.abi_encode(), wei),
        (release.abi_encode(), U256::ZERO),
    ] {
        let sent =
            world
                .chain
                .impersonate(core, TxKind::Call(token), Bytes::from(data), value, GAS);
        let hash = sent.expect("taken");
        world.chain.mine_for(hash).expect("mined");
    }
}

#[tokio::test]
async fn eth_that_waits_after_an_update_is_collected_once() {
    let world = World::new();
    let observer = world.observer().await;
    let me = identity(0).address();
    let payment = U256::from(10).pow(U256::from(17));
    pay_in_eth(&world, wallet(USER).address(), payment);
    let _node = after_an_update(&world, &observer, VALIDATORS).await;
    let nonce = world.shared.nonce(0);
    let waiting = observer.credits(me).await.expect("the chain answers").eth;
    assert!(waiting > 0);
    let balance = || {
        let world = world.shared.lock();
        let latest = alloy::eips::BlockId::latest();
        world.chain.balance(me, latest).expect("a balance")
    };
    let before = balance();
    let mut seconds_after = 0;
    world
        .live("the collection, and some time after it", || {
            seconds_after += u32::from(balance() > before);
            seconds_after > 20
        })
        .await;
    let gained = balance() - before;
    let share = U256::from(waiting);
    // All of it, less the gas, which is worth far less.
    assert!(
        gained < share && gained > share - share / U256::from(100),
        "{gained} of {share}"
    );
    let left = observer.credits(me).await.expect("the chain answers");
    assert_eq!((left.eth, left.sno), (0, 0));
    assert_eq!(
        world.shared.nonce(0),
        nonce + 1,
        "one transaction, and no other"
    );
}
