//! The rule book's claims: proofs, amounts, expiry, and the testnet's rewards.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | claims: proof over (account, capacity, distribution id), OpenZeppelin-compatible | `claims_by_proofs_made_in_rust_from_1_to_100_000_workers`, `claims_need_their_own_account_capacity_and_distribution`, `claims_proofs_hold_for_any_workers_and_for_nothing_else` |
//! | claims: double-hashed leaf | `claims_by_a_second_preimage_fail` |
//! | claims: one for each account and distribution, also inside one batch | `claims_of_a_duplicate_leaf_are_paid_once`, `claims_in_a_batch_are_paid_once_each_and_one_bad_entry_costs_no_other` |
//! | claims: amount = pool × capacity / total capacity; Σ claims ≤ pool | `claims_never_add_up_to_more_than_the_pool` |
//! | expiry | `expiry_comes_after_500_later_updates_and_settles_to_the_treasury` |
//! | testnet → mainnet | `testnet_rewards_are_claimed_once_on_the_production_token` |

mod contracts_support;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolValue;
use contracts_support::shorthand::*;
use contracts_support::*;
use proptest::prelude::*;
use smartnodes_evm::bindings::SmartnodesERC20 as Token;
use smartnodes_evm::chain::ChainError;
use smartnodes_evm::deployment::{DeployParams, TestnetSnapshot};
use smartnodes_evm::reward_tree::{RewardTree, RewardTreeError, leaf, verify};
use smartnodes_evm::state_update::StateUpdate;

/// The n-th of very many workers, who need no key: the chain lets anybody act for them.
fn worker(n: u64) -> Address {
    Address::from_word(keccak256([b"worker".as_slice(), &n.to_be_bytes()].concat()))
}

fn claim_as(
    world: &mut World,
    account: Address,
    distribution_id: u64,
    capacity: U256,
    proof: Vec<B256>,
) -> Result<TransactionReceipt, ChainError> {
    let token = world.deployment.token;
    world.impersonate(
        account,
        token,
        Token::claimMerkleRewardsCall {
            distributionId: U256::from(distribution_id),
            capacity,
            proof,
        },
    )
}

/// Executes an update with that root and total capacity.
fn distribute(world: &mut World, root: B256, total: U256) {
    let update = StateUpdate {
        merkleRoot: root,
        totalCapacity: total,
        ..empty_update()
    };
    world.run_round(&[0], &update);
}

/// Two nodes' parent in a tree with sorted pairs.
fn parent(a: B256, b: B256) -> B256 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    keccak256([low, high].concat())
}

#[test]
fn claims_by_proofs_made_in_rust_from_1_to_100_000_workers() {
    let mut world = World::new(1);
    for (id, count) in (1..).zip([1, 2, 3, 1_000, 100_000u64]) {
        let capacity = |n: u64| U256::from(n * n + 1);
        let leaves: Vec<_> = (0..count).map(|n| (worker(n), capacity(n))).collect();
        let total = leaves.iter().map(|leaf| leaf.1).sum();
        let tree = RewardTree::new(id, leaves).expect("distinct");
        distribute(&mut world, tree.root(), total);
        // All of the small ones; of the large ones the ends, the middle and some between.
        let sample: Vec<u64> = if count <= 3 {
            (0..count).collect()
        } else {
            vec![0, 1, count / 3, count / 2, count - 2, count - 1]
        };
        for n in sample {
            let account = worker(n);
            let proof = tree.proof(account).expect("a leaf");
            assert!(proof.len() <= count.next_power_of_two().ilog2() as usize);
            let before = world.balance(account);
            claim_as(&mut world, account, id, capacity(n), proof)
                .unwrap_or_else(|error| panic!("{n} of {count}: {error}"));
            assert_eq!(
                world.balance(account) - before,
                sno(38_250) * capacity(n) / total,
                "{n} of {count}"
            );
        }
        world.assert_books();
    }
}

#[test]
fn claims_need_their_own_account_capacity_and_distribution() {
    let mut world = World::new(3);
    let (tree, update) = work(1, &[(500, 1), (501, 2)]);
    world.run_round(&VOTERS, &update);
    let token = world.deployment.token;
    let proof = tree.proof(address(500)).expect("a leaf");
    let call = |id: u64, capacity: u64| Token::claimMerkleRewardsCall {
        distributionId: U256::from(id),
        capacity: U256::from(capacity),
        proof: proof.clone(),
    };
    assert_reverts::<Token::Token__InvalidMerkleProof>(world.send(501, token, call(1, 1)));
    assert_reverts::<Token::Token__InvalidMerkleProof>(world.send(500, token, call(1, 2)));
    assert_reverts::<Token::Token__UnknownDistribution>(world.send(500, token, call(0, 1)));
    assert_reverts::<Token::Token__UnknownDistribution>(world.send(500, token, call(2, 1)));
    // The same workers again: a leaf of one distribution is none of another.
    let (_, update) = work(2, &[(500, 1), (501, 2)]);
    world.run_round(&VOTERS, &update);
    assert_reverts::<Token::Token__InvalidMerkleProof>(world.send(500, token, call(2, 1)));
    world.send(500, token, call(1, 1)).expect("claimed");
    assert!(world.token(Token::s_claimedCall {
        distributionId: U256::from(1),
        account: address(500)
    }));
    assert_reverts::<Token::Token__RewardsAlreadyClaimed>(world.send(500, token, call(1, 1)));
}

