//! The rule book's DAO: who decides, how long it takes, what it sets and what it cannot.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | Governor + Votes + QuorumFraction + TimelockControl; clock by timestamp; delay 1 day, period 7 days, timelock 2 days, quorum 10 %, threshold above zero | `dao_takes_its_time_in_days_of_chain_time`, `dao_parameters_are_the_rule_books` |
//! | voting power by token holdings, locked collateral included | `dao_votes_with_locked_collateral` |
//! | quorum 10 % | `dao_decides_nothing_below_a_quorum_of_10_percent` |
//! | it sets the update interval | `dao_halves_the_interval_and_the_emission_per_hour_stays` |
//! | it sets collateral, approval percentage, networks, slashing, treasury spending | `dao_sets_what_the_rule_book_lists` |
//! | it upgrades | `upgrade.rs` |
//! | it cannot mint; every parameter has bounds | `dao_cannot_mint_nor_leave_the_bounds` |
//! | no key that can bypass it | `rules_deployment.rs` |

mod contracts_support;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use contracts_support::governance::{Actions, Decision};
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesDAO as Dao,
    SmartnodesERC20 as Token, SmartnodesTimelock as Timelock,
};

fn action(target: Address, call: impl SolCall) -> (Address, U256, Bytes) {
    (target, U256::ZERO, call.abi_encode().into())
}

fn dao<C: SolCall>(world: &World, call: C) -> C::Return {
    world
        .chain
        .read(world.deployment.dao, &call)
        .expect("a view of the DAO")
}

/// A decision that changes little: one more network.
fn a_network(world: &World, name: &str) -> Decision {
    let call = Core::addNetworkCall { name: name.into() };
    Decision::new(vec![action(world.deployment.core, call)], name)
}

fn has_network(world: &World, name: &str) -> bool {
    world.core(Core::isNetworkCall { name: name.into() })
}

#[test]
fn dao_parameters_are_the_rule_books() {
    let mut world = World::new(3);
    assert_eq!(dao(&world, Dao::votingDelayCall {}), U256::from(DAY));
    assert_eq!(dao(&world, Dao::votingPeriodCall {}), U256::from(7 * DAY));
    assert_eq!(dao(&world, Dao::proposalThresholdCall {}), sno(1_000));
    assert_eq!(dao(&world, Dao::CLOCK_MODECall {}), "mode=timestamp");
    assert_eq!(
        dao(&world, Dao::clockCall {}).to::<u64>(),
        world.chain.timestamp()
    );
    assert_eq!(dao(&world, Dao::timelockCall {}), world.deployment.timelock);
    assert_eq!(dao(&world, Dao::tokenCall {}), world.deployment.token);
    let at = U256::from(world.chain.timestamp());
    world.mine_blocks(1);
    assert_eq!(
        dao(&world, Dao::quorumCall { timepoint: at }),
        sno(300_000),
        "10 % of the supply, all of it locked"
    );
    let delay = world
        .chain
        .read(world.deployment.timelock, &Timelock::getMinDelayCall {})
        .expect("a view of the timelock");
    assert_eq!(delay, U256::from(2 * DAY));
}

