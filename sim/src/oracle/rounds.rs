//! Rounds by the logs: who counts, what was proposed, who voted for what.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, U256};

use super::super::events::Seen;
use super::super::settings::approvals;
use super::{Books, Broke, part};

/// Part of a distribution, in per cent, of the validators that voted for it.
const VALIDATORS_PERCENT: u128 = 10;
/// Up to so many of them are sent what they get; more collect it.
const PUSH_MAX: usize = 100;

#[derive(Debug, Clone)]
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) snapshot: u64,
    pub(super) approval_percent: u64,
    /// Who may vote: the validators of the set when the round opened, without those who left since.
    pub(super) members: BTreeSet<Address>,
    /// In the order in which they were made. They live as long as the round.
    pub(super) proposals: Vec<B256>,
    pub(super) votes: BTreeMap<Address, B256>,
    /// Votes of those who have left the set since.
    withdrawn: BTreeMap<Address, B256>,
}

impl Round {
    /// Who has voted for a proposal.
    pub(super) fn voters_of(&self, proposal: B256) -> BTreeSet<Address> {
        let votes = self.votes.iter();
        votes
            .filter(|(_, hash)| **hash == proposal)
            .map(|(voter, _)| *voter)
            .collect()
    }

    /// Who is paid for having voted for it when it is executed: those whom the execution itself removes, too.
    pub(super) fn paid_for(&self, proposal: B256, seen: &[Seen]) -> BTreeSet<Address> {
        let removed = seen.iter().filter_map(|event| match event {
            Seen::ValidatorRemoved(account) => Some(*account),
            _ => None,
        });
        let removed = removed.filter(|account| self.withdrawn.get(account) == Some(&proposal));
        self.voters_of(proposal)
            .into_iter()
            .chain(removed)
            .collect()
    }
}

/// Checks that all who voted for the executed proposal are paid the same, once, whoever executed it, and that one account
/// has whatever else is paid: its own part, and what is left over by rounding.
pub(super) fn paid_alike(round: u64, voters: &BTreeSet<Address>, seen: &[Seen], broke: &mut Broke) {
    if voters.is_empty() || voters.len() > PUSH_MAX {
        return;
    }
    let pools = seen.iter().filter_map(|event| match event {
        Seen::Distributed { pool, .. } => Some(*pool),
        _ => None,
    });
    let validators = part(pools.sum::<U256>().saturating_to(), VALIDATORS_PERCENT);
    let share = U256::from(validators / voters.len() as u128);
    let mut paid: BTreeMap<Address, Vec<U256>> = BTreeMap::new();
    for event in seen {
        if let Seen::Paid { to, amount } = event {
            paid.entry(*to).or_default().push(*amount);
        }
    }
    let alike = voters
        .iter()
        .all(|voter| paid.get(voter) == Some(&vec![share]));
    let others = paid.keys().filter(|to| !voters.contains(*to)).count();
    broke.unless(alike && others <= 1, "voters-paid-alike", || {
        format!("round {round} pays {paid:?}, and each of {voters:?} must have {share} once")
    });
}

impl Books {
    /// Enters what changes the set, opens a round, or takes place in it.
    pub(super) fn consensus(&mut self, event: &Seen, broke: &mut Broke) {
        match event {
            Seen::ValidatorAdded(account) => drop(self.members.insert(*account)),
            Seen::Drawn(proposers) => self.draws.drawn(proposers.clone()),
            Seen::ValidatorRemoved(account) => {
                let open = self.round.as_ref().map(|round| round.number);
                self.draws.left(open, *account);
                self.members.remove(account);
                if let Some(round) = &mut self.round
                    && round.members.remove(account)
                {
                    if let Some(vote) = round.votes.remove(account) {
                        round.withdrawn.insert(*account, vote);
                    }
                    round.snapshot = round.snapshot.saturating_sub(1);
                }
            }
            Seen::RoundOpened {
                round,
                snapshot,
                required,
            } => {
                let members = self.members.len() as u64;
                broke.unless(*snapshot <= members, "votes-of-the-snapshot", || {
                    format!("round {round} counts {snapshot} validators, there are {members}")
                });
                let percent = self.settings.approval_percent;
                let expected = approvals(*snapshot, percent);
                broke.unless(*required == expected, "approved", || {
                    format!(
                        "round {round} asks for {required} of {snapshot}, it must be {expected}"
                    )
                });
                // Of those who do not count the logs say nothing: where there are some, the draw is left out.
                if *snapshot == members {
                    self.draws.opened(*round, &self.members);
                }
                self.rounds_opened += 1;
                self.rounds_lost += u64::from(self.round.is_some());
                self.last_opened_round = *round;
                self.round = Some(Round {
                    number: *round,
                    snapshot: *snapshot,
                    approval_percent: percent,
                    members: self.members.clone(),
                    proposals: Vec::new(),
                    votes: BTreeMap::new(),
                    withdrawn: BTreeMap::new(),
                });
            }
            Seen::Proposed { number, proposal } => {
                let Some(open) = &mut self.round else {
                    return broke.unless(false, "proposals-stay", || {
                        format!("{proposal} is proposed, and no round is open")
                    });
                };
                open.proposals.push(*proposal);
                let (round, count) = (open.number, open.proposals.len() as u64);
                broke.unless(*number == count, "proposals-stay", || {
                    format!("proposal {number} of round {round} is its {count}th: others have lost their place")
                });
            }
            Seen::Voted {
                round,
                validator,
                proposal,
            } => {
                let Some(open) = self.round.as_mut().filter(|open| open.number == *round) else {
                    return broke.unless(false, "votes-of-the-snapshot", || {
                        format!("a vote in round {round}, not open")
                    });
                };
                broke.unless(
                    open.members.contains(validator),
                    "votes-of-the-snapshot",
                    || format!("{validator} votes in round {round} and is not in its snapshot"),
                );
                let (made_up, honest) = (
                    self.truth.is_made_up(*proposal),
                    self.truth.is_honest(*validator),
                );
                broke.unless(!made_up || !honest, "honest-vote-is-true", || {
                    format!("{validator} votes in round {round} for {proposal}, which is made up")
                });
                self.draws.voted(*round, *validator);
                let before = open.votes.insert(*validator, *proposal);
                broke.unless(before.is_none(), "votes-of-the-snapshot", || {
                    format!("{validator} votes twice in round {round}")
                });
            }
            _ => {}
        }
    }

    /// Compares the open round's proposals and their votes, as the Coordinator counts them, with the logs. Of a round that has
    /// expired it shows none.
    pub(super) fn compare_votes(&self, proposals: &[(B256, u64)], broke: &mut Broke) {
        let Some(round) = self.round.as_ref().filter(|_| !proposals.is_empty()) else {
            return;
        };
        let votes_for = |hash: &B256| round.voters_of(*hash).len();
        let counted = round.proposals.iter();
        let counted: Vec<(B256, u64)> = counted
            .map(|hash| (*hash, votes_for(hash) as u64))
            .collect();
        broke.unless(counted == proposals, "votes-are-counted", || {
            let number = round.number;
            format!("round {number} has {proposals:?} on chain, {counted:?} by the logs")
        });
    }
}
