//! The rule book's votes: what a proposal binds, how it is approved and executed, what expires and who is removed.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | proposal: a hash that binds everything executed | `proposal_binds_everything_that_is_executed`, `proposal_hashes_are_the_same_in_rust_and_on_chain`, `proposal_comes_in_time_to_be_executed_or_not_at_all`, `proposal_of_a_malformed_update_is_refused_whole` |
//! | vote: once in a round, for one hash, never moved | `vote_is_for_one_hash_once_in_a_round` |
//! | threshold | `rules_threshold.rs` |
//! | first past the post: exactly one executes in a round | `first_past_the_post_executes_and_no_other_in_the_round` |
//! | execute: window, creator, grace | `execution_waits_for_the_window_or_all_votes_and_is_the_creators_first`, `execution_survives_a_creator_that_is_gone` |
//! | the whole of it, to the wei | `execution_of_a_whole_round_pays_to_the_wei` |
//! | expiry: rolls over without wiping anything mid-vote | `expiry_ends_a_round_for_the_same_period_and_wipes_nothing_before` |
//! | expiry: bounded griefing | `expiry_bounds_what_one_validator_holds_up_to_one_round` |
//! | removal: leave, not back for 3 rounds | `removal_keeps_a_validator_out_for_three_rounds` |
//! | removal: not so many that fewer than the threshold remain | `removal_leaves_as_many_as_the_threshold_needs` |

mod contracts_support;

use alloy::primitives::{B256, U256, keccak256};
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};
use smartnodes_evm::state_update::{ReputationChange, StateUpdate, job_id as job_id_of};

/// An update of which no part is empty.
fn full_update() -> StateUpdate {
    StateUpdate {
        merkleRoot: keccak256("root"),
        totalCapacity: U256::from(12_345),
        validatorsToRemove: vec![address(1), address(2)],
        jobIds: vec![keccak256("a"), keccak256("b"), keccak256("c")],
        workersHash: keccak256("workers"),
        capacitiesHash: keccak256("capacities"),
        reputationChanges: vec![
            ReputationChange {
                account: address(3),
                delta: -100,
            },
            ReputationChange {
                account: address(4),
                delta: 7,
            },
        ],
    }
}

/// The update with each of its parts changed by itself.
fn changed_updates(update: &StateUpdate) -> Vec<StateUpdate> {
    let changes: [fn(&mut StateUpdate); 12] = [
        |u| u.merkleRoot = keccak256("another"),
        |u| u.totalCapacity += U256::ONE,
        |u| u.validatorsToRemove.push(address(5)),
        |u| u.validatorsToRemove.swap(0, 1),
        |u| u.jobIds.truncate(2),
        |u| u.jobIds[0] = keccak256("z"),
        |u| u.workersHash = B256::ZERO,
        |u| u.capacitiesHash = B256::ZERO,
        |u| u.reputationChanges[0].delta = -99,
        |u| u.reputationChanges[0].account = address(5),
        |u| u.reputationChanges.clear(),
        |u| std::mem::swap(&mut u.workersHash, &mut u.capacitiesHash),
    ];
    changes
        .into_iter()
        .map(|change| {
            let mut changed = update.clone();
            change(&mut changed);
            changed
        })
        .collect()
}

#[test]
fn proposal_binds_everything_that_is_executed() {
    let mut world = World::new(6);
    let update = full_update();
    let (hash, proposer) = proposed(&mut world, 0, &update);
    for voter in 0..6 {
        world.vote(voter, 1, hash).expect("voted");
    }
    for changed in changed_updates(&update) {
        assert_ne!(world.hash(&changed), hash);
        assert_reverts::<Coordinator::Coordinator__ProposalDataMismatch>(
            world.execute(proposer, 1, &changed),
        );
    }
    // Chain, contract and round are in it, too: another round refuses what this one approved.
    let hash_of = |chain_id, coordinator, round| {
        smartnodes_evm::state_update::proposal_hash(chain_id, coordinator, round, &update)
    };
    let d = world.deployment.clone();
    assert_eq!(hash_of(d.chain_id, d.coordinator, 1), hash);
    for other in [
        hash_of(d.chain_id + 1, d.coordinator, 1),
        hash_of(d.chain_id, d.core, 1),
        hash_of(d.chain_id, d.coordinator, 2),
    ] {
        assert_ne!(other, hash);
    }
    world.wait_until(world.status().expiresAt);
    world.open_round(0);
    let proposer = world.proposer();
    world.propose(proposer, hash).expect("only a hash");
    for voter in 0..6 {
        world.vote(voter, 1, hash).expect("voted");
    }
    assert_reverts::<Coordinator::Coordinator__ProposalDataMismatch>(
        world.execute(proposer, 1, &update),
    );
}

