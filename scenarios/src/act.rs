//! What people do on chain besides what their nodes do, as a scenario plans it.

use std::time::Duration;

use crate::{Ether, HostName, Percent, Sno};

/// Something that the owner of a host does on chain, with the host's wallet and from another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Whose wallet signs.
    pub by: HostName,
    /// What is done.
    pub kind: ActKind,
    /// When.
    pub when: ActTime,
    /// Name of the contracts' error with which the last transaction must fail; `None`: all must succeed.
    pub reverts: Option<String>,
    /// What it waits for may never happen: then the run ends without it.
    pub may_miss: bool,
    /// Only beyond the scenario's limit.
    pub beyond_limit: bool,
}

/// A kind of act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActKind {
    /// A validator without a seat at the start claims its stake, registers and locks it. The stake comes from the rewards of
    /// a testnet, which the deployment honours.
    Join,
    /// A validator leaves the set and keeps its stake locked.
    Leave,
    /// A validator that has left enters the set again.
    Rejoin,
    /// A validator asks for its stake back, which ends its role.
    Unlock,
    /// Repeats a claim that a worker has made, from the same wallet.
    ClaimAgain {
        /// Which of its claims: the distribution.
        distribution: u64,
    },
    /// Makes a claim that another host's worker has made: its leaf, its proof.
    ClaimForeign {
        /// Whose claim.
        of: HostName,
        /// Which of its claims: the distribution.
        distribution: u64,
    },
    /// Makes one's own claim for a distribution that does not exist yet.
    ClaimUnknown {
        /// The claim that is copied: the distribution.
        distribution: u64,
    },
    /// A claim for another distribution, made again in one batch with a claim that is not for what its worker has earned.
    ClaimBatch {
        /// Which of its claims is made again: the distribution.
        distribution: u64,
    },
    /// Makes one's own claim for another capacity than one has earned.
    ClaimWrongCapacity {
        /// The claim that is copied: the distribution.
        distribution: u64,
    },
    /// A user calls off the job that it has paid for last, whatever has become of it.
    CancelJob,
    /// A validator has another network key from now on: the chain is told at once, and the node has it some minutes later,
    /// as if until then somebody else ran the old one.
    RotateKey,
    /// A contract of the host's owner, which takes no ETH, pays a job in ETH that nobody does, cancels it, refuses the refund
    /// and has it collected for the owner.
    RefundInEth {
        /// The payment.
        payment: Ether,
    },
    /// ETH goes to the token's contract, owned by nobody from then on, and is swept into the treasury.
    Donate {
        /// How much.
        amount: Ether,
    },
    /// A proposal goes through the DAO's whole cycle. The days between its steps are skipped: the chain's time jumps.
    Govern {
        /// What is proposed.
        change: Change,
        /// Who votes in favour, after delegating to themselves where they have not.
        votes: Vec<HostName>,
        /// It is to be executed the moment it is queued.
        hasty: bool,
    },
}

impl ActKind {
    /// The kind's name in scenario files and records.
    pub const fn name(&self) -> &'static str {
        match self {
            ActKind::Join => "join",
            ActKind::Leave => "leave",
            ActKind::Rejoin => "rejoin",
            ActKind::Unlock => "unlock",
            ActKind::ClaimAgain { .. } => "claim-again",
            ActKind::ClaimForeign { .. } => "claim-foreign",
            ActKind::ClaimUnknown { .. } => "claim-unknown",
            ActKind::ClaimBatch { .. } => "claim-batch",
            ActKind::ClaimWrongCapacity { .. } => "claim-wrong-capacity",
            ActKind::CancelJob => "cancel-job",
            ActKind::RotateKey => "rotate-key",
            ActKind::RefundInEth { .. } => "refund-in-eth",
            ActKind::Donate { .. } => "donate",
            ActKind::Govern { .. } => "govern",
        }
    }
}

/// What the DAO may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Time between two state updates; whole seconds.
    UpdateInterval(Duration),
    /// Share of a round's validators to be exceeded; a whole per cent.
    Approval(Percent),
    /// What a new validator locks.
    ValidatorCollateral(Sno),
    /// So much of a validator's collateral is burned, and its role ends.
    Slash {
        /// Whose.
        of: HostName,
        /// How much.
        amount: Sno,
    },
}

/// When an act begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActTime {
    /// So long after the start of the run.
    At(Duration),
    /// So long after a round has opened.
    Round {
        /// The round's number on chain.
        number: u64,
        /// How long after.
        after: Duration,
    },
    /// Once so many state updates have been executed.
    AfterUpdate(u64),
    /// When the act before it in the file is done.
    Next,
}
