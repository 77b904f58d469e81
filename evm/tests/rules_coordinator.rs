//! The rule book's rounds: who is a validator and counts, when a round is due and opens, who may propose.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | activity | `activity_ends_after_3_days_without_a_vote_until_reactivated`, `activity_lets_the_rest_recover_when_half_is_gone`, `activity_lets_everybody_come_back`, `activity_renewed_in_a_round_keeps_the_place_in_it`, `activity_outlasts_long_intervals` |
//! | validators: registered nodes with collateral and credential | `validators_are_registered_nodes_with_locked_collateral` |
//! | validators: leaving, slashing, removal at once, votes too | `validators_that_leave_or_are_slashed_take_their_votes_along_at_once` |
//! | update interval | `update_interval_is_8_hours_and_set_within_1_and_256_hours`, `update_interval_changes_with_the_next_period` (and `rules_dao.rs`) |
//! | round: fixed grid, lateness, missed intervals | `round_is_due_on_a_fixed_grid_whatever_the_lateness` |
//! | round: opens | `round_opens_in_two_steps_that_anybody_active_takes` |
//! | round: the snapshot is fixed when it opens | `round_counts_those_who_were_there_when_it_opened`, `round_joined_after_the_seal_is_the_next_one` |
//! | proposers: 1 of 1, 2 of 2–4, 3 of 5–9, 5 of 10+ | `proposers_are_a_few_of_the_active_validators` |
//! | proposers: recently active ones first | `proposers_are_those_first_who_voted_last` |
//! | proposers: randomness that nobody who triggers it can know or choose | `proposers_depend_on_nothing_that_who_triggers_the_draw_knows_or_chooses`, `proposers_are_drawn_anew_from_a_block_in_reach` |
//! | proposers: after a quarter interval any validator | `proposers_are_all_after_a_quarter_of_the_interval` |
//! | rotation | `rotation_is_by_chance_and_favours_nobody` |

mod contracts_support;

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256, keccak256};
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

fn is_active(world: &World, n: u32) -> bool {
    world.coordinator(Coordinator::isActiveCall {
        account: address(n),
    })
}

fn counts(world: &World, n: u32) -> bool {
    world.coordinator(Coordinator::isSnapshotValidatorCall {
        account: address(n),
    })
}

fn reactivate(world: &mut World, n: u32) {
    let coordinator = world.deployment.coordinator;
    world
        .send(n, coordinator, Coordinator::reactivateCall {})
        .expect("active");
}

fn proposers(world: &World) -> Vec<Address> {
    world.coordinator(Coordinator::getCurrentRoundValidatorsCall {})
}

/// A round in which all of `voters` vote, so that it is executed without waiting.
fn quick_round(world: &mut World, voters: &[u32]) {
    let (hash, proposer) = proposed(world, voters[0], &empty_update());
    for voter in voters {
        world.vote(*voter, 1, hash).expect("voted");
    }
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
}

#[test]
fn activity_ends_after_3_days_without_a_vote_until_reactivated() {
    let mut world = World::new(4);
    let coordinator = world.deployment.coordinator;
    // Three go on, one falls silent after the first round.
    world.run_round(&[0, 1, 2, 3], &empty_update());
    let last_vote = world.chain.timestamp();
    world.run_rounds_for(&[0, 1, 2], 3 * DAY - INTERVAL);
    assert_eq!(world.open_round(0).snapshotCount, 4, "not yet");
    let hash = world.hash(&empty_update());
    world.wait(INTERVAL / 4);
    world.propose(0, hash).expect("proposed");
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    world.wait(INTERVAL / 32);
    world.execute(0, 1, &empty_update()).expect("executed");
    world.wait_until(last_vote + 3 * DAY);
    assert!(!is_active(&world, 3) && is_active(&world, 0));
    assert_reverts::<Coordinator::Coordinator__NotValidator>(world.send(
        3,
        coordinator,
        Coordinator::openRoundCall {},
    ));
    for _ in 0..5 {
        assert_eq!(world.open_round(0).snapshotCount, 3);
        assert!(!counts(&world, 3) && !proposers(&world).contains(&address(3)));
        quick_round(&mut world, &[0, 1, 2]);
    }
    // It is still in the set; in the round in which it comes back it does not count yet.
    assert!(is_validator(&world, 3));
    let (hash, proposer) = proposed(&mut world, 0, &empty_update());
    reactivate(&mut world, 3);
    assert!(is_active(&world, 3) && !counts(&world, 3));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(3, 1, hash));
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
    assert_eq!(world.open_round(0).snapshotCount, 4);
    assert!(counts(&world, 3));
}

