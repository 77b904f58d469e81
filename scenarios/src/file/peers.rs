//! Hosts without a role, and users that cheat, as a scenario file writes them.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{Check, UserTable};
use crate::spot::Spot;
use crate::{HostName, Misdeed, PeerMisdeed, Role, ScenarioError, UserMisdeed};

/// What a group does that plays by the rules.
pub(super) const HONEST: &str = "honest";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerTable {
    /// How many hosts.
    pub(super) count: Spot<usize>,
    /// How they attack.
    #[schemars(schema_with = "peer_behaviours")]
    behaviour: Spot<String>,
    /// The run may end before they had occasion to do anything wrong.
    #[serde(default)]
    pub(super) may_idle: bool,
    /// Where they are: one of the network's regions.
    pub(super) region: Option<Spot<String>>,
}

fn peer_behaviours(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": PeerMisdeed::ALL.map(|(name, _)| name) })
}

/// What users may do.
pub(super) fn user_behaviours(_: &mut SchemaGenerator) -> Schema {
    behaviours(&UserMisdeed::ALL.map(|(name, _)| name))
}

/// The schema of a behaviour that may be left out or honest.
pub(super) fn behaviours(cheats: &[&str]) -> Schema {
    let names: Vec<&str> = [HONEST].into_iter().chain(cheats.iter().copied()).collect();
    json_schema!({ "type": ["string", "null"], "enum": names })
}

impl Check<'_> {
    /// The misdeed of a name.
    pub(super) fn behaviour<T: Copy>(
        &self,
        named: &Spot<String>,
        all: &[(&str, T)],
    ) -> Result<T, ScenarioError> {
        match all.iter().find(|(name, _)| name == named.as_ref()) {
            Some((_, misdeed)) => Ok(*misdeed),
            None => {
                let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                let message = format!("no such behaviour: there is {}", names.join(", "));
                self.refuse(named.span(), message)
            }
        }
    }

    /// What those users do that cheat.
    pub(super) fn user_misdeeds(
        &self,
        groups: &[Spot<UserTable>],
    ) -> Result<BTreeMap<HostName, Misdeed>, ScenarioError> {
        let mut misdeeds = BTreeMap::new();
        let mut users = 0;
        for spot in groups {
            let group = spot.as_ref();
            let first = users + 1;
            users += *group.count.as_ref();
            let Some(named) = group.behaviour.as_ref().filter(|b| b.as_ref() != HONEST) else {
                continue;
            };
            let misdeed = self.behaviour(named, &UserMisdeed::ALL)?;
            let Some(pattern) = group.job.first() else {
                return self.refuse(spot.span(), "what does it submit? Add a [[user.job]]");
            };
            let must_pay = match misdeed {
                UserMisdeed::Underpaying => Some(true),
                UserMisdeed::Spamming | UserMisdeed::Farming => Some(false),
                UserMisdeed::Vanishing => None,
            };
            if must_pay.is_some_and(|must| pattern.payment.is_some() != must) {
                let message = match misdeed {
                    UserMisdeed::Underpaying => "its jobs name a payment, which it does not make",
                    _ => "its jobs are free",
                };
                return self.refuse(pattern.network.span(), message);
            }
            let role = Role::User;
            let hosts = (first..=users).map(|number| HostName { role, number });
            misdeeds.extend(hosts.map(|host| (host, Misdeed::User(misdeed))));
        }
        Ok(misdeeds)
    }

    /// Number of hosts without a role, and what they do.
    pub(super) fn peers(
        &self,
        groups: &[Spot<PeerTable>],
    ) -> Result<(usize, BTreeMap<HostName, Misdeed>), ScenarioError> {
        let mut peers = 0;
        let mut misdeeds = BTreeMap::new();
        for group in groups {
            let group = group.as_ref();
            let first = peers + 1;
            peers += self.count(&group.count)?;
            let misdeed = self.behaviour(&group.behaviour, &PeerMisdeed::ALL)?;
            let role = Role::Peer;
            let hosts = (first..=peers).map(|number| HostName { role, number });
            misdeeds.extend(hosts.map(|host| (host, Misdeed::Peer(misdeed))));
        }
        Ok((peers, misdeeds))
    }
}
