//! Faults as a scenario file writes them.

use std::ops::Range;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::Check;
use super::moment::{LastsValue, MomentValue};
use crate::spot::Spot;
use crate::units::{Rate, Span};
use crate::{
    Direction, Fault, FaultKind, Moment, PartitionStyle, Percent, Role, Scenario, ScenarioError,
    Unsynced, Victim, When,
};

/// Most restarts of one restart loop.
const RESTARTS_MAX: u32 = 100;
/// Deepest reorganisation, in blocks: what the chain host keeps the oracle's books for.
const REORG_DEPTH_MAX: u64 = 64;
/// Highest base fee, in times the fee before.
const FEE_TIMES_MAX: u32 = 10_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultTable {
    /// What happens.
    #[schemars(schema_with = "kind_schema")]
    kind: Spot<String>,
    /// Whom it strikes: a host's name, "chain", "any", "any validator", "all" or "all workers".
    host: Option<Spot<String>>,
    /// Several of these.
    hosts: Option<Spot<Vec<String>>>,
    /// When it begins, from the start of the run.
    at: Option<Spot<MomentValue>>,
    /// It begins in this round.
    round: Option<Spot<u64>>,
    /// So long after the round has opened.
    after: Option<Spot<MomentValue>>,
    /// It begins when a host passes this fail point, such as "vote/sent".
    pub(super) point: Option<Spot<String>>,
    /// At which passing, from 1.
    pass: Option<Spot<u64>>,
    /// Which host must pass it, if not the one that is struck.
    by_host: Option<Spot<String>>,
    /// Of crash, restart-loop, bit-flip and disk-lost: how long the process is down; a crash may last "forever".
    down_for: Option<Spot<LastsValue>>,
    /// How long it lasts; a partition or a fee-spike may last "forever".
    lasts: Option<Spot<LastsValue>>,
    /// It may turn out to affect nothing, which is a violation otherwise.
    may_miss: Option<bool>,
    /// Of crash: whether unsynced writes are "lost" or "torn".
    unsynced: Option<Spot<String>>,
    /// Of restart-loop: how often; of fee-spike: to how many times the fee before.
    times: Option<Spot<u32>>,
    /// Of restart-loop: how long the process runs in between.
    up_for: Option<Spot<MomentValue>>,
    /// The other side of a partition, reset or link; left out: everybody else and the chain.
    against: Option<Spot<Vec<String>>>,
    /// Of partition: "silent" or "loud".
    style: Option<Spot<String>>,
    /// Of partition: which messages of the hosts are held up, "both", "in" or "out".
    direction: Option<Spot<String>>,
    /// Of link: how long a message travels.
    latency: Option<Spot<MomentValue>>,
    /// Of link: chance that a message needs to be sent again.
    loss: Option<Spot<Percent>>,
    /// Of link: how much passes.
    bandwidth: Option<Spot<Rate>>,
    /// Of disk-slow: how long a sync takes.
    sync_takes: Option<Spot<Span>>,
    /// Of what strikes requests to the chain: which endpoint, from 1; left out: all.
    endpoint: Option<Spot<usize>>,
    /// Of clock-skew and clock-drift: the clock is slow rather than fast.
    behind: Option<Spot<bool>>,
    /// Of inclusion-delay: how long transactions are kept back; of reorder-transactions: how long at most; of timestamp-drift: how far blocks are ahead; of time-jump:
    /// how far the chain's time jumps; of clock-skew and clock-drift: how wrong the clock is (in the end).
    by: Option<Spot<Span>>,
    /// Of drop-transactions: the chance to be thrown away.
    share: Option<Spot<Percent>>,
    /// Of reorg: how many blocks.
    depth: Option<Spot<u64>>,
    /// Of reorg: true if their transactions do not wait again, but are gone.
    forgets: Option<Spot<bool>>,
}

/// Whom a kind strikes.
#[derive(PartialEq)]
enum Strikes {
    Hosts,
    /// Hosts' dealings with the chain: all of them unless some are named.
    Requests,
    Chain,
}

/// How long a kind lasts.
#[derive(PartialEq)]
enum Lasts {
    AtOnce,
    Down,
    While,
}