#[test]
fn activity_lets_the_rest_recover_when_half_is_gone() {
    let mut world = World::new(4);
    world.run_round(&[0, 1, 2, 3], &empty_update());
    let lost_at = world.chain.timestamp();
    // Two of four are below the threshold: no update, but their votes keep them active.
    while world.chain.timestamp() < lost_at + 3 * DAY {
        let status = world.open_round(0);
        world.wait(INTERVAL / 4);
        let hash = world.hash(&empty_update());
        world.propose(0, hash).expect("proposed");
        for voter in [0, 1] {
            world.vote(voter, 1, hash).expect("voted");
        }
        assert!(!ready(&world, 1));
        world.wait_until(status.expiresAt);
    }
    let receipt = world.run_round(&[0, 1], &empty_update());
    assert_eq!(events::<Coordinator::ProposalExecuted>(&receipt).len(), 1);
}

#[test]
fn activity_lets_everybody_come_back() {
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
    // Both come back after the seal: nobody counts in the sealed round, so the next one is drawn.
    reactivate(&mut world, 0);
    reactivate(&mut world, 1);
    world.run_round(&[0, 1], &empty_update());
    assert_eq!(world.status().round, 3);
}

#[test]
fn activity_renewed_in_a_round_keeps_the_place_in_it() {
    let mut world = World::new(3);
    // Open just before the activity of all runs out, which then happens during the round.
    world.wait(3 * DAY - 60);
    let (hash, _) = proposed(&mut world, 0, &empty_update());
    world.wait(3_600);
    assert!(!is_active(&world, 0) && counts(&world, 0));
    reactivate(&mut world, 0);
    assert!(is_active(&world, 0) && counts(&world, 0));
    assert_eq!(world.status().snapshotCount, 3);
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    leave(&mut world, 0);
    assert_eq!(world.status().snapshotCount, 2);
}

#[test]
fn activity_outlasts_long_intervals() {
    let mut world = World::new(2);
    let coordinator = world.deployment.coordinator;
    let interval = 256 * 3_600;
    world
        .govern(
            coordinator,
            Coordinator::updateTimingCall {
                newInterval: U256::from(interval),
            },
        )
        .expect("set");
    world.run_round(&[0, 1], &empty_update());
    assert_eq!(world.status().updateInterval, interval);
    assert_eq!(world.open_round(0).snapshotCount, 2);
}

#[test]
fn validators_are_registered_nodes_with_locked_collateral() {
    let mut world = world_with_user();
    let d = world.deployment.clone();
    let add = Coordinator::addValidatorCall {};
    // Neither a stranger nor a user, and nobody for somebody else.
    for who in [9, USER] {
        assert_reverts::<Coordinator::Coordinator__ValidatorNotRegistered>(world.send(
            who,
            d.coordinator,
            add.clone(),
        ));
    }
    assert_reverts::<Coordinator::Coordinator__NotCoreContract>(world.send(
        9,
        d.coordinator,
        Coordinator::validatorRegisteredCall {
            validator: address(9),
        },
    ));
    assert_reverts::<Coordinator::Coordinator__ValidatorAlreadyExists>(world.send(
        0,
        d.coordinator,
        add.clone(),
    ));
    // Registering locks the collateral and seats it in one transaction.
    let lower = Token::setValidatorLockAmountCall {
        newAmount: sno(500),
    };
    world.govern(d.token, lower).expect("lowered");
    let create = Core::createValidatorCall {
        publicKeyHash: key_hash(USER),
    };
    world.send(USER, d.core, create).expect("registered");
    assert!(is_validator(&world, USER) && verified(&world, USER));
    assert_eq!(world.balance_of(USER), sno(400));
    assert_eq!(world.open_round(0).snapshotCount, 4);
    // With the collateral being unlocked there is no way back into the set.
    world
        .send(USER, d.core, Core::unlockValidatorCall {})
        .expect("requested");
    assert!(!is_validator(&world, USER));
    assert_reverts::<Coordinator::Coordinator__ValidatorNotRegistered>(world.send(
        USER,
        d.coordinator,
        add,
    ));
}

