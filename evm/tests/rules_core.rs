//! The rule book's Core: credentials, reputation, queries, networks, and jobs with their escrow.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | node credentials: hash of the node's public key, network roles | `credentials_are_the_hash_of_a_key_and_a_role`, `credentials_are_changed_by_their_owner_only` |
//! | access control queries: `isVerifiedValidator(address, keyHash)` | `queries_vouch_for_a_validator_with_key_collateral_and_seat_only` |
//! | reputation: 0–1000, start 500, bounded step | `reputation_starts_at_500_and_moves_by_bounded_steps_once_in_an_update` |
//! | reputation: changed only by an executed state update | `reputation_changes_by_an_executed_update_only` |
//! | networks registry: DAO or Coordinator adds and removes | `networks_are_added_and_removed_by_the_dao_or_the_coordinator`, `networks_keep_their_ids` |
//! | job requests with escrow: uint128, no truncation; the payer is the owner | `jobs_belong_to_their_payer_and_escrow_what_they_pay`, `jobs_pay_to_the_last_wei_whatever_the_amount` |
//! | cancel and refund when not executed within a deadline | `jobs_are_cancelled_and_refunded_after_the_deadline` |
//! | completion through an executed update | `jobs_are_completed_by_an_executed_update_only` |
//! | upgradeable (UUPS) by the DAO's timelock | `upgrade.rs` |

mod contracts_support;

use alloy::primitives::{B256, U256, keccak256};
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};

fn validator_of(world: &World, n: u32) -> Core::validatorsReturn {
    world.core(Core::validatorsCall {
        account: address(n),
    })
}

fn user_of(world: &World, n: u32) -> Core::usersReturn {
    world.core(Core::usersCall {
        account: address(n),
    })
}

fn reputation(world: &World, n: u32) -> u16 {
    world.core(Core::reputationOfCall {
        account: address(n),
    })
}

fn change(n: u32, delta: i16) -> Coordinator::ReputationChange {
    Coordinator::ReputationChange {
        account: address(n),
        delta,
    }
}

fn cancel(id: B256) -> Core::cancelJobCall {
    Core::cancelJobCall { jobId: id }
}

#[test]
fn credentials_are_the_hash_of_a_key_and_a_role() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    let record = validator_of(&world, 0);
    assert_eq!(
        (record.publicKeyHash, record.locked, record.exists),
        (key_hash(0), true, true)
    );
    assert!(!user_of(&world, 0).exists);
    let record = user_of(&world, USER);
    assert_eq!(
        (record.publicKeyHash, record.locked, record.exists),
        (key_hash(USER), true, true)
    );
    assert!(!validator_of(&world, USER).exists);
    assert_eq!(credential(&world, 777), B256::ZERO);
    let user = |hash| Core::createUserCall {
        publicKeyHash: hash,
    };
    let validator = |hash| Core::createValidatorCall {
        publicKeyHash: hash,
    };
    assert_reverts::<Core::Core__InvalidPublicKeyHash>(world.send(1, core, user(B256::ZERO)));
    assert_reverts::<Core::Core__InvalidPublicKeyHash>(world.send(1, core, validator(B256::ZERO)));
    assert_reverts::<Core::Core__NodeExists>(world.send(USER, core, user(key_hash(1))));
    assert_reverts::<Core::Core__NodeExists>(world.send(0, core, validator(key_hash(1))));
    // Giving up the role ends the credential at once.
    world
        .send(USER, core, Core::unlockUserCall {})
        .expect("requested");
    assert_eq!(credential(&world, USER), B256::ZERO);
    world
        .send(0, core, Core::unlockValidatorCall {})
        .expect("requested");
    assert_eq!(credential(&world, 0), B256::ZERO);
}

