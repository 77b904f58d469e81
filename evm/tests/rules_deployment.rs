//! The rule book's deployment: one function, a fixed order, nothing open in between, nothing left over; and what is
//! deployed fits the chain.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | one function deploys and wires everything in a fixed order | `deployment_is_in_a_fixed_order_at_known_addresses`, `deployment_works_from_a_busy_account_and_twice_side_by_side`, `deployment_seats_the_genesis_validators` |
//! | nothing left open to front-running between two transactions | `deployment_leaves_nothing_open_between_two_transactions` |
//! | one `Deployment` value that is saved as JSON | `deployment_is_saved_as_json_and_read_back` |
//! | DAO: deployment ends with no key that can bypass it | `deployment_ends_with_no_key_that_can_bypass_governance` |
//! | gas: each contract under the 24,576-byte limit | `contracts_are_below_the_code_size_limit` |
//! | target chain: Cancun or later | `contracts_are_compiled_for_cancun_or_later` |

mod contracts_support;

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::sol_types::SolCall;
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
    SmartnodesTimelock as Timelock,
};
use smartnodes_evm::chain::{Chain, ChainConfig};
use smartnodes_evm::deployment::{
    DeployParams, Deployment, DeploymentPlan, GenesisValidator, deploy_in_process,
};

/// Largest code that the EVM keeps, in bytes (EIP-170).
const CODE_BYTES_MAX: usize = 24_576;

fn params() -> DeployParams {
    DeployParams {
        genesis: (0..3)
            .map(|n| GenesisValidator {
                wallet: address(n),
                public_key_hash: key_hash(n),
            })
            .collect(),
        ..DeployParams::default()
    }
}

fn code(chain: &Chain, at: Address) -> Bytes {
    chain.code(at, BlockId::latest()).expect("latest")
}