#[test]
fn proposal_hashes_are_the_same_in_rust_and_on_chain() {
    let world = World::new(1);
    let d = &world.deployment;
    let mut updates = changed_updates(&full_update());
    updates.extend([full_update(), empty_update()]);
    for update in updates {
        for round in [1, 77] {
            let expected = world.coordinator(Coordinator::hashStateUpdateCall {
                round,
                update: update.clone(),
            });
            let rust = smartnodes_evm::state_update::proposal_hash(
                d.chain_id,
                d.coordinator,
                round,
                &update,
            );
            assert_eq!(rust, expected);
        }
    }
    let (owner, job_hash) = (address(5), keccak256("job"));
    assert_eq!(
        job_id_of(d.chain_id, d.core, owner, job_hash),
        world.core(Core::jobIdOfCall {
            owner,
            jobHash: job_hash
        })
    );
}

#[test]
fn proposal_comes_in_time_to_be_executed_or_not_at_all() {
    let mut world = World::new(3);
    let status = world.open_round(0);
    let hash = world.hash(&empty_update());
    assert_reverts::<Coordinator::Coordinator__InvalidProposalHash>(world.propose(0, B256::ZERO));
    world.wait_until(status.expiresAt - INTERVAL / 8 - 10);
    world.propose(0, hash).expect("still in time");
    world.wait_until(status.expiresAt - INTERVAL / 8);
    assert_reverts::<Coordinator::Coordinator__ProposalTooLate>(
        world.propose(1, keccak256("late")),
    );
    for voter in VOTERS {
        world.vote(voter, 1, hash).expect("voted");
    }
    world.wait(INTERVAL / 16);
    assert!(world.chain.timestamp() < status.expiresAt);
    world
        .execute(1, 1, &empty_update())
        .expect("executed by another than the creator");
}

#[test]
fn proposal_of_a_malformed_update_is_refused_whole() {
    let (_, good) = work(1, &[(500, 1)]);
    let bad: [fn(&mut StateUpdate); 4] = [
        |u| u.merkleRoot = B256::ZERO,
        |u| u.totalCapacity = U256::ZERO,
        |u| u.totalCapacity = U256::ONE << 112,
        |u| u.totalCapacity = U256::MAX,
    ];
    let mut world = World::new(3);
    for (place, change) in bad.into_iter().enumerate() {
        let mut update = good.clone();
        change(&mut update);
        let (hash, proposer) = proposed(&mut world, 0, &update);
        for voter in VOTERS {
            world.vote(voter, 1, hash).expect("voted");
        }
        let refused = world.execute(proposer, 1, &update);
        assert!(
            refused.is_err_and(|error| error.reverted().is_some()),
            "{place}"
        );
        let status = world.status();
        assert_eq!((status.phase, status.nextDistributionId), (4, 1), "{place}");
        world.wait_until(status.expiresAt);
    }
    // The most that is allowed.
    let mut update = good;
    update.totalCapacity = (U256::ONE << 112) - U256::ONE;
    world.run_round(&VOTERS, &update);
    world.assert_books();
}