#[test]
fn credentials_are_changed_by_their_owner_only() {
    let mut world = World::new(2);
    let core = world.deployment.core;
    let call = |hash| Core::setPublicKeyHashCall {
        publicKeyHash: hash,
    };
    assert_reverts::<Core::Core__NodeDoesNotExist>(world.send(
        FIRST_WORKER,
        core,
        call(key_hash(77)),
    ));
    assert_reverts::<Core::Core__InvalidPublicKeyHash>(world.send(0, core, call(B256::ZERO)));
    world.send(0, core, call(key_hash(77))).expect("rotated");
    assert_eq!(credential(&world, 0), key_hash(77));
    assert_eq!(credential(&world, 1), key_hash(1));
    assert!(!verified(&world, 0) && verified(&world, 1));
}

#[test]
fn queries_vouch_for_a_validator_with_key_collateral_and_seat_only() {
    let mut world = World::new(6);
    let (core, token) = (world.deployment.core, world.deployment.token);
    assert!((0..6).all(|n| verified(&world, n)));
    let query = |world: &World, n: u32, hash| {
        world.core(Core::isVerifiedValidatorCall {
            account: address(n),
            publicKeyHash: hash,
        })
    };
    assert!(!query(&world, 0, key_hash(1)), "another's key");
    assert!(!query(&world, 0, B256::ZERO));
    assert!(!query(&world, 9, key_hash(9)), "no validator");
    assert!(!query(&world, 9, B256::ZERO));
    // Each of these ends it at once: leaving the set, unlocking, a slash, an executed removal.
    leave(&mut world, 1);
    world
        .send(2, core, Core::unlockValidatorCall {})
        .expect("requested");
    world
        .govern(
            token,
            Token::slashAndUnlockValidatorCall {
                validator: address(3),
                amount: sno(1),
            },
        )
        .expect("slashed");
    let mut update = empty_update();
    update.validatorsToRemove = vec![address(4)];
    world.run_round(&[0, 4, 5], &update);
    assert_eq!(
        (0..6).map(|n| verified(&world, n)).collect::<Vec<_>>(),
        [true, false, false, false, false, true]
    );
    // Who left only the set comes back to it; the credential was there all along.
    assert_eq!(credential(&world, 1), key_hash(1));
    join(&mut world, 1);
    assert!(verified(&world, 1));
    let info = world.core(Core::getValidatorInfoCall {
        account: address(1),
    });
    assert_eq!((info._0, info._1), (true, key_hash(1)));
}

#[test]
fn reputation_starts_at_500_and_moves_by_bounded_steps_once_in_an_update() {
    let mut world = World::new(1);
    assert_eq!((reputation(&world, 500), reputation(&world, 0)), (500, 500));
    let mut update = empty_update();
    update.reputationChanges = vec![change(500, 30), change(501, i16::MIN), change(500, 100)];
    world.run_round(&[0], &update);
    assert_eq!(
        (reputation(&world, 500), reputation(&world, 501)),
        (530, 400)
    );
    update.reputationChanges = vec![change(500, i16::MAX), change(501, -100)];
    for _ in 0..6 {
        world.run_round(&[0], &update);
    }
    assert_eq!(
        (reputation(&world, 500), reputation(&world, 501)),
        (1_000, 0)
    );
    // From the ends it comes back by one step.
    update.reputationChanges = vec![change(500, -1), change(501, 1)];
    world.run_round(&[0], &update);
    assert_eq!((reputation(&world, 500), reputation(&world, 501)), (999, 1));
}

