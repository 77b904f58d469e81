//! The attacks on votes, quorum and proposals that the upstream contracts allowed, numbered as in the list of their
//! flaws: each fails here, and succeeds against a variant of the contract that lacks what stops it.

mod contracts_support;

use alloy::primitives::{Address, B256, U256, keccak256};
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};
use smartnodes_evm::deployment::DeployParams;
use smartnodes_evm::state_update::StateUpdate;

/// The validators' part of an update's emission in era 0 (SNO).
const VALIDATORS_SHARE: u64 = 4_500;

/// The first bytes of the revert data of an arithmetic error or an index out of bounds.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

/// An update that throws these validators out.
fn removal(validators: impl IntoIterator<Item = u32>) -> StateUpdate {
    StateUpdate {
        validatorsToRemove: validators
            .into_iter()
            .map(|n| signer(n).address())
            .collect(),
        ..empty_update()
    }
}

/// The validators of `count` that are not `n`.
fn without(n: u32, count: u32) -> Vec<u32> {
    (0..count).filter(|other| *other != n).collect()
}

/// The drawn proposers of the open round by their numbers, in the order of the draw.
fn drawn(world: &World, count: u32) -> Vec<u32> {
    let number = |address: &Address| {
        (0..count)
            .find(|n| signer(*n).address() == *address)
            .expect("a genesis node")
    };
    let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
    proposers.iter().map(number).collect()
}

fn votes_of(world: &World, number: usize) -> u32 {
    world.coordinator(Coordinator::getProposalsCall {})[number - 1].votes
}

#[test]
fn f01_one_validator_does_not_become_a_majority_by_leaving_and_joining() {
    attack_fails("f01", 5, |world| {
        world.open_round(0);
        let attacker = world.proposer();
        let update = removal(without(attacker, 5));
        let hash = world.hash(&update);
        world.propose(attacker, hash).expect("proposed");
        world.vote(attacker, 1, hash).expect("voted");
        for _ in 0..4 {
            if !world.is_ready(1) {
                world.leave(attacker);
                world.join(attacker).expect("joined");
                // Refused, if votes belong to who was there when the round opened.
                let _ = world.vote(attacker, 1, hash);
            }
        }
        world.wait(INTERVAL / 16);
        world.execute(attacker, 1, &update).is_ok()
            && world.balance_of(attacker) == sno(VALIDATORS_SHARE)
    });

    let mut world = World::new(5);
    let (hash, proposer) = world.proposed(0, &empty_update());
    let attacker = without(proposer, 5)[0];
    world.vote(attacker, 1, hash).expect("voted");
    world.leave(attacker);
    assert_eq!(votes_of(&world, 1), 0);
    assert_eq!(world.status().snapshotCount, 4);
    world.join(attacker).expect("joined");
    let account = signer(attacker).address();
    assert!(world.coordinator(Coordinator::isValidatorCall { account }));
    assert!(!world.coordinator(Coordinator::isSnapshotValidatorCall { account }));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(attacker, 1, hash));
    // It is not counted out a second time either.
    world.leave(attacker);
    assert_eq!(world.status().snapshotCount, 4);
}

#[test]
fn f02_three_of_five_do_not_execute_an_update() {
    attack_fails("f02", 5, |world| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        for voter in 0..3 {
            world.vote(voter, 1, hash).expect("voted");
        }
        world.wait(INTERVAL / 16);
        world.execute(proposer, 1, &empty_update()).is_ok()
    });

    let mut world = World::new(5);
    let (hash, proposer) = world.proposed(0, &empty_update());
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    world.wait(INTERVAL / 16);
    assert_reverts::<Coordinator::Coordinator__NotEnoughVotes>(world.execute(
        proposer,
        1,
        &empty_update(),
    ));
    world.vote(3, 1, hash).expect("voted");
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
}

#[test]
fn f02_the_percentage_that_was_deployed_is_the_one_that_counts() {
    let strict = DeployParams {
        approval_percent: 90,
        ..DeployParams::default()
    };
    attack_fails_with("f02b", 10, strict, |world| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        // Enough at 66 %.
        for voter in 0..7 {
            world.vote(voter, 1, hash).expect("voted");
        }
        world.wait(INTERVAL / 16);
        world.execute(proposer, 1, &empty_update()).is_ok()
    });
}

