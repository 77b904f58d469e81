//! The rule book's token: what it is, its genesis, its emission, how an update's money is split, payments, and the
//! identity of the supply.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | name, symbol, decimals | `name_symbol_decimals`, `permit_is_a_signed_allowance_used_once`, `votes_follow_the_tokens_and_the_total_follows_the_supply`, `the_token_is_not_upgradeable` |
//! | genesis | `genesis_is_1_000_000_sno_each_all_of_it_locked` |
//! | emission per state update, era 0 | `emission_of_era_0_is_45_000_sno_for_8_hours_and_5_625_for_each_hour` |
//! | reduction; tail | `reduction_by_0_6_every_365_days_down_to_the_tail`, `reduction_spares_the_period_that_began_before_it` |
//! | split of a distribution | `split_is_85_10_5_with_every_remainder_in_the_treasury` |
//! | no capacity in a period | `no_capacity_mints_no_workers_share_and_payments_wait` |
//! | payments | `payments_in_sno_are_paid_out_of_their_escrow`, `payments_in_eth_wait_for_validators_and_go_to_the_others`, `payments_that_a_worker_refuses_wait_for_it` |
//! | supply identity | `supply_identity_holds_through_everything_that_moves_it`, `supply_is_bounded_by_the_tokens_own_clock` |
//! | claims; expiry; testnet → mainnet | `rules_claims.rs` |
//! | collateral | `rules_collateral.rs` |

mod contracts_support;

use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::sol_types::SolValue;
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};
use smartnodes_evm::deployment::DeployParams;
use smartnodes_evm::emission::{ERA_SECONDS, per_update};
use smartnodes_evm::reward_tree::RewardTree;

/// `percent` of an amount, rounded down.
fn share(amount: U256, percent: u64) -> U256 {
    amount * U256::from(percent) / U256::from(100)
}

#[test]
fn name_symbol_decimals() {
    let world = World::new(1);
    assert_eq!(world.token(Token::nameCall {}), "Smartnodes");
    assert_eq!(world.token(Token::symbolCall {}), "SNO");
    assert_eq!(world.token(Token::decimalsCall {}), 18);
    assert_eq!(world.token(Token::CLOCK_MODECall {}), "mode=timestamp");
    assert_eq!(
        world.token(Token::clockCall {}).to::<u64>(),
        world.chain.timestamp()
    );
}

#[test]
fn permit_is_a_signed_allowance_used_once() {
    let mut world = World::new(3);
    world.run_round(&VOTERS, &empty_update());
    let token = world.deployment.token;
    let deadline = U256::from(world.chain.timestamp() + DAY);
    let type_hash = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
    );
    let permit = (
        type_hash,
        address(0),
        address(500),
        sno(7),
        U256::ZERO,
        deadline,
    );
    let digest = keccak256(
        [
            b"\x19\x01".as_slice(),
            world.token(Token::DOMAIN_SEPARATORCall {}).as_slice(),
            keccak256(permit.abi_encode()).as_slice(),
        ]
        .concat(),
    );
    let signature = signer(0).sign_hash_sync(&digest).expect("signed");
    let call = |value| Token::permitCall {
        owner: address(0),
        spender: address(500),
        value,
        deadline,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    };
    assert_reverts::<Token::ERC2612InvalidSigner>(world.send(9, token, call(sno(8))));
    // Anybody may hand it in, once.
    world.send(9, token, call(sno(7))).expect("permitted");
    assert_reverts::<Token::ERC2612InvalidSigner>(world.send(9, token, call(sno(7))));
    let take = |value| Token::transferFromCall {
        from: address(0),
        to: address(501),
        value,
    };
    assert_reverts::<Token::ERC20InsufficientAllowance>(world.send(500, token, take(sno(8))));
    world.send(500, token, take(sno(7))).expect("allowed");
    assert_eq!(world.balance_of(501), sno(7));
}

#[test]
fn votes_follow_the_tokens_and_the_total_follows_the_supply() {
    let mut world = World::new(3);
    let (tree, update) = work(1, &[(500, 1)]);
    world.run_round(&VOTERS, &update);
    let token = world.deployment.token;
    world
        .send(
            500,
            token,
            Token::delegateCall {
                delegatee: address(500),
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
                to: address(0),
                value: sno(250),
            },
        )
        .expect("sent");
    assert_eq!(
        (votes(&world, 500), votes(&world, 0)),
        (sno(38_000), sno(1_001_750))
    );
    world.run_round(&VOTERS, &empty_update());
    let at = U256::from(world.chain.timestamp());
    world.mine_blocks(1);
    let total = world.token(Token::getPastTotalSupplyCall { timepoint: at });
    assert_eq!(total, world.token(Token::totalSupplyCall {}));
    assert_eq!(total, sno(3_000_000 + 2 * 6_750 + 38_250));
}

