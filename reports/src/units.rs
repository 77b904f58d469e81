//! Amounts as people read them.

/// Wei in one SNO.
pub const WEI_PER_SNO: i128 = 1_000_000_000_000_000_000;

/// An amount in SNO, exact, without needless zeros and without separators: for files that programs read.
#[must_use]
pub fn sno_exact(wei: i128) -> String {
    let sign = if wei < 0 { "-" } else { "" };
    let unit = WEI_PER_SNO.unsigned_abs();
    let (whole, fraction) = (wei.unsigned_abs() / unit, wei.unsigned_abs() % unit);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:018}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

/// An amount in SNO with thousands apart and `decimals` (at most 18) places, rounded half away from zero.
#[must_use]
pub fn sno_rounded(wei: i128, decimals: u32) -> String {
    let step = 10_u128.pow(18_u32.saturating_sub(decimals));
    let rounded = wei.unsigned_abs().saturating_add(step / 2) / step;
    let unit = 10_u128.pow(decimals.min(18));
    let sign = if wei < 0 && rounded != 0 { "-" } else { "" };
    let whole = grouped(&(rounded / unit).to_string());
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    let width = decimals as usize;
    format!("{sign}{whole}.{:0width$}", rounded % unit)
}

/// A real number with thousands apart and `decimals` places.
#[must_use]
pub fn real(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (sign, digits) = match text.strip_prefix('-') {
        // Rounding can leave nothing of a negative number but its sign.
        Some(digits) if digits.chars().any(|digit| ('1'..='9').contains(&digit)) => ("-", digits),
        Some(digits) => ("", digits),
        None => ("", text.as_str()),
    };
    match digits.split_once('.') {
        Some((whole, fraction)) => format!("{sign}{}.{fraction}", grouped(whole)),
        None => format!("{sign}{}", grouped(digits)),
    }
}

/// A row of decimal digits with its thousands apart.
#[must_use]
pub fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sno_is_exact_and_short() {
        let cases = [
            (0, "0"),
            (1, "0.000000000000000001"),
            (-1_500_000_000_000_000_000, "-1.5"),
            (49_275_000 * WEI_PER_SNO, "49275000"),
            (38_314_848 * WEI_PER_SNO / 10, "3831484.8"),
        ];
        for (wei, text) in cases {
            assert_eq!(sno_exact(wei), text);
        }
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        let cases = [
            (1_500_000_000_000_000_000, 0, "2"),
            (1_499_999_999_999_999_999, 0, "1"),
            (-1_500_000_000_000_000_000, 0, "-2"),
            (-1, 0, "0"),
            (1_234_567 * WEI_PER_SNO + WEI_PER_SNO / 4, 2, "1,234,567.25"),
            (WEI_PER_SNO / 20, 1, "0.1"),
        ];
        for (wei, decimals, text) in cases {
            assert_eq!(sno_rounded(wei, decimals), text, "{wei}");
        }
    }

    #[test]
    fn thousands_are_apart() {
        for (digits, text) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("21900", "21,900"),
        ] {
            assert_eq!(grouped(digits), text);
        }
        assert_eq!(real(-1_234.567, 2), "-1,234.57");
        assert_eq!(real(-0.001, 2), "0.00");
        assert_eq!(real(1e6, 0), "1,000,000");
    }
}
