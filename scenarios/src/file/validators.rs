//! Validators as a scenario file writes them, those that cheat included, and how many of these the network bears.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::Check;
use crate::spot::Spot;
use crate::{HostName, Limit, Role, Scenario, ScenarioError, ValidatorMisdeed};

/// The behaviour of those that do nothing wrong.
const HONEST: &str = "honest";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidatorTable {
    /// How many hosts.
    pub(super) count: Spot<usize>,
    /// What they do: "honest" if left out.
    #[schemars(schema_with = "behaviours")]
    behaviour: Option<Spot<String>>,
    /// The run may end before they had occasion to do anything wrong.
    #[serde(default)]
    pub(super) may_idle: bool,
    /// Where they are: one of the network's regions.
    pub(super) region: Option<Spot<String>>,
}

fn behaviours(_: &mut SchemaGenerator) -> Schema {
    let names = ValidatorMisdeed::ALL.map(|(name, _)| name);
    let all: Vec<&str> = [HONEST].into_iter().chain(names).collect();
    json_schema!({ "type": ["string", "null"], "enum": all })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitTable {
    /// The misdeed of validators whose number is varied.
    behaviour: Spot<String>,
    /// With so many everything holds: what the groups' counts come to.
    holds: Spot<usize>,
    /// With so many one of the invariants does not hold.
    fails: Spot<usize>,
    /// What is then seen not to hold, by the names that violations have.
    pub(super) invariants: Spot<Vec<String>>,
    /// With so many the run goes on after that, and everything else must still hold at its end.
    #[serde(default)]
    goes_on: bool,
    /// With how many to run, where it is not as many as the groups have: case files say it.
    adversaries: Option<Spot<usize>>,
}

impl Check<'_> {
    /// Number of validators, and what those do that cheat.
    pub(super) fn validators(
        &self,
        groups: &[Spot<ValidatorTable>],
    ) -> Result<(usize, BTreeMap<HostName, ValidatorMisdeed>), ScenarioError> {
        let mut validators = 0;
        let mut misdeeds = BTreeMap::new();
        for group in groups {
            let group = group.as_ref();
            let first = validators + 1;
            validators += self.count(&group.count)?;
            let named = group.behaviour.as_ref();
            let Some(named) = named.filter(|named| named.as_ref() != HONEST) else {
                continue;
            };
            let misdeed = self.misdeed(named)?;
            let role = Role::Validator;
            let hosts = (first..=validators).map(|number| HostName { role, number });
            misdeeds.extend(hosts.map(|host| (host, misdeed)));
        }
        Ok((validators, misdeeds))
    }

    fn misdeed(&self, named: &Spot<String>) -> Result<ValidatorMisdeed, ScenarioError> {
        let mut all = ValidatorMisdeed::ALL.iter();
        match all.find(|(name, _)| name == named.as_ref()) {
            Some((_, misdeed)) => Ok(*misdeed),
            None => {
                let names = ValidatorMisdeed::ALL.map(|(name, _)| name).join(", ");
                let message = format!("no such behaviour of a validator: there is {names}");
                self.refuse(named.span(), message)
            }
        }
    }

    /// The scenario with its limit, on the side that the file asks for.
    pub(super) fn limit(
        &self,
        table: &LimitTable,
        mut scenario: Scenario,
    ) -> Result<Scenario, ScenarioError> {
        let limit = Limit {
            behaviour: self.misdeed(&table.behaviour)?,
            holds: *table.holds.as_ref(),
            fails: *table.fails.as_ref(),
            invariants: table.invariants.as_ref().clone(),
            goes_on: table.goes_on,
        };
        let misdeeds = scenario.validator_misdeeds.values();
        let found = misdeeds.filter(|m| **m == limit.behaviour).count();
        if found != limit.holds {
            let name = limit.behaviour.name();
            let message =
                format!("the groups have {found} {name} validators: with so many it must hold");
            return self.refuse(table.holds.span(), message);
        }
        if limit.fails <= limit.holds {
            return self.refuse(table.fails.span(), "it fails with more than it bears");
        }
        if limit.invariants.is_empty() {
            let message = "name at least one invariant that is then seen not to hold";
            return self.refuse(table.invariants.span(), message);
        }
        let fails = limit.fails;
        scenario.limit = Some(limit);
        // The far side must be possible, too.
        if let Err(error) = scenario.with_adversaries(fails) {
            return self.refuse(table.fails.span(), error.to_string());
        }
        match &table.adversaries {
            None => Ok(scenario),
            Some(adversaries) => match scenario.with_adversaries(*adversaries.as_ref()) {
                Ok(scenario) => Ok(scenario),
                Err(error) => self.refuse(adversaries.span(), error.to_string()),
            },
        }
    }
}
