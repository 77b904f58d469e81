//! The attacks on the course of rounds, on who is drawn and on who is paid that the upstream contracts allowed, numbered
//! as in the list of their flaws: each fails here, and succeeds against a variant of the contract that lacks what
//! stops it.

mod contracts_support;

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolValue};
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};
use smartnodes_evm::chain::ChainError;
use smartnodes_evm::deployment::DeployParams;
use smartnodes_evm::state_update::StateUpdate;

const DAY: u64 = 24 * 3_600;

/// Whether `voters`, and nobody else, bring a round to its end with an executed update.
fn settles(world: &mut World, voters: &[u32]) -> bool {
    let (by, coordinator) = (voters[0], world.deployment.coordinator);
    world.wait_until(world.status().dueTime);
    for _ in 0..4 {
        if world.status().phase == 4 {
            break;
        }
        let _ = world.send(by, coordinator, Coordinator::openRoundCall {});
        world.mine_blocks(3);
    }
    if world.status().phase != 4 {
        return false;
    }
    // From then on whoever it is may propose.
    world.wait(INTERVAL / 4);
    let hash = world.hash(&empty_update());
    world.propose(by, hash).expect("proposed");
    for voter in voters {
        world.vote(*voter, 1, hash).expect("voted");
    }
    world.wait(INTERVAL / 16);
    world.execute(by, 1, &empty_update()).is_ok()
}

#[test]
fn f14_a_split_vote_ends_in_the_next_round() {
    let split = |world: &mut World| {
        let (a, _) = world.proposed(0, &empty_update());
        let drawn = proposers(world);
        let second = (0..6)
            .rfind(|n| drawn.contains(&signer(*n).address()))
            .expect("three of six are drawn");
        let b = keccak256("another");
        world.propose(second, b).expect("proposed");
        for voter in 0..3 {
            world.vote(voter, 1, a).expect("voted");
            world.vote(voter + 3, 2, b).expect("voted");
        }
        assert!(!world.is_ready(1) && !world.is_ready(2));
        world.wait_until(world.status().expiresAt);
    };
    attack_fails("f14", 6, |world| {
        split(world);
        !settles(world, &[0, 1, 2, 3, 4, 5])
    });

    // The same period is settled in the next round.
    let mut world = World::new(6);
    split(&mut world);
    assert_eq!((world.status().round, world.status().phase), (2, 1));
    let due = world.status().dueTime;
    world.run_round(&[0, 1, 2, 3, 4, 5], &empty_update());
    assert_eq!(
        (world.status().round, world.status().dueTime),
        (3, due + INTERVAL)
    );
    assert_eq!(
        world.token(Token::s_currentDistributionIdCall {}),
        U256::ONE
    );
}

/// Half of four validators are gone for good after the first round; the others go on. Whether that was the last round
/// for three days and one round more.
fn halts_for_ever(world: &mut World) -> bool {
    world.run_round(&[0, 1, 2, 3], &empty_update());
    let lost_at = world.chain.timestamp();
    while world.chain.timestamp() < lost_at + 3 * DAY + INTERVAL {
        if settles(world, &[0, 1]) {
            return false;
        }
        world.wait_until(world.status().expiresAt);
    }
    true
}

#[test]
fn f15_the_rest_recovers_when_half_is_gone_for_ever() {
    attack_fails("f15", 4, halts_for_ever);

    // One of the lost returns with one transaction, and counts from the next round.
    let mut world = World::new(4);
    let coordinator = world.deployment.coordinator;
    assert!(!halts_for_ever(&mut world));
    assert!(!world.coordinator(Coordinator::isActiveCall {
        account: signer(2).address()
    }));
    let (hash, proposer) = world.proposed(0, &empty_update());
    assert_eq!(world.status().snapshotCount, 2);
    world
        .send(2, coordinator, Coordinator::reactivateCall {})
        .expect("back");
    assert_eq!(world.status().snapshotCount, 2);
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.vote(2, 1, hash));
    world.vote(0, 1, hash).expect("voted");
    world.vote(1, 1, hash).expect("voted");
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
    assert_eq!(world.open_round(0).snapshotCount, 3);
}

#[test]
fn f16_an_approved_proposal_expires_with_its_round() {
    let approved = |world: &mut World| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        for voter in 0..3 {
            world.vote(voter, 1, hash).expect("voted");
        }
        (hash, proposer)
    };
    attack_fails("f16", 3, |world| {
        let (_, proposer) = approved(world);
        world.wait(10 * DAY);
        world.execute(proposer, 1, &empty_update()).is_ok()
    });

    let mut world = World::new(3);
    let (hash, proposer) = approved(&mut world);
    world.wait_until(world.status().expiresAt);
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.vote(proposer, 1, hash));
    assert_reverts::<Coordinator::Coordinator__RoundNotOpen>(world.execute(
        proposer,
        1,
        &empty_update(),
    ));
}

