//! The emission schedule in closed form, beside which reports put what the deployed contracts really mint.
//!
//! Amounts are in SNO wei (10^18 = 1 SNO), times in seconds.

use alloy::primitives::U256;

/// Length of an era.
pub const ERA_SECONDS: u64 = 365 * 24 * 3_600;

const WEI_PER_SNO: u64 = 1_000_000_000_000_000_000;
/// Emission for an hour of update interval in era 0, in SNO.
const BASE_PER_HOUR_SNO: u64 = 5_625;
/// Emission for an hour of update interval in the tail, in SNO.
const TAIL_PER_HOUR_SNO: u64 = 420;

/// The era at `elapsed_seconds` after the token's deployment.
#[must_use]
pub fn era(elapsed_seconds: u64) -> u64 {
    elapsed_seconds / ERA_SECONDS
}

/// The era whose rate an update pays that is executed at `elapsed_seconds` after the token's deployment and covers
/// `interval_seconds`: the one in which that time began. So the update that is due when an era ends pays for the era's
/// last period, and a year of 8 h updates is 1,095 of them at one rate.
#[must_use]
pub fn paid_era(elapsed_seconds: u64, interval_seconds: u64) -> u64 {
    era(elapsed_seconds.saturating_sub(interval_seconds))
}

/// Emission for an hour of update interval in `era`: times 0.6 for each era, rounded down at each step, never below the
/// tail.
#[must_use]
pub fn per_hour(era: u64) -> U256 {
    let wei = U256::from(WEI_PER_SNO);
    let tail = U256::from(TAIL_PER_HOUR_SNO) * wei;
    let mut rate = U256::from(BASE_PER_HOUR_SNO) * wei;
    for _ in 0..era {
        rate = rate * U256::from(3) / U256::from(5);
        // Reached after a handful of eras, which bounds the loop.
        if rate <= tail {
            return tail;
        }
    }
    rate
}

/// Emission of one state update that pays the rate of `era` ([`paid_era`]) and covers `interval_seconds`.
#[must_use]
pub fn per_update(era: u64, interval_seconds: u64) -> U256 {
    per_hour(era) * U256::from(interval_seconds) / U256::from(3_600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_hour_updates_pay_the_rule_books_amounts() {
        let milli_sno = |era| per_update(era, 8 * 3_600) / U256::from(WEI_PER_SNO / 1_000);
        let expected = [
            45_000_000, 27_000_000, 16_200_000, 9_720_000, 5_832_000, 3_499_200, 3_360_000,
            3_360_000,
        ];
        for (era, expected) in (0..).zip(expected) {
            assert_eq!(milli_sno(era), U256::from(expected), "era {era}");
        }
        assert_eq!(
            per_update(u64::MAX, 8 * 3_600),
            U256::from(3_360) * U256::from(WEI_PER_SNO)
        );
    }

    #[test]
    fn an_era_lasts_365_days() {
        assert_eq!(era(ERA_SECONDS - 1), 0);
        assert_eq!(era(ERA_SECONDS), 1);
    }

    #[test]
    fn the_update_due_at_the_end_of_an_era_pays_for_its_last_period() {
        assert_eq!(paid_era(ERA_SECONDS + 8, 8 * 3_600), 0);
        assert_eq!(paid_era(ERA_SECONDS + 8 * 3_600, 8 * 3_600), 1);
        assert_eq!(paid_era(5, 3_600), 0);
    }

    #[test]
    fn the_interval_does_not_change_the_hourly_emission() {
        for hours in [1, 8, 256] {
            assert_eq!(
                per_update(0, hours * 3_600),
                per_hour(0) * U256::from(hours)
            );
        }
    }
}
