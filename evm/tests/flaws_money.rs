//! Attacks on distributions and claims that worked against the upstream contracts: each fails here, and would succeed
//! against a variant that has the flaw.

mod contracts_support;

use alloy::primitives::{Address, B256, U256, keccak256};
use contracts_support::shorthand::*;
use contracts_support::*;
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token};
use smartnodes_evm::reward_tree::{RewardTree, RewardTreeError, leaf};
use smartnodes_evm::state_update::StateUpdate;

/// The workers' share of an update's emission, in SNO.
const POOL: u64 = 38_250;

/// The hash of an update in the present round, as the Coordinator itself makes it.
fn hash_on_chain(world: &World, update: &StateUpdate) -> B256 {
    world.coordinator(Coordinator::hashStateUpdateCall {
        round: world.status().round,
        update: update.clone(),
    })
}

/// A user with a few SNO more than its collateral.
fn with_user(world: &mut World) {
    world.grant_user(USER, sno(1_000));
}

fn next_id(world: &World) -> u64 {
    world.status().nextDistributionId
}

fn unclaimed(world: &World, id: u64) -> Token::unclaimedOfReturn {
    world.token(Token::unclaimedOfCall {
        distributionId: U256::from(id),
    })
}

#[test]
fn f20_the_executor_cannot_choose_the_total_capacity() {
    // Worker 501, in league with the executor, did 4 of 10.
    attack_fails("f20", 3, |world| {
        let (tree, honest) = work(1, &[(500, 6), (501, 4)]);
        world.open_round(0);
        let hash = hash_on_chain(world, &honest);
        let executor = world.bring_to_vote(&VOTERS, hash);
        // The greatest would zero every claim, none would burn the workers' share, fewer enlarge the own part.
        let understated = [U256::MAX, U256::ZERO, U256::from(4)]
            .into_iter()
            .any(|total| {
                let update = StateUpdate {
                    totalCapacity: total,
                    ..honest.clone()
                };
                world.execute(executor, 1, &update).is_ok()
            });
        if !understated {
            world.execute(executor, 1, &honest).expect("executed");
        }
        claim(world, 501, 1, 4, &tree).expect("claimed");
        world.balance_of(501) > sno(POOL) * U256::from(4) / U256::from(10)
    });
}

#[test]
fn f20_the_executor_cannot_enlarge_the_total_capacity() {
    attack_fails("f20c", 3, |world| {
        let (tree, honest) = work(1, &[(500, 6), (501, 4)]);
        world.open_round(0);
        let hash = hash_on_chain(world, &honest);
        let executor = world.bring_to_vote(&VOTERS, hash);
        // So large that nothing of a share remains, and small enough for the token.
        let enlarged = StateUpdate {
            totalCapacity: honest.totalCapacity + (U256::ONE << 96),
            ..honest.clone()
        };
        if world.execute(executor, 1, &enlarged).is_err() {
            world.execute(executor, 1, &honest).expect("executed");
        }
        claim(world, 500, 1, 6, &tree).expect("claimed");
        world.balance_of(500) < sno(POOL) * U256::from(6) / U256::from(10)
    });
}

#[test]
fn f20_claims_beyond_the_total_capacity_do_not_reach_into_other_pools() {
    attack_fails("f20b", 3, |world| {
        with_user(world);
        let payment = 1_000_000u128;
        let first = next_id(world);
        // The first pool belongs to worker 500; of the second, two conspirators may each claim the whole.
        let mut trees = Vec::new();
        for (id, capacities) in [
            (first, vec![(500, 1)]),
            (first + 1, vec![(501, 5), (502, 5)]),
        ] {
            let job = world.request_eth(keccak256(id.to_be_bytes()), payment);
            let (tree, mut update) = work(id, &capacities);
            update.totalCapacity = U256::from(capacities[0].1);
            update.jobIds = vec![job];
            world.run_round(&VOTERS, &update);
            trees.push(tree);
        }
        claim(world, 501, first + 1, 5, &trees[1]).expect("within the pool");
        assert_eq!(unclaimed(world, first + 1).unclaimed.eth, 0);
        let drained = claim(world, 502, first + 1, 5, &trees[1]);
        let honest = claim(world, 500, first, 1, &trees[0]);
        if let Err(error) = &drained {
            assert!(
                error
                    .reverted()
                    .is_some_and(|r| r.custom::<Token::Token__DistributionExhausted>().is_some())
            );
            world.assert_books();
        }
        drained.is_ok() && honest.is_err()
    });
}