#[test]
fn vote_is_for_one_hash_once_in_a_round() {
    let mut world = World::new(6);
    world.open_round(0);
    let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
    let by = |place: usize| {
        (0..6)
            .find(|n| address(*n) == proposers[place])
            .expect("one")
    };
    let (a, b) = (keccak256("a"), keccak256("b"));
    world.propose(by(0), a).expect("proposed");
    // The same proposal twice would split the votes of those who agree.
    assert_reverts::<Coordinator::Coordinator__DuplicateProposal>(world.propose(by(1), a));
    assert_reverts::<Coordinator::Coordinator__AlreadySubmittedProposal>(world.propose(by(0), b));
    world.propose(by(1), b).expect("proposed");
    for (number, hash) in [(1, b), (2, a), (2, keccak256("c"))] {
        assert_reverts::<Coordinator::Coordinator__ProposalDataMismatch>(
            world.vote(0, number, hash),
        );
    }
    for number in [0, 3] {
        assert_reverts::<Coordinator::Coordinator__InvalidProposalNumber>(world.vote(0, number, a));
    }
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(9, 1, a));
    world.vote(0, 1, a).expect("voted");
    for (number, hash) in [(1, a), (2, b)] {
        assert_reverts::<Coordinator::Coordinator__AlreadyVoted>(world.vote(0, number, hash));
    }
    let voted_for = |world: &World, n: u32| {
        world.coordinator(Coordinator::votedForCall {
            validator: address(n),
        })
    };
    assert_eq!(
        (voted_for(&world, 0), voted_for(&world, 1)),
        (a, B256::ZERO)
    );
    // In the next round it votes again.
    world.wait_until(world.status().expiresAt);
    assert_eq!(voted_for(&world, 0), B256::ZERO);
    let (hash, _) = proposed(&mut world, 0, &empty_update());
    world.vote(0, 1, hash).expect("voted");
}

#[test]
fn first_past_the_post_executes_and_no_other_in_the_round() {
    let mut world = World::new(6);
    world.open_round(0);
    world.wait(INTERVAL / 4);
    let mut second = empty_update();
    second.jobIds = vec![keccak256("another")];
    let (a, b) = (world.hash(&empty_update()), world.hash(&second));
    world.propose(0, a).expect("proposed");
    world.propose(1, b).expect("proposed");
    // Four of six are needed: the first has three votes, the second two. Then two voters of the first leave.
    for voter in 0..3 {
        world.vote(voter, 1, a).expect("voted");
    }
    world.vote(3, 2, b).expect("voted");
    world.vote(4, 2, b).expect("voted");
    leave(&mut world, 0);
    leave(&mut world, 1);
    assert_eq!(world.status().requiredApprovals, 3, "of four");
    world.vote(5, 2, b).expect("voted");
    assert!(!ready(&world, 1) && ready(&world, 2));
    world.wait(INTERVAL / 16);
    assert_reverts::<Coordinator::Coordinator__NotEnoughVotes>(world.execute(
        2,
        1,
        &empty_update(),
    ));
    world.execute(2, 2, &second).expect("executed");
    for (number, update) in [(1, empty_update()), (2, second)] {
        assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.execute(2, number, &update));
    }
    assert_eq!(
        world.token(Token::s_currentDistributionIdCall {}),
        U256::from(1)
    );
    // Nor is a second round of the same period.
    let coordinator = world.deployment.coordinator;
    assert_reverts::<Coordinator::Coordinator__ProposalTooEarly>(world.send(
        2,
        coordinator,
        Coordinator::openRoundCall {},
    ));
}

#[test]
fn execution_waits_for_the_window_or_all_votes_and_is_the_creators_first() {
    let mut world = World::new(3);
    let (hash, creator) = proposed(&mut world, 0, &empty_update());
    let created = world.chain.timestamp();
    let others: Vec<u32> = VOTERS.into_iter().filter(|n| *n != creator).collect();
    let can = |world: &World, n: u32| {
        world.coordinator(Coordinator::canExecuteCall {
            proposalNum: 1,
            caller: address(n),
        })
    };
    assert_reverts::<Coordinator::Coordinator__NotEnoughVotes>(world.execute(
        creator,
        1,
        &empty_update(),
    ));
    world.vote(others[0], 1, hash).expect("voted");
    world.vote(creator, 1, hash).expect("voted");
    assert!(ready(&world, 1) && !can(&world, creator));
    let execute = |world: &mut World, n: u32| world.execute(n, 1, &empty_update());
    world.wait_until(created + INTERVAL / 32 - 4);
    assert_reverts::<Coordinator::Coordinator__VotingWindowOpen>(execute(&mut world, creator));
    world.wait_until(created + INTERVAL / 32);
    assert!(can(&world, creator) && !can(&world, others[0]));
    for other in &others {
        assert_reverts::<Coordinator::Coordinator__MustBeProposalCreator>(execute(
            &mut world, *other,
        ));
    }
    // After the grace any validator, whether it voted or not, and nobody else.
    world.wait_until(created + INTERVAL / 16);
    assert!(can(&world, others[1]) && !can(&world, 9));
    assert_reverts::<Coordinator::Coordinator__NotValidator>(execute(&mut world, 9));
    execute(&mut world, others[1]).expect("executed");
    // All have voted: no need to wait.
    let (hash, creator) = proposed(&mut world, 0, &empty_update());
    for voter in VOTERS {
        world.vote(voter, 1, hash).expect("voted");
    }
    execute(&mut world, creator).expect("executed at once");
}

