//! Who counts in a round, and that no leaving, joining, waiting or racing bends it. Flaw numbers are those of the
//! upstream contracts that ours must not have.

mod contracts_support;

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256, keccak256};
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

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

fn ready(world: &World, number: u8) -> bool {
    world.coordinator(Coordinator::isProposalReadyCall {
        proposalNum: number,
    })
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
fn f02_three_of_five_do_not_execute_and_four_do() {
    let mut world = World::new(5);
    let (hash, proposer) = proposed(&mut world, 0, &empty_update());
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
fn f01_f04_leaving_withdraws_the_vote_and_rejoining_gives_none() {
    let mut world = World::new(5);
    let (hash, proposer) = proposed(&mut world, 0, &empty_update());
    let attacker = (0..5).find(|n| *n != proposer).expect("five validators");
    world.vote(attacker, 1, hash).expect("voted");
    leave(&mut world, attacker);
    assert_eq!(
        world.coordinator(Coordinator::getProposalsCall {})[0].votes,
        0
    );
    assert_eq!(world.status().snapshotCount, 4);
    join(&mut world, attacker);
    let account = signer(attacker).address();
    assert!(world.coordinator(Coordinator::isValidatorCall { account }));
    assert!(!world.coordinator(Coordinator::isSnapshotValidatorCall { account }));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(attacker, 1, hash));
    // It is not counted out a second time either.
    leave(&mut world, attacker);
    assert_eq!(world.status().snapshotCount, 4);
    // Three of four: two votes are not enough, although four were five.
    let voters: Vec<u32> = (0..5).filter(|n| *n != attacker).collect();
    world.vote(voters[0], 1, hash).expect("voted");
    world.vote(voters[1], 1, hash).expect("voted");
    assert!(!ready(&world, 1));
    world.vote(voters[2], 1, hash).expect("voted");
    assert!(ready(&world, 1));
}

#[test]
fn f03_proposal_zero_is_a_named_error_and_f11_votes_name_the_hash() {
    let mut world = World::new(3);
    let (hash, _) = proposed(&mut world, 0, &empty_update());
    assert_reverts::<Coordinator::Coordinator__InvalidProposalNumber>(world.vote(0, 0, hash));
    assert_reverts::<Coordinator::Coordinator__InvalidProposalNumber>(world.vote(0, 2, hash));
    assert_reverts::<Coordinator::Coordinator__ProposalDataMismatch>(world.vote(
        0,
        1,
        keccak256("another"),
    ));
    assert_reverts::<Coordinator::Coordinator__InvalidProposalNumber>(world.execute(
        0,
        0,
        &empty_update(),
    ));
    world.vote(0, 1, hash).expect("voted");
    assert_eq!(
        world.coordinator(Coordinator::votedForCall {
            validator: signer(0).address()
        }),
        hash
    );
    assert_eq!(
        world.coordinator(Coordinator::votedForCall {
            validator: signer(1).address()
        }),
        B256::ZERO
    );
}

#[test]
fn f05_who_joins_in_a_round_counts_from_the_next() {
    let mut world = World::new(3);
    let (core, token) = (world.deployment.core, world.deployment.token);
    world
        .govern(
            token,
            Token::setValidatorLockAmountCall {
                newAmount: sno(1_000),
            },
        )
        .expect("cheaper");
    world.run_round(&[0, 1, 2], &empty_update());
    // Gas is estimated as of the last block, in which a checkpoint of these votes exists already.
    world.mine_blocks(1);
    world
        .send(
            0,
            token,
            Token::transferCall {
                to: signer(10).address(),
                value: sno(1_000),
            },
        )
        .expect("sent");
    let (hash, _) = proposed(&mut world, 0, &empty_update());
    world
        .send(
            10,
            core,
            Core::createValidatorCall {
                publicKeyHash: key_hash(10),
            },
        )
        .expect("registered");
    assert_eq!(world.status().snapshotCount, 3);
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(10, 1, hash));
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(
        world.propose(10, keccak256("mine")),
    );
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    // All have voted: no need to wait for the window.
    let creator = world.coordinator(Coordinator::getProposalsCall {})[0].creator;
    let creator = (0..3)
        .find(|n| signer(*n).address() == creator)
        .expect("a genesis node");
    world
        .execute(creator, 1, &empty_update())
        .expect("executed");
    assert_eq!(world.open_round(0).snapshotCount, 4);
    let hash = world.hash(&empty_update());
    let proposer = world.proposer();
    world.propose(proposer, hash).expect("proposed");
    world.vote(10, 1, hash).expect("counts now");
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
fn f06_f07_a_proposal_is_never_ready_without_being_executable() {
    let mut world = World::new(3);
    // It removes everybody: as many stay as the threshold needs, and it executes.
    let mut update = empty_update();
    update.validatorsToRemove = (0..3)
        .map(|n| signer(n).address())
        .chain([Address::ZERO])
        .collect();
    let receipt = world.run_round(&[0, 1, 2], &update);
    assert_eq!(events::<Coordinator::RemovalSkipped>(&receipt).len(), 2);
    assert_eq!(
        world.coordinator(Coordinator::getValidatorsCall {}).len(),
        2
    );
    // All three had approved and were paid, the removed one too.
    let share = sno(4_500) / U256::from(3);
    assert!((0..3).all(|n| world.balance_of(n) == share));

    // A ready proposal whose voters leave is not ready any more, and ready again with other votes.
    let mut world = World::new(4);
    let (hash, _) = proposed(&mut world, 0, &empty_update());
    for voter in 0..3 {
        world.vote(voter, 1, hash).expect("voted");
    }
    assert!(ready(&world, 1));
    leave(&mut world, 0);
    leave(&mut world, 1);
    assert!(!ready(&world, 1), "one vote of two");
    world.vote(3, 1, hash).expect("voted");
    assert!(ready(&world, 1));
    world.wait(INTERVAL / 16);
    world.execute(3, 1, &empty_update()).expect("executed");
}

#[test]
fn f10_nothing_wipes_a_live_round_and_f14_a_split_ends_in_the_next() {
    let mut world = World::new(6);
    let coordinator = world.deployment.coordinator;
    world.open_round(0);
    let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
    let of = |address: &Address| {
        (0..6)
            .find(|n| signer(*n).address() == *address)
            .expect("a genesis node")
    };
    let (first, second) = (of(&proposers[0]), of(&proposers[1]));
    let (a, b) = (world.hash(&empty_update()), keccak256("another"));
    world.propose(first, a).expect("proposed");
    assert_reverts::<Coordinator::Coordinator__DuplicateProposal>(world.propose(second, a));
    world.propose(second, b).expect("proposed");
    for voter in 0..3 {
        world.vote(voter, 1, a).expect("voted");
        world.vote(voter + 3, 2, b).expect("voted");
    }
    world.wait(INTERVAL / 2);
    world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("changes nothing");
    let proposals = world.coordinator(Coordinator::getProposalsCall {});
    assert_eq!(
        proposals.iter().map(|p| p.votes).collect::<Vec<_>>(),
        [3, 3]
    );
    let expiry = world.status().expiresAt;
    world.wait_until(expiry - 1);
    assert_eq!(world.status().round, 1);
    world.wait_until(expiry);
    let status = world.status();
    assert_eq!(
        (status.round, status.phase, status.proposalCount),
        (2, 1, 0)
    );
    assert_eq!(
        world.coordinator(Coordinator::votedForCall {
            validator: signer(0).address()
        }),
        B256::ZERO
    );
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.vote(0, 1, a));
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.execute(0, 1, &empty_update()));
    // The same period is settled in the next round.
    world.run_round(&[0, 1, 2, 3, 4, 5], &empty_update());
    assert_eq!(
        world.token(Token::s_currentDistributionIdCall {}),
        U256::from(1)
    );
    assert_eq!(world.status().round, 3);
}

