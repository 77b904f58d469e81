//! Attacks on collateral that worked against the upstream contracts: each fails here, and would succeed against a variant
//! that has the flaw.

mod contracts_support;

use alloy::primitives::U256;
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

fn stake() -> U256 {
    sno(1_000_000)
}

fn unlock(world: &mut World, n: u32) -> bool {
    let core = world.deployment.core;
    world.send(n, core, Core::unlockValidatorCall {}).is_ok()
}

fn register(world: &mut World, n: u32) -> bool {
    let core = world.deployment.core;
    let call = Core::createValidatorCall {
        publicKeyHash: key_hash(n),
    };
    world.send(n, core, call).is_ok()
}

#[test]
fn f30_collateral_can_be_unlocked() {
    attack_fails("f30", 3, |world| {
        assert!(unlock(world, 2), "the request");
        assert!(!is_validator(world, 2));
        assert!(!unlock(world, 2), "30 days are not over");
        world.wait(30 * DAY);
        let paid = unlock(world, 2);
        assert_eq!(world.balance_of(2), if paid { stake() } else { U256::ZERO });
        if paid {
            assert!(!unlock(world, 2), "once");
            world.assert_books();
        }
        !paid
    });
}

#[test]
fn f30_starting_an_unlock_dodges_no_slash() {
    attack_fails("f30b", 3, |world| {
        assert!(unlock(world, 2), "the request");
        world.wait(30 * DAY - 60);
        let slashed = world.slash(2, sno(400_000)).is_ok();
        world.wait(60);
        assert!(unlock(world, 2), "the rest is paid out in time");
        if slashed {
            assert_eq!(world.balance_of(2), sno(600_000));
            world.assert_books();
        }
        world.balance_of(2) == stake()
    });
}

#[test]
fn f31_what_a_slash_leaves_can_be_collected() {
    attack_fails("f31", 3, |world| {
        world.slash(2, sno(400_000)).expect("slashed");
        assert!(!is_validator(world, 2));
        world.wait(30 * DAY);
        let collected = unlock(world, 2);
        if collected {
            assert_eq!(world.balance_of(2), sno(600_000));
            world.assert_books();
        }
        !collected && world.token(Token::s_totalLockedCall {}) == sno(2_600_000)
    });
}

#[test]
fn f32_a_fully_slashed_validator_loses_seat_and_pay_at_once() {
    attack_fails("f32", 3, |world| {
        let coordinator = world.deployment.coordinator;
        world.open_round(0);
        let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
        let proposer = (0..2)
            .find(|n| proposers.contains(&signer(*n).address()))
            .expect("two of three are drawn");
        let hash = world.hash(&empty_update());
        world.propose(proposer, hash).expect("proposed");
        world.slash(2, stake()).expect("slashed");
        let voted = world.vote(2, 1, hash).is_ok();
        for voter in 0..2 {
            world.vote(voter, 1, hash).expect("voted");
        }
        world.wait(INTERVAL / 32);
        world
            .execute(proposer, 1, &empty_update())
            .expect("executed");
        let paid = world.balance_of(2) != U256::ZERO;
        assert_eq!(voted, paid, "who votes is paid");
        assert_eq!(is_validator(world, 2), paid, "the seat goes with it");
        // And it does not come back without a stake.
        assert!(
            world
                .send(2, coordinator, Coordinator::addValidatorCall {})
                .is_err()
        );
        assert!(!register(world, 2));
        paid
    });
}

#[test]
fn f33_a_slash_of_more_than_the_stake_takes_the_stake() {
    attack_fails("f33", 3, |world| {
        let slashed = world.slash(2, sno(2_000_000)).is_ok();
        assert_eq!(slashed, world.collateral(2, true).is_zero());
        assert_eq!(slashed, !is_validator(world, 2));
        if slashed {
            assert_eq!(world.token(Token::totalSupplyCall {}), sno(2_000_000));
            world.assert_books();
        }
        !slashed
    });
}

#[test]
fn f34_a_new_lock_does_not_overwrite_a_pending_unlock() {
    attack_fails("f34", 3, |world| {
        world.grant(&[signer(2).address()], sno(250_000));
        let free = world.balance_of(2);
        let token = world.deployment.token;
        let cut = Token::setValidatorLockAmountCall {
            newAmount: sno(250_000),
        };
        world.govern(token, cut).expect("cut");
        assert!(unlock(world, 2), "the request");
        let overwritten = register(world, 2);
        let recorded = (0..3).map(|n| world.collateral(n, true)).sum::<U256>();
        let ownerless = world.token(Token::s_totalLockedCall {}) - recorded;
        assert_eq!(overwritten, ownerless == stake());
        if !overwritten {
            world.wait(30 * DAY);
            assert!(unlock(world, 2), "all of it");
            assert_eq!(world.balance_of(2), free + stake());
            world.assert_books();
        }
        overwritten
    });
}

#[test]
fn f35_a_users_lock_does_not_touch_a_validators() {
    attack_fails("f35", 3, |world| {
        world.grant(&[signer(0).address()], sno(100));
        world.register_user(0);
        let lost = world.collateral(0, true) == sno(100);
        if !lost {
            assert_eq!(world.collateral(0, true), stake());
            assert_eq!(world.collateral(0, false), sno(100));
            // Nor does its end.
            let core = world.deployment.core;
            for _ in 0..2 {
                world
                    .send(0, core, Core::unlockUserCall {})
                    .expect("requested, then paid out");
                world.wait(30 * DAY);
            }
            assert_eq!(world.collateral(0, false), U256::ZERO);
            assert_eq!(world.collateral(0, true), stake());
            assert!(is_validator(world, 0));
            world.assert_books();
        }
        lost
    });
}

#[test]
fn f36_a_genesis_node_gets_its_collateral_and_nothing_else() {
    attack_fails("f36", 3, |world| {
        for n in 0..3 {
            assert_eq!(world.collateral(n, true), stake());
            assert!(is_validator(world, n));
        }
        let free = (0..3).map(|n| world.balance_of(n)).sum::<U256>();
        let supply = world.token(Token::totalSupplyCall {});
        assert_eq!(supply, U256::from(3) * stake() + free);
        !free.is_zero()
    });
}

#[test]
fn f47_a_raise_reaches_those_who_are_seated_after_30_days() {
    attack_fails("f47", 3, |world| {
        world.grant(&[signer(0).address()], sno(1_000));
        let (token, coordinator) = (world.deployment.token, world.deployment.coordinator);
        let raise = Token::setValidatorLockAmountCall {
            newAmount: sno(1_001_000),
        };
        world.govern(token, raise).expect("raised");
        world.run_round(&[0, 1, 2], &empty_update());
        world
            .send(0, token, Token::topUpCollateralCall { isValidator: true })
            .expect("topped up");
        world.wait(30 * DAY);
        for n in 0..3 {
            world
                .send(n, coordinator, Coordinator::reactivateCall {})
                .expect("active");
        }
        // Validators 1 and 2 kept their SNO to themselves.
        let round = world.open_round(0);
        let hash = world.hash(&empty_update());
        world.wait(INTERVAL / 4);
        world.propose(0, hash).expect("proposed");
        let counts = world.vote(1, 1, hash).is_ok();
        assert_eq!(round.snapshotCount, if counts { 3 } else { 1 });
        counts
    });
}
