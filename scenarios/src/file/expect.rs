//! What a run must have seen, as a scenario file writes it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Check;
use crate::spot::Spot;
use crate::{Expect, ScenarioError};

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectTable {
    /// States that nodes name, such as "settle/undone", to which some node must come before the run ends.
    #[serde(default)]
    pub(super) states: Vec<Spot<String>>,
    /// Events of the contracts, such as "SmartnodesCore.JobSkipped", that must be emitted before the run ends.
    #[serde(default)]
    pub(super) events: Vec<Spot<String>>,
    /// What hosts that do not play by the rules must have done, by the names that records have, such as "round-moved-on".
    #[serde(default)]
    pub(super) acts: Vec<Spot<String>>,
    /// Most rounds that may end without an update.
    lost_rounds_at_most: Option<Spot<u64>>,
}

impl Check<'_> {
    pub(super) fn expect(&self, table: &ExpectTable) -> Result<Expect, ScenarioError> {
        let named = |names: &[Spot<String>], between: char, example: &str| {
            for name in names {
                let parts: Vec<&str> = name.as_ref().split(between).collect();
                if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
                    return self.refuse(name.span(), format!("names look like {example:?}"));
                }
            }
            Ok(names.iter().map(|name| name.as_ref().clone()).collect())
        };
        Ok(Expect {
            states: named(&table.states, '/', "settle/undone")?,
            acts: table.acts.iter().map(|act| act.as_ref().clone()).collect(),
            events: named(&table.events, '.', "SmartnodesCore.JobSkipped")?,
            lost_rounds_at_most: table
                .lost_rounds_at_most
                .as_ref()
                .map(|most| *most.as_ref()),
        })
    }
}
