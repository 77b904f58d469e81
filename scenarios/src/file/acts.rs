//! Acts as a scenario file writes them.

use std::ops::Range;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::Check;
use crate::spot::Spot;
use crate::units::Span;
use crate::{
    Act, ActKind, ActTime, Change, Ether, HostName, Percent, Role, Scenario, ScenarioError, Sno,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActTable {
    /// What is done.
    #[schemars(schema_with = "kind_schema")]
    kind: Spot<String>,
    /// Whose wallet signs: a host's name.
    by: Spot<String>,
    /// When, from the start of the run. Without any time, an act follows the one before it.
    at: Option<Spot<Span>>,
    /// It begins in this round.
    round: Option<Spot<u64>>,
    /// So long after the round has opened.
    after: Option<Spot<Span>>,
    /// It begins once this many updates have been executed.
    after_update: Option<Spot<u64>>,
    /// The contracts' error with which its last transaction must fail, such as "Token__RewardsAlreadyClaimed".
    pub(super) reverts: Option<Spot<String>>,
    /// What it waits for may never happen: then the run ends without it.
    #[serde(default)]
    may_miss: bool,
    /// It is done only beyond the scenario's limit, where a run goes on there.
    #[serde(default)]
    beyond_limit: bool,
    /// Of claim-foreign: whose claim is made again. Of govern, to slash: which validator.
    of: Option<Spot<String>>,
    /// Of claim-again, claim-foreign, claim-unknown, claim-batch and claim-wrong-capacity: the distribution of the claim that is copied.
    distribution: Option<Spot<u64>>,
    /// Of refund-in-eth and donate: how much.
    amount: Option<Spot<Ether>>,
    /// Of govern: "update-interval", "approval", "validator-collateral" or "slash".
    change: Option<Spot<String>>,
    /// Of govern: the value that is proposed, such as "2h", "75%" or "500000 SNO"; what slash burns.
    to: Option<Spot<String>>,
    /// Of govern: hosts that vote in favour.
    votes: Option<Spot<Vec<String>>>,
    /// Of govern: true if it is to be executed the moment it is queued.
    hasty: Option<Spot<bool>>,
}

/// Name, whose act it can be, and the fields that only some kinds have.
const KINDS: [(&str, Option<Role>, &[&str]); 14] = [
    ("join", Some(Role::Validator), &[]),
    ("leave", Some(Role::Validator), &[]),
    ("rejoin", Some(Role::Validator), &[]),
    ("unlock", Some(Role::Validator), &[]),
    ("claim-again", Some(Role::Worker), &["distribution"]),
    ("claim-foreign", None, &["of", "distribution"]),
    ("claim-unknown", Some(Role::Worker), &["distribution"]),
    ("claim-batch", Some(Role::Worker), &["distribution"]),
    (
        "claim-wrong-capacity",
        Some(Role::Worker),
        &["distribution"],
    ),
    ("cancel-job", Some(Role::User), &[]),
    ("rotate-key", Some(Role::Validator), &[]),
    ("refund-in-eth", None, &["amount"]),
    ("donate", None, &["amount"]),
    ("govern", None, &["change", "of", "to", "votes", "hasty"]),
];

fn kind_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": KINDS.map(|(kind, ..)| kind) })
}

