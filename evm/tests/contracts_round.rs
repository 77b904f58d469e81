//! Rounds: seal, draw, propose, vote, execute, and what the update pays, to the wei.

mod contracts_support;

use alloy::primitives::{U256, keccak256};
use contracts_support::*;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};
use smartnodes_evm::state_update::{ReputationChange, StateUpdate};

#[test]
fn a_round_with_three_validators_pays_to_the_wei() {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    assert_reverts::<Coordinator::Coordinator__ProposalTooEarly>(world.send(
        0,
        coordinator,
        Coordinator::openRoundCall {},
    ));
    let due = world.status().dueTime;
    assert_eq!(due, world.deployment.start_time + INTERVAL);
    world.wait_until(due);
    assert_eq!(world.status().phase, 1);
    assert_reverts::<Coordinator::Coordinator__NotValidator>(world.send(
        FIRST_WORKER,
        coordinator,
        Coordinator::openRoundCall {},
    ));
    let receipt = world
        .send(0, coordinator, Coordinator::openRoundCall {})
        .expect("sealed");
    let sealed: Vec<Coordinator::DrawSealed> = events(&receipt);
    assert_eq!(
        sealed[0].drawBlock,
        U256::from(world.chain.block_number() + 2)
    );
    assert_eq!(world.status().phase, 2);
    // A second one changes nothing, also while the block is not there.
    world
        .send(1, coordinator, Coordinator::openRoundCall {})
        .expect("nothing to do");
    assert_eq!(world.status().phase, 2);
    world.mine_blocks(2);
    assert_eq!(world.status().phase, 3);
    let receipt = world
        .send(2, coordinator, Coordinator::openRoundCall {})
        .expect("opened");
    let opened: Vec<Coordinator::RoundOpened> = events(&receipt);
    assert_eq!(
        (
            opened[0].round,
            opened[0].snapshotCount,
            opened[0].requiredApprovals
        ),
        (1, 3, 2)
    );
    let started: Vec<Coordinator::NewRoundStarted> = events(&receipt);
    assert_eq!(started[0].selectedValidators.len(), 2);
    let status = world.status();
    assert_eq!(
        (status.phase, status.snapshotCount, status.requiredApprovals),
        (4, 3, 2)
    );
    assert_eq!(
        (status.openedAt, status.expiresAt),
        (
            world.chain.timestamp(),
            world.chain.timestamp() + INTERVAL * 3 / 4
        )
    );

    let capacities = [
        (FIRST_WORKER, 1),
        (FIRST_WORKER + 1, 2),
        (FIRST_WORKER + 2, 4),
    ];
    let (tree, update) = work(status.nextDistributionId, &capacities);
    let hash = world.hash(&update);
    let proposer = world.proposer();
    let outsider = (0..3)
        .find(|n| {
            !started[0]
                .selectedValidators
                .contains(&signer(*n).address())
        })
        .expect("one of three is not drawn");
    assert_reverts::<Coordinator::Coordinator__NotEligibleValidator>(world.propose(outsider, hash));
    world.propose(proposer, hash).expect("proposed");
    assert_reverts::<Coordinator::Coordinator__AlreadySubmittedProposal>(
        world.propose(proposer, keccak256("other")),
    );
    assert_reverts::<Coordinator::Coordinator__NotEnoughVotes>(world.execute(proposer, 1, &update));
    world.vote(0, 1, hash).expect("voted");
    assert_reverts::<Coordinator::Coordinator__AlreadyVoted>(world.vote(0, 1, hash));
    assert!(!world.coordinator(Coordinator::isProposalReadyCall { proposalNum: 1 }));
    world.vote(1, 1, hash).expect("voted");
    assert!(world.coordinator(Coordinator::isProposalReadyCall { proposalNum: 1 }));
    let can = |world: &World, n: u32| {
        world.coordinator(Coordinator::canExecuteCall {
            proposalNum: 1,
            caller: signer(n).address(),
        })
    };
    assert!(!can(&world, proposer), "the voting window is open");
    assert_reverts::<Coordinator::Coordinator__VotingWindowOpen>(
        world.execute(proposer, 1, &update),
    );
    world.wait(INTERVAL / 32);
    let other = (0..3).find(|n| *n != proposer).expect("three validators");
    assert!(can(&world, proposer) && !can(&world, other) && !can(&world, FIRST_WORKER));
    assert_reverts::<Coordinator::Coordinator__MustBeProposalCreator>(
        world.execute(other, 1, &update),
    );
    let mut forged = update.clone();
    forged.totalCapacity += U256::ONE;
    assert_reverts::<Coordinator::Coordinator__ProposalDataMismatch>(
        world.execute(proposer, 1, &forged),
    );
    world.wait(INTERVAL / 32);
    assert!(can(&world, other), "the creator's grace is over");
    let receipt = world.execute(other, 1, &update).expect("executed");
    let executed: Vec<Coordinator::StateUpdateExecuted> = events(&receipt);
    assert_eq!(
        (
            executed[0].round,
            executed[0].proposalHash,
            executed[0].distributionId
        ),
        (1, hash, 1)
    );
    assert_eq!(executed[0].executor, signer(other).address());

    // 45,000 SNO: 85 % for workers, 10 % for the two that approved, 5 % for the treasury.
    assert_eq!(world.balance_of(0), sno(2_250));
    assert_eq!(world.balance_of(1), sno(2_250));
    assert_eq!(world.balance_of(2), U256::ZERO);
    assert_eq!(world.balance(world.deployment.timelock), sno(2_250));
    assert_eq!(
        world.token(Token::s_totalUnclaimedCall {}).sno,
        38_250 * SNO
    );
    world.assert_books();

    let pool = sno(38_250);
    for (worker, capacity) in capacities {
        claim(&mut world, worker, 1, capacity, &tree).expect("claimed");
        assert_eq!(
            world.balance_of(worker),
            pool * U256::from(capacity) / U256::from(7)
        );
        world.assert_books();
    }
    let status = world.status();
    assert_eq!(
        (status.round, status.phase, status.dueTime),
        (2, 0, due + INTERVAL)
    );
    assert_eq!(
        (
            status.nextDistributionId,
            status.proposalCount,
            status.snapshotCount
        ),
        (2, 0, 0)
    );
}

#[test]
fn rust_and_solidity_hash_alike() {
    let world = World::new(1);
    let update = StateUpdate {
        merkleRoot: keccak256("root"),
        totalCapacity: U256::from(12_345),
        validatorsToRemove: vec![signer(1).address(), signer(2).address()],
        jobIds: vec![keccak256("a"), keccak256("b"), keccak256("c")],
        workersHash: keccak256("workers"),
        capacitiesHash: keccak256("capacities"),
        reputationChanges: vec![
            ReputationChange {
                account: signer(3).address(),
                delta: -100,
            },
            ReputationChange {
                account: signer(4).address(),
                delta: 7,
            },
        ],
    };
    for update in [update, empty_update()] {
        for round in [1, 77] {
            let expected = world.coordinator(Coordinator::hashStateUpdateCall {
                round,
                update: update.clone(),
            });
            let rust = smartnodes_evm::state_update::proposal_hash(
                world.deployment.chain_id,
                world.deployment.coordinator,
                round,
                &update,
            );
            assert_eq!(rust, expected);
        }
    }
    let (owner, job_hash) = (signer(5).address(), keccak256("job"));
    assert_eq!(
        smartnodes_evm::state_update::job_id(
            world.deployment.chain_id,
            world.deployment.core,
            owner,
            job_hash
        ),
        world.core(Core::jobIdOfCall {
            owner,
            jobHash: job_hash
        })
    );
}
