//! Users who get no result: they change their minds, or want what cannot be done. Their payments come back.

use std::time::Duration;

use alloy::primitives::B256;
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
    let job = request.job_id(&user.ctx.domain);
    match user.submit_job(request).await {
        Ok(_) => sleep(after).await,
        // After a crash the payment may be so old already that nobody takes the job any more.
        Err(UserError::Refused(refusal)) => info!(%job, %refusal, "refused by all"),
        Err(error) => return Err(error),
    }
    refund(user, job, paid).await
}

/// Submits a job that cannot be done, is told so, and waits for the refund where there is a payment. May be repeated
/// after a crash. A result is an error.
pub(crate) async fn submit_in_vain(user: &User, request: JobRequest) -> Result<(), UserError> {
    let paid = request.payment > 0;
    if paid {
        user.register().await?;
    }
    let job = request.job_id(&user.ctx.domain);
    match user.run_job(request).await {
        Ok(_) => Err(UserError::Failed("it was done after all".to_owned())),
        Err(UserError::Failed(reason)) => {
            info!(%job, reason, "told that it cannot be done");
            refund(user, job, paid).await
        }
        Err(UserError::Refused(refusal)) => {
            info!(%job, %refusal, "refused by all");
            refund(user, job, paid).await
        }
        Err(error) => Err(error),
    }
}

/// Waits until chain time has come so far. It is asked again and again: it may jump.
async fn reaches(user: &User, time: u64) {
    loop {
        sleep(PATIENCE).await;
        match user.ctx.chain.head().await {
            Ok(head) if head.timestamp < time => {}
            _ => return,
        }
    }
}

/// Calls a job off until its payment is back.
pub(crate) async fn refund(user: &User, job: B256, paid: bool) -> Result<(), UserError> {
    while let Some(time) = user.cancel_job(job).await? {
        info!(%job, refundable_at = time, "called off, the payment is not refunded yet");
        reaches(user, time).await;
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
