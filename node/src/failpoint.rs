//! Fail points: named steps at which the simulator may strike.
//!
//! `fail_point!("vote", "sent")` names a step that a node has just reached or passed. In production the macro expands
//! to nothing. In the simulator it calls the hook that the simulator has set ([`set_hook`]), which may end the host's
//! process right there: between a write and its sync, between a vote's record and its transaction.
//!
//! Every durable write has two points, `<table>/write` before and `<table>/written` after it; every transaction has
//! `<intent>/signed`, `/sent`, `/included` and `/confirmed`. A module passes `wasm/turn` in the midst of its execution, each
//! time that it has used a turn's fuel.
//!
//! `sometimes!("round/vote-void")` names a state that is rare: whether it was ever reached is what a sweep reports of it.

#[cfg(madsim)]
use std::cell::RefCell;

use crate::chain::Intent;
use crate::store::Table;

#[cfg(madsim)]
type Hook = Box<dyn Fn(&'static str, &'static str)>;

#[cfg(madsim)]
type Watcher = Box<dyn Fn(&'static str)>;

#[cfg(madsim)]
thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// The fail points that are written out where they are passed; tables and intents have theirs besides.
const SINGLE: [&str; 3] = ["payload/published", "receipt/gossiped", "wasm/turn"];

/// Every fail point that there is, by its name.
pub fn points() -> Vec<String> {
    let steps = |scopes: Vec<&'static str>, steps: &'static [&'static str]| {
        let scopes = scopes.into_iter();
        scopes.flat_map(move |scope| steps.iter().map(move |step| format!("{scope}/{step}")))
    };
    let tables = Table::ALL.into_iter().map(Table::name).collect();
    let single = SINGLE.map(str::to_owned);
    let mut points: Vec<String> = steps(tables, &["write", "written"])
        .chain(steps(
            Intent::KINDS.to_vec(),
            &["signed", "sent", "included", "confirmed"],
        ))
        .chain(single)
        .collect();
    points.sort_unstable();
    points
}

/// Every state that `sometimes!` names. A sweep that never saw one says so: it did not test what the node does then.
pub const SOMETIMES: [&str; 40] = [
    "chain/confirmed-undone",
    "chain/contradiction",
    "chain/endpoint-lags",
    "chain/endpoint-left",
    "chain/failed",
    "chain/fees-raised",
    "chain/nonce-filled",
    "chain/nonce-taken",
    "chain/not-included",
    "chain/undone",
    "claim/bad-proof",
    "claim/no-share",
    "job/called-off",
    "job/disputed",
    "job/failed",
    "job/false-result",
    "job/not-in-time",
    "job/order-refused",
    "job/over-quota",
    "job/payment-too-old",
    "peer/banned",
    "peer/lost-role",
    "peer/refused",
    "receipt/dropped",
    "receipt/refused",
    "receipt/refuted",
    "round/behind",
    "round/execution-taken-over",
    "round/isolated",
    "round/no-vote",
    "round/not-drawn",
    "round/payload-missing",
    "round/payload-refused",
    "round/reactivated",
    "round/unheard",
    "round/vote-void",
    "settle/undone",
    "user/other-validator",
    "worker/asked-again",
    "worker/busy",
];

/// Sets what is called, with scope and step, at each fail point that a host of this run passes.
#[cfg(madsim)]
pub fn set_hook(hook: impl Fn(&'static str, &'static str) + 'static) {
    HOOK.with_borrow_mut(|set| *set = Some(Box::new(hook)));
}

/// Sets what is called with each state of [`SOMETIMES`] that a host of this run comes to.
#[cfg(madsim)]
pub fn set_watcher(watcher: impl Fn(&'static str) + 'static) {
    WATCHER.with_borrow_mut(|set| *set = Some(Box::new(watcher)));
}

/// A host has come to a state.
#[cfg(madsim)]
pub(crate) fn seen(state: &'static str) {
    WATCHER.with_borrow(|watcher| {
        if let Some(watcher) = watcher {
            watcher(state);
        }
    });
}

/// A host passes a fail point.
#[cfg(madsim)]
pub(crate) fn passed(scope: &'static str, step: &'static str) {
    HOOK.with_borrow(|hook| {
        if let Some(hook) = hook {
            hook(scope, step);
        }
    });
}

/// Names a step, by scope and step, at which the simulator may strike; nothing in production.
macro_rules! fail_point {
    ($scope:expr, $step:literal) => {
        #[cfg(madsim)]
        $crate::failpoint::passed($scope, $step);
    };
}
pub(crate) use fail_point;

/// Names a state that a node comes to only when something went wrong, or only sometimes: the simulator counts how often
/// it did; nothing in production. [`SOMETIMES`] lists them.
macro_rules! sometimes {
    ($state:literal) => {
        #[cfg(madsim)]
        $crate::failpoint::seen($state);
    };
}
pub(crate) use sometimes;

#[cfg(all(test, madsim))]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn the_hook_sees_every_passing() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        fail_point!("nobody", "listens");
        let noted = seen.clone();
        set_hook(move |scope, step| noted.borrow_mut().push(format!("{scope}/{step}")));
        fail_point!("vote", "sent");
        fail_point!("vote", "included");
        assert_eq!(*seen.borrow(), ["vote/sent", "vote/included"]);
    }

    #[test]
    fn every_state_and_point_in_the_code_is_listed_and_every_listed_one_is_in_the_code() {
        #[allow(
            clippy::disallowed_methods,
            reason = "a test reads the sources, outside of any run"
        )]
        fn sources(folder: &std::path::Path, text: &mut String) {
            for entry in std::fs::read_dir(folder).expect("a folder of sources") {
                let path = entry.expect("an entry of it").path();
                if path.is_dir() {
                    sources(&path, text);
                } else if !path.ends_with("failpoint.rs") {
                    text.push_str(&std::fs::read_to_string(&path).expect("a source"));
                }
            }
        }
        let mut text = String::new();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        sources(&root, &mut text);
        let named = |opening: &str| {
            let mut used: Vec<&str> = text
                .split(opening)
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
                .collect();
            used.sort_unstable();
            used.dedup();
            used
        };
        let states = SOMETIMES.map(|state| format!("\"{state}\""));
        assert_eq!(named("sometimes!("), states);
        let single = SINGLE.map(|point| format!("\"{}\"", point.replace('/', "\", \"")));
        let written_out = named("fail_point!(");
        let written_out = written_out.iter().filter(|point| point.starts_with('"'));
        assert!(written_out.eq(&single));
        let kinds = text.split("fn kind(&self)").nth(1).unwrap_or_default();
        let kinds = kinds.split("    }\n}").next().unwrap_or_default();
        let kinds: Vec<&str> = kinds.split('"').skip(1).step_by(2).collect();
        assert_eq!(kinds, Intent::KINDS);
    }
}