#[test]
fn f03_a_vote_for_proposal_zero_is_a_named_error_and_no_panic() {
    attack_fails("f03", 3, |world| {
        let (hash, _) = world.proposed(0, &empty_update());
        let error = world.vote(0, 0, hash).expect_err("there is no proposal 0");
        let revert = error.reverted().expect("a revert");
        revert.data.starts_with(&PANIC)
    });

    let mut world = World::new(3);
    let (hash, proposer) = world.proposed(0, &empty_update());
    for number in [0, 2, u8::MAX] {
        assert_reverts::<Coordinator::Coordinator__InvalidProposalNumber>(
            world.vote(0, number, hash),
        );
        assert_reverts::<Coordinator::Coordinator__InvalidProposalNumber>(world.execute(
            proposer,
            number,
            &empty_update(),
        ));
        assert!(!world.is_ready(number));
    }
}

#[test]
fn f04_a_leaver_takes_its_vote_along_when_the_quorum_shrinks() {
    attack_fails("f04", 4, |world| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        let accomplice = without(proposer, 4)[0];
        world.vote(proposer, 1, hash).expect("voted");
        world.vote(accomplice, 1, hash).expect("voted");
        world.leave(accomplice);
        assert_eq!(world.status().requiredApprovals, 2);
        world.wait(INTERVAL / 16);
        world.execute(proposer, 1, &empty_update()).is_ok()
            && world.balance_of(proposer) == sno(VALIDATORS_SHARE)
    });

    // One of five leaves: three of four are needed, and its vote is none of them.
    let mut world = World::new(5);
    let (hash, proposer) = world.proposed(0, &empty_update());
    let leaver = without(proposer, 5)[0];
    world.vote(leaver, 1, hash).expect("voted");
    world.leave(leaver);
    let voters = without(leaver, 5);
    world.vote(voters[0], 1, hash).expect("voted");
    world.vote(voters[1], 1, hash).expect("voted");
    assert!(!world.is_ready(1));
    world.vote(voters[2], 1, hash).expect("voted");
    assert!(world.is_ready(1));
}

/// Registers validator 10 of Core in the round that is open, with an account that never was one; the round has the
/// validators 0, 1 and 2 and one proposal, whose hash and creator are returned.
fn newcomer_in_an_open_round(world: &mut World) -> (B256, u32) {
    let (core, token) = (world.deployment.core, world.deployment.token);
    let cheap = Token::setValidatorLockAmountCall {
        newAmount: sno(1_000),
    };
    world.govern(token, cheap).expect("cheaper");
    world.run_round(&[0, 1, 2], &empty_update());
    // Gas is estimated as of the last block, in which a checkpoint of these votes exists already.
    world.mine_blocks(1);
    let stake = Token::transferCall {
        to: signer(10).address(),
        value: sno(1_000),
    };
    world.send(0, token, stake).expect("sent");
    let proposed = world.proposed(0, &empty_update());
    let register = Core::createValidatorCall {
        publicKeyHash: key_hash(10),
    };
    world.send(10, core, register).expect("registered");
    proposed
}

#[test]
fn f05_who_joins_in_a_round_does_not_vote_in_it() {
    attack_fails("f05", 3, |world| {
        let (hash, _) = newcomer_in_an_open_round(world);
        world.vote(10, 1, hash).is_ok()
    });

    let mut world = World::new(3);
    let (hash, creator) = newcomer_in_an_open_round(&mut world);
    assert_eq!(world.status().snapshotCount, 3);
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(10, 1, hash));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
        world.propose(10, keccak256("mine")),
    );
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    // All have voted: no need to wait for the window.
    world
        .execute(creator, 1, &empty_update())
        .expect("executed");
    let (hash, _) = world.proposed(0, &empty_update());
    assert_eq!(world.status().snapshotCount, 4);
    world.vote(10, 1, hash).expect("counts now");
}

