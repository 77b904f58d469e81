//! Quantities with their units, as a scenario file writes them: `"8h"`, `"2%"`, `"200 SNO"`.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Decimal places of SNO, as of ETH.
const DECIMALS: u32 = 18;

/// An amount of SNO in wei (10⁻¹⁸ SNO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sno(u128);

impl Sno {
    /// `amount` whole SNO.
    pub const fn from_whole(amount: u64) -> Sno {
        Sno(amount as u128 * 10u128.pow(DECIMALS))
    }

    /// The amount in wei.
    pub const fn wei(self) -> u128 {
        self.0
    }

    /// The sum, or `None` beyond 2¹²⁸ wei.
    pub fn checked_add(self, other: Sno) -> Option<Sno> {
        self.0.checked_add(other.0).map(Sno)
    }

    pub(crate) fn parse(text: &str) -> Result<Sno, String> {
        wei(text, "SNO").map(Sno)
    }
}

impl fmt::Display for Sno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, "SNO", f)
    }
}

/// An amount of ETH in wei (10⁻¹⁸ ETH).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ether(u128);

impl Ether {
    /// What a host's wallet can spend of the ETH that it has for gas.
    pub(crate) const SPENDABLE: Ether = Ether(50 * 10u128.pow(DECIMALS));

    /// The amount in wei.
    pub const fn wei(self) -> u128 {
        self.0
    }

    fn parse(text: &str) -> Result<Ether, String> {
        wei(text, "ETH").map(Ether)
    }
}

impl fmt::Display for Ether {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, "ETH", f)
    }
}

/// Reads a number with its unit, in 10⁻¹⁸ of it.
fn wei(text: &str, unit: &str) -> Result<u128, String> {
    let mend = || {
        format!(
            "invalid amount `{text}`: write a number and {unit}, such as \"200 {unit}\" or \"0.5 {unit}\""
        )
    };
    let number = text.strip_suffix(unit).ok_or_else(mend)?.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty()
        || !digits(whole)
        || !digits(fraction)
        || (number.contains('.') && fraction.is_empty())
    {
        return Err(mend());
    }
    if fraction.len() > DECIMALS as usize {
        return Err(format!(
            "invalid amount `{text}`: {unit} has {DECIMALS} decimal places"
        ));
    }
    let padded = format!("{whole}{fraction:0<18}");
    padded
        .parse()
        .map_err(|_| format!("invalid amount `{text}`: too large"))
}

fn show(wei: u128, unit: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let one = 10u128.pow(DECIMALS);
    let fraction = format!("{:018}", wei % one);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    write!(f, "{}{point}{fraction} {unit}", wei / one)
}

/// A share from 0 % to 100 %, in parts of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percent(u32);

impl Percent {
    /// `percent` whole per cent; more than 100 counts as 100.
    pub const fn from_whole(percent: u8) -> Percent {
        Percent(if percent > 100 {
            1_000_000
        } else {
            percent as u32 * 10_000
        })
    }

    /// The share as a probability from 0 to 1.
    pub fn probability(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// The whole per cent, or `None` if there is a fraction.
    pub fn whole(self) -> Option<u8> {
        self.0
            .is_multiple_of(10_000)
            .then_some((self.0 / 10_000) as u8)
    }

    pub(crate) fn parse(text: &str) -> Result<Percent, String> {
        let mend = || {
            format!(
                "invalid share `{text}`: write a number from 0 to 100 and %, such as \"2%\" or \"0.5%\""
            )
        };
        let number = text.strip_suffix('%').ok_or_else(mend)?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || whole.len() > 3 {
            return Err(mend());
        }
        if fraction.len() > 4 {
            return Err(format!(
                "invalid share `{text}`: at most four decimal places"
            ));
        }
        let parts: u32 = format!("{whole}{fraction:0<4}")
            .parse()
            .map_err(|_| mend())?;
        if parts > 1_000_000 {
            Err(mend())
        } else {
            Ok(Percent(parts))
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 1e4)
    }
}

/// A span of virtual time, as the file writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    fn parse(text: &str) -> Result<Span, String> {
        const UNITS: [(&str, u64); 5] = [
            ("ms", 1),
            ("s", 1000),
            ("m", 60_000),
            ("h", 3_600_000),
            ("d", 86_400_000),
        ];
        let mend = || {
            format!(
                "invalid duration `{text}`: write whole numbers with ms, s, m, h or d, such as \"8h\" or \"1h 30m\""
            )
        };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(mend());
        }
        let mut total_ms = 0u64;
        let mut smallest_so_far = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(mend)?;
            let number: u64 = rest[..digits].parse().map_err(|_| mend())?;
            let after = rest[digits..].trim_start();
            let letters = after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len());
            let (_, unit_ms) = UNITS
                .iter()
                .find(|(name, _)| *name == &after[..letters])
                .ok_or_else(mend)?;
            if *unit_ms >= smallest_so_far {
                return Err(mend());
            }
            smallest_so_far = *unit_ms;
            let part = number
                .checked_mul(*unit_ms)
                .and_then(|ms| total_ms.checked_add(ms));
            total_ms = part.ok_or_else(|| format!("invalid duration `{text}`: too long"))?;
            rest = after[letters..].trim_start();
        }
        Ok(Span(Duration::from_millis(total_ms)))
    }
}

