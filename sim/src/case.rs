//! Case files: all that it takes to see a failure again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smartnodes_scenarios::{
    Direction, FaultKind, HostName, LimitError, PartitionStyle, Scenario, ScenarioError, Unsynced,
};
use toml::{Table, Value};

use crate::faults::{self, Place, Start, Strike};
use crate::identity::Identity;
use crate::reason::Reason;
use crate::sweep::ChildError;
use crate::violation::Violation;

/// A failure that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The scenario file in which it was found.
    pub found_in: String,
    /// The scenario, with every fault as the seed drew it: a later change of what is drawn does not lose the case.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// What was run: contracts, dependencies, toolchain.
    pub build: String,
    /// Why it failed.
    #[serde(flatten)]
    pub reason: Reason,
    /// The violation itself, the first of all.
    #[serde(flatten)]
    pub seen: Sight,
    /// Of a case that has been made smaller: the identity of the one that it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk_from: Option<String>,
}

/// What a violation looked like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// What was seen.
    pub detail: String,
    /// When, in virtual seconds from the start.
    pub virtual_seconds: f64,
    /// On which hosts.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What happened last before it.
    #[serde(default)]
    pub last_events: Vec<String>,
}

impl Sight {
    /// Of a process that left no record.
    pub fn of_process(error: &ChildError) -> Sight {
        Sight {
            detail: error.to_string(),
            ..Sight::default()
        }
    }
}

impl From<Violation> for Sight {
    fn from(violation: Violation) -> Sight {
        Sight {
            detail: violation.detail,
            virtual_seconds: violation.virtual_seconds,
            hosts: violation.hosts,
            last_events: violation.last_events,
        }
    }
}

/// Why a case cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file cannot be read or written.
    #[error("cannot use the case file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{} is no case file: {source}; give one that `sweep` has written", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The scenario in it.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The number of adversaries.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The scenario cannot be written again.
    #[error("cannot write the scenario with its faults: {0}")]
    Text(String),
}

impl Case {
    /// The case of a run of the scenario in `text`, as it was varied, that failed.
    pub fn new(
        found_in: &str,
        text: &str,
        seed: u64,
        reason: Reason,
        seen: Sight,
    ) -> Result<Case, CaseError> {
        let scenario = Scenario::parse(found_in, text)?;
        let mut table: Table = parse(text)?;
        let strikes = faults::schedule(&scenario, seed);
        if table.remove("swarm").is_some() {
            // Struck by a swarm, a scenario is not about what it expects to see.
            table.remove("expect");
        }
        let drawn: Vec<Value> = strikes.iter().map(|s| Value::Table(written(s))).collect();
        table.insert("fault".to_owned(), Value::Array(drawn));
        Ok(Case {
            found_in: found_in.to_owned(),
            scenario: text_of(&table)?,
            seed,
            build: Identity::of(text).to_string(),
            reason,
            seen,
            shrunk_from: None,
        })
    }

    /// Names this case among all: where it was found, the scenario, the seed, and why it failed.
    pub fn identity(&self) -> String {
        let reason = self.reason.to_string();
        let parts = [&self.found_in, &self.scenario, &reason];
        let mut hasher = Sha256::new();
        hasher.update(self.seed.to_be_bytes());
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        format!("{:x}", hasher.finalize())
    }

    /// Reads a case file.
    pub fn load(path: &Path) -> Result<Case, CaseError> {
        #[allow(
            clippy::disallowed_methods,
            reason = "case files are read before a run, from the real disk"
        )]
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| CaseError::File {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| CaseError::Format {
            path: path.to_owned(),
            source,
        })
    }

    /// Writes the case into a file.
    pub fn save(&self, path: &Path) -> Result<(), CaseError> {
        let failed = |source| CaseError::File {
            path: path.to_owned(),
            source,
        };
        let mut text =
            serde_json::to_string_pretty(self).map_err(|source| failed(source.into()))?;
        text.push('\n');
        write(path, &text).map_err(failed)
    }
}

/// Writes a file that belongs to no run.
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    #[allow(
        clippy::disallowed_methods,
        reason = "written outside of any run, to the real disk"
    )]
    std::fs::write(path, text)
}