#[test]
fn f06_a_proposal_whose_voters_left_is_not_ready_without_being_executable() {
    attack_fails("f06", 4, |world| {
        let (hash, _) = world.proposed(0, &empty_update());
        for voter in 0..3 {
            world.vote(voter, 1, hash).expect("voted");
        }
        world.leave(0);
        world.leave(1);
        world.wait(INTERVAL / 16);
        world.is_ready(1) && (2..4).all(|n| world.execute(n, 1, &empty_update()).is_err())
    });

    // It is ready again with other votes.
    let mut world = World::new(4);
    let (hash, _) = world.proposed(0, &empty_update());
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    assert!(world.is_ready(1));
    world.leave(0);
    world.leave(1);
    assert!(!world.is_ready(1), "one vote of two");
    world.vote(3, 1, hash).expect("voted");
    assert!(world.is_ready(1));
    world.wait(INTERVAL / 16);
    world.execute(3, 1, &empty_update()).expect("executed");
}

#[test]
fn f07_a_proposal_that_removes_its_own_voters_is_executable() {
    attack_fails("f07", 3, |world| {
        let update = removal(0..3);
        let (hash, _) = world.proposed(0, &update);
        for voter in 0..3 {
            world.vote(voter, 1, hash).expect("voted");
        }
        assert!(world.is_ready(1));
        world.wait(INTERVAL / 16);
        (0..3).all(|n| world.execute(n, 1, &update).is_err())
    });

    // As many stay as the threshold needs, and all three are paid, the removed one too.
    let mut world = World::new(3);
    let mut update = removal(0..3);
    update.validatorsToRemove.push(Address::ZERO);
    let receipt = world.run_round(&[0, 1, 2], &update);
    assert_eq!(events::<Coordinator::RemovalSkipped>(&receipt).len(), 2);
    assert_eq!(
        world.coordinator(Coordinator::getValidatorsCall {}).len(),
        2
    );
    let share = sno(VALIDATORS_SHARE) / U256::from(3);
    assert!((0..3).all(|n| world.balance_of(n) == share));
}

#[test]
fn f10_a_later_proposal_does_not_wipe_the_one_before() {
    attack_fails("f10", 6, |world| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        let others = without(proposer, 6);
        let (attacker, honest) = others.split_last().expect("six validators");
        for voter in &honest[..3] {
            world.vote(*voter, 1, hash).expect("voted");
        }
        world.wait(INTERVAL / 4);
        world
            .propose(*attacker, keccak256("anything"))
            .expect("proposed");
        for voter in honest[3..].iter().chain([&proposer]) {
            let _ = world.vote(*voter, 1, hash);
        }
        world.execute(proposer, 1, &empty_update()).is_err()
    });

    // Two proposers by bad luck: both proposals and all votes live until the round ends, and are gone then.
    let mut world = World::new(6);
    let coordinator = world.deployment.coordinator;
    world.open_round(0);
    let proposers = drawn(&world, 6);
    let (a, b) = (world.hash(&empty_update()), keccak256("another"));
    world.propose(proposers[0], a).expect("proposed");
    assert_reverts::<Coordinator::Coordinator__DuplicateProposal>(world.propose(proposers[1], a));
    world.propose(proposers[1], b).expect("proposed");
    for voter in 0..3 {
        world.vote(voter, 1, a).expect("voted");
        world.vote(voter + 3, 2, b).expect("voted");
    }
    world.wait(INTERVAL / 2);
    world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("changes nothing");
    assert_eq!((votes_of(&world, 1), votes_of(&world, 2)), (3, 3));
    let expiry = world.status().expiresAt;
    world.wait_until(expiry - 1);
    assert_eq!(world.status().round, 1);
    world.wait_until(expiry);
    let status = world.status();
    assert_eq!(
        (status.round, status.phase, status.proposalCount),
        (2, 1, 0)
    );
    let validator = signer(0).address();
    assert_eq!(
        world.coordinator(Coordinator::votedForCall { validator }),
        B256::ZERO
    );
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.vote(0, 1, a));
}

