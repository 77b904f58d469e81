//! Validators that the wire has cut off from all others: they must notice, and cast no vote.
//!
//! | invariant | what must hold |
//! | --- | --- |
//! | `isolated-casts-no-vote` | who has been cut off from all other validators for [`NOTICED_WITHIN`] neither votes nor proposes |
//! | `isolation-is-noticed` | who is cut off for [`ALARMED_WITHIN`], and not disturbed otherwise, raises the alarm |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smartnodes_scenarios::{HostName, Role, Scenario};

use crate::trace::{SIMULATOR, Seen, Trace};
use crate::violation::Violations;

/// A silent connection is given up after so long.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// A node looks seldom while nothing is due, and does not take fright at once.
const ALARMED_WITHIN: Duration = Duration::from_secs(300);

/// Watches validators and the partitions between them. Clones share what they have seen.
#[derive(Clone)]
pub struct Isolation(Arc<Mutex<State>>);

struct State {
    /// Those that play by the rules, and whether anything else has befallen each while it was cut off.
    watched: BTreeMap<HostName, Watched>,
    validators: BTreeSet<HostName>,
    partitions: Vec<Partition>,
    /// Faults of other kinds that are going on.
    others: usize,
    violations: Violations,
}

#[derive(Default)]
struct Watched {
    cut_off_since: Option<Duration>,
    is_disturbed: bool,
    has_alarmed: bool,
}

/// Which hosts hear nothing of which others now.
#[derive(PartialEq, Eq)]
struct Partition {
    these: String,
    those: String,
}

impl Partition {
    fn separates(&self, one: HostName, other: HostName) -> bool {
        let on = |side: &str, host: HostName| {
            let mut names = side.split(' ');
            names.any(|name| name.parse() == Ok(host))
        };
        (on(&self.these, one) && on(&self.those, other))
            || (on(&self.these, other) && on(&self.those, one))
    }
}

impl Isolation {
    /// For the validators of a scenario.
    pub fn new(scenario: &Scenario, violations: &Violations) -> Isolation {
        let hosts = scenario.hosts();
        let validators: BTreeSet<HostName> =
            hosts.filter(|host| host.role == Role::Validator).collect();
        let honest = validators
            .iter()
            .filter(|host| !scenario.validator_misdeeds.contains_key(host));
        Isolation(Arc::new(Mutex::new(State {
            watched: honest.map(|host| (*host, Watched::default())).collect(),
            validators,
            partitions: Vec::new(),
            others: 0,
            violations: violations.clone(),
        })))
    }

    /// Takes in an event of the trace.
    pub fn watch(&self, event: &Seen<'_>) {
        let text = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if event.host != SIMULATOR {
            if event.target.starts_with("smartnodes_node::round::")
                && let Ok(host) = event.host.parse()
            {
                state.told(host, event.message);
            }
            return;
        }
        let (Some(kind), Some(these)) = (text("kind"), text("hosts")) else {
            return;
        };
        let those = text("against").unwrap_or_default();
        let partition = || Partition {
            these: these.to_owned(),
            those: those.to_owned(),
        };
        match (kind, event.message) {
            ("partition", "fault") => {
                state.partitions.push(partition());
                state.look();
            }
            ("partition", "fault over") => {
                let over = partition();
                if let Some(place) = state.partitions.iter().position(|each| *each == over) {
                    state.partitions.swap_remove(place);
                }
                state.look();
            }
            (_, "fault") => state.disturb(),
            (_, "fault over") => state.others = state.others.saturating_sub(1),
            _ => {}
        }
    }
}

impl State {
    /// Sees who is cut off now, and judges those that were.
    fn look(&mut self) {
        let now = Trace::now();
        let (validators, partitions) = (&self.validators, &self.partitions);
        for (host, watched) in &mut self.watched {
            let mut others = validators.iter().filter(|other| *other != host).peekable();
            let is_cut_off = others.peek().is_some()
                && others.all(|other| partitions.iter().any(|p| p.separates(*host, *other)));
            let Some(since) = watched.cut_off_since else {
                watched.cut_off_since = is_cut_off.then_some(now);
                watched.is_disturbed = self.others > 0;
                continue;
            };
            if is_cut_off {
                continue;
            }
            let lasted = now.saturating_sub(since);
            if lasted >= NOTICED_WITHIN {
                // It was told when it cast one.
                self.violations.checked("isolated-casts-no-vote");
            }
            if lasted >= ALARMED_WITHIN && !watched.is_disturbed {
                let (alarmed, invariant) = (watched.has_alarmed, "isolation-is-noticed");
                self.violations.unless(alarmed, invariant, || {
                    format!("{host} was cut off for {lasted:?} and raised no alarm")
                });
            }
            watched.cut_off_since = None;
        }
    }

    /// Something else has happened, and whoever is cut off may have other worries.
    fn disturb(&mut self) {
        self.others += 1;
        for watched in self.watched.values_mut() {
            watched.is_disturbed |= watched.cut_off_since.is_some();
        }
    }

    fn told(&mut self, host: HostName, message: &str) {
        let Some(watched) = self.watched.get_mut(&host) else {
            return;
        };
        // It may have been on its own before, and told so then.
        if message.starts_with("this validator is isolated") {
            watched.has_alarmed = true;
        } else if message.starts_with("this validator is not isolated") {
            watched.has_alarmed = false;
        }
        let Some(since) = watched.cut_off_since else {
            return;
        };
        let lasted = Trace::now().saturating_sub(since);
        if lasted >= NOTICED_WITHIN && ["voted", "proposed"].contains(&message) {
            self.violations.add(
                "isolated-casts-no-vote",
                format!("{host} has {message} after {lasted:?} without any other validator"),
            );
        }
    }
}
