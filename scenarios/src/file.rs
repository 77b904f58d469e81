//! The file as it is written, and the checks that make a [`Scenario`] of it.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use self::acts::ActTable;
use self::endpoints::EndpointsValue;
use self::expect::ExpectTable;
use self::faults::FaultTable;
pub(crate) use self::names::check_names;
use self::network::NetworkTable;
use self::peers::PeerTable;
use self::swarm::SwarmTable;
use self::validators::{LimitTable, ValidatorTable};
use self::workers::WorkerTable;
use crate::error::Invalid;
use crate::spot::Spot;
use crate::units::Span;
use crate::{
    Chain, Ending, Guest, HOSTS_MAX, HostName, Job, Percent, Role, Scenario, ScenarioError, Sno,
    Transfer, USER_COLLATERAL, User, Work,
};

mod acts;
mod endpoints;
mod expect;
mod faults;
mod idlers;
mod moment;
mod names;
mod network;
mod peers;
mod swarm;
mod validators;
mod workers;

/// Networks whose workload is built into the node.
const NETWORKS: [&str; 3] = ["hash-chain", "matmul", "wasm"];
/// Largest matrices, in rows: what the node accepts (`smartnodes_node::work::matmul::SIZE_MAX`).
const SIZE_MAX: u16 = 512;
/// Most numbers in a module's input.
const NUMBERS_MAX: usize = 1_024;
/// Longest task, in steps: what the node accepts (`smartnodes_node::work::hash_chain::STEPS_MAX`).
const STEPS_MAX: u64 = 1 << 26;
/// Modules of `node/guests`.
const GUESTS: [(&str, Guest); 2] = [("primes", Guest::Primes), ("summary", Guest::Summary)];
/// Most workers for one task: the node's limit.
const REPLICATION_MAX: u8 = 7;
/// Most jobs of one user.
const JOBS_MAX: usize = 10_000;
/// Most state updates of one run.
const UPDATES_MAX: u64 = 100_000;
/// Fewest blocks in an update interval: a voting window is 1/32 of it and must span some.
const BLOCKS_PER_INTERVAL_MIN: u32 = 60;