#[test]
fn f21_a_batch_that_repeats_a_distribution_pays_it_once() {
    attack_fails("f21", 3, |world| {
        // The pool is large enough for all ten claims.
        let (tree, update) = work(1, &[(500, 1), (501, 9)]);
        world.run_round(&VOTERS, &update);
        let proof = tree.proof(signer(500).address()).expect("a leaf");
        let call = Token::batchClaimMerkleRewardsCall {
            distributionIds: vec![U256::from(1); 10],
            capacities: vec![U256::from(1); 10],
            proofs: vec![proof; 10],
        };
        let token = world.deployment.token;
        world.send(500, token, call).expect("one is good");
        let share = sno(POOL) / U256::from(10);
        assert!(world.balance_of(500) >= share);
        world.balance_of(500) > share
    });
}

#[test]
fn f22_a_capacity_of_two_to_the_128_does_not_wrap_around() {
    attack_fails("f22", 3, |world| {
        // Worker 501 did next to nothing, unless what it is divided by wraps around to 1.
        let capacities = [(500, U256::from(1) << 128), (501, U256::from(1))];
        let leaves: Vec<_> = capacities
            .iter()
            .map(|(n, capacity)| (signer(*n).address(), *capacity))
            .collect();
        let tree = RewardTree::new(1, leaves).expect("distinct workers");
        let update = StateUpdate {
            merkleRoot: tree.root(),
            totalCapacity: (U256::from(1) << 128) + U256::from(1),
            ..empty_update()
        };
        if world.try_round(&VOTERS, &update).is_err() {
            // Refused whole, and the next round does not suffer from it.
            world.wait_until(world.status().expiresAt);
            let (tree, update) = work(1, &[(500, 1)]);
            world.run_round(&VOTERS, &update);
            claim(world, 500, 1, 1, &tree).expect("claimed");
            return false;
        }
        claim(world, 501, 1, 1, &tree).expect("claimed");
        world.balance_of(501) == sno(POOL)
    });
}

/// Makes a distribution with payments in SNO and ETH for workers 501 (1) and 502 (3) whose leaves have the id
/// `leaf_id`; returns the tree.
fn paid_distribution(world: &mut World, leaf_id: u64) -> RewardTree {
    let jobs = vec![
        world.request_sno(keccak256("sno"), 100 * SNO),
        world.request_eth(keccak256("eth"), 1_000),
    ];
    let (tree, update) = work(leaf_id, &[(501, 1), (502, 3)]);
    let update = StateUpdate {
        jobIds: jobs,
        ..update
    };
    world.run_round(&VOTERS, &update);
    tree
}

