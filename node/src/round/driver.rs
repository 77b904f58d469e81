//! A validator's part in a round: open, propose, judge, vote, execute. One step at a time, each from what the chain
//! and the store say now, so that a restart at any point goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::aggregate::compose;
use super::collect::collect;
use super::isolation::Isolation;
use super::judge::{Objection, RoundFacts, judge};
use super::payload::{PayloadError, PublishedPayload, SignedPayload};
use super::payloads::{Found, find_payload, keep_payload, stored_payload};
use super::retention::{proposed_key, vote_key};
use super::settle::{SettleError, catch_up};
use super::timing::Timing;
use crate::chain::{ChainError, Intent, Proposal, RoundPhase, RoundStatus};
use crate::failpoint::{fail_point, sometimes};
use crate::jobs::sync;
use crate::p2p::handshake::Role;
use crate::p2p::records::Record;
use crate::p2p::wire::Request;
use crate::roles::context::Context;
use crate::roles::validator::Validator;
use crate::signed::Signed;
use crate::store::{StoreError, Table};

/// Wait after a failed step.
const RETRY: Duration = Duration::from_secs(5);
/// A latest block that is this much older (seconds) than chain time should be is worth a word: the chain stands, or the
/// only endpoint lags, which nothing else shows.
const STALE_SECONDS: u64 = 120;

/// Why a step could not be done now.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Executed updates are not settled here.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The own receipts yield no update.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// For so long another validator is waited for, to hear whether it is there.
const ANSWER: Duration = Duration::from_secs(10);

/// A vote as it is written down before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vote {
    number: u8,
    hash: B256,
    /// Distribution that the proposal is for. After a deep reorganisation a round may be for another one, and a vote
    /// in it has nothing to do with this.
    distribution_id: u64,
}

