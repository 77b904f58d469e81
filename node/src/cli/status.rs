//! `smartnode status`.

use std::path::Path;

use serde_json::json;

use super::{amount::Sno, config::Loaded, error::CliError, output::Output, start};

/// What the chain says of the round and of this node. Can be asked while the node is running.
pub(super) async fn status(config: &Path, output: &Output) -> Result<(), CliError> {
    let loaded = Loaded::read(config)?;
    let identity = loaded.identity()?;
    let chain = start::chain_to_read(&loaded, &identity).await?;
    let address = identity.address();
    let failed = CliError::Chain;
    let head = chain.head().await.map_err(failed)?;
    let round = chain.round_status().await.map_err(failed)?;
    let validators = chain.validators().await.map_err(failed)?;
    let balance = chain.token_balance(address).await.map_err(failed)?;
    let is_user = chain.is_user(address).await.map_err(failed)?;
    let is_validator = chain
        .is_verified_validator(address, identity.public_key_hash())
        .await
        .map_err(failed)?;
    let reputation = chain.reputation(address).await.map_err(failed)?;
    let distributions = chain.distribution_count().await.map_err(failed)?;
    output.result(&json!({
        "role": loaded.node.role,
        "address": address,
        "peer_id": identity.peer_id().to_string(),
        "balance": Sno(balance).to_string(),
        "registered_as_user": is_user,
        "registered_as_validator": is_validator,
        "reputation": reputation,
        "block": head.number,
        "block_time": head.timestamp,
        "round": round.round,
        "round_phase": format!("{:?}", round.phase).to_lowercase(),
        "round_due": round.due_time,
        "update_interval_seconds": round.update_interval,
        "validators": validators.len(),
        "distributions": distributions,
    }));
    Ok(())
}
