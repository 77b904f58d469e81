//! Whether a validator sees enough of the others: one whose peers are all an attacker's, or that is cut off, has only their
//! word for which receipts there are.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::failpoint::sometimes;

/// A node that has just started, or whose connections broke, is given this long to find the others before it raises the alarm.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long this validator has been on its own.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    /// Approvals that an update needed in the round that was open last; before any, what it would need now; zero: not known.
    required: u64,
    since: Option<Instant>,
    alarmed: bool,
}

impl Isolation {
    /// Whether it is not known yet how many approvals an update needs.
    pub(super) fn is_unknowing(&self) -> bool {
        self.required == 0
    }

    /// Takes in how many other validators are connected and verified `now`, and how many approvals an update needs (zero
    /// where that cannot be told now). Whether this validator is isolated: those that it sees could not execute an update with it.
    /// So a quorum whose members see each other is never held up. The alarm is raised once each time, and its end is told.
    pub(super) fn observe(&mut self, seen: usize, required_approvals: u64, now: Instant) -> bool {
        if required_approvals > 0 {
            self.required = required_approvals;
        }
        let required_approvals = self.required;
        let isolated = (seen as u64).saturating_add(1) < required_approvals;
        if !isolated {
            if self.alarmed {
                info!(validators = seen, "this validator is not isolated any more");
            }
            (self.since, self.alarmed) = (None, false);
            return false;
        }
        let since = *self.since.get_or_insert(now);
        if !self.alarmed && now.duration_since(since) >= PATIENCE {
            self.alarmed = true;
            sometimes!("round/isolated");
            warn!(
                validators = seen,
                required_approvals,
                "this validator is isolated: it sees too few others for an update, and does not vote until it does; \
                 check its network, its bootstrap addresses and its RPC endpoint"
            );
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_that_sees_itself_is_not_isolated_and_fewer_are() {
        let (mut isolation, now) = (Isolation::default(), Instant::now());
        for required in 1..=200 {
            assert!(!isolation.observe(required as usize - 1, required, now));
            assert!(!isolation.observe(required as usize, required, now));
            if required > 1 {
                assert!(isolation.observe(required as usize - 2, required, now));
            }
        }
    }

    #[test]
    fn the_alarm_waits_and_is_raised_once_until_the_others_are_back() {
        let (mut isolation, start) = (Isolation::default(), Instant::now());
        assert!(isolation.observe(0, 3, start));
        assert!(!isolation.alarmed, "no vote at once, but no alarm yet");
        assert!(
            isolation.observe(0, 0, start + PATIENCE),
            "also when the round is over"
        );
        assert!(isolation.alarmed);
        assert!(!isolation.observe(2, 3, start + PATIENCE));
        assert!(!isolation.alarmed);
        assert!(isolation.observe(1, 3, start + PATIENCE * 2));
        assert!(!isolation.alarmed, "the wait begins again");
    }
}
