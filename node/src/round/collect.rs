//! Validators collect what waits for them in the token contract: SNO where too many approved an update to be sent it,
//! and the ETH of jobs.

use alloy::primitives::U256;
use tracing::{debug, info, warn};

use crate::chain::{ChainError, Intent};
use crate::roles::context::Context;
use crate::store::{StoreError, Table};

/// The last distribution after which everything was collected.
const COLLECTED: &[u8] = b"collected-after";
/// Gas of a withdrawal, rounded up (`evm/gas.snap` has 41,522).
const WITHDRAWAL_GAS: u64 = 60_000;

/// Why nothing can be collected now.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Collects what waits, once after each distribution, the last of which is `distribution_id`. A failure is logged and
/// keeps the validator from nothing else: the next call tries again.
pub(crate) async fn collect(ctx: &Context, distribution_id: u64) {
    if let Err(error) = try_collect(ctx, distribution_id).await {
        warn!(%error, "what waits for this validator cannot be collected now");
    }
}

async fn try_collect(ctx: &Context, distribution_id: u64) -> Result<(), CollectError> {
    // Ids fall when a reorganisation drops an update, so equality is what counts.
    if ctx.store.get::<u64>(Table::Meta, COLLECTED)? == Some(distribution_id) {
        return Ok(());
    }
    let credits = ctx.chain.credits(ctx.address()).await?;
    if credits.sno > 0 {
        ctx.chain
            .send(Intent::WithdrawSno { distribution_id })
            .await?;
        info!(wei = credits.sno, "SNO collected");
    }
    if credits.eth > 0 {
        if ctx.chain.cost_of_gas(WITHDRAWAL_GAS).await? < U256::from(credits.eth) {
            ctx.chain
                .send(Intent::WithdrawEth { distribution_id })
                .await?;
            info!(wei = credits.eth, "ETH collected");
        } else {
            debug!(
                wei = credits.eth,
                "the ETH that waits is worth less than the gas to collect it"
            );
        }
    }
    ctx.store.put(Table::Meta, COLLECTED, &distribution_id)?;
    Ok(())
}