#[test]
fn f16_a_proposal_too_late_for_others_to_execute_is_refused() {
    attack_fails("f16b", 3, |world| {
        let expiry = world.open_round(0).expiresAt;
        let attacker = world.proposer();
        let hash = world.hash(&empty_update());
        world.wait_until(expiry - 60);
        if world.propose(attacker, hash).is_err() {
            return false;
        }
        for voter in 0..3 {
            world.vote(voter, 1, hash).expect("voted");
        }
        assert!(world.is_ready(1));
        let other = u32::from(attacker == 0);
        let at_once = world.execute(other, 1, &empty_update()).is_ok();
        world.wait(INTERVAL / 16);
        !at_once && world.execute(other, 1, &empty_update()).is_err()
    });
}

/// The proposers that this block would draw in the first round, in which nobody goes first.
fn draw(world: &World, block_hash: B256, count: usize) -> BTreeSet<Address> {
    let round = U256::from(world.status().round);
    let seed = keccak256((block_hash, world.deployment.coordinator, round).abi_encode());
    let mut ranks: Vec<_> = world
        .coordinator(Coordinator::getValidatorsCall {})
        .into_iter()
        .map(|member| (keccak256((seed, member).abi_encode()), member))
        .collect();
    ranks.sort();
    ranks[..count].iter().map(|(_, member)| *member).collect()
}

fn proposers(world: &World) -> BTreeSet<Address> {
    world
        .coordinator(Coordinator::getCurrentRoundValidatorsCall {})
        .into_iter()
        .collect()
}

fn move_on(world: &mut World) {
    let coordinator = world.deployment.coordinator;
    world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("openRound");
}

#[test]
fn f17_who_opens_a_round_does_not_choose_its_proposers() {
    let mut as_sealed = false;
    attack_fails("f17", 6, |world| {
        world.wait_until(world.status().dueTime);
        move_on(world);
        let sealed = world.chain.block_number() + 2;
        world.mine_blocks(3);
        let block = world.chain.block(sealed.into(), false).expect("mined");
        let honest = draw(world, block.header.hash, 3);
        // Waits, block by block, until it would draw exactly the others.
        let others = |set: &BTreeSet<Address>| set.is_disjoint(&honest);
        for _ in 0..200 {
            if others(&draw(world, world.chain.block_hash(), 3)) {
                break;
            }
            world.mine_blocks(1);
        }
        assert!(others(&draw(world, world.chain.block_hash(), 3)));
        move_on(world);
        as_sealed |= proposers(world) == honest;
        others(&proposers(world))
    });
    assert!(as_sealed, "the sealed block drew the proposers");
}

#[test]
fn f17_who_seals_a_draw_does_not_know_its_proposers() {
    // Five of twelve are one of 792 sets: guessing is no explanation.
    attack_fails("f17b", 12, |world| {
        world.wait_until(world.status().dueTime);
        let known = draw(world, world.chain.block_hash(), 5);
        move_on(world);
        world.mine_blocks(3);
        move_on(world);
        proposers(world) == known
    });

    // A draw that nobody used in time is sealed again: its block's hash is out of reach.
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    world.wait_until(world.status().dueTime);
    move_on(&mut world);
    world.mine_blocks(252);
    assert_eq!(world.status().phase, 3);
    world.mine_blocks(1);
    assert_eq!(world.status().phase, 1);
    let receipt = world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("sealed again");
    assert_eq!(events::<Coordinator::DrawSealed>(&receipt).len(), 1);
    world.open_round(0);
}

#[test]
fn f18_a_removed_validator_does_not_come_back_by_one_call() {
    let update = StateUpdate {
        validatorsToRemove: vec![signer(3).address()],
        ..empty_update()
    };
    attack_fails("f18", 4, |world| {
        world.run_round(&[0, 1, 2], &update);
        let joined = world.join(3).is_ok();
        let account = signer(3).address();
        world.open_round(0);
        joined && world.coordinator(Coordinator::isSnapshotValidatorCall { account })
    });

    let mut world = World::new(4);
    world.run_round(&[0, 1, 2], &update);
    assert!(!world.coordinator(Coordinator::isValidatorCall {
        account: signer(3).address()
    }));
    for _ in 0..3 {
        assert_reverts::<Coordinator::Coordinator__CoolDown>(world.join(3));
        world.run_round(&[0, 1, 2], &empty_update());
    }
    world.join(3).expect("joined");
    assert_eq!(world.open_round(0).snapshotCount, 4);
}