/// A scenario's text as a table.
pub(crate) fn parse(text: &str) -> Result<Table, CaseError> {
    text.parse()
        .map_err(|e: toml::de::Error| CaseError::Text(e.to_string()))
}

/// A table as a scenario's text.
pub(crate) fn text_of(table: &Table) -> Result<String, CaseError> {
    toml::to_string(table).map_err(|error| CaseError::Text(error.to_string()))
}

/// A strike as a scenario file writes it.
fn written(strike: &Strike) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Value| drop(table.insert(key.to_owned(), value));
    put("kind", kind_name(&strike.kind).into());
    if !strike.places.is_empty() {
        put("hosts", names(strike.places.iter()));
    }
    match &strike.start {
        Start::At(at) => put("at", span(*at)),
        Start::Round { number, after } => {
            put("round", (*number as i64).into());
            put("after", span(*after));
        }
        Start::Point { point, pass, by } => {
            put("point", point.clone().into());
            put("pass", (*pass as i64).into());
            if let Some(by) = by {
                put("by_host", HostName::to_string(by).into());
            }
        }
    }
    if let Some(endpoint) = strike.endpoint {
        put("endpoint", (endpoint as i64).into());
    }
    if strike.may_miss {
        put("may_miss", true.into());
    }
    match strike.kind {
        FaultKind::Reset { .. } | FaultKind::Reorg { .. } | FaultKind::TimeJump { .. } => {}
        FaultKind::Crash { .. }
        | FaultKind::RestartLoop { .. }
        | FaultKind::BitFlip
        | FaultKind::DiskLost => {
            put("down_for", span(strike.lasts));
        }
        _ => put("lasts", span(strike.lasts)),
    }
    match &strike.kind {
        FaultKind::Crash {
            unsynced: Unsynced::Torn,
        } => put("unsynced", "torn".into()),
        FaultKind::RestartLoop { times, .. } => {
            put("times", i64::from(*times).into());
            put("up_for", span(strike.up_for));
        }
        FaultKind::Partition {
            style, direction, ..
        } => {
            let style = match style {
                PartitionStyle::Silent => "silent",
                PartitionStyle::Loud => "loud",
            };
            let direction = match direction {
                Direction::Both => "both",
                Direction::In => "in",
                Direction::Out => "out",
            };
            put("style", style.into());
            put("direction", direction.into());
            put("against", names(strike.against.iter()));
        }
        FaultKind::Reset { .. } => put("against", names(strike.against.iter())),
        FaultKind::Link {
            latency,
            loss,
            bandwidth,
            ..
        } => {
            put("against", names(strike.against.iter()));
            if let Some(latency) = latency {
                let mut range = Table::new();
                range.insert("from".to_owned(), span(latency.min));
                range.insert("to".to_owned(), span(latency.max));
                put("latency", Value::Table(range));
            }
            if let Some(loss) = loss {
                put("loss", loss.to_string().into());
            }
            if let Some(bandwidth) = bandwidth {
                put("bandwidth", format!("{} kB/s", bandwidth / 1_000).into());
            }
        }
        FaultKind::DiskSlow { sync_takes } => put("sync_takes", span(*sync_takes)),
        FaultKind::InclusionDelay { by }
        | FaultKind::ReorderTransactions { by }
        | FaultKind::TimestampDrift { by }
        | FaultKind::TimeJump { by } => {
            put("by", span(*by));
        }
        FaultKind::ClockSkew { by, behind } | FaultKind::ClockDrift { by, behind } => {
            put("by", span(*by));
            put("behind", (*behind).into());
        }
        FaultKind::DropTransactions { share } => put("share", share.to_string().into()),
        FaultKind::Reorg { depth, forgets } => {
            put("depth", (*depth as i64).into());
            put("forgets", (*forgets).into());
        }
        FaultKind::FeeSpike { times } => put("times", i64::from(*times).into()),
        _ => {}
    }
    table
}

