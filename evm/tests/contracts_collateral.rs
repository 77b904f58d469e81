//! Collateral: lock, unlock, slash, top up, and the voting power that stays with its owner. Flaw numbers are those of the
//! upstream contracts that ours must not have.

mod contracts_support;

use alloy::primitives::{B256, U256};
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

const DAY: u64 = 24 * 3_600;

fn credential(world: &World, n: u32) -> B256 {
    world.core(Core::credentialOfCall {
        account: signer(n).address(),
    })
}

fn verified(world: &World, n: u32) -> bool {
    world.core(Core::isVerifiedValidatorCall {
        account: signer(n).address(),
        publicKeyHash: key_hash(n),
    })
}

fn is_validator(world: &World, n: u32) -> bool {
    world.coordinator(Coordinator::isValidatorCall {
        account: signer(n).address(),
    })
}

fn votes(world: &World, n: u32) -> U256 {
    world.token(Token::getVotesCall {
        account: signer(n).address(),
    })
}

#[test]
fn collateral_comes_back_after_30_days_and_can_be_slashed_until_then() {
    let mut world = World::new(4);
    let (core, token) = (world.deployment.core, world.deployment.token);
    for n in [2, 3] {
        world
            .send(n, core, Core::unlockValidatorCall {})
            .expect("requested");
        assert!(
            !is_validator(&world, n) && !verified(&world, n) && credential(&world, n).is_zero()
        );
        assert_eq!(
            votes(&world, n),
            sno(1_000_000),
            "its voting power stays until it is paid out, and after"
        );
    }
    assert_reverts::<Token::Token__UnlockPending>(world.send(
        2,
        core,
        Core::unlockValidatorCall {},
    ));
    // F35: a pending unlock is not overwritten.
    assert_reverts::<Token::Token__AlreadyLocked>(world.send(
        2,
        core,
        Core::createValidatorCall {
            publicKeyHash: key_hash(2),
        },
    ));
    // F33: more than the stake is the stake, and unlocking does not dodge it.
    world
        .govern(
            token,
            Token::slashAndUnlockValidatorCall {
                validator: signer(3).address(),
                amount: sno(2_000_000),
            },
        )
        .expect("slashed");
    assert_eq!(world.token(Token::totalSupplyCall {}), sno(3_000_000));
    assert_eq!(votes(&world, 3), U256::ZERO);
    world.assert_books();
    world.wait(30 * DAY);
    world
        .send(2, core, Core::unlockValidatorCall {})
        .expect("paid out");
    assert_eq!(
        (world.balance_of(2), votes(&world, 2)),
        (sno(1_000_000), sno(1_000_000))
    );
    assert_reverts::<Token::Token__NotLocked>(world.send(2, core, Core::unlockValidatorCall {}));
    assert_reverts::<Token::Token__NotLocked>(world.send(3, core, Core::unlockValidatorCall {}));
    world.assert_books();
    // And back again, from the start.
    world.mine_blocks(1);
    world
        .send(
            2,
            core,
            Core::createValidatorCall {
                publicKeyHash: key_hash(2),
            },
        )
        .expect("registered again");
    assert!(verified(&world, 2));
    assert_reverts::<Token::Token__InsufficientBalance>(world.send(
        3,
        core,
        Core::createValidatorCall {
            publicKeyHash: key_hash(3),
        },
    ));
}

#[test]
fn a_slashed_validator_is_out_at_once_and_collects_the_rest() {
    let mut world = World::new(3);
    let (core, token) = (world.deployment.core, world.deployment.token);
    world.open_round(0);
    let (proposer, hash) = (world.proposer(), world.hash(&empty_update()));
    world.propose(proposer, hash).expect("proposed");
    world.vote(1, 1, hash).expect("voted");
    let call = Token::slashAndUnlockValidatorCall {
        validator: signer(1).address(),
        amount: sno(400_000),
    };
    let receipt = world.govern(token, call.clone()).expect("slashed");
    let slashed: Vec<Token::ValidatorSlashed> = events(&receipt);
    assert_eq!(
        (slashed[0].slashedAmount, slashed[0].remainingAmount),
        (sno(400_000), sno(600_000))
    );
    assert!(!is_validator(&world, 1) && !verified(&world, 1));
    assert_eq!(
        world.coordinator(Coordinator::getProposalsCall {})[0].votes,
        0
    );
    assert_eq!(world.status().snapshotCount, 2);
    assert_eq!(world.token(Token::totalSupplyCall {}), sno(2_600_000));
    assert_eq!(votes(&world, 1), sno(600_000));
    world.assert_books();
    world.wait(30 * DAY);
    world
        .send(1, core, Core::unlockValidatorCall {})
        .expect("the rest");
    assert_eq!(world.balance_of(1), sno(600_000));
    assert_reverts::<Token::Token__NotValidator>(world.govern(token, call));
    world.assert_books();
}

