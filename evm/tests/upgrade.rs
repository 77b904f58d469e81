//! Core and the Coordinator are upgraded by a decision of the DAO in the middle of a round, with jobs and votes open:
//! nothing is lost, the round executes and the jobs complete.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | upgradeable by the DAO's timelock; state survives | `core_and_the_coordinator_are_upgraded_mid_round_and_nothing_is_lost` |
//! | and by nobody else, to nothing else | `an_upgrade_is_the_timelocks_alone_and_only_to_what_can_be_upgraded_again` |

mod contracts_support;

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256, uint};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::{SolCall, SolConstructor};
use contracts_support::governance::Decision;
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

mod changed {
    #![allow(missing_docs, clippy::too_many_arguments, reason = "generated")]
    alloy::sol!(SmartnodesCoreV2, "artifacts/upgrades/SmartnodesCoreV2.json");
    alloy::sol!(
        SmartnodesCoordinatorV2,
        "artifacts/upgrades/SmartnodesCoordinatorV2.json"
    );
}
use changed::{SmartnodesCoordinatorV2 as CoordinatorV2, SmartnodesCoreV2 as CoreV2};

/// Where a proxy keeps its implementation (ERC-1967).
const IMPLEMENTATION_SLOT: U256 =
    uint!(0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc_U256);

fn implementation(world: &World, proxy: Address) -> Address {
    let stored = world
        .chain
        .storage(proxy, IMPLEMENTATION_SLOT, alloy::eips::BlockId::latest())
        .expect("latest");
    Address::from_word(stored.into())
}

fn deploy(world: &mut World, bytecode: &Bytes, constructor: &impl SolConstructor) -> Address {
    let code = [bytecode.as_ref(), &constructor.abi_encode()].concat();
    world
        .chain
        .transact(&signer(9), TxKind::Create, code.into(), U256::ZERO)
        .expect("deployed")
        .contract_address
        .expect("a contract")
}

/// Deploys the changed contracts and returns Core's and the Coordinator's new implementation.
fn deploy_changed(world: &mut World) -> (Address, Address) {
    let d = world.deployment.clone();
    let core = CoreV2::constructorCall {
        token: d.token,
        coordinator: d.coordinator,
        timelock: d.timelock,
    };
    let coordinator = CoordinatorV2::constructorCall {
        token: d.token,
        core: d.core,
        timelock: d.timelock,
    };
    (
        deploy(world, &CoreV2::BYTECODE, &core),
        deploy(world, &CoordinatorV2::BYTECODE, &coordinator),
    )
}

fn upgrade(implementation: Address, initialize: Vec<u8>) -> Core::upgradeToAndCallCall {
    Core::upgradeToAndCallCall {
        newImplementation: implementation,
        data: initialize.into(),
    }
}

