//! What is assumed: the parameters of a report, typed and bounded.

use std::fmt::{self, Write};

use thiserror::Error;

/// Hours of a year of 365 days.
const HOURS_PER_YEAR: u64 = 365 * 24;

/// A parameter. Its value is kept as a whole number, in units of its last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Hours between two state updates.
    IntervalHours,
    /// Validators at genesis, and seats that are filled again.
    Validators,
    /// Workers that share the workers' income equally.
    Workers,
    /// Emission in the first era for eight hours, in SNO.
    EmissionPer8h,
    /// By how much emission falls from era to era, in per cent.
    Reduction,
    /// Emission for eight hours below which it never falls, in SNO.
    TailPer8h,
    /// Periods without a state update, in per cent.
    Missed,
    /// State updates in which nobody worked, in per cent.
    Idle,
    /// Votes that a validator does not cast, in per cent.
    Absent,
    /// Payments for jobs in an update's period, in SNO.
    PaidJobs,
    /// Validators slashed in a year.
    Slashings,
    /// What a slashed validator loses, in SNO.
    Slashed,
    /// Workers' rewards that nobody ever claims, in per cent.
    Unclaimed,
    /// What a validator costs in a year, in US dollars.
    ValidatorCost,
    /// What a worker costs in a year, in US dollars.
    WorkerCost,
    /// What one SNO is sold for, in US dollars.
    Price,
}

/// How a parameter is written.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The parameter.
    pub key: Key,
    /// Its name on the command line, with its unit last.
    pub name: &'static str,
    /// Places behind the point.
    pub decimals: u32,
    /// Smallest value, in units of the last place.
    pub min: u64,
    /// Largest value, in units of the last place.
    pub max: u64,
    /// Value if none is given, in units of the last place.
    pub default: u64,
    /// What it means, for people.
    pub meaning: &'static str,
}

const fn spec(
    key: Key,
    name: &'static str,
    decimals: u32,
    (min, max, default): (u64, u64, u64),
    meaning: &'static str,
) -> Spec {
    Spec {
        key,
        name,
        decimals,
        min,
        max,
        default,
        meaning,
    }
}

/// All parameters. The launch values of the contracts are the defaults of what the contracts have; the others are
/// assumptions to be replaced.
pub const SPECS: [Spec; 16] = [
    spec(
        Key::IntervalHours,
        "interval-hours",
        0,
        (1, 219, 8),
        "hours between two state updates; divides the 8,760 hours of a year",
    ),
    spec(
        Key::Validators,
        "validators",
        0,
        (1, 100, 3),
        "validators at genesis; in trials, seats that are filled again after a slashing",
    ),
    spec(
        Key::Workers,
        "workers",
        0,
        (1, 1_000_000, 100),
        "workers that share the workers' income equally",
    ),
    spec(
        Key::EmissionPer8h,
        "emission-per-8h-sno",
        0,
        (1, 1_000_000, 45_000),
        "what if: emission of the first year for 8 hours",
    ),
    spec(
        Key::Reduction,
        "reduction-percent",
        0,
        (0, 100, 40),
        "what if: by how much emission falls each year",
    ),
    spec(
        Key::TailPer8h,
        "tail-per-8h-sno",
        0,
        (0, 1_000_000, 3_360),
        "what if: emission for 8 hours below which it never falls",
    ),
    spec(
        Key::Missed,
        "missed-percent",
        2,
        (0, 5_000, 100),
        "trials: periods without a state update, on average",
    ),
    spec(
        Key::Idle,
        "idle-percent",
        2,
        (0, 10_000, 100),
        "trials: state updates in which nobody worked, on average",
    ),
    spec(
        Key::Absent,
        "absent-percent",
        2,
        (0, 2_500, 500),
        "trials: votes that a validator does not cast, on average",
    ),
    spec(
        Key::PaidJobs,
        "paid-jobs-sno",
        0,
        (0, 1_000_000, 500),
        "trials: payments for jobs in the period of an update, on average",
    ),
    spec(
        Key::Slashings,
        "slashings-per-year",
        2,
        (0, 10_000, 50),
        "trials: validators slashed in a year, on average",
    ),
    spec(
        Key::Slashed,
        "slashed-sno",
        0,
        (1, 1_000_000, 250_000),
        "trials: what a slashed validator loses",
    ),
    spec(
        Key::Unclaimed,
        "unclaimed-percent",
        2,
        (0, 10_000, 200),
        "trials: workers' rewards that nobody ever claims, on average",
    ),
    spec(
        Key::ValidatorCost,
        "validator-cost-usd",
        0,
        (0, 1_000_000_000, 1_200),
        "what a validator costs in a year",
    ),
    spec(
        Key::WorkerCost,
        "worker-cost-usd",
        0,
        (0, 1_000_000_000, 2_400),
        "what a worker costs in a year",
    ),
    spec(
        Key::Price,
        "price-usd",
        6,
        (0, 1_000_000_000_000, 10_000),
        "what one SNO is sold for",
    ),
];