/// What OpenZeppelin's `MerkleProof` makes of a proof, written anew.
fn root_by(proof: &[B256], leaf: B256) -> B256 {
    proof
        .iter()
        .fold(leaf, |node, sibling| parent(node, *sibling))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn claims_proofs_hold_for_any_workers_and_for_nothing_else(
        workers in prop::collection::btree_map(any::<[u8; 20]>(), 1..u64::MAX, 1..80),
        id in any::<u64>(),
        pick in any::<prop::sample::Index>(),
        bit in 0..256usize,
    ) {
        let leaves: Vec<_> = workers
            .iter()
            .map(|(account, capacity)| (Address::from(*account), U256::from(*capacity)))
            .collect();
        let tree = RewardTree::new(id, leaves.clone()).expect("distinct");
        let reversed = RewardTree::new(id, leaves.iter().rev().copied().collect());
        prop_assert_eq!(reversed.expect("distinct").root(), tree.root(), "the order does not matter");
        for (account, capacity) in &leaves {
            let proof = tree.proof(*account).expect("a leaf");
            prop_assert_eq!(root_by(&proof, leaf(*account, *capacity, id)), tree.root());
            prop_assert!(verify(tree.root(), *account, *capacity, id, &proof));
        }
        let (account, capacity) = leaves[pick.index(leaves.len())];
        let proof = tree.proof(account).expect("a leaf");
        let bent = |change: &dyn Fn(&mut Vec<B256>)| {
            let mut proof = proof.clone();
            change(&mut proof);
            verify(tree.root(), account, capacity, id, &proof)
        };
        prop_assert!(!bent(&|proof| proof.push(tree.root())));
        prop_assert!(!verify(tree.root(), account, capacity, id ^ (1 << (bit % 64)), &proof));
        prop_assert!(!verify(tree.root(), account, capacity ^ (U256::ONE << bit), id, &proof));
        for place in 0..proof.len() {
            let shorter = bent(&|proof| {
                proof.remove(place);
            });
            prop_assert!(!shorter);
            prop_assert!(!bent(&|proof| proof[place].0[bit / 8] ^= 1 << (bit % 8)));
        }
        // No node above a leaf is a leaf, and the last leaf twice is another tree: neither has two readings.
        let mut node = leaf(account, capacity, id);
        for sibling in &proof {
            node = parent(node, *sibling);
            prop_assert!(leaves.iter().all(|(account, capacity)| leaf(*account, *capacity, id) != node));
        }
        let twice = leaves.iter().copied().chain([(account, capacity)]).collect();
        prop_assert_eq!(RewardTree::new(id, twice).err(), Some(RewardTreeError::Duplicate(account)));
    }
}

#[test]
fn claims_by_a_second_preimage_fail() {
    let mut world = World::new(1);
    let leaves: Vec<_> = (0..4).map(|n| (worker(n), U256::from(1_000))).collect();
    let tree = RewardTree::new(1, leaves.clone()).expect("distinct");
    distribute(&mut world, tree.root(), U256::from(4_000));
    let account = worker(0);
    let proof = tree.proof(account).expect("a leaf");
    assert_eq!(proof.len(), 2);
    // Every inner node on the way up, passed off as the leaf: with the rest of its proof, and with parts of it.
    for shortened in [vec![], vec![proof[1]], vec![proof[0]], {
        let mut longer = proof.clone();
        longer.push(B256::ZERO);
        longer
    }] {
        assert_reverts::<Token::Token__InvalidMerkleProof>(claim_as(
            &mut world,
            account,
            1,
            U256::from(1_000),
            shortened,
        ));
    }
    // An inner node is the hash of 64 bytes, a leaf that of a hash: whoever picks his account and capacity to be the
    // 64 bytes below a node has no leaf there.
    let node = parent(leaf(account, U256::from(1_000), 1), proof[0]);
    let forged = U256::from_be_bytes(proof[0].0);
    let as_account = Address::from_word(leaf(account, U256::from(1_000), 1));
    assert_eq!(parent(node, proof[1]), tree.root());
    assert_reverts::<Token::Token__InvalidMerkleProof>(claim_as(
        &mut world,
        as_account,
        1,
        forged,
        vec![proof[1]],
    ));
    // A leaf that is hashed once is none, even if a majority signed its root.
    let once = keccak256((account, U256::from(1_000), U256::from(2)).abi_encode());
    distribute(&mut world, once, U256::from(1_000));
    assert_reverts::<Token::Token__InvalidMerkleProof>(claim_as(
        &mut world,
        account,
        2,
        U256::from(1_000),
        vec![],
    ));
    // Hashed twice the same leaf is good, so it was the hashing that failed.
    let twice = leaf(account, U256::from(1_000), 3);
    distribute(&mut world, twice, U256::from(1_000));
    claim_as(&mut world, account, 3, U256::from(1_000), vec![]).expect("a tree of one leaf");
}

