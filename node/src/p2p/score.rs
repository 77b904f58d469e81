//! What peers have done wrong, and who is banned for it.
//!
//! Every offence costs points; points are forgotten with time. A peer that has too many of them is banned: its connections
//! are closed and new ones refused until the ban ends. What an honest peer can come to by bad luck (a stalled link, a
//! head that it has not seen yet) costs little or nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;
use tokio::time::Instant;

/// Points at which a peer is banned.
pub(super) const BAN_POINTS: u64 = 100;
/// Time in which a point is forgotten.
const FORGET: Duration = Duration::from_secs(6);
/// How long a ban lasts.
const BAN: Duration = Duration::from_secs(600);
/// Offences of the stalling kind count once in this time: a link that stalls stalls everything on it.
const STALL_WINDOW: Duration = Duration::from_secs(10);
/// Most peers that are remembered, and most bans.
const PEERS_MAX: usize = 8_192;

/// Something that a peer should not have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// A whole frame that does not decode.
    MalformedFrame,
    /// A frame that announces more bytes than allowed.
    OversizedFrame,
    /// A frame that did not arrive in time.
    SlowFrame,
    /// A request that no honest node makes.
    InvalidRequest,
    /// Gossip that is wrong in itself.
    RejectedGossip,
    /// A role statement that is forged, replayed or relayed.
    FalseStatement,
    /// A record that is wrong in itself.
    BadRecord,
    /// Many times as much as allowed.
    Flood,
}

impl Offence {
    fn points(self) -> u64 {
        match self {
            Self::MalformedFrame | Self::OversizedFrame => 25,
            Self::FalseStatement | Self::BadRecord => 25,
            Self::RejectedGossip => 10,
            Self::SlowFrame => 5,
            Self::InvalidRequest => 2,
            Self::Flood => 1,
        }
    }
}

impl std::fmt::Display for Offence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::MalformedFrame => "a malformed frame",
            Self::OversizedFrame => "an oversized frame",
            Self::SlowFrame => "a frame that did not arrive in time",
            Self::InvalidRequest => "an invalid request",
            Self::RejectedGossip => "gossip that is wrong in itself",
            Self::FalseStatement => "a false role statement",
            Self::BadRecord => "a record that is wrong in itself",
            Self::Flood => "a flood of requests",
        })
    }
}

struct Score {
    /// Points in units of the nanoseconds that it takes to forget them.
    debt: Duration,
    at: Instant,
    last_stall: Option<Instant>,
}

impl Score {
    fn forget(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.debt = self.debt.saturating_sub(passed);
        self.at = self.at.max(now);
    }
}

/// What is held against whom.
#[derive(Default)]
pub(super) struct Scores {
    peers: BTreeMap<PeerId, Score>,
    banned_until: BTreeMap<PeerId, Instant>,
}