/// Name, whom it strikes, how long it lasts, and the fields that only some kinds have.
const KINDS: [(&str, Strikes, Lasts, &[&str]); 24] = [
    ("crash", Strikes::Hosts, Lasts::Down, &["unsynced"]),
    (
        "restart-loop",
        Strikes::Hosts,
        Lasts::Down,
        &["times", "up_for"],
    ),
    ("pause", Strikes::Hosts, Lasts::While, &[]),
    (
        "partition",
        Strikes::Hosts,
        Lasts::While,
        &["against", "style", "direction"],
    ),
    ("reset", Strikes::Hosts, Lasts::AtOnce, &["against"]),
    (
        "link",
        Strikes::Hosts,
        Lasts::While,
        &["against", "latency", "loss", "bandwidth"],
    ),
    ("disk-full", Strikes::Hosts, Lasts::While, &[]),
    ("disk-sync-fails", Strikes::Hosts, Lasts::While, &[]),
    ("disk-slow", Strikes::Hosts, Lasts::While, &["sync_takes"]),
    ("bit-flip", Strikes::Hosts, Lasts::Down, &[]),
    ("disk-lost", Strikes::Hosts, Lasts::Down, &[]),
    (
        "clock-skew",
        Strikes::Hosts,
        Lasts::While,
        &["by", "behind"],
    ),
    (
        "clock-drift",
        Strikes::Hosts,
        Lasts::While,
        &["by", "behind"],
    ),
    ("rpc-outage", Strikes::Requests, Lasts::While, &[]),
    ("rpc-stale", Strikes::Requests, Lasts::While, &[]),
    ("rpc-lies", Strikes::Requests, Lasts::While, &[]),
    ("inclusion-delay", Strikes::Requests, Lasts::While, &["by"]),
    (
        "reorder-transactions",
        Strikes::Requests,
        Lasts::While,
        &["by"],
    ),
    (
        "drop-transactions",
        Strikes::Requests,
        Lasts::While,
        &["share"],
    ),
    (
        "reorg",
        Strikes::Chain,
        Lasts::AtOnce,
        &["depth", "forgets"],
    ),
    ("fee-spike", Strikes::Chain, Lasts::While, &["times"]),
    ("sequencer-stop", Strikes::Chain, Lasts::While, &[]),
    ("time-jump", Strikes::Chain, Lasts::AtOnce, &["by"]),
    ("timestamp-drift", Strikes::Chain, Lasts::While, &["by"]),
];

fn kind_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": KINDS.map(|(kind, ..)| kind) })
}

