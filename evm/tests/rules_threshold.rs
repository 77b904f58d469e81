//! The rule book's threshold: strictly more than the percentage of the snapshot must approve.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | threshold: floor(p × n / 100) + 1, all of them at 100 % | `threshold_is_strictly_more_than_the_percentage` |
//! | threshold: the examples | `threshold_examples_of_the_rule_book` |
//! | threshold: of those in the snapshot that are still validators | `threshold_follows_those_who_are_left` |
//! | threshold: DAO-adjustable within 51–100, from the next round | `threshold_is_set_by_governance_within_bounds` |
//! | threshold: enforced | `threshold_is_what_execution_needs`, `threshold_of_100_percent_needs_everybody` |

mod contracts_support;

use alloy::primitives::U256;
use contracts_support::*;
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_evm::deployment::DeployParams;

const PERCENTAGES: [u8; 7] = [51, 60, 66, 67, 75, 90, 100];
const COUNT_MAX: u64 = 200;

/// The least number of approvals that is more than `percent` of `count`, found by trying; all of them where none is more.
fn exact(percent: u8, count: u64) -> u64 {
    (1..=count)
        .find(|approvals| 100 * approvals > u64::from(percent) * count)
        .unwrap_or(count)
}

fn set_percentage(world: &mut World, percent: u8) {
    let coordinator = world.deployment.coordinator;
    let call = Coordinator::setApprovalPercentageCall {
        newPercent: percent,
    };
    world.govern(coordinator, call).expect("within bounds");
}

fn required_of(world: &World, count: u64) -> u64 {
    world
        .coordinator(Coordinator::requiredApprovalsForCall {
            count: U256::from(count),
        })
        .to()
}

#[test]
fn threshold_examples_of_the_rule_book() {
    let world = World::new(1);
    for (count, required) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (50, 34), (100, 67)] {
        assert_eq!(required_of(&world, count), required, "of {count}");
    }
}

#[test]
fn threshold_is_strictly_more_than_the_percentage() {
    let mut world = World::new(1);
    for percent in PERCENTAGES {
        set_percentage(&mut world, percent);
        for count in 1..=COUNT_MAX {
            let required = required_of(&world, count);
            assert_eq!(required, exact(percent, count), "{percent} % of {count}");
            let formula = u64::from(percent) * count / 100 + 1;
            assert_eq!(required, formula.min(count), "{percent} % of {count}");
        }
        assert_eq!(required_of(&world, 0), 1, "nobody approves nothing");
    }
}

#[test]
fn threshold_follows_those_who_are_left() {
    for percent in PERCENTAGES {
        let mut world = World::with(
            COUNT_MAX as u32,
            DeployParams {
                approval_percent: percent,
                ..DeployParams::default()
            },
        );
        let coordinator = world.deployment.coordinator;
        world.open_round(0);
        for left in (1..=COUNT_MAX).rev() {
            let status = world.status();
            assert_eq!(status.snapshotCount, left);
            assert_eq!(
                status.requiredApprovals,
                exact(percent, left),
                "{percent} % of {left}"
            );
            world
                .send(
                    (left - 1) as u32,
                    coordinator,
                    Coordinator::removeValidatorCall {},
                )
                .expect("left");
        }
        let status = world.status();
        assert_eq!((status.snapshotCount, status.requiredApprovals), (0, 1));
    }
}

#[test]
fn threshold_is_set_by_governance_within_bounds() {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    for bad in [0, 50, 101, 255] {
        assert_reverts::<Coordinator::Coordinator__InvalidApprovalPercentage>(world.govern(
            coordinator,
            Coordinator::setApprovalPercentageCall { newPercent: bad },
        ));
    }
    assert_reverts::<Coordinator::Coordinator__NotDAO>(world.send(
        0,
        coordinator,
        Coordinator::setApprovalPercentageCall { newPercent: 75 },
    ));
    set_percentage(&mut world, 51);
    assert_eq!(world.open_round(0).requiredApprovals, 2);
    // The open round keeps the percentage that it was opened with.
    set_percentage(&mut world, 75);
    assert_eq!(world.status().requiredApprovals, 2);
    world.wait_until(world.status().expiresAt);
    assert_eq!(world.open_round(0).requiredApprovals, 3);
    assert_eq!(
        world.coordinator(Coordinator::approvalPercentageCall {}),
        75
    );
}

#[test]
fn threshold_is_what_execution_needs() {
    for percent in PERCENTAGES {
        let mut world = World::new(12);
        set_percentage(&mut world, percent);
        for count in (1..=12u32).rev() {
            world.open_round(0);
            let (proposer, hash) = (world.proposer(), world.hash(&empty_update()));
            world.propose(proposer, hash).expect("proposed");
            world.wait(INTERVAL / 32);
            for voter in 0..exact(percent, count.into()) as u32 {
                assert_reverts::<Coordinator::Coordinator__NotEnoughVotes>(world.execute(
                    proposer,
                    1,
                    &empty_update(),
                ));
                world.vote(voter, 1, hash).expect("voted");
            }
            world
                .execute(proposer, 1, &empty_update())
                .unwrap_or_else(|error| panic!("{percent} % of {count}: {error}"));
            // Those who had no need to vote must not fall inactive.
            let coordinator = world.deployment.coordinator;
            for n in 0..count {
                world
                    .send(n, coordinator, Coordinator::reactivateCall {})
                    .expect("active");
            }
            world
                .send(count - 1, coordinator, Coordinator::removeValidatorCall {})
                .expect("left");
        }
    }
}

#[test]
fn threshold_of_100_percent_needs_everybody() {
    let mut world = World::new(4);
    set_percentage(&mut world, 100);
    world.open_round(0);
    let (proposer, hash) = (world.proposer(), world.hash(&empty_update()));
    world.propose(proposer, hash).expect("proposed");
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
        .expect("everybody approved");
}
