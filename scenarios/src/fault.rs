//! Faults, as a scenario plans them.

use std::time::Duration;

use crate::{HostName, Latency, Percent, Role};

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// To whom; empty where the kind strikes the chain itself.
    pub hosts: Vec<Victim>,
    /// When it begins.
    pub when: When,
    /// For how long; zero where the kind is over at once, [`Moment::FOREVER`] where it is never over.
    pub lasts: Moment,
    /// Of what strikes requests to the chain: which endpoint, from 1; `None`: all.
    pub endpoint: Option<usize>,
    /// The fault may turn out to affect nothing. Otherwise that is a violation, since it would prove nothing.
    pub may_miss: bool,
}

/// A kind of fault.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// The process ends at once, and starts again from its disk when the fault is over.
    Crash {
        /// What becomes of writes that were not synced.
        unsynced: Unsynced,
    },
    /// The process crashes `times` times, and runs in between for `up_for`; the fault's duration is one time down.
    RestartLoop {
        /// How often.
        times: u32,
        /// How long it runs in between.
        up_for: Moment,
    },
    /// The process stands still, its connections stay.
    Pause,
    /// No message passes between the hosts and the others.
    Partition {
        /// The others; empty: everybody else, the chain included.
        against: Vec<Victim>,
        /// What the hosts see of it.
        style: PartitionStyle,
        /// Which messages do not pass.
        direction: Direction,
    },
    /// Connections between the hosts and the others break, once.
    Reset {
        /// The others; empty: everybody else, the chain included.
        against: Vec<Victim>,
    },
    /// Links between the hosts and the others, in both directions, are other than the scenario's network.
    Link {
        /// The others; empty: everybody else, the chain included.
        against: Vec<Victim>,
        /// Travel times.
        latency: Option<Latency>,
        /// Chance that a message needs to be sent again.
        loss: Option<Percent>,
        /// Bytes for each second.
        bandwidth: Option<u64>,
    },
    /// The disk takes no more data. Its process is started again when the fault is over.
    DiskFull,
    /// The disk fails to sync. Its process is started again when the fault is over.
    DiskSyncFails,
    /// The disk takes its time: the process stands still for each sync.
    DiskSlow {
        /// How long.
        sync_takes: Duration,
    },
    /// While the process is down, one bit changes of what had been synced to its disk. Where the node refuses that disk
    /// when it starts again, its operator starts it with an empty one.
    BitFlip,
    /// The process ends with its disk: it starts again with an empty one when the fault is over, and with the keys that its
    /// operator keeps elsewhere.
    DiskLost,
    /// The clock by which the hosts live, which the chain's timestamps set, is wrong: blocks seem to them to be of another
    /// time.
    ClockSkew {
        /// By how much; whole seconds.
        by: Duration,
        /// Slow rather than fast.
        behind: bool,
    },
    /// The clock by which the hosts live goes wrong more and more while the fault lasts.
    ClockDrift {
        /// By how much when the fault ends; whole seconds.
        by: Duration,
        /// Slow rather than fast.
        behind: bool,
    },
    /// The chain endpoint does not answer the hosts.
    RpcOutage,
    /// The chain endpoint answers the hosts from the block that was the latest when the fault began.
    RpcStale,
    /// The chain endpoint answers the hosts with results that are not true.
    RpcLies,
    /// Transactions of the hosts are accepted and kept back for so long.
    InclusionDelay {
        /// How long.
        by: Duration,
    },
    /// Transactions of the hosts are accepted, and each is kept back for a time of its own: later ones overtake it.
    ReorderTransactions {
        /// The longest time.
        by: Duration,
    },
    /// Transactions of the hosts are accepted and, with this chance, thrown away.
    DropTransactions {
        /// The chance.
        share: Percent,
    },
    /// The latest blocks are undone; their transactions wait again.
    Reorg {
        /// How many blocks.
        depth: u64,
        /// The branch that is left has never heard of their transactions: these do not wait, they are gone.
        forgets: bool,
    },
    /// The base fee rises.
    FeeSpike {
        /// To how many times itself.
        times: u32,
    },
    /// No block is made.
    SequencerStop,
    /// The chain's time jumps, and goes on from there: time in which nothing happens is skipped.
    TimeJump {
        /// How far; whole seconds.
        by: Duration,
    },
    /// Blocks carry timestamps of the future.
    TimestampDrift {
        /// How far ahead.
        by: Duration,
    },
}

