//! What governance may change, and since when it counts.

use super::books::Terms;
use super::events::Seen;

/// Emission in era 0, and its floor, in SNO wei for each hour.
const EMISSION_PER_HOUR: (u128, u128) = (5_625 * 10u128.pow(18), 420 * 10u128.pow(18));
/// Length of an era in seconds.
const ERA_SECONDS: u64 = 365 * 24 * 60 * 60;

/// The protocol's settings as they are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// Update interval of the present period, in seconds.
    pub(super) interval: u64,
    /// Of the periods after it.
    next_interval: u64,
    /// Share of the snapshot to be exceeded in rounds that open from now on, in per cent.
    pub(super) approval_percent: u64,
}

impl Settings {
    /// As the deployment fixed them.
    pub(super) fn new(terms: &Terms) -> Settings {
        Settings {
            interval: terms.interval,
            next_interval: terms.interval,
            approval_percent: terms.approval_percent,
        }
    }

    /// Governance has decided.
    pub(super) fn enter(&mut self, event: &Seen) {
        match event {
            Seen::IntervalSet(seconds) => self.next_interval = *seconds,
            Seen::ApprovalSet(percent) => self.approval_percent = *percent,
            _ => {}
        }
    }

    /// Emission (SNO wei) of one update executed at a time in chain seconds, at the rate of the era in which the interval
    /// before it began: times 0.6 for each era, rounded down each time.
    pub(super) fn emission(&self, deployed_at: u64, timestamp: u64) -> u128 {
        let (mut per_hour, floor) = EMISSION_PER_HOUR;
        for _ in 0..timestamp.saturating_sub(deployed_at + self.interval) / ERA_SECONDS {
            per_hour = (per_hour * 3 / 5).max(floor);
            if per_hour == floor {
                break;
            }
        }
        per_hour * u128::from(self.interval) / 3600
    }

    /// An update has been executed: what comes is another period.
    pub(super) fn period_over(&mut self) {
        self.interval = self.next_interval;
    }
}

/// Approvals that a round needs: strictly more than the percentage of its snapshot, which of 100 % is all.
pub(super) fn approvals(snapshot: u64, percent: u64) -> u64 {
    (percent * snapshot / 100 + 1).min(snapshot.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNO: u128 = 10u128.pow(18);
    const INTERVAL: u64 = 28_800;
    const DUE: u64 = 1_000 + INTERVAL;

    fn settings(interval: u64) -> Settings {
        Settings::new(&Terms {
            genesis: 3,
            testnet: 0,
            deployed_at: 1_000,
            interval,
            approval_percent: 66,
        })
    }

    #[test]
    fn emission_falls_by_eras_to_its_floor() {
        let settings = settings(INTERVAL);
        let era = |n: u64| settings.emission(1_000, DUE + n * ERA_SECONDS) / SNO;
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 50].map(era),
            [
                45_000, 27_000, 16_200, 9_720, 5_832, 3_499, 3_360, 3_360, 3_360
            ]
        );
        // The update due when the era ends pays for the era's last period.
        assert_eq!(
            settings.emission(1_000, DUE + ERA_SECONDS - 1) / SNO,
            45_000
        );
    }

    #[test]
    fn an_interval_counts_from_the_next_period_and_a_percentage_at_once() {
        let mut settings = settings(600);
        settings.enter(&Seen::IntervalSet(3_600));
        settings.enter(&Seen::ApprovalSet(75));
        assert_eq!((settings.interval, settings.approval_percent), (600, 75));
        settings.period_over();
        assert_eq!(settings.interval, 3_600);
        settings.period_over();
        assert_eq!(settings.interval, 3_600);
    }
}