#[test]
fn execution_survives_a_creator_that_is_gone() {
    let mut world = World::new(4);
    let (hash, creator) = proposed(&mut world, 0, &empty_update());
    let others: Vec<u32> = (0..4).filter(|n| *n != creator).collect();
    for voter in &others {
        world.vote(*voter, 1, hash).expect("voted");
    }
    leave(&mut world, creator);
    assert_reverts::<Coordinator::Coordinator__MustBeProposalCreator>(world.execute(
        others[0],
        1,
        &empty_update(),
    ));
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

#[test]
fn execution_of_a_whole_round_pays_to_the_wei() {
    let mut world = World::new(3);
    let capacities = [(500, 1), (501, 2), (502, 4)];
    let (tree, update) = work(1, &capacities);
    let due = world.status().dueTime;
    let (hash, proposer) = proposed(&mut world, 0, &update);
    world.vote(0, 1, hash).expect("voted");
    world.vote(1, 1, hash).expect("voted");
    world.wait(INTERVAL / 16);
    let receipt = world.execute(2, 1, &update).expect("executed");
    let executed: Vec<Coordinator::StateUpdateExecuted> = events(&receipt);
    assert_eq!(
        (
            executed[0].round,
            executed[0].proposalHash,
            executed[0].distributionId,
            executed[0].executor
        ),
        (1, hash, 1, address(2))
    );
    assert!(VOTERS.contains(&proposer));
    // 45,000 SNO: 85 % for workers, 10 % for the two that approved, 5 % for the treasury.
    assert_eq!(
        [0, 1, 2].map(|n| world.balance_of(n)),
        [sno(2_250), sno(2_250), U256::ZERO]
    );
    assert_eq!(treasury(&world), sno(2_250));
    for (worker, capacity) in capacities {
        claim(&mut world, worker, 1, capacity, &tree).expect("claimed");
        assert_eq!(
            world.balance_of(worker),
            sno(38_250) * U256::from(capacity) / U256::from(7)
        );
        world.assert_books();
    }
    let status = world.status();
    assert_eq!(
        (status.round, status.phase, status.dueTime),
        (2, 0, due + INTERVAL)
    );
    assert_eq!(
        (
            status.nextDistributionId,
            status.proposalCount,
            status.snapshotCount
        ),
        (2, 0, 0)
    );
}

#[test]
fn expiry_ends_a_round_for_the_same_period_and_wipes_nothing_before() {
    let mut world = World::new(6);
    let coordinator = world.deployment.coordinator;
    let opened = world.open_round(0);
    assert_eq!(opened.expiresAt, opened.openedAt + INTERVAL * 3 / 4);
    world.wait(INTERVAL / 4);
    let (a, b) = (world.hash(&empty_update()), keccak256("another"));
    world.propose(0, a).expect("proposed");
    world.propose(1, b).expect("proposed");
    for voter in 0..3 {
        world.vote(voter, 1, a).expect("voted");
        world.vote(voter + 3, 2, b).expect("voted");
    }
    // Until its end nothing that anybody calls takes a proposal or a vote away.
    world.wait_until(opened.expiresAt - 10);
    for n in 0..3 {
        world
            .send(n, coordinator, Coordinator::openRoundCall {})
            .expect("changes nothing");
    }
    let proposals = world.coordinator(Coordinator::getProposalsCall {});
    assert_eq!(
        proposals.iter().map(|p| p.votes).collect::<Vec<_>>(),
        [3, 3]
    );
    assert!(!world.coordinator(Coordinator::isRoundExpiredCall {}));
    world.wait_until(opened.expiresAt);
    assert!(world.coordinator(Coordinator::isRoundExpiredCall {}));
    let status = world.status();
    assert_eq!(
        (status.round, status.phase, status.proposalCount),
        (2, 1, 0)
    );
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.vote(0, 1, a));
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.execute(0, 1, &empty_update()));
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.propose(0, a));
    // The same period is settled in the next round.
    world.run_round(&[0, 1, 2, 3, 4, 5], &empty_update());
    let status = world.status();
    assert_eq!(
        (status.round, status.dueTime, status.nextDistributionId),
        (3, opened.dueTime + INTERVAL, 2)
    );
}