/// What the contracts answer to everything that could be lost, by what was asked.
fn everything(world: &World, jobs: &[B256]) -> Vec<(String, Bytes)> {
    let d = &world.deployment;
    let mut answers = Vec::new();
    let mut ask = |to: Address, what: String, data: Vec<u8>| {
        let request = TransactionRequest {
            to: Some(TxKind::Call(to)),
            input: Bytes::from(data).into(),
            ..TransactionRequest::default()
        };
        let answer = world
            .chain
            .call(&request, alloy::eips::BlockId::latest())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        answers.push((what, answer));
    };
    macro_rules! ask {
        ($to:expr, $call:expr) => {{
            let call = $call;
            ask($to, format!("{call:?}"), call.abi_encode());
        }};
    }
    ask!(d.coordinator, Coordinator::roundStatusCall {});
    ask!(d.coordinator, Coordinator::getProposalsCall {});
    ask!(d.coordinator, Coordinator::getValidatorsCall {});
    ask!(d.coordinator, Coordinator::getCurrentRoundValidatorsCall {});
    ask!(d.coordinator, Coordinator::timeConfigCall {});
    ask!(d.coordinator, Coordinator::approvalPercentageCall {});
    ask!(d.core, Core::getJobCountCall {});
    ask!(d.core, Core::networkCountCall {});
    for id in 0..2 {
        ask!(d.core, Core::networksCall { id: U256::from(id) });
    }
    for job in jobs {
        ask!(d.core, Core::getJobCall { jobId: *job });
        ask!(d.core, Core::cancellableAtCall { jobId: *job });
    }
    for n in [0, 1, 2, USER, FIRST_WORKER] {
        let account = address(n);
        ask!(d.core, Core::credentialOfCall { account });
        ask!(d.core, Core::reputationOfCall { account });
        ask!(d.core, Core::isUserCall { account });
        ask!(
            d.core,
            Core::isVerifiedValidatorCall {
                account,
                publicKeyHash: key_hash(n)
            }
        );
        ask!(d.coordinator, Coordinator::isActiveCall { account });
        ask!(
            d.coordinator,
            Coordinator::isSnapshotValidatorCall { account }
        );
        ask!(
            d.coordinator,
            Coordinator::votedForCall { validator: account }
        );
        ask!(
            d.coordinator,
            Coordinator::getValidatorActivityCall { validator: account }
        );
        ask!(d.token, Token::balanceOfCall { account });
    }
    ask!(d.token, Token::totalSupplyCall {});
    ask!(d.token, Token::s_totalEscrowedCall {});
    ask!(d.token, Token::s_totalUnclaimedCall {});
    answers
}

#[test]
fn core_and_the_coordinator_are_upgraded_mid_round_and_nothing_is_lost() {
    let mut world = world_with_user();
    let d = world.deployment.clone();
    let (new_core, new_coordinator) = deploy_changed(&mut world);
    let mut update = empty_update();
    update.reputationChanges = vec![Coordinator::ReputationChange {
        account: address(FIRST_WORKER),
        delta: 20,
    }];
    world.run_round(&VOTERS, &update);
    world
        .govern(
            d.core,
            Core::addNetworkCall {
                name: "matmul".into(),
            },
        )
        .expect("added");

    let minimum = 10 * SNO;
    let core_call = upgrade(
        new_core,
        CoreV2::initializeV2Call { payment: minimum }.abi_encode(),
    );
    let coordinator_call = upgrade(
        new_coordinator,
        CoordinatorV2::initializeV2Call {}.abi_encode(),
    );
    let decision = Decision::new(
        vec![
            (d.core, U256::ZERO, core_call.abi_encode().into()),
            (
                d.coordinator,
                U256::ZERO,
                coordinator_call.abi_encode().into(),
            ),
        ],
        "the next version",
    );
    decision.pass_while_running(&mut world, &VOTERS);

    // A round with one job of each currency in the update, one that stays open, and two of three votes.
    let (sno_job, eth_job, later_job) = (keccak256("sno"), keccak256("eth"), keccak256("later"));
    for (hash, payment, value) in [
        (sno_job, 5 * SNO, 0),
        (eth_job, SNO, SNO),
        (later_job, minimum, 0),
    ] {
        world
            .pay(USER, d.core, request(hash, payment), U256::from(value))
            .expect("requested");
    }
    let jobs = [sno_job, eth_job, later_job].map(|hash| job_id(&world, hash));
    let id = world.status().nextDistributionId;
    let (tree, mut update) = work(id, &[(501, 1), (502, 2)]);
    update.jobIds = jobs[..2].to_vec();
    let (hash, proposer) = proposed(&mut world, 0, &update);
    for voter in [0, 1] {
        world.vote(voter, 1, hash).expect("voted");
    }
    let round = world.status().round;

    let before = everything(&world, &jobs);
    let old = (
        implementation(&world, d.core),
        implementation(&world, d.coordinator),
    );
    decision.execute(&mut world, 0).expect("upgraded");
    assert_eq!(
        (
            implementation(&world, d.core),
            implementation(&world, d.coordinator)
        ),
        (new_core, new_coordinator)
    );
    assert_ne!(old, (new_core, new_coordinator));
    assert_eq!(everything(&world, &jobs), before);
    assert!(before.len() > 50);

    // What is new works on what was there.
    let read_core = |world: &World, job: B256| {
        world
            .chain
            .read(d.core, &CoreV2::paysEnoughCall { jobId: job })
            .expect("a new view")
    };
    assert!(!read_core(&world, jobs[0]) && read_core(&world, jobs[2]));
    let missing = |world: &World| {
        world
            .chain
            .read(d.coordinator, &CoordinatorV2::missingVotesCall {})
            .expect("a new view")
    };
    assert_eq!(missing(&world), U256::from(1));
    let upgraded_in = world
        .chain
        .read(d.coordinator, &CoordinatorV2::upgradedInRoundCall {})
        .expect("a new view");
    assert_eq!(u64::from(upgraded_in), round);

    // The round goes on: votes stay cast, the last one is added, the update pays and completes the jobs.
    assert_reverts::<Coordinator::Coordinator__AlreadyVoted>(world.vote(0, 1, hash));
    world.vote(2, 1, hash).expect("voted");
    assert_eq!(missing(&world), U256::ZERO);
    let receipt = world.execute(proposer, 1, &update).expect("executed");
    assert_eq!(events::<Core::JobCompleted>(&receipt).len(), 2);
    assert_eq!(jobs.map(|job| job_state(&world, job)), [2, 2, 1]);
    claim(&mut world, 501, id, 1, &tree).expect("claimed");
    world.assert_books();

    // And so does everything after it.
    let mut update = empty_update();
    update.jobIds = vec![jobs[2]];
    world.run_round(&VOTERS, &update);
    assert_eq!(job_state(&world, jobs[2]), 2);
    assert_eq!(world.status().round, round + 2);
    for (proxy, call) in [
        (d.core, CoreV2::initializeV2Call { payment: 1 }.abi_encode()),
        (
            d.coordinator,
            CoordinatorV2::initializeV2Call {}.abi_encode(),
        ),
    ] {
        let again = world
            .chain
            .transact(&signer(9), TxKind::Call(proxy), call.into(), U256::ZERO);
        assert_reverts::<Core::InvalidInitialization>(again);
    }
    world.assert_books();
}