/// A Smartnodes scenario.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Scenario")]
pub(crate) struct File {
    /// What it shows, in kebab case: as the file is called.
    name: Spot<String>,
    /// One line on it.
    summary: Spot<String>,
    /// Executed state updates that end the run; 0 lets it go on until the deadline.
    updates: Spot<u64>,
    /// Virtual time from the start by which the run must have ended.
    deadline: Spot<Span>,
    #[serde(default)]
    chain: ChainTable,
    #[serde(default)]
    network: NetworkTable,
    #[serde(default)]
    validator: Vec<Spot<ValidatorTable>>,
    #[serde(default)]
    worker: Vec<Spot<WorkerTable>>,
    #[serde(default)]
    user: Vec<Spot<UserTable>>,
    #[serde(default)]
    peer: Vec<Spot<PeerTable>>,
    #[serde(default)]
    transfer: Vec<TransferTable>,
    #[serde(default)]
    act: Vec<Spot<ActTable>>,
    #[serde(default)]
    fault: Vec<Spot<FaultTable>>,
    #[serde(default)]
    expect: ExpectTable,
    swarm: Option<SwarmTable>,
    limit: Option<LimitTable>,
}

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChainTable {
    /// Time between two blocks, in whole seconds; "2s" if left out.
    block_time: Option<Spot<Span>>,
    /// Time between two state updates, in whole seconds; "8h" if left out.
    update_interval: Option<Spot<Span>>,
    /// Share of a round's validators to be exceeded, a whole per cent; "66%" if left out.
    approval: Option<Spot<Percent>>,
    /// Artifacts (JSON with `contract` and `bytecode`) that take the places of contracts, by their paths from where the
    /// simulator is started.
    #[serde(default)]
    replaced: Vec<PathBuf>,
    /// How long before the start of the run the contracts were deployed, in whole seconds; left out: just before it.
    starts_at: Option<Spot<Span>>,
    /// How many endpoints every host knows, or "each": one for each host; 1 if left out.
    endpoints: Option<Spot<EndpointsValue>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UserTable {
    /// How many hosts.
    count: Spot<usize>,
    /// What they do: "honest" if left out.
    #[schemars(schema_with = "peers::user_behaviours")]
    behaviour: Option<Spot<String>>,
    /// The run may end before they had occasion to do anything wrong.
    #[serde(default)]
    may_idle: bool,
    /// Where they are: one of the network's regions.
    region: Option<Spot<String>>,
    #[serde(default)]
    job: Vec<JobTable>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JobTable {
    /// The network that is to run it: hash-chain, matmul or wasm.
    network: Spot<String>,
    /// Of hash-chain: sequential hashes.
    steps: Option<Spot<u64>>,
    /// Of matmul: rows of each matrix.
    size: Option<Spot<u16>>,
    /// Of wasm: the module, primes or summary.
    guest: Option<Spot<String>>,
    /// Of wasm: the input.
    numbers: Option<Spot<Vec<u64>>>,
    /// Modules that take the result further, one after the other.
    #[serde(default)]
    then: Vec<Spot<String>>,
    /// How many workers do each task.
    replication: Option<Spot<u8>>,
    /// What the user escrows; left out, the job is free.
    payment: Option<Spot<Sno>>,
    /// It begins once this many updates have been executed.
    after_update: Option<Spot<u64>>,
    /// So long after it has been admitted its user calls it off, and has its payment back in the end.
    cancel_after: Option<Spot<Span>>,
    /// It cannot be done: validators must say so, and its payment comes back in the end.
    #[serde(default)]
    fails: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TransferTable {
    /// The sender.
    from: Spot<String>,
    /// The receiver.
    to: Spot<String>,
    /// How much.
    amount: Spot<Sno>,
    /// It begins once this many updates have been executed.
    after_update: Option<Spot<u64>>,
}

pub(crate) fn parse(origin: &str, text: &str) -> Result<Scenario, ScenarioError> {
    let file: File = toml::from_str(text)
        .map_err(|e| Invalid::at(origin, text, e.span(), e.message().trim().to_owned()))?;
    let check = Check { origin, text };
    let scenario = check.scenario(&file)?;
    check.plan(&file, &scenario)?;
    Ok(scenario)
}

/// Checks that need more than one value at a time; errors point into the text.
struct Check<'a> {
    origin: &'a str,
    text: &'a str,
}

impl Check<'_> {
    fn refuse<T>(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Result<T, ScenarioError> {
        Err(Invalid::at(
            self.origin,
            self.text,
            Some(span),
            message.into(),
        ))
    }

    fn scenario(&self, file: &File) -> Result<Scenario, ScenarioError> {
        let name = file.name.as_ref();
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(kebab) {
            return self.refuse(
                file.name.span(),
                "a name has lower-case letters, digits and hyphens only",
            );
        }
        if file.summary.as_ref().is_empty() || file.summary.as_ref().contains('\n') {
            return self.refuse(
                file.summary.span(),
                "a summary is one line, and not an empty one",
            );
        }
        if *file.updates.as_ref() > UPDATES_MAX {
            return self.refuse(
                file.updates.span(),
                format!("a run has at most {UPDATES_MAX} state updates"),
            );
        }
        let chain = self.chain(&file.chain)?;
        let (validators, validator_misdeeds) = self.validators(&file.validator)?;
        let (workers, mut misdeeds) = self.workers(&file.worker)?;
        let users = self.users(&file.user, *file.updates.as_ref())?;
        misdeeds.extend(self.user_misdeeds(&file.user)?);
        let (peers, attacks) = self.peers(&file.peer)?;
        misdeeds.extend(attacks);
        if validators == 0 || workers == 0 {
            let missing = if validators == 0 {
                Role::Validator
            } else {
                Role::Worker
            };
            let message = format!("there is no {missing}: add [[{missing}]] with a count");
            return Err(Invalid::at(self.origin, self.text, None, message));
        }
        let hosts = validators + workers + users.len() + peers;
        if hosts > HOSTS_MAX {
            let message = format!("{hosts} hosts: at most {HOSTS_MAX}");
            return Err(Invalid::at(self.origin, self.text, None, message));
        }
        let network = self.network(file)?;
        let deadline = file.deadline.as_ref().0;
        let shortest = chain
            .update_interval
            .saturating_mul(u32::try_from(*file.updates.as_ref()).unwrap_or(u32::MAX));
        if deadline <= shortest {
            let message = format!(
                "the deadline leaves no time: {} updates need more than {shortest:?}",
                { file.updates.as_ref() }
            );
            return self.refuse(file.deadline.span(), message);
        }
        let mut scenario = Scenario {
            name: name.clone(),
            summary: file.summary.as_ref().clone(),
            updates: *file.updates.as_ref(),
            deadline,
            chain,
            network,
            validators,
            validator_misdeeds,
            limit: None,
            workers,
            misdeeds,
            may_idle: idlers::idlers(file),
            users,
            peers,
            transfers: Vec::new(),
            acts: Vec::new(),
            expect: self.expect(&file.expect)?,
            faults: Vec::new(),
            swarm: None,
        };
        scenario.transfers = file
            .transfer
            .iter()
            .map(|t| self.transfer(t, &scenario))
            .collect::<Result<_, _>>()?;
        scenario.acts = self.acts(&file.act, &scenario)?;
        self.newcomers(&file.act, &scenario)?;
        scenario.faults = file
            .fault
            .iter()
            .map(|f| self.fault(f, &scenario))
            .collect::<Result<_, _>>()?;
        scenario.swarm = file
            .swarm
            .as_ref()
            .map(|swarm| self.swarm(swarm, deadline))
            .transpose()?;
        match &file.limit {
            None => Ok(scenario),
            Some(limit) => self.limit(limit, scenario),
        }
    }

    fn chain(&self, table: &ChainTable) -> Result<Chain, ScenarioError> {
        let seconds = |value: &Option<Spot<Span>>, default: u64| match value {
            None => Ok(Duration::from_secs(default)),
            Some(span) if span.as_ref().0.is_zero() || span.as_ref().0.subsec_nanos() != 0 => self
                .refuse(
                    span.span(),
                    "the chain counts in whole seconds, at least one",
                ),
            Some(span) => Ok(span.as_ref().0),
        };
        let block_time = seconds(&table.block_time, 2)?;
        let update_interval = seconds(&table.update_interval, 8 * 60 * 60)?;
        if update_interval < block_time * BLOCKS_PER_INTERVAL_MIN {
            let span = table
                .update_interval
                .as_ref()
                .or(table.block_time.as_ref())
                .map(Spot::span);
            let message =
                format!("an update interval must span at least {BLOCKS_PER_INTERVAL_MIN} blocks");
            return Err(Invalid::at(self.origin, self.text, span, message));
        }
        let approval_percent = match &table.approval {
            None => 66,
            Some(share) => match share.as_ref().whole() {
                Some(percent @ 51..=100) => percent,
                _ => {
                    return self.refuse(
                        share.span(),
                        "the share to exceed is a whole per cent from 51% to 100%",
                    );
                }
            },
        };
        Ok(Chain {
            block_time,
            update_interval,
            approval_percent,
            replaced: table.replaced.clone(),
            starts_at: self.starts_at(&table.starts_at)?,
            endpoints: self.endpoints(&table.endpoints)?,
        })
    }

    fn count(&self, count: &Spot<usize>) -> Result<usize, ScenarioError> {
        if !(1..=HOSTS_MAX).contains(count.as_ref()) {
            return self.refuse(count.span(), format!("a group has 1 to {HOSTS_MAX} hosts"));
        }
        Ok(*count.as_ref())
    }

    fn users(&self, groups: &[Spot<UserTable>], updates: u64) -> Result<Vec<User>, ScenarioError> {
        let mut users = Vec::new();
        for group in groups {
            let group_span = group.span();
            let group = group.as_ref();
            if group.job.len() > JOBS_MAX {
                return self.refuse(group_span, format!("a user has at most {JOBS_MAX} jobs"));
            }
            let jobs = group
                .job
                .iter()
                .map(|j| self.job(j, updates))
                .collect::<Result<Vec<_>, _>>()?;
            users.extend(vec![User { jobs }; self.count(&group.count)?]);
        }
        Ok(users)
    }

    fn job(&self, table: &JobTable, updates: u64) -> Result<Job, ScenarioError> {
        if !NETWORKS.contains(&table.network.as_ref().as_str()) {
            let message = format!("no such network: there is {}", NETWORKS.join(", "));
            return self.refuse(table.network.span(), message);
        }
        if let Some(payment) = table.payment.as_ref().filter(|p| p.as_ref().wei() == 0) {
            return self.refuse(
                payment.span(),
                "a payment is above zero; leave it out for a free job",
            );
        }
        if let Some(replication) = &table.replication
            && !(1..=REPLICATION_MAX).contains(replication.as_ref())
        {
            return self.refuse(
                replication.span(),
                format!("a task is for 1 to {REPLICATION_MAX} workers"),
            );
        }
        let work = self.work(table)?;
        if let (Some(stage), Work::HashChain { .. } | Work::Matmul { .. }) =
            (table.then.first(), &work)
        {
            return self.refuse(stage.span(), "only a job of wasm has further stages");
        }
        let ending = match (&table.cancel_after, table.fails) {
            (None, false) => Ending::Result,
            (None, true) => Ending::Failure,
            (Some(after), false) => Ending::CalledOff(after.as_ref().0),
            (Some(after), true) => {
                return self.refuse(after.span(), "a job that fails is not called off");
            }
        };
        let then = table.then.iter().map(|stage| self.guest(stage));
        Ok(Job {
            work,
            then: then.collect::<Result<_, _>>()?,
            replication: table.replication.as_ref().map_or(1, |r| *r.as_ref()),
            payment: table.payment.as_ref().map(|p| *p.as_ref()),
            after_update: self.after_update(&table.after_update, updates)?,
            ending,
        })
    }

    fn work(&self, table: &JobTable) -> Result<Work, ScenarioError> {
        let JobTable {
            steps,
            size,
            guest,
            numbers,
            ..
        } = table;
        match (table.network.as_ref().as_str(), steps, size, guest, numbers) {
            ("hash-chain", Some(steps), None, None, None) => {
                if !(1..=STEPS_MAX).contains(steps.as_ref()) {
                    return self
                        .refuse(steps.span(), format!("a task has 1 to {STEPS_MAX} steps"));
                }
                Ok(Work::HashChain {
                    steps: *steps.as_ref(),
                })
            }
            ("matmul", None, Some(size), None, None) => {
                if !(1..=SIZE_MAX).contains(size.as_ref()) {
                    return self
                        .refuse(size.span(), format!("a matrix has 1 to {SIZE_MAX} rows"));
                }
                Ok(Work::Matmul {
                    size: *size.as_ref(),
                })
            }
            ("wasm", None, None, Some(guest), Some(numbers)) => {
                let guest = self.guest(guest)?;
                if numbers.as_ref().len() > NUMBERS_MAX {
                    return self.refuse(
                        numbers.span(),
                        format!("an input has at most {NUMBERS_MAX} numbers"),
                    );
                }
                Ok(Work::Wasm {
                    guest,
                    numbers: numbers.as_ref().clone(),
                })
            }
            _ => self.refuse(
                table.network.span(),
                "a job of hash-chain has `steps`, one of matmul `size`, one of wasm `guest` and `numbers`, and no other of these",
            ),
        }
    }

    fn guest(&self, named: &Spot<String>) -> Result<Guest, ScenarioError> {
        let name = named.as_ref().as_str();
        match GUESTS.iter().find(|(guest, _)| *guest == name) {
            Some((_, guest)) => Ok(*guest),
            None => {
                let names = GUESTS.map(|(guest, _)| guest).join(", ");
                self.refuse(named.span(), format!("no such guest: there is {names}"))
            }
        }
    }

    fn after_update(&self, value: &Option<Spot<u64>>, updates: u64) -> Result<u64, ScenarioError> {
        match value {
            None => Ok(0),
            Some(after) if *after.as_ref() >= updates => {
                let message =
                    format!("the run ends with update {updates}: nothing happens after it");
                self.refuse(after.span(), message)
            }
            Some(after) => Ok(*after.as_ref()),
        }
    }

    fn host(&self, name: &Spot<String>, scenario: &Scenario) -> Result<HostName, ScenarioError> {
        self.host_named(name.as_ref(), name.span(), scenario)
    }

    fn host_named(
        &self,
        name: &str,
        span: Range<usize>,
        scenario: &Scenario,
    ) -> Result<HostName, ScenarioError> {
        let host: HostName = match name.parse() {
            Ok(host) => host,
            Err(message) => return self.refuse(span, message),
        };
        if !scenario.hosts().any(|known| known == host) {
            let last = scenario
                .hosts()
                .filter(|known| known.role == host.role)
                .last();
            let known = last.map_or_else(
                || format!("no {}", host.role),
                |last| format!("{} up to {last}", host.role),
            );
            return self.refuse(
                span,
                format!("`{host}` is not in this scenario: it has {known}"),
            );
        }
        Ok(host)
    }

    fn transfer(
        &self,
        table: &TransferTable,
        scenario: &Scenario,
    ) -> Result<Transfer, ScenarioError> {
        let (from, to) = (
            self.host(&table.from, scenario)?,
            self.host(&table.to, scenario)?,
        );
        if from == to {
            return self.refuse(table.to.span(), "a transfer goes to another host");
        }
        if table.amount.as_ref().wei() == 0 {
            return self.refuse(table.amount.span(), "a transfer is above zero");
        }
        let after_update = self.after_update(&table.after_update, scenario.updates)?;
        if after_update == 0 {
            let span = table
                .after_update
                .as_ref()
                .map_or_else(|| table.amount.span(), Spot::span);
            let message =
                "no SNO circulates before the first update: say after_update = 1 or later";
            return self.refuse(span, message);
        }
        Ok(Transfer {
            from,
            to,
            amount: *table.amount.as_ref(),
            after_update,
        })
    }

    /// A paid job needs its payment and the user's collateral, which only transfers can bring.
    fn plan(&self, file: &File, scenario: &Scenario) -> Result<(), ScenarioError> {
        let mut number = 0;
        for group in &file.user {
            for _ in 0..*group.as_ref().count.as_ref() {
                number += 1;
                let host = HostName {
                    role: Role::User,
                    number,
                };
                if scenario.misdeeds.get(&host).is_some_and(|m| !m.pays()) {
                    continue;
                }
                let mut needed = USER_COLLATERAL;
                let mut jobs: Vec<_> = group.as_ref().job.iter().collect();
                jobs.sort_by_key(|job| job.after_update.as_ref().map_or(0, |a| *a.as_ref()));
                for job in jobs {
                    let Some(payment) = &job.payment else {
                        continue;
                    };
                    let after = job.after_update.as_ref().map_or(0, |a| *a.as_ref());
                    let total = needed
                        .checked_add(*payment.as_ref())
                        .zip(scenario.received(host, after));
                    let Some((total, received)) = total else {
                        return self
                            .refuse(payment.span(), "the amounts add up to more than can exist");
                    };
                    if total > received {
                        let message = format!(
                            "{host} cannot pay: with its collateral of {USER_COLLATERAL} it needs {total} by update \
                             {after}, and is sent {received}; add a [[transfer]]"
                        );
                        return self.refuse(payment.span(), message);
                    }
                    needed = total;
                }
            }
        }
        Ok(())
    }
}
