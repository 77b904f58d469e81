//! Amounts of SNO as people write them.

use std::{fmt, str::FromStr};

use alloy::primitives::{
    U256,
    utils::{format_units, parse_units},
};

/// Decimals of SNO.
const DECIMALS: u8 = 18;

/// An amount of SNO, in wei. Written `50 SNO`, `0.5 SNO`, `50` or `1000 wei`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sno(pub(super) U256);

impl FromStr for Sno {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is no amount; write for example \"50 SNO\", \"0.5 SNO\" or \"1000 wei\""
            )
        };
        let (number, decimals) = match text.trim().split_once(char::is_whitespace) {
            None => (text.trim(), DECIMALS),
            Some((number, unit)) if unit.trim().eq_ignore_ascii_case("sno") => (number, DECIMALS),
            Some((number, unit)) if unit.trim().eq_ignore_ascii_case("wei") => (number, 0),
            Some(_) => return Err(expected()),
        };
        let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction);
        let digits = number.chars().filter(|c| *c != '.');
        if number.is_empty() || !digits.clone().all(|c| c.is_ascii_digit()) || digits.count() == 0 {
            return Err(expected());
        }
        if fraction.len() > usize::from(decimals) {
            return Err(format!("{text:?} has more than {decimals} decimals"));
        }
        match parse_units(number, decimals) {
            Ok(units) => Ok(Sno(units.get_absolute())),
            Err(_) => Err(expected()),
        }
    }
}

impl fmt::Display for Sno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = format_units(self.0, DECIMALS).unwrap_or_else(|_| self.0.to_string());
        let trimmed = exact.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{} SNO", if trimmed.is_empty() { "0" } else { trimmed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_wei() {
        let read = |text: &str| text.parse::<Sno>().map(|sno| sno.0);
        let sno = U256::from(10).pow(U256::from(18));
        assert_eq!(read("50 SNO"), Ok(U256::from(50) * sno));
        assert_eq!(read(" 50 sno "), Ok(U256::from(50) * sno));
        assert_eq!(read("50"), Ok(U256::from(50) * sno));
        assert_eq!(read("0.5"), Ok(sno / U256::from(2)));
        assert_eq!(read("0.000000000000000001 SNO"), Ok(U256::from(1)));
        assert_eq!(read("1000 wei"), Ok(U256::from(1000)));
        for bad in [
            "",
            "SNO",
            "-1",
            "1.5 wei",
            "1 ETH",
            "1e3",
            "0x10",
            ".",
            "1.2.3",
            "0.0000000000000000001",
            "+5",
            "1_000",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&"9".repeat(90)).is_err());
    }

    #[test]
    fn amounts_are_written_as_they_are_read() {
        for text in [
            "50 SNO",
            "0.5 SNO",
            "0 SNO",
            "1000000 SNO",
            "0.000000000000000001 SNO",
        ] {
            assert_eq!(text.parse::<Sno>().unwrap().to_string(), text);
        }
    }
}