#[test]
fn reputation_changes_by_an_executed_update_only() {
    let mut world = World::new(3);
    let (core, timelock) = (world.deployment.core, world.deployment.timelock);
    let call = Core::updateContractCall {
        jobIds: vec![],
        merkleRoot: B256::ZERO,
        totalCapacity: U256::ZERO,
        approvingValidators: vec![address(0)],
        interval: U256::from(60),
        round: 1,
        reputationChanges: vec![Core::ReputationChange {
            account: address(0),
            delta: 100,
        }],
    };
    for who in [address(0), address(DEPLOYER), timelock] {
        assert_reverts::<Core::Core__NotValidatorMultisig>(world.impersonate(
            who,
            core,
            call.clone(),
        ));
    }
    // Proposed and approved is not executed.
    let mut update = empty_update();
    update.reputationChanges = vec![change(500, 100)];
    let (hash, _) = proposed(&mut world, 0, &update);
    for voter in VOTERS {
        world.vote(voter, 1, hash).expect("voted");
    }
    assert_eq!(reputation(&world, 500), 500);
    world.wait_until(world.status().expiresAt);
    world.run_round(&VOTERS, &empty_update());
    assert_eq!(reputation(&world, 500), 500);
    assert_eq!(reputation(&world, 0), 500);
}

#[test]
fn networks_are_added_and_removed_by_the_dao_or_the_coordinator() {
    let mut world = World::new(3);
    let d = world.deployment.clone();
    let add = |name: &str| Core::addNetworkCall { name: name.into() };
    let is = |world: &World, name: &str| world.core(Core::isNetworkCall { name: name.into() });
    for who in [address(0), address(DEPLOYER), d.token, d.dao] {
        assert_reverts::<Core::Core__NotDAO>(world.impersonate(who, d.core, add("mine")));
        assert_reverts::<Core::Core__NotDAO>(world.impersonate(
            who,
            d.core,
            Core::removeNetworkCall { id: 0 },
        ));
    }
    world
        .impersonate(d.timelock, d.core, add("matmul"))
        .expect("the DAO adds");
    world
        .impersonate(d.coordinator, d.core, add("render"))
        .expect("the Coordinator adds");
    assert!(is(&world, "matmul") && is(&world, "render") && !is(&world, "mine"));
    assert_reverts::<Core::Core__NetworkExists>(world.govern(d.core, add("matmul")));
    let (longest, too_long) = ("n".repeat(64), "n".repeat(65));
    for bad in ["", too_long.as_str()] {
        assert_reverts::<Core::Core__InvalidNetworkName>(world.govern(d.core, add(bad)));
    }
    world.govern(d.core, add(&longest)).expect("64 bytes");
    world
        .impersonate(d.coordinator, d.core, Core::removeNetworkCall { id: 1 })
        .expect("removed");
    assert!(!is(&world, "matmul"));
    for bad in [1, 9] {
        assert_reverts::<Core::Core__UnknownNetwork>(
            world.govern(d.core, Core::removeNetworkCall { id: bad }),
        );
    }
}

#[test]
fn networks_keep_their_ids() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    let hash = keccak256("job");
    world
        .send(USER, core, request(hash, SNO))
        .expect("requested");
    world
        .govern(core, Core::removeNetworkCall { id: 0 })
        .expect("removed");
    // Its open job stays, names it, and completes; new ones are refused.
    let id = job_id(&world, hash);
    let job = world.core(Core::getJobCall { jobId: id });
    assert_eq!((job.network.as_str(), job.state), ("hash-chain", 1));
    assert_reverts::<Core::Core__UnknownNetwork>(world.send(
        USER,
        core,
        request(keccak256("second"), SNO),
    ));
    let mut update = empty_update();
    update.jobIds = vec![id];
    world.run_round(&VOTERS, &update);
    assert_eq!(job_state(&world, id), 2);
    // Added again it is another one; ids are bytes, so there are 256 of them.
    for n in 1..=255u32 {
        let name = if n == 1 {
            "hash-chain".into()
        } else {
            format!("network {n}")
        };
        world
            .govern(core, Core::addNetworkCall { name })
            .expect("room for it");
    }
    let full = Core::addNetworkCall {
        name: "one too many".into(),
    };
    assert_reverts::<Core::Core__InvalidNetworkName>(world.govern(core, full));
    assert_eq!(
        world.core(Core::networkCountCall {}),
        U256::from(256),
        "never shortened"
    );
    world
        .send(USER, core, request(keccak256("second"), SNO))
        .expect("requested");
    world.assert_books();
}