impl Check<'_> {
    pub(super) fn acts(
        &self,
        spots: &[Spot<ActTable>],
        scenario: &Scenario,
    ) -> Result<Vec<Act>, ScenarioError> {
        let mut acts = Vec::with_capacity(spots.len());
        for spot in spots {
            let act = self.act(spot, scenario)?;
            if acts.is_empty() && act.when == ActTime::Next {
                return self.refuse(
                    spot.span(),
                    "when does it begin? Give `at`, `round` or `after_update`; only later acts can follow another",
                );
            }
            acts.push(act);
        }
        Ok(acts)
    }

    fn act(&self, spot: &Spot<ActTable>, scenario: &Scenario) -> Result<Act, ScenarioError> {
        let table = spot.as_ref();
        let name = table.kind.as_ref().as_str();
        let Some((_, role, fields)) = KINDS.iter().find(|(kind, ..)| *kind == name) else {
            let names = KINDS.map(|(kind, ..)| kind).join(", ");
            return self.refuse(table.kind.span(), format!("no such act: there is {names}"));
        };
        let given = [
            ("of", table.of.as_ref().map(Spot::span)),
            ("distribution", table.distribution.as_ref().map(Spot::span)),
            ("amount", table.amount.as_ref().map(Spot::span)),
            ("change", table.change.as_ref().map(Spot::span)),
            ("to", table.to.as_ref().map(Spot::span)),
            ("votes", table.votes.as_ref().map(Spot::span)),
            ("hasty", table.hasty.as_ref().map(Spot::span)),
        ];
        for (field, span) in given {
            if let Some(span) = span
                && !fields.contains(&field)
            {
                return self.refuse(span, format!("an act of kind {name} has no `{field}`"));
            }
        }
        let by = self.host_named(table.by.as_ref(), table.by.span(), scenario)?;
        if let Some(role) = role
            && by.role != *role
        {
            return self.refuse(
                table.by.span(),
                format!("only a {role} can do this: {name}"),
            );
        }
        if let Some(error) = &table.reverts {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if error.as_ref().is_empty() || !error.as_ref().chars().all(plain) {
                return self.refuse(error.span(), "the name of an error, without arguments");
            }
        }
        Ok(Act {
            by,
            kind: self.act_kind(spot, by, scenario)?,
            when: self.act_time(spot, scenario)?,
            reverts: table.reverts.as_ref().map(|error| error.as_ref().clone()),
            may_miss: table.may_miss,
            beyond_limit: table.beyond_limit,
        })
    }

    fn act_kind(
        &self,
        spot: &Spot<ActTable>,
        by: HostName,
        scenario: &Scenario,
    ) -> Result<ActKind, ScenarioError> {
        let table = spot.as_ref();
        let distribution = || -> Result<u64, ScenarioError> {
            let number = self.needed(&table.distribution, "distribution", spot.span())?;
            let span = table
                .distribution
                .as_ref()
                .map_or(spot.span(), |number| number.span());
            if !(1..=scenario.updates).contains(number) {
                let message = format!("distributions are 1 to {} here", scenario.updates);
                return self.refuse(span, message);
            }
            Ok(*number)
        };
        let amount = || -> Result<Ether, ScenarioError> {
            let amount = *self.needed(&table.amount, "amount", spot.span())?;
            let span = table
                .amount
                .as_ref()
                .map_or(spot.span(), |amount| amount.span());
            if !(1..=Ether::SPENDABLE.wei()).contains(&amount.wei()) {
                let message = format!(
                    "an amount is above zero, and at most {}: a wallet has gas to pay too",
                    Ether::SPENDABLE
                );
                return self.refuse(span, message);
            }
            Ok(amount)
        };
        Ok(match table.kind.as_ref().as_str() {
            "join" => ActKind::Join,
            "leave" => ActKind::Leave,
            "rejoin" => ActKind::Rejoin,
            "unlock" => ActKind::Unlock,
            "claim-again" => ActKind::ClaimAgain {
                distribution: distribution()?,
            },
            "claim-foreign" => {
                let name = self.needed(&table.of, "of", spot.span())?;
                let span = table.of.as_ref().map_or(spot.span(), |of| of.span());
                let of = self.host_named(name, span.clone(), scenario)?;
                if of.role != Role::Worker || of == by {
                    return self.refuse(span, "the claim is another host's, and a worker's");
                }
                ActKind::ClaimForeign {
                    of,
                    distribution: distribution()?,
                }
            }
            "claim-unknown" => ActKind::ClaimUnknown {
                distribution: distribution()?,
            },
            "claim-batch" => ActKind::ClaimBatch {
                distribution: distribution()?,
            },
            "claim-wrong-capacity" => ActKind::ClaimWrongCapacity {
                distribution: distribution()?,
            },
            "cancel-job" => ActKind::CancelJob,
            "rotate-key" => ActKind::RotateKey,
            "refund-in-eth" => ActKind::RefundInEth { payment: amount()? },
            "donate" => ActKind::Donate { amount: amount()? },
            _ => ActKind::Govern {
                change: self.change(spot, scenario)?,
                votes: self.voters(&table.votes, scenario)?,
                hasty: table.hasty.as_ref().is_some_and(|hasty| *hasty.as_ref()),
            },
        })
    }

    fn change(&self, spot: &Spot<ActTable>, scenario: &Scenario) -> Result<Change, ScenarioError> {
        let table = spot.as_ref();
        let change = self.needed(&table.change, "change", spot.span())?;
        let to = self.needed(&table.to, "to", spot.span())?;
        let span = |field: &Option<Spot<String>>| field.as_ref().map_or(spot.span(), Spot::span);
        let parsed = match change.as_str() {
            "update-interval" => crate::units::duration(to).map(Change::UpdateInterval),
            "approval" => Percent::parse(to).map(Change::Approval),
            "validator-collateral" => Sno::parse(to).map(Change::ValidatorCollateral),
            "slash" => {
                let name = self.needed(&table.of, "of", spot.span())?;
                let of = self.host_named(name, span(&table.of), scenario)?;
                if of.role != Role::Validator {
                    return self.refuse(span(&table.of), "only a validator can be slashed");
                }
                Sno::parse(to).map(|amount| Change::Slash { of, amount })
            }
            _ => {
                return self.refuse(
                    span(&table.change),
                    "there is update-interval, approval, validator-collateral, slash",
                );
            }
        };
        if let (Some(of), true) = (&table.of, change != "slash") {
            return self.refuse(of.span(), "only slash is of somebody");
        }
        match parsed {
            Ok(Change::UpdateInterval(interval)) if interval.subsec_nanos() != 0 => {
                self.refuse(span(&table.to), "the chain counts in whole seconds")
            }
            Ok(Change::Approval(share)) if share.whole().is_none() => {
                self.refuse(span(&table.to), "the share to exceed is a whole per cent")
            }
            Ok(change) => Ok(change),
            Err(message) => self.refuse(span(&table.to), message),
        }
    }

    fn voters(
        &self,
        names: &Option<Spot<Vec<String>>>,
        scenario: &Scenario,
    ) -> Result<Vec<HostName>, ScenarioError> {
        let Some(names) = names else {
            return Ok(Vec::new());
        };
        let mut hosts = Vec::new();
        for name in names.as_ref() {
            let host = self.host_named(name, names.span(), scenario)?;
            if hosts.contains(&host) {
                return self.refuse(names.span(), format!("{host} votes once"));
            }
            hosts.push(host);
        }
        Ok(hosts)
    }

    fn act_time(
        &self,
        spot: &Spot<ActTable>,
        scenario: &Scenario,
    ) -> Result<ActTime, ScenarioError> {
        let table = spot.as_ref();
        if let (Some(after), None) = (&table.after, &table.round) {
            return self.refuse(
                after.span(),
                "after what? `after` goes with `round`; with `at`, give a later time",
            );
        }
        let beyond = |span: Range<usize>, from: Duration| -> Result<(), ScenarioError> {
            if from < scenario.deadline {
                return Ok(());
            }
            let message = format!("it begins beyond the deadline of {:?}", scenario.deadline);
            self.refuse(span, message)
        };
        match (&table.at, &table.round, &table.after_update) {
            (Some(at), None, None) => {
                beyond(at.span(), at.as_ref().0)?;
                Ok(ActTime::At(at.as_ref().0))
            }
            (None, Some(round), None) => {
                if *round.as_ref() == 0 {
                    return self.refuse(round.span(), "rounds are numbered from 1");
                }
                let after = table
                    .after
                    .as_ref()
                    .map_or(Duration::ZERO, |a| a.as_ref().0);
                Ok(ActTime::Round {
                    number: *round.as_ref(),
                    after,
                })
            }
            (None, None, Some(_)) => Ok(ActTime::AfterUpdate(
                self.after_update(&table.after_update, scenario.updates)?,
            )),
            (None, None, None) => Ok(ActTime::Next),
            _ => self.refuse(
                spot.span(),
                "an act begins once: give one of `at`, `round` and `after_update`",
            ),
        }
    }

    /// Joins come once, from validators that are there.
    pub(super) fn newcomers(
        &self,
        spots: &[Spot<ActTable>],
        scenario: &Scenario,
    ) -> Result<(), ScenarioError> {
        let mut joined = Vec::new();
        for (act, spot) in scenario.acts.iter().zip(spots) {
            if act.kind != ActKind::Join {
                continue;
            }
            if joined.contains(&act.by) {
                return self.refuse(spot.span(), format!("{} joins twice", act.by));
            }
            joined.push(act.by);
        }
        if joined.len() == scenario.validators {
            return self.refuse(
                spots.first().map_or(0..0, Spot::span),
                "without a validator that has a seat from the start, no round can ever be opened",
            );
        }
        Ok(())
    }
}
