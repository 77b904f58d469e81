//! The rule book's collateral: what is locked, how it comes back, what governance changes, and what a slash does.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | collateral: 1,000,000 SNO validator, 100 SNO user | `collateral_is_1_000_000_sno_of_a_validator_and_100_of_a_user` |
//! | a validator that is a user too | `collateral_of_a_validator_that_is_a_user_too_is_two_records` |
//! | DAO can change both; a raise gives 30 days to top up, then inactive | `collateral_raised_gives_30_days_to_top_up`, `collateral_changes_by_governance_only_and_never_to_nothing` |
//! | unlock takes 30 days from request, then pays out | `collateral_is_paid_out_30_days_after_the_request_and_votes_until_then` |
//! | slash by DAO burns and ends the role at once | `slash_burns_and_ends_the_role_at_once`, `slash_reaches_collateral_that_is_being_unlocked` |

mod contracts_support;

use alloy::primitives::U256;
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

fn lock(world: &World, n: u32, validator: bool) -> Token::lockOfReturn {
    world.token(Token::lockOfCall {
        user: address(n),
        isValidator: validator,
    })
}

fn register(n: u32) -> Core::createValidatorCall {
    Core::createValidatorCall {
        publicKeyHash: key_hash(n),
    }
}

fn slash(n: u32, amount: u64) -> Token::slashAndUnlockValidatorCall {
    Token::slashAndUnlockValidatorCall {
        validator: address(n),
        amount: sno(amount),
    }
}

#[test]
fn collateral_is_1_000_000_sno_of_a_validator_and_100_of_a_user() {
    let mut world = world_with_user();
    let (core, token) = (world.deployment.core, world.deployment.token);
    assert_eq!(
        world.token(Token::s_validatorLockAmountCall {}),
        sno(1_000_000)
    );
    assert_eq!(world.token(Token::s_userLockAmountCall {}), sno(100));
    assert_eq!(lock(&world, 0, true).amount, sno(1_000_000));
    let user = lock(&world, USER, false);
    assert_eq!((user.amount, user.exists), (sno(100), true));
    assert_eq!(world.balance_of(USER), sno(900));
    assert!(world.core(Core::isUserCall {
        account: address(USER)
    }));
    // Less than that is not enough, exactly that is.
    let send = |to, value| Token::transferCall {
        to: address(to),
        value,
    };
    world
        .send(FIRST_WORKER, token, send(501, sno(100) - U256::ONE))
        .expect("sent");
    let create = Core::createUserCall {
        publicKeyHash: key_hash(501),
    };
    assert_reverts::<Token::Token__InsufficientBalance>(world.send(501, core, create.clone()));
    world
        .send(FIRST_WORKER, token, send(501, U256::ONE))
        .expect("sent");
    world.send(501, core, create).expect("registered");
    assert_eq!(world.balance_of(501), U256::ZERO);
    assert_reverts::<Token::Token__InsufficientBalance>(world.send(USER, core, register(USER)));
    world.assert_books();
}

#[test]
fn collateral_of_a_validator_that_is_a_user_too_is_two_records() {
    let mut world = World::new(3);
    let core = world.deployment.core;
    world.run_round(&VOTERS, &empty_update());
    world.mine_blocks(1);
    let create = |n| Core::createUserCall {
        publicKeyHash: key_hash(n),
    };
    world.send(0, core, create(100)).expect("a user too");
    let locked = |world: &World| {
        (
            lock(world, 0, true).amount,
            lock(world, 0, false).amount,
            world.token(Token::s_totalLockedCall {}),
        )
    };
    assert_eq!(
        locked(&world),
        (sno(1_000_000), sno(100), sno(3_000_000 + 100))
    );
    assert_eq!(credential(&world, 0), key_hash(0));
    assert_reverts::<Core::Core__NodeExists>(world.send(0, core, create(1)));
    world
        .send(0, core, Core::unlockUserCall {})
        .expect("requested");
    let is_user = Core::isUserCall {
        account: address(0),
    };
    assert!(!world.core(is_user) && verified(&world, 0));
    world.wait(30 * DAY);
    world
        .send(0, core, Core::unlockUserCall {})
        .expect("paid out");
    assert_eq!(locked(&world), (sno(1_000_000), U256::ZERO, sno(3_000_000)));
    assert!(verified(&world, 0));
    world.assert_books();
}

#[test]
fn collateral_raised_gives_30_days_to_top_up() {
    let mut world = World::new(3);
    let (coordinator, token) = (world.deployment.coordinator, world.deployment.token);
    world.run_round(&VOTERS, &empty_update());
    let raise = Token::setValidatorLockAmountCall {
        newAmount: sno(1_001_000),
    };
    world.govern(token, raise).expect("raised");
    assert!((0..3).all(|n| verified(&world, n)));
    world.mine_blocks(1);
    let top_up = Token::topUpCollateralCall { isValidator: true };
    world.send(0, token, top_up.clone()).expect("topped up");
    assert_reverts::<Token::Token__AlreadyLocked>(world.send(0, token, top_up.clone()));
    assert_eq!(world.balance_of(0), sno(500));
    world.wait(30 * DAY - 60);
    assert!(verified(&world, 1), "a minute is left");
    world.wait(60);
    for n in 0..3 {
        world
            .send(n, coordinator, Coordinator::reactivateCall {})
            .expect("active");
    }
    assert!(verified(&world, 0) && !verified(&world, 1));
    assert_eq!(world.open_round(0).snapshotCount, 1);
    // Topping up in the round counts from the next.
    world.send(1, token, top_up).expect("topped up");
    assert!(verified(&world, 1));
    let hash = world.hash(&empty_update());
    world.propose(0, hash).expect("proposed");
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(1, 1, hash));
    world.vote(0, 1, hash).expect("voted");
    world.execute(0, 1, &empty_update()).expect("executed");
    assert_eq!(world.open_round(0).snapshotCount, 2);
    world.assert_books();
}