#[test]
fn expiry_bounds_what_one_validator_holds_up_to_one_round() {
    let mut world = World::new(5);
    let (griefer, honest) = (0, [1, 2, 3, 4]);
    let due = world.status().dueTime;
    let opened = world.open_round(griefer);
    // It proposes what nobody approves, votes for it and does nothing else: the others need four of five, which they
    // have without it.
    world.wait(INTERVAL / 4);
    let junk = keccak256("junk");
    world.propose(griefer, junk).expect("its one proposal");
    assert_reverts::<Coordinator::Coordinator__AlreadySubmittedProposal>(
        world.propose(griefer, keccak256("more junk")),
    );
    world.vote(griefer, 1, junk).expect("its one vote");
    let hash = world.hash(&empty_update());
    world.propose(honest[0], hash).expect("proposed");
    for voter in honest {
        world.vote(voter, 2, hash).expect("voted");
    }
    world
        .execute(honest[0], 2, &empty_update())
        .expect("all have voted");
    assert!(world.chain.timestamp() < opened.expiresAt);
    // Where its vote is needed and does not come, the round is lost, and the period with it is not: three quarters of
    // an interval later the next one is due, well before the period is over.
    leave(&mut world, 4);
    leave(&mut world, 3);
    leave(&mut world, 2);
    let opened = world.open_round(1);
    assert_eq!((opened.snapshotCount, opened.requiredApprovals), (2, 2));
    world.wait_until(opened.expiresAt);
    assert!(opened.expiresAt < due + 2 * INTERVAL);
    world.run_round(&[0, 1], &empty_update());
    assert_eq!(world.status().dueTime, due + 2 * INTERVAL);
    assert_eq!(
        world.token(Token::s_currentDistributionIdCall {}),
        U256::from(2)
    );
}

#[test]
fn removal_keeps_a_validator_out_for_three_rounds() {
    let mut world = World::new(4);
    let coordinator = world.deployment.coordinator;
    let mut update = empty_update();
    update.validatorsToRemove = vec![address(3)];
    world.run_round(&VOTERS, &update);
    assert!(!is_validator(&world, 3) && !verified(&world, 3));
    for _ in 0..3 {
        assert_reverts::<Coordinator::Coordinator__CoolDown>(world.send(
            3,
            coordinator,
            Coordinator::addValidatorCall {},
        ));
        world.run_round(&VOTERS, &empty_update());
    }
    join(&mut world, 3);
    assert_eq!(world.open_round(0).snapshotCount, 4);
    assert!(verified(&world, 3));
}

#[test]
fn removal_leaves_as_many_as_the_threshold_needs() {
    for (count, left) in [(1, 1), (2, 2), (3, 2), (5, 4), (10, 7)] {
        let mut world = World::new(count);
        let voters: Vec<u32> = (0..count).collect();
        let mut update = empty_update();
        // Everybody, a stranger and one twice: what cannot be done does not stop the update.
        update.validatorsToRemove = voters
            .iter()
            .map(|n| address(*n))
            .chain([address(77), address(0)])
            .collect();
        let receipt = world.run_round(&voters, &update);
        let validators = world.coordinator(Coordinator::getValidatorsCall {});
        assert_eq!(validators.len(), left, "of {count}");
        let removed = events::<Coordinator::ValidatorRemoved>(&receipt).len();
        assert_eq!(removed, count as usize - left);
        // All had approved and are paid, the removed ones too.
        let share = sno(4_500) / U256::from(count);
        assert!(voters.iter().all(|n| world.balance_of(*n) == share));
        let rest: Vec<u32> = voters
            .into_iter()
            .filter(|n| is_validator(&world, *n))
            .collect();
        world.run_round(&rest, &empty_update());
        world.assert_books();
    }
}
