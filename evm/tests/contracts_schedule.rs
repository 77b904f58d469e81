//! The grid of due times, the update interval, and what they do to the emission.

mod contracts_support;

use alloy::primitives::U256;
use contracts_support::*;
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token};

#[test]
fn the_interval_changes_with_the_next_period_and_the_emission_per_hour_does_not() {
    let mut world = World::new(1);
    let (coordinator, token) = (world.deployment.coordinator, world.deployment.token);
    for bad in [3_599, 256 * 3_600 + 1] {
        assert_reverts::<Coordinator::Coordinator__InvalidInterval>(world.govern(
            coordinator,
            Coordinator::updateTimingCall {
                newInterval: U256::from(bad),
            },
        ));
    }
    assert_reverts::<Coordinator::Coordinator__NotDAO>(world.send(
        0,
        coordinator,
        Coordinator::updateTimingCall {
            newInterval: U256::from(3_600),
        },
    ));
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
fn long_periods_do_not_make_everybody_inactive() {
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