#[test]
fn validators_that_leave_or_are_slashed_take_their_votes_along_at_once() {
    let mut world = World::new(7);
    let (core, token) = (world.deployment.core, world.deployment.token);
    let (hash, proposer) = proposed(&mut world, 0, &empty_update());
    let others: Vec<u32> = (0..7).filter(|n| *n != proposer).collect();
    for voter in &others[..5] {
        world.vote(*voter, 1, hash).expect("voted");
    }
    assert!(ready(&world, 1), "five of seven");
    let votes = |world: &World| {
        let status = world.status();
        let proposals = world.coordinator(Coordinator::getProposalsCall {});
        (
            proposals[0].votes,
            status.snapshotCount,
            status.requiredApprovals,
        )
    };
    leave(&mut world, others[0]);
    assert_eq!(votes(&world), (4, 6, 4));
    world
        .send(others[1], core, Core::unlockValidatorCall {})
        .expect("requested");
    assert_eq!(votes(&world), (3, 5, 4));
    let slash = Token::slashAndUnlockValidatorCall {
        validator: address(others[2]),
        amount: sno(1),
    };
    world.govern(token, slash).expect("slashed");
    assert_eq!(votes(&world), (2, 4, 3));
    assert!(!ready(&world, 1));
    // Coming back in the same round gives neither a place nor a vote in it.
    join(&mut world, others[0]);
    assert!(is_validator(&world, others[0]) && !counts(&world, others[0]));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
        world.vote(others[0], 1, hash),
    );
    world.vote(proposer, 1, hash).expect("voted");
    assert!(ready(&world, 1), "three of four");
}

#[test]
fn update_interval_is_8_hours_and_set_within_1_and_256_hours() {
    let mut world = World::new(1);
    let coordinator = world.deployment.coordinator;
    assert_eq!(
        world.coordinator(Coordinator::updateIntervalCall {}),
        U256::from(8 * 3_600)
    );
    let set = |seconds: u64| Coordinator::updateTimingCall {
        newInterval: U256::from(seconds),
    };
    for bad in [0, 8, 3_599, 256 * 3_600 + 1, u64::MAX] {
        assert_reverts::<Coordinator::Coordinator__InvalidInterval>(
            world.govern(coordinator, set(bad)),
        );
    }
    for who in [0, DEPLOYER] {
        assert_reverts::<Coordinator::Coordinator__NotDAO>(world.send(
            who,
            coordinator,
            set(3_600),
        ));
    }
    for good in [3_600, 256 * 3_600] {
        world.govern(coordinator, set(good)).expect("within bounds");
    }
}

#[test]
fn update_interval_changes_with_the_next_period() {
    let mut world = World::new(1);
    let token = world.deployment.token;
    world
        .govern(token, Token::halveDistributionIntervalCall {})
        .expect("halved");
    assert_eq!(world.status().updateInterval, INTERVAL, "this period stays");
    let due = world.status().dueTime;
    world.run_round(&[0], &empty_update());
    assert_eq!(world.balance_of(0), sno(4_500));
    assert_eq!(
        (world.status().updateInterval, world.status().dueTime),
        (INTERVAL / 2, due + INTERVAL / 2)
    );
    world.run_round(&[0], &empty_update());
    assert_eq!(world.balance_of(0), sno(4_500 + 2_250));
    // From four hours to eight, a period and a half late: the emission's clock agrees with the grid.
    world
        .govern(token, Token::doubleDistributionIntervalCall {})
        .expect("doubled");
    let due = world.status().dueTime;
    world.wait_until(due + INTERVAL * 3 / 4);
    world.run_round(&[0], &empty_update());
    assert_eq!(world.status().dueTime, due + INTERVAL / 2 + INTERVAL);
    world.run_round(&[0], &empty_update());
    assert_eq!(world.balance_of(0), sno(4_500 + 2_250 + 2_250 + 4_500));
}

#[test]
fn round_is_due_on_a_fixed_grid_whatever_the_lateness() {
    let mut world = World::new(1);
    let start = world.deployment.start_time;
    // When a round is run (in parts of an interval after the start), and when the next is due.
    let schedule = [(8, 2), (23, 3), (24, 4), (32, 5), (41, 6), (57, 8), (64, 9)];
    for (updates, (eighths, next)) in (1..).zip(schedule) {
        world.wait_until(start + eighths * INTERVAL / 8);
        world.run_round(&[0], &empty_update());
        assert_eq!(
            world.status().dueTime,
            start + next * INTERVAL,
            "at {eighths}/8"
        );
        // A late period is paid once, a missed one not at all.
        assert_eq!(world.balance_of(0), sno(4_500) * U256::from(updates));
        assert_eq!(
            world.token(Token::s_currentDistributionIdCall {}),
            U256::from(updates)
        );
    }
}

