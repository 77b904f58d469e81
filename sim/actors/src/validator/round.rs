//! The rounds, played against the rules.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smartnodes_node::chain::{ChainError, Intent, Proposal, RoundPhase, RoundStatus};
use smartnodes_node::p2p::records::Record;
use smartnodes_node::round::driver::RoundError;
use smartnodes_node::round::payloads::{Found, find_payload};
use smartnodes_node::round::settle::{catch_up, distribution_payload};
use smartnodes_node::round::timing::Timing;
use smartnodes_node::store::Table;
use tracing::{debug, info};

use super::{Ballot, Cheat, ValidatorMisdeed};

/// Wait after a failed step.
const RETRY: Duration = Duration::from_secs(5);
/// Wait between two looks where every block counts.
const KEEN: Duration = Duration::from_secs(1);

/// Runs until the validator is gone.
pub(super) async fn run(cheat: Arc<Cheat>) {
    loop {
        let wait = match cheat.step().await {
            Ok(wait) => wait,
            Err(RoundError::Chain(ChainError::Reverted { name, .. })) => {
                debug!(revert = name, "the contract refuses it");
                KEEN
            }
            Err(error) => {
                debug!(%error, "no mischief now");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

impl Cheat {
    async fn step(&self) -> Result<Duration, RoundError> {
        let ctx = &self.validator.ctx;
        ctx.clock.observe(ctx.chain.head().await?.timestamp);
        // Also those who cheat serve proofs, and pay nobody twice without meaning to.
        catch_up(&self.validator).await?;
        let status = ctx.chain.round_status().await?;
        let timing = Timing::new(status.update_interval);
        match status.phase {
            RoundPhase::Waiting => {
                self.prepare(&status).await?;
                self.tell_of_late(&status)?;
                self.collect_loot(&status).await?;
                let wait = ctx.clock.until(status.due_time);
                Ok(wait.min(timing.challenge_tick).max(KEEN))
            }
            RoundPhase::Sealed => Ok(KEEN),
            RoundPhase::Due | RoundPhase::Drawable => {
                if self.misdeed == ValidatorMisdeed::Grinding {
                    self.move_on_where_it_pays(&status).await?;
                }
                // Others wait for their turn.
                if self.misdeed == ValidatorMisdeed::Griefing {
                    let round = status.round;
                    ctx.chain.send(Intent::OpenRound { round }).await?;
                    info!(
                        act = "round-moved-on",
                        round,
                        phase = ?status.phase,
                        "misdeed"
                    );
                }
                // Where nobody else is left to do it; others have their turns before.
                let patience = status.update_interval / 16;
                let leaves_it = [ValidatorMisdeed::Silent, ValidatorMisdeed::Grinding];
                if !leaves_it.contains(&self.misdeed)
                    && ctx.clock.now() >= status.due_time + patience
                {
                    let round = status.round;
                    ctx.chain.send(Intent::OpenRound { round }).await?;
                }
                Ok(KEEN)
            }
            RoundPhase::Open => {
                self.play(&status).await?;
                Ok(timing.poll)
            }
        }
    }

    async fn play(&self, status: &RoundStatus) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        if !ctx.chain.is_snapshot_validator(ctx.address()).await? {
            return Ok(());
        }
        if self.misdeed == ValidatorMisdeed::Silent {
            if self.silent_in.swap(status.round, Ordering::Relaxed) != status.round {
                info!(act = "silence", round = status.round, "misdeed");
            }
            return Ok(());
        }
        let proposals = ctx.chain.proposals().await?;
        self.vote(status, &proposals).await?;
        if self.misdeed.proposes() {
            self.propose(status, &proposals).await?;
            self.publish_late(status, &proposals).await?;
            if self.misdeed == ValidatorMisdeed::Returning {
                self.vote_and_return().await?;
            }
            if self.misdeed == ValidatorMisdeed::DustGreedy {
                self.snatch(status, &proposals).await?;
            } else {
                self.execute(status, &proposals).await?;
            }
        }
        Ok(())
    }

    async fn vote(&self, status: &RoundStatus, proposals: &[Proposal]) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        let choice = match self.misdeed.ballot() {
            Ballot::Nothing => None,
            Ballot::First => proposals.first(),
            Ballot::Accomplices => self.of_accomplices(proposals),
            Ballot::Opportune => match self.of_accomplices(proposals) {
                None if self.is_drawn().await? => proposals.first().filter(|proposal| {
                    // Those drawn may have nothing to propose; the window of votes is twice as long.
                    ctx.clock.now() >= proposal.created_at + status.update_interval / 64
                }),
                None => proposals.first(),
                theirs => theirs,
            },
            Ballot::Patient => {
                let others = proposals.iter().find(|p| !self.is_member(p.creator));
                others.or_else(|| {
                    let late = |p: &&Proposal| ctx.clock.now() >= late_time(p, status);
                    self.of_accomplices(proposals).filter(late)
                })
            }
        };
        // One that returns votes for its own in another way, and for others' only to be drawn.
        let choice = choice.filter(|proposal| {
            self.misdeed != ValidatorMisdeed::Returning || !self.is_member(proposal.creator)
        });
        let voted = ctx.chain.voted_for(ctx.address()).await?;
        let round = status.round;
        match (voted, choice) {
            (None, Some(proposal)) => {
                self.send_vote(round, proposal).await?;
                if self.misdeed == ValidatorMisdeed::Lazy {
                    info!(act = "blind-vote", round, proposal = %proposal.hash, "misdeed");
                } else if self.is_member(proposal.creator) {
                    info!(act = "vote-for-accomplice", round, proposal = %proposal.hash, "misdeed");
                }
            }
            (Some(voted), _) if self.misdeed == ValidatorMisdeed::Equivocating => {
                let Some(other) = proposals.iter().find(|proposal| proposal.hash != voted) else {
                    return Ok(());
                };
                if !self.votes_again(round) {
                    return Ok(());
                }
                let again = self.send_vote(round, other).await;
                tell_second(Second::Vote, round, other, again)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn of_accomplices<'a>(&self, proposals: &'a [Proposal]) -> Option<&'a Proposal> {
        proposals.iter().find(|p| self.is_member(p.creator))
    }

    /// Whether one of the group is drawn to propose in this round.
    async fn is_drawn(&self) -> Result<bool, ChainError> {
        let drawn = self.validator.ctx.chain.proposers().await?;
        Ok(drawn.iter().any(|wallet| self.is_member(*wallet)))
    }

    /// Whether a second vote is still to be tried in the round.
    fn votes_again(&self, round: u64) -> bool {
        let mut made = self.made();
        let made = made.as_mut().filter(|made| made.round == round);
        made.is_some_and(|made| !std::mem::replace(&mut made.voted_again, true))
    }

    async fn send_vote(&self, round: u64, proposal: &Proposal) -> Result<(), ChainError> {
        let (number, hash) = (proposal.number, proposal.hash);
        let intent = Intent::Vote {
            round,
            number,
            hash,
        };
        self.validator.ctx.chain.send(intent).await.map(drop)
    }

    async fn propose(
        &self,
        status: &RoundStatus,
        proposals: &[Proposal],
    ) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        let (me, round) = (ctx.address(), status.round);
        if let Some(mine) = proposals.iter().find(|proposal| proposal.creator == me) {
            if self.misdeed == ValidatorMisdeed::Equivocating {
                let other = self.made().as_mut().and_then(|made| made.other.take());
                if let Some(hash) = other {
                    let again = ctx.chain.send(Intent::Propose { round, hash }).await;
                    tell_second(Second::Proposal, round, mine, again.map(drop))?;
                }
            }
            return Ok(());
        }
        // One proposal is enough for all of them.
        let accomplice = proposals.iter().any(|p| self.is_member(p.creator));
        let late = status.expires_at.saturating_sub(status.update_interval / 8);
        let now = ctx.clock.now();
        let any_may = now >= status.opened_at + status.update_interval / 4;
        // Nothing is spoilt by a proposal beside none that has votes.
        if self.misdeed == ValidatorMisdeed::Griefing && proposals.iter().all(|p| p.votes == 0) {
            return Ok(());
        }
        // What is to compete with another proposal comes after it.
        if self.misdeed == ValidatorMisdeed::Duplicating && proposals.is_empty() {
            return Ok(());
        }
        if accomplice || now >= late || (!any_may && !ctx.chain.proposers().await?.contains(&me)) {
            return Ok(());
        }
        let Some(made) = self.make(status).await? else {
            return Ok(());
        };
        let hash = made.hash;
        if made.is_false {
            info!(act = "false-proposal", round, proposal = %hash, "misdeed");
        }
        if let Some(published) = &made.shown_at_once {
            ctx.store.put(Table::Payloads, hash.as_slice(), published)?;
            // What everyone would find in the DHT is not what an equivocator shows, and a hash that its payload does not
            // yield is not kept there.
            if !matches!(
                self.misdeed,
                ValidatorMisdeed::Equivocating | ValidatorMisdeed::WrongTotal
            ) {
                let record = Record::Payload(Box::new(published.clone()));
                ctx.network.put_record(&record).await;
            }
        }
        let is_false = made.is_false;
        *self.made() = Some(made);
        ctx.chain.send(Intent::Propose { round, hash }).await?;
        // Of some, what they propose is what anybody would.
        if matches!(
            self.misdeed,
            ValidatorMisdeed::Understating
                | ValidatorMisdeed::Overstating
                | ValidatorMisdeed::Grinding
                | ValidatorMisdeed::DustGreedy
        ) {
            return Ok(());
        }
        let act = match self.misdeed {
            ValidatorMisdeed::Late => "proposal-before-payload",
            ValidatorMisdeed::Duplicating => "rival-proposal",
            _ if !is_false => "true-proposal",
            _ => "proposal",
        };
        info!(act, round, proposal = %hash, "misdeed");
        Ok(())
    }

    /// Shows a payload that has been held back so far.
    async fn publish_late(
        &self,
        status: &RoundStatus,
        proposals: &[Proposal],
    ) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        let held_back = self
            .made()
            .as_ref()
            .filter(|made| made.round == status.round)
            .and_then(|made| made.shown_late.clone());
        let Some(published) = held_back else {
            return Ok(());
        };
        let hash = published.body.proposal_hash;
        let Some(proposal) = proposals.iter().find(|proposal| proposal.hash == hash) else {
            return Ok(());
        };
        if ctx.clock.now() < late_time(proposal, status) {
            return Ok(());
        }
        // Whoever has made the same has shown it already: then there is nothing late about it.
        let found = find_payload(&self.validator, hash, proposal.creator, status.round).await?;
        let is_late = !matches!(found, Found::Here(_));
        if let Some(made) = self.made().as_mut() {
            made.shown_late = None;
            made.came_late = is_late;
        }
        if !is_late {
            return Ok(());
        }
        ctx.store
            .put(Table::Payloads, hash.as_slice(), &published)?;
        let record = Record::Payload(Box::new(published));
        ctx.network.put_record(&record).await;
        info!(act = "payload-late", round = status.round, proposal = %hash, "misdeed");
        Ok(())
    }

    /// Tells that a proposal was executed whose payload came late: somebody has voted for it after it came, for its own group
    /// has not the votes.
    fn tell_of_late(&self, status: &RoundStatus) -> Result<(), RoundError> {
        let last = status.next_distribution_id.saturating_sub(1);
        let store = &self.validator.ctx.store;
        let executed = distribution_payload(store, last)?.map(|p| p.body.proposal_hash);
        let mut made = self.made();
        let made = made.as_mut().filter(|made| made.came_late);
        if let Some(made) = made
            && executed == Some(made.hash)
        {
            made.came_late = false;
            info!(act = "late-payload-executed", round = made.round, proposal = %made.hash, "misdeed");
        }
        Ok(())
    }

    /// Executes what the group has proposed, if it has the votes.
    pub(super) async fn execute(
        &self,
        status: &RoundStatus,
        proposals: &[Proposal],
    ) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        for proposal in proposals.iter().filter(|p| self.is_member(p.creator)) {
            if u64::from(proposal.votes) < status.required_approvals
                || !ctx.chain.can_execute(proposal.number).await?
            {
                continue;
            }
            let own = self
                .made()
                .as_ref()
                .filter(|made| made.hash == proposal.hash)
                .map(|made| made.update.clone());
            let update = match own {
                Some(update) => update,
                None => match find_payload(
                    &self.validator,
                    proposal.hash,
                    proposal.creator,
                    status.round,
                )
                .await?
                {
                    Found::Here(payload) => payload.body.payload.state_update()?,
                    Found::Nowhere | Found::Refused(_) => continue,
                },
            };
            match self.misdeed {
                ValidatorMisdeed::Understating => {
                    info!(act = "understated-total", round = status.round, proposal = %proposal.hash, "misdeed");
                }
                ValidatorMisdeed::Overstating => {
                    info!(act = "overstated-total", round = status.round, proposal = %proposal.hash, "misdeed");
                }
                _ => {}
            }
            let intent = Intent::Execute {
                round: status.round,
                number: proposal.number,
                update,
            };
            ctx.chain.send(intent).await?;
            if self.misdeed == ValidatorMisdeed::Grinding {
                return Ok(());
            }
            info!(act = "execution", round = status.round, proposal = %proposal.hash, "misdeed");
            return Ok(());
        }
        Ok(())
    }
}

/// When a payload is late: its creator's turn to execute is over, and there is time left for votes.
fn late_time(proposal: &Proposal, status: &RoundStatus) -> u64 {
    proposal.created_at + status.update_interval / 8
}

/// What can be done once in a round.
#[derive(Clone, Copy, Debug)]
enum Second {
    Proposal,
    Vote,
}

/// Tells what became of a second try at what can be done once.
fn tell_second(
    what: Second,
    round: u64,
    proposal: &Proposal,
    again: Result<(), ChainError>,
) -> Result<(), ChainError> {
    let act = match (what, &again) {
        (Second::Proposal, Ok(())) => "second-proposal-taken",
        (Second::Proposal, Err(_)) => "second-proposal-refused",
        (Second::Vote, Ok(())) => "second-vote-taken",
        (Second::Vote, Err(_)) => "second-vote-refused",
    };
    match again {
        Ok(()) => info!(act, round, proposal = %proposal.hash, "misdeed"),
        Err(ChainError::Reverted { name, .. }) => info!(act, round, revert = name, "misdeed"),
        Err(error) => return Err(error),
    }
    Ok(())
}
