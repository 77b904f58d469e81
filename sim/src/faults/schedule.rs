//! What strikes whom, when and for how long: the scenario's plan with everything drawn that it leaves to the seed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use smartnodes_node::failpoint;
use smartnodes_scenarios::{
    Direction, FaultKind, HostName, Latency, Misdeed, Moment, PartitionStyle, PeerMisdeed, Percent,
    Role, Scenario, Swarm, SwarmKind, Unsynced, Victim, When,
};

use crate::draw;

/// A host that a fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A node's host.
    Node(HostName),
    /// The chain's host.
    Chain,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Node(host) => host.fmt(f),
            Place::Chain => f.write_str("chain"),
        }
    }
}

/// When a strike begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// So long after the start of the run.
    At(Duration),
    /// So long after a round has opened.
    Round {
        /// The round.
        number: u64,
        /// How long after.
        after: Duration,
    },
    /// When a fail point is passed.
    Point {
        /// The point.
        point: String,
        /// Which passing, from 1.
        pass: u64,
        /// By whom; `None`: by all together.
        by: Option<HostName>,
    },
}

/// A fault with nothing left to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Strike {
    /// What happens.
    pub kind: FaultKind,
    /// To whom; empty where it strikes the chain itself.
    pub places: BTreeSet<Place>,
    /// Whom else it concerns: the other side of a partition.
    pub against: BTreeSet<Place>,
    /// When.
    pub start: Start,
    /// For how long; [`Duration::MAX`]: until the run ends, or is healed to see whether it then converges.
    pub lasts: Duration,
    /// How long a process of a restart loop runs between two crashes.
    pub up_for: Duration,
    /// Of what strikes requests to the chain: which endpoint, from 1; `None`: all.
    pub endpoint: Option<usize>,
    /// It may turn out to affect nothing.
    pub may_miss: bool,
}

/// Draws what the scenario leaves to the seed.
pub fn schedule(scenario: &Scenario, seed: u64) -> Vec<Strike> {
    let hosts: Vec<HostName> = scenario.hosts().collect();
    let all: BTreeSet<Place> = hosts.iter().copied().map(Place::Node).collect();
    let mut strikes = Vec::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        let drawn = |moment: Moment, what: &str| match moment {
            Moment::Fixed(at) => at,
            Moment::Within(from, to) => {
                draw::between(seed, &format!("fault {index} {what}"), from, to)
            }
        };
        let group = |victims: &[Victim], what: &str| -> BTreeSet<Place> {
            let mut places = BTreeSet::new();
            for (number, victim) in victims.iter().enumerate() {
                let of = |role: Option<Role>| {
                    // Who attacks is struck only where the scenario says so.
                    let hosts = hosts
                        .iter()
                        .filter(move |h| role.map_or(h.role != Role::Peer, |r| h.role == r));
                    hosts.copied().map(Place::Node)
                };
                match victim {
                    Victim::Named(host) => drop(places.insert(Place::Node(*host))),
                    Victim::Chain => drop(places.insert(Place::Chain)),
                    Victim::All(role) => places.extend(of(*role)),
                    Victim::Any(role) => {
                        // Another one than those named before.
                        let left: Vec<Place> = of(*role).filter(|p| !places.contains(p)).collect();
                        let label = match number {
                            0 => format!("fault {index} {what}"),
                            _ => format!("fault {index} {what} {number}"),
                        };
                        let place = draw::below(seed, &label, left.len() as u64);
                        places.extend(left.get(place as usize));
                    }
                }
            }
            places
        };
        let places = group(&fault.hosts, "host");
        let (against, up_for) = match &fault.kind {
            FaultKind::Partition { against, .. }
            | FaultKind::Reset { against }
            | FaultKind::Link { against, .. } => (group(against, "against"), Duration::ZERO),
            FaultKind::RestartLoop { up_for, .. } => (BTreeSet::new(), drawn(*up_for, "up for")),
            _ => (BTreeSet::new(), Duration::ZERO),
        };
        let start = match &fault.when {
            When::At(at) => Start::At(drawn(*at, "at")),
            When::Round { number, after } => Start::Round {
                number: *number,
                after: drawn(*after, "after"),
            },
            When::Point { point, pass, by } => Start::Point {
                point: point.clone(),
                pass: *pass,
                by: by.or_else(|| only_node(&places)),
            },
        };
        strikes.push(Strike {
            kind: fault.kind.clone(),
            against: others(against, &places, &all),
            places,
            start,
            lasts: drawn(fault.lasts, "down for"),
            up_for,
            endpoint: fault.endpoint,
            may_miss: fault.may_miss,
        });
    }
    if let Some(swarm) = &scenario.swarm {
        // Who is struck for good cannot be struck again.
        let for_good = strikes
            .iter()
            .filter(|strike| strike.lasts == Duration::MAX);
        let for_good: BTreeSet<&Place> = for_good.flat_map(|strike| &strike.places).collect();
        let hosts: Vec<HostName> = hosts
            .into_iter()
            .filter(|host| host.role != Role::Peer && !for_good.contains(&Place::Node(*host)))
            .collect();
        let struck = swarm_strikes(swarm, &scenario.name, seed, &hosts, &all);
        strikes.extend(struck.into_iter().filter(|strike| match strike.kind {
            // What only one validator knows is lost with its disk, and no network can go on without.
            FaultKind::BitFlip | FaultKind::DiskLost => {
                scenario.validators > 1 || !strikes_a_validator(strike)
            }
            // Nobody can tell an impostor whose only endpoint vouches for it.
            FaultKind::RpcLies => !has_impostors(scenario),
            _ => true,
        }));
    }
    strikes
}