impl Check<'_> {
    pub(super) fn fault(
        &self,
        spot: &Spot<FaultTable>,
        scenario: &Scenario,
    ) -> Result<Fault, ScenarioError> {
        let table = spot.as_ref();
        let name = table.kind.as_ref().as_str();
        let Some((_, strikes, lasts, fields)) = KINDS.iter().find(|(kind, ..)| *kind == name)
        else {
            let names = KINDS.map(|(kind, ..)| kind).join(", ");
            return self.refuse(
                table.kind.span(),
                format!("no such fault: there is {names}"),
            );
        };
        self.only(table, name, strikes, lasts, fields)?;
        let hosts = self.victims(spot, strikes, scenario)?;
        let lasts = match lasts {
            Lasts::AtOnce => Moment::ZERO,
            Lasts::Down => self.needed(&table.down_for, "down_for", spot.span())?.0,
            Lasts::While => self.needed(&table.lasts, "lasts", spot.span())?.0,
        };
        let when = self.when(spot, scenario, lasts)?;
        if let Some(span) = table.down_for.as_ref().or(table.lasts.as_ref())
            && lasts.latest().is_zero()
        {
            return self.refuse(span.span(), "a fault lasts longer than nothing");
        }
        if let Some(span) = table.down_for.as_ref().or(table.lasts.as_ref())
            && lasts == Moment::FOREVER
            && !["crash", "partition", "fee-spike"].contains(&name)
        {
            let message = format!(
                "a {name} has an end: only a crash, a partition or a fee-spike is for ever"
            );
            return self.refuse(span.span(), message);
        }
        Ok(Fault {
            kind: self.kind(spot, scenario)?,
            hosts,
            when,
            lasts,
            endpoint: self.endpoint(&table.endpoint, scenario)?,
            may_miss: table.may_miss.unwrap_or(false),
        })
    }

    fn endpoint(
        &self,
        number: &Option<Spot<usize>>,
        scenario: &Scenario,
    ) -> Result<Option<usize>, ScenarioError> {
        let count = scenario.endpoint_count();
        match number {
            Some(number) if !(1..=count).contains(number.as_ref()) => {
                let message = format!(
                    "endpoints are numbered from 1 to {count} here; [chain] endpoints says how many there are"
                );
                self.refuse(number.span(), message)
            }
            number => Ok(number.as_ref().map(|number| *number.as_ref())),
        }
    }

    /// Refuses fields that this kind does not have.
    fn only(
        &self,
        table: &FaultTable,
        name: &str,
        strikes: &Strikes,
        lasts: &Lasts,
        fields: &[&str],
    ) -> Result<(), ScenarioError> {
        fn at<T>(field: &Option<Spot<T>>) -> Option<Range<usize>> {
            field.as_ref().map(Spot::span)
        }
        let given = [
            ("host", at(&table.host), *strikes != Strikes::Chain),
            ("hosts", at(&table.hosts), *strikes != Strikes::Chain),
            ("down_for", at(&table.down_for), *lasts == Lasts::Down),
            ("lasts", at(&table.lasts), *lasts == Lasts::While),
            ("unsynced", at(&table.unsynced), false),
            ("times", at(&table.times), false),
            ("up_for", at(&table.up_for), false),
            ("against", at(&table.against), false),
            ("style", at(&table.style), false),
            ("direction", at(&table.direction), false),
            ("latency", at(&table.latency), false),
            ("loss", at(&table.loss), false),
            ("bandwidth", at(&table.bandwidth), false),
            ("sync_takes", at(&table.sync_takes), false),
            (
                "endpoint",
                at(&table.endpoint),
                *strikes == Strikes::Requests,
            ),
            ("behind", at(&table.behind), false),
            ("by", at(&table.by), false),
            ("share", at(&table.share), false),
            ("depth", at(&table.depth), false),
            ("forgets", at(&table.forgets), false),
        ];
        for (field, span, allowed) in given {
            if let Some(span) = span
                && !allowed
                && !fields.contains(&field)
            {
                return self.refuse(span, format!("a fault of kind {name} has no `{field}`"));
            }
        }
        Ok(())
    }

    pub(super) fn needed<'a, T>(
        &self,
        field: &'a Option<Spot<T>>,
        name: &str,
        table: Range<usize>,
    ) -> Result<&'a T, ScenarioError> {
        match field {
            Some(value) => Ok(value.as_ref()),
            None => self.refuse(table, format!("missing field `{name}`")),
        }
    }

    fn victims(
        &self,
        spot: &Spot<FaultTable>,
        strikes: &Strikes,
        scenario: &Scenario,
    ) -> Result<Vec<Victim>, ScenarioError> {
        let table = spot.as_ref();
        match (&table.host, &table.hosts, strikes) {
            (Some(host), None, _) => Ok(vec![self.victim(host.as_ref(), host.span(), scenario)?]),
            (None, Some(hosts), _) => self.group(hosts, scenario),
            (None, None, Strikes::Chain) => Ok(Vec::new()),
            (None, None, Strikes::Requests) => Ok(vec![Victim::All(None)]),
            (None, None, Strikes::Hosts) => self.refuse(spot.span(), "missing field `host`"),
            (Some(_), Some(hosts), _) => {
                self.refuse(hosts.span(), "give `host` or `hosts`, not both")
            }
        }
    }

    fn group(
        &self,
        names: &Spot<Vec<String>>,
        scenario: &Scenario,
    ) -> Result<Vec<Victim>, ScenarioError> {
        if names.as_ref().is_empty() {
            return self.refuse(names.span(), "name at least one host");
        }
        let victims = names.as_ref().iter();
        victims
            .map(|name| self.victim(name, names.span(), scenario))
            .collect()
    }

    fn victim(
        &self,
        name: &str,
        span: Range<usize>,
        scenario: &Scenario,
    ) -> Result<Victim, ScenarioError> {
        let role = |words: &str| {
            let mut roles = Role::ALL.into_iter();
            roles.find(|role| {
                words == role.to_string() && scenario.hosts().any(|host| host.role == *role)
            })
        };
        match name {
            "chain" => return Ok(Victim::Chain),
            "any" => return Ok(Victim::Any(None)),
            "all" => return Ok(Victim::All(None)),
            _ => {}
        }
        if let Some(role) = name.strip_prefix("any ").and_then(role) {
            return Ok(Victim::Any(Some(role)));
        }
        let plural = name.strip_prefix("all ").and_then(|n| n.strip_suffix('s'));
        if let Some(role) = plural.and_then(role) {
            return Ok(Victim::All(Some(role)));
        }
        self.host_named(name, span, scenario).map(Victim::Named)
    }

    fn when(
        &self,
        spot: &Spot<FaultTable>,
        scenario: &Scenario,
        lasts: Moment,
    ) -> Result<When, ScenarioError> {
        let table = spot.as_ref();
        let lonely = |field: &str, span: Range<usize>, needs: &str| {
            self.refuse(span, format!("`{field}` has a meaning only with `{needs}`"))
        };
        match (&table.after, &table.pass, &table.by_host) {
            (Some(after), ..) if table.round.is_none() => lonely("after", after.span(), "round")?,
            (_, Some(pass), _) if table.point.is_none() => lonely("pass", pass.span(), "point")?,
            (.., Some(by)) if table.point.is_none() => lonely("by_host", by.span(), "point")?,
            _ => {}
        }
        match (&table.at, &table.round, &table.point) {
            (Some(at), None, None) => {
                let latest = at.as_ref().0.latest();
                let at_most = match lasts {
                    Moment::FOREVER => latest,
                    _ => latest.saturating_add(lasts.latest()),
                };
                if at_most >= scenario.deadline {
                    let message = format!(
                        "the fault could last beyond the deadline of {:?}",
                        scenario.deadline
                    );
                    return self.refuse(at.span(), message);
                }
                Ok(When::At(at.as_ref().0))
            }
            (None, Some(round), None) => {
                if *round.as_ref() == 0 {
                    return self.refuse(round.span(), "rounds are numbered from 1");
                }
                Ok(When::Round {
                    number: *round.as_ref(),
                    after: table.after.as_ref().map_or(Moment::ZERO, |a| a.as_ref().0),
                })
            }
            (None, None, Some(point)) => {
                if point
                    .as_ref()
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .count()
                    != 2
                {
                    return self.refuse(
                        point.span(),
                        "a fail point is a scope and a step, such as \"vote/sent\"",
                    );
                }
                let pass = table.pass.as_ref().map_or(1, |pass| *pass.as_ref());
                if pass == 0 {
                    let span = table.pass.as_ref().map_or(point.span(), Spot::span);
                    return self.refuse(span, "passings are numbered from 1");
                }
                let by = table.by_host.as_ref();
                Ok(When::Point {
                    point: point.as_ref().clone(),
                    pass,
                    by: by
                        .map(|by| self.host_named(by.as_ref(), by.span(), scenario))
                        .transpose()?,
                })
            }
            (None, None, None) => self.refuse(
                spot.span(),
                "when does it begin? Give `at`, `round` or `point`",
            ),
            _ => self.refuse(
                spot.span(),
                "a fault begins once: give one of `at`, `round` and `point`",
            ),
        }
    }

    fn kind(
        &self,
        spot: &Spot<FaultTable>,
        scenario: &Scenario,
    ) -> Result<FaultKind, ScenarioError> {
        let table = spot.as_ref();
        let against = || match &table.against {
            Some(names) => self.group(names, scenario),
            None => Ok(Vec::new()),
        };
        let bounded = |field: &Option<Spot<u32>>, name: &str, max: u32| match field {
            Some(value) if (1..=max).contains(value.as_ref()) => Ok(*value.as_ref()),
            Some(value) => self.refuse(value.span(), format!("`{name}` is 1 to {max}")),
            None => self.refuse(spot.span(), format!("missing field `{name}`")),
        };
        let positive =
            |field: &Option<Spot<Span>>, name: &str| -> Result<Duration, ScenarioError> {
                let Some(value) = field else {
                    return self.refuse(spot.span(), format!("missing field `{name}`"));
                };
                if value.as_ref().0.is_zero() {
                    return self.refuse(value.span(), format!("`{name}` is longer than nothing"));
                }
                Ok(value.as_ref().0)
            };
        let seconds = |field: &Option<Spot<Span>>| -> Result<Duration, ScenarioError> {
            let by = positive(field, "by")?;
            if by.subsec_nanos() != 0 {
                let span = field.as_ref().map_or(spot.span(), Spot::span);
                return self.refuse(span, "the chain counts in whole seconds");
            }
            Ok(by)
        };
        let behind = || table.behind.as_ref().is_some_and(|behind| *behind.as_ref());
        Ok(match table.kind.as_ref().as_str() {
            "crash" => FaultKind::Crash {
                unsynced: self.choice(
                    &table.unsynced,
                    &[("lost", Unsynced::Lost), ("torn", Unsynced::Torn)],
                )?,
            },
            "restart-loop" => FaultKind::RestartLoop {
                times: bounded(&table.times, "times", RESTARTS_MAX)?,
                up_for: self.needed(&table.up_for, "up_for", spot.span())?.0,
            },
            "pause" => FaultKind::Pause,
            "partition" => FaultKind::Partition {
                against: against()?,
                style: self.choice(
                    &table.style,
                    &[
                        ("silent", PartitionStyle::Silent),
                        ("loud", PartitionStyle::Loud),
                    ],
                )?,
                direction: self.choice(
                    &table.direction,
                    &[
                        ("both", Direction::Both),
                        ("in", Direction::In),
                        ("out", Direction::Out),
                    ],
                )?,
            },
            "reset" => FaultKind::Reset {
                against: against()?,
            },
            "link" => self.link(spot, against()?)?,
            "disk-full" => FaultKind::DiskFull,
            "disk-sync-fails" => FaultKind::DiskSyncFails,
            "disk-slow" => FaultKind::DiskSlow {
                sync_takes: positive(&table.sync_takes, "sync_takes")?,
            },
            "bit-flip" => FaultKind::BitFlip,
            "disk-lost" => FaultKind::DiskLost,
            "clock-skew" => FaultKind::ClockSkew {
                by: seconds(&table.by)?,
                behind: behind(),
            },
            "clock-drift" => FaultKind::ClockDrift {
                by: seconds(&table.by)?,
                behind: behind(),
            },
            "rpc-outage" => FaultKind::RpcOutage,
            "rpc-stale" => FaultKind::RpcStale,
            "rpc-lies" => FaultKind::RpcLies,
            "inclusion-delay" => FaultKind::InclusionDelay {
                by: positive(&table.by, "by")?,
            },
            "reorder-transactions" => FaultKind::ReorderTransactions {
                by: positive(&table.by, "by")?,
            },
            "drop-transactions" => FaultKind::DropTransactions {
                share: *self.needed(&table.share, "share", spot.span())?,
            },
            "reorg" => {
                let depth = *self.needed(&table.depth, "depth", spot.span())?;
                if !(1..=REORG_DEPTH_MAX).contains(&depth) {
                    let span = table.depth.as_ref().map_or(spot.span(), Spot::span);
                    return self.refuse(span, format!("`depth` is 1 to {REORG_DEPTH_MAX} blocks"));
                }
                let forgets = table.forgets.as_ref().is_some_and(|f| *f.as_ref());
                FaultKind::Reorg { depth, forgets }
            }
            "fee-spike" => FaultKind::FeeSpike {
                times: bounded(&table.times, "times", FEE_TIMES_MAX)?,
            },
            "sequencer-stop" => FaultKind::SequencerStop,
            "time-jump" => FaultKind::TimeJump {
                by: seconds(&table.by)?,
            },
            _ => FaultKind::TimestampDrift {
                by: seconds(&table.by)?,
            },
        })
    }

    fn link(
        &self,
        spot: &Spot<FaultTable>,
        against: Vec<Victim>,
    ) -> Result<FaultKind, ScenarioError> {
        let table = spot.as_ref();
        let latency = table.latency.as_ref();
        let latency = latency.map(|value| self.latency(value)).transpose()?;
        let loss = table.loss.as_ref();
        let loss = loss.map(|share| self.loss(share)).transpose()?;
        let bandwidth = table.bandwidth.as_ref().map(|rate| rate.as_ref().0);
        if latency.is_none() && loss.is_none() && bandwidth.is_none() {
            return self.refuse(
                spot.span(),
                "what is wrong with the link? Give `latency`, `loss` or `bandwidth`",
            );
        }
        Ok(FaultKind::Link {
            against,
            latency,
            loss,
            bandwidth,
        })
    }

    /// One of the named values, the first where nothing is said.
    fn choice<T: Copy>(
        &self,
        field: &Option<Spot<String>>,
        choices: &[(&str, T)],
    ) -> Result<T, ScenarioError> {
        let Some(field) = field else {
            return Ok(choices[0].1);
        };
        match choices.iter().find(|(name, _)| name == field.as_ref()) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.refuse(field.span(), format!("there is {}", names.join(", ")))
            }
        }
    }
}
