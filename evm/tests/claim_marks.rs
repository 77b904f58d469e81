//! The marks of claims, which share their storage slots with balances: none is lost, none disturbs a balance or another
//! mark, and the dearest claim stays within its bound of gas.

mod contracts_support;

use alloy::primitives::{Address, B256, U256, keccak256};
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::SmartnodesERC20 as Token;
use smartnodes_evm::reward_tree::RewardTree;
use smartnodes_evm::state_update::StateUpdate;

/// Who claims, and one who has a leaf wherever it has and never claims.
const CLAIMANT: u32 = 501;
const IDLE: u32 = 502;

fn is_claimed(world: &World, id: u64, n: u32) -> bool {
    world.token(Token::s_claimedCall {
        distributionId: U256::from(id),
        account: address(n),
    })
}

#[test]
fn claims_are_marked_once_in_whatever_order_they_come() {
    let mut world = World::new(1);
    // Marks are kept in groups of 128; these are at the edges of three of them.
    let ids = [1, 127, 128, 129, 255, 256, 300];
    let mut trees = std::collections::BTreeMap::new();
    for id in 1..=310 {
        if ids.contains(&id) {
            let (tree, update) = work(id, &[(CLAIMANT, 1), (IDLE, 3)]);
            world.distribute(update.merkleRoot, update.totalCapacity);
            trees.insert(id, tree);
        } else {
            world.distribute(B256::ZERO, U256::ZERO);
        }
    }
    // An hour's emission has 5,625 SNO, of which the claimant's part is 85 % of a quarter.
    let share = sno(5_625) * U256::from(85) / U256::from(400);
    let token = world.deployment.token;
    let mut claimed = Vec::new();
    // The first one claimed decides which group is kept beside the balance.
    for id in [129, 1, 300, 128, 127, 256, 255] {
        assert!(!is_claimed(&world, id, CLAIMANT));
        claim(&mut world, CLAIMANT, id, 1, &trees[&id]).expect("claimed");
        claimed.push(id);
        for other in [0, 2, 126, 130, 254, 257, 383, 384, 400]
            .into_iter()
            .chain(ids)
        {
            assert_eq!(
                is_claimed(&world, other, CLAIMANT),
                claimed.contains(&other),
                "distribution {other} after {claimed:?}"
            );
            assert!(!is_claimed(&world, other, IDLE));
        }
        assert_eq!(world.balance_of(CLAIMANT), share, "{id}");
        assert_reverts::<Token::Token__RewardsAlreadyClaimed>(claim(
            &mut world,
            CLAIMANT,
            id,
            1,
            &trees[&id],
        ));
        // Whoever gives everything away has claimed none the less, and so has whoever gets something.
        let give = Token::transferCall {
            to: address(IDLE),
            value: share,
        };
        world.send(CLAIMANT, token, give).expect("sent");
        assert_eq!(world.balance_of(CLAIMANT), U256::ZERO);
        assert_eq!(
            world.balance_of(IDLE),
            share * U256::from(claimed.len() as u64)
        );
    }
    let all = Token::transferCall {
        to: address(CLAIMANT),
        value: world.balance_of(IDLE),
    };
    world.send(IDLE, token, all).expect("sent");
    for id in ids {
        assert_reverts::<Token::Token__RewardsAlreadyClaimed>(claim(
            &mut world,
            CLAIMANT,
            id,
            1,
            &trees[&id],
        ));
        claim(&mut world, IDLE, id, 3, &trees[&id]).expect("its own part");
    }
    world.assert_books();
}

#[test]
fn the_dearest_claim_among_10_000_workers_costs_at_most_120_000_gas() {
    let mut world = World::new(3);
    world.grant_user(USER, sno(1_000));
    let capacity = U256::from(1_000_000_000u64);
    let leaves = (0..10_000u64)
        .map(|n| (Address::from_word(keccak256(n.to_be_bytes())), capacity))
        .chain([CLAIMANT, IDLE].map(|n| (address(n), capacity)))
        .collect::<Vec<_>>();
    let total = leaves.iter().map(|leaf| leaf.1).sum();
    let mut dearest = 0;
    // Payments in SNO and ETH in the pool. The claimant's second claim needs a new slot for its mark, in another group
    // than the first; its balance is gone.
    for round in 0..2 {
        let id = world.status().nextDistributionId;
        let tree = RewardTree::new(id, leaves.clone()).expect("distinct");
        let update = StateUpdate {
            merkleRoot: tree.root(),
            totalCapacity: total,
            jobIds: vec![
                world.request_sno(keccak256([round, 0]), SNO),
                world.request_eth(keccak256([round, 1]), SNO),
            ],
            ..empty_update()
        };
        world.run_round(&VOTERS, &update);
        world.mine_blocks(3);
        let gas = claim(&mut world, CLAIMANT, id, 1_000_000_000, &tree)
            .expect("claimed")
            .gas_used;
        println!("claim {gas} gas");
        dearest = dearest.max(gas);
        let give = Token::transferCall {
            to: address(IDLE),
            value: world.balance_of(CLAIMANT),
        };
        world
            .send(CLAIMANT, world.deployment.token, give)
            .expect("sent");
        world.distribute_nothing(128);
        world.resume();
    }
    assert!((90_000..=120_000).contains(&dearest), "{dearest}");
}