/// Runs until the node stops.
pub(crate) async fn run(validator: Arc<Validator>) {
    let mut isolation = Isolation::default();
    loop {
        // Also where the chain is out of reach, and nothing else can be done.
        isolation.observe(others(&validator.ctx), 0, Instant::now());
        let wait = match step(&validator, &mut isolation).await {
            Ok(wait) => wait,
            Err(RoundError::Chain(ChainError::Reverted { name, .. })) => {
                // Somebody else was faster, or the round has moved on: look again.
                debug!(revert = name, "the step is not possible any more");
                Duration::from_secs(1)
            }
            Err(error) => {
                warn!(%error, "the round cannot go on here now");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn step(validator: &Validator, isolation: &mut Isolation) -> Result<Duration, RoundError> {
    let ctx = &validator.ctx;
    // Before anything is decided: endpoints that contradict each other decide nothing.
    ctx.chain.cross_check().await?;
    ctx.chain.redo_undone().await?;
    observe_head(ctx).await?;
    let settled = catch_up(validator).await?;
    let status = ctx.chain.round_status().await?;
    let timing = Timing::new(status.update_interval);
    let mut required = status.required_approvals;
    if isolation.is_unknowing() && required == 0 {
        required = ctx.chain.required_approvals().await?;
    }
    let isolated = isolation.observe(others(ctx), required, Instant::now());
    if status.phase != RoundPhase::Open {
        stay_active(ctx, &status).await?;
    }
    match status.phase {
        RoundPhase::Waiting => {
            if !settled.unconfirmed {
                collect(ctx, settled.distribution_id).await;
            }
            Ok(ctx
                .clock
                .until(status.due_time)
                .min(timing.idle)
                .max(Duration::from_secs(1)))
        }
        RoundPhase::Sealed => Ok(Duration::from_secs(1)),
        RoundPhase::Due | RoundPhase::Drawable => {
            let rank = rank(validator, &status).await?;
            let turn = rank.saturating_mul(timing.stagger_seconds);
            let my_time = status.due_time.saturating_add(turn);
            let wait = ctx.clock.until(my_time);
            if wait > Duration::ZERO {
                return Ok(wait.min(timing.poll));
            }
            ctx.chain
                .send(Intent::OpenRound {
                    round: status.round,
                })
                .await?;
            info!(round = status.round, phase = ?status.phase, "round advanced");
            Ok(Duration::from_secs(1))
        }
        RoundPhase::Open => {
            if settled.distribution_id + 1 == status.next_distribution_id {
                open_round(validator, &status, &timing, isolated).await?;
            } else {
                // What an update that is executed, but not settled here, pays for could be paid for again.
                sometimes!("round/behind");
                info!(
                    round = status.round,
                    settled = settled.distribution_id,
                    executed = status.next_distribution_id.saturating_sub(1),
                    unconfirmed = settled.unconfirmed,
                    "the round has to wait until all executed updates are settled here"
                );
            }
            Ok(timing.poll)
        }
    }
}

/// How many other validators are connected and verified.
fn others(ctx: &Context) -> usize {
    ctx.peers_with(Role::Validator).len()
}

/// A validator that has not voted for days does not count, and cannot open a round either, until it says that it is back:
/// where all have been silent, nothing would ever go on by itself.
async fn stay_active(ctx: &Context, status: &RoundStatus) -> Result<(), RoundError> {
    let me = ctx.address();
    if ctx.chain.is_active(me).await? || !ctx.chain.validators().await?.contains(&me) {
        return Ok(());
    }
    let round = status.round;
    warn!(
        round,
        "this validator has not voted for long and does not count, reactivating it"
    );
    ctx.chain.send(Intent::Reactivate { round }).await?;
    sometimes!("round/reactivated");
    info!(round, "reactivated");
    Ok(())
}

/// Takes the latest block's time in.
async fn observe_head(ctx: &Context) -> Result<(), RoundError> {
    let head = ctx.observe_head().await?;
    let age = ctx.clock.now().saturating_sub(head.timestamp);
    if age > STALE_SECONDS {
        warn!(
            block = head.number,
            age, "no new block for long: the RPC endpoint lags, or the chain stands"
        );
    }
    Ok(())
}

/// This validator's place in the order in which validators try what one of them has to do; it rotates every round.
async fn rank(validator: &Validator, status: &RoundStatus) -> Result<u64, RoundError> {
    let validators = validator.ctx.chain.validators().await?;
    let me = validator.ctx.address();
    let count = validators.len().max(1) as u64;
    let index = validators
        .iter()
        .position(|wallet| *wallet == me)
        .map_or(count, |index| index as u64);
    Ok((index + status.round) % count)
}

async fn open_round(
    validator: &Validator,
    status: &RoundStatus,
    timing: &Timing,
    isolated: bool,
) -> Result<(), RoundError> {
    let ctx = &validator.ctx;
    let me = ctx.address();
    if !ctx.chain.is_snapshot_validator(me).await? {
        return Ok(());
    }
    if ctx.clock.now() + timing.stagger_seconds >= status.expires_at {
        // What is sent now would be mined when the round is over, and fail.
        return Ok(());
    }
    let proposals = ctx.chain.proposals().await?;
    let written = ctx
        .store
        .get::<Vote>(Table::Votes, &vote_key(status.round))?
        .filter(|vote| vote.distribution_id == status.next_distribution_id);
    let on_chain = ctx.chain.voted_for(me).await?;
    let voted = match (written, on_chain) {
        (_, Some(_)) => true,
        _ if isolated => false,
        (Some(vote), None) => vote_as_written(validator, status, timing, &proposals, vote).await?,
        (None, None) => consider(validator, status, timing, &proposals).await?,
    };
    // A proposal is not for a validator that cannot hear whether it knows all receipts.
    if !voted && !isolated && may_propose(validator, status, timing, &proposals).await? {
        propose(validator, status).await?;
    }
    execute(validator, status, timing, &proposals).await
}

/// Sends the vote that is written down but not on chain, and no other. Only if a reorganisation has dropped the
/// proposal, and its creator has had the time to bring it back, is the vote void. Whether this validator has voted.
async fn vote_as_written(
    validator: &Validator,
    status: &RoundStatus,
    timing: &Timing,
    proposals: &[Proposal],
    written: Vote,
) -> Result<bool, RoundError> {
    let ctx = &validator.ctx;
    match proposals
        .iter()
        .find(|proposal| proposal.hash == written.hash)
    {
        Some(proposal) => {
            // Another order of proposals gives it another number.
            let vote = Vote {
                number: proposal.number,
                ..written
            };
            send_vote(validator, status, vote).await
        }
        None if ctx.clock.now() < status.opened_at.saturating_add(timing.takeover_seconds) => {
            info!(round = status.round, proposal = %written.hash, "the proposal that the vote was for is not on chain");
            Ok(true)
        }
        None => {
            sometimes!("round/vote-void");
            warn!(round = status.round, proposal = %written.hash, "the vote is void: its proposal is gone");
            consider(validator, status, timing, proposals).await
        }
    }
}

fn facts(status: &RoundStatus, timing: &Timing) -> RoundFacts {
    RoundFacts {
        round: status.round,
        cutoff: status.due_time,
        distribution_id: status.next_distribution_id,
        gossip_margin_seconds: timing.gossip_margin_seconds,
    }
}

/// Votes for the first proposal that stands up to judgement. Whether this validator has voted.
async fn consider(
    validator: &Validator,
    status: &RoundStatus,
    timing: &Timing,
    proposals: &[Proposal],
) -> Result<bool, RoundError> {
    let ctx = &validator.ctx;
    for proposal in proposals {
        let found = find_payload(validator, proposal.hash, proposal.creator, status.round).await?;
        let payload = match found {
            Found::Here(payload) => payload,
            Found::Nowhere => {
                sometimes!("round/payload-missing");
                info!(round = status.round, proposal = %proposal.hash, "no vote yet: the payload is not there");
                continue;
            }
            Found::Refused(error) => {
                sometimes!("round/payload-refused");
                warn!(round = status.round, proposal = %proposal.hash, creator = %proposal.creator, objection = %error, "no vote");
                continue;
            }
        };
        match judge_with_receipts(validator, status, timing, proposal, &payload).await {
            Ok(()) => {
                let vote = Vote {
                    number: proposal.number,
                    hash: proposal.hash,
                    distribution_id: status.next_distribution_id,
                };
                ctx.store
                    .put(Table::Votes, &vote_key(status.round), &vote)?;
                return send_vote(validator, status, vote).await;
            }
            Err(objection) => {
                sometimes!("round/no-vote");
                warn!(round = status.round, proposal = %proposal.hash, creator = %proposal.creator, %objection, "no vote");
            }
        }
    }
    Ok(false)
}

/// Judges a payload; receipts that are unknown here are fetched from its creator and the others, verified, and the
/// payload is judged again.
async fn judge_with_receipts(
    validator: &Validator,
    status: &RoundStatus,
    timing: &Timing,
    proposal: &Proposal,
    payload: &SignedPayload,
) -> Result<(), Objection> {
    let ctx = &validator.ctx;
    let facts = facts(status, timing);
    let first = judge(
        &payload.body.payload,
        &facts,
        &validator.ledger(),
        &ctx.domain,
    );
    let Err(Objection::UnknownReceipts(unknown)) = first else {
        return first;
    };
    let mut peers = ctx.peers_with(Role::Validator);
    peers.sort_by_key(|peer| peer.wallet != proposal.creator);
    for peer in peers {
        sync::fetch(validator, &peer, unknown.clone()).await;
    }
    judge(
        &payload.body.payload,
        &facts,
        &validator.ledger(),
        &ctx.domain,
    )
}

/// Sends a vote. `false`, and nothing is sent, as long as too few others answer.
async fn send_vote(
    validator: &Validator,
    status: &RoundStatus,
    vote: Vote,
) -> Result<bool, RoundError> {
    if !hears_a_quorum(&validator.ctx, status).await {
        return Ok(false);
    }
    let intent = Intent::Vote {
        round: status.round,
        number: vote.number,
        hash: vote.hash,
    };
    validator.ctx.chain.send(intent).await?;
    info!(round = status.round, proposal = %vote.hash, "voted");
    Ok(true)
}

/// Whether enough other validators answer right now for an update. A connection that has fallen silent is given up only
/// after a while, and what is sent in the meantime would be sent by somebody who hears nobody.
async fn hears_a_quorum(ctx: &Context, status: &RoundStatus) -> bool {
    let asked = ctx.peers_with(Role::Validator).into_iter().map(|peer| {
        // Nothing comes after this one: the answer is empty.
        let request = Request::ReceiptIds {
            after: B256::repeat_byte(0xff),
        };
        let answer = ctx.network.request(peer.id, request);
        async move { matches!(tokio::time::timeout(ANSWER, answer).await, Ok(Ok(_))) }
    });
    let answers = join_all(asked).await;
    let heard = answers.into_iter().filter(|answered| *answered).count();
    let enough = (heard as u64).saturating_add(1) >= status.required_approvals;
    if !enough {
        sometimes!("round/unheard");
        info!(
            round = status.round,
            heard,
            required_approvals = status.required_approvals,
            "neither vote nor proposal: too few other validators answer"
        );
    }
    enough
}

/// Whether it is this validator's turn to propose: as a drawn proposer in order, or, late in the round, as any.
/// Proposals that this validator would not vote for do not keep it from proposing.
async fn may_propose(
    validator: &Validator,
    status: &RoundStatus,
    timing: &Timing,
    proposals: &[Proposal],
) -> Result<bool, RoundError> {
    let ctx = &validator.ctx;
    let me = ctx.address();
    if proposals.iter().any(|proposal| proposal.creator == me) {
        return Ok(false);
    }
    let last_time = status.expires_at.saturating_sub(status.update_interval / 8);
    if ctx.clock.now().saturating_add(timing.stagger_seconds) >= last_time {
        // The Coordinator takes no proposal that could not be voted for in time.
        return Ok(false);
    }
    let drawn = ctx.chain.proposers().await?;
    let my_time = match drawn.iter().position(|wallet| *wallet == me) {
        Some(place) => status
            .opened_at
            .saturating_add((place as u64).saturating_mul(timing.stagger_seconds)),
        None => {
            sometimes!("round/not-drawn");
            let rank = rank(validator, status).await?;
            status
                .opened_at
                .saturating_add(timing.takeover_seconds)
                .saturating_add(rank.saturating_mul(timing.stagger_seconds))
        }
    };
    Ok(ctx.clock.now() >= my_time)
}

async fn propose(validator: &Validator, status: &RoundStatus) -> Result<(), RoundError> {
    let ctx = &validator.ctx;
    // One proposal for each round, also if a crash or a reorganisation keeps it from the chain at first. After a deep
    // one the round may build on other distributions.
    let key = proposed_key(status.round, status.next_distribution_id);
    let published = match ctx.store.get::<B256>(Table::Meta, &key)? {
        Some(hash) => stored_payload(&ctx.store, hash)?,
        None => None,
    };
    let published = match published {
        Some(published) => published,
        None => build(validator, status, &key).await?,
    };
    let hash = published.body.proposal_hash;
    let (receipts, workers, jobs) = {
        let payload = &published.body.payload;
        (
            payload.receipts.len(),
            payload.workers.len(),
            payload.jobs.len(),
        )
    };
    // Asked before it is published: an isolated proposer looks again every few seconds, and puts nothing into the DHT then.
    if !hears_a_quorum(ctx, status).await {
        return Ok(());
    }
    ctx.network
        .put_record(&Record::Payload(Box::new(published)))
        .await;
    fail_point!("payload", "published");
    ctx.chain
        .send(Intent::Propose {
            round: status.round,
            hash,
        })
        .await?;
    info!(round = status.round, proposal = %hash, receipts, workers, jobs, "proposed");
    Ok(())
}

/// Builds the payload of this validator's proposal from what it holds, and writes both down.
async fn build(
    validator: &Validator,
    status: &RoundStatus,
    key: &[u8],
) -> Result<SignedPayload, RoundError> {
    let ctx = &validator.ctx;
    sync::pull(validator).await;
    let payload = compose(
        &validator.ledger(),
        status.round,
        status.due_time,
        status.next_distribution_id,
        &ctx.domain,
    )?;
    let hash = payload.proposal_hash(&ctx.domain)?;
    let body = PublishedPayload {
        publisher: ctx.address(),
        proposal_hash: hash,
        payload,
    };
    let published = Signed::sign(body, &ctx.domain, &ctx.identity.wallet);
    ctx.store.write(|batch| {
        keep_payload(batch, status.round, &published)?;
        batch.put(Table::Meta, key, &hash)
    })?;
    Ok(published)
}

/// Executes a proposal that has the votes: at once if it is one's own, in turn after the grace if not.
async fn execute(
    validator: &Validator,
    status: &RoundStatus,
    timing: &Timing,
    proposals: &[Proposal],
) -> Result<(), RoundError> {
    let ctx = &validator.ctx;
    for proposal in proposals {
        if u64::from(proposal.votes) < status.required_approvals
            || !ctx.chain.can_execute(proposal.number).await?
        {
            continue;
        }
        if proposal.creator != ctx.address() {
            // The Coordinator's grace ends 1/16 of the interval after the proposal.
            let turn = rank(validator, status)
                .await?
                .saturating_mul(timing.stagger_seconds);
            let own = proposal
                .created_at
                .saturating_add(status.update_interval / 16);
            if ctx.clock.now() < own.saturating_add(turn) {
                continue;
            }
            sometimes!("round/execution-taken-over");
        }
        let found = find_payload(validator, proposal.hash, proposal.creator, status.round).await?;
        let Found::Here(payload) = found else {
            warn!(round = status.round, proposal = %proposal.hash, "cannot execute: the payload is not there");
            continue;
        };
        let update = payload.body.payload.state_update()?;
        let intent = Intent::Execute {
            round: status.round,
            number: proposal.number,
            update,
        };
        ctx.chain.send(intent).await?;
        info!(round = status.round, proposal = %proposal.hash, "executed");
        catch_up(validator).await?;
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Store;
    use crate::store::rows::{config, damages, overwrite, rows_of};

    #[test]
    fn a_damaged_vote_is_read_or_refused_and_is_never_taken_for_none() {
        const ROUND: u64 = 3;
        let written = Vote {
            number: 1,
            hash: B256::repeat_byte(7),
            distribution_id: 2,
        };
        let store = Store::in_memory().expect("opens");
        let key = vote_key(ROUND);
        store.put(Table::Votes, &key, &written).expect("stored");
        let rows = rows_of(&store);
        assert_eq!(rows.len(), 1);
        proptest!(config(), |(damages in damages())| {
            let store = Store::in_memory().expect("opens");
            let left = overwrite(&store, &rows, &damages);
            let is_there = left.iter().any(|(_, damaged, _)| *damaged == key);
            match store.get::<Vote>(Table::Votes, &key) {
                // A second vote in the round could follow.
                Ok(None) => prop_assert!(!is_there),
                Ok(Some(_)) | Err(_) => prop_assert!(is_there),
            }
        });
    }
}
