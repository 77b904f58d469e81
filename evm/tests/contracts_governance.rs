//! Deployment and governance: nothing is open to others, nothing bypasses the vote. Flaw numbers are those
//! of the upstream contracts that ours must not have.

mod contracts_support;

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::sol_types::{SolCall, SolConstructor};
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesDAO as Dao,
    SmartnodesERC20 as Token, TimelockController as Timelock,
};
use smartnodes_evm::deployment::{DeployParams, deploy_in_process};

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

fn votes(world: &World, n: u32) -> U256 {
    world.token(Token::getVotesCall {
        account: signer(n).address(),
    })
}

fn govern(world: &mut World, target: Address, call: impl SolCall) {
    try_govern(world, target, call).expect("governed");
}

/// Takes a decision the whole way: propose, vote, queue, wait, execute.
fn try_govern(
    world: &mut World,
    target: Address,
    call: impl SolCall,
) -> Result<(), smartnodes_evm::chain::ChainError> {
    let dao = world.deployment.dao;
    let calldata = Bytes::from(call.abi_encode());
    let description = format!("decision of {}", world.chain.timestamp());
    let description_hash = keccak256(&description);
    let (targets, values, calldatas) = (vec![target], vec![U256::ZERO], vec![calldata]);
    world.mine_blocks(1);
    world.send(
        0,
        dao,
        Dao::proposeCall {
            targets: targets.clone(),
            values: values.clone(),
            calldatas: calldatas.clone(),
            description,
        },
    )?;
    let id = world
        .chain
        .read(
            dao,
            &Dao::getProposalIdCall {
                targets: targets.clone(),
                values: values.clone(),
                calldatas: calldatas.clone(),
                descriptionHash: description_hash,
            },
        )
        .expect("an id");
    world.wait(DAY + 2);
    for voter in 0..2 {
        world.send(
            voter,
            dao,
            Dao::castVoteCall {
                proposalId: id,
                support: 1,
            },
        )?;
    }
    world.wait(7 * DAY);
    world.send(
        2,
        dao,
        Dao::queueCall {
            targets: targets.clone(),
            values: values.clone(),
            calldatas: calldatas.clone(),
            descriptionHash: description_hash,
        },
    )?;
    let execute = Dao::executeCall {
        targets,
        values,
        calldatas,
        descriptionHash: description_hash,
    };
    assert!(
        world.send(2, dao, execute.clone()).is_err(),
        "the timelock takes two days"
    );
    world.wait(2 * DAY);
    world.send(2, dao, execute)?;
    Ok(())
}

#[test]
fn genesis_is_locked_credentialed_seated_and_works() {
    let world = World::new(3);
    assert_eq!(world.token(Token::totalSupplyCall {}), sno(3_000_000));
    assert_eq!(world.token(Token::s_totalLockedCall {}), sno(3_000_000));
    let supply = world.token(Token::getSupplyBreakdownCall {});
    assert_eq!(
        (supply._totalSupply, supply._circulating, supply._locked),
        (sno(3_000_000), U256::ZERO, sno(3_000_000))
    );
    assert_eq!(
        (supply._stateTime, supply._stateReward),
        (U256::from(INTERVAL), sno(45_000))
    );
    for n in 0..3 {
        assert_eq!(world.balance_of(n), U256::ZERO);
        assert!(world.token(Token::isLockedCall {
            user: signer(n).address()
        }));
        assert_eq!(credential(&world, n), key_hash(n));
        assert!(verified(&world, n));
        assert_eq!(votes(&world, n), sno(1_000_000), "locked collateral votes");
        assert_eq!(
            world.core(Core::reputationOfCall {
                account: signer(n).address()
            }),
            500
        );
    }
    assert!(!world.core(Core::isVerifiedValidatorCall {
        account: signer(0).address(),
        publicKeyHash: key_hash(1)
    }));
    assert!(world.core(Core::isNetworkCall {
        name: "hash-chain".into()
    }));
    world.assert_books();
}