#[test]
fn dao_takes_its_time_in_days_of_chain_time() {
    let mut world = World::new(3);
    let decision = a_network(&world, "matmul");
    world.mine_blocks(1);
    decision.propose(&mut world, 0).expect("proposed");
    let proposed_at = world.chain.timestamp();
    world.wait_until(proposed_at + DAY - 2);
    assert_reverts::<Dao::GovernorUnexpectedProposalState>(decision.vote(&mut world, 0, 1));
    world.wait_until(proposed_at + DAY + 1);
    for voter in VOTERS {
        decision.vote(&mut world, voter, 1).expect("voted");
    }
    assert_reverts::<Dao::GovernorAlreadyCastVote>(decision.vote(&mut world, 0, 1));
    // That everybody has voted does not shorten the vote.
    world.wait_until(proposed_at + 8 * DAY - 4);
    assert_eq!(decision.state(&world), 1);
    assert_reverts::<Dao::GovernorUnexpectedProposalState>(decision.queue(&mut world, 0));
    world.wait_until(proposed_at + 8 * DAY + 1);
    assert_eq!(decision.state(&world), 4);
    decision.queue(&mut world, 9).expect("queued by anybody");
    let queued_at = world.chain.timestamp();
    world.wait_until(queued_at + 2 * DAY - 4);
    let early = decision.execute(&mut world, 0);
    assert_reverts::<Timelock::TimelockUnexpectedOperationState>(early);
    assert!(!has_network(&world, "matmul"));
    world.wait_until(queued_at + 2 * DAY);
    decision
        .execute(&mut world, 9)
        .expect("executed by anybody");
    assert!(has_network(&world, "matmul"));
    assert_eq!(decision.state(&world), 7);
}

#[test]
fn dao_votes_with_locked_collateral() {
    let mut world = World::new(3);
    // Nothing is in circulation yet, and everybody can propose and vote.
    assert_eq!(
        world.token(Token::getSupplyBreakdownCall {})._circulating,
        U256::ZERO
    );
    let decision = a_network(&world, "matmul");
    decision.pass(&mut world, &[0, 1]);
    decision.execute(&mut world, 0).expect("executed");
    assert!(has_network(&world, "matmul"));
    // Who has too little does not propose, and votes of nothing decide nothing.
    let second = a_network(&world, "second");
    assert_reverts::<Dao::GovernorInsufficientProposerVotes>(
        second.propose(&mut world, FIRST_WORKER),
    );
    second.propose(&mut world, 0).expect("proposed");
    world.wait(DAY + 2);
    second
        .vote(&mut world, FIRST_WORKER, 1)
        .expect("counts nothing");
    let votes = dao(
        &world,
        Dao::proposalVotesCall {
            proposalId: second.id(&world),
        },
    );
    assert_eq!(votes.forVotes, U256::ZERO);
    world.wait(7 * DAY);
    assert_eq!(second.state(&world), 3, "defeated");
    assert_reverts::<Dao::GovernorUnexpectedProposalState>(second.queue(&mut world, 0));
}

#[test]
fn dao_decides_nothing_below_a_quorum_of_10_percent() {
    // One of eleven has 9.1 % of the votes, two have 18.2 %.
    for (voters, state) in [(&[0][..], 3), (&[0, 1][..], 4)] {
        let mut world = World::new(11);
        let decision = a_network(&world, "matmul");
        world.mine_blocks(1);
        decision.propose(&mut world, 0).expect("proposed");
        world.wait(DAY + 2);
        for voter in voters {
            decision.vote(&mut world, *voter, 1).expect("voted");
        }
        world.wait(7 * DAY);
        assert_eq!(decision.state(&world), state, "{voters:?}");
    }
    // A majority against defeats it, whatever the quorum.
    let mut world = World::new(3);
    let decision = a_network(&world, "matmul");
    world.mine_blocks(1);
    decision.propose(&mut world, 0).expect("proposed");
    world.wait(DAY + 2);
    for (voter, support) in [(0, 1), (1, 0), (2, 0)] {
        decision.vote(&mut world, voter, support).expect("voted");
    }
    world.wait(7 * DAY);
    assert_eq!(decision.state(&world), 3);
}

