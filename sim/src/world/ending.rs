//! What a run still lacks before it may end.

use std::collections::BTreeMap;

use smartnodes_scenarios::{HostName, Scenario, Side, ValidatorMisdeed};

use crate::oracle::Tally;
use crate::oracle::misdeeds::{Misdeeds, attack};
use crate::story::{Lack, Story};
use crate::verdict::GivenUp;

/// What the story still lacks, but for some jobs.
pub(super) fn missing(
    scenario: &Scenario,
    tally: Tally,
    story: &Story,
    given_up: &GivenUp,
) -> Vec<Lack> {
    let mut missing = story.open(|job| given_up.has(job));
    if tally.state_updates < scenario.updates {
        let words = format!(
            "{} of {} updates are executed",
            tally.state_updates, scenario.updates
        );
        missing.push(Lack::new("updates", words));
    }
    if tally.unclaimed_capacity != 0 {
        let words = format!(
            "rewards for a capacity of {} are not claimed",
            tally.unclaimed_capacity
        );
        missing.push(Lack::new("claims", words));
    }
    if tally.open_jobs > given_up.paid(scenario) {
        let words = format!("{} paid jobs are not settled", tally.open_jobs);
        missing.push(Lack::new("settlements", words));
    }
    missing
}

/// What those validators have not done yet who are to do wrong: an attack that does not take place shows nothing.
pub(super) fn idle(scenario: &Scenario, misdeeds: &Misdeeds) -> Vec<Lack> {
    let mut groups: BTreeMap<ValidatorMisdeed, Vec<&HostName>> = BTreeMap::new();
    let must_act = scenario.validator_misdeeds.iter();
    for (host, misdeed) in must_act.filter(|(host, _)| !scenario.may_idle.contains(host)) {
        groups.entry(*misdeed).or_default().push(host);
    }
    let mut idle = Vec::new();
    for (misdeed, hosts) in groups {
        for acts in attack(misdeed) {
            if !hosts
                .iter()
                .any(|host| misdeeds.did(&host.to_string(), acts))
            {
                let (name, acts) = (misdeed.name(), acts.join(" or "));
                let words = format!("no {name} validator has had occasion for {acts}");
                idle.push(Lack::new(format!("misdeed {name}"), words));
            }
        }
    }
    idle
}

/// What the scenario is about and nobody has seen yet. Beyond its limit, or struck by what the seed draws, it is about
/// something else.
pub(super) fn unseen(
    scenario: &Scenario,
    states: &BTreeMap<String, u64>,
    events: &BTreeMap<String, u64>,
    misdeeds: &Misdeeds,
) -> Vec<Lack> {
    if scenario.swarm.is_some() || scenario.side() == Some(Side::Far) {
        return Vec::new();
    }
    let expected = &scenario.expect;
    let states = expected.states.iter().map(|state| (state, states));
    let events = expected.events.iter().map(|event| (event, events));
    let done = misdeeds.by_act();
    let acts = expected.acts.iter().map(|act| (act, &done));
    let unseen = states
        .chain(events)
        .chain(acts)
        .filter(|(name, seen)| !seen.contains_key(*name));
    unseen
        .map(|(name, _)| {
            Lack::new(
                format!("sight of {name}"),
                format!("{name} has not been seen"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::truth::Truth;

    const TEXT: &str = r#"
name = "a"
summary = "b"
updates = 1
deadline = "9h"
worker = [{ count = 1 }]
validator = [{ count = 3 }, { count = 1, behaviour = "colluding" }]
[expect]
states = ["settle/undone"]
events = ["SmartnodesCore.JobSkipped"]
[limit]
behaviour = "colluding"
holds = 1
fails = 3
invariants = ["executed-is-true"]
"#;

    #[test]
    fn what_a_scenario_is_about_must_be_seen_on_this_side_of_its_limit() {
        let scenario = Scenario::parse("a", TEXT).expect("a good scenario");
        let none = BTreeMap::new();
        let misdeeds = Misdeeds::new(Truth::default());
        let seen = |name: &str| BTreeMap::from([(name.to_owned(), 1)]);
        assert_eq!(unseen(&scenario, &none, &none, &misdeeds).len(), 2);
        let event = seen("SmartnodesCore.JobSkipped");
        let left = unseen(&scenario, &none, &event, &misdeeds);
        assert_eq!(left[0].words, "settle/undone has not been seen");
        // A state is no event.
        assert_eq!(
            unseen(&scenario, &event, &seen("settle/undone"), &misdeeds).len(),
            2
        );
        assert!(unseen(&scenario, &seen("settle/undone"), &event, &misdeeds).is_empty());
        let far = scenario.with_adversaries(3).expect("a side");
        assert!(unseen(&far, &none, &none, &misdeeds).is_empty());
    }
}
