//! A user that calls its job off when it is done.

use std::time::Duration;

use alloy::primitives::B256;
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolEvent;
use smartnodes_evm::bindings::SmartnodesCore as Core;
use tokio::time::sleep;
use tracing::warn;

use super::error::ActError;
use super::person::{Person, Sent};

/// Wait between two looks for a job.
const LOOK: Duration = Duration::from_secs(5);

/// Cancels the job that the wallet has requested last, as the contract lets it. Waits until there is one.
pub(super) async fn cancel(
    person: &Person,
    wallet: &PrivateKeySigner,
) -> Result<Vec<Sent>, ActError> {
    let core = person.deployment().core;
    let requested = Filter::new()
        .address(core)
        .event_signature(Core::JobRequested::SIGNATURE_HASH)
        .topic2(wallet.address().into_word())
        .from_block(person.deployment().deployed_at);
    let job = loop {
        match person.rpc().get_logs(&requested).await {
            Ok(logs) => {
                let last = logs.last().and_then(|log| log.topics().get(1).copied());
                if let Some(job) = last {
                    break job;
                }
            }
            Err(error) => warn!(%error, "the endpoint does not answer"),
        }
        sleep(LOOK).await;
    };
    let cancel = Core::cancelJobCall {
        jobId: B256::from(job),
    };
    Ok(vec![person.call(wallet, core, &cancel).await?])
}
