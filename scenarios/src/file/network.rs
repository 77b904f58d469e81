//! The network between the hosts as a scenario file writes it: what is usual, and what is otherwise between regions.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::moment::MomentValue;
use super::{Check, File};
use crate::error::Invalid;
use crate::spot::Spot;
use crate::units::Rate;
use crate::{HostName, Latency, Link, Moment, Network, Percent, Role, ScenarioError};

/// Longest that a message travels.
const LATENCY_MAX: Duration = Duration::from_secs(60);
/// Largest chance that a message is lost.
const LOSS_MAX: f64 = 0.9;

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkTable {
    /// How long a message travels.
    latency: Option<Spot<MomentValue>>,
    /// Chance that a message needs to be sent again.
    loss: Option<Spot<Percent>>,
    /// Names of places where groups of hosts are.
    #[serde(default)]
    regions: Vec<Spot<String>>,
    /// What is otherwise between two regions, or within one.
    #[serde(default)]
    link: Vec<Spot<LinkTable>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinkTable {
    /// Two regions, or twice the same.
    between: Spot<[Spot<String>; 2]>,
    /// How long a message travels, both ways; as everywhere if left out.
    latency: Option<Spot<MomentValue>>,
    /// Chance that a message needs to be sent again; as everywhere if left out.
    loss: Option<Spot<Percent>>,
    /// What passes from one host to another in a second, each way; without a limit if left out.
    bandwidth: Option<Spot<Rate>>,
}

impl Check<'_> {
    pub(super) fn network(&self, file: &File) -> Result<Network, ScenarioError> {
        let table = &file.network;
        let latency = match &table.latency {
            None => Latency {
                min: Duration::from_millis(5),
                max: Duration::from_millis(60),
            },
            Some(value) => self.latency(value)?,
        };
        let loss = match &table.loss {
            None => Percent::default(),
            Some(share) => self.loss(share)?,
        };
        let placed = self.placed(file)?;
        let links = table
            .link
            .iter()
            .map(|link| self.region_link(file, link, &placed));
        Ok(Network {
            latency,
            loss,
            links: links.collect::<Result<_, _>>()?,
        })
    }

    /// A range of travel times.
    pub(super) fn latency(&self, value: &Spot<MomentValue>) -> Result<Latency, ScenarioError> {
        let (min, max) = match value.as_ref().0 {
            Moment::Fixed(at) => (at, at),
            Moment::Within(from, to) => (from, to),
        };
        if min.is_zero() || max > LATENCY_MAX {
            return self.refuse(value.span(), "a latency lies between 1ms and 1m");
        }
        Ok(Latency { min, max })
    }

    /// A chance that a message is lost.
    pub(super) fn loss(&self, share: &Spot<Percent>) -> Result<Percent, ScenarioError> {
        if share.as_ref().probability() > LOSS_MAX {
            return self.refuse(
                share.span(),
                "more than 90% loss leaves no network; use a partition instead",
            );
        }
        Ok(*share.as_ref())
    }

    /// The hosts that are in a region, each with its name. No group is empty.
    fn placed<'a>(&self, file: &'a File) -> Result<Vec<(HostName, &'a str)>, ScenarioError> {
        type Group<'a> = (Role, usize, &'a Option<Spot<String>>);
        let validators = file.validator.iter().map(Spot::as_ref);
        let workers = file.worker.iter().map(Spot::as_ref);
        let users = file.user.iter().map(Spot::as_ref);
        let peers = file.peer.iter().map(Spot::as_ref);
        let groups: Vec<Group<'a>> = validators
            .map(|group| (Role::Validator, *group.count.as_ref(), &group.region))
            .chain(workers.map(|group| (Role::Worker, *group.count.as_ref(), &group.region)))
            .chain(users.map(|group| (Role::User, *group.count.as_ref(), &group.region)))
            .chain(peers.map(|group| (Role::Peer, *group.count.as_ref(), &group.region)))
            .collect();
        let mut placed = Vec::new();
        let mut before = (Role::Validator, 0);
        for (role, count, region) in groups {
            let first = if before.0 == role { before.1 + 1 } else { 1 };
            let last = first + count - 1;
            before = (role, last);
            let hosts = (first..=last).map(|number| HostName { role, number });
            if let Some(region) = region {
                self.region(file, region)?;
                placed.extend(hosts.map(|host| (host, region.as_ref().as_str())));
            }
        }
        Ok(placed)
    }

    /// Refuses a region that is not listed.
    fn region(&self, file: &File, named: &Spot<String>) -> Result<(), ScenarioError> {
        let regions = &file.network.regions;
        if regions
            .iter()
            .any(|region| region.as_ref() == named.as_ref())
        {
            return Ok(());
        }
        let names: Vec<&str> = regions
            .iter()
            .map(|region| region.as_ref().as_str())
            .collect();
        let message = match names.as_slice() {
            [] => format!(
                "there are no regions: add `regions = [\"{}\"]` to [network]",
                named.as_ref()
            ),
            names => format!("the network's regions are {}", names.join(", ")),
        };
        self.refuse(named.span(), message)
    }

    fn region_link(
        &self,
        file: &File,
        link: &Spot<LinkTable>,
        placed: &[(HostName, &str)],
    ) -> Result<Link, ScenarioError> {
        let table = link.as_ref();
        let [one, other] = table.between.as_ref();
        self.region(file, one)?;
        self.region(file, other)?;
        let within = |region: &Spot<String>| {
            let hosts = placed.iter().filter(|(_, of)| *of == region.as_ref());
            hosts.map(|(host, _)| *host).collect()
        };
        let (latency, loss, bandwidth) = (&table.latency, &table.loss, &table.bandwidth);
        if latency.is_none() && loss.is_none() && bandwidth.is_none() {
            let message = "what is otherwise there? Give `latency`, `loss` or `bandwidth`";
            return Err(Invalid::at(
                self.origin,
                self.text,
                Some(link.span()),
                message.to_owned(),
            ));
        }
        Ok(Link {
            these: within(one),
            those: within(other),
            latency: latency
                .as_ref()
                .map(|value| self.latency(value))
                .transpose()?,
            loss: loss.as_ref().map(|share| self.loss(share)).transpose()?,
            bandwidth: bandwidth.as_ref().map(|rate| rate.as_ref().0),
        })
    }
}