fn has_impostors(scenario: &Scenario) -> bool {
    let mut misdeeds = scenario.misdeeds.values();
    misdeeds.any(|misdeed| matches!(misdeed, Misdeed::Peer(PeerMisdeed::Impostor)))
}

fn strikes_a_validator(strike: &Strike) -> bool {
    strike.places.iter().any(|place| match place {
        Place::Node(host) => host.role == Role::Validator,
        Place::Chain => false,
    })
}

fn only_node(places: &BTreeSet<Place>) -> Option<HostName> {
    match (places.len(), places.first()) {
        (1, Some(Place::Node(host))) => Some(*host),
        _ => None,
    }
}

/// The other side: those named, or everybody else and the chain.
fn others(
    named: BTreeSet<Place>,
    places: &BTreeSet<Place>,
    all: &BTreeSet<Place>,
) -> BTreeSet<Place> {
    let mut others = if named.is_empty() {
        let mut everybody = all.clone();
        everybody.insert(Place::Chain);
        everybody
    } else {
        named
    };
    others.retain(|place| !places.contains(place));
    others
}

/// In how many rounds a swarm's faults begin.
const SWARM_ROUNDS: u64 = 2;
/// How long after the opening of a round they begin, in milliseconds: while proposals, votes and the execution are made.
const SWARM_AFTER_MS: u64 = 90_000;
/// Up to which passing of a fail point they wait.
const SWARM_PASSES: u64 = 4;
/// What hosts do in every run, as fail points name it.
const SWARM_SCOPES: [&str; 10] = [
    "claim",
    "execute",
    "jobs",
    "open-round",
    "payloads",
    "propose",
    "receipts",
    "transactions",
    "vote",
    "votes",
];

/// Fail points at which a swarm's faults begin.
fn swarm_points() -> Vec<String> {
    let mut points = failpoint::points();
    points.retain(|point| {
        let scope = point.split('/').next();
        scope.is_some_and(|scope| SWARM_SCOPES.contains(&scope))
    });
    points
}

