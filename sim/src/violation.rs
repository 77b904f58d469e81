//! What did not hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::trace::Trace;
use crate::vocabulary::INVARIANTS;

/// One invariant that did not hold, once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// Name of the invariant, in kebab case.
    pub invariant: String,
    /// What was seen.
    pub detail: String,
    /// Virtual time from the start of the run, in seconds.
    pub virtual_seconds: f64,
    /// The host that it was seen on, and those that the detail names by name, account or PeerId.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What happened last before it to these hosts, on the chain and by faults, in words.
    #[serde(default)]
    pub last_events: Vec<String>,
}

/// Most violations that are kept: one cause often has many.
const VIOLATIONS_MAX: usize = 100;

/// The violations of a run. Clones share them.
#[derive(Clone, Default)]
pub struct Violations {
    all: Arc<Mutex<Vec<Violation>>>,
    /// How often each invariant was checked.
    checks: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    /// Where the events before each are found.
    trace: Option<Trace>,
}

impl Violations {
    /// None yet, in a run with this trace.
    pub fn of(trace: &Trace) -> Violations {
        Violations {
            trace: Some(trace.clone()),
            ..Violations::default()
        }
    }

    /// Counts a check, and adds a violation, now, if it did not hold.
    pub fn unless(&self, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        self.checked(invariant);
        if !holds {
            self.add(invariant, detail());
        }
    }

    /// Counts a check that held, or whose violation is added elsewhere.
    pub fn checked(&self, invariant: &'static str) {
        debug_assert!(INVARIANTS.contains(&invariant), "{invariant} is no name");
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        *checks.entry(invariant).or_default() += 1;
    }

    /// How often each invariant was checked with [`Violations::unless`] and [`Violations::checked`].
    pub fn checks(&self) -> BTreeMap<String, u64> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let checks = checks.iter();
        checks
            .map(|(name, times)| ((*name).to_owned(), *times))
            .collect()
    }

    /// Adds one, now, and puts it on record.
    pub fn add(&self, invariant: &str, detail: impl Into<String>) {
        self.add_at(Trace::now(), invariant, detail);
    }

    /// Adds one that was seen at `at`, in virtual time from the start.
    pub fn add_at(&self, at: Duration, invariant: &str, detail: impl Into<String>) {
        debug_assert!(
            INVARIANTS.contains(&invariant),
            "{invariant} is no name that a scenario may use"
        );
        let detail = detail.into();
        // Before it is an event itself.
        let (hosts, last_events) = match &self.trace {
            Some(trace) if self.lock().len() < VIOLATIONS_MAX => {
                let hosts = trace.hosts_in(&detail);
                let events = trace.last_events(at, &hosts);
                (hosts, events)
            }
            _ => Default::default(),
        };
        tracing::error!(invariant, detail, "violation");
        let mut all = self.lock();
        if all.len() < VIOLATIONS_MAX {
            all.push(Violation {
                invariant: invariant.to_owned(),
                detail,
                virtual_seconds: at.as_secs_f64(),
                hosts,
                last_events,
            });
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// All, in the order in which they were seen.
    pub fn all(&self) -> Vec<Violation> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Violation>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