#[test]
fn everything_belongs_to_the_timelock_and_nothing_to_the_deployer() {
    let mut world = World::new(3);
    let d = world.deployment.clone();
    assert_eq!(world.token(Token::s_daoCall {}), d.timelock);
    assert_eq!(world.token(Token::s_smartnodesCoreCall {}), d.core);
    assert_eq!(
        world.token(Token::s_smartnodesCoordinatorCall {}),
        d.coordinator
    );
    assert_eq!(world.core(Core::getCoordinatorCall {}), d.coordinator);
    assert_eq!(world.core(Core::getTimelockCall {}), d.timelock);
    let role = |world: &World, name: &str, account: Address| {
        let role = if name.is_empty() {
            B256::ZERO
        } else {
            keccak256(name)
        };
        world
            .chain
            .read(d.timelock, &Timelock::hasRoleCall { role, account })
            .expect("a view")
    };
    for name in ["PROPOSER_ROLE", "EXECUTOR_ROLE", "CANCELLER_ROLE"] {
        assert!(role(&world, name, d.dao));
        assert!(
            !role(&world, name, signer(DEPLOYER).address()) && !role(&world, name, Address::ZERO)
        );
    }
    assert!(
        role(&world, "", d.timelock),
        "the timelock administers itself"
    );
    assert!(!role(&world, "", signer(DEPLOYER).address()) && !role(&world, "", d.dao));
    let delay = world
        .chain
        .read(d.timelock, &Timelock::getMinDelayCall {})
        .expect("a view");
    assert_eq!(delay, U256::from(2 * DAY));

    // Nobody initialises again, neither the proxies nor what is behind them.
    let core_init = Core::initializeCall {
        genesisNodes: vec![],
        publicKeyHashes: vec![],
        networkNames: vec![],
    };
    let coordinator_init = Coordinator::initializeCall {
        interval: 60,
        approvalPercent: 66,
        genesisNodes: vec![signer(9).address()],
    };
    for who in [DEPLOYER, 0, 9] {
        for place in [d.core, signer(DEPLOYER).address().create(3)] {
            assert_reverts::<Core::InvalidInitialization>(world.send(
                who,
                place,
                core_init.clone(),
            ));
        }
        for place in [d.coordinator, signer(DEPLOYER).address().create(4)] {
            assert_reverts::<Coordinator::InvalidInitialization>(world.send(
                who,
                place,
                coordinator_init.clone(),
            ));
        }
        // Nor upgrades, governs, locks others' tokens, mints, releases or refunds.
        let upgrade = |target: Address| Core::upgradeToAndCallCall {
            newImplementation: target,
            data: Bytes::new(),
        };
        assert_reverts::<Core::Core__NotDAO>(world.send(
            who,
            d.core,
            upgrade(signer(DEPLOYER).address().create(3)),
        ));
        assert_reverts::<Coordinator::Coordinator__NotDAO>(world.send(
            who,
            d.coordinator,
            upgrade(signer(DEPLOYER).address().create(4)),
        ));
        let user = signer(9).address();
        let one = U256::from(1);
        assert_reverts::<Token::Token__OnlyCore>(world.send(
            who,
            d.token,
            Token::lockTokensCall {
                user,
                isValidator: true,
            },
        ));
        assert_reverts::<Token::Token__OnlyCore>(world.send(
            who,
            d.token,
            Token::escrowPaymentCall { user, payment: one },
        ));
        assert_reverts::<Token::Token__OnlyCore>(world.send(
            who,
            d.token,
            Token::releaseEscrowedPaymentCall { user, amount: one },
        ));
        assert_reverts::<Token::Token__OnlyCore>(world.send(
            who,
            d.token,
            Token::refundEscrowedEthPaymentCall { user, amount: one },
        ));
        assert_reverts::<Token::Token__OnlyDAO>(world.send(
            who,
            d.token,
            Token::slashAndUnlockValidatorCall {
                validator: user,
                amount: one,
            },
        ));
        assert_reverts::<Token::Token__OnlyDAO>(world.send(
            who,
            d.token,
            Token::setValidatorLockAmountCall { newAmount: one },
        ));
        assert_reverts::<Coordinator::Coordinator__NotCoreContract>(world.send(
            who,
            d.coordinator,
            Coordinator::validatorRegisteredCall { validator: user },
        ));
        assert_reverts::<Coordinator::Coordinator__NotDAO>(world.send(
            who,
            d.coordinator,
            Coordinator::setApprovalPercentageCall { newPercent: 51 },
        ));
        assert_reverts::<Core::Core__NotDAO>(world.send(
            who,
            d.core,
            Core::addNetworkCall { name: "n".into() },
        ));
        assert_reverts::<Core::Core__NotToken>(world.send(
            who,
            d.core,
            Core::validatorSlashedCall {
                validator: signer(0).address(),
            },
        ));
    }
}

#[test]
fn a_busy_deployer_deploys_too_and_twice_side_by_side() {
    let mut world = World::new(2);
    let params = DeployParams {
        genesis: vec![smartnodes_evm::deployment::GenesisValidator {
            wallet: signer(7).address(),
            public_key_hash: key_hash(7),
        }],
        update_interval_seconds: 60,
        ..DeployParams::default()
    };
    let second = deploy_in_process(&mut world.chain, &signer(DEPLOYER), &params).expect("deployed");
    assert_ne!(second.token, world.deployment.token);
    assert_eq!(
        second.start_time,
        world.chain.timestamp() - 6 * world.chain.config().block_time_seconds
    );
    let status = world
        .chain
        .read(second.coordinator, &Coordinator::roundStatusCall {})
        .expect("a view");
    assert_eq!(
        (status.round, status.dueTime, status.updateInterval),
        (1, second.start_time + 60, 60)
    );
}

