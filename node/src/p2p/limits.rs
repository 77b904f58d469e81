//! How much one peer may ask for: token buckets on requests by kind and on bytes, in the runtime's time.
//!
//! Both sides keep to the same figures. A node holds its own requests back until the other side's allowance has room
//! ([`super::outbound`]), so that an honest peer is hardly ever refused, and one that goes far beyond is not honest.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::handshake::Role;

/// Requests of one peer that are handled at once; more are refused as [`Busy`](super::wire::Refusal::Busy).
pub(super) const IN_FLIGHT_MAX: usize = 32;
/// How many times its allowance a peer may try to use before that is held against it.
const TOLERANCE: u64 = 10;
/// One token, in the unit in which buckets count: what a rate of one a second adds in a nanosecond.
const TOKEN: u128 = 1_000_000_000;

/// What a peer is held to be, which decides how much it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It has shown nothing yet.
    Stranger,
    /// It has shown its role: a worker or a user.
    Member,
    /// The chain bears it out as a validator.
    Validator,
}

impl From<Role> for Standing {
    fn from(role: Role) -> Self {
        match role {
            Role::Validator => Self::Validator,
            Role::Worker | Role::User => Self::Member,
        }
    }
}

/// A rate: so many at once, and so many more each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    burst: u64,
    per_second: u64,
}

const fn allowance(burst: u64, per_second: u64) -> Allowance {
    Allowance { burst, per_second }
}

impl Allowance {
    /// For requests of a kind ([`super::wire::Request::kind`]), and for `gossip` and `record`, which are pushed.
    pub(super) fn of(kind: &str, standing: Standing) -> Self {
        match (kind, standing) {
            // A signature for each.
            ("role", _) => allowance(20, 1),
            ("register", _) => allowance(10, 1),
            // Each receipt costs the verification of its proofs.
            ("gossip", Standing::Validator) => allowance(4_000, 1_000),
            ("gossip", _) => allowance(20, 1),
            // A node hands over all records that it keeps once in a while.
            ("record", Standing::Validator) => allowance(2_000, 50),
            ("record", Standing::Member) => allowance(500, 10),
            ("record", Standing::Stranger) => allowance(50, 1),
            // Up to a megabyte each.
            ("payload", Standing::Stranger) => allowance(10, 1),
            ("payload", _) => allowance(50, 5),
            // Work comes from validators only; thousands of short tasks may run in parallel.
            (_, Standing::Validator) => allowance(10_000, 5_000),
            // A user with a thousand jobs asks about each of them every other second.
            (_, Standing::Member) => allowance(2_000, 1_000),
            (_, Standing::Stranger) => allowance(20, 5),
        }
    }

    /// For the records of jobs that this node publishes. Each goes to twenty peers: where jobs are many and short, most of
    /// them go without.
    pub(super) fn of_job_records() -> Self {
        allowance(20, 1)
    }

    /// For the bytes of a peer's requests and gossip.
    pub(super) fn of_bytes(standing: Standing) -> Self {
        const MIB: u64 = 1024 * 1024;
        match standing {
            Standing::Stranger => allowance(2 * MIB, MIB / 8),
            Standing::Member => allowance(64 * MIB, 16 * MIB),
            Standing::Validator => allowance(256 * MIB, 64 * MIB),
        }
    }

    fn times(self, factor: u64) -> Self {
        allowance(self.burst * factor, self.per_second * factor)
    }
}

/// A token bucket. It starts full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Tokens spent and not yet regained, in [`TOKEN`]s.
    spent: u128,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { spent: 0, at: now }
    }

    fn regain(&mut self, allowance: Allowance, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        self.at = self.at.max(now);
        let regained = passed.saturating_mul(u128::from(allowance.per_second));
        self.spent = self.spent.saturating_sub(regained);
    }

    /// Takes `cost` tokens if there are as many.
    pub(super) fn take(&mut self, allowance: Allowance, cost: u64, now: Instant) -> bool {
        self.regain(allowance, now);
        let spent = self.spent + u128::from(cost) * TOKEN;
        let has_room = spent <= u128::from(allowance.burst) * TOKEN;
        if has_room {
            self.spent = spent;
        }
        has_room
    }

    /// How long until there is a token; zero if there is one.
    pub(super) fn wait(&mut self, allowance: Allowance, now: Instant) -> Duration {
        self.regain(allowance, now);
        let excess = (self.spent + TOKEN).saturating_sub(u128::from(allowance.burst) * TOKEN);
        let nanoseconds = excess.div_ceil(u128::from(allowance.per_second.max(1)));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// What becomes of something that a peer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is within the peer's allowance.
    Granted,
    /// It is too much for now.
    Refused,
    /// It is so much that no honest peer does it.
    Flood,
}