#[test]
fn f19_the_validators_of_the_deployment_work() {
    let works = |variant: Option<&Variant>| {
        World::deploy(3, DeployParams::default(), variant)
            .is_ok_and(|mut world| settles(&mut world, &[0, 1, 2]))
    };
    assert!(works(None));
    assert!(!works(Some(&Variant::load("f19"))));
}

/// What the validators 0 to `count` - 1 have got, sent or to be collected.
fn paid(world: &World, count: u32) -> Vec<U256> {
    (0..count)
        .map(|n| {
            let credit = world.token(Token::s_creditsCall {
                account: signer(n).address(),
            });
            world.balance_of(n) + U256::from(credit.sno)
        })
        .collect()
}

#[test]
fn f25_more_validators_than_a_byte_counts_are_all_paid() {
    for count in [256, 257] {
        attack_fails("f25", count, |world| {
            let (hash, proposer) = world.proposed(0, &empty_update());
            for voter in 0..count {
                world.vote(voter, 1, hash).expect("voted");
            }
            let executed = world.execute(proposer, 1, &empty_update());
            let each = sno(4_500) / U256::from(count);
            executed.is_err() || paid(world, count).iter().any(|amount| *amount != each)
        });
    }
}

/// The most gas that a transaction may have on Base and since Osaka (EIP-7825).
const TRANSACTION_GAS_MAX: u64 = 1 << 24;

/// Executes the first proposal as its creator, by a transaction that a chain with that limit takes.
fn execute_within_the_limit(
    world: &mut World,
    creator: u32,
    update: &StateUpdate,
) -> Result<TransactionReceipt, ChainError> {
    let call = Coordinator::executeProposalCall {
        proposalNum: 1,
        update: update.clone(),
    };
    let sent = world.chain.send_with_gas(
        &signer(creator),
        TxKind::Call(world.deployment.coordinator),
        call.abi_encode().into(),
        U256::ZERO,
        TRANSACTION_GAS_MAX,
    )?;
    world.chain.mine_for(sent)
}

/// Opens a round with a proposal that all `count` validators approve; its creator.
fn approved_by_all(world: &mut World, count: u32) -> u32 {
    let (hash, creator) = world.proposed(0, &empty_update());
    assert_eq!(world.status().snapshotCount, u64::from(count));
    for voter in 0..count {
        world.vote(voter, 1, hash).expect("voted");
    }
    creator
}

#[test]
fn f25_paying_hundreds_for_the_first_time_fits_into_a_transaction() {
    attack_fails("f25b", 600, |world| {
        let creator = approved_by_all(world, 600);
        execute_within_the_limit(world, creator, &empty_update()).is_err()
    });
}

/// A network of `count` validators. Their addresses do not all fit into the deployment: the others register.
fn large_network(count: u32) -> World {
    const GENESIS: u32 = 500;
    let mut world = World::new(GENESIS);
    let (core, token) = (world.deployment.core, world.deployment.token);
    let enough: Vec<u32> = (0..GENESIS * 2 / 3).collect();
    world.run_round(&enough, &empty_update());
    let stake = sno(1);
    let lower = Token::setValidatorLockAmountCall { newAmount: stake };
    world.govern(token, lower).expect("lowered");
    let stakes = Token::transferCall {
        to: signer(0).address(),
        value: stake * U256::from(count - GENESIS),
    };
    world.govern(token, stakes).expect("out of the treasury");
    for n in GENESIS..count {
        let to = signer(n).address();
        let gas_money = U256::from(SNO);
        world
            .chain
            .transact(&signer(USER), TxKind::Call(to), Bytes::new(), gas_money)
            .expect("gas money");
        world
            .send(0, token, Token::transferCall { to, value: stake })
            .expect("sent");
        let register = Core::createValidatorCall {
            publicKeyHash: key_hash(n),
        };
        world.send(n, core, register).expect("registered");
    }
    world
}

#[test]
fn f25_a_thousand_validators_open_and_execute_a_round() {
    const COUNT: u32 = 1_000;
    let mut world = large_network(COUNT);
    let creator = approved_by_all(&mut world, COUNT);
    // The proposal is in the block after the draw's, and each vote in one of its own.
    let draw = world.chain.block_number() - u64::from(COUNT) - 1;
    let receipts = world.chain.block_receipts(draw.into()).expect("mined");
    assert_eq!(events::<Coordinator::RoundOpened>(&receipts[0]).len(), 1);
    assert!(
        receipts[0].gas_used < TRANSACTION_GAS_MAX * 3 / 4,
        "{}",
        receipts[0].gas_used
    );
    let before = paid(&world, COUNT);
    execute_within_the_limit(&mut world, creator, &empty_update()).expect("executed");
    let each = sno(4_500) / U256::from(COUNT);
    let after = paid(&world, COUNT);
    assert!((0..COUNT as usize).all(|n| after[n] == before[n] + each));
    world.assert_books();
}

