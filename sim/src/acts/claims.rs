//! Claims that must not be paid: made twice, with another's leaf, for another capacity, for a distribution that is none.

use std::time::Duration;

use alloy::consensus::Transaction as _;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use alloy::transports::TransportError;
use smartnodes_evm::bindings::SmartnodesERC20 as Token;
use smartnodes_evm::reward_tree::RewardTree;
use smartnodes_scenarios::HostName;
use tokio::time::sleep;
use tracing::{info, warn};

use super::error::ActError;
use super::person::{Person, Sent};

/// Wait between two looks for a claim.
const LOOK: Duration = Duration::from_secs(5);
/// How far beyond the last distribution one is that does not exist yet.
const FUTURE: u64 = 1_000;

/// Makes a claim that `owner` has made, from `wallet`.
pub(super) async fn again(
    person: &Person,
    wallet: &PrivateKeySigner,
    host: HostName,
    owner: Address,
    distribution: u64,
) -> Result<Vec<Sent>, ActError> {
    let claim = made_by(person, host, owner, distribution).await;
    let token = person.deployment().token;
    Ok(vec![person.call(wallet, token, &claim).await?])
}

/// Makes one's own claim again, for a distribution that does not exist yet.
pub(super) async fn of_the_future(
    person: &Person,
    wallet: &PrivateKeySigner,
    host: HostName,
    distribution: u64,
) -> Result<Vec<Sent>, ActError> {
    let mut claim = made_by(person, host, wallet.address(), distribution).await;
    let token = person.deployment().token;
    let last = person.read(token, &Token::s_currentDistributionIdCall {})?;
    claim.distributionId = last + U256::from(FUTURE);
    Ok(vec![person.call(wallet, token, &claim).await?])
}

/// Claims one's own reward, which is not claimed yet, with one's own proof and for more than one has earned.
pub(super) async fn of_too_much(
    person: &Person,
    wallet: &PrivateKeySigner,
    distribution: u64,
) -> Result<Vec<Sent>, ActError> {
    let (capacity, proof) = share(person, wallet.address(), distribution).await?;
    let claim = Token::claimMerkleRewardsCall {
        distributionId: U256::from(distribution),
        capacity: capacity + U256::from(1),
        proof,
    };
    let token = person.deployment().token;
    Ok(vec![person.call(wallet, token, &claim).await?])
}

/// Claims one's own reward in one batch with three claims that must fail: the same once more, the same for more, and one
/// for a distribution that does not exist yet.
pub(super) async fn batch(
    person: &Person,
    wallet: &PrivateKeySigner,
    distribution: u64,
) -> Result<Vec<Sent>, ActError> {
    let (account, token) = (wallet.address(), person.deployment().token);
    let id = U256::from(distribution);
    let (capacity, proof) = share(person, account, distribution).await?;
    let claims = [
        (id, capacity),
        (id, capacity),
        (id, capacity + U256::from(1)),
        (id + U256::from(FUTURE), capacity),
    ];
    let before = person.read(token, &Token::balanceOfCall { account })?;
    let batch = Token::batchClaimMerkleRewardsCall {
        distributionIds: claims.map(|(id, _)| id).to_vec(),
        capacities: claims.map(|(_, capacity)| capacity).to_vec(),
        proofs: vec![proof; claims.len()],
    };
    let sent = person.call(wallet, token, &batch).await?;
    let record = person.read(token, &Token::s_distributionsCall { distributionId: id })?;
    let due = U256::from(record.workerReward.sno) * capacity / U256::from(record.totalCapacity);
    let paid = person.read(token, &Token::balanceOfCall { account })? - before;
    if sent.reverted.is_none() && paid != due {
        return Err(ActError::Books {
            what: "what a batch with one good claim pays",
            expected: due.to_string(),
            found: paid.to_string(),
        });
    }
    Ok(vec![sent])
}

/// Capacity and proof of an account whose node is down, made of what all the others have claimed, on chain for everybody to
/// read. Waits until they have.
async fn share(
    person: &Person,
    account: Address,
    distribution: u64,
) -> Result<(U256, Vec<B256>), ActError> {
    loop {
        if let Some(share) = rest(person, account, distribution).await? {
            return Ok(share);
        }
        info!(%account, distribution, "not all others have claimed yet");
        sleep(LOOK).await;
    }
}

/// What is left for the one account that has not claimed from a distribution; `None` if there are more, or it has.
async fn rest(
    person: &Person,
    account: Address,
    distribution: u64,
) -> Result<Option<(U256, Vec<B256>)>, ActError> {
    let token = person.deployment().token;
    let distribution_id = U256::from(distribution);
    let record = person.read(
        token,
        &Token::s_distributionsCall {
            distributionId: distribution_id,
        },
    )?;
    let filter = Filter::new()
        .address(token)
        .event_signature(Token::TokenRewardsClaimed::SIGNATURE_HASH)
        .topic1(B256::from(distribution_id))
        .from_block(person.deployment().deployed_at);
    let others = match claims(person, &filter).await {
        Ok(claims) => claims,
        Err(error) => {
            warn!(%error, "the endpoint does not answer");
            return Ok(None);
        }
    };
    let mut leaves: Vec<(Address, U256)> = others
        .into_iter()
        .map(|(by, claim)| (by, claim.capacity))
        .collect();
    let claimed: U256 = leaves.iter().map(|(_, capacity)| *capacity).sum();
    let Some(rest) = U256::from(record.totalCapacity).checked_sub(claimed) else {
        return Ok(None);
    };
    leaves.push((account, rest));
    let tree = RewardTree::new(distribution, leaves).ok();
    let tree = tree.filter(|tree| tree.root() == record.merkleRoot);
    Ok(tree.and_then(|tree| Some((rest, tree.proof(account)?))))
}

/// The call with which `owner` claimed from a distribution, from the chain, where everybody can read it. Waits until there
/// is one.
async fn made_by(
    person: &Person,
    host: HostName,
    owner: Address,
    distribution: u64,
) -> Token::claimMerkleRewardsCall {
    let deployment = person.deployment();
    let filter = Filter::new()
        .address(deployment.token)
        .event_signature(Token::TokenRewardsClaimed::SIGNATURE_HASH)
        .topic1(B256::from(U256::from(distribution)))
        .topic2(owner.into_word())
        .from_block(deployment.deployed_at);
    loop {
        match find(person, &filter).await {
            Ok(Some(claim)) => return claim,
            Ok(None) => info!(%host, distribution, "there is no claim yet"),
            Err(error) => warn!(%error, "the endpoint does not answer"),
        }
        sleep(LOOK).await;
    }
}

async fn find(
    person: &Person,
    filter: &Filter,
) -> Result<Option<Token::claimMerkleRewardsCall>, TransportError> {
    let found = claims(person, filter).await?;
    Ok(found.into_iter().next().map(|(_, claim)| claim))
}

/// The claims that were made with calls of their own, and by whom.
async fn claims(
    person: &Person,
    filter: &Filter,
) -> Result<Vec<(Address, Token::claimMerkleRewardsCall)>, TransportError> {
    let mut found = Vec::new();
    for log in person.rpc().get_logs(filter).await? {
        let Some(hash) = log.transaction_hash else {
            continue;
        };
        let transaction = person.rpc().get_transaction_by_hash(hash).await?;
        found.extend(transaction.and_then(|tx| {
            let call = Token::claimMerkleRewardsCall::abi_decode(tx.inner.input()).ok()?;
            Some((tx.inner.signer(), call))
        }));
    }
    Ok(found)
}
