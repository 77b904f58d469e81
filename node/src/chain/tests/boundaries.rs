//! Between the estimate and the block the chain moves on: the gas must last, and who is late pays little.

use alloy::primitives::{Address, Bytes, TxKind, U256, keccak256};
use alloy::sol_types::SolCall;
use smartnodes_evm::{bindings::SmartnodesCoordinator as Coordinator, chain::Chain};

use super::{
    reorgs::{empty_update, hash_of, in_an_open_round},
    world::*,
};
use crate::chain::{ChainClient, ChainError, Credits, Intent, Mined, RoundPhase};

/// Gas that the loser of a race may pay.
const CHEAP: u64 = 60_000;

/// The number of a client's wallet.
fn number(client: &ChainClient) -> u8 {
    (0..VALIDATORS)
        .find(|n| wallet(*n).address() == client.address())
        .unwrap()
}

fn call<C: SolCall>(chain: &mut Chain, n: u8, to: Address, call: C) {
    let data = Bytes::from(call.abi_encode());
    chain
        .transact(&wallet(n), TxKind::Call(to), data, U256::ZERO)
        .unwrap();
}

/// Both are sent before either is mined.
async fn race(
    shared: &Shared,
    clients: [&ChainClient; 2],
    intent: Intent,
) -> [Result<Mined, ChainError>; 2] {
    shared.lock().mining = false;
    let [one, two] = clients.map(|client| {
        let (client, intent) = (client.clone(), intent.clone());
        tokio::spawn(async move { client.send(intent).await })
    });
    shared.until_pending(2).await;
    shared.lock().mining = true;
    [one.await.unwrap(), two.await.unwrap()]
}

/// The gas of what each sender has in the block that both are in.
fn gas_of_racers(shared: &Shared, results: &[Result<Mined, ChainError>; 2]) -> Vec<u64> {
    let hashes = results.iter().map(|result| match result {
        Ok(mined) => mined.hash,
        Err(ChainError::Failed { hash, .. }) => *hash,
        Err(error) => panic!("{error}"),
    });
    hashes
        .map(|hash| shared.lock().chain.receipt(&hash).unwrap().gas_used)
        .collect()
}

#[tokio::test]
async fn validators_that_race_for_a_step_of_the_round_pay_little_for_it() {
    let shared = Shared::new();
    let one = shared.client(0, memory()).await;
    let two = shared.client(1, memory()).await;
    let open = Intent::OpenRound { round: 1 };
    shared.wait_until(one.round_status().await.unwrap().due_time);
    for phase in [RoundPhase::Due, RoundPhase::Drawable] {
        assert_eq!(one.round_status().await.unwrap().phase, phase);
        let results = race(&shared, [&one, &two], open.clone()).await;
        let gas = gas_of_racers(&shared, &results);
        assert!(gas.iter().any(|gas| *gas < CHEAP), "{gas:?}");
        shared.mine(3);
    }
    assert_eq!(one.round_status().await.unwrap().phase, RoundPhase::Open);
}

