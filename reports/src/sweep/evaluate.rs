//! What the runs of a sweep say.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::DataFrame;
use serde_json::Value;

use super::{Run, Side, Sweep, SweepError};
use crate::{
    document::Picture,
    picture::{Axes, BLUE, Layer, Legend, chart},
    stats,
    table::{Cell, Kind, Table, column},
};

/// All runs of a scenario; of one with a limit, those on one side of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// How many do not play by the rules: of a scenario with a limit, those that it is about.
    pub adversaries: u64,
    /// The side of the limit; `None` where there is none.
    pub side: Option<Side>,
    /// Runs.
    pub runs: u64,
    /// Those in which everything held.
    pub held: u64,
    /// Those in which a state update was executed.
    pub with_updates: u64,
    /// Rounds opened.
    pub rounds_opened: u64,
    /// State updates executed.
    pub state_updates: u64,
    /// Jobs submitted, completed and failed.
    pub jobs: [u64; 3],
    /// Claims paid.
    pub claims: u64,
    /// Messages on the wire.
    pub messages: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Hosts of all runs together.
    pub hosts: u64,
    /// Virtual time, in seconds.
    pub virtual_seconds: f64,
    /// Time taken, in seconds.
    pub wall_seconds: f64,
    /// For each run with updates, its virtual hours for each.
    pub hours_per_update: Vec<f64>,
}

/// All runs that met a kind of fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultKind {
    /// The kind.
    pub name: String,
    /// Runs.
    pub runs: u64,
    /// Those in which something did not hold.
    pub violated: u64,
    /// For each run with updates, its virtual hours for each.
    pub hours_per_update: Vec<f64>,
}

/// Something that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The run's scenario, and beyond a limit how many are against it.
    pub label: String,
    /// The run's seed.
    pub seed: u64,
    /// The name of its case file without ending.
    pub case: String,
    /// What did not hold.
    pub what: String,
}

/// The runs of a frame that has the columns of a part.
pub(super) fn runs(frame: &DataFrame) -> Result<Vec<Run>, SweepError> {
    let text = |name: &str| Ok::<_, SweepError>(frame.column(name)?.str()?);
    let count = |name: &str| Ok::<_, SweepError>(frame.column(name)?.u64()?);
    let real = |name: &str| Ok::<_, SweepError>(frame.column(name)?.f64()?);
    let (scenario, trace_hash, outcome) =
        (text("scenario")?, text("trace_hash")?, text("outcome")?);
    let (violations, faults) = (text("violations")?, text("faults")?);
    let (seed, messages, bytes) = (count("seed")?, count("messages")?, count("bytes")?);
    let (updates, rounds) = (count("state_updates")?, count("rounds_opened")?);
    let (submitted, completed) = (count("jobs_submitted")?, count("jobs_completed")?);
    let (failed, claims) = (count("jobs_failed")?, count("claims")?);
    let (virtual_seconds, wall_seconds) = (real("virtual_seconds")?, real("wall_seconds")?);
    let hosts = frame.column("hosts")?.u32()?;
    let (adversaries, limit) = (frame.column("adversaries")?.u32()?, text("limit")?);
    let rows = (0..frame.height()).map(|row| {
        let words = |column: &polars::prelude::StringChunked| {
            column.get(row).unwrap_or_default().to_owned()
        };
        let number = |column: &polars::prelude::UInt64Chunked| column.get(row).unwrap_or_default();
        let (scenario, seed) = (words(scenario), number(seed));
        let refused = |column, value: &str, wanted| SweepError::Value {
            column,
            value: value.chars().take(60).collect(),
            scenario: scenario.clone(),
            seed,
            wanted,
        };
        let held = match outcome.get(row) {
            Some("held") => true,
            Some("violated") => false,
            other => {
                return Err(refused(
                    "outcome",
                    other.unwrap_or("nothing"),
                    "held or violated",
                ));
            }
        };
        let side = match limit.get(row).unwrap_or_default() {
            "" => None,
            "near" => Some(Side::Near),
            "far" => Some(Side::Far),
            other => return Err(refused("limit", other, "near, far or nothing")),
        };
        let list = |column, value: Option<&str>| {
            let value = value.unwrap_or_default();
            names(value).ok_or_else(|| refused(column, value, "a JSON list"))
        };
        let faults: BTreeSet<String> = list("faults", faults.get(row))?.into_iter().collect();
        Ok(Run {
            trace_hash: words(trace_hash),
            held,
            adversaries: adversaries.get(row).unwrap_or_default().into(),
            side,
            virtual_seconds: virtual_seconds.get(row).unwrap_or_default(),
            wall_seconds: wall_seconds.get(row).unwrap_or_default(),
            hosts: hosts.get(row).unwrap_or_default().into(),
            messages: number(messages),
            bytes: number(bytes),
            state_updates: number(updates),
            rounds_opened: number(rounds),
            jobs_submitted: number(submitted),
            jobs_completed: number(completed),
            jobs_failed: number(failed),
            claims: number(claims),
            violations: list("violations", violations.get(row))?,
            faults: faults.into_iter().collect(),
            scenario,
            seed,
        })
    });
    rows.collect()
}