#[test]
fn dao_halves_the_interval_and_the_emission_per_hour_stays() {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    let emitted = |world: &World| {
        let terms = world.token(Token::getSupplyTermsCall {});
        terms.mintedByUpdates
    };
    world.run_round(&VOTERS, &empty_update());
    let (before, due) = (emitted(&world), world.status().dueTime);
    world.run_round(&VOTERS, &empty_update());
    assert_eq!(world.status().dueTime, due + INTERVAL);
    let in_eight_hours = emitted(&world) - before;

    let call = Coordinator::updateTimingCall {
        newInterval: U256::from(INTERVAL / 2),
    };
    let decision = Decision::new(vec![action(coordinator, call)], "every four hours");
    decision.pass_while_running(&mut world, &VOTERS);
    decision.execute(&mut world, 0).expect("executed");
    // The period that runs stays as long as it was, then they are half as long.
    assert_eq!(world.status().updateInterval, INTERVAL);
    world.run_round(&VOTERS, &empty_update());
    let status = world.status();
    assert_eq!(status.updateInterval, INTERVAL / 2);
    let due = status.dueTime;
    assert_eq!((due - world.deployment.start_time) % (INTERVAL / 2), 0);
    let before = emitted(&world);
    world.run_round(&VOTERS, &empty_update());
    assert_eq!(world.status().dueTime, due + INTERVAL / 2);
    // The next round does open four hours later, and not before.
    world.wait_until(due + INTERVAL / 2 - 4);
    assert_reverts::<Coordinator::Coordinator__ProposalTooEarly>(world.send(
        0,
        coordinator,
        Coordinator::openRoundCall {},
    ));
    world.run_round(&VOTERS, &empty_update());
    assert!(world.chain.timestamp() < due + INTERVAL / 2 + INTERVAL / 16);
    assert_eq!(
        emitted(&world) - before,
        in_eight_hours,
        "two updates in eight hours emit what one did"
    );
    assert_eq!(world.token(Token::getEmissionRateCall {}), sno(22_500));
    world.assert_books();
}

#[test]
fn dao_sets_what_the_rule_book_lists() {
    let mut world = world_with_user();
    let d = world.deployment.clone();
    world
        .chain
        .transact(
            &signer(0),
            alloy::primitives::TxKind::Call(d.timelock),
            Bytes::new(),
            U256::from(500),
        )
        .expect("the treasury takes ETH");
    let to = Address::repeat_byte(0x55);
    let actions: Actions = vec![
        action(
            d.coordinator,
            Coordinator::updateTimingCall {
                newInterval: U256::from(3_600),
            },
        ),
        action(
            d.coordinator,
            Coordinator::setApprovalPercentageCall { newPercent: 75 },
        ),
        action(
            d.token,
            Token::setValidatorLockAmountCall {
                newAmount: sno(900_000),
            },
        ),
        action(d.token, Token::setUserLockAmountCall { newAmount: sno(50) }),
        action(
            d.core,
            Core::addNetworkCall {
                name: "matmul".into(),
            },
        ),
        action(d.core, Core::removeNetworkCall { id: 0 }),
        action(
            d.token,
            Token::slashAndUnlockValidatorCall {
                validator: address(2),
                amount: sno(1),
            },
        ),
        action(d.token, Token::transferCall { to, value: sno(7) }),
        action(
            d.dao,
            Dao::updateQuorumNumeratorCall {
                newQuorumNumerator: U256::from(20),
            },
        ),
        (to, U256::from(500), Bytes::new()),
    ];
    let decision = Decision::new(actions, "all at once");
    decision.pass(&mut world, &VOTERS);
    decision.execute(&mut world, 0).expect("executed");
    assert_eq!(
        world.coordinator(Coordinator::approvalPercentageCall {}),
        75
    );
    assert_eq!(
        world.token(Token::s_validatorLockAmountCall {}),
        sno(900_000)
    );
    assert_eq!(world.token(Token::s_userLockAmountCall {}), sno(50));
    assert!(has_network(&world, "matmul") && !has_network(&world, "hash-chain"));
    assert!(!is_validator(&world, 2));
    assert_eq!(
        (world.balance(to), eth(&world, to)),
        (sno(7), U256::from(500))
    );
    assert_eq!(dao(&world, Dao::quorumNumerator_1Call {}), U256::from(20));
    let coordinator = d.coordinator;
    for n in [0, 1] {
        world
            .send(n, coordinator, Coordinator::reactivateCall {})
            .expect("back");
    }
    world.run_round(&[0, 1], &empty_update());
    assert_eq!(world.status().updateInterval, 3_600);
    world.assert_books();
}