#[test]
fn claims_of_a_duplicate_leaf_are_paid_once() {
    let mut world = World::new(1);
    let account = worker(0);
    // A dishonest majority's roots: the same leaf twice, and two leaves of one account. Rust makes neither.
    let same = leaf(account, U256::from(5), 1);
    distribute(&mut world, parent(same, same), U256::from(10));
    claim_as(&mut world, account, 1, U256::from(5), vec![same]).expect("once");
    assert_reverts::<Token::Token__RewardsAlreadyClaimed>(claim_as(
        &mut world,
        account,
        1,
        U256::from(5),
        vec![same],
    ));
    let (a, b) = (
        leaf(account, U256::from(4), 2),
        leaf(account, U256::from(6), 2),
    );
    distribute(&mut world, parent(a, b), U256::from(10));
    let token = world.deployment.token;
    let before = world.balance(account);
    let both = Token::batchClaimMerkleRewardsCall {
        distributionIds: vec![U256::from(2); 2],
        capacities: vec![U256::from(4), U256::from(6)],
        proofs: vec![vec![b], vec![a]],
    };
    let receipt = world
        .impersonate(account, token, both)
        .expect("one is paid");
    assert_eq!(
        world.balance(account) - before,
        sno(38_250) * U256::from(4) / U256::from(10)
    );
    let failed: Vec<Token::ClaimFailed> = events(&receipt);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].reason, "already claimed");
    world.assert_books();
}

#[test]
fn claims_in_a_batch_are_paid_once_each_and_one_bad_entry_costs_no_other() {
    let mut world = World::new(3);
    let mut trees = Vec::new();
    for id in 1..=3 {
        let (tree, update) = work(id, &[(500, id), (501, 5)]);
        world.run_round(&VOTERS, &update);
        trees.push(tree);
    }
    let token = world.deployment.token;
    let proof = |id: usize| trees[id - 1].proof(address(500)).expect("a leaf");
    let ids = [1, 2, 2, 9, 3, 1];
    let call = Token::batchClaimMerkleRewardsCall {
        distributionIds: ids.iter().map(|id| U256::from(*id)).collect(),
        capacities: ids.iter().map(|id| U256::from(*id)).collect(),
        proofs: ids.iter().map(|id| proof((*id).min(3))).collect(),
    };
    let receipt = world
        .send(500, token, call)
        .expect("the good ones are paid");
    let reasons: Vec<String> = events::<Token::ClaimFailed>(&receipt)
        .into_iter()
        .map(|failed| failed.reason)
        .collect();
    assert_eq!(
        reasons,
        ["already claimed", "unknown distribution", "already claimed"]
    );
    let expected: U256 = (1..=3u64)
        .map(|id| sno(38_250) * U256::from(id) / U256::from(id + 5))
        .sum();
    assert_eq!(world.balance_of(500), expected);
    world.assert_books();
    let uneven = Token::batchClaimMerkleRewardsCall {
        distributionIds: vec![U256::from(1)],
        capacities: vec![],
        proofs: vec![],
    };
    assert_reverts::<Token::Token__InvalidArrayLength>(world.send(500, token, uneven));
}