/// What a JSON list names: its words, or of its objects what they call themselves. Nothing is an empty list.
fn names(json: &str) -> Option<Vec<String>> {
    if json.is_empty() {
        return Some(Vec::new());
    }
    let Ok(Value::Array(entries)) = serde_json::from_str(json) else {
        return None;
    };
    let name = |entry: Value| match entry {
        Value::String(text) => text,
        Value::Object(ref fields) => {
            let field = |key: &str| fields.get(key).and_then(Value::as_str);
            match (field("kind").or(field("invariant")), field("detail")) {
                (Some(name), Some(detail)) => format!("{name}: {detail}"),
                (Some(name), None) => name.to_owned(),
                (None, _) => entry.to_string(),
            }
        }
        other => other.to_string(),
    };
    Some(entries.into_iter().map(name).collect())
}

impl Run {
    /// What no two runs of a sweep have in common.
    pub(super) fn key(&self) -> (&str, Option<Side>, u64, u64) {
        (&self.scenario, self.side, self.adversaries, self.seed)
    }

    /// Its scenario, and beyond a limit how many are against it: what rows of tables are called.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.scenario, self.side, self.adversaries)
    }

    /// The name of its case file without ending, as sweeps name it.
    #[must_use]
    pub fn case(&self) -> String {
        let beyond = match self.side {
            Some(Side::Far) => format!("-{}", self.adversaries),
            _ => String::new(),
        };
        format!("{}-{}{beyond}", self.scenario, self.seed)
    }

    /// Whether an invariant of this name is among what did not hold.
    #[must_use]
    pub fn broke(&self, invariant: &str) -> bool {
        let name = |what: &String| what.split(':').next() == Some(invariant);
        self.violations.iter().any(name)
    }

    /// Virtual hours for each state update; none without one.
    fn hours_per_update(&self) -> Option<f64> {
        (self.state_updates > 0).then(|| self.virtual_seconds / 3_600.0 / self.state_updates as f64)
    }
}

impl Scenario {
    /// Its name, and beyond a limit how many are against it.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.name, self.side, self.adversaries)
    }
}

fn label(scenario: &str, side: Option<Side>, adversaries: u64) -> String {
    match side {
        None => scenario.to_owned(),
        Some(_) if adversaries == 1 => format!("{scenario}, 1 adversary"),
        Some(_) => format!("{scenario}, {adversaries} adversaries"),
    }
}

impl Sweep {
    /// The scenarios, in the order of their names; one with a limit once for each side of it.
    #[must_use]
    pub fn by_scenario(&self) -> Vec<Scenario> {
        let mut scenarios: BTreeMap<(&str, Option<Side>, u64), Scenario> = BTreeMap::new();
        for run in self.runs() {
            let key = (run.scenario.as_str(), run.side, run.adversaries);
            let of = scenarios.entry(key).or_default();
            of.name.clone_from(&run.scenario);
            of.side = run.side;
            of.adversaries = run.adversaries;
            of.runs += 1;
            of.held += u64::from(run.held);
            of.with_updates += u64::from(run.state_updates > 0);
            of.rounds_opened += run.rounds_opened;
            of.state_updates += run.state_updates;
            of.jobs[0] += run.jobs_submitted;
            of.jobs[1] += run.jobs_completed;
            of.jobs[2] += run.jobs_failed;
            of.claims += run.claims;
            of.messages += run.messages;
            of.bytes += run.bytes;
            of.hosts += run.hosts;
            of.virtual_seconds += run.virtual_seconds;
            of.wall_seconds += run.wall_seconds;
            of.hours_per_update.extend(run.hours_per_update());
        }
        scenarios.into_values().collect()
    }