#[test]
fn jobs_belong_to_their_payer_and_escrow_what_they_pay() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    let hash = keccak256("job");
    assert_reverts::<Core::Core__InvalidPayment>(world.send(USER, core, request(hash, 0)));
    for value in [4, 6] {
        assert_reverts::<Core::Core__InvalidPayment>(world.pay(
            USER,
            core,
            request(hash, 5),
            U256::from(value),
        ));
    }
    assert_reverts::<Token::Token__InsufficientBalance>(world.send(
        USER,
        core,
        request(hash, u128::MAX),
    ));
    let mut unknown = request(hash, 1);
    unknown.network = "nowhere".into();
    assert_reverts::<Core::Core__UnknownNetwork>(world.send(USER, core, unknown));
    let mut many = request(hash, 1);
    many.capacities = vec![U256::from(1); 65];
    assert_reverts::<Core::Core__InvalidArrayLength>(world.send(USER, core, many));
    // Only a registered user, by its own key's hash.
    assert_reverts::<Core::Core__InvalidUser>(world.send(0, core, request(hash, 1)));
    let mut stranger = request(hash, 1);
    stranger.userHash = key_hash(1);
    assert_reverts::<Core::Core__InvalidUser>(world.send(USER, core, stranger));

    world.send(USER, core, request(hash, 5)).expect("requested");
    let id = job_id(&world, hash);
    let job = world.core(Core::getJobCall { jobId: id });
    assert_eq!(
        (job.owner, job.payment, job.payWithSNO, job.state),
        (address(USER), 5, true, 1)
    );
    assert_eq!(
        (job.network.as_str(), job.createdAt),
        ("hash-chain", world.chain.timestamp())
    );
    let escrowed = world.token(Token::getEscrowedPaymentsCall {
        user: address(USER),
    });
    assert_eq!((escrowed.sno, escrowed.eth), (5, 0));
    assert_eq!(world.balance_of(USER), sno(900) - U256::from(5));
    assert_reverts::<Core::Core__JobExists>(world.send(USER, core, request(hash, 5)));
    assert_eq!(world.core(Core::getJobCountCall {}), U256::from(1));
    world.assert_books();
}

#[test]
fn jobs_pay_to_the_last_wei_whatever_the_amount() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    // More than 2^80 wei are 1,208,925 SNO: sent by the treasury of a longer life.
    let huge = (1u128 << 80) + 1;
    let to_user = Token::transferCall {
        to: address(USER),
        value: U256::from(huge),
    };
    let lower = Token::setValidatorLockAmountCall { newAmount: sno(1) };
    let token = world.deployment.token;
    world.govern(token, lower).expect("lowered");
    for n in [1, 2] {
        world
            .send(n, core, Core::unlockValidatorCall {})
            .expect("requested");
    }
    world.wait(30 * DAY);
    for n in [1, 2] {
        world
            .send(n, core, Core::unlockValidatorCall {})
            .expect("paid out");
    }
    // Gas is estimated as of the last block, in which a checkpoint of these votes must not be of the same time.
    world.mine_blocks(1);
    let gather = Token::transferCall {
        to: address(1),
        value: sno(1_000_000),
    };
    world.send(2, token, gather).expect("sent");
    world.mine_blocks(1);
    world.send(1, token, to_user).expect("sent");
    let hash = keccak256("huge");
    world
        .send(USER, core, request(hash, huge))
        .expect("requested");
    let id = job_id(&world, hash);
    assert_eq!(world.core(Core::jobsCall { jobId: id }).payment, huge);
    assert_eq!(world.token(Token::s_totalEscrowedCall {}).sno, huge);
    let coordinator = world.deployment.coordinator;
    world
        .send(0, coordinator, Coordinator::reactivateCall {})
        .expect("back");
    let (_, mut update) = work(2, &[(501, 1)]);
    update.jobIds = vec![id];
    let receipt = world.run_round(&[0], &update);
    assert_eq!(events::<Core::JobCompleted>(&receipt)[0].payment, huge);
    let unclaimed = world.token(Token::unclaimedOfCall {
        distributionId: U256::from(2),
    });
    assert_eq!(
        unclaimed.payments,
        U256::from(huge) * U256::from(85) / U256::from(100)
    );
    assert_eq!(world.token(Token::s_totalEscrowedCall {}).sno, 0);
    world.assert_books();
}