/// A parameter that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParamError {
    /// Not a pair.
    #[error("--param {0:?} is not KEY=VALUE: write for example --param validators=5")]
    NotAPair(String),
    /// No such parameter.
    #[error("--param {0:?}: there is no such parameter: use one of {known}", known = names())]
    Unknown(String),
    /// The same parameter more than once.
    #[error("--param {0} is given twice: remove one")]
    Twice(&'static str),
    /// Not a number, or one with too many places.
    #[error("--param {name}: {text:?} is not {wanted}")]
    NotANumber {
        /// The parameter.
        name: &'static str,
        /// What was given.
        text: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Too small or too large.
    #[error("--param {name}: {value} is out of bounds: use {min} to {max}")]
    OutOfBounds {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// The smallest.
        min: String,
        /// The largest.
        max: String,
    },
    /// A year must have a whole number of periods.
    #[error(
        "--param interval-hours: a year of 8760 hours is not a whole number of periods of {0} hours: use for example 1, 4, 6, 8, 12 or 24"
    )]
    Interval(u64),
    /// A tail above what it is the tail of.
    #[error(
        "--param tail-per-8h-sno: {tail} is more than emission-per-8h-sno, {emission}: lower the first or raise the second"
    )]
    Tail {
        /// The tail.
        tail: u64,
        /// The first year's emission.
        emission: u64,
    },
}

fn names() -> String {
    SPECS.map(|spec| spec.name).join(", ")
}

/// The parameters of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    values: [u64; SPECS.len()],
}

impl Default for Params {
    fn default() -> Self {
        Self {
            values: SPECS.map(|spec| spec.default),
        }
    }
}

impl Params {
    /// The defaults, with these `KEY=VALUE` in their place.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, ParamError> {
        let mut params = Self::default();
        let mut given = [false; SPECS.len()];
        for pair in pairs {
            let (name, text) = pair
                .split_once('=')
                .ok_or_else(|| ParamError::NotAPair(pair.to_owned()))?;
            let place = SPECS
                .iter()
                .position(|spec| spec.name == name)
                .ok_or_else(|| ParamError::Unknown(name.to_owned()))?;
            if std::mem::replace(&mut given[place], true) {
                return Err(ParamError::Twice(SPECS[place].name));
            }
            params.values[place] = SPECS[place].parse(text)?;
        }
        let interval = params.interval_hours();
        if !HOURS_PER_YEAR.is_multiple_of(interval) {
            return Err(ParamError::Interval(interval));
        }
        let (tail, emission) = (params.get(Key::TailPer8h), params.get(Key::EmissionPer8h));
        if tail > emission {
            return Err(ParamError::Tail { tail, emission });
        }
        Ok(params)
    }

    /// A parameter, in units of its last place.
    #[must_use]
    pub fn get(&self, key: Key) -> u64 {
        self.values[key as usize]
    }

    /// The same parameters with another value, in units of the last place, held within its bounds.
    #[must_use]
    pub fn with(&self, key: Key, value: u64) -> Self {
        let mut params = self.clone();
        let spec = &SPECS[key as usize];
        params.values[key as usize] = value.clamp(spec.min, spec.max);
        params
    }

    /// A parameter as it is written.
    #[must_use]
    pub fn show(&self, key: Key) -> String {
        SPECS[key as usize].show(self.get(key))
    }

    /// A parameter as a real number, in its unit.
    #[must_use]
    pub fn real(&self, key: Key) -> f64 {
        self.get(key) as f64 / 10_f64.powi(SPECS[key as usize].decimals as i32)
    }

    /// Hours between two state updates.
    #[must_use]
    pub fn interval_hours(&self) -> u64 {
        self.get(Key::IntervalHours)
    }

    /// State updates in a year.
    #[must_use]
    pub fn updates_per_year(&self) -> u64 {
        HOURS_PER_YEAR / self.interval_hours()
    }

    /// Whether the schedule is that of the contracts.
    #[must_use]
    pub fn is_deployed_schedule(&self) -> bool {
        [Key::EmissionPer8h, Key::Reduction, Key::TailPer8h]
            .iter()
            .all(|key| self.get(*key) == SPECS[*key as usize].default)
    }

    /// The same parameters with the schedule of the contracts.
    #[must_use]
    pub fn with_deployed_schedule(&self) -> Self {
        [Key::EmissionPer8h, Key::Reduction, Key::TailPer8h]
            .iter()
            .fold(self.clone(), |params, key| {
                params.with(*key, SPECS[*key as usize].default)
            })
    }
}

