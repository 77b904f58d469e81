//! Capacity challenges: each validator asks each registered worker for work at random moments of a round. What a worker
//! proves is its capacity; what it claims counts for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use tracing::{debug, info, warn};

use super::receipt::{
    CHALLENGES_PER_ROUND, Slot, Work, WorkKind, WorkOrder, challenge_task, verify_result,
};
use crate::chain::{ChainError, RoundPhase};
use crate::p2p::wire::{Request, Response};
use crate::roles::context::Peer;
use crate::roles::validator::Validator;
use crate::round::timing::Timing;

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
    let last = status
        .due_time
        .saturating_sub(2 * timing.gossip_margin_seconds);
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
                // Given before a restart, or: some moment in what is left of the round.
                (!validator.ledger().has_slot(&slot)).then(|| rand::random_range(now..last))
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
    let answer = ctx
        .network
        .request(worker.id, Request::Work(Box::new(order.clone())))
        .await;
    let result = match answer {
        Ok(Response::Work(result)) if result.body.order == order => *result,
        Ok(_) => {
            info!(worker = %worker.wallet, round, index, "challenge not taken");
            return;
        }
        Err(error) => {
            info!(worker = %worker.wallet, round, index, %error, "challenge not answered");
            return;
        }
    };
    if let Err(error) = verify_result(&result, &ctx.domain, rand::random()).await {
        warn!(worker = %worker.wallet, round, index, %error, "challenge failed");
        return;
    }
    if let Err(error) = validator.issue(round, Work::Challenge(result)).await {
        warn!(worker = %worker.wallet, round, index, %error, "challenge passed, but no receipt could be issued");
    }
}