#[test]
fn the_token_is_not_upgradeable() {
    let mut world = World::new(1);
    let (token, timelock) = (world.deployment.token, world.deployment.timelock);
    let upgrade = Core::upgradeToAndCallCall {
        newImplementation: world.deployment.core,
        data: Bytes::new(),
    };
    let refused = world.impersonate(timelock, token, upgrade);
    assert!(refused.is_err_and(|error| error.to_string().contains("revert")));
    // Nothing in its code could run other code in its place, or end it.
    let code = world
        .chain
        .code(token, alloy::eips::BlockId::latest())
        .expect("latest");
    let mut at = 0;
    // INVALID parts the code from the constants behind it.
    while let Some(opcode) = code.get(at).filter(|opcode| **opcode != 0xfe) {
        assert!(
            !matches!(*opcode, 0xf2 | 0xf4 | 0xff),
            "opcode {opcode:#x} at {at}"
        );
        // PUSH1 to PUSH32 carry data.
        at += match *opcode {
            push @ 0x60..=0x7f => usize::from(push) - 0x5e,
            _ => 1,
        };
    }
    assert!(at > 20_000, "the code was walked: {at}");
}

#[test]
fn genesis_is_1_000_000_sno_each_all_of_it_locked() {
    for count in [1, 3, 7] {
        let mut world = World::new(count);
        let total = sno(1_000_000) * U256::from(count);
        assert_eq!(world.token(Token::totalSupplyCall {}), total);
        assert_eq!(world.token(Token::s_totalLockedCall {}), total);
        let supply = world.token(Token::getSupplyBreakdownCall {});
        assert_eq!(
            (supply._totalSupply, supply._circulating, supply._locked),
            (total, U256::ZERO, total)
        );
        for n in 0..count {
            let lock = world.token(Token::getLockInfoCall { user: address(n) });
            assert_eq!(
                (lock.locked, lock.isValidator, lock.lockAmount),
                (true, true, sno(1_000_000))
            );
            assert_eq!(world.balance_of(n), U256::ZERO);
        }
        // The first SNO in circulation comes from the first update.
        let core = world.deployment.core;
        assert_reverts::<Token::Token__InsufficientBalance>(world.send(
            USER,
            core,
            Core::createUserCall {
                publicKeyHash: key_hash(USER),
            },
        ));
        let voters: Vec<u32> = (0..count).collect();
        world.run_round(&voters, &empty_update());
        assert!((0..count).all(|n| world.balance_of(n) > U256::ZERO));
        world.assert_books();
    }
}

#[test]
fn emission_of_era_0_is_45_000_sno_for_8_hours_and_5_625_for_each_hour() {
    for (hours, expected) in [(8, 45_000), (1, 5_625), (256, 1_440_000)] {
        let params = DeployParams {
            update_interval_seconds: hours * 3_600,
            ..DeployParams::default()
        };
        let mut world = World::with(1, params);
        assert_eq!(world.token(Token::getEmissionRateCall {}), sno(expected));
        world.open_round(0);
        let hash = world.hash(&empty_update());
        world.propose(0, hash).expect("proposed");
        world.vote(0, 1, hash).expect("voted");
        let receipt = world.execute(0, 1, &empty_update()).expect("executed");
        let created: Vec<Token::MerkleDistributionCreated> = events(&receipt);
        assert_eq!(created[0].totalSnoRewards, sno(expected));
        let minted = world.token(Token::totalSupplyCall {}) - sno(1_000_000);
        assert_eq!(minted, share(sno(expected), 15), "without work");
    }
}

