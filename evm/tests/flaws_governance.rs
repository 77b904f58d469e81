//! Attacks on the deployment, on upgrades and on governance that worked against the upstream contracts: each fails here,
//! and would succeed against a variant that has the flaw.

mod contracts_support;

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, uint};
use alloy::sol_types::{SolCall, SolConstructor};
use contracts_support::governance::Decision;
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

/// An account without any right.
const ATTACKER: u32 = 9;
/// Where a proxy keeps its implementation (ERC-1967).
const IMPLEMENTATION: U256 =
    uint!(0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc_U256);

fn implementation(world: &World, proxy: Address) -> Address {
    let stored = world
        .chain
        .storage(proxy, IMPLEMENTATION, BlockId::latest())
        .expect("latest");
    Address::from_word(stored.into())
}

/// Deploys an implementation of Core that obeys `timelock`.
fn deploy_core(world: &mut World, timelock: Address) -> Address {
    let constructor = Core::constructorCall {
        token: world.deployment.token,
        coordinator: world.deployment.coordinator,
        timelock,
    };
    let code: Bytes = [Core::BYTECODE.as_ref(), &constructor.abi_encode()]
        .concat()
        .into();
    world
        .chain
        .transact(&signer(ATTACKER), TxKind::Create, code, U256::ZERO)
        .expect("deployed")
        .contract_address
        .expect("a contract")
}

fn upgrade(implementation: Address) -> Core::upgradeToAndCallCall {
    Core::upgradeToAndCallCall {
        newImplementation: implementation,
        data: Bytes::new(),
    }
}

fn action(target: Address, call: impl SolCall) -> (Address, U256, Bytes) {
    (target, U256::ZERO, call.abi_encode().into())
}

fn set_interval(seconds: U256) -> Coordinator::updateTimingCall {
    Coordinator::updateTimingCall {
        newInterval: seconds,
    }
}

#[test]
fn f37_a_shorter_interval_does_not_raise_the_emission_per_hour() {
    attack_fails("f37", 3, |world| {
        let coordinator = world.deployment.coordinator;
        world
            .govern(coordinator, set_interval(U256::from(3_600)))
            .expect("eight times as often");
        world.run_round(&[0, 1, 2], &empty_update());
        world.wait_until(world.status().dueTime);
        // Hours begin now: what do three of them emit?
        let mut emitted = U256::ZERO;
        for _ in 0..3 {
            world.open_round(0);
            let hash = world.hash(&empty_update());
            let proposer = world.proposer();
            world.propose(proposer, hash).expect("proposed");
            for voter in 0..3 {
                world.vote(voter, 1, hash).expect("voted");
            }
            let receipt = world
                .execute(proposer, 1, &empty_update())
                .expect("all have voted");
            for created in events::<Token::MerkleDistributionCreated>(&receipt) {
                emitted += created.totalSnoRewards;
            }
        }
        assert!(emitted >= sno(3 * 5_625));
        emitted > sno(3 * 5_625)
    });
}

#[test]
fn f37_f49_an_interval_of_seconds_that_were_hours_is_refused() {
    attack_fails("f49", 3, |world| {
        let coordinator = world.deployment.coordinator;
        let first = world.status().updateInterval;
        // Nonsense, a unit mistaken, one beyond each bound, and last the 4 that were to be hours.
        let mut refused = 0;
        for seconds in [1u64 << 40, 0, 921_601, 3_599, 4] {
            let result = world.govern(coordinator, set_interval(U256::from(seconds)));
            if result.is_err() {
                assert_reverts::<Coordinator::Coordinator__InvalidInterval>(result);
                refused += 1;
            }
        }
        world.run_round(&[0, 1, 2], &empty_update());
        let interval = world.status().updateInterval;
        assert_eq!(interval, if refused == 5 { first } else { 4 });
        refused == 0
    });
}

#[test]
fn f40_nobody_initialises_the_coordinator_again() {
    attack_fails("f40", 3, |world| {
        let coordinator = world.deployment.coordinator;
        // A validator of good standing, outside the set for the moment, would take the network over.
        world
            .send(2, coordinator, Coordinator::removeValidatorCall {})
            .expect("left");
        let call = Coordinator::initializeCall {
            interval: 32,
            approvalPercent: 51,
            genesisNodes: vec![signer(2).address()],
        };
        let taken = world.send(2, coordinator, call).is_ok();
        let percent = world.coordinator(Coordinator::approvalPercentageCall {});
        assert_eq!(percent, if taken { 51 } else { 66 });
        assert_eq!(
            world.status().updateInterval,
            if taken { 32 } else { INTERVAL }
        );
        taken
    });
}

#[test]
fn f40_nobody_but_core_locks_tokens_or_mints() {
    attack_fails("f40b", 3, |world| {
        let (victim, token) = (signer(FIRST_WORKER).address(), world.deployment.token);
        world.grant(&[victim], sno(100));
        let lock = Token::lockTokensCall {
            user: victim,
            isValidator: false,
        };
        let locked = world.send(ATTACKER, token, lock).is_ok();
        assert_eq!(world.collateral(FIRST_WORKER, false) == sno(100), locked);
        let mint = Token::createMerkleDistributionCall {
            merkleRoot: B256::ZERO,
            totalCapacity: U256::ZERO,
            approvingValidators: vec![signer(ATTACKER).address()],
            interval: U256::from(INTERVAL),
        };
        let minted = world.send(ATTACKER, token, mint).is_ok();
        assert_eq!(!world.balance_of(ATTACKER).is_zero(), minted);
        assert_eq!(locked, minted, "both or none");
        locked
    });
}