/// A rate of data, in bytes for each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

impl Rate {
    fn parse(text: &str) -> Result<Rate, String> {
        let mend = || {
            format!(
                "invalid rate `{text}`: write a whole number with kB/s or MB/s, such as \"64 kB/s\""
            )
        };
        let units = [("kB/s", 1_000), ("MB/s", 1_000_000)];
        let (number, unit) = units
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
            .ok_or_else(mend)?;
        let number: u64 = number.parse().map_err(|_| mend())?;
        let rate = number.checked_mul(unit).filter(|rate| *rate > 0);
        rate.map(Rate).ok_or_else(mend)
    }
}

/// Reads a duration as scenario files write it, such as `1h 30m`; the error says how.
pub fn duration(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|span| span.0)
}

/// Reads a quantity from a string; anything else is refused with the same advice.
macro_rules! quantity {
    ($type:ty, $expecting:literal, $name:literal, $pattern:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expecting, "pattern": $pattern })
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        <$type>::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

quantity!(
    Sno,
    "an amount such as \"200 SNO\"",
    "Amount",
    r"^[0-9]+(\.[0-9]{1,18})? ?SNO$"
);
quantity!(
    Ether,
    "an amount such as \"2 ETH\"",
    "Ether",
    r"^[0-9]+(\.[0-9]{1,18})? ?ETH$"
);
quantity!(
    Percent,
    "a share such as \"2%\"",
    "Share",
    r"^[0-9]{1,3}(\.[0-9]{1,4})? ?%$"
);
quantity!(
    Span,
    "a duration such as \"8h\" or \"30s\"",
    "Duration",
    r"^([0-9]+ ?d ?)?([0-9]+ ?h ?)?([0-9]+ ?m ?)?([0-9]+ ?s ?)?([0-9]+ ?ms)?$"
);
quantity!(
    Rate,
    "a rate such as \"64 kB/s\"",
    "Rate",
    r"^[0-9]+ ?[kM]B/s$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_from_large_units_to_small() {
        let parse = |s| Span::parse(s).map(|s| s.0);
        assert_eq!(parse("8h"), Ok(Duration::from_secs(28_800)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse("1d2h3m4s5ms"), Ok(Duration::from_millis(93_784_005)));
        for bad in [
            "",
            "8",
            "h",
            "8 parsecs",
            "30m 1h",
            "1h1h",
            "-1s",
            "1.5h",
            "99999999999999999999s",
            "99999999999999d",
        ] {
            assert!(Span::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn amounts_are_exact_to_the_wei() {
        assert_eq!(
            Sno::parse("200 SNO").map(Sno::wei),
            Ok(200 * 10u128.pow(18))
        );
        assert_eq!(Sno::parse("0.000000000000000001 SNO").map(Sno::wei), Ok(1));
        assert_eq!(
            Sno::parse("1.5SNO").map(|s| s.to_string()),
            Ok("1.5 SNO".to_owned())
        );
        for bad in [
            "200",
            "SNO",
            "-1 SNO",
            "1. SNO",
            ".5 SNO",
            "0.0000000000000000001 SNO",
            "1e3 SNO",
            "2 ETH",
        ] {
            assert!(Sno::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Sno::parse("999999999999999999999999 SNO").is_err());
        assert_eq!(
            Ether::parse("0.5 ETH").map(|e| (e.wei(), e.to_string())),
            Ok((5 * 10u128.pow(17), "0.5 ETH".to_owned()))
        );
        assert!(Ether::parse("1 SNO").is_err());
    }

    #[test]
    fn rates_have_a_unit_and_are_above_nothing() {
        assert_eq!(Rate::parse("64 kB/s"), Ok(Rate(64_000)));
        assert_eq!(Rate::parse("2MB/s"), Ok(Rate(2_000_000)));
        for bad in [
            "64",
            "0 kB/s",
            "1 GB/s",
            "-1 kB/s",
            "1.5 MB/s",
            "99999999999999999999 kB/s",
        ] {
            assert!(Rate::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn shares_stay_between_nothing_and_all() {
        assert_eq!(Percent::parse("2%").map(Percent::probability), Ok(0.02));
        assert_eq!(Percent::parse("100%").map(|p| p.whole()), Ok(Some(100)));
        assert_eq!(Percent::parse("0.5 %").map(|p| p.whole()), Ok(None));
        for bad in ["2", "%", "101%", "-1%", "100.0001%", "1.23456%"] {
            assert!(Percent::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