#[test]
fn reduction_by_0_6_every_365_days_down_to_the_tail() {
    // In thousandths of SNO for 8 hours, from the rule book: × 0.6 for each year, never below 3,360 (from the seventh year on).
    let schedule = [
        (0, 45_000_000),
        (1, 27_000_000),
        (2, 16_200_000),
        (3, 9_720_000),
        (4, 5_832_000),
        (5, 3_499_200),
        (6, 3_360_000),
        (7, 3_360_000),
        (30, 3_360_000),
    ];
    let mut world = World::new(1);
    let coordinator = world.deployment.coordinator;
    for (era, milli_sno) in schedule {
        let start = world.deployment.start_time + era * ERA_SECONDS;
        world.wait_until(start);
        if era > 0 {
            world
                .send(0, coordinator, Coordinator::reactivateCall {})
                .expect("back after a year");
            // One period that began in the old era, then one that lies in the new one.
            world.run_round(&[0], &empty_update());
        }
        let receipt = world.run_round(&[0], &empty_update());
        let created: Vec<Token::MerkleDistributionCreated> = events(&receipt);
        let expected = U256::from(milli_sno) * sno(1) / U256::from(1_000);
        assert_eq!(created[0].totalSnoRewards, expected, "era {era}");
        assert_eq!(expected, per_update(era, INTERVAL), "era {era}");
        assert_eq!(world.token(Token::getCurrentEraCall {}), U256::from(era));
    }
}

#[test]
fn reduction_spares_the_period_that_began_before_it() {
    let mut world = World::new(1);
    let year = world.deployment.start_time + ERA_SECONDS;
    for (time, era) in [
        (year - 1, 0),
        (year, 0),
        (year + INTERVAL - 1, 0),
        (year + INTERVAL, 1),
        (year + ERA_SECONDS + INTERVAL - 1, 1),
        (year + ERA_SECONDS + INTERVAL, 2),
    ] {
        world.wait_until(time);
        let rate = world.token(Token::getEmissionRateCall {});
        assert_eq!(rate, per_update(era, INTERVAL), "at {time}");
    }
}

#[test]
fn split_is_85_10_5_with_every_remainder_in_the_treasury() {
    const COUNT: u32 = 7;
    let mut world = World::new(COUNT);
    let voters: Vec<u32> = (0..COUNT).collect();
    fund_and_register_user(&mut world, &voters);
    let core = world.deployment.core;
    // More than two thirds approve: five, six or seven share; payments that no division comes out even for.
    for (id, (approving, payment)) in (2..).zip([(5, 0), (6, 1), (7, 99 * SNO + 13), (7, 7)]) {
        let mut update = work(id, &[(501, 3), (502, 4)]).1;
        if payment != 0 {
            let hash = keccak256(id.to_be_bytes());
            world
                .send(USER, core, request(hash, payment))
                .expect("requested");
            update.jobIds = vec![job_id(&world, hash)];
        }
        let before: Vec<U256> = voters.iter().map(|n| world.balance_of(*n)).collect();
        let (treasury_before, unclaimed_before) = (
            treasury(&world),
            world.token(Token::s_totalUnclaimedCall {}).sno,
        );
        let receipt = world.run_round(&voters[..approving], &update);
        let pool = sno(45_000) + U256::from(payment);
        let workers = share(pool, 85);
        let each = share(pool, 10) / U256::from(approving);
        for (voter, before) in voters.iter().zip(before) {
            let paid = if (*voter as usize) < approving {
                each
            } else {
                U256::ZERO
            };
            assert_eq!(world.balance_of(*voter) - before, paid, "validator {voter}");
        }
        let rest = pool - workers - each * U256::from(approving);
        assert_eq!(treasury(&world) - treasury_before, rest);
        assert!(rest >= share(pool, 5));
        let unclaimed = world.token(Token::s_totalUnclaimedCall {}).sno;
        assert_eq!(U256::from(unclaimed - unclaimed_before), workers);
        let dao: Vec<Token::DAORewardsDistributed> = events(&receipt);
        assert_eq!(dao[0].snoAmount, rest);
        world.assert_books();
    }
}

#[test]
fn no_capacity_mints_no_workers_share_and_payments_wait() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    let supply = world.token(Token::totalSupplyCall {});
    let hash = keccak256("job");
    world
        .send(USER, core, request(hash, 100 * SNO))
        .expect("requested");
    let mut update = empty_update();
    update.jobIds = vec![job_id(&world, hash)];
    world.run_round(&VOTERS, &update);
    assert_eq!(
        world.token(Token::totalSupplyCall {}) - supply,
        sno(6_750),
        "15 % of the emission"
    );
    assert_eq!(world.token(Token::s_releasedCall {}).sno, 100 * SNO);
    world.assert_books();
    let (tree, update) = work(3, &[(501, 1)]);
    world.run_round(&VOTERS, &update);
    claim(&mut world, 501, 3, 1, &tree).expect("claimed");
    assert_eq!(world.balance_of(501), share(sno(45_100), 85));
    assert_eq!(world.token(Token::s_releasedCall {}).sno, 0);
    world.assert_books();
}

