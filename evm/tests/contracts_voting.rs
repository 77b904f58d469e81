//! Who counts in a round, and that no leaving, joining, waiting or racing bends it.

mod contracts_support;

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, keccak256};
use contracts_support::*;
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;

const DAY: u64 = 24 * 3_600;

fn leave(world: &mut World, n: u32) {
    let coordinator = world.deployment.coordinator;
    world
        .send(n, coordinator, Coordinator::removeValidatorCall {})
        .expect("left");
}

fn join(world: &mut World, n: u32) {
    let coordinator = world.deployment.coordinator;
    world
        .send(n, coordinator, Coordinator::addValidatorCall {})
        .expect("joined");
}

/// Opens a round and proposes `update`; the hash and the proposer.
fn proposed(
    world: &mut World,
    by: u32,
    update: &smartnodes_evm::state_update::StateUpdate,
) -> (B256, u32) {
    world.open_round(by);
    let proposer = world.proposer();
    let hash = world.hash(update);
    world.propose(proposer, hash).expect("proposed");
    (hash, proposer)
}

#[test]
fn joining_after_the_seal_waits_for_the_next_round() {
    let mut world = World::new(4);
    let coordinator = world.deployment.coordinator;
    leave(&mut world, 3);
    world.wait_until(world.status().dueTime);
    world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("sealed");
    world.mine_blocks(3);
    // The draw's hash is known now: joining must not bend it.
    join(&mut world, 3);
    world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("opened");
    assert_eq!(world.status().snapshotCount, 3);
    assert!(!world.coordinator(Coordinator::isSnapshotValidatorCall {
        account: signer(3).address()
    }));
}

#[test]
fn any_validator_proposes_after_a_quarter_and_executes_after_the_grace() {
    let mut world = World::new(4);
    world.open_round(0);
    let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
    let (drawn, others): (Vec<u32>, Vec<u32>) =
        (0..4).partition(|n| proposers.contains(&signer(*n).address()));
    assert_eq!(drawn.len(), 2);
    let hash = world.hash(&empty_update());
    // One that left does not propose, drawn or not.
    leave(&mut world, drawn[0]);
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.propose(drawn[0], hash));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
        world.propose(others[0], hash),
    );
    world.wait(INTERVAL / 4);
    world
        .propose(others[0], hash)
        .expect("a quarter has passed");
    for voter in [drawn[1], others[0], others[1]] {
        world.vote(voter, 1, hash).expect("voted");
    }
    // The creator leaves: its proposal needs two of two now, and the others execute it.
    leave(&mut world, others[0]);
    assert_reverts::<Coordinator::Coordinator__MustBeProposalCreator>(world.execute(
        drawn[1],
        1,
        &empty_update(),
    ));
    world.wait(INTERVAL / 16);
    assert_reverts::<Coordinator::Coordinator__NotValidator>(world.execute(
        others[0],
        1,
        &empty_update(),
    ));
    world
        .execute(drawn[1], 1, &empty_update())
        .expect("executed");
}

#[test]
fn a_proposal_comes_in_time_to_be_executed_or_not_at_all() {
    let mut world = World::new(3);
    let status = world.open_round(0);
    let hash = world.hash(&empty_update());
    world.wait_until(status.expiresAt - INTERVAL / 8 - 10);
    world.propose(0, hash).expect("still in time");
    world.wait_until(status.expiresAt - INTERVAL / 8);
    assert_reverts::<Coordinator::Coordinator__ProposalTooLate>(
        world.propose(1, keccak256("late")),
    );
    for voter in [0, 1, 2] {
        world.vote(voter, 1, hash).expect("voted");
    }
    world.wait(INTERVAL / 16);
    assert!(world.chain.timestamp() < status.expiresAt);
    world
        .execute(1, 1, &empty_update())
        .expect("executed by another than the creator");
}

#[test]
fn the_network_recovers_when_everybody_was_away() {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    world.wait_until(world.status().dueTime);
    world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("sealed");
    world.mine_blocks(3);
    world.wait(4 * DAY);
    assert_reverts::<Coordinator::Coordinator__NotValidator>(world.send(
        0,
        coordinator,
        Coordinator::openRoundCall {},
    ));
    world
        .send(0, coordinator, Coordinator::reactivateCall {})
        .expect("back, after the seal");
    world
        .send(1, coordinator, Coordinator::reactivateCall {})
        .expect("back, after the seal");
    // Nobody counts in the sealed round, so the next one is drawn.
    world.run_round(&[0, 1], &empty_update());
    assert_eq!(world.status().round, 3);
}

#[test]
fn reactivating_in_a_round_keeps_the_place_in_it() {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    // Open just before the activity of all runs out, which then happens during the round.
    world.wait(3 * DAY - 60);
    let (hash, _) = proposed(&mut world, 0, &empty_update());
    world.wait(3_600);
    assert!(!world.coordinator(Coordinator::isActiveCall {
        account: signer(0).address()
    }));
    world
        .send(0, coordinator, Coordinator::reactivateCall {})
        .expect("active again");
    assert!(world.coordinator(Coordinator::isSnapshotValidatorCall {
        account: signer(0).address()
    }));
    assert_eq!(world.status().snapshotCount, 3);
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    leave(&mut world, 0);
    assert_eq!(world.status().snapshotCount, 2);
}

#[test]
fn every_validator_is_drawn_about_as_often_as_any_other() {
    let mut world = World::new(6);
    let mut drawn: BTreeMap<Address, u32> = BTreeMap::new();
    const ROUNDS: u32 = 60;
    for _ in 0..ROUNDS {
        world.open_round(0);
        for proposer in world.coordinator(Coordinator::getCurrentRoundValidatorsCall {}) {
            *drawn.entry(proposer).or_default() += 1;
        }
        let proposer = world.proposer();
        let hash = world.hash(&empty_update());
        world.propose(proposer, hash).expect("proposed");
        for voter in 0..6 {
            world.vote(voter, 1, hash).expect("voted");
        }
        world
            .execute(proposer, 1, &empty_update())
            .expect("executed");
    }
    // 3 of 6 in 60 rounds: 30 each, standard deviation 3.9.
    assert_eq!(drawn.len(), 6);
    assert!(
        drawn.values().all(|count| (12..=48).contains(count)),
        "{drawn:?}"
    );
    assert_eq!(drawn.values().sum::<u32>(), ROUNDS * 3);
}

#[test]
fn those_who_voted_last_are_drawn_first() {
    let mut world = World::new(6);
    for _ in 0..8 {
        world.run_round(&[0, 1, 2, 3], &empty_update());
        world.open_round(0);
        let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
        assert!((4..6).all(|n| !proposers.contains(&signer(n).address())));
    }
}

#[test]
fn a_vote_costs_less_than_90_000_gas() {
    let mut world = World::new(10);
    for _ in 0..2 {
        let (hash, proposer) = proposed(&mut world, 0, &empty_update());
        for voter in 0..10 {
            let gas = world.vote(voter, 1, hash).expect("voted").gas_used;
            assert!(gas <= 90_000, "{gas}");
        }
        world
            .execute(proposer, 1, &empty_update())
            .expect("executed");
    }
}