#[test]
fn f12_f13_any_validator_proposes_after_a_quarter_and_executes_after_the_grace() {
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
fn f15_the_rest_recovers_when_half_is_gone_for_ever() {
    let mut world = World::new(4);
    let coordinator = world.deployment.coordinator;
    world.run_round(&[0, 1, 2, 3], &empty_update());
    let lost_at = world.chain.timestamp();
    // Two go on voting in rounds that fail, which keeps them active.
    while world.chain.timestamp() < lost_at + 3 * DAY {
        let status = world.open_round(0);
        world.wait(INTERVAL / 4);
        let hash = world.hash(&empty_update());
        world.propose(0, hash).expect("proposed");
        world.vote(0, 1, hash).expect("voted");
        world.vote(1, 1, hash).expect("voted");
        world.wait_until(status.expiresAt);
    }
    let receipt = world.run_round(&[0, 1], &empty_update());
    assert_eq!(events::<Coordinator::ProposalExecuted>(&receipt).len(), 1);

    // One of the lost returns with one transaction, and counts from the next round.
    assert!(!world.coordinator(Coordinator::isActiveCall {
        account: signer(2).address()
    }));
    let status = world.open_round(0);
    assert_eq!(status.snapshotCount, 2);
    world
        .send(2, coordinator, Coordinator::reactivateCall {})
        .expect("back");
    assert_eq!(world.status().snapshotCount, 2);
    let hash = world.hash(&empty_update());
    let proposer = world.proposer();
    world.propose(proposer, hash).expect("proposed");
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(2, 1, hash));
    world.vote(0, 1, hash).expect("voted");
    world.vote(1, 1, hash).expect("voted");
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
    assert_eq!(world.open_round(0).snapshotCount, 3);
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
fn f17_an_unused_draw_is_sealed_again() {
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
fn f18_a_removed_validator_stays_out_for_three_rounds() {
    let mut world = World::new(4);
    let coordinator = world.deployment.coordinator;
    let mut update = empty_update();
    update.validatorsToRemove = vec![signer(3).address()];
    world.run_round(&[0, 1, 2], &update);
    assert!(!world.coordinator(Coordinator::isValidatorCall {
        account: signer(3).address()
    }));
    for _ in 0..3 {
        assert_reverts::<Coordinator::Coordinator__CoolDown>(world.send(
            3,
            coordinator,
            Coordinator::addValidatorCall {},
        ));
        world.run_round(&[0, 1, 2], &empty_update());
    }
    join(&mut world, 3);
    assert_eq!(world.open_round(0).snapshotCount, 4);
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
fn f25_f28_257_validators_are_paid_equally_and_to_the_wei() {
    const COUNT: u32 = 257;
    let mut world = World::new(COUNT);
    let token = world.deployment.token;
    let (hash, proposer) = proposed(&mut world, 0, &empty_update());
    for voter in 0..COUNT {
        world.vote(voter, 1, hash).expect("voted");
    }
    let receipt = world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
    // So that a thousand fit into a block of 60 million.
    assert!(
        receipt.gas_used < u64::from(COUNT) * 40_000,
        "{}",
        receipt.gas_used
    );
    let each = sno(4_500) / U256::from(COUNT);
    for n in 0..COUNT {
        let credit = world.token(Token::s_creditsCall {
            account: signer(n).address(),
        });
        assert_eq!(U256::from(credit.sno), each);
    }
    let treasury = world.balance(world.deployment.timelock);
    assert_eq!(
        treasury,
        sno(6_750) - each * U256::from(COUNT),
        "every remainder is the treasury's"
    );
    world.assert_books();
    world
        .send(7, token, Token::withdrawSnoCall {})
        .expect("collected");
    assert_eq!(world.balance_of(7), each);
    assert_reverts::<Token::Token__InsufficientBalance>(world.send(
        7,
        token,
        Token::withdrawSnoCall {},
    ));
    world.assert_books();
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