#[test]
fn the_dao_decides_in_days_and_upgrades_keep_the_state() {
    let mut world = World::new(3);
    let d = world.deployment.clone();
    assert_reverts::<Dao::GovernorInsufficientProposerVotes>(world.send(
        FIRST_WORKER,
        d.dao,
        Dao::proposeCall {
            targets: vec![d.token],
            values: vec![U256::ZERO],
            calldatas: vec![Bytes::new()],
            description: "without votes".into(),
        },
    ));
    govern(
        &mut world,
        d.core,
        Core::addNetworkCall {
            name: "matmul".into(),
        },
    );
    assert!(world.core(Core::isNetworkCall {
        name: "matmul".into()
    }));
    govern(
        &mut world,
        d.coordinator,
        Coordinator::setApprovalPercentageCall { newPercent: 80 },
    );
    assert_eq!(
        world.coordinator(Coordinator::requiredApprovalsForCall {
            count: U256::from(10)
        }),
        U256::from(9)
    );
    govern(
        &mut world,
        d.coordinator,
        Coordinator::updateTimingCall {
            newInterval: U256::from(2 * INTERVAL),
        },
    );
    // It cannot mint, nor take what is not the treasury's.
    assert!(
        try_govern(
            &mut world,
            d.token,
            Token::createMerkleDistributionCall {
                merkleRoot: B256::ZERO,
                totalCapacity: U256::ZERO,
                approvingValidators: vec![d.timelock],
                interval: U256::from(60),
            }
        )
        .is_err()
    );

    for n in 0..3 {
        world
            .send(n, d.coordinator, Coordinator::reactivateCall {})
            .expect("active");
    }
    world.run_round(&[0, 1, 2], &empty_update());
    let before = (
        world.status(),
        world.coordinator(Coordinator::getValidatorsCall {}),
    );
    let new_core: Bytes = [
        Core::BYTECODE.as_ref(),
        &Core::constructorCall {
            token: d.token,
            coordinator: d.coordinator,
            timelock: d.timelock,
        }
        .abi_encode(),
    ]
    .concat()
    .into();
    let new_coordinator: Bytes = [
        Coordinator::BYTECODE.as_ref(),
        &Coordinator::constructorCall {
            token: d.token,
            core: d.core,
            timelock: d.timelock,
        }
        .abi_encode(),
    ]
    .concat()
    .into();
    for (proxy, code) in [(d.core, new_core), (d.coordinator, new_coordinator)] {
        let implementation = world
            .chain
            .transact(&signer(9), TxKind::Create, code, U256::ZERO)
            .expect("deployed")
            .contract_address
            .expect("a contract");
        let upgrade = Core::upgradeToAndCallCall {
            newImplementation: implementation,
            data: Bytes::new(),
        };
        govern(&mut world, proxy, upgrade);
        let slot = alloy::primitives::uint!(
            0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc_U256
        );
        let stored = world
            .chain
            .storage(proxy, slot, alloy::eips::BlockId::latest())
            .expect("latest");
        assert_eq!(Address::from_word(stored.into()), implementation);
    }
    let status = world.status();
    assert_eq!(
        (status.round, status.dueTime),
        (before.0.round, before.0.dueTime)
    );
    assert_eq!(status.updateInterval, 2 * INTERVAL);
    assert_eq!(
        world.coordinator(Coordinator::getValidatorsCall {}),
        before.1
    );
    assert!((0..3).all(|n| credential(&world, n) == key_hash(n)));
    assert!(world.core(Core::isNetworkCall {
        name: "matmul".into()
    }));
}

#[test]
fn reputation_moves_by_bounded_steps_once_in_an_update() {
    let mut world = World::new(1);
    let (a, b) = (signer(500).address(), signer(501).address());
    let change = |account, delta| Coordinator::ReputationChange { account, delta };
    let mut update = empty_update();
    update.reputationChanges = vec![change(a, 30), change(b, i16::MIN), change(a, 100)];
    world.run_round(&[0], &update);
    let of = |world: &World, account| world.core(Core::reputationOfCall { account });
    assert_eq!((of(&world, a), of(&world, b)), (530, 400));
    update.reputationChanges = vec![change(a, i16::MAX), change(b, -100)];
    for _ in 0..6 {
        world.run_round(&[0], &update);
    }
    assert_eq!((of(&world, a), of(&world, b)), (1_000, 0));
}

#[test]
fn a_key_is_rotated_by_its_owner_only() {
    let mut world = World::new(2);
    let core = world.deployment.core;
    let call = Core::setPublicKeyHashCall {
        publicKeyHash: key_hash(77),
    };
    assert_reverts::<Core::Core__NodeDoesNotExist>(world.send(FIRST_WORKER, core, call.clone()));
    world.send(0, core, call).expect("rotated");
    assert_eq!(credential(&world, 0), key_hash(77));
    assert!(!verified(&world, 0) && verified(&world, 1));
}
