//! The names that scenarios use and that others define: of fail points, states, events, errors and invariants.

use std::collections::BTreeSet;

use crate::{ScenarioError, file};

/// What there is, so that a misspelt name is found before a run starts, and not by a run that waits for it in vain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// The node's fail points, such as "vote/sent".
    pub points: BTreeSet<String>,
    /// The states that nodes name, such as "settle/undone".
    pub states: BTreeSet<String>,
    /// What validators do that do not play by the rules, such as "round-moved-on".
    pub acts: BTreeSet<String>,
    /// The contracts' events, such as "SmartnodesCore.JobSkipped".
    pub events: BTreeSet<String>,
    /// The contracts' errors, such as `Token__RewardsAlreadyClaimed`.
    pub errors: BTreeSet<String>,
    /// What violations name, such as "executed-is-true".
    pub invariants: BTreeSet<String>,
}

impl Vocabulary {
    /// Refuses a scenario that names what there is not, with the place in its text. Whether it is a scenario that can be run
    /// otherwise is said by [`Scenario::parse`](crate::Scenario::parse).
    pub fn check(&self, origin: &str, text: &str) -> Result<(), ScenarioError> {
        file::check_names(origin, text, self)
    }
}

/// The name that was probably meant, if any is near.
pub(crate) fn nearest<'a>(names: &'a BTreeSet<String>, to: &str) -> Option<&'a str> {
    /// How alike two names must be, 1 being the same.
    const NEAR: f64 = 0.7;
    let alike = names
        .iter()
        .map(|name| (strsim::normalized_levenshtein(name, to), name.as_str()));
    let (likeness, name) = alike.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (likeness >= NEAR).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_found_and_another_is_not() {
        let names = ["vote/sent", "vote/signed", "claim/sent"].map(str::to_owned);
        let names = BTreeSet::from(names);
        assert_eq!(nearest(&names, "vote/send"), Some("vote/sent"));
        assert_eq!(nearest(&names, "walrus"), None);
        assert_eq!(nearest(&BTreeSet::new(), "vote/sent"), None);
    }
}