/// A bucket for what is allowed, and one for what is held against the peer.
struct Meter {
    allowed: Bucket,
    tolerated: Bucket,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            allowed: Bucket::new(now),
            tolerated: Bucket::new(now),
        }
    }

    fn admit(&mut self, allowance: Allowance, cost: u64, now: Instant) -> Admission {
        let tolerated = self.tolerated.take(allowance.times(TOLERANCE), cost, now);
        if self.allowed.take(allowance, cost, now) {
            Admission::Granted
        } else if tolerated {
            Admission::Refused
        } else {
            Admission::Flood
        }
    }
}

/// What one peer has asked for.
pub(super) struct PeerMeter {
    pub(super) standing: Standing,
    kinds: BTreeMap<&'static str, Meter>,
    bytes: Meter,
    last_used: Instant,
}

impl PeerMeter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            standing: Standing::Stranger,
            kinds: BTreeMap::new(),
            bytes: Meter::new(now),
            last_used: now,
        }
    }

    /// Counts one thing of this kind and size, and decides on it.
    pub(super) fn admit(&mut self, kind: &'static str, bytes: usize, now: Instant) -> Admission {
        self.last_used = now;
        let by_kind = self
            .kinds
            .entry(kind)
            .or_insert_with(|| Meter::new(now))
            .admit(Allowance::of(kind, self.standing), 1, now);
        let by_bytes = self
            .bytes
            .admit(Allowance::of_bytes(self.standing), bytes as u64, now);
        match (by_kind, by_bytes) {
            (Admission::Granted, Admission::Granted) => Admission::Granted,
            (Admission::Flood, _) | (_, Admission::Flood) => Admission::Flood,
            _ => Admission::Refused,
        }
    }

    /// Whether the peer has asked for nothing for this long: its buckets are full again.
    pub(super) fn idle_for(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last_used) >= time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let rate = allowance(5, 2);
        let mut bucket = Bucket::new(start);
        assert_eq!(bucket.wait(rate, start), Duration::ZERO);
        assert_eq!((0..9).filter(|_| bucket.take(rate, 1, start)).count(), 5);
        assert_eq!(bucket.wait(rate, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.wait(rate, later), Duration::ZERO);
        assert!(bucket.take(rate, 1, later) && !bucket.take(rate, 1, later));
        // A clock that stands still or goes back gives nothing.
        assert!(!bucket.take(rate, 1, start));
        let rested = later + Duration::from_secs(3_600);
        assert_eq!((0..9).filter(|_| bucket.take(rate, 1, rested)).count(), 5);
        assert!(!Bucket::new(start).take(rate, 6, start), "over the burst");
    }

    #[test]
    fn kinds_have_allowances_of_their_own_and_bytes_count_for_all() {
        let now = Instant::now();
        let mut meter = PeerMeter::new(now);
        let granted = (0..100)
            .filter(|_| meter.admit("role", 10, now) == Admission::Granted)
            .count();
        assert_eq!(granted, 20);
        assert_eq!(meter.admit("job-status", 10, now), Admission::Granted);
        assert_eq!(
            meter.admit("job-status", 3 << 20, now),
            Admission::Refused,
            "too many bytes"
        );
    }

    #[test]
    fn only_a_multiple_of_the_allowance_is_a_flood() {
        let now = Instant::now();
        let mut meter = PeerMeter::new(now);
        let mut seen = [0usize; 3];
        for _ in 0..1_000 {
            match meter.admit("job-status", 1, now) {
                Admission::Granted => seen[0] += 1,
                Admission::Refused => seen[1] += 1,
                Admission::Flood => seen[2] += 1,
            }
        }
        assert_eq!(seen, [20, 180, 800]);
        meter.standing = Standing::Member;
        assert_eq!(
            meter.admit("job-status", 1, now),
            Admission::Granted,
            "a peer that has shown its role gets more"
        );
    }

    #[test]
    fn a_peer_at_its_rate_is_always_served() {
        for standing in [Standing::Stranger, Standing::Member, Standing::Validator] {
            for kind in ["role", "register", "gossip", "record", "payload", "work"] {
                let mut now = Instant::now();
                let mut meter = PeerMeter::new(now);
                meter.standing = standing;
                let rate = Allowance::of(kind, standing).per_second;
                for _ in 0..200 {
                    assert_eq!(meter.admit(kind, 1, now), Admission::Granted, "{kind}");
                    now += Duration::from_secs(1) / u32::try_from(rate).expect("a small rate");
                    now += Duration::from_nanos(1);
                }
            }
        }
    }
}