#[test]
fn f40_nobody_initialises_core_again() {
    attack_fails("f40c", 3, |world| {
        let core = world.deployment.core;
        let call = Core::initializeCall {
            genesisNodes: vec![],
            publicKeyHashes: vec![],
            networkNames: vec!["attacker".into()],
        };
        let taken = world.send(ATTACKER, core, call).is_ok();
        let added = world.core(Core::isNetworkCall {
            name: "attacker".into(),
        });
        assert_eq!(taken, added);
        taken
    });
}

#[test]
fn f41_the_timelock_can_upgrade() {
    attack_fails("f41", 3, |world| {
        let (core, timelock) = (world.deployment.core, world.deployment.timelock);
        let new = deploy_core(world, timelock);
        let upgraded = world.govern(core, upgrade(new)).is_ok();
        assert_eq!(implementation(world, core) == new, upgraded);
        // What it holds is there whatever its code.
        for n in 0..3 {
            let account = signer(n).address();
            assert_eq!(world.core(Core::credentialOfCall { account }), key_hash(n));
        }
        assert!(world.core(Core::isNetworkCall {
            name: "hash-chain".into()
        }));
        !upgraded
    });
}

#[test]
fn f41_nobody_but_the_timelock_can_upgrade() {
    attack_fails("f41b", 3, |world| {
        let core = world.deployment.core;
        let evil = deploy_core(world, signer(ATTACKER).address());
        let taken = world.send(ATTACKER, core, upgrade(evil)).is_ok();
        let timelock = world.core(Core::getTimelockCall {});
        assert_eq!(timelock == signer(ATTACKER).address(), taken);
        taken
    });
}

#[test]
fn f44_locked_collateral_votes() {
    attack_fails("f44", 3, |world| {
        // The holders of the whole supply, all of it locked, want something.
        let core = world.deployment.core;
        let call = Core::addNetworkCall {
            name: "matmul".into(),
        };
        let decision = Decision::new(vec![action(core, call)], "a network");
        world.mine_blocks(1);
        let decided = decision.propose(world, 0).is_ok();
        if decided {
            world.wait(DAY + 2);
            for voter in 0..3 {
                decision.vote(world, voter, 1).expect("voted");
            }
            world.wait(7 * DAY);
            decision.queue(world, 0).expect("queued");
            assert!(decision.execute(world, 0).is_err(), "not before two days");
            world.wait(2 * DAY);
            decision.execute(world, 0).expect("executed");
        }
        assert_eq!(
            world.core(Core::isNetworkCall {
                name: "matmul".into()
            }),
            decided
        );
        !decided
    });
}

#[test]
fn f44_a_vote_begins_after_a_day_and_ends_after_seven_however_fast_blocks_are() {
    attack_fails("f44b", 3, |world| {
        let core = world.deployment.core;
        let call = Core::addNetworkCall {
            name: "matmul".into(),
        };
        let decision = Decision::new(vec![action(core, call)], "a network");
        world.mine_blocks(1);
        decision.propose(world, 0).expect("proposed");
        const PENDING: u8 = 0;
        const ACTIVE: u8 = 1;
        const DEFEATED: u8 = 3;
        assert_eq!(decision.state(world), PENDING);
        world.wait(DAY - 2);
        assert_eq!(decision.state(world), PENDING);
        world.wait(4);
        if decision.state(world) == PENDING {
            return true;
        }
        assert_eq!(decision.state(world), ACTIVE);
        world.wait(7 * DAY - 4);
        assert_eq!(decision.state(world), ACTIVE);
        world.wait(4);
        assert_eq!(decision.state(world), DEFEATED, "without votes");
        false
    });
}

#[test]
fn f44_nobody_proposes_without_votes() {
    attack_fails("f44c", 3, |world| {
        let (core, attacker) = (world.deployment.core, signer(ATTACKER).address());
        assert_eq!(
            world.token(Token::getVotesCall { account: attacker }),
            U256::ZERO
        );
        let call = Core::addNetworkCall {
            name: "spam".into(),
        };
        world.mine_blocks(1);
        Decision::new(vec![action(core, call)], "spam")
            .propose(world, ATTACKER)
            .is_ok()
    });
}

#[test]
fn f45_there_is_no_token_without_an_authority_whose_updates_revert() {
    attack_fails("f45", 1, |world| {
        // The token's creation, with other arguments: nobody as the authority, and the attacker as Core.
        let genesis = vec![signer(0).address()];
        let d = &world.deployment;
        let attacker = signer(ATTACKER).address();
        let arguments = |core, coordinator, dao| Token::constructorCall {
            genesisNodes: genesis.clone(),
            core,
            coordinator,
            dao,
            testnetRoot: B256::ZERO,
            testnetTotal: U256::ZERO,
        };
        let planned = arguments(d.core, d.coordinator, d.timelock).abi_encode();
        let block = world
            .chain
            .block(d.deployed_at.into(), true)
            .expect("the first");
        let creation = block.transactions.into_transactions().next().expect("one");
        let input = alloy::consensus::Transaction::input(&creation).clone();
        let bytecode = input
            .strip_suffix(planned.as_slice())
            .expect("the constructor's arguments are last");
        let wanted = arguments(attacker, d.coordinator, Address::ZERO).abi_encode();
        let deployed = world.chain.transact(
            &signer(ATTACKER),
            TxKind::Create,
            [bytecode, &wanted].concat().into(),
            U256::ZERO,
        );
        let Ok(receipt) = deployed else {
            assert_reverts::<Token::Token__InvalidAddress>(deployed);
            return false;
        };
        let token = receipt.contract_address.expect("a contract");
        world.wait(3_600);
        let update = Token::createMerkleDistributionCall {
            merkleRoot: B256::ZERO,
            totalCapacity: U256::ZERO,
            approvingValidators: vec![signer(0).address()],
            interval: U256::from(3_600),
        };
        world.send(ATTACKER, token, update).is_err()
    });
}
