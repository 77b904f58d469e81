//! Links between hosts: how long a message travels, whether it has to be sent again, and whether it passes at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use madsim::rand::Rng;
use smartnodes_scenarios::{Latency, Percent};

/// Wait before a lost message is sent again the first time; it doubles each time, as TCP's does.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(200);
/// Longest wait before a message is sent again.
pub(super) const RETRANSMIT_MAX: Duration = Duration::from_secs(120);

/// What is other than usual on the links between two groups of hosts.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The hosts on one side.
    pub these: BTreeSet<IpAddr>,
    /// The hosts on the other side.
    pub those: BTreeSet<IpAddr>,
    /// Whether messages from `these` to `those` are concerned.
    pub out: bool,
    /// Whether messages from `those` to `these` are concerned.
    pub back: bool,
    /// What happens to them.
    pub effect: Effect,
}

/// What happens to messages on a link.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// They wait until the rule is gone; nobody is told.
    Hold,
    /// They are refused; connections break.
    Refuse,
    /// They travel otherwise than usual.
    Shape {
        /// Travel times, if other than usual.
        latency: Option<Latency>,
        /// Chance to be sent again, if other than usual.
        loss: Option<f64>,
        /// Bytes for each second, if limited.
        bandwidth: Option<u64>,
    },
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives after so long.
    Arrives(Duration),
    /// It waits until the link is open again.
    Held,
    /// It does not pass, and its sender is told.
    Refused,
}

/// All links of a run.
#[derive(Debug)]
pub(super) struct Links {
    latency: Latency,
    loss: Percent,
    rules: BTreeMap<u64, (Rule, u64)>,
    added: u64,
    /// Until when a link of limited bandwidth is busy with what was sent before.
    busy: BTreeMap<(IpAddr, IpAddr), Duration>,
}

impl Rule {
    fn concerns(&self, from: IpAddr, to: IpAddr) -> bool {
        (self.out && self.these.contains(&from) && self.those.contains(&to))
            || (self.back && self.these.contains(&to) && self.those.contains(&from))
    }
}

impl Links {
    pub(super) fn new(latency: Latency, loss: Percent) -> Links {
        Links {
            latency,
            loss,
            rules: BTreeMap::new(),
            added: 0,
            busy: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, rule: Rule) -> u64 {
        self.added += 1;
        self.rules.insert(self.added, (rule, 0));
        self.added
    }

    /// Ends a rule and says how many messages it concerned.
    pub(super) fn remove(&mut self, id: u64) -> u64 {
        self.rules.remove(&id).map_or(0, |(_, touched)| touched)
    }

    /// Adds to what a rule has touched.
    pub(super) fn touch(&mut self, id: u64, count: u64) {
        if let Some((_, touched)) = self.rules.get_mut(&id) {
            *touched += count;
        }
    }

    /// Whether messages on this link wait now.
    pub(super) fn holds(&self, from: IpAddr, to: IpAddr) -> bool {
        let mut rules = self.rules.values();
        rules.any(|(rule, _)| matches!(rule.effect, Effect::Hold) && rule.concerns(from, to))
    }

    /// What becomes of a message of so many bytes that is sent at `now`.
    pub(super) fn fate(&mut self, from: IpAddr, to: IpAddr, bytes: usize, now: Duration) -> Fate {
        let (mut latency, mut loss) = (self.latency, self.loss.probability());
        let mut bandwidth = None;
        let mut closed = None;
        for (rule, touched) in self.rules.values_mut() {
            if !rule.concerns(from, to) {
                continue;
            }
            *touched += 1;
            match rule.effect {
                Effect::Refuse => closed = Some(Fate::Refused),
                Effect::Hold => closed = closed.or(Some(Fate::Held)),
                Effect::Shape {
                    latency: other_latency,
                    loss: other_loss,
                    bandwidth: limit,
                } => {
                    latency = other_latency.unwrap_or(latency);
                    loss = other_loss.unwrap_or(loss);
                    bandwidth = limit.or(bandwidth);
                }
            }
        }
        if let Some(fate) = closed {
            return fate;
        }
        let mut rng = madsim::rand::thread_rng();
        let mut delay = rng.gen_range(latency.min..=latency.max);
        let mut again = RETRANSMIT_FIRST;
        while loss > 0.0 && rng.gen_bool(loss.min(1.0)) {
            delay += again;
            again = (again * 2).min(RETRANSMIT_MAX);
        }
        if let Some(bandwidth) = bandwidth {
            let busy = self.busy.entry((from, to)).or_default();
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(bandwidth.max(1));
            *busy = now.max(*busy) + Duration::from_nanos(nanos as u64);
            delay += *busy - now;
        }
        Fate::Arrives(delay)
    }
}