#[test]
fn a_validator_that_is_a_user_too_has_two_records() {
    let mut world = World::new(3);
    let core = world.deployment.core;
    world.run_round(&[0, 1, 2], &empty_update());
    world.mine_blocks(1);
    world
        .send(
            0,
            core,
            Core::createUserCall {
                publicKeyHash: key_hash(100),
            },
        )
        .expect("a user too");
    let lock = |world: &World, validator: bool| {
        world
            .token(Token::lockOfCall {
                user: signer(0).address(),
                isValidator: validator,
            })
            .amount
    };
    assert_eq!(
        (lock(&world, true), lock(&world, false)),
        (sno(1_000_000), sno(100))
    );
    assert_eq!(credential(&world, 0), key_hash(0));
    assert_reverts::<Core::Core__NodeExists>(world.send(
        0,
        core,
        Core::createUserCall {
            publicKeyHash: key_hash(1),
        },
    ));
    world
        .send(0, core, Core::unlockUserCall {})
        .expect("requested");
    assert!(
        !world.core(Core::isUserCall {
            account: signer(0).address()
        }) && verified(&world, 0)
    );
    world.wait(30 * DAY);
    world
        .send(0, core, Core::unlockUserCall {})
        .expect("paid out");
    assert_eq!(
        (lock(&world, true), lock(&world, false)),
        (sno(1_000_000), U256::ZERO)
    );
    assert!(verified(&world, 0));
    world.assert_books();
}

#[test]
fn a_raise_gives_30_days_to_top_up() {
    let mut world = World::new(3);
    let (coordinator, token) = (world.deployment.coordinator, world.deployment.token);
    world.run_round(&[0, 1, 2], &empty_update());
    let raise = Token::setValidatorLockAmountCall {
        newAmount: sno(1_001_000),
    };
    world.govern(token, raise).expect("raised");
    assert!((0..3).all(|n| verified(&world, n)));
    world.mine_blocks(1);
    world
        .send(0, token, Token::topUpCollateralCall { isValidator: true })
        .expect("topped up");
    assert_reverts::<Token::Token__AlreadyLocked>(world.send(
        0,
        token,
        Token::topUpCollateralCall { isValidator: true },
    ));
    assert_eq!(world.balance_of(0), sno(500));
    world.wait(30 * DAY);
    for n in 0..3 {
        world
            .send(n, coordinator, Coordinator::reactivateCall {})
            .expect("active");
    }
    assert!(verified(&world, 0) && !verified(&world, 1));
    assert_eq!(world.open_round(0).snapshotCount, 1);
    // Topping up in the round counts from the next.
    world
        .send(1, token, Token::topUpCollateralCall { isValidator: true })
        .expect("topped up");
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
fn voting_power_follows_the_tokens_and_the_total_follows_the_supply() {
    let mut world = World::new(3);
    let (tree, update) = work(1, &[(500, 1)]);
    world.run_round(&[0, 1, 2], &update);
    let token = world.deployment.token;
    world
        .send(
            500,
            token,
            Token::delegateCall {
                delegatee: signer(500).address(),
            },
        )
        .expect("delegated");
    claim(&mut world, 500, 1, 1, &tree).expect("claimed");
    assert_eq!(votes(&world, 500), sno(38_250));
    assert_eq!(votes(&world, 0), sno(1_000_000) + sno(1_500));
    world.mine_blocks(1);
    world
        .send(
            500,
            token,
            Token::transferCall {
                to: signer(0).address(),
                value: sno(250),
            },
        )
        .expect("sent");
    assert_eq!(
        (votes(&world, 500), votes(&world, 0)),
        (sno(38_000), sno(1_001_750))
    );
    world.run_round(&[0, 1, 2], &empty_update());
    let at = U256::from(world.chain.timestamp());
    world.mine_blocks(1);
    let total = world.token(Token::getPastTotalSupplyCall { timepoint: at });
    assert_eq!(total, world.token(Token::totalSupplyCall {}));
    assert_eq!(total, sno(3_000_000 + 2 * 6_750 + 38_250));
}
