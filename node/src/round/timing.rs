//! Pace of a round, in proportion to the update interval: the same protocol runs at eight hours and at one minute.

use std::time::Duration;

/// Intervals derived from the update interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time that a receipt is given to reach every validator, in seconds.
    pub gossip_margin_seconds: u64,
    /// Distance between validators that would do the same thing, in seconds: the first does it, the next waits this long.
    pub stagger_seconds: u64,
    /// Any validator may propose after this time from the opening of a round, in seconds (the Coordinator's rule).
    pub takeover_seconds: u64,
    /// Wait between two looks at an open round.
    pub poll: Duration,
    /// Longest wait between two looks while nothing is due.
    pub idle: Duration,
    /// Wait between two looks at which challenges are due.
    pub challenge_tick: Duration,
    /// Wait between two pulls of receipts.
    pub sync_interval: Duration,
}

impl Timing {
    /// The pace for an update interval in seconds.
    pub fn new(update_interval: u64) -> Self {
        let share = |divisor: u64, min: u64, max: u64| (update_interval / divisor).clamp(min, max);
        Self {
            gossip_margin_seconds: share(32, 1, 900),
            stagger_seconds: share(240, 1, 120),
            takeover_seconds: update_interval / 4,
            poll: Duration::from_secs(share(480, 1, 60)),
            idle: Duration::from_secs(share(16, 1, 1_800)),
            challenge_tick: Duration::from_secs(share(96, 1, 300)),
            sync_interval: Duration::from_secs(share(12, 2, 1_800)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pace_is_positive_and_fits_the_interval() {
        for interval in [0, 1, 60, 3_600, 28_800, 921_600] {
            let timing = Timing::new(interval);
            assert!(timing.poll >= Duration::from_secs(1));
            assert!(timing.gossip_margin_seconds <= interval.max(1));
            assert!(timing.stagger_seconds <= interval.max(1));
        }
        assert_eq!(Timing::new(28_800).gossip_margin_seconds, 900);
    }
}