#[test]
fn f23_what_nobody_claims_in_500_updates_is_settled() {
    attack_fails("f23", 3, |world| {
        with_user(world);
        let id = next_id(world);
        let tree = paid_distribution(world, id);
        world.distribute_nothing(500);
        claim(world, 501, id, 1, &tree).expect("500 later updates do not end it");
        let rest = unclaimed(world, id);
        assert!(rest.payments > sno(63) && rest.unclaimed.eth == 638);
        let timelock = world.deployment.timelock;
        let before = (world.balance(timelock), eth(world, timelock));
        world.distribute_nothing(1);
        assert_reverts::<Token::Token__DistributionTooOld>(claim(world, 502, id, 3, &tree));
        // An hour's emission has 5,625 SNO, of which the treasury gets 5 %.
        assert_eq!(
            world.balance(timelock) - before.0,
            sno(5_625) / U256::from(20) + rest.payments
        );
        let got = eth(world, timelock) - before.1;
        let books = world.token(Token::s_totalUnclaimedCall {});
        let sweep = world.send(1, world.deployment.token, Token::sweepDonationsCall {});
        assert!(sweep.is_err(), "what is on the books is no donation");
        if got == U256::from(638) {
            assert_eq!((books.sno, books.eth), (0, 0));
            world.assert_books();
        }
        got.is_zero() && books.eth == 638
    });
}

#[test]
fn f24_a_validator_that_refuses_eth_blocks_no_update() {
    attack_fails("f24", 3, |world| {
        let (core, coordinator, token) = (
            world.deployment.core,
            world.deployment.coordinator,
            world.deployment.token,
        );
        let refuser = world.refusing_contract();
        world.grant(&[refuser, signer(USER).address()], sno(1_000_000));
        world.register_user(USER);
        let register = smartnodes_evm::bindings::SmartnodesCore::createValidatorCall {
            publicKeyHash: key_hash(77),
        };
        world
            .impersonate(refuser, core, register)
            .expect("registered");
        let job = world.request_eth(keccak256("job"), 1_000);
        let (_, mut update) = work(next_id(world), &[(501, 1)]);
        update.jobIds = vec![job];
        assert_eq!(world.open_round(0).snapshotCount, 4);
        let hash = world.hash(&update);
        let call = Coordinator::voteForProposalCall {
            proposalNum: 1,
            proposalHash: hash,
        };
        let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
        let proposer = (0..3)
            .find(|n| proposers.contains(&signer(*n).address()))
            .expect("two are drawn");
        world.propose(proposer, hash).expect("proposed");
        for voter in VOTERS {
            world.vote(voter, 1, hash).expect("voted");
        }
        world
            .impersonate(refuser, coordinator, call)
            .expect("voted");
        let blocked = world.execute(proposer, 1, &update).is_err();
        if !blocked {
            // Its part waits, and goes where it says.
            assert_eq!(
                world.token(Token::s_creditsCall { account: refuser }).eth,
                25
            );
            let to = Address::repeat_byte(0x77);
            world
                .impersonate(refuser, token, Token::withdrawEthCall { to })
                .expect("withdrawn");
            assert_eq!(eth(world, to), U256::from(25));
            world.assert_books();
        }
        blocked
    });
}

#[test]
fn f26_a_root_without_capacity_and_capacity_without_a_root_are_refused() {
    attack_fails("f26", 3, |world| {
        let (tree, good) = work(1, &[(500, 1)]);
        let no_capacity = StateUpdate {
            totalCapacity: U256::ZERO,
            ..good.clone()
        };
        let no_root = StateUpdate {
            merkleRoot: B256::ZERO,
            ..good
        };
        if world.try_round(&VOTERS, &no_root).is_err() {
            world.wait_until(world.status().expiresAt);
            assert!(world.try_round(&VOTERS, &no_capacity).is_err());
            return false;
        }
        // A pool that nobody can ever claim.
        assert_reverts::<Token::Token__UnknownDistribution>(claim(world, 500, 1, 1, &tree));
        U256::from(world.token(Token::s_totalUnclaimedCall {}).sno) == sno(POOL)
    });
}

#[test]
fn f26_payments_behind_leaves_with_a_wrong_id_are_recovered() {
    attack_fails("f26b", 3, |world| {
        with_user(world);
        let id = next_id(world);
        // No contract can see that the leaves name another distribution, but what was paid is not lost.
        let tree = paid_distribution(world, id + 1);
        for (worker, capacity) in [(501, 1), (502, 3)] {
            assert_reverts::<Token::Token__InvalidMerkleProof>(claim(
                world, worker, id, capacity, &tree,
            ));
        }
        world.distribute_nothing(501);
        let dead = world.token(Token::s_unclaimedPaymentsCall {});
        if dead.is_zero() {
            world.assert_books();
        }
        dead == sno(85)
    });
}

