//! Claims that must not be paid: made twice, with another's leaf, for a distribution that is none.

use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use smartnodes_evm::bindings::SmartnodesERC20 as Token;
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
) -> Result<Option<Token::claimMerkleRewardsCall>, alloy::transports::TransportError> {
    for log in person.rpc().get_logs(filter).await? {
        let Some(hash) = log.transaction_hash else {
            continue;
        };
        use alloy::consensus::Transaction as _;
        let transaction = person.rpc().get_transaction_by_hash(hash).await?;
        let call = transaction
            .and_then(|tx| Token::claimMerkleRewardsCall::abi_decode(tx.inner.input()).ok());
        if call.is_some() {
            return Ok(call);
        }
    }
    Ok(None)
}
