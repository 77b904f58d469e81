//! Workers as a scenario file writes them, those that cheat included.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::Check;
use super::peers::{HONEST, behaviours};
use crate::spot::Spot;
use crate::{HostName, Misdeed, Role, ScenarioError, WorkerMisdeed};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerTable {
    /// How many hosts.
    pub(super) count: Spot<usize>,
    /// What they do: "honest" if left out.
    #[schemars(schema_with = "worker_behaviours")]
    behaviour: Option<Spot<String>>,
    /// The run may end before they had occasion to do anything wrong.
    #[serde(default)]
    pub(super) may_idle: bool,
    /// Where they are: one of the network's regions.
    pub(super) region: Option<Spot<String>>,
}

fn worker_behaviours(_: &mut SchemaGenerator) -> Schema {
    behaviours(&WorkerMisdeed::ALL.map(|(name, _)| name))
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
            let group = group.as_ref();
            let first = workers + 1;
            workers += self.count(&group.count)?;
            let Some(named) = group.behaviour.as_ref().filter(|b| b.as_ref() != HONEST) else {
                continue;
            };
            let misdeed = self.behaviour(named, &WorkerMisdeed::ALL)?;
            let role = Role::Worker;
            let hosts = (first..=workers).map(|number| HostName { role, number });
            misdeeds.extend(hosts.map(|host| (host, Misdeed::Worker(misdeed))));
        }
        Ok((workers, misdeeds))
    }
}
