//! From what actors do in the abstract to calls, by the state of the book.

use std::rc::Rc;

use alloy::primitives::{Address, B256, Bytes, U256};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator::{
            self as Coordinator, SmartnodesCoordinatorCalls as CoordinatorCalls,
        },
        SmartnodesCore::SmartnodesCoreCalls as CoreCalls,
        SmartnodesERC20::SmartnodesERC20Calls as TokenCalls,
    },
    state_update::{StateUpdate, proposal_hash},
};

use super::{
    actions::{Action, Flaw, PlanShape, Step, Wait, Who},
    book::{JobState, Refused},
    calls::{Call, Sent},
    rounds::Phase,
    world::{ACTORS, Depth, World},
};

const YEAR: u64 = 365 * 24 * 3_600;

/// The item that a number stands for.
pub fn pick<T: Copy>(items: &[T], number: u8) -> Option<T> {
    (!items.is_empty()).then(|| items[usize::from(number) % items.len()])
}

/// A call from `from`, if there is anything to call.
pub type MakeCall<'a> = dyn Fn(&World, Address) -> Option<(Call, U256)> + 'a;

pub fn token(call: TokenCalls) -> Option<(Call, U256)> {
    Some((Call::Token(call), U256::ZERO))
}

pub fn core(call: CoreCalls) -> Option<(Call, U256)> {
    Some((Call::Core(call), U256::ZERO))
}

pub fn coordinator(call: CoordinatorCalls) -> Option<(Call, U256)> {
    Some((Call::Coordinator(call), U256::ZERO))
}