/// Faults that a swarm draws: first which kinds this seed knows, then each fault from these. Every scenario, by its name, has
/// a swarm of its own with the same seed.
fn swarm_strikes(
    swarm: &Swarm,
    scenario: &str,
    seed: u64,
    hosts: &[HostName],
    all: &BTreeSet<Place>,
) -> Vec<Strike> {
    let below =
        |label: &str, count: u64| draw::below(seed, &format!("swarm of {scenario} {label}"), count);
    let mut kinds = swarm.kinds.clone();
    kinds.retain(|kind| below(&format!("knows {kind:?}"), 2) == 1);
    if kinds.is_empty() {
        let one = below("only kind", swarm.kinds.len() as u64);
        kinds.extend(swarm.kinds.get(one as usize));
    }
    let count = 1 + below("count", u64::from(swarm.most));
    let mut strikes = Vec::new();
    for index in 0..count {
        let below = |what: &str, count: u64| below(&format!("{index} {what}"), count);
        let between = |what: &str, from, to| {
            let label = format!("swarm of {scenario} {index} {what}");
            draw::between(seed, &label, from, to)
        };
        let Some(kind) = kinds.get(below("kind", kinds.len() as u64) as usize) else {
            continue;
        };
        let Some(host) = hosts.get(below("host", hosts.len() as u64) as usize) else {
            continue;
        };
        let second = Duration::from_secs(1);
        let lasts = between("lasts", second, swarm.longest);
        let (kind, strikes_chain) = drawn_kind(*kind, &below);
        let mut places: BTreeSet<Place> = if strikes_chain {
            BTreeSet::new()
        } else {
            [Place::Node(*host)].into()
        };
        if let FaultKind::Partition { .. } = kind {
            // A side of any size up to half of all.
            let more = hosts.iter().enumerate().filter(|(number, _)| {
                let label = format!("side {number}");
                below(&label, 4) == 0
            });
            let more = more.map(|(_, host)| Place::Node(*host));
            let most = (hosts.len() / 2).saturating_sub(1);
            places.extend(more.take(most));
        }
        let start = match below("begins", 4) {
            0 => Start::Round {
                number: 1 + below("round", SWARM_ROUNDS),
                after: Duration::from_millis(below("after", SWARM_AFTER_MS)),
            },
            1 => {
                let points = swarm_points();
                Start::Point {
                    point: points[below("point", points.len() as u64) as usize].clone(),
                    pass: 1 + below("pass", SWARM_PASSES),
                    by: only_node(&places),
                }
            }
            _ => Start::At(between("at", swarm.from, swarm.to.saturating_sub(lasts))),
        };
        // Whole milliseconds: a case file can say no less.
        let turn = |times| Duration::from_millis((lasts / (2 * times)).as_millis() as u64);
        let up_for = match kind {
            FaultKind::RestartLoop { times, .. } => turn(times),
            _ => Duration::ZERO,
        };
        let lasts = match kind {
            FaultKind::RestartLoop { times, .. } => turn(times),
            FaultKind::Reset { .. } | FaultKind::Reorg { .. } | FaultKind::TimeJump { .. } => {
                Duration::ZERO
            }
            _ => lasts,
        };
        // Half of the partitions leave everybody the chain: both sides see what is decided, and can decide.
        let named = match kind {
            FaultKind::Partition { .. } if below("leaves the chain", 2) == 0 => all.clone(),
            _ => BTreeSet::new(),
        };
        strikes.push(Strike {
            kind,
            against: others(named, &places, all),
            places,
            start,
            lasts,
            up_for,
            endpoint: None,
            may_miss: true,
        });
    }
    strikes
}

