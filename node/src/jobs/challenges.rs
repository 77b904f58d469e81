//! Capacity challenges: each validator asks each registered worker for work at random moments of a round. What a worker
//! proves is its capacity; what it claims counts for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use tracing::{debug, info, warn};

use super::receipt::{
    CHALLENGES_PER_ROUND, ReceiptError, Slot, Work, WorkKind, WorkOrder, challenge_task,
    verify_answer,
};
use super::recruit::{accuse, order_work};
use crate::chain::{ChainError, RoundPhase};
use crate::roles::context::Peer;
use crate::roles::validator::Validator;
use crate::round::timing::Timing;
use crate::work::Policy;

/// When a challenge is due (chain seconds); `None` once it has been given.
type Plan = BTreeMap<(Address, u16), Option<u64>>;

/// Runs until the node stops.
pub(crate) async fn run(validator: Arc<Validator>) {
    let mut planned: (u64, Plan) = (0, Plan::new());
    loop {
        let wait = match tick(&validator, &mut planned).await {
            Ok(wait) => wait,
            Err(error) => {
                debug!(%error, "no challenges now");
                Duration::from_secs(30)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn tick(validator: &Validator, planned: &mut (u64, Plan)) -> Result<Duration, ChainError> {
    let ctx = &validator.ctx;
    let status = ctx.chain.round_status().await?;
    let timing = Timing::new(status.update_interval);
    let now = ctx.clock.now();
    let first = status.due_time.saturating_sub(status.update_interval);
    let last = status
        .due_time
        .saturating_sub(timing.gossip_margin_seconds.saturating_mul(2));
    if status.phase != RoundPhase::Waiting || now >= last {
        return Ok(timing.challenge_tick);
    }
    if planned.0 != status.round {
        *planned = (status.round, Plan::new());
    }
    for worker in validator.workers() {
        for index in 0..CHALLENGES_PER_ROUND {
            let due = planned.1.entry((worker.wallet, index)).or_insert_with(|| {
                let slot = Slot::Challenge {
                    round: status.round,
                    validator: ctx.address(),
                    worker: worker.wallet,
                    index,
                };
                // Some moment of the whole round: what was before the worker came is not made up for, so that standing by
                // earns for as long as it lasts.
                let due = rand::random_range(first.min(now)..last);
                // Given before a restart.
                (due >= now && !validator.ledger().has_slot(&slot)).then_some(due)
            });
            if due.is_some_and(|due| now >= due) {
                *due = None;
                challenge(validator, &worker, status.round, index).await;
            }
        }
    }
    Ok(timing.challenge_tick)
}

async fn challenge(validator: &Validator, worker: &Peer, round: u64, index: u16) {
    let ctx = &validator.ctx;
    let kind = WorkKind::Challenge {
        round,
        index,
        nonce: B256::from(rand::random::<[u8; 32]>()),
    };
    let task = challenge_task(&ctx.domain, ctx.address(), worker.wallet, &kind);
    let order = WorkOrder {
        validator: ctx.address(),
        worker: worker.wallet,
        kind,
        task,
    };
    let Some(answer) = order_work(validator, worker, &order).await else {
        info!(worker = %worker.wallet, round, index, "challenge not answered");
        return;
    };
    let policy = Policy::default();
    let checked = verify_answer(&answer, &order.task, &ctx.domain, rand::random(), &policy).await;
    let issued = match checked {
        Ok(()) => validator.issue(round, Work::Challenge(answer)).await,
        Err(error) => {
            warn!(worker = %worker.wallet, round, index, %error, "challenge failed");
            match error {
                ReceiptError::Proof { .. } => accuse(validator, answer, order.task).await,
                _ => return,
            }
        }
    };
    if let Err(error) = issued {
        warn!(worker = %worker.wallet, round, index, %error, "no receipt could be issued for the challenge");
    }
}