/// The name in files, where a torn write is a way to crash.
fn kind_name(kind: &FaultKind) -> &'static str {
    match kind {
        FaultKind::Crash { .. } => "crash",
        other => other.name(),
    }
}

fn names<'a>(places: impl Iterator<Item = &'a Place>) -> Value {
    let names = places.map(|place| Value::String(place.to_string()));
    Value::Array(names.collect())
}

fn span(time: Duration) -> Value {
    if time == Duration::MAX {
        return "forever".into();
    }
    format!("{}ms", time.as_millis()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::Variant;

    const SWARM: &str = r#"
name = "swarm"
summary = "All kinds"
updates = 1
deadline = "9h"
[[validator]]
count = 3
[[worker]]
count = 2
[[fault]]
kind = "partition"
hosts = ["any validator", "any validator"]
at = { from = "1h", to = "2h" }
lasts = "10m"
[[fault]]
kind = "crash"
unsynced = "torn"
host = "any"
point = "vote/sent"
down_for = { from = "1s", to = "1m" }
[swarm]
most = 40
from = "1m"
to = "2h"
longest = "20m"
"#;

    fn case(found_in: &str, text: &str, seed: u64) -> Case {
        let reason = Reason {
            invariant: "supply".to_owned(),
            ..Reason::default()
        };
        Case::new(found_in, text, seed, reason, Sight::default()).expect("a good scenario")
    }

    #[test]
    fn cases_of_other_seeds_reasons_and_places_are_others() {
        let one = case("swarm.toml", SWARM, 1);
        assert_eq!(one.identity(), case("swarm.toml", SWARM, 1).identity());
        let mut reason = one.clone();
        reason.reason.kind = Some("late".to_owned());
        let others = [
            case("swarm.toml", SWARM, 2),
            case("other.toml", SWARM, 1),
            reason,
        ];
        for other in others {
            assert_ne!(one.identity(), other.identity(), "{other:?}");
        }
    }

    #[test]
    fn a_case_strikes_as_its_seed_did() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let case = case("swarm.toml", SWARM, seed);
            let drawn = Scenario::parse("swarm.toml", SWARM).expect("a good scenario");
            let again = Scenario::parse("case", &case.scenario)
                .unwrap_or_else(|error| panic!("{error}\n{}", case.scenario));
            let (drawn, again) = (
                faults::schedule(&drawn, seed),
                // Nothing is left to the seed.
                faults::schedule(&again, seed + 1),
            );
            assert_eq!(drawn.len(), again.len());
            for (drawn, again) in drawn.iter().zip(&again) {
                kinds.insert(drawn.kind.name());
                assert_eq!(drawn.start, again.start);
                assert_eq!(drawn.places, again.places);
                assert_eq!((drawn.lasts, drawn.up_for), (again.lasts, again.up_for));
                assert_eq!(drawn.may_miss, again.may_miss);
                assert_eq!(drawn.kind.name(), again.kind.name());
                let concerns_others = matches!(
                    drawn.kind,
                    FaultKind::Partition { .. } | FaultKind::Reset { .. } | FaultKind::Link { .. }
                );
                if concerns_others {
                    assert_eq!(drawn.against, again.against);
                }
            }
        }
        assert_eq!(
            kinds.len(),
            smartnodes_scenarios::SwarmKind::ALL.len(),
            "{kinds:?}"
        );
    }

    #[test]
    fn a_case_from_beyond_a_limit_stays_there() {
        let text = r#"
name = "line"
summary = "Two sides"
updates = 0
deadline = "9h"
worker = [{ count = 1 }]
validator = [{ count = 3 }, { count = 1, behaviour = "silent" }]
[limit]
behaviour = "silent"
holds = 1
fails = 2
invariants = ["ends-in-time"]
"#;
        let far = Variant {
            adversaries: Some(2),
            swarm: false,
        };
        let (text, _) = far.of("line.toml", text, 1).expect("a good scenario");
        let case = case("line.toml", &text, 1);
        let again = Scenario::parse("case", &case.scenario).expect("it reads back");
        assert_eq!(again.adversaries(), 2);
        assert_eq!(again.side(), Some(smartnodes_scenarios::Side::Far));
    }
}
