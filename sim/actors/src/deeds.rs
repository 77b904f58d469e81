//! What an actor did, and what it got by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

/// The count of an actor's deeds, for whoever wants to know whether its attack took place. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Deeds(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    done: BTreeMap<&'static str, u64>,
    gained: BTreeMap<&'static str, u64>,
}

impl Deeds {
    /// The actor has done something that no honest node does.
    pub fn did(&self, what: &'static str) {
        let mut state = self.lock();
        let times = state.done.entry(what).or_default();
        *times += 1;
        let first = *times == 1;
        drop(state);
        // Once for each kind: a flood would drown everything else.
        if first {
            info!(what, "misdeed begun");
        }
    }

    /// The actor got what it must not get.
    pub fn gained(&self, what: &'static str) {
        *self.lock().gained.entry(what).or_default() += 1;
        warn!(what, "gained by a misdeed");
    }

    /// How often what was done.
    pub fn done(&self) -> BTreeMap<&'static str, u64> {
        self.lock().done.clone()
    }

    /// How often what was gained.
    pub fn gains(&self) -> BTreeMap<&'static str, u64> {
        self.lock().gained.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_count_together() {
        let deeds = Deeds::default();
        let other = deeds.clone();
        deeds.did("a");
        other.did("a");
        other.did("b");
        assert_eq!(deeds.done(), BTreeMap::from([("a", 2), ("b", 1)]));
        assert_eq!(deeds.gains(), BTreeMap::new());
        other.gained("c");
        assert_eq!(deeds.gains(), BTreeMap::from([("c", 1)]));
    }
}
