//! Fail points: named steps at which the simulator may strike.
//!
//! `fail_point!("vote", "sent")` names a step that a node has just reached or passed. In production the macro expands
//! to nothing. In the simulator it calls the hook that the simulator has set ([`set_hook`]), which may end the host's
//! process right there: between a write and its sync, between a vote's record and its transaction.
//!
//! Every durable write has two points, `<table>/write` before and `<table>/written` after it; every transaction has
//! `<intent>/signed`, `/sent`, `/included` and `/confirmed`.

#[cfg(madsim)]
use std::cell::RefCell;

#[cfg(madsim)]
type Hook = Box<dyn Fn(&'static str, &'static str)>;

#[cfg(madsim)]
thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Sets what is called, with scope and step, at each fail point that a host of this run passes.
#[cfg(madsim)]
pub fn set_hook(hook: impl Fn(&'static str, &'static str) + 'static) {
    HOOK.with_borrow_mut(|set| *set = Some(Box::new(hook)));
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
}
