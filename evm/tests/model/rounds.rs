//! Rounds: due times on a grid, the snapshot, proposals, votes, execution, expiry; and the validator set.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolValue,
};
use smartnodes_evm::{
    bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token},
    state_update::{StateUpdate, proposal_hash},
};

use super::book::{Book, Note, Reasons, Verdict, refuse};

const DAY: u64 = 24 * 3_600;
/// From the seal to the block that draws.
const DRAW_DELAY_BLOCKS: u64 = 2;
/// While so many blocks after that one, the draw can be made.
const DRAW_WINDOW_BLOCKS: u64 = 250;

/// When updates are due, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub due: u64,
    pub interval: u64,
    pub next_interval: u64,
    pub percent: u8,
}

/// One of the validator set.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The first round in whose snapshot it can be.
    pub eligible_from: u64,
    /// When it joined, voted or reactivated itself last.
    pub seen_at: u64,
}

/// How far the present round is.
#[derive(Clone, Debug)]
pub enum Stage {
    Idle,
    Sealed { draw_block: u64 },
    Open(Box<Open>),
}

/// An open round.
#[derive(Clone, Debug)]
pub struct Open {
    pub opened_at: u64,
    pub expires_at: u64,
    pub percent: u8,
    /// Who counts: those who did when it opened and have not left.
    pub snapshot: BTreeSet<Address>,
    pub proposers: Vec<Address>,
    pub proposals: Vec<Proposal>,
    /// The number of the proposal that each voted for.
    pub votes: BTreeMap<Address, u8>,
}

/// A proposal of the open round.
#[derive(Clone, Copy, Debug)]
pub struct Proposal {
    pub creator: Address,
    pub hash: B256,
    pub created_at: u64,
}

/// What can be done next, as the Coordinator numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Waiting,
    Due,
    Sealed,
    Drawable,
    Open,
}

impl Open {
    pub fn votes_for(&self, number: u8) -> usize {
        self.votes.values().filter(|vote| **vote == number).count()
    }

    /// Strictly more than the percentage; all, where more than all would be needed.
    pub fn required(&self) -> usize {
        let count = self.snapshot.len();
        let needed = usize::from(self.percent) * count / 100 + 1;
        needed.min(count.max(1))
    }

    fn proposal(&self, number: u8) -> Option<Proposal> {
        self.proposals
            .get(usize::from(number).checked_sub(1)?)
            .copied()
    }
}

impl Book {
    /// The open round; one that has expired is not.
    pub fn open(&self) -> Option<&Open> {
        match &self.stage {
            Stage::Open(open) if self.now < open.expires_at => Some(open),
            _ => None,
        }
    }

    fn require_open(&self) -> Verdict<&Open> {
        self.open()
            .ok_or_else(|| refuse(Coordinator::Coordinator__RoundNotOpen {}))
    }