#[test]
fn round_opens_in_two_steps_that_anybody_active_takes() {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    let open = |world: &mut World, n| world.send(n, coordinator, Coordinator::openRoundCall {});
    world.wait_until(world.status().dueTime - 4);
    assert_reverts::<Coordinator::Coordinator__ProposalTooEarly>(open(&mut world, 0));
    world.wait_until(world.status().dueTime);
    assert_reverts::<Coordinator::Coordinator__NotValidator>(open(&mut world, FIRST_WORKER));
    open(&mut world, 0).expect("sealed");
    // A second one changes nothing while the block is not there.
    open(&mut world, 1).expect("nothing to do");
    assert_eq!(world.status().phase, 2);
    world.mine_blocks(2);
    assert_eq!(world.status().phase, 3);
    let receipt = open(&mut world, 2).expect("opened");
    let opened: Vec<Coordinator::RoundOpened> = events(&receipt);
    let (count, needed) = (opened[0].snapshotCount, opened[0].requiredApprovals);
    assert_eq!((opened[0].round, count, needed), (1, 3, 2));
    let started: Vec<Coordinator::NewRoundStarted> = events(&receipt);
    assert_eq!(started[0].selectedValidators, proposers(&world));
    assert_eq!(world.status().openedAt, world.chain.timestamp());
}

#[test]
fn round_counts_those_who_were_there_when_it_opened() {
    let mut world = World::new(5);
    leave(&mut world, 4);
    let status = world.open_round(0);
    assert_eq!((status.snapshotCount, status.requiredApprovals), (4, 3));
    assert_eq!(
        (0..5).map(|n| counts(&world, n)).collect::<Vec<_>>(),
        [true, true, true, true, false]
    );
    join(&mut world, 4);
    assert!(is_validator(&world, 4) && !counts(&world, 4));
    let hash = world.hash(&empty_update());
    let proposer = world.proposer();
    world.propose(proposer, hash).expect("proposed");
    world.wait(INTERVAL / 4);
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(4, 1, hash));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
        world.propose(4, keccak256("mine")),
    );
    for voter in 0..4 {
        world.vote(voter, 1, hash).expect("voted");
    }
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
    assert_eq!(world.open_round(0).snapshotCount, 5);
}

#[test]
fn round_joined_after_the_seal_is_the_next_one() {
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
    assert!(!counts(&world, 3));
}

#[test]
fn proposers_are_a_few_of_the_active_validators() {
    let mut world = World::new(14);
    for active in (1..=14u32).rev() {
        world.open_round(0);
        let drawn = proposers(&world);
        let expected = match active {
            1 => 1,
            2..=4 => 2,
            5..=9 => 3,
            _ => 5,
        };
        assert_eq!(drawn.len(), expected, "of {active}");
        let distinct: std::collections::BTreeSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), expected);
        assert!(
            drawn
                .iter()
                .all(|drawn| (0..active).any(|n| address(n) == *drawn))
        );
        let voters: Vec<u32> = (0..active).collect();
        quick_round(&mut world, &voters);
        leave(&mut world, active - 1);
    }
}

#[test]
fn proposers_are_those_first_who_voted_last() {
    let mut world = World::new(6);
    // Fewer rounds than would make the silent ones inactive.
    for _ in 0..6 {
        world.run_round(&[0, 1, 2, 3], &empty_update());
        world.open_round(0);
        let drawn = proposers(&world);
        assert!((4..6).all(|n| !drawn.contains(&address(n))));
    }
    // Where too few voted, others are drawn behind them.
    let (hash, proposer) = {
        let hash = world.hash(&empty_update());
        (hash, world.proposer())
    };
    world.propose(proposer, hash).expect("proposed");
    for voter in 0..2 {
        world.vote(voter, 1, hash).expect("voted");
    }
    world.wait_until(world.status().expiresAt);
    world.open_round(0);
    let drawn = proposers(&world);
    assert_eq!(drawn.len(), 3);
    assert!(drawn[..2].contains(&address(0)) && drawn[..2].contains(&address(1)));
}