/// Everything that is deployed: the five addresses of the deployment and the two implementations.
fn contracts(d: &Deployment) -> [(&'static str, Address); 7] {
    [
        ("token", d.token),
        ("timelock", d.timelock),
        ("DAO", d.dao),
        ("Core", address(DEPLOYER).create(3)),
        ("Coordinator", address(DEPLOYER).create(4)),
        ("Core's proxy", d.core),
        ("the Coordinator's proxy", d.coordinator),
    ]
}

#[test]
fn deployment_is_in_a_fixed_order_at_known_addresses() {
    let world = World::new(3);
    let d = &world.deployment;
    let plan =
        DeploymentPlan::new(&params(), address(DEPLOYER), 0, d.chain_id).expect("good parameters");
    assert_eq!(plan.started(d.deployed_at, d.start_time), *d);
    assert_eq!(plan.transactions.len(), 7);
    for (nonce, (name, at)) in (0..).zip(contracts(d)) {
        assert_eq!(at, address(DEPLOYER).create(nonce), "{name}");
        let receipts = world
            .chain
            .block_receipts(BlockId::number(d.deployed_at + nonce))
            .expect("a block for each");
        assert_eq!(receipts.len(), 1);
        assert_eq!(receipts[0].contract_address, Some(at), "{name}");
        assert!(!code(&world.chain, at).is_empty(), "{name}");
    }
    assert_eq!(
        world
            .chain
            .nonce(address(DEPLOYER), BlockId::latest())
            .expect("latest"),
        7,
        "no set-up call after the seven creations"
    );
    assert_eq!(
        world.token(Token::i_deploymentTimestampCall {}),
        U256::from(d.start_time)
    );
}

/// What somebody might send to a half-finished deployment to get a hold on it.
fn grabs(d: &Deployment) -> Vec<(Address, Bytes)> {
    let thief = address(9);
    let one = U256::from(1);
    let mut calls: Vec<(Address, Bytes)> = Vec::new();
    let core_init = Core::initializeCall {
        genesisNodes: vec![],
        publicKeyHashes: vec![],
        networkNames: vec!["thief".into()],
    };
    let coordinator_init = Coordinator::initializeCall {
        interval: 60,
        approvalPercent: 66,
        genesisNodes: vec![thief],
    };
    for (_, at) in contracts(d) {
        calls.push((at, core_init.abi_encode().into()));
        calls.push((at, coordinator_init.abi_encode().into()));
        let upgrade = Core::upgradeToAndCallCall {
            newImplementation: d.token,
            data: Bytes::new(),
        };
        calls.push((at, upgrade.abi_encode().into()));
    }
    let distribution = Token::createMerkleDistributionCall {
        merkleRoot: B256::ZERO,
        totalCapacity: U256::ZERO,
        approvingValidators: vec![thief],
        interval: one,
    };
    calls.push((d.token, distribution.abi_encode().into()));
    let lock = Token::lockTokensCall {
        user: address(0),
        isValidator: false,
    };
    calls.push((d.token, lock.abi_encode().into()));
    let slash = Token::slashAndUnlockValidatorCall {
        validator: address(0),
        amount: one,
    };
    calls.push((d.token, slash.abi_encode().into()));
    let schedule = Timelock::scheduleCall {
        target: d.token,
        value: U256::ZERO,
        data: slash.abi_encode().into(),
        predecessor: B256::ZERO,
        salt: B256::ZERO,
        delay: U256::from(2 * DAY),
    };
    calls.push((d.timelock, schedule.abi_encode().into()));
    for role in [B256::ZERO, keccak256("PROPOSER_ROLE")] {
        let grant = Timelock::grantRoleCall {
            role,
            account: thief,
        };
        calls.push((d.timelock, grant.abi_encode().into()));
    }
    let seat = Coordinator::validatorRegisteredCall { validator: thief };
    calls.push((d.coordinator, seat.abi_encode().into()));
    calls.push((
        d.coordinator,
        Coordinator::addValidatorCall {}.abi_encode().into(),
    ));
    calls
}

#[test]
fn deployment_leaves_nothing_open_between_two_transactions() {
    let ether = U256::from(SNO) * U256::from(1_000);
    let config = ChainConfig {
        balances: [0, 1, 2, 9, DEPLOYER]
            .map(|n| (address(n), ether))
            .into_iter()
            .collect(),
        ..ChainConfig::default()
    };
    let mut chain = Chain::new(config).expect("a valid configuration");
    let chain_id = chain.config().chain_id;
    let plan =
        DeploymentPlan::new(&params(), address(DEPLOYER), 0, chain_id).expect("good parameters");
    let mut refused = 0;
    let mut start = None;
    for init_code in &plan.transactions {
        chain
            .transact(
                &signer(DEPLOYER),
                TxKind::Create,
                init_code.clone(),
                U256::ZERO,
            )
            .expect("deployed");
        start.get_or_insert((chain.block_number(), chain.timestamp()));
        for (to, data) in grabs(&plan.deployment) {
            // A call to where nothing is yet does nothing.
            if code(&chain, to).is_empty() {
                continue;
            }
            for who in [9, DEPLOYER] {
                // The deployer's own nonces are the addresses of what is still to come, so it only tries.
                let request = alloy::rpc::types::TransactionRequest {
                    from: Some(address(who)),
                    to: Some(TxKind::Call(to)),
                    input: data.clone().into(),
                    ..Default::default()
                };
                let result = chain.call(&request, BlockId::latest());
                assert!(result.is_err(), "{who} got {data} through at {to}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
    let (number, time) = start.expect("seven transactions");
    let deployment = plan.started(number, time);
    let mut world = World { chain, deployment };
    world.run_round(&VOTERS, &empty_update());
    world.assert_books();
}

#[test]
fn deployment_seats_the_genesis_validators() {
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
        assert!(world.token(Token::isLockedCall { user: address(n) }));
        assert_eq!(credential(&world, n), key_hash(n));
        assert!(verified(&world, n));
        assert_eq!(votes(&world, n), sno(1_000_000), "locked collateral votes");
        assert_eq!(
            world.core(Core::reputationOfCall {
                account: address(n)
            }),
            500
        );
    }
    assert!(!world.core(Core::isVerifiedValidatorCall {
        account: address(0),
        publicKeyHash: key_hash(1)
    }));
    assert!(world.core(Core::isNetworkCall {
        name: "hash-chain".into()
    }));
    world.assert_books();
}

#[test]
fn deployment_ends_with_no_key_that_can_bypass_governance() {
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
        assert!(!role(&world, name, address(DEPLOYER)) && !role(&world, name, Address::ZERO));
    }
    assert!(
        role(&world, "", d.timelock),
        "the timelock administers itself"
    );
    assert!(!role(&world, "", address(DEPLOYER)) && !role(&world, "", d.dao));
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
        genesisNodes: vec![address(9)],
    };
    for who in [DEPLOYER, 0, 9] {
        for place in [d.core, address(DEPLOYER).create(3)] {
            assert_reverts::<Core::InvalidInitialization>(world.send(
                who,
                place,
                core_init.clone(),
            ));
        }
        for place in [d.coordinator, address(DEPLOYER).create(4)] {
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
            upgrade(address(DEPLOYER).create(3)),
        ));
        assert_reverts::<Coordinator::Coordinator__NotDAO>(world.send(
            who,
            d.coordinator,
            upgrade(address(DEPLOYER).create(4)),
        ));
        let user = address(9);
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
                validator: address(0),
            },
        ));
    }
}

#[test]
fn deployment_works_from_a_busy_account_and_twice_side_by_side() {
    let mut world = World::new(2);
    let params = DeployParams {
        genesis: vec![smartnodes_evm::deployment::GenesisValidator {
            wallet: address(7),
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
fn deployment_is_saved_as_json_and_read_back() {
    let world = World::new(3);
    let json = serde_json::to_string(&world.deployment).expect("plain data");
    let read: Deployment = serde_json::from_str(&json).expect("its own JSON");
    assert_eq!(read, world.deployment);
    for name in [
        "chain_id",
        "token",
        "core",
        "coordinator",
        "dao",
        "timelock",
        "deployed_at",
        "start_time",
    ] {
        assert!(json.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn contracts_are_below_the_code_size_limit() {
    let world = World::new(3);
    for (name, at) in contracts(&world.deployment) {
        let size = code(&world.chain, at).len();
        assert!(
            (1..CODE_BYTES_MAX).contains(&size),
            "{name} has {size} bytes"
        );
    }
}

#[test]
fn contracts_are_compiled_for_cancun_or_later() {
    // Transient storage (TLOAD, TSTORE) and MCOPY came with Cancun.
    let world = World::new(3);
    for (name, at) in contracts(&world.deployment) {
        if name.contains("proxy") {
            continue;
        }
        let code = code(&world.chain, at);
        let mut cancun = 0;
        let mut at = 0;
        while let Some(opcode) = code.get(at) {
            cancun += u32::from(matches!(*opcode, 0x5c..=0x5e));
            // PUSH1 to PUSH32 carry data.
            at += match *opcode {
                push @ 0x60..=0x7f => usize::from(push) - 0x5e,
                _ => 1,
            };
        }
        assert!(cancun > 0, "{name}");
    }
}
