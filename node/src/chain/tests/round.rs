//! Every view and every intent, in the order in which a network needs them.

use alloy::primitives::{Address, B256, U256, keccak256};
use smartnodes_evm::{
    reward_tree::RewardTree,
    state_update::{StateUpdate, capacities_hash, job_id, proposal_hash, workers_hash},
};

use super::world::*;
use crate::chain::{
    ChainClient, ChainError, ExecutedUpdate, Intent, JobState, Proposal, RoundPhase,
};

const SNO: u128 = 1_000_000_000_000_000_000;

fn sno(amount: u64) -> U256 {
    U256::from(amount) * U256::from(SNO)
}

/// Goes to the due time, seals, draws and opens.
pub(super) async fn open_round(shared: &Shared, client: &ChainClient) {
    let status = client.round_status().await.unwrap();
    assert_eq!(status.phase, RoundPhase::Waiting);
    shared.wait_until(status.due_time);
    assert_eq!(client.round_status().await.unwrap().phase, RoundPhase::Due);
    let sealed = client
        .send(Intent::OpenRound {
            round: status.round,
        })
        .await
        .unwrap();
    while client.round_status().await.unwrap().phase != RoundPhase::Drawable {
        shared.lock().chain.mine_next().unwrap();
    }
    let opened = client
        .send(Intent::OpenRound {
            round: status.round,
        })
        .await
        .unwrap();
    assert_ne!(
        sealed.hash, opened.hash,
        "opening is the intent that may happen again"
    );
    assert_eq!(client.round_status().await.unwrap().phase, RoundPhase::Open);
}

#[tokio::test]
async fn a_network_of_clients_completes_a_round_and_a_paid_job() {
    let shared = Shared::new();
    let mut validators = Vec::new();
    for n in 0..VALIDATORS {
        validators.push(shared.client(n, memory()).await);
    }
    let worker = shared.client(WORKER, memory()).await;
    let user = shared.client(USER, memory()).await;
    let deployment = worker.deployment().clone();

    let first = &validators[0];
    let addresses: Vec<Address> = validators.iter().map(|v| v.address()).collect();
    assert_eq!(worker.validators().await.unwrap(), addresses);
    assert_eq!(
        worker.credential_of(addresses[1]).await.unwrap(),
        key_hash(1)
    );
    assert_eq!(
        worker.credential_of(worker.address()).await.unwrap(),
        B256::ZERO
    );
    assert!(
        worker
            .is_verified_validator(addresses[0], key_hash(0))
            .await
            .unwrap()
    );
    assert!(
        !worker
            .is_verified_validator(addresses[0], key_hash(1))
            .await
            .unwrap()
    );
    assert_eq!(worker.reputation(worker.address()).await.unwrap(), 500);
    assert!(!worker.is_user(user.address()).await.unwrap());
    assert!(!worker.is_snapshot_validator(addresses[0]).await.unwrap());
    assert_eq!(worker.distribution_count().await.unwrap(), 0);
    assert_eq!(worker.distribution(1).await.unwrap(), None);
    assert_eq!(worker.job(B256::ZERO).await.unwrap(), None);
    let head = worker.head().await.unwrap().number;
    assert_eq!(worker.executed_updates(0, head).await.unwrap(), []);
    assert_eq!(
        worker.token_balance(addresses[0]).await.unwrap(),
        U256::ZERO,
        "all of it is collateral"
    );

    open_round(&shared, first).await;
    let status = first.round_status().await.unwrap();
    assert_eq!(
        (
            status.round,
            status.snapshot_count,
            status.required_approvals
        ),
        (1, 3, 2)
    );
    assert_eq!(status.update_interval, INTERVAL);
    assert!(first.is_snapshot_validator(addresses[2]).await.unwrap());
    let proposers = first.proposers().await.unwrap();
    let proposer = validators
        .iter()
        .find(|v| proposers.contains(&v.address()))
        .unwrap();

    let capacity = U256::from(70);
    let tree = RewardTree::new(
        status.next_distribution_id,
        vec![(worker.address(), capacity)],
    )
    .unwrap();
    let update = StateUpdate {
        merkleRoot: tree.root(),
        totalCapacity: capacity,
        validatorsToRemove: vec![],
        jobIds: vec![],
        workersHash: workers_hash(&[worker.address()]),
        capacitiesHash: capacities_hash(&[capacity]),
        reputationChanges: vec![],
    };
    let hash = proposal_hash(
        deployment.chain_id,
        deployment.coordinator,
        status.round,
        &update,
    );
    assert_eq!(first.voted_for(addresses[0]).await.unwrap(), None);
    proposer
        .send(Intent::Propose { round: 1, hash })
        .await
        .unwrap();
    for validator in &validators[..2] {
        validator
            .send(Intent::Vote {
                round: 1,
                number: 1,
                hash,
            })
            .await
            .unwrap();
    }
    assert_eq!(first.voted_for(addresses[0]).await.unwrap(), Some(hash));
    assert_eq!(first.voted_for(addresses[2]).await.unwrap(), None);
    let proposals = first.proposals().await.unwrap();
    let created_at = proposals[0].created_at;
    assert_eq!(
        proposals,
        [Proposal {
            creator: proposer.address(),
            number: 1,
            votes: 2,
            hash,
            created_at
        }]
    );

    assert!(
        !proposer.can_execute(1).await.unwrap(),
        "the voting window is open"
    );
    let execute = Intent::Execute {
        round: 1,
        number: 1,
        update,
    };
    let error = proposer.send(execute.clone()).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Reverted { name, .. } if name == "Coordinator__VotingWindowOpen"),
        "{error}"
    );
    shared.wait_until(created_at + INTERVAL / 32 + 1);
    assert!(proposer.can_execute(1).await.unwrap());
    let executed = proposer.send(execute).await.unwrap();
    let head = first.head().await.unwrap().number;
    assert_eq!(
        first
            .executed_updates(deployment.deployed_at, head)
            .await
            .unwrap(),
        [ExecutedUpdate {
            round: 1,
            proposal_hash: hash,
            distribution_id: 1,
            executor: proposer.address(),
            block: executed.block,
            block_hash: executed.block_hash,
        }]
    );
    assert_eq!(
        first
            .executed_updates(executed.block + 1, head)
            .await
            .unwrap(),
        []
    );

    // 45,000 SNO for 8 h, so 5,625 for one; 85 % of it is the workers'.
    let pool = sno(5_625) * U256::from(85) / U256::from(100);
    assert_eq!(first.distribution_count().await.unwrap(), 1);
    let distribution = first.distribution(1).await.unwrap().unwrap();
    assert_eq!(
        (distribution.merkle_root, distribution.total_capacity),
        (tree.root(), capacity)
    );
    assert_eq!(U256::from(distribution.worker_reward_sno), pool);
    assert_eq!(distribution.worker_reward_eth, 0);
    let proof = tree.proof(worker.address()).unwrap();
    assert!(!worker.claimed(1, worker.address()).await.unwrap());
    worker
        .send(Intent::Claim {
            distribution_id: 1,
            capacity,
            proof,
        })
        .await
        .unwrap();
    assert!(worker.claimed(1, worker.address()).await.unwrap());
    assert_eq!(worker.token_balance(worker.address()).await.unwrap(), pool);

    let transfer = Intent::Transfer {
        to: user.address(),
        amount: sno(150),
        reference: B256::ZERO,
    };
    worker.send(transfer).await.unwrap();
    user.send(Intent::CreateUser {
        key_hash: key_hash(USER),
    })
    .await
    .unwrap();
    assert!(user.is_user(user.address()).await.unwrap());
    let job_hash = keccak256("job");
    let request = Intent::RequestJob {
        job_hash,
        network: "hash-chain".into(),
        payment: 20 * SNO,
    };
    user.send(request).await.unwrap();
    assert_eq!(user.token_balance(user.address()).await.unwrap(), sno(30));
    let id = job_id(
        deployment.chain_id,
        deployment.core,
        user.address(),
        job_hash,
    );
    let job = worker.job(id).await.unwrap().unwrap();
    assert_eq!(
        (job.owner, job.payment, job.pays_sno),
        (user.address(), 20 * SNO, true)
    );
    assert_eq!(
        (job.state, job.network.as_str()),
        (JobState::Open, "hash-chain")
    );
    assert!(job.created_at > created_at);
}