/// What becomes of writes that were not synced when a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// All are lost.
    Lost,
    /// Of each, the seed draws which sectors reached the disk.
    Torn,
}

/// What hosts see of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionStyle {
    /// Nothing: messages wait until it heals, or a timeout ends the connection.
    Silent,
    /// Connections are reset and dials refused.
    Loud,
}

/// Which messages of the hosts a partition holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Those to them and those from them.
    Both,
    /// Those to them.
    In,
    /// Those from them.
    Out,
}

/// Whom a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// This host.
    Named(HostName),
    /// The host that runs the chain.
    Chain,
    /// One that the seed draws, from all or from those of a role.
    Any(Option<Role>),
    /// Every one, or every one of a role; not the chain's.
    All(Option<Role>),
}

/// When a fault begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// At a time from the start of the run.
    At(Moment),
    /// So long after a round has opened.
    Round {
        /// The round's number on chain.
        number: u64,
        /// How long after.
        after: Moment,
    },
    /// As soon as a host passes a fail point for the `pass`-th time.
    Point {
        /// The fail point, such as `vote/sent`.
        point: String,
        /// Which time, from 1.
        pass: u64,
        /// Which host must pass it; `None`: the one that the fault strikes, or any if it strikes several.
        by: Option<HostName>,
    },
}

/// A point or span of time, given or left to the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Given.
    Fixed(Duration),
    /// Drawn evenly from these two, both included.
    Within(Duration, Duration),
}

impl Moment {
    /// No time at all.
    pub const ZERO: Moment = Moment::Fixed(Duration::ZERO);
    /// Without an end.
    pub const FOREVER: Moment = Moment::Fixed(Duration::MAX);

    /// The latest that it can be.
    pub fn latest(self) -> Duration {
        match self {
            Moment::Fixed(at) | Moment::Within(_, at) => at,
        }
    }
}

/// Faults that the seed draws: how many, of which kinds, to whom, when and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swarm {
    /// The kinds to draw from; each seed draws a subset of them first.
    pub kinds: Vec<SwarmKind>,
    /// Most faults in one run; at least one is drawn.
    pub most: u32,
    /// The earliest beginning, from the start of the run.
    pub from: Duration,
    /// The latest end, from the start of the run.
    pub to: Duration,
    /// The longest that one fault lasts.
    pub longest: Duration,
}

/// What a swarm can draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwarmKind {
    /// [`FaultKind::Crash`].
    Crash,
    /// [`FaultKind::Crash`] with torn writes.
    TornWrite,
    /// [`FaultKind::RestartLoop`].
    RestartLoop,
    /// [`FaultKind::Pause`].
    Pause,
    /// [`FaultKind::Partition`].
    Partition,
    /// [`FaultKind::Reset`].
    Reset,
    /// [`FaultKind::Link`].
    Link,
    /// [`FaultKind::DiskFull`].
    DiskFull,
    /// [`FaultKind::DiskSyncFails`].
    DiskSyncFails,
    /// [`FaultKind::DiskSlow`].
    DiskSlow,
    /// [`FaultKind::BitFlip`].
    BitFlip,
    /// [`FaultKind::ClockSkew`].
    ClockSkew,
    /// [`FaultKind::ClockDrift`].
    ClockDrift,
    /// [`FaultKind::RpcOutage`].
    RpcOutage,
    /// [`FaultKind::RpcStale`].
    RpcStale,
    /// [`FaultKind::RpcLies`].
    RpcLies,
    /// [`FaultKind::InclusionDelay`].
    InclusionDelay,
    /// [`FaultKind::ReorderTransactions`].
    ReorderTransactions,
    /// [`FaultKind::DropTransactions`].
    DropTransactions,
    /// [`FaultKind::Reorg`].
    Reorg,
    /// [`FaultKind::FeeSpike`].
    FeeSpike,
    /// [`FaultKind::SequencerStop`].
    SequencerStop,
    /// [`FaultKind::TimestampDrift`].
    TimestampDrift,
    /// [`FaultKind::TimeJump`].
    TimeJump,
    /// [`FaultKind::DiskLost`].
    DiskLost,
}

