//! A user who changes its mind: submits a job, calls it off, and has its payment back.

use std::time::Duration;

use smartnodes_node::chain::JobState;
use smartnodes_node::jobs::JobRequest;
use smartnodes_node::roles::user::{User, UserError};
use tokio::time::sleep;
use tracing::info;

/// Wait between two attempts to have the payment back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Submits a job, calls it off so long after it was admitted, and waits for the refund where there is a payment. May be
/// repeated after a crash. A job that was done in time is an error: it had nothing to be called off for.
pub(crate) async fn submit_and_cancel(
    user: &User,
    request: JobRequest,
    after: Duration,
) -> Result<(), UserError> {
    let paid = request.payment > 0;
    if paid {
        user.register().await?;
    }
    let job = user.submit_job(request).await?;
    sleep(after).await;
    while let Some(time) = user.cancel_job(job).await? {
        info!(%job, refundable_at = time, "called off, the payment is not refunded yet");
        sleep(user.ctx.clock.until(time).max(PATIENCE)).await;
    }
    let refunded = match user.ctx.chain.job(job).await? {
        Some(escrow) => escrow.state == JobState::Cancelled,
        None => !paid,
    };
    match refunded {
        true => Ok(()),
        false => Err(UserError::Failed("it was completed and paid".to_owned())),
    }
}