#[test]
fn an_upgrade_is_the_timelocks_alone_and_only_to_what_can_be_upgraded_again() {
    let mut world = World::new(3);
    let d = world.deployment.clone();
    let (new_core, new_coordinator) = deploy_changed(&mut world);
    for who in [0, 9, DEPLOYER] {
        assert_reverts::<Core::Core__NotDAO>(world.send(who, d.core, upgrade(new_core, vec![])));
        assert_reverts::<Coordinator::Coordinator__NotDAO>(world.send(
            who,
            d.coordinator,
            upgrade(new_coordinator, vec![]),
        ));
    }
    for contract in [d.dao, d.token, d.coordinator] {
        assert_reverts::<Core::Core__NotDAO>(world.impersonate(
            contract,
            d.core,
            upgrade(new_core, vec![]),
        ));
    }
    // Neither to a contract without the interface, nor to an account without code.
    assert_reverts::<Core::ERC1967InvalidImplementation>(
        world.govern(d.core, upgrade(d.token, vec![])),
    );
    let without_code = world.govern(d.core, upgrade(address(9), vec![]));
    assert!(without_code.is_err_and(|error| error.reverted().is_some()));
    // Nothing can be done to an implementation itself.
    assert_reverts::<Core::InvalidInitialization>(world.send(
        9,
        new_core,
        CoreV2::initializeV2Call { payment: 1 },
    ));
    assert_reverts::<Core::UUPSUnauthorizedCallContext>(
        world.govern(new_core, upgrade(new_core, vec![])),
    );
    world.run_round(&VOTERS, &empty_update());
}
