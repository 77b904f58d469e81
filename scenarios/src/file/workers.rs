//! Workers as a scenario file writes them, those that cheat included.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Check;
use crate::spot::Spot;
use crate::{HostName, Misdeed, Role, ScenarioError};

/// What workers may do.
const BEHAVIOURS: [(&str, Option<Misdeed>); 3] = [
    ("honest", None),
    ("false-result", Some(Misdeed::FalseResult)),
    ("stall", Some(Misdeed::Stall)),
];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerTable {
    /// How many hosts.
    count: Spot<usize>,
    /// What they do: "honest" if left out, "false-result" or "stall".
    behaviour: Option<Spot<String>>,
}

impl Check<'_> {
    /// Number of workers, and what those do that cheat.
    pub(super) fn workers(
        &self,
        groups: &[Spot<WorkerTable>],
    ) -> Result<(usize, BTreeMap<HostName, Misdeed>), ScenarioError> {
        let mut workers = 0;
        let mut misdeeds = BTreeMap::new();
        for group in groups {
            let first = workers + 1;
            workers += self.count(&group.as_ref().count)?;
            let misdeed = match &group.as_ref().behaviour {
                None => None,
                Some(named) => match BEHAVIOURS.iter().find(|(name, _)| name == named.as_ref()) {
                    Some((_, misdeed)) => *misdeed,
                    None => {
                        let names = BEHAVIOURS.map(|(name, _)| name).join(", ");
                        let message = format!("no such behaviour: there is {names}");
                        return self.refuse(named.span(), message);
                    }
                },
            };
            let role = Role::Worker;
            let hosts = (first..=workers).map(|number| HostName { role, number });
            misdeeds.extend(hosts.filter_map(|host| Some((host, misdeed?))));
        }
        Ok((workers, misdeeds))
    }
}