    /// The kinds of faults, in the order of their names; runs without any are under `none`. Those beyond a limit are not
    /// counted: something had to break in them, whatever struck.
    #[must_use]
    pub fn by_fault(&self) -> Vec<FaultKind> {
        let mut kinds: BTreeMap<&str, FaultKind> = BTreeMap::new();
        let counted = self.runs().iter().filter(|run| run.side != Some(Side::Far));
        for run in counted {
            let met: Vec<&str> = match run.faults.as_slice() {
                [] => vec!["none"],
                faults => faults.iter().map(String::as_str).collect(),
            };
            for name in met {
                let of = kinds.entry(name).or_default();
                of.name = name.to_owned();
                of.runs += 1;
                of.violated += u64::from(!run.held);
                of.hours_per_update.extend(run.hours_per_update());
            }
        }
        kinds.into_values().collect()
    }

    /// All that did not hold.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let violated = self.runs().iter().filter(|run| !run.held);
        let all = violated.flat_map(|run| {
            let what = match run.violations.as_slice() {
                [] => vec!["not told".to_owned()],
                violations => violations.to_vec(),
            };
            what.into_iter().map(|what| Violation {
                label: run.label(),
                seed: run.seed,
                case: run.case(),
                what,
            })
        });
        all.collect()
    }

    /// Time to an update by the kinds of faults, which are those of latency, loss and churn where runs met them.
    pub fn time_to_update(&self) -> Result<(Table, Picture), SweepError> {
        let hours = Kind::Real { decimals: 2 };
        let mut table = Table::new(
            "consensus-time",
            "Virtual hours for each state update by kind of fault, with 95 % intervals",
            vec![
                column("fault", "kind of fault", Kind::Text),
                column("runs", "runs", Kind::Count),
                column("with_updates", "runs with updates", Kind::Count),
                column("hours", "hours for an update", hours),
                column("low_hours", "from", hours),
                column("high_hours", "to", hours),
            ],
        );
        let mut points = Vec::new();
        let kinds = self.by_fault();
        for (place, kind) in kinds.iter().enumerate() {
            let mean = stats::mean(&kind.hours_per_update);
            table.push([
                kind.name.clone().into(),
                kind.runs.into(),
                (kind.hours_per_update.len() as u64).into(),
                mean.map(|(mean, _)| mean).into(),
                mean.map(|(mean, half)| mean - half).into(),
                mean.map(|(mean, half)| mean + half).into(),
            ]);
            if let Some((mean, half)) = mean {
                points.push((place as f64 + 1.0, mean, mean - half, mean + half));
            }
        }
        let title = "Time to a state update by kind of fault";
        let axes = Axes {
            title,
            x: "kind of fault (row of the table)",
            y: "virtual time (hours for an update)",
            x_range: (0.5, kinds.len() as f64 + 0.5),
            y_range: None,
            y_decimals: 1,
            legend: Legend::LowerRight,
        };
        let layers = [Layer::Points {
            label: "mean with 95 % interval",
            color: BLUE,
            points,
        }];
        let picture = Picture {
            name: "consensus-time",
            title: title.to_owned(),
            caption: "Each point is the mean over the runs that met a kind of fault, in the order of the table below. Runs meet \
                      several kinds, so that a point also shows what comes with it."
                .to_owned(),
            svg: chart(&axes, &layers)?,
        };
        Ok((table, picture))
    }
}

/// A share as cells: per cent, and both ends of its interval.
pub(crate) fn share(part: u64, all: u64) -> [Cell; 3] {
    if all == 0 {
        return [Cell::Empty, Cell::Empty, Cell::Empty];
    }
    let (low, high) = stats::wilson(part, all);
    [part as f64 / all as f64, low, high].map(|share| Cell::Real(100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lists_are_read_by_what_they_name() {
        let list = r#"["loss", {"kind": "partition", "at": 3}, {"invariant": "supply", "detail": "a wei"}, {}]"#;
        let expected = ["loss", "partition", "supply: a wei", "{}"].map(str::to_owned);
        assert_eq!(names(list), Some(expected.to_vec()));
        assert_eq!(names(""), Some(Vec::new()));
        assert_eq!(names("[]"), Some(Vec::new()));
        assert_eq!(names("{}"), None);
        assert_eq!(names("loss"), None);
    }
}