#[test]
fn proposers_depend_on_nothing_that_who_triggers_the_draw_knows_or_chooses() {
    let mut world = World::new(12);
    let coordinator = world.deployment.coordinator;
    let open = Coordinator::openRoundCall {};
    world.wait_until(world.status().dueTime);
    let receipt = world.send(0, coordinator, open.clone()).expect("sealed");
    let sealed: Vec<Coordinator::DrawSealed> = events(&receipt);
    // Its hash is that of a block which is not there when the seal is made.
    assert!(sealed[0].drawBlock > U256::from(world.chain.block_number() + 1));
    world.mine_blocks(3);
    let draw = |world: &mut World, by: u32, blocks: u64, leaves: Option<u32>| {
        let before = world.chain.snapshot().expect("room for it");
        if let Some(n) = leaves {
            leave(world, n);
        }
        world.mine_blocks(blocks);
        world.send(by, coordinator, open.clone()).expect("opened");
        let drawn = proposers(world);
        world.chain.revert(before).expect("just taken");
        drawn
    };
    let drawn = draw(&mut world, 0, 0, None);
    assert_eq!(drawn.len(), 5);
    // Whoever opens it, and whenever.
    assert_eq!(draw(&mut world, 7, 0, None), drawn);
    assert_eq!(draw(&mut world, 3, 100, None), drawn);
    // One who leaves moves nobody but itself.
    for n in 1..12 {
        let without: Vec<_> = drawn
            .iter()
            .copied()
            .filter(|drawn| *drawn != address(n))
            .collect();
        let now = draw(&mut world, 0, 0, Some(n));
        assert_eq!(now[..without.len()], without, "without {n}");
        assert_eq!(now.len(), 5);
    }
}

#[test]
fn proposers_are_drawn_anew_from_a_block_in_reach() {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    world.wait_until(world.status().dueTime);
    world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("sealed");
    world.mine_blocks(252);
    assert_eq!(world.status().phase, 3);
    world.mine_blocks(1);
    assert_eq!(world.status().phase, 1, "the block's hash is out of reach");
    let receipt = world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("sealed again");
    assert_eq!(events::<Coordinator::DrawSealed>(&receipt).len(), 1);
    world.open_round(0);
}

#[test]
fn proposers_are_all_after_a_quarter_of_the_interval() {
    let mut world = World::new(4);
    let opened = world.open_round(0).openedAt;
    let drawn = proposers(&world);
    let (first, others): (Vec<u32>, Vec<u32>) = (0..4).partition(|n| drawn.contains(&address(*n)));
    let hash = world.hash(&empty_update());
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
        world.propose(others[0], hash),
    );
    world.wait_until(opened + INTERVAL / 4 - 4);
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
        world.propose(others[0], hash),
    );
    world.wait_until(opened + INTERVAL / 4);
    world
        .propose(others[0], hash)
        .expect("a quarter has passed");
    world
        .propose(first[0], keccak256("another"))
        .expect("the drawn ones still may");
    leave(&mut world, first[1]);
    for stranger in [first[1], 9] {
        assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
            world.propose(stranger, keccak256("no validator's")),
        );
    }
}

#[test]
fn rotation_is_by_chance_and_favours_nobody() {
    const ROUNDS: u32 = 250;
    const COUNT: u32 = 7;
    let mut world = World::new(COUNT);
    let voters: Vec<u32> = (0..COUNT).collect();
    let mut drawn: BTreeMap<Address, u32> = BTreeMap::new();
    let mut repeated = 0;
    let mut last = Vec::new();
    for _ in 0..ROUNDS {
        world.open_round(0);
        let mut now = proposers(&world);
        for proposer in &now {
            *drawn.entry(*proposer).or_default() += 1;
        }
        now.sort();
        repeated += u32::from(now == last);
        last = now;
        quick_round(&mut world, &voters);
    }
    // 3 of 7 in 250 rounds: 107 each, standard deviation 7.8; five of them either way.
    assert_eq!(drawn.len(), COUNT as usize);
    assert_eq!(drawn.values().sum::<u32>(), ROUNDS * 3);
    assert!(
        drawn.values().all(|count| (68..=146).contains(count)),
        "{drawn:?}"
    );
    // One of 35 sets: the same twice running 7 times in 250, standard deviation 2.6.
    assert!(repeated <= 20, "{repeated}");
}