impl World {
    /// Does one step; an error says where contracts and book differ.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        let time = self.wait(step.wait);
        match &step.action {
            Action::GoOn(plan) => self.go_on(plan, time, step.who),
            Action::Propose(plan) => self.propose(plan, time, step.who).map(|_| ()),
            action => {
                let make = |world: &World, from| world.offer(action, from, time);
                let mut sender = None;
                if !self.is_idle(action, time) {
                    sender = self.sender(step.who, time, &make);
                    if let (None, Who::Entitled(number)) = (&sender, step.who)
                        && number.is_multiple_of(2)
                    {
                        sender = self.sender(Who::Excluded(number), time, &make);
                    }
                }
                match sender {
                    Some(sent) => self.send(&sent, time).map(|_| ()),
                    // Better something else than nothing.
                    None => self.go_on(&PlanShape::empty(), time, step.who),
                }
            }
        }
    }

    /// Whether it is about proposals while there are none to be about; now and then that is tried too.
    fn is_idle(&self, action: &Action, time: u64) -> bool {
        let about_proposals = matches!(
            action,
            Action::ProposeHash(_) | Action::Vote { .. } | Action::Execute { .. }
        );
        let has_proposals = (self.book.open())
            .is_some_and(|open| time < open.expires_at && !open.proposals.is_empty());
        about_proposals && !has_proposals && !time.is_multiple_of(8)
    }

    /// When the call is sent; mines the blocks that come before.
    fn wait(&mut self, wait: Wait) -> u64 {
        let now = self.book.now;
        let time = match wait {
            Wait::Seconds(seconds) => now + u64::from(seconds),
            Wait::Parts(parts) => now + self.book.schedule.interval * u64::from(parts) / 32,
            Wait::Hours(hours) => now + 3_600 * u64::from(hours),
            Wait::Blocks(count) => {
                self.mine_blocks(count.into());
                return self.book.now + 1;
            }
            Wait::Moment { nth, offset } => {
                let (near, far): (Vec<u64>, Vec<u64>) = (self.moments().into_iter())
                    .partition(|moment| *moment < now + 2 * self.book.schedule.interval);
                let moment = if nth == 3 {
                    far.first()
                } else {
                    near.get(usize::from(nth))
                };
                moment.map_or(now, |moment| moment.saturating_add_signed(offset.into()))
            }
        };
        time.max(now + 1)
    }

    /// The next times at which some rule changes its answer.
    fn moments(&self) -> Vec<u64> {
        let book = &self.book;
        let interval = book.schedule.interval;
        let mut moments = vec![book.schedule.due];
        if let Some(open) = book.open() {
            moments.extend([
                open.opened_at + interval / 4,
                open.expires_at - interval / 8,
                open.expires_at,
            ]);
            for proposal in &open.proposals {
                let created = proposal.created_at;
                moments.extend([created + interval / 32, created + interval / 16]);
            }
        }
        let window = (3 * 24 * 3_600).max(2 * interval);
        moments.extend(book.members.values().map(|member| member.seen_at + window));
        let locks = book.accounts.values().flat_map(|account| account.locks);
        moments.extend(locks.flatten().filter_map(|lock| lock.unlock_at));
        moments.extend(
            book.requirements
                .iter()
                .map(|requirement| requirement.before.1),
        );
        let open_jobs = book.jobs.values().filter(|job| job.state == JobState::Open);
        moments.extend(open_jobs.map(|job| job.cancellable_at));
        let next_era = book.place.start + (book.era(book.now) + 1) * YEAR;
        moments.extend([next_era, next_era + interval]);
        moments.retain(|moment| *moment > book.now + 1);
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// The sender's call: the first that the rule book accepts, or that of whoever is named.
    fn sender(&self, who: Who, time: u64, make: &MakeCall<'_>) -> Option<Sent> {
        let mut candidates = self.actors.clone();
        candidates.push(self.book.place.timelock);
        let (Who::Anyone(number) | Who::Entitled(number) | Who::Excluded(number)) = who;
        candidates.rotate_left(usize::from(number) % (ACTORS + 1));
        match who {
            Who::Anyone(_) => self.made(candidates[0], make),
            Who::Excluded(_) => {
                // Who was drawn and left has the best pretext.
                let has_left = |account: &Address| {
                    let open = self.book.open();
                    open.is_some_and(|open| {
                        open.proposers.contains(account) && !open.snapshot.contains(account)
                    })
                };
                candidates.sort_by_key(|account| !has_left(account));
                self.excluded(&candidates, time, make)
            }
            Who::Entitled(_) => {
                candidates.extend(&self.crowd);
                self.entitled(&candidates, time, make)
            }
        }
    }

    fn made(&self, from: Address, make: &MakeCall<'_>) -> Option<Sent> {
        let (call, value) = make(self, from)?;
        Some(Sent { from, call, value })
    }

    fn entitled(&self, candidates: &[Address], time: u64, make: &MakeCall<'_>) -> Option<Sent> {
        let mut trial = self.book.clone();
        trial.advance(time, self.book.block + 1);
        let sent = candidates.iter().filter_map(|from| self.made(*from, make));
        // What is refused changes nothing, so one copy serves all.
        { sent }.find(|sent| trial.apply(sent).is_ok())
    }

    /// The call that the fewest rules are against, so that each rule is seen to refuse by itself; of several such
    /// calls the one whose reason is the rarest.
    fn excluded(&self, candidates: &[Address], time: u64, make: &MakeCall<'_>) -> Option<Sent> {
        let mut refused = Vec::new();
        for from in candidates {
            let mut trial = self.book.clone();
            trial.advance(time, self.book.block + 1);
            if let Some(sent) = self.made(*from, make)
                && let Err(Refused(reasons)) = trial.apply(&sent)
            {
                refused.push((reasons.len(), reasons[0].clone(), sent));
            }
        }
        let least = refused.iter().map(|(count, ..)| *count).min()?;
        refused.retain(|(count, ..)| *count == least);
        let rarity = |reason: &Bytes| {
            let alike = refused
                .iter()
                .filter(|(_, other, _)| other[..4] == reason[..4]);
            alike.count()
        };
        let rarest = refused.iter().min_by_key(|(_, reason, _)| rarity(reason))?;
        Some(rarest.2.clone())
    }

    /// Brings the network on: opens, proposes, votes or executes, whatever is next.
    fn go_on(&mut self, shape: &PlanShape, time: u64, who: Who) -> Result<(), String> {
        let mut ahead = self.book.clone();
        ahead.advance(time, self.book.block + 1);
        let (Who::Entitled(first) | Who::Excluded(first) | Who::Anyone(first)) = who;
        let (asked, who) = (who, Who::Entitled(first));
        let Some(open) = ahead.open() else {
            return self.drive(time, who);
        };
        let interval = self.book.schedule.interval;
        let Some(number) = (1..=open.proposals.len() as u8).max_by_key(|n| open.votes_for(*n))
        else {
            let quarter = time.max(open.opened_at + interval / 4);
            for (time, who) in [(time, asked), (time, who), (quarter, who)] {
                if time < open.expires_at && self.propose(shape, time, who)? {
                    return Ok(());
                }
            }
            return self.drive(open.expires_at, who);
        };
        let proposal = open.proposals[usize::from(number) - 1];
        if open.votes_for(number) >= open.required() {
            let grace = time.max(proposal.created_at + interval / 16);
            for (time, who) in [(time, asked), (time, who), (grace, who)] {
                if let Some(plan) = self.notes.plans.get(&proposal.hash).cloned()
                    && time < open.expires_at
                {
                    let make = |_: &World, _| execute(number, plan.update.clone());
                    if let Some(sent) = self.sender(who, time, &make) {
                        return self.send(&sent, time).map(|_| ());
                    }
                }
            }
            return self.drive(open.expires_at, who);
        }
        let make = |_: &World, _| vote(number, proposal.hash);
        let expected = self
            .sender(asked, time, &make)
            .or_else(|| self.sender(who, time, &make));
        let Some(sent) = expected else {
            return self.drive(open.expires_at, who);
        };
        self.send(&sent, time)?;
        self.crowd_votes(number, proposal.hash)
    }

    /// Proposes an update of that shape; false if nobody may.
    fn propose(&mut self, shape: &PlanShape, time: u64, who: Who) -> Result<bool, String> {
        let plan = self.plan(shape);
        let mut ahead = self.book.clone();
        ahead.advance(time, self.book.block + 1);
        let place = &self.book.place;
        let hash = proposal_hash(place.chain_id, place.coordinator, ahead.round, &plan.update);
        let make = |_: &World, _| {
            coordinator(CoordinatorCalls::createProposal(
                Coordinator::createProposalCall { proposalHash: hash },
            ))
        };
        let Some(sent) = self.sender(who, time, &make) else {
            return Ok(false);
        };
        self.notes.plans.insert(hash, Rc::new(plan));
        self.send(&sent, time)?;
        Ok(true)
    }

    /// A crowd of validators has no other business: all of it votes.
    fn crowd_votes(&mut self, number: u8, hash: B256) -> Result<(), String> {
        let depth = self.compare_to(Depth::Brief);
        for from in self.crowd.clone() {
            let time = self.book.now + 1;
            let vote = |_: &World, _: Address| vote(number, hash);
            if let Some(sent) = self.entitled(&[from], time, &vote) {
                self.send(&sent, time)?;
            }
        }
        self.compare_to(depth);
        Ok(())
    }

    /// Opens the next round from `time` on, or finds somebody who can.
    fn drive(&mut self, time: u64, who: Who) -> Result<(), String> {
        let mut time = time.max(self.book.now + 1);
        if self.book.phase() == Phase::Sealed {
            self.mine_blocks(3);
            time = time.max(self.book.now + 1);
        }
        time = time.max(self.book.schedule.due);
        let validator = true;
        let able = |member: &Address| self.book.has_sufficient_collateral(*member, validator);
        let mut attempts = Vec::new();
        if !self.book.members.is_empty() && !self.book.members.keys().any(able) {
            // After a raise that nobody can pay, governance has to give in.
            attempts.push(Action::TopUp { validator });
            attempts.push(Action::SetCollateralTo(validator, Flaw::None));
        }
        attempts.extend([
            Action::OpenRound,
            Action::Reactivate,
            Action::Join,
            Action::Register {
                validator,
                flaw: Flaw::None,
            },
            Action::ClaimTestnet { flaw: Flaw::None },
        ]);
        for action in attempts {
            let make = |world: &World, from| world.offer(&action, from, time);
            if let Some(sent) = self.sender(who, time, &make) {
                return self.send(&sent, time).map(|_| ());
            }
        }
        Ok(())
    }
}

pub fn vote(number: u8, hash: B256) -> Option<(Call, U256)> {
    coordinator(CoordinatorCalls::voteForProposal(
        Coordinator::voteForProposalCall {
            proposalNum: number,
            proposalHash: hash,
        },
    ))
}

pub fn execute(number: u8, update: StateUpdate) -> Option<(Call, U256)> {
    coordinator(CoordinatorCalls::executeProposal(
        Coordinator::executeProposalCall {
            proposalNum: number,
            update,
        },
    ))
}