#[test]
fn collateral_changes_by_governance_only_and_never_to_nothing() {
    let mut world = world_with_user();
    let (core, token) = (world.deployment.core, world.deployment.token);
    let validators = |amount| Token::setValidatorLockAmountCall {
        newAmount: sno(amount),
    };
    let users = |amount| Token::setUserLockAmountCall {
        newAmount: sno(amount),
    };
    assert_reverts::<Token::Token__OnlyDAO>(world.send(0, token, validators(1)));
    assert_reverts::<Token::Token__OnlyDAO>(world.send(0, token, users(1)));
    assert_reverts::<Token::Token__InvalidLockAmount>(world.govern(token, validators(0)));
    assert_reverts::<Token::Token__InvalidLockAmount>(world.govern(token, users(0)));
    // A cut works at once, for newcomers and for those already there.
    world.govern(token, validators(500)).expect("cut");
    world.send(USER, core, register(USER)).expect("registered");
    assert_eq!(lock(&world, USER, true).amount, sno(500));
    assert!(verified(&world, USER) && verified(&world, 0));
    // A raise of the user's: thirty days for those there, at once for newcomers.
    world.govern(token, users(150)).expect("raised");
    let is_user = || Core::isUserCall {
        account: address(USER),
    };
    assert!(world.core(is_user()));
    world.wait(30 * DAY);
    assert!(!world.core(is_user()));
    world
        .send(
            USER,
            token,
            Token::topUpCollateralCall { isValidator: false },
        )
        .expect("topped up");
    assert!(world.core(is_user()));
    assert_eq!(lock(&world, USER, false).amount, sno(150));
    world.assert_books();
}

#[test]
fn collateral_is_paid_out_30_days_after_the_request_and_votes_until_then() {
    let mut world = World::new(4);
    let core = world.deployment.core;
    let unlock = Core::unlockValidatorCall {};
    world.send(2, core, unlock.clone()).expect("requested");
    let unlock_time = world.chain.timestamp() + 30 * DAY;
    assert_eq!(lock(&world, 2, true).unlockTime, U256::from(unlock_time));
    assert!(!is_validator(&world, 2) && !verified(&world, 2));
    assert!(credential(&world, 2).is_zero());
    assert_eq!(votes(&world, 2), sno(1_000_000), "until it is paid out");
    assert_reverts::<Token::Token__UnlockPending>(world.send(2, core, unlock.clone()));
    // A pending unlock is not overwritten.
    assert_reverts::<Token::Token__AlreadyLocked>(world.send(2, core, register(2)));
    world.wait_until(unlock_time - 3);
    assert_reverts::<Token::Token__UnlockPending>(world.send(2, core, unlock.clone()));
    world.wait_until(unlock_time);
    world.send(2, core, unlock.clone()).expect("paid out");
    assert_eq!(
        (world.balance_of(2), votes(&world, 2)),
        (sno(1_000_000), sno(1_000_000)),
        "and after"
    );
    assert_reverts::<Token::Token__NotLocked>(world.send(2, core, unlock));
    world.assert_books();
    // And back again, from the start.
    world.mine_blocks(1);
    world.send(2, core, register(2)).expect("registered again");
    assert!(verified(&world, 2));
    world.assert_books();
}

#[test]
fn slash_burns_and_ends_the_role_at_once() {
    let mut world = World::new(3);
    let (core, token) = (world.deployment.core, world.deployment.token);
    let (hash, _) = proposed(&mut world, 0, &empty_update());
    world.vote(1, 1, hash).expect("voted");
    assert_reverts::<Token::Token__OnlyDAO>(world.send(0, token, slash(1, 400_000)));
    let receipt = world.govern(token, slash(1, 400_000)).expect("slashed");
    let slashed: Vec<Token::ValidatorSlashed> = events(&receipt);
    assert_eq!(
        (slashed[0].slashedAmount, slashed[0].remainingAmount),
        (sno(400_000), sno(600_000))
    );
    assert!(!is_validator(&world, 1) && !verified(&world, 1));
    let proposals = world.coordinator(Coordinator::getProposalsCall {});
    assert_eq!(proposals[0].votes, 0);
    assert_eq!(world.status().snapshotCount, 2);
    assert_eq!(world.token(Token::totalSupplyCall {}), sno(2_600_000));
    assert_eq!(world.token(Token::s_totalBurnedCall {}), sno(400_000));
    assert_eq!(votes(&world, 1), sno(600_000));
    world.assert_books();
    world.wait(30 * DAY);
    world
        .send(1, core, Core::unlockValidatorCall {})
        .expect("the rest");
    assert_eq!(world.balance_of(1), sno(600_000));
    assert_reverts::<Token::Token__NotValidator>(world.govern(token, slash(1, 400_000)));
    world.assert_books();
}

#[test]
fn slash_reaches_collateral_that_is_being_unlocked() {
    let mut world = World::new(4);
    let (core, token) = (world.deployment.core, world.deployment.token);
    let unlock = Core::unlockValidatorCall {};
    world.send(3, core, unlock.clone()).expect("requested");
    world.wait(29 * DAY);
    // More than the stake is the stake.
    world.govern(token, slash(3, 2_000_000)).expect("slashed");
    assert_eq!(world.token(Token::totalSupplyCall {}), sno(3_000_000));
    assert_eq!(votes(&world, 3), U256::ZERO);
    world.wait(DAY);
    assert_reverts::<Token::Token__NotLocked>(world.send(3, core, unlock));
    assert_reverts::<Token::Token__InsufficientBalance>(world.send(3, core, register(3)));
    world.assert_books();
}