#[test]
fn claims_never_add_up_to_more_than_the_pool() {
    let mut world = World::new(1);
    // Capacities that no division comes out even for: what is paid is at most the pool, and the rest is dust.
    let leaves: Vec<_> = (0..13)
        .map(|n| (worker(n), U256::from(3 * n + 1)))
        .collect();
    let total: U256 = leaves.iter().map(|leaf| leaf.1).sum();
    let tree = RewardTree::new(1, leaves.clone()).expect("distinct");
    distribute(&mut world, tree.root(), total);
    let mut paid = U256::ZERO;
    for (account, capacity) in &leaves {
        let proof = tree.proof(*account).expect("a leaf");
        claim_as(&mut world, *account, 1, *capacity, proof).expect("claimed");
        assert_eq!(
            world.balance(*account),
            sno(38_250) * *capacity / total,
            "pool × capacity / total capacity"
        );
        paid += world.balance(*account);
    }
    let dust = sno(38_250) - paid;
    assert!(dust < U256::from(13));
    let left = world.token(Token::unclaimedOfCall {
        distributionId: U256::from(1),
    });
    assert_eq!(U256::from(left.unclaimed.sno), dust);
    world.assert_books();
    // Leaves that add up to more than the total capacity: the pool is the bound.
    let leaves: Vec<_> = (0..3).map(|n| (worker(n), U256::from(40))).collect();
    let tree = RewardTree::new(2, leaves.clone()).expect("distinct");
    distribute(&mut world, tree.root(), U256::from(100));
    for (n, (account, capacity)) in leaves.iter().enumerate() {
        let proof = tree.proof(*account).expect("a leaf");
        let result = claim_as(&mut world, *account, 2, *capacity, proof);
        if n < 2 {
            result.expect("within the pool");
        } else {
            assert_reverts::<Token::Token__DistributionExhausted>(result);
        }
        world.assert_books();
    }
}

#[test]
fn expiry_comes_after_500_later_updates_and_settles_to_the_treasury() {
    let mut world = World::new(3);
    fund_and_register_user(&mut world, &VOTERS);
    let core = world.deployment.core;
    for (name, value) in [("sno", 0), ("eth", 1_000)] {
        let payment = if value == 0 { 100 * SNO } else { value };
        world
            .pay(
                USER,
                core,
                request(keccak256(name), payment),
                U256::from(value),
            )
            .expect("requested");
    }
    let (tree, mut update) = work(2, &[(501, 1), (502, 3)]);
    update.jobIds = vec![
        job_id(&world, keccak256("sno")),
        job_id(&world, keccak256("eth")),
    ];
    world.run_round(&VOTERS, &update);
    world.run_empty_rounds(&VOTERS, 500);
    let last = world.token(Token::s_currentDistributionIdCall {});
    assert_eq!(last, U256::from(502));
    claim(&mut world, 501, 2, 1, &tree).expect("500 later updates do not end it");
    let unclaimed = world.token(Token::unclaimedOfCall {
        distributionId: U256::from(2),
    });
    // 3/4 of 85 % of the payments: 63.75 SNO and 637.5 wei.
    assert!(unclaimed.payments > sno(63) && unclaimed.unclaimed.eth == 638);
    let before = (treasury(&world), eth(&world, world.deployment.timelock));
    world.run_empty_rounds(&VOTERS, 1);
    assert_eq!(treasury(&world) - before.0, sno(2_250) + unclaimed.payments);
    assert_eq!(
        eth(&world, world.deployment.timelock) - before.1,
        U256::from(638)
    );
    let left = world.token(Token::s_totalUnclaimedCall {});
    assert_eq!((left.sno, left.eth), (0, 0));
    assert_reverts::<Token::Token__DistributionTooOld>(claim(&mut world, 502, 2, 3, &tree));
    world.assert_books();
}

#[test]
fn testnet_rewards_are_claimed_once_on_the_production_token() {
    let leaf =
        |account: Address, amount: U256| keccak256(keccak256((account, amount).abi_encode()));
    let (a, b) = (leaf(address(500), sno(70)), leaf(address(501), sno(40)));
    // One SNO less than the leaves ask for: the total holds.
    let testnet = Some(TestnetSnapshot {
        root: parent(a, b),
        total: sno(109),
    });
    let params = DeployParams {
        testnet,
        ..DeployParams::default()
    };
    let mut world = World::with(1, params);
    let token = world.deployment.token;
    let call = |amount: u64, sibling: B256| Token::claimTestnetRewardsCall {
        amount: sno(amount),
        proof: vec![sibling],
    };
    assert_reverts::<Token::Token__InvalidMerkleProof>(world.send(500, token, call(71, b)));
    world.send(500, token, call(70, b)).expect("claimed");
    assert_reverts::<Token::Token__RewardsAlreadyClaimed>(world.send(500, token, call(70, b)));
    assert_reverts::<Token::Token__DistributionExhausted>(world.send(501, token, call(40, a)));
    assert_eq!(world.balance_of(500), sno(70));
    world.assert_books();
    // A chain without a testnet before it has nothing to claim.
    let mut world = World::new(1);
    let token = world.deployment.token;
    assert_reverts::<Token::Token__InvalidMerkleRoot>(world.send(500, token, call(70, b)));
}
