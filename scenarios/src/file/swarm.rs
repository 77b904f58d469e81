//! Swarms as a scenario file writes them: faults that the seed draws.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Check;
use crate::spot::Spot;
use crate::units::Span;
use crate::{ScenarioError, Swarm, SwarmKind};

/// Most faults that a swarm may draw for one run.
const SWARM_FAULTS_MAX: u32 = 100;
/// Most hosts that cheat which a swarm may draw for one run.
const SWARM_ADVERSARIES_MAX: u32 = 10;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SwarmTable {
    /// The kinds to draw from; all if left out. Each seed draws a subset of them first.
    kinds: Option<Spot<Vec<String>>>,
    /// Most faults in one run.
    most: Spot<u32>,
    /// The earliest beginning.
    from: Spot<Span>,
    /// The latest end.
    to: Spot<Span>,
    /// The longest that one fault lasts.
    longest: Spot<Span>,
    /// Most hosts that cheat which the seed draws and adds to the scenario's own; none if left out.
    #[serde(default)]
    adversaries: Option<Spot<u32>>,
}

impl Check<'_> {
    pub(super) fn swarm(
        &self,
        table: &SwarmTable,
        deadline: Duration,
    ) -> Result<Swarm, ScenarioError> {
        let kinds = match &table.kinds {
            None => SwarmKind::ALL.map(|(_, kind)| kind).to_vec(),
            Some(names) if names.as_ref().is_empty() => {
                return self.refuse(
                    names.span(),
                    "name at least one kind, or leave it out for all",
                );
            }
            Some(names) => {
                let known = |name: &String| {
                    let found = SwarmKind::ALL.iter().find(|(known, _)| known == name);
                    match found {
                        Some((_, kind)) => Ok(*kind),
                        None => {
                            let all = SwarmKind::ALL.map(|(name, _)| name).join(", ");
                            let message = format!("no such kind `{name}`: there is {all}");
                            self.refuse(names.span(), message)
                        }
                    }
                };
                let mut kinds: Vec<_> =
                    names.as_ref().iter().map(known).collect::<Result<_, _>>()?;
                kinds.sort();
                kinds.dedup();
                kinds
            }
        };
        if !(1..=SWARM_FAULTS_MAX).contains(table.most.as_ref()) {
            return self.refuse(
                table.most.span(),
                format!("a swarm has 1 to {SWARM_FAULTS_MAX} faults"),
            );
        }
        if let Some(adversaries) = &table.adversaries
            && *adversaries.as_ref() > SWARM_ADVERSARIES_MAX
        {
            return self.refuse(
                adversaries.span(),
                format!("a swarm has at most {SWARM_ADVERSARIES_MAX} adversaries"),
            );
        }
        let (from, to, longest) = (
            table.from.as_ref().0,
            table.to.as_ref().0,
            table.longest.as_ref().0,
        );
        if to >= deadline {
            return self.refuse(
                table.to.span(),
                format!("the swarm could last beyond the deadline of {deadline:?}"),
            );
        }
        if longest < Duration::from_secs(1) || from.saturating_add(longest) > to {
            return self.refuse(
                table.longest.span(),
                "a fault lasts a second or longer, and fits between `from` and `to`",
            );
        }
        Ok(Swarm {
            kinds,
            most: *table.most.as_ref(),
            from,
            to,
            longest,
        })
    }
}