impl SwarmKind {
    /// Every kind with its name in scenario files and records.
    pub const ALL: [(&'static str, SwarmKind); 25] = [
        ("crash", SwarmKind::Crash),
        ("torn-write", SwarmKind::TornWrite),
        ("restart-loop", SwarmKind::RestartLoop),
        ("pause", SwarmKind::Pause),
        ("partition", SwarmKind::Partition),
        ("reset", SwarmKind::Reset),
        ("link", SwarmKind::Link),
        ("disk-full", SwarmKind::DiskFull),
        ("disk-sync-fails", SwarmKind::DiskSyncFails),
        ("disk-slow", SwarmKind::DiskSlow),
        ("bit-flip", SwarmKind::BitFlip),
        ("clock-skew", SwarmKind::ClockSkew),
        ("clock-drift", SwarmKind::ClockDrift),
        ("rpc-outage", SwarmKind::RpcOutage),
        ("rpc-stale", SwarmKind::RpcStale),
        ("rpc-lies", SwarmKind::RpcLies),
        ("inclusion-delay", SwarmKind::InclusionDelay),
        ("reorder-transactions", SwarmKind::ReorderTransactions),
        ("drop-transactions", SwarmKind::DropTransactions),
        ("reorg", SwarmKind::Reorg),
        ("fee-spike", SwarmKind::FeeSpike),
        ("sequencer-stop", SwarmKind::SequencerStop),
        ("timestamp-drift", SwarmKind::TimestampDrift),
        ("time-jump", SwarmKind::TimeJump),
        ("disk-lost", SwarmKind::DiskLost),
    ];
}

impl FaultKind {
    /// The kind's name in scenario files and records.
    pub const fn name(&self) -> &'static str {
        match self {
            FaultKind::Crash {
                unsynced: Unsynced::Lost,
            } => "crash",
            FaultKind::Crash {
                unsynced: Unsynced::Torn,
            } => "torn-write",
            FaultKind::RestartLoop { .. } => "restart-loop",
            FaultKind::Pause => "pause",
            FaultKind::Partition { .. } => "partition",
            FaultKind::Reset { .. } => "reset",
            FaultKind::Link { .. } => "link",
            FaultKind::DiskFull => "disk-full",
            FaultKind::DiskSyncFails => "disk-sync-fails",
            FaultKind::DiskSlow { .. } => "disk-slow",
            FaultKind::BitFlip => "bit-flip",
            FaultKind::DiskLost => "disk-lost",
            FaultKind::ClockSkew { .. } => "clock-skew",
            FaultKind::ClockDrift { .. } => "clock-drift",
            FaultKind::RpcOutage => "rpc-outage",
            FaultKind::RpcStale => "rpc-stale",
            FaultKind::RpcLies => "rpc-lies",
            FaultKind::InclusionDelay { .. } => "inclusion-delay",
            FaultKind::ReorderTransactions { .. } => "reorder-transactions",
            FaultKind::DropTransactions { .. } => "drop-transactions",
            FaultKind::Reorg { .. } => "reorg",
            FaultKind::FeeSpike { .. } => "fee-spike",
            FaultKind::SequencerStop => "sequencer-stop",
            FaultKind::TimeJump { .. } => "time-jump",
            FaultKind::TimestampDrift { .. } => "timestamp-drift",
        }
    }
}
