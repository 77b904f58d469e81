//! Validators that cheat.
//!
//! Each is made of a validator's own parts: it admits jobs, challenges workers, keeps receipts and serves them, as the
//! node does. Its part in the rounds it plays its own way ([`round`]), with what it makes up ([`lie`], [`forge`]); what it
//! says to others passes through its hands first ([`wire`]).
//!
//! Whatever it does against the rules it tells, in an event `misdeed` with the field `act`: an attack that never took place
//! would prove nothing. A `false-proposal` names a hash for which nobody honest may vote, and comes before the proposal.

mod forge;
mod greedy;
mod grinding;
mod hand;
mod lie;
mod loot;
mod returning;
mod round;
mod stonewall;
mod wire;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, B256};
use redb::StorageBackend;
use smartnodes_node::node::{NodeConfig, NodeError, NodeParts, assemble};
use smartnodes_node::roles::validator::Validator;
use smartnodes_node::roles::{RoleState, discovery, serve};
use smartnodes_node::tasks::JoinSet;
use tokio::sync::mpsc;

use hand::Hand;
use lie::Made;

/// Events between the swarm and the node's own handling of them.
const EVENTS_MAX: usize = 256;

/// What a cheating validator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidatorMisdeed {
    /// It holds its seat, shows its role, and does nothing.
    Silent,
    /// It votes for the first proposal of each round, unseen.
    Lazy,
    /// It proposes capacity for an account that has done nothing, and votes for its accomplices' proposals only.
    Colluding,
    /// It leaves a worker out of its proposals.
    Censoring,
    /// It proposes to remove an honest validator.
    Expelling,
    /// It proposes an update whose total is not the sum of the capacities in it.
    WrongTotal,
    /// It proposes a hash whose payload it shows nobody.
    Withholding,
    /// It proposes a true payload, and shows it late.
    Late,
    /// It shows others another payload than the one that it has proposed, and tries to propose and to vote twice.
    Equivocating,
    /// It issues receipts for work that nobody has done, and proposes to pay for it.
    Forging,
    /// It moves rounds on the moment it may, sets a proposal of nothing beside the first that has votes, and never votes.
    Griefing,
    /// It issues two receipts for each work, and proposes the one that the others do not: true, and not the same.
    Duplicating,
    /// It proposes the truth, and tries to execute it with half of the total, so that each share is twice what it should be.
    Understating,
    /// It refuses users' jobs for no reason or admits them and has nothing done, and tells of results that nobody has.
    Stonewalling,
    /// It proposes the truth, and tries to execute it with a total so much larger that no share is worth anything.
    Overstating,
    /// It proposes capacity for an account that has done nothing and votes for it; then it leaves the set, joins it again and
    /// votes once more, until there are votes enough.
    Returning,
    /// It moves a round on only where that gets it a proposer's place.
    Grinding,
    /// It proposes what two workers have earned with their places changed, or a worker's under another account.
    Swapping,
    /// It proposes to complete jobs twice, jobs that nobody has done, and jobs that there are not.
    Padding,
    /// It votes and proposes as it should, and tries to execute whatever has the votes before all have voted and before its
    /// creator: fewer would share, and what the division leaves over might be the executor's.
    DustGreedy,
}

/// For what a cheating validator votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ballot {
    /// For nothing.
    Nothing,
    /// For whatever is proposed first.
    First,
    /// For what it or an accomplice proposes.
    Accomplices,
    /// For what it or an accomplice proposes; where none of them proposes, for whatever is proposed first: who has voted is
    /// drawn sooner in the next round.
    Opportune,
    /// For what others propose; where none of them does, for what an accomplice proposes when its payload is shown.
    Patient,
}

impl ValidatorMisdeed {
    fn ballot(self) -> Ballot {
        match self {
            Self::Silent | Self::Griefing => Ballot::Nothing,
            Self::Lazy | Self::Stonewalling => Ballot::First,
            Self::Colluding => Ballot::Accomplices,
            Self::Late => Ballot::Patient,
            _ => Ballot::Opportune,
        }
    }

    fn proposes(self) -> bool {
        !matches!(self, Self::Silent | Self::Lazy | Self::Stonewalling)
    }
}

/// Those who do the same thing together, and share whatever it takes.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their wallets.
    pub members: Vec<Address>,
    /// What only they know: whom they pay, and whom they are after.
    pub secret: B256,
}

/// A cheating validator. Dropped, it is gone.
pub struct FalseValidator {
    tasks: JoinSet<()>,
}

impl FalseValidator {
    /// Starts it, in the place of the node of this configuration.
    pub async fn start<S: StorageBackend>(
        misdeed: ValidatorMisdeed,
        group: Group,
        config: NodeConfig,
        parts: NodeParts<S>,
    ) -> Result<Self, NodeError> {
        let hand = Hand::new(&parts);
        let (context, events) = assemble(config, parts).await?;
        let validator = Arc::new(Validator::open(context.clone())?);
        let cheat = Arc::new(Cheat {
            misdeed,
            group,
            hand,
            validator: validator.clone(),
            made: Mutex::default(),
            silent_in: AtomicU64::new(0),
            left_in: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        let (on, passed_on) = mpsc::channel(EVENTS_MAX);
        tasks.spawn(wire::relay(cheat.clone(), events, on));
        let role = RoleState::Validator(validator.clone());
        tasks.spawn(serve(context.clone(), role, passed_on));
        tasks.spawn(discovery::run(context.clone()));
        tasks.spawn(discovery::renew(context));
        if misdeed != ValidatorMisdeed::Silent {
            validator.spawn_services(&mut tasks);
        }
        tasks.spawn(round::run(cheat));
        Ok(Self { tasks })
    }

    /// Waits until one of its tasks ends, which none does unless it panics. The error names the panic.
    pub async fn stopped(&mut self) -> Result<(), tokio::task::JoinError> {
        self.tasks.join_next().await.unwrap_or(Ok(()))
    }
}

/// What its tasks share.
struct Cheat {
    misdeed: ValidatorMisdeed,
    group: Group,
    /// What it sends that no node would.
    hand: Option<Hand>,
    validator: Arc<Validator>,
    /// What it has made up for the present round.
    made: Mutex<Option<Made>>,
    /// The last round of which it has told that it kept silent.
    silent_in: AtomicU64,
    /// The last round of which it has told that it left a step of it to others.
    left_in: AtomicU64,
}

impl Cheat {
    /// Held for moments, never across an await.
    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_member(&self, wallet: Address) -> bool {
        self.group.members.contains(&wallet)
    }
}