#[test]
fn f11_a_vote_for_one_proposal_does_not_land_on_another() {
    attack_fails("f11", 3, |world| {
        let (hash, _) = world.proposed(0, &empty_update());
        world.wait_until(world.status().expiresAt);
        // The same number in the next round is another proposal, which a vote under way would meet.
        world.open_round(0);
        let attacker = world.proposer();
        world
            .propose(attacker, keccak256("the attacker's"))
            .expect("proposed");
        let late = without(attacker, 3)[0];
        let _ = world.vote(late, 1, hash);
        votes_of(world, 1) == 1
    });

    let mut world = World::new(3);
    let (hash, _) = world.proposed(0, &empty_update());
    assert_reverts::<Coordinator::Coordinator__ProposalDataMismatch>(world.vote(
        0,
        1,
        keccak256("another"),
    ));
    world.vote(0, 1, hash).expect("voted");
    let voted_for = |n| {
        world.coordinator(Coordinator::votedForCall {
            validator: signer(n).address(),
        })
    };
    assert_eq!((voted_for(0), voted_for(1)), (hash, B256::ZERO));
}

#[test]
fn f12_a_validator_that_was_drawn_and_removed_does_not_propose() {
    // Slashed by governance.
    attack_fails("f12", 4, |world| {
        world.open_round(0);
        let attacker = world.proposer();
        let token = world.deployment.token;
        let slash = Token::slashAndUnlockValidatorCall {
            validator: signer(attacker).address(),
            amount: sno(1_000_000),
        };
        world.govern(token, slash).expect("slashed");
        world.propose(attacker, keccak256("anything")).is_ok()
    });
    // Gone by itself, and back.
    attack_fails("f12", 4, |world| {
        world.open_round(0);
        let attacker = world.proposer();
        world.leave(attacker);
        world.join(attacker).expect("joined");
        world.propose(attacker, keccak256("anything")).is_ok()
    });

    let mut world = World::new(4);
    world.open_round(0);
    let leaver = world.proposer();
    world.leave(leaver);
    let hash = keccak256("anything");
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.propose(leaver, hash));
}

/// Opens a round of four with a proposal that the others than its creator approve; returns the creator and the others.
fn approved_by_others(world: &mut World) -> (u32, Vec<u32>) {
    let (hash, creator) = world.proposed(0, &empty_update());
    let others = without(creator, 4);
    for voter in &others {
        world.vote(*voter, 1, hash).expect("voted");
    }
    (creator, others)
}

#[test]
fn f13_a_silent_creator_does_not_hold_the_round_hostage() {
    attack_fails("f13", 4, |world| {
        let (_, others) = approved_by_others(world);
        world.wait(INTERVAL / 16);
        let at_grace = world.execute(others[0], 1, &empty_update()).is_ok();
        world.wait_until(world.status().expiresAt.saturating_sub(60));
        !at_grace && world.execute(others[1], 1, &empty_update()).is_err()
    });

    let mut world = World::new(4);
    let (_, others) = approved_by_others(&mut world);
    world.wait(INTERVAL / 32);
    assert_reverts::<Coordinator::Coordinator__MustBeProposalCreator>(world.execute(
        others[0],
        1,
        &empty_update(),
    ));
    assert_reverts::<Coordinator::Coordinator__NotValidator>(world.execute(
        FIRST_WORKER,
        1,
        &empty_update(),
    ));
}

#[test]
fn f51_a_creator_that_leaves_does_not_orphan_its_proposal() {
    attack_fails("f13", 4, |world| {
        let (creator, others) = approved_by_others(world);
        world.leave(creator);
        assert!(world.is_ready(1));
        world.wait(INTERVAL / 16);
        others
            .iter()
            .all(|n| world.execute(*n, 1, &empty_update()).is_err())
    });

    let mut world = World::new(4);
    let (creator, others) = approved_by_others(&mut world);
    world.leave(creator);
    world.wait(INTERVAL / 16);
    assert_reverts::<Coordinator::Coordinator__NotValidator>(world.execute(
        creator,
        1,
        &empty_update(),
    ));
    world
        .execute(others[0], 1, &empty_update())
        .expect("executed");
}
