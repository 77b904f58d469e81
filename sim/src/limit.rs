//! The verdict on a run beyond a scenario's limit, where something must be seen not to hold.

use std::time::Duration;

use smartnodes_scenarios::{Scenario, Side};

use crate::violation::Violation;

/// Beyond the limit: what was expected not to hold, and what remains as a violation. Anything else that did not hold does,
/// and so does it if all held. On this side of a limit, or without one, everything remains.
pub(crate) fn verdict(
    scenario: &Scenario,
    violations: Vec<Violation>,
    ended: Duration,
) -> (Vec<Violation>, Vec<Violation>) {
    let limit = match (&scenario.limit, scenario.side()) {
        (Some(limit), Some(Side::Far)) => limit,
        _ => return (Vec::new(), violations),
    };
    let (expected, mut others): (Vec<Violation>, Vec<Violation>) = violations
        .into_iter()
        .partition(|violation| limit.invariants.contains(&violation.invariant));
    if expected.is_empty() {
        others.push(Violation {
            invariant: "limit".to_owned(),
            detail: format!(
                "with {} {} validators none of {} was seen not to hold",
                scenario.adversaries(),
                limit.behaviour.name(),
                limit.invariants.join(", ")
            ),
            virtual_seconds: ended.as_secs_f64(),
            ..Violation::default()
        });
    }
    (expected, others)
}

/// Whether a run goes on with these violations: beyond a limit where it is to show what follows, with what must be seen not
/// to hold there.
pub(crate) fn bears(scenario: &Scenario, violations: &[Violation]) -> bool {
    match (&scenario.limit, scenario.side()) {
        (Some(limit), Some(Side::Far)) if limit.goes_on => {
            let mut all = violations.iter();
            all.all(|violation| limit.invariants.contains(&violation.invariant))
        }
        _ => violations.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "a"
summary = "b"
updates = 1
deadline = "9h"
worker = [{ count = 1 }]
validator = [{ count = 2 }, { count = 2, behaviour = "colluding" }]
[limit]
behaviour = "colluding"
holds = 2
fails = 3
invariants = ["executed-is-true"]
"#;

    fn after(adversaries: usize, invariants: &[&str]) -> (usize, Vec<String>) {
        let scenario = Scenario::parse("a", TEXT).expect("a good scenario");
        let scenario = scenario.with_adversaries(adversaries).expect("a side");
        let violations = invariants.iter().map(|invariant| Violation {
            invariant: (*invariant).to_owned(),
            virtual_seconds: 1.0,
            ..Violation::default()
        });
        let (expected, others) = verdict(&scenario, violations.collect(), Duration::ZERO);
        let names = others.into_iter().map(|violation| violation.invariant);
        (expected.len(), names.collect())
    }

    #[test]
    fn beyond_the_limit_what_is_named_must_not_hold_and_the_rest_must() {
        assert_eq!(after(3, &["executed-is-true"]), (1, vec![]));
        assert_eq!(after(4, &["executed-is-true"; 2]), (2, vec![]));
        assert_eq!(after(3, &[]), (0, vec!["limit".to_owned()]));
        let (expected, others) = after(3, &["supply", "executed-is-true"]);
        assert_eq!((expected, others), (1, vec!["supply".to_owned()]));
    }

    #[test]
    fn a_run_goes_on_only_beyond_a_limit_that_says_so() {
        let of = |text: &str, adversaries, invariants: &[&str]| {
            let scenario = Scenario::parse("a", text).expect("a good scenario");
            let scenario = scenario.with_adversaries(adversaries).expect("a side");
            let violations = invariants.iter().map(|invariant| Violation {
                invariant: (*invariant).to_owned(),
                virtual_seconds: 1.0,
                ..Violation::default()
            });
            bears(&scenario, &violations.collect::<Vec<_>>())
        };
        let goes_on = format!("{TEXT}goes_on = true\n");
        assert!(of(TEXT, 3, &[]) && of(&goes_on, 2, &[]));
        assert!(of(&goes_on, 3, &["executed-is-true"; 2]));
        assert!(!of(&goes_on, 3, &["executed-is-true", "supply"]));
        assert!(!of(&goes_on, 2, &["executed-is-true"]));
        assert!(!of(TEXT, 3, &["executed-is-true"]));
    }

    #[test]
    fn within_the_limit_everything_must_hold() {
        assert_eq!(after(2, &[]), (0, vec![]));
        let (expected, others) = after(1, &["executed-is-true"]);
        assert_eq!((expected, others), (0, vec!["executed-is-true".to_owned()]));
    }
}
