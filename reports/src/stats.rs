//! Intervals and tests.

use statrs::function::gamma::checked_gamma_ur;

/// Standard deviations of a 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;

/// The 95 % interval (Wilson's) of a share of which `held` of `all` were seen. Without any it is everything.
#[must_use]
pub fn wilson(held: u64, all: u64) -> (f64, f64) {
    if all == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (all as f64, held as f64 / all as f64);
    let z2 = Z_95 * Z_95;
    let middle = share + z2 / (2.0 * n);
    let spread = Z_95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let unit = 1.0 + z2 / n;
    // Of none the lower end is nothing, of all the upper one everything: rounding leaves a trifle there.
    let low = if held == 0 {
        0.0
    } else {
        ((middle - spread) / unit).max(0.0)
    };
    let high = if held == all {
        1.0
    } else {
        ((middle + spread) / unit).min(1.0)
    };
    (low, high)
}

/// Mean and half of its 95 % interval (normal approximation); `None` without values.
#[must_use]
pub fn mean(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    if values.len() == 1 {
        return Some((mean, 0.0));
    }
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / (n - 1.0);
    Some((mean, Z_95 * (variance / n).sqrt()))
}

/// The probability that chance alone gives a chi-square statistic of at least this value.
#[must_use]
pub fn chi_square_p(statistic: f64, degrees: u64) -> Option<f64> {
    checked_gamma_ur(degrees as f64 / 2.0, statistic / 2.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_books() {
        // 81 of 263: Wilson's interval in Agresti and Coull's manner of counting.
        let (low, high) = wilson(81, 263);
        assert!(
            (low - 0.2553).abs() < 5e-4 && (high - 0.3662).abs() < 5e-4,
            "{low} {high}"
        );
        let (low, high) = wilson(0, 10);
        assert!(low == 0.0 && (high - 0.2775).abs() < 5e-4, "{high}");
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        for runs in 1..50 {
            assert!(wilson(0, runs).0 == 0.0 && wilson(runs, runs).1 == 1.0);
        }
        let (middle, half) = mean(&[1.0, 2.0, 3.0]).expect("values");
        assert!(middle == 2.0 && (half - 1.1316).abs() < 1e-3, "{half}");
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn chi_square_is_that_of_the_tables() {
        for (statistic, degrees, p) in [(3.841, 1, 0.05), (16.919, 9, 0.05), (21.666, 9, 0.01)] {
            let found = chi_square_p(statistic, degrees).expect("defined");
            assert!((found - p).abs() < 1e-4, "{statistic}: {found}");
        }
        assert_eq!(chi_square_p(1.0, 0), None);
    }
}