#[test]
fn payments_in_sno_are_paid_out_of_their_escrow() {
    let mut world = world_with_user();
    let core = world.deployment.core;
    let supply = world.token(Token::totalSupplyCall {});
    let payment = 50 * SNO + 7;
    let hash = keccak256("job");
    world
        .send(USER, core, request(hash, payment))
        .expect("requested");
    assert_eq!(world.token(Token::s_totalEscrowedCall {}).sno, payment);
    assert_eq!(world.balance_of(USER), sno(900) - U256::from(payment));
    assert_eq!(
        world.token(Token::totalSupplyCall {}),
        supply,
        "escrow mints nothing"
    );
    let (tree, mut update) = work(2, &[(501, 3), (502, 4)]);
    update.jobIds = vec![job_id(&world, hash)];
    let receipt = world.run_round(&VOTERS, &update);
    assert_eq!(events::<Core::JobCompleted>(&receipt)[0].payment, payment);
    let workers = share(sno(45_000) + U256::from(payment), 85);
    let mut claimed = U256::ZERO;
    for (worker, capacity) in [(501, 3), (502, 4)] {
        claim(&mut world, worker, 2, capacity, &tree).expect("claimed");
        assert_eq!(
            world.balance_of(worker),
            workers * U256::from(capacity) / U256::from(7)
        );
        claimed += world.balance_of(worker);
        world.assert_books();
    }
    assert!(workers - claimed < U256::from(2));
    // The supply grew by the emission alone (less dust, which is minted only when it is claimed).
    let grown = world.token(Token::totalSupplyCall {}) - supply;
    assert!(sno(45_000) - grown < U256::from(2));
}

#[test]
fn payments_in_eth_wait_for_validators_and_go_to_the_others() {
    let mut world = world_with_user();
    let (core, token) = (world.deployment.core, world.deployment.token);
    let payment = 1_000_000_000_000_000_007u128;
    let hash = keccak256("eth job");
    world
        .pay(USER, core, request(hash, payment), U256::from(payment))
        .expect("requested");
    assert_eq!(world.token(Token::s_totalEscrowedCall {}).eth, payment);
    let (tree, mut update) = work(2, &[(501, 3), (502, 4)]);
    update.jobIds = vec![job_id(&world, hash)];
    let before = eth(&world, world.deployment.timelock);
    world.run_round(&VOTERS, &update);
    let (workers, each) = (payment * 85 / 100, payment * 10 / 100 / 3);
    assert_eq!(
        eth(&world, world.deployment.timelock) - before,
        U256::from(payment - workers - 3 * each)
    );
    assert_eq!(world.token(Token::s_totalUnclaimedCall {}).eth, workers);
    world.assert_books();
    // A validator's ETH waits for it, and it may name the receiver.
    for voter in VOTERS {
        let credit = world.token(Token::s_creditsCall {
            account: address(voter),
        });
        assert_eq!(credit.eth, each);
    }
    let to = Address::repeat_byte(0x77);
    world
        .send(0, token, Token::withdrawEthCall { to })
        .expect("withdrawn");
    assert_eq!(eth(&world, to), U256::from(each));
    assert_reverts::<Token::Token__InsufficientBalance>(world.send(
        0,
        token,
        Token::withdrawEthCall { to },
    ));
    let before = eth(&world, address(501));
    let receipt = claim(&mut world, 501, 2, 3, &tree).expect("claimed");
    let gas = U256::from(u128::from(receipt.gas_used) * receipt.effective_gas_price);
    assert_eq!(
        eth(&world, address(501)) + gas - before,
        U256::from(workers * 3 / 7)
    );
    world.assert_books();
}