#[test]
fn f25_257_validators_collect_their_pay() {
    const COUNT: u32 = 257;
    let mut world = World::new(COUNT);
    let token = world.deployment.token;
    let creator = approved_by_all(&mut world, COUNT);
    let receipt = world
        .execute(creator, 1, &empty_update())
        .expect("executed");
    assert!(
        receipt.gas_used < u64::from(COUNT) * 15_000,
        "{}",
        receipt.gas_used
    );
    world.assert_books();
    let each = sno(4_500) / U256::from(COUNT);
    assert_eq!(paid(&world, COUNT), vec![each; COUNT as usize]);
    assert_eq!(
        world.balance(world.deployment.timelock),
        sno(6_750) - each * U256::from(COUNT),
        "every remainder is the treasury's"
    );
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
fn f28_the_remainder_is_the_treasurys_when_the_executor_did_not_vote() {
    attack_fails("f28", 8, |world| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        let executor = u32::from(proposer == 0);
        for voter in (0..8).filter(|n| *n != executor) {
            world.vote(voter, 1, hash).expect("voted");
        }
        world.wait(INTERVAL / 16);
        world
            .execute(executor, 1, &empty_update())
            .expect("executed");
        let validators: U256 = paid(world, 8).iter().sum();
        let treasury = world.balance(world.deployment.timelock);
        // A seventh of 4,500 SNO is not a whole number of wei.
        assert_eq!(validators, sno(4_500) / U256::from(7) * U256::from(7));
        assert_ne!(validators, sno(4_500));
        validators + treasury != sno(6_750)
    });
}

#[test]
fn f29_a_late_honest_vote_is_not_cut_off_from_its_pay() {
    attack_fails("f29", 5, |world| {
        let (hash, proposer) = world.proposed(0, &empty_update());
        let late = u32::from(proposer == 0);
        for voter in (0..5).filter(|n| *n != late) {
            world.vote(voter, 1, hash).expect("voted");
        }
        let at_once = world.execute(proposer, 1, &empty_update()).is_ok();
        world.wait(60);
        if world.vote(late, 1, hash).is_ok() {
            // Nobody is left to wait for.
            world
                .execute(proposer, 1, &empty_update())
                .expect("executed");
        }
        at_once && world.balance_of(late) == U256::ZERO
    });

    let mut world = World::new(5);
    let (hash, proposer) = world.proposed(0, &empty_update());
    for voter in 0..4 {
        world.vote(voter, 1, hash).expect("voted");
    }
    assert_reverts::<Coordinator::Coordinator__VotingWindowOpen>(world.execute(
        proposer,
        1,
        &empty_update(),
    ));
    world.wait(INTERVAL / 32);
    world
        .execute(proposer, 1, &empty_update())
        .expect("executed");
}

#[test]
fn f46_late_rounds_do_not_shift_the_later_ones() {
    const PERIODS: u64 = 12;
    attack_fails("f46", 1, |world| {
        let end = world.deployment.start_time + (PERIODS + 1) * INTERVAL;
        while world.status().dueTime < end {
            world.wait_until(world.status().dueTime + INTERVAL / 8);
            world.run_round(&[0], &empty_update());
        }
        // One update for each period, and the emission of each.
        world.token(Token::s_currentDistributionIdCall {}) < U256::from(PERIODS)
            || world.balance_of(0) < sno(4_500 * PERIODS)
    });

    let mut world = World::new(1);
    let start = world.deployment.start_time;
    world.run_round(&[0], &empty_update());
    assert_eq!(world.status().dueTime, start + 2 * INTERVAL);
    // Seven hours late.
    world.wait_until(start + 3 * INTERVAL - 3_600);
    world.run_round(&[0], &empty_update());
    assert_eq!(world.status().dueTime, start + 3 * INTERVAL);
    // Two whole periods late: they are not paid back.
    world.wait_until(start + 5 * INTERVAL + 60);
    world.run_round(&[0], &empty_update());
    assert_eq!(world.status().dueTime, start + 6 * INTERVAL);
    assert_eq!(
        world.token(Token::s_currentDistributionIdCall {}),
        U256::from(3)
    );
    assert_eq!(world.balance_of(0), sno(4_500 * 3));
}
