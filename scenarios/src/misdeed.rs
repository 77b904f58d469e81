//! What hosts do that do not play by the rules.

use std::fmt;

/// What a host does that does not play by the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    /// A worker that cheats.
    Worker(WorkerMisdeed),
    /// A user that cheats.
    User(UserMisdeed),
    /// A host without a role that attacks.
    Peer(PeerMisdeed),
}

impl Misdeed {
    /// Whether the host pays for jobs as honest users do, and so must hold what they cost.
    pub(crate) fn pays(self) -> bool {
        !matches!(
            self,
            Misdeed::User(UserMisdeed::Underpaying | UserMisdeed::Spamming | UserMisdeed::Farming)
        )
    }
}

impl fmt::Display for Misdeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misdeed::Worker(misdeed) => name(&WorkerMisdeed::ALL, misdeed),
            Misdeed::User(misdeed) => name(&UserMisdeed::ALL, misdeed),
            Misdeed::Peer(misdeed) => name(&PeerMisdeed::ALL, misdeed),
        })
    }
}

fn name<T: PartialEq>(all: &[(&'static str, T)], misdeed: &T) -> &'static str {
    let found = all.iter().find(|(_, known)| known == misdeed);
    found.map_or("unknown", |(name, _)| name)
}

/// What a worker does that cheats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerMisdeed {
    /// It returns results of other work, properly signed.
    FalseResult,
    /// It accepts work and never ends it.
    Stall,
    /// It works once, and gives that result for everything after it.
    CopiedResult,
    /// It claims to run far more tasks at once than it can, takes them all, and signs receipts for itself.
    OverClaim,
    /// Its process ends whenever work is to begin, and starts again later.
    Crashing,
    /// It accepts every offer of every validator and declines the work.
    OverBooked,
    /// It has many identities and one computation for all of them.
    Sybils,
    /// It works for users that farm free jobs, and for nobody else.
    Farming,
}

impl WorkerMisdeed {
    /// All, by the names that files use.
    pub const ALL: [(&'static str, WorkerMisdeed); 8] = [
        ("false-result", WorkerMisdeed::FalseResult),
        ("stall", WorkerMisdeed::Stall),
        ("copied-result", WorkerMisdeed::CopiedResult),
        ("over-claim", WorkerMisdeed::OverClaim),
        ("crashing", WorkerMisdeed::Crashing),
        ("over-booked", WorkerMisdeed::OverBooked),
        ("sybils", WorkerMisdeed::Sybils),
        ("farming", WorkerMisdeed::Farming),
    ];
}

/// What a user does that cheats. All but `Vanishing` have no use for results; their first job is the pattern of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserMisdeed {
    /// It names payments that it has not escrowed.
    Underpaying,
    /// It submits its jobs and is gone.
    Vanishing,
    /// It submits free jobs far beyond its quota, from many identities.
    Spamming,
    /// It uses up the quota of many identities, for workers in league with it.
    Farming,
}

impl UserMisdeed {
    /// All, by the names that files use.
    pub const ALL: [(&'static str, UserMisdeed); 4] = [
        ("underpaying", UserMisdeed::Underpaying),
        ("vanishing", UserMisdeed::Vanishing),
        ("spamming", UserMisdeed::Spamming),
        ("farming", UserMisdeed::Farming),
    ];
}

/// What a host without a role does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerMisdeed {
    /// It surrounds one validator with identities that answer its look-ups with each other.
    Eclipse,
    /// It puts records into the DHT that do not hold.
    Poisoner,
    /// It asks for keys and jobs that nobody has, without end.
    Flooder,
    /// It shows role statements that were made at another time, by others or for others.
    Replayer,
    /// It claims to be a validator, and asks for what only validators get.
    Impostor,
    /// It sends frames that are no messages, or far too large.
    Malformed,
    /// It opens connections and streams, and sends almost nothing.
    SlowLoris,
}

impl PeerMisdeed {
    /// All, by the names that files use.
    pub const ALL: [(&'static str, PeerMisdeed); 7] = [
        ("eclipse", PeerMisdeed::Eclipse),
        ("poisoner", PeerMisdeed::Poisoner),
        ("flooder", PeerMisdeed::Flooder),
        ("replayer", PeerMisdeed::Replayer),
        ("impostor", PeerMisdeed::Impostor),
        ("malformed", PeerMisdeed::Malformed),
        ("slow-loris", PeerMisdeed::SlowLoris),
    ];
}