impl Scores {
    /// Holds an offence against a peer. `true` if it is banned for it now.
    pub(super) fn hold(&mut self, peer: PeerId, offence: Offence, now: Instant) -> bool {
        if self.is_banned(&peer, now) {
            return false;
        }
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.sweep(now);
            if self.peers.len() >= PEERS_MAX {
                // Whoever has done least.
                let least = self.peers.iter().min_by_key(|(_, score)| score.debt);
                if let Some(least) = least.map(|(peer, _)| *peer) {
                    self.peers.remove(&least);
                }
            }
        }
        let score = self.peers.entry(peer).or_insert(Score {
            debt: Duration::ZERO,
            at: now,
            last_stall: None,
        });
        score.forget(now);
        if offence == Offence::SlowFrame {
            let again = score
                .last_stall
                .is_some_and(|last| now.saturating_duration_since(last) < STALL_WINDOW);
            if again {
                return false;
            }
            score.last_stall = Some(now);
        }
        score.debt += FORGET.saturating_mul(offence.points() as u32);
        if score.debt < FORGET.saturating_mul(BAN_POINTS as u32) {
            return false;
        }
        self.peers.remove(&peer);
        if self.banned_until.len() >= PEERS_MAX {
            let first = self.banned_until.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.banned_until.remove(&first);
            }
        }
        self.banned_until.insert(peer, now + BAN);
        true
    }

    /// Points that are held against a peer.
    pub(super) fn points(&self, peer: &PeerId, now: Instant) -> u64 {
        self.peers.get(peer).map_or(0, |score| {
            let passed = now.saturating_duration_since(score.at);
            score.debt.saturating_sub(passed).as_secs() / FORGET.as_secs()
        })
    }

    /// Whether a peer is banned.
    pub(super) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.banned_until
            .get(peer)
            .is_some_and(|until| *until > now)
    }

    /// Who is banned, and for how long still.
    pub(super) fn bans(&self, now: Instant) -> impl Iterator<Item = (PeerId, Duration)> + '_ {
        self.banned_until
            .iter()
            .map(move |(peer, until)| (*peer, until.saturating_duration_since(now)))
            .filter(|(_, left)| !left.is_zero())
    }

    /// Bans a peer that was banned before the node was restarted, for what is left of its ban.
    pub(super) fn ban_again(&mut self, peer: PeerId, left: Duration, now: Instant) {
        if self.banned_until.len() < PEERS_MAX {
            self.banned_until.insert(peer, now + left.min(BAN));
        }
    }

    /// Drops what time has settled.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.banned_until.retain(|_, until| *until > now);
        self.peers.retain(|_, score| {
            score.forget(now);
            !score.debt.is_zero()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(
        scores: &mut Scores,
        peer: PeerId,
        offence: Offence,
        times: usize,
        at: Instant,
    ) -> bool {
        (0..times).any(|_| scores.hold(peer, offence, at))
    }

    #[test]
    fn a_few_frames_that_no_honest_peer_sends_lead_to_a_ban_that_ends() {
        let now = Instant::now();
        let (bad, good) = (PeerId::random(), PeerId::random());
        let mut scores = Scores::default();
        assert!(!held(&mut scores, bad, Offence::MalformedFrame, 3, now));
        assert_eq!(scores.points(&bad, now), 75);
        assert!(scores.hold(bad, Offence::MalformedFrame, now));
        assert!(scores.is_banned(&bad, now) && !scores.is_banned(&good, now));
        assert!(scores.is_banned(&bad, now + BAN - Duration::from_secs(1)));
        let after = now + BAN;
        assert!(!scores.is_banned(&bad, after));
        assert_eq!(scores.points(&bad, after), 0, "a new start");
        scores.sweep(after);
        assert!(scores.banned_until.is_empty() && scores.peers.is_empty());
    }

    #[test]
    fn bad_luck_is_forgotten() {
        let mut now = Instant::now();
        let peer = PeerId::random();
        let mut scores = Scores::default();
        // A link that stalls for 10 s in every minute, for a day, with 30 requests on it.
        for _ in 0..24 * 60 {
            assert!(!held(&mut scores, peer, Offence::SlowFrame, 30, now));
            now += Duration::from_secs(60);
        }
        // A user whose every job is refused, one in 15 seconds.
        for _ in 0..1_000 {
            assert!(!scores.hold(peer, Offence::InvalidRequest, now));
            now += Duration::from_secs(15);
        }
    }

    #[test]
    fn the_number_of_peers_remembered_is_bounded() {
        let now = Instant::now();
        let worst = PeerId::random();
        let mut scores = Scores::default();
        held(&mut scores, worst, Offence::MalformedFrame, 3, now);
        for _ in 0..PEERS_MAX + 10 {
            scores.hold(PeerId::random(), Offence::Flood, now);
        }
        assert_eq!(scores.peers.len(), PEERS_MAX);
        assert_eq!(scores.points(&worst, now), 75, "the worst is not forgotten");
        for _ in 0..PEERS_MAX + 10 {
            held(&mut scores, PeerId::random(), Offence::BadRecord, 4, now);
        }
        assert_eq!(scores.banned_until.len(), PEERS_MAX);
    }
}