#[test]
fn jobs_are_cancelled_and_refunded_after_the_deadline() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    let (sno_job, eth_job) = (keccak256("sno"), keccak256("eth"));
    world
        .send(USER, core, request(sno_job, 5 * SNO))
        .expect("requested");
    let created = world.chain.timestamp();
    world
        .pay(USER, core, request(eth_job, SNO), U256::from(SNO))
        .expect("requested");
    let (sno_job, eth_job) = (job_id(&world, sno_job), job_id(&world, eth_job));
    let deadline = created + 3 * INTERVAL;
    assert_eq!(
        world.core(Core::cancellableAtCall { jobId: sno_job }),
        U256::from(deadline)
    );
    world.wait_until(deadline - 4);
    assert_reverts::<Core::Core__TooEarlyToCancel>(world.send(USER, core, cancel(sno_job)));
    world.wait_until(deadline);
    assert_reverts::<Core::Core__NotJobOwner>(world.send(0, core, cancel(sno_job)));
    assert_reverts::<Core::Core__NotJobOwner>(world.send(USER, core, cancel(keccak256("none"))));
    world.send(USER, core, cancel(sno_job)).expect("refunded");
    assert_eq!(world.balance_of(USER), sno(900));
    world.wait(60);
    let before = eth(&world, address(USER));
    let receipt = world.send(USER, core, cancel(eth_job)).expect("refunded");
    let gas = U256::from(u128::from(receipt.gas_used) * receipt.effective_gas_price);
    assert_eq!(eth(&world, address(USER)) + gas - before, U256::from(SNO));
    for id in [sno_job, eth_job] {
        assert_eq!(job_state(&world, id), 3);
        assert_reverts::<Core::Core__JobNotOpen>(world.send(USER, core, cancel(id)));
    }
    // An id is never used again.
    assert_reverts::<Core::Core__JobExists>(world.send(USER, core, request(keccak256("sno"), SNO)));
    world.assert_books();
}

#[test]
fn jobs_are_completed_by_an_executed_update_only() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    let hashes: Vec<_> = (0..3u8).map(|n| keccak256([n])).collect();
    for hash in &hashes {
        world
            .send(USER, core, request(*hash, 5))
            .expect("requested");
    }
    let ids: Vec<_> = hashes.iter().map(|hash| job_id(&world, *hash)).collect();
    world.wait(3 * INTERVAL);
    world.send(USER, core, cancel(ids[0])).expect("cancelled");
    // What is cancelled, unknown or named twice is passed over and does not block the update.
    let mut update = empty_update();
    update.jobIds = vec![ids[0], keccak256("unknown"), ids[1], ids[1]];
    let (hash, proposer) = proposed(&mut world, 0, &update);
    for voter in VOTERS {
        world.vote(voter, 1, hash).expect("voted");
    }
    assert_eq!(job_state(&world, ids[1]), 1, "approved is not executed");
    let receipt = world.execute(proposer, 1, &update).expect("executed");
    let skipped: Vec<Core::JobSkipped> = events(&receipt);
    assert_eq!(
        skipped.iter().map(|job| job.state).collect::<Vec<_>>(),
        [3, 0, 2]
    );
    assert_eq!(events::<Core::JobCompleted>(&receipt).len(), 1);
    assert_eq!(
        ids.iter()
            .map(|id| job_state(&world, *id))
            .collect::<Vec<_>>(),
        [3, 2, 1]
    );
    assert_reverts::<Core::Core__JobNotOpen>(world.send(USER, core, cancel(ids[1])));
    world.assert_books();
}