#[tokio::test]
async fn a_deployment_that_is_not_there_is_refused() {
    let shared = Shared::new();
    let error = shared
        .try_client(0, memory(), |d| d.chain_id = 8_453)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(
            error,
            ChainError::WrongChain {
                expected: 8_453,
                found: 31_337
            }
        ),
        "{error}"
    );
    let nowhere = Address::repeat_byte(0xaa);
    let error = shared
        .try_client(0, memory(), |d| d.core = nowhere)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, ChainError::NoContract { contract: "Core", address } if address == nowhere),
        "{error}"
    );
    // An address with another contract: views say so rather than invent something.
    let client = shared
        .try_client(0, memory(), |d| d.token = d.dao)
        .await
        .unwrap();
    let error = client.distribution_count().await.unwrap_err();
    assert!(
        matches!(
            error,
            ChainError::Reverted { .. } | ChainError::Response { .. }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_validator_that_fell_silent_comes_back_as_often_as_it_has_to() {
    const SILENT_SECONDS: u64 = 4 * 24 * 3_600;
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    let me = client.address();
    assert!(client.is_active(me).await.unwrap());
    let mut hashes = Vec::new();
    // Nobody opens a round meanwhile, so that it is the same one each time.
    for _ in 0..2 {
        let now = client.head().await.unwrap().timestamp;
        shared.wait_until(now + SILENT_SECONDS);
        assert!(!client.is_active(me).await.unwrap());
        let refused = client.send(Intent::OpenRound { round: 1 }).await;
        assert!(
            matches!(&refused, Err(ChainError::Reverted { name, .. }) if name == "Coordinator__NotValidator"),
            "{refused:?}"
        );
        let done = client.send(Intent::Reactivate { round: 1 }).await.unwrap();
        hashes.push(done.hash);
        assert!(client.is_active(me).await.unwrap());
    }
    assert_ne!(hashes[0], hashes[1]);
    client.send(Intent::OpenRound { round: 1 }).await.unwrap();
    let other = shared.client(WORKER, memory()).await;
    let refused = other.send(Intent::Reactivate { round: 1 }).await;
    assert!(
        matches!(&refused, Err(ChainError::Reverted { name, .. }) if name == "Coordinator__NotValidator"),
        "{refused:?}"
    );
}
