//! Fail points: counts every passing, and lets a fault strike at one of them.
//!
//! The node names its critical steps ([`smartnodes_node::failpoint`]); here each passing is put on record and counted,
//! and whoever waits for it is called in the very moment, before the host does anything else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use madsim::task::NodeId;
use smartnodes_node::failpoint;
use smartnodes_scenarios::HostName;
use tracing::debug;

/// The fail points of a run. Clones share them.
#[derive(Clone, Default)]
pub struct Points(Arc<Mutex<State>>);

/// How often each fail point was passed, by host.
pub type Passings = BTreeMap<String, BTreeMap<String, u64>>;

/// Called with the host that passes.
type Strike = Box<dyn FnOnce(HostName) + Send>;

#[derive(Default)]
struct State {
    hosts: BTreeMap<NodeId, HostName>,
    passed: BTreeMap<String, BTreeMap<HostName, u64>>,
    seen: BTreeMap<&'static str, u64>,
    armed: Vec<Armed>,
}

struct Armed {
    point: String,
    pass: u64,
    /// Whose passings count; empty: everybody's together.
    by: Option<HostName>,
    strike: Strike,
}

impl Points {
    /// Watches the fail points of this thread's run.
    pub fn install(&self) {
        let points = self.clone();
        failpoint::set_hook(move |scope, step| points.passed(scope, step));
        let points = self.clone();
        failpoint::set_watcher(move |state| points.seen(state));
    }

    /// Makes a host known, so that its passings are counted.
    pub fn add_host(&self, node: NodeId, host: HostName) {
        self.lock().hosts.insert(node, host);
    }

    /// Has `strike` called when the point is passed for the `pass`-th time by a host, or by all hosts together.
    pub fn arm(
        &self,
        point: &str,
        pass: u64,
        by: Option<HostName>,
        strike: impl FnOnce(HostName) + Send + 'static,
    ) {
        self.lock().armed.push(Armed {
            point: point.to_owned(),
            pass,
            by,
            strike: Box::new(strike),
        });
    }

    /// How often each host has passed each point.
    pub fn counts(&self) -> Passings {
        let state = self.lock();
        let named = |by: &BTreeMap<HostName, u64>| {
            by.iter()
                .map(|(host, count)| (host.to_string(), *count))
                .collect()
        };
        let passed = state.passed.iter();
        passed
            .map(|(point, by)| (point.clone(), named(by)))
            .collect()
    }

    /// How often hosts have come to each state that the node names.
    pub fn states(&self) -> BTreeMap<String, u64> {
        let state = self.lock();
        let seen = state.seen.iter();
        seen.map(|(name, times)| ((*name).to_owned(), *times))
            .collect()
    }

    fn seen(&self, name: &'static str) {
        *self.lock().seen.entry(name).or_default() += 1;
    }

    fn passed(&self, scope: &str, step: &str) {
        let point = format!("{scope}/{step}");
        let strikes = {
            let mut state = self.lock();
            let Some(host) = state.hosts.get(&madsim::plugin::node()).copied() else {
                return;
            };
            let by_host = state.passed.entry(point.clone()).or_default();
            let own = by_host.entry(host).or_default();
            *own += 1;
            let (own, all) = (*own, by_host.values().sum::<u64>());
            debug!(point, pass = own, "fail point");
            let due = |armed: &mut Armed| {
                let pass = match armed.by {
                    Some(by) if by != host => return false,
                    Some(_) => own,
                    None => all,
                };
                armed.point == point && armed.pass == pass
            };
            let strikes: Vec<Armed> = state.armed.extract_if(.., due).collect();
            strikes
                .into_iter()
                .map(|armed| (armed.strike, host))
                .collect::<Vec<_>>()
        };
        for (strike, host) in strikes {
            strike(host);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
