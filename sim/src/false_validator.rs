//! A simulated host whose validator does not play by the rules.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use smartnodes_actors::{self as actors, FalseValidator, Group};
use smartnodes_node::identity::Identity;
use smartnodes_scenarios::{HostName, Scenario, ValidatorMisdeed};

use crate::draw;
use crate::host::{Host, killed_here};

/// What a host's validator does in its node's place, and with whom.
pub struct FalsePart {
    misdeed: actors::ValidatorMisdeed,
    group: Group,
}

impl FalsePart {
    /// The part that a scenario gives to a host, if it gives it one. All who do the same do it together.
    pub fn of(
        scenario: &Scenario,
        name: HostName,
        identities: &BTreeMap<HostName, Identity>,
        seed: u64,
    ) -> Option<FalsePart> {
        let misdeed = *scenario.validator_misdeeds.get(&name)?;
        let accomplices = scenario.validator_misdeeds.iter();
        let accomplices = accomplices.filter(|(_, other)| **other == misdeed);
        let members = accomplices.filter_map(|(host, _)| identities.get(host));
        let label = format!("secret of the {} validators", misdeed.name());
        Some(FalsePart {
            misdeed: actor(misdeed),
            group: Group {
                members: members.map(Identity::address).collect(),
                secret: B256::from(draw::bytes(seed, &label)),
            },
        })
    }
}

fn actor(misdeed: ValidatorMisdeed) -> actors::ValidatorMisdeed {
    match misdeed {
        ValidatorMisdeed::Silent => actors::ValidatorMisdeed::Silent,
        ValidatorMisdeed::Lazy => actors::ValidatorMisdeed::Lazy,
        ValidatorMisdeed::Colluding => actors::ValidatorMisdeed::Colluding,
        ValidatorMisdeed::Censoring => actors::ValidatorMisdeed::Censoring,
        ValidatorMisdeed::Expelling => actors::ValidatorMisdeed::Expelling,
        ValidatorMisdeed::WrongTotal => actors::ValidatorMisdeed::WrongTotal,
        ValidatorMisdeed::Withholding => actors::ValidatorMisdeed::Withholding,
        ValidatorMisdeed::Late => actors::ValidatorMisdeed::Late,
        ValidatorMisdeed::Equivocating => actors::ValidatorMisdeed::Equivocating,
        ValidatorMisdeed::Forging => actors::ValidatorMisdeed::Forging,
        ValidatorMisdeed::Griefing => actors::ValidatorMisdeed::Griefing,
        ValidatorMisdeed::Duplicating => actors::ValidatorMisdeed::Duplicating,
        ValidatorMisdeed::Understating => actors::ValidatorMisdeed::Understating,
        ValidatorMisdeed::Stonewalling => actors::ValidatorMisdeed::Stonewalling,
        ValidatorMisdeed::Overstating => actors::ValidatorMisdeed::Overstating,
        ValidatorMisdeed::Returning => actors::ValidatorMisdeed::Returning,
        ValidatorMisdeed::Grinding => actors::ValidatorMisdeed::Grinding,
        ValidatorMisdeed::Swapping => actors::ValidatorMisdeed::Swapping,
        ValidatorMisdeed::Padding => actors::ValidatorMisdeed::Padding,
        ValidatorMisdeed::DustGreedy => actors::ValidatorMisdeed::DustGreedy,
    }
}

impl Host {
    /// Runs the false validator; never ends by itself.
    pub(crate) async fn play_false(&self, part: &FalsePart) {
        let mut validator = loop {
            let started = match self.parts() {
                Ok(parts) => {
                    let (config, group) = (self.config.clone(), part.group.clone());
                    FalseValidator::start(part.misdeed, group, config, parts).await
                }
                Err(error) => Err(error),
            };
            match started {
                Ok(validator) => break validator,
                Err(error) if self.can_start_later(&error).await => {}
                Err(_) => return,
            }
        };
        let ended = validator.stopped().await;
        killed_here().await;
        self.violations.add(
            "node-runs",
            format!("a task of {} has ended: {ended:?}", self.name),
        );
    }
}