#[test]
fn payments_that_a_worker_refuses_wait_for_it() {
    let mut world = world_with_user();
    let (core, token) = (world.deployment.core, world.deployment.token);
    // Runtime code 5f5ffd: reverts whatever it is sent.
    let init = [
        0x62, 0x5f, 0x5f, 0xfd, 0x5f, 0x52, 0x60, 0x03, 0x60, 0x1d, 0xf3,
    ];
    let contract = world
        .chain
        .transact(&signer(0), TxKind::Create, init.into(), U256::ZERO)
        .expect("deployed")
        .contract_address
        .expect("a contract");
    let hash = keccak256("eth job");
    world
        .pay(USER, core, request(hash, 1_000), U256::from(1_000))
        .expect("requested");
    let tree = RewardTree::new(2, vec![(contract, U256::ONE)]).expect("one leaf");
    let mut update = empty_update();
    update.merkleRoot = tree.root();
    update.totalCapacity = U256::ONE;
    update.jobIds = vec![job_id(&world, hash)];
    world.run_round(&VOTERS, &update);
    let claim = Token::claimMerkleRewardsCall {
        distributionId: U256::from(2),
        capacity: U256::ONE,
        proof: vec![],
    };
    world.impersonate(contract, token, claim).expect("claimed");
    // Its SNO is paid all the same, and the ETH goes where it says.
    assert_eq!(world.balance(contract), sno(38_250));
    let credit = Token::s_creditsCall { account: contract };
    assert_eq!(world.token(credit.clone()).eth, 850);
    world.assert_books();
    let to = Address::repeat_byte(0x66);
    world
        .impersonate(contract, token, Token::withdrawEthCall { to })
        .expect("withdrawn");
    assert_eq!(
        (eth(&world, to), world.token(credit).eth),
        (U256::from(850), 0)
    );
    world.assert_books();
}

#[test]
fn supply_identity_holds_through_everything_that_moves_it() {
    let mut world = world_with_user();
    let (core, token) = (world.deployment.core, world.deployment.token);
    world.assert_books();
    let mut trees = Vec::new();
    for id in 2..6 {
        let (sno_job, eth_job) = (
            keccak256(format!("sno {id}")),
            keccak256(format!("eth {id}")),
        );
        world
            .send(USER, core, request(sno_job, 3 * SNO + 1))
            .expect("requested");
        world
            .pay(USER, core, request(eth_job, 1_001), U256::from(1_001))
            .expect("requested");
        world.assert_books();
        let (tree, mut update) = work(id, &[(501, id), (502, 4), (503, 9)]);
        update.jobIds = vec![job_id(&world, sno_job), job_id(&world, eth_job)];
        world.run_round(&VOTERS, &update);
        world.assert_books();
        trees.push((id, tree));
    }
    for (id, tree) in &trees {
        claim(&mut world, 501, *id, *id, tree).expect("claimed");
        world.assert_books();
        claim(&mut world, 503, *id, 9, tree).expect("claimed");
        world.assert_books();
    }
    let refused = keccak256("never done");
    world
        .send(USER, core, request(refused, 5 * SNO))
        .expect("requested");
    world.wait(3 * INTERVAL);
    let cancel = Core::cancelJobCall {
        jobId: job_id(&world, refused),
    };
    world.send(USER, core, cancel).expect("refunded");
    world.assert_books();
    let supply = world.token(Token::totalSupplyCall {});
    world
        .govern(
            token,
            Token::slashAndUnlockValidatorCall {
                validator: address(2),
                amount: sno(123_456),
            },
        )
        .expect("slashed");
    assert_eq!(
        supply - world.token(Token::totalSupplyCall {}),
        sno(123_456)
    );
    assert_eq!(
        world.token(Token::getSupplyTermsCall {}).burned,
        sno(123_456)
    );
    world.assert_books();
    world
        .chain
        .transact(
            &signer(0),
            TxKind::Call(token),
            Bytes::new(),
            U256::from(77),
        )
        .expect("donated");
    world.assert_books();
}

#[test]
fn supply_is_bounded_by_the_tokens_own_clock() {
    let mut world = World::new(3);
    let (core, token) = (world.deployment.core, world.deployment.token);
    let mint = |interval: u64| Token::createMerkleDistributionCall {
        merkleRoot: B256::ZERO,
        totalCapacity: U256::ZERO,
        approvingValidators: vec![address(0)],
        interval: U256::from(interval),
    };
    assert_reverts::<Token::Token__OnlyCore>(world.send(0, token, mint(60)));
    world.wait(1_000);
    let elapsed = world.chain.timestamp() - world.deployment.start_time;
    assert_reverts::<Token::Token__DistributionTooEarly>(world.impersonate(
        core,
        token,
        mint(elapsed + 100),
    ));
    assert_reverts::<Token::Token__DistributionTooEarly>(world.impersonate(core, token, mint(0)));
    world
        .impersonate(core, token, mint(600))
        .expect("600 of 1,000 seconds");
    assert_reverts::<Token::Token__DistributionTooEarly>(world.impersonate(core, token, mint(600)));
}
