//! What did not hold.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::trace::Trace;

/// One invariant that did not hold, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// Name of the invariant, in kebab case.
    pub invariant: String,
    /// What was seen.
    pub detail: String,
    /// Virtual time from the start of the run, in seconds.
    pub virtual_seconds: f64,
}

/// Most violations that are kept: one cause often has many.
const VIOLATIONS_MAX: usize = 100;

/// The violations of a run. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Violations(Arc<Mutex<Vec<Violation>>>);

impl Violations {
    /// Adds one, now, and puts it on record.
    pub fn add(&self, invariant: &str, detail: impl Into<String>) {
        self.add_at(Trace::now(), invariant, detail);
    }

    /// Adds one that was seen at `at`, in virtual time from the start.
    pub fn add_at(&self, at: Duration, invariant: &str, detail: impl Into<String>) {
        let detail = detail.into();
        tracing::error!(invariant, detail, "violation");
        let mut all = self.lock();
        if all.len() < VIOLATIONS_MAX {
            let virtual_seconds = at.as_secs_f64();
            all.push(Violation {
                invariant: invariant.to_owned(),
                detail,
                virtual_seconds,
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