#[test]
fn dao_cannot_mint_nor_leave_the_bounds() {
    let mut world = World::new(3);
    let d = world.deployment.clone();
    let supply = world.token(Token::totalSupplyCall {});
    let refused = [
        action(
            d.token,
            Token::createMerkleDistributionCall {
                merkleRoot: B256::ZERO,
                totalCapacity: U256::ZERO,
                approvingValidators: vec![d.timelock],
                interval: U256::from(60),
            },
        ),
        action(
            d.token,
            Token::releaseEscrowedPaymentCall {
                user: address(0),
                amount: U256::from(1),
            },
        ),
        action(
            d.token,
            Token::unlockTokensCall {
                user: address(0),
                isValidator: true,
            },
        ),
        action(
            d.token,
            Token::transferFromCall {
                from: d.token,
                to: d.timelock,
                value: sno(1),
            },
        ),
        action(
            d.coordinator,
            Coordinator::updateTimingCall {
                newInterval: U256::from(3_599),
            },
        ),
        action(
            d.coordinator,
            Coordinator::updateTimingCall {
                newInterval: U256::from(256 * 3_600 + 1),
            },
        ),
        action(
            d.coordinator,
            Coordinator::setApprovalPercentageCall { newPercent: 50 },
        ),
        action(
            d.coordinator,
            Coordinator::setApprovalPercentageCall { newPercent: 101 },
        ),
        action(
            d.token,
            Token::setValidatorLockAmountCall {
                newAmount: sno(1) - U256::from(1),
            },
        ),
        action(
            d.token,
            Token::setValidatorLockAmountCall {
                newAmount: sno(10_000_000) + U256::from(1),
            },
        ),
        action(
            d.token,
            Token::setUserLockAmountCall {
                newAmount: U256::ZERO,
            },
        ),
        action(
            d.token,
            Token::setUserLockAmountCall {
                newAmount: U256::MAX,
            },
        ),
        action(
            d.dao,
            Dao::updateQuorumNumeratorCall {
                newQuorumNumerator: U256::from(4),
            },
        ),
        action(
            d.dao,
            Dao::updateQuorumNumeratorCall {
                newQuorumNumerator: U256::from(51),
            },
        ),
        action(
            d.dao,
            Dao::updateTimelockCall {
                newTimelock: d.core,
            },
        ),
    ];
    for (place, action) in refused.into_iter().enumerate() {
        let decision = Decision::new(vec![action], format!("decision {place}"));
        decision.pass(&mut world, &VOTERS);
        let result = decision.execute(&mut world, 0);
        assert!(
            result.is_err_and(|error| error.reverted().is_some()),
            "{place}"
        );
        assert_eq!(decision.state(&world), 5, "{place}: it stays queued");
    }
    assert_eq!(world.token(Token::totalSupplyCall {}), supply);
    world.assert_books();
}

#[test]
fn dao_cannot_give_itself_a_delay_of_nothing_nor_one_without_end() {
    let day = U256::from(24 * 3_600);
    for (asked, given) in [
        (U256::ZERO, day),
        (day * U256::from(3), day * U256::from(3)),
        (U256::MAX, day * U256::from(30)),
    ] {
        let mut world = World::new(3);
        let d = world.deployment.clone();
        let update = Timelock::updateDelayCall { newDelay: asked };
        let decision = Decision::new(vec![action(d.timelock, update)], format!("delay {asked}"));
        decision.pass(&mut world, &VOTERS);
        decision.execute(&mut world, 0).expect("executed");
        let delay = world
            .chain
            .read(d.timelock, &Timelock::getMinDelayCall {})
            .expect("a view");
        assert_eq!(delay, given);
    }
}