    /// Goes on to a block. A round that has expired then is over.
    pub fn advance(&mut self, time: u64, block: u64) {
        (self.now, self.block) = (time, block);
        if matches!(&self.stage, Stage::Open(open) if time >= open.expires_at) {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        self.round += 1;
        self.stage = Stage::Idle;
    }

    pub fn phase(&self) -> Phase {
        match self.stage {
            Stage::Open(_) => Phase::Open,
            _ if self.now < self.schedule.due => Phase::Waiting,
            Stage::Idle => Phase::Due,
            Stage::Sealed { draw_block } if self.block > draw_block + DRAW_WINDOW_BLOCKS => {
                Phase::Due
            }
            Stage::Sealed { draw_block } if self.block > draw_block => Phase::Drawable,
            Stage::Sealed { .. } => Phase::Sealed,
        }
    }

    /// The first round whose validators are not settled yet.
    fn next_snapshot(&self) -> u64 {
        match self.phase() {
            Phase::Waiting | Phase::Due => self.round,
            Phase::Sealed | Phase::Drawable | Phase::Open => self.round + 1,
        }
    }

    fn seen_lately(&self, member: Member) -> bool {
        let window = (3 * DAY).max(2 * self.schedule.interval);
        self.now < member.seen_at + window
    }

    pub fn is_active(&self, account: Address) -> bool {
        let member = self.members.get(&account);
        member.is_some_and(|member| self.seen_lately(*member))
    }

    pub fn open_round(&mut self, from: Address) -> Verdict {
        let phase = self.phase();
        Reasons::default()
            .when(
                !self.is_active(from),
                Coordinator::Coordinator__NotValidator {},
            )
            .when(
                phase == Phase::Waiting,
                Coordinator::Coordinator__ProposalTooEarly {},
            )
            .verdict()?;
        match phase {
            Phase::Due => self.seal(),
            Phase::Drawable => self.draw(),
            Phase::Waiting | Phase::Sealed | Phase::Open => {}
        }
        Ok(())
    }

    fn seal(&mut self) {
        self.stage = Stage::Sealed {
            draw_block: self.block + DRAW_DELAY_BLOCKS,
        };
    }

    fn draw(&mut self) {
        let members = self.members.iter();
        let snapshot: BTreeSet<Address> = members
            .filter(|(account, member)| {
                member.eligible_from <= self.round
                    && self.seen_lately(**member)
                    && self.has_sufficient_collateral(**account, true)
            })
            .map(|(account, _)| *account)
            .collect();
        if snapshot.is_empty() {
            self.end_round();
            self.seal();
            return;
        }
        self.stage = Stage::Open(Box::new(Open {
            opened_at: self.now,
            expires_at: self.now + self.schedule.interval * 3 / 4,
            percent: self.schedule.percent,
            proposers: self.draw_proposers(&snapshot),
            snapshot,
            proposals: Vec::new(),
            votes: BTreeMap::new(),
        }));
    }

    /// The proposers: of the snapshot, who voted in the round before comes first, and among equals the lowest
    /// hash of seed and address. The seed is the hash of the sealed block, with the Coordinator and the round.
    fn draw_proposers(&self, snapshot: &BTreeSet<Address>) -> Vec<Address> {
        let seed = keccak256((self.draw_hash, self.place.coordinator, self.round).abi_encode());
        let mut ranked: Vec<(bool, B256, Address)> = snapshot
            .iter()
            .map(|account| {
                let recent = self.voted_in.get(account) == Some(&(self.round - 1));
                (!recent, keccak256((seed, *account).abi_encode()), *account)
            })
            .collect();
        ranked.sort_unstable();
        let count = match snapshot.len() {
            0 | 1 => 1,
            2..=4 => 2,
            5..=9 => 3,
            _ => 5,
        };
        ranked.truncate(count);
        ranked.into_iter().map(|(.., account)| account).collect()
    }

    pub fn propose(&mut self, from: Address, hash: B256) -> Verdict {
        let mut reasons = Reasons::default();
        reasons.when(
            hash.is_zero(),
            Coordinator::Coordinator__InvalidProposalHash {},
        );
        let open = match self.require_open() {
            Ok(open) => open,
            Err(refused) => return reasons.also(Err(refused)).verdict(),
        };
        let interval = self.schedule.interval;
        let everybody = self.now >= open.opened_at + interval / 4;
        let equal = open.proposals.iter().position(|p| p.hash == hash);
        reasons
            .when(
                !open.snapshot.contains(&from) || !(everybody || open.proposers.contains(&from)),
                Coordinator::Coordinator__NotEligibleValidator {},
            )
            .when(
                open.proposals
                    .iter()
                    .any(|proposal| proposal.creator == from),
                Coordinator::Coordinator__AlreadySubmittedProposal {},
            )
            .when(
                self.now > open.expires_at - interval / 8,
                Coordinator::Coordinator__ProposalTooLate {},
            )
            .when(
                equal.is_some(),
                Coordinator::Coordinator__DuplicateProposal {
                    proposalNum: equal.unwrap_or_default() as u8 + 1,
                },
            )
            .verdict()?;
        let proposal = Proposal {
            creator: from,
            hash,
            created_at: self.now,
        };
        if let Stage::Open(open) = &mut self.stage {
            open.proposals.push(proposal);
        }
        Ok(())
    }

    pub fn vote(&mut self, from: Address, number: u8, hash: B256) -> Verdict {
        let open = self.require_open()?;
        let proposal = open.proposal(number);
        Reasons::default()
            .when(
                !open.snapshot.contains(&from),
                Coordinator::Coordinator__NotEligibleValidator {},
            )
            .when(
                open.votes.contains_key(&from),
                Coordinator::Coordinator__AlreadyVoted {},
            )
            .when(
                proposal.is_none(),
                Coordinator::Coordinator__InvalidProposalNumber {},
            )
            .when(
                proposal.is_some_and(|proposal| proposal.hash != hash),
                Coordinator::Coordinator__ProposalDataMismatch {},
            )
            .verdict()?;
        let (now, round) = (self.now, self.round);
        if let Stage::Open(open) = &mut self.stage {
            open.votes.insert(from, number);
        }
        if let Some(member) = self.members.get_mut(&from) {
            member.seen_at = now;
        }
        self.voted_in.insert(from, round);
        Ok(())
    }

    pub fn execute(
        &mut self,
        from: Address,
        number: u8,
        update: &StateUpdate,
    ) -> Verdict<Vec<Note>> {
        let open = self.require_open()?;
        let mut reasons = Reasons::default();
        reasons.when(
            !self.members.contains_key(&from),
            Coordinator::Coordinator__NotValidator {},
        );
        let Some(proposal) = open.proposal(number) else {
            let error = Coordinator::Coordinator__InvalidProposalNumber {};
            return reasons.when(true, error).verdict().map(|()| Vec::new());
        };
        let place = &self.place;
        let hash = proposal_hash(place.chain_id, place.coordinator, self.round, update);
        let interval = self.schedule.interval;
        let window_ends = proposal.created_at + interval / 32;
        let all_voted = open.votes.len() == open.snapshot.len();
        reasons
            .when(
                proposal.hash != hash,
                Coordinator::Coordinator__ProposalDataMismatch {},
            )
            .when(
                open.votes_for(number) < open.required(),
                Coordinator::Coordinator__NotEnoughVotes {},
            )
            .when(
                !all_voted && self.now < window_ends,
                Coordinator::Coordinator__VotingWindowOpen {
                    executableAt: U256::from(window_ends),
                },
            )
            .when(
                from != proposal.creator && self.now < proposal.created_at + interval / 16,
                Coordinator::Coordinator__MustBeProposalCreator {},
            )
            .also(self.can_distribute(update.merkleRoot, update.totalCapacity))
            .verdict()?;

        let voters: BTreeSet<Address> = (open.votes.iter())
            .filter(|(_, vote)| **vote == number)
            .map(|(account, _)| *account)
            .collect();
        let mut notes = self.remove_named(&update.validatorsToRemove, open.required());
        let completed = update.jobIds.iter().filter_map(|id| self.complete_job(*id));
        notes.extend(completed.collect::<Vec<_>>());
        for change in &update.reputationChanges {
            self.change_reputation(change);
        }
        notes.extend(self.distribute(update.merkleRoot, update.totalCapacity, &voters, interval));
        notes.push(Note::Executed(self.distributions.len() as u64));
        self.close_period();
        Ok(notes)
    }

    fn remove_named(&mut self, named: &[Address], required: usize) -> Vec<Note> {
        let mut skipped = Vec::new();
        for account in named {
            if !self.members.contains_key(account) {
                continue;
            }
            let needed = self.open().is_some_and(|open| {
                open.snapshot.contains(account) && open.snapshot.len() <= required
            });
            if needed {
                skipped.push(Note::RemovalSkipped(*account));
            } else {
                self.leave(*account);
                self.banned_through.insert(*account, self.round + 3);
            }
        }
        skipped
    }

    /// The next update is due at the first time of the grid that has not passed, a period of the new length later.
    fn close_period(&mut self) {
        let Schedule {
            due,
            interval,
            next_interval,
            percent,
        } = self.schedule;
        let missed = (self.now - due) / interval;
        self.schedule = Schedule {
            due: due + missed * interval + next_interval,
            interval: next_interval,
            next_interval,
            percent,
        };
        self.end_round();
    }

    pub fn can_join(&self, account: Address) -> Verdict {
        let banned_through = self.banned_through.get(&account).copied();
        Reasons::default()
            .when(
                self.members.contains_key(&account),
                Coordinator::Coordinator__ValidatorAlreadyExists {},
            )
            .when(
                banned_through.is_some_and(|round| round >= self.round),
                Coordinator::Coordinator__CoolDown {
                    round: U256::from(banned_through.unwrap_or_default()),
                },
            )
            .verdict()
    }

    pub fn join(&mut self, account: Address) {
        let member = Member {
            eligible_from: self.next_snapshot(),
            seen_at: self.now,
        };
        self.members.insert(account, member);
    }

    /// A validator that left or was removed comes back.
    pub fn join_again(&mut self, account: Address) -> Verdict {
        let registered = self.account(account).keys[1].is_some() && self.is_locked(account, true);
        Reasons::default()
            .when(
                !registered,
                Coordinator::Coordinator__ValidatorNotRegistered {},
            )
            .also(self.can_join(account))
            .verdict()?;
        self.join(account);
        Ok(())
    }

    /// Takes a validator out, and its place in the open round and its vote with it.
    pub fn leave(&mut self, account: Address) {
        self.members.remove(&account);
        if let Stage::Open(open) = &mut self.stage {
            open.snapshot.remove(&account);
            if open.votes.remove(&account).is_some() {
                self.voted_in.remove(&account);
            }
        }
    }

    pub fn leave_by_itself(&mut self, account: Address) -> Verdict {
        if !self.members.contains_key(&account) {
            return Err(refuse(Coordinator::Coordinator__NotValidator {}));
        }
        self.leave(account);
        Ok(())
    }

    pub fn reactivate(&mut self, account: Address) -> Verdict {
        let Some(member) = self.members.get(&account).copied() else {
            return Err(refuse(Coordinator::Coordinator__NotValidator {}));
        };
        if self.seen_lately(member) {
            return Ok(());
        }
        let counts = self
            .open()
            .is_some_and(|open| open.snapshot.contains(&account));
        let eligible_from = if counts {
            member.eligible_from
        } else {
            self.next_snapshot()
        };
        self.members.insert(
            account,
            Member {
                eligible_from,
                seen_at: self.now,
            },
        );
        Ok(())
    }

    pub fn set_interval(&mut self, from: Address, seconds: U256) -> Verdict {
        let allowed = U256::from(3_600)..=U256::from(256 * 3_600);
        Reasons::default()
            .when(
                from != self.place.timelock,
                Coordinator::Coordinator__NotDAO {},
            )
            .when(
                !allowed.contains(&seconds),
                Coordinator::Coordinator__InvalidInterval {},
            )
            .verdict()?;
        self.schedule.next_interval = seconds.to();
        Ok(())
    }

    /// Half or twice the present interval.
    pub fn scale_interval(&mut self, from: Address, halve: bool) -> Verdict {
        if from != self.place.timelock {
            return Err(refuse(Token::Token__OnlyDAO {}));
        }
        let interval = self.schedule.interval;
        let scaled = if halve { interval / 2 } else { interval * 2 };
        self.set_interval(from, U256::from(scaled))
    }

    pub fn set_percent(&mut self, from: Address, percent: u8) -> Verdict {
        Reasons::default()
            .when(
                from != self.place.timelock,
                Coordinator::Coordinator__NotDAO {},
            )
            .when(
                !(51..=100).contains(&percent),
                Coordinator::Coordinator__InvalidApprovalPercentage {},
            )
            .verdict()?;
        self.schedule.percent = percent;
        Ok(())
    }
}