/// A fault of a kind, and whether it strikes the chain itself.
fn drawn_kind(kind: SwarmKind, below: &dyn Fn(&str, u64) -> u64) -> (FaultKind, bool) {
    let millis =
        |what: &str, from: u64, to: u64| Duration::from_millis(from + below(what, to - from + 1));
    let against = Vec::new();
    match kind {
        SwarmKind::Crash => (
            FaultKind::Crash {
                unsynced: Unsynced::Lost,
            },
            false,
        ),
        SwarmKind::TornWrite => (
            FaultKind::Crash {
                unsynced: Unsynced::Torn,
            },
            false,
        ),
        SwarmKind::RestartLoop => (
            FaultKind::RestartLoop {
                times: 2 + below("times", 4) as u32,
                up_for: Moment::ZERO,
            },
            false,
        ),
        SwarmKind::Pause => (FaultKind::Pause, false),
        SwarmKind::Partition => {
            let styles = [PartitionStyle::Silent, PartitionStyle::Loud];
            let directions = [Direction::Both, Direction::In, Direction::Out];
            (
                FaultKind::Partition {
                    against,
                    style: styles[below("style", 2) as usize],
                    direction: directions[below("direction", 3) as usize],
                },
                false,
            )
        }
        SwarmKind::Reset => (FaultKind::Reset { against }, false),
        SwarmKind::Link => {
            let min = millis("latency", 1, 500);
            (
                FaultKind::Link {
                    against,
                    latency: Some(Latency {
                        min,
                        max: min + millis("jitter", 0, 2_000),
                    }),
                    loss: Some(Percent::from_whole(below("loss", 40) as u8)),
                    bandwidth: (below("limited", 2) == 1).then(|| 8_000 << below("rate", 8)),
                },
                false,
            )
        }
        SwarmKind::DiskFull => (FaultKind::DiskFull, false),
        SwarmKind::DiskSyncFails => (FaultKind::DiskSyncFails, false),
        SwarmKind::DiskSlow => (
            FaultKind::DiskSlow {
                sync_takes: millis("sync", 10, 2_000),
            },
            false,
        ),
        SwarmKind::BitFlip => (FaultKind::BitFlip, false),
        SwarmKind::DiskLost => (FaultKind::DiskLost, false),
        SwarmKind::ClockSkew => (
            FaultKind::ClockSkew {
                by: Duration::from_secs(1 + below("wrong", 300)),
                behind: below("behind", 2) == 1,
            },
            false,
        ),
        SwarmKind::ClockDrift => (
            FaultKind::ClockDrift {
                by: Duration::from_secs(1 + below("wrong", 300)),
                behind: below("behind", 2) == 1,
            },
            false,
        ),
        SwarmKind::RpcOutage => (FaultKind::RpcOutage, false),
        SwarmKind::RpcLies => (FaultKind::RpcLies, false),
        SwarmKind::RpcStale => (FaultKind::RpcStale, false),
        SwarmKind::InclusionDelay => (
            FaultKind::InclusionDelay {
                by: millis("delay", 1_000, 120_000),
            },
            false,
        ),
        SwarmKind::ReorderTransactions => (
            FaultKind::ReorderTransactions {
                by: millis("reorder", 5_000, 60_000),
            },
            false,
        ),
        SwarmKind::DropTransactions => (
            FaultKind::DropTransactions {
                share: Percent::from_whole(20 + below("share", 81) as u8),
            },
            false,
        ),
        SwarmKind::Reorg => (
            FaultKind::Reorg {
                depth: 1 + below("depth", 3),
                forgets: below("forgets", 2) == 1,
            },
            true,
        ),
        SwarmKind::FeeSpike => (
            FaultKind::FeeSpike {
                times: 2 + below("times", 99) as u32,
            },
            true,
        ),
        SwarmKind::SequencerStop => (FaultKind::SequencerStop, true),
        SwarmKind::TimeJump => (
            FaultKind::TimeJump {
                by: Duration::from_secs(60 + below("jump", 86_400)),
            },
            true,
        ),
        SwarmKind::TimestampDrift => (
            FaultKind::TimestampDrift {
                by: Duration::from_secs(1 + below("ahead", 120)),
            },
            true,
        ),
    }
}