#[test]
fn f27_a_worker_that_cannot_take_eth_gets_its_sno_and_a_credit() {
    attack_fails("f27", 3, |world| {
        with_user(world);
        let token = world.deployment.token;
        let worker = world.refusing_contract();
        let (id, job) = (next_id(world), world.request_eth(keccak256("job"), 1_000));
        let tree = RewardTree::new(id, vec![(worker, U256::from(1))]).expect("one leaf");
        let update = StateUpdate {
            merkleRoot: tree.root(),
            totalCapacity: U256::from(1),
            jobIds: vec![job],
            ..empty_update()
        };
        world.run_round(&VOTERS, &update);
        let claim = Token::claimMerkleRewardsCall {
            distributionId: U256::from(id),
            capacity: U256::from(1),
            proof: vec![],
        };
        let claimed = world.impersonate(worker, token, claim.clone());
        if claimed.is_err() {
            assert_reverts::<Token::Token__ETHTransferFailed>(claimed);
            return world.balance(worker).is_zero();
        }
        assert_eq!(world.balance(worker), sno(POOL));
        assert_eq!(
            world.token(Token::s_creditsCall { account: worker }).eth,
            850
        );
        assert_reverts::<Token::Token__RewardsAlreadyClaimed>(
            world.impersonate(worker, token, claim),
        );
        world.assert_books();
        false
    });
}

/// A distribution's root, and each leaf's capacity with its proof.
type Leaves = (B256, Vec<(U256, Vec<B256>)>);

/// What worker 500 could claim of a distribution in which it did two jobs, of capacity 3 and 4, and nobody else any.
fn claims_of_two_jobs(make: impl Fn(Address, [U256; 2]) -> Leaves) -> U256 {
    let mut world = World::new(3);
    let (root, leaves) = make(signer(500).address(), [U256::from(3), U256::from(4)]);
    let update = StateUpdate {
        merkleRoot: root,
        totalCapacity: U256::from(7),
        ..empty_update()
    };
    world.run_round(&VOTERS, &update);
    for (place, (capacity, proof)) in leaves.into_iter().enumerate() {
        let call = Token::claimMerkleRewardsCall {
            distributionId: U256::from(1),
            capacity,
            proof,
        };
        let claimed = world.send(500, world.deployment.token, call);
        assert_eq!(claimed.is_ok(), place == 0, "one claim for each account");
    }
    world.balance_of(500)
}

#[test]
fn f50_a_workers_jobs_are_one_leaf_and_none_is_lost() {
    // A tree with a leaf for each job loses all but one of them...
    let naive = claims_of_two_jobs(|worker, capacities| {
        let [a, b] = capacities.map(|capacity| leaf(worker, capacity, 1));
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        (
            keccak256([low, high].concat()),
            vec![(capacities[0], vec![b]), (capacities[1], vec![a])],
        )
    });
    assert_eq!(naive, sno(POOL) * U256::from(3) / U256::from(7));
    // ...so ours refuses to be built like that, and pays the sum.
    let ours = claims_of_two_jobs(|worker, capacities| {
        let twice = capacities.map(|capacity| (worker, capacity)).to_vec();
        assert_eq!(
            RewardTree::new(1, twice).expect_err("two leaves"),
            RewardTreeError::Duplicate(worker)
        );
        let total = capacities.iter().sum();
        let tree = RewardTree::new(1, vec![(worker, total)]).expect("one leaf");
        let proof = tree.proof(worker).expect("a leaf");
        (tree.root(), vec![(total, proof)])
    });
    assert_eq!(ours, sno(POOL));
}