#[tokio::test]
async fn validators_that_race_for_the_execution_pay_little_for_it() {
    let shared = Shared::new();
    let clients = in_an_open_round(&shared, 0).await;
    let update = empty_update(1);
    let hash = hash_of(&clients[0], 1, &update);
    let proposal = Intent::Propose { round: 1, hash };
    clients[0].send(proposal).await.unwrap();
    for client in &clients {
        let vote = Intent::Vote {
            round: 1,
            number: 1,
            hash,
        };
        client.send(vote).await.unwrap();
    }
    let created_at = clients[0].proposals().await.unwrap()[0].created_at;
    shared.wait_until(created_at + INTERVAL / 16);
    let execute = Intent::Execute {
        round: 1,
        number: 1,
        update,
    };
    let results = race(&shared, [&clients[0], &clients[1]], execute).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let gas = gas_of_racers(&shared, &results);
    assert!(gas.iter().any(|gas| *gas < CHEAP), "{gas:?}");
    assert_eq!(clients[0].distribution_count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_round_estimated_for_the_seal_has_the_gas_for_the_draw() {
    let shared = Shared::new();
    let client = shared.client(0, memory()).await;
    let coordinator = client.deployment().coordinator;
    shared.wait_until(client.round_status().await.unwrap().due_time);
    // Another validator seals, and the block of the draw comes, before the transaction does.
    shared.lock().before_send = Some(Box::new(move |chain| {
        call(chain, 1, coordinator, Coordinator::openRoundCall {});
        for _ in 0..3 {
            chain.mine_next().unwrap();
        }
    }));
    client.send(Intent::OpenRound { round: 1 }).await.unwrap();
    assert_eq!(client.round_status().await.unwrap().phase, RoundPhase::Open);
}

#[tokio::test]
async fn a_proposal_that_becomes_the_second_has_the_gas_for_it() {
    let shared = Shared::new();
    let clients = in_an_open_round(&shared, 0).await;
    let opened_at = clients[0].round_status().await.unwrap().opened_at;
    // Now anyone may propose.
    shared.wait_until(opened_at + INTERVAL / 4);
    let coordinator = clients[0].deployment().coordinator;
    let others: Vec<u8> = clients[1..].iter().map(number).collect();
    shared.lock().before_send = Some(Box::new(move |chain| {
        for n in others {
            let proposal_hash = keccak256([n]);
            call(
                chain,
                n,
                coordinator,
                Coordinator::createProposalCall {
                    proposalHash: proposal_hash,
                },
            );
        }
    }));
    let hash = keccak256("mine");
    let proposal = Intent::Propose { round: 1, hash };
    clients[0].send(proposal).await.unwrap();
    assert_eq!(clients[0].proposals().await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_execution_that_more_voters_join_has_the_gas_to_pay_them() {
    const VALIDATORS: u8 = 12;
    let genesis = (0..VALIDATORS).map(validator).collect();
    let shared = Shared::with_genesis(genesis, INTERVAL);
    let mut clients = Vec::new();
    for n in 0..VALIDATORS {
        clients.push(shared.client_at_depth(n, memory(), 0).await);
    }
    super::round::open_round(&shared, &clients[0]).await;
    let drawn = clients[0].proposers().await.unwrap();
    let creator = clients
        .iter()
        .position(|client| drawn.contains(&client.address()))
        .unwrap();
    let update = empty_update(1);
    let hash = hash_of(&clients[0], 1, &update);
    let proposal = Intent::Propose { round: 1, hash };
    clients[creator].send(proposal).await.unwrap();
    let (coordinator, vote) = (
        clients[0].deployment().coordinator,
        Coordinator::voteForProposalCall {
            proposalNum: 1,
            proposalHash: hash,
        },
    );
    // 66 % of 12 are 7.92: eight are enough.
    for n in 0..8 {
        call(&mut shared.lock().chain, n, coordinator, vote.clone());
    }
    let created_at = clients[0].proposals().await.unwrap()[0].created_at;
    shared.wait_until(created_at + INTERVAL / 32 + 1);
    shared.lock().before_send = Some(Box::new(move |chain| {
        for n in 8..VALIDATORS {
            call(chain, n, coordinator, vote.clone());
        }
    }));
    let execute = Intent::Execute {
        round: 1,
        number: 1,
        update,
    };
    clients[creator].send(execute).await.unwrap();
    let paid = clients[0]
        .token_balance(wallet(VALIDATORS - 1).address())
        .await
        .unwrap();
    assert!(!paid.is_zero(), "the last voter too");
}

#[tokio::test]
async fn credits_are_collected_once_and_nothing_is_sent_where_none_wait() {
    // More than are sent their share, so that it waits for them.
    const VALIDATORS: u8 = 101;
    let genesis = (0..VALIDATORS).map(validator).collect();
    let shared = Shared::with_genesis(genesis, INTERVAL);
    let client = shared.client_at_depth(0, memory(), 0).await;
    super::round::open_round(&shared, &client).await;
    let drawn = client.proposers().await.unwrap();
    let creator = (0..VALIDATORS)
        .find(|n| drawn.contains(&wallet(*n).address()))
        .unwrap();
    let update = empty_update(1);
    let hash = hash_of(&client, 1, &update);
    let coordinator = client.deployment().coordinator;
    {
        let chain = &mut shared.lock().chain;
        let proposal_hash = hash;
        call(
            chain,
            creator,
            coordinator,
            Coordinator::createProposalCall {
                proposalHash: proposal_hash,
            },
        );
        for n in 0..VALIDATORS {
            call(
                chain,
                n,
                coordinator,
                Coordinator::voteForProposalCall {
                    proposalNum: 1,
                    proposalHash: hash,
                },
            );
        }
        call(
            chain,
            creator,
            coordinator,
            Coordinator::executeProposalCall {
                proposalNum: 1,
                update,
            },
        );
    }
    let me = client.address();
    let Credits { sno, eth } = client.credits(me).await.unwrap();
    assert!(sno > 0);
    assert_eq!(eth, 0);
    let nonce = shared.nonce(0);
    let withdraw = Intent::WithdrawSno { distribution_id: 1 };
    let done = client.send(withdraw.clone()).await.unwrap();
    assert_eq!(client.token_balance(me).await.unwrap(), U256::from(sno));
    assert_eq!(client.credits(me).await.unwrap().sno, 0);
    assert_eq!(client.send(withdraw).await.unwrap(), done);
    for nothing in [
        Intent::WithdrawSno { distribution_id: 2 },
        Intent::WithdrawEth { distribution_id: 1 },
    ] {
        let error = client.send(nothing).await.unwrap_err();
        assert!(
            matches!(&error, ChainError::Reverted { name, .. } if name == "Token__InsufficientBalance"),
            "{error}"
        );
    }
    assert_eq!(shared.nonce(0), nonce + 1);
}