impl fmt::Display for Params {
    /// What differs from the defaults, as it is given on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for spec in &SPECS {
            if self.get(spec.key) != spec.default {
                write!(f, " --param {}={}", spec.name, self.show(spec.key))?;
            }
        }
        Ok(())
    }
}

impl Spec {
    /// A value of this parameter as it is written.
    #[must_use]
    pub fn show(&self, value: u64) -> String {
        let unit = 10_u64.pow(self.decimals);
        let mut text = (value / unit).to_string();
        if !value.is_multiple_of(unit) {
            let width = self.decimals as usize;
            let _ = write!(text, ".{:0width$}", value % unit);
            text.truncate(text.trim_end_matches('0').len());
        }
        text
    }

    fn parse(&self, text: &str) -> Result<u64, ParamError> {
        let not_a_number = || ParamError::NotANumber {
            name: self.name,
            text: text.to_owned(),
            wanted: match self.decimals {
                0 => "a whole number",
                2 => "a number with at most 2 decimals",
                _ => "a number with at most 6 decimals",
            },
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let points_well = text.contains('.') != fraction.is_empty();
        if whole.is_empty()
            || !points_well
            || !is_plain(whole)
            || !is_plain(fraction)
            || fraction.len() > self.decimals as usize
        {
            return Err(not_a_number());
        }
        let places = self.decimals as usize;
        let value = format!("{whole}{fraction:0<places$}")
            .parse::<u64>()
            .ok()
            .filter(|value| (self.min..=self.max).contains(value));
        value.ok_or_else(|| ParamError::OutOfBounds {
            name: self.name,
            value: text.to_owned(),
            min: self.show(self.min),
            max: self.show(self.max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_its_own_place_and_its_default_within_its_bounds() {
        for (place, spec) in SPECS.iter().enumerate() {
            assert_eq!(spec.key as usize, place, "{}", spec.name);
            assert!(
                (spec.min..=spec.max).contains(&spec.default),
                "{}",
                spec.name
            );
            let text = format!("{}={}", spec.name, spec.show(spec.default));
            assert_eq!(
                Params::parse([text.as_str()]),
                Ok(Params::default()),
                "{text}"
            );
        }
        assert_eq!(Params::default().to_string(), "");
        assert_eq!(Params::default().updates_per_year(), 1_095);
    }

    #[test]
    fn values_are_read_to_their_last_place() {
        let params = Params::parse(["missed-percent=2.5", "price-usd=0.000001", "validators=7"])
            .expect("good");
        assert_eq!(params.get(Key::Missed), 250);
        assert_eq!(params.get(Key::Price), 1);
        assert_eq!(
            params.to_string(),
            " --param validators=7 --param missed-percent=2.5 --param price-usd=0.000001"
        );
        assert!((params.real(Key::Missed) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_the_mend() {
        let cases = [
            (vec!["validators"], "KEY=VALUE"),
            (
                vec!["speed=3"],
                "there is no such parameter: use one of interval-hours, validators",
            ),
            (vec!["validators=3", "validators=4"], "given twice"),
            (vec!["validators=x"], "not a whole number"),
            (vec!["validators=-1"], "not a whole number"),
            (vec!["validators=1.5"], "not a whole number"),
            (vec!["validators="], "not a whole number"),
            (vec!["missed-percent=1.234"], "at most 2 decimals"),
            (vec!["missed-percent=1."], "at most 2 decimals"),
            (vec!["missed-percent=50.01"], "out of bounds: use 0 to 50"),
            (vec!["validators=0"], "out of bounds: use 1 to 100"),
            (vec!["validators=99999999999999999999999"], "out of bounds"),
            (
                vec!["interval-hours=7"],
                "not a whole number of periods of 7",
            ),
            (
                vec!["tail-per-8h-sno=50000"],
                "more than emission-per-8h-sno, 45000",
            ),
        ];
        for (pairs, expected) in cases {
            let error = Params::parse(pairs.iter().copied())
                .expect_err("bad")
                .to_string();
            assert!(error.contains(expected), "{pairs:?}: {error}");
        }
    }
}
