//! A checked scenario, in domain types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{
    Act, ActKind, Fault, HostName, Limit, LimitError, Misdeed, Percent, Role, ScenarioError, Side,
    Sno, Swarm, ValidatorMisdeed, file,
};

/// What a scenario is about: without it a run shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expect {
    /// States to which some node must come.
    pub states: Vec<String>,
    /// What hosts that do not play by the rules must have done.
    pub acts: Vec<String>,
    /// Events that the contracts must emit.
    pub events: Vec<String>,
    /// Most rounds that may end without an update.
    pub lost_rounds_at_most: Option<u64>,
}

/// A network, what its users do, what strikes it, and when the run must be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What the scenario shows, in kebab case.
    pub name: String,
    /// One line on it.
    pub summary: String,
    /// How many executed state updates end the run; with none it is watched until its deadline.
    pub updates: u64,
    /// Virtual time from the start by which the run must have ended.
    pub deadline: Duration,
    /// The chain and the contracts.
    pub chain: Chain,
    /// The network between the hosts.
    pub network: Network,
    /// Number of validators, those that cheat included; all of them are genesis validators.
    pub validators: usize,
    /// Validators that do not play by the rules, and what they do.
    pub validator_misdeeds: BTreeMap<HostName, ValidatorMisdeed>,
    /// How many of them the network bears.
    pub limit: Option<Limit>,
    /// Number of workers, those that cheat included.
    pub workers: usize,
    /// Hosts that do not play by the rules, and what they do.
    pub misdeeds: BTreeMap<HostName, Misdeed>,
    /// Those of both that need not find occasion to do anything wrong.
    pub may_idle: BTreeSet<HostName>,
    /// What each user does, in the order of their numbers.
    pub users: Vec<User>,
    /// Number of hosts without a role, all of which attack.
    pub peers: usize,
    /// SNO that moves between hosts.
    pub transfers: Vec<Transfer>,
    /// What people do on chain besides.
    pub acts: Vec<Act>,
    /// What must have been seen when the run ends.
    pub expect: Expect,
    /// What strikes the network.
    pub faults: Vec<Fault>,
    /// What the seed draws to strike it besides.
    pub swarm: Option<Swarm>,
}

/// Parameters of the chain and of the contracts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Time between two blocks, in whole seconds.
    pub block_time: Duration,
    /// Time between two state updates, in whole seconds.
    pub update_interval: Duration,
    /// Share of the snapshot that must be exceeded for a proposal to pass, in per cent (51 to 100).
    pub approval_percent: u8,
    /// Artifacts that take the places of contracts of the same name.
    pub replaced: Vec<PathBuf>,
    /// How long before the start of the run the contracts were deployed, in whole seconds; zero: just before it.
    pub starts_at: Duration,
    /// Where hosts ask the chain.
    pub endpoints: Endpoints,
}

/// The JSON-RPC endpoints of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// Every host knows these, in the order of their numbers from 1.
    Shared(usize),
    /// Every host has one of its own, numbered from 1 as hosts are.
    Each,
}

/// Properties of the links between hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// How long a message travels.
    pub latency: Latency,
    /// Chance that a message needs to be sent again.
    pub loss: Percent,
    /// What is otherwise between two regions; a later one outranks an earlier.
    pub links: Vec<Link>,
}

/// Properties of the links between the hosts of two regions, in both directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The hosts of one region.
    pub these: BTreeSet<HostName>,
    /// The hosts of the other, or the same ones: the links within a region.
    pub those: BTreeSet<HostName>,
    /// How long a message travels, if other than usual.
    pub latency: Option<Latency>,
    /// Chance that a message needs to be sent again, if other than usual.
    pub loss: Option<Percent>,
    /// Bytes for each second from one host to another, if limited.
    pub bandwidth: Option<u64>,
}

/// A range of travel times; each message draws one, and messages of one connection stay in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Its jobs, in the order in which it submits them.
    pub jobs: Vec<Job>,
}

/// One job of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its first task, and the only one unless there are further stages.
    pub work: Work,
    /// Modules that go on with the result, one after the other: a pipeline.
    pub then: Vec<Guest>,
    /// Workers that execute each task.
    pub replication: u8,
    /// What the user escrows for it; `None` is a free job.
    pub payment: Option<Sno>,
    /// It is submitted once this many state updates have been executed.
    pub after_update: u64,
    /// How it ends.
    pub ending: Ending,
}

/// How a job ends; otherwise it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result that the user has verified.
    Result,
    /// Its user calls it off so long after it has been admitted, and has the payment back.
    CalledOff(Duration),
    /// Validators say that it cannot be done, and the payment comes back.
    Failure,
}

/// What a job computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A hash chain from an input that the seed decides.
    HashChain {
        /// Sequential hashes.
        steps: u64,
    },
    /// A product of two matrices that the seed decides.
    Matmul {
        /// Rows of each.
        size: u16,
    },
    /// A module on an input.
    Wasm {
        /// The module.
        guest: Guest,
        /// The input.
        numbers: Vec<u64>,
    },
}

impl Work {
    /// The network that is to run it.
    pub fn network(&self) -> &'static str {
        match self {
            Work::HashChain { .. } => "hash-chain",
            Work::Matmul { .. } => "matmul",
            Work::Wasm { .. } => "wasm",
        }
    }
}

/// A module of `node/guests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// Lists the primes from one number to another.
    Primes,
    /// Count, smallest, largest and sum of numbers.
    Summary,
}

/// SNO that one host sends to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The sender.
    pub from: HostName,
    /// The receiver.
    pub to: HostName,
    /// How much.
    pub amount: Sno,
    /// It is sent once this many state updates have been executed and the sender holds the amount.
    pub after_update: u64,
}

impl Scenario {
    /// Reads and checks a scenario file.
    pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
        #[allow(
            clippy::disallowed_methods,
            reason = "scenario files are read before a run starts, from the real disk"
        )]
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Scenario::parse(&path.display().to_string(), &text)
    }

    /// Reads and checks a scenario from `text`; errors call it `origin`.
    pub fn parse(origin: &str, text: &str) -> Result<Scenario, ScenarioError> {
        file::parse(origin, text)
    }

    /// All hosts: validators, workers, users, peers, each in the order of their numbers.
    pub fn hosts(&self) -> impl Iterator<Item = HostName> {
        let counts = [self.validators, self.workers, self.users.len(), self.peers];
        let named = |(role, count)| (1..=count).map(move |number| HostName { role, number });
        Role::ALL.into_iter().zip(counts).flat_map(named)
    }

    /// What each host must be sent, and what it is to pay, up to and with the jobs and transfers that come after update
    /// `after_update`: for checks of a plan before it runs.
    pub(crate) fn received(&self, host: HostName, after_update: u64) -> Option<Sno> {
        let due = self
            .transfers
            .iter()
            .filter(|t| t.to == host && t.after_update <= after_update);
        due.map(|t| t.amount)
            .try_fold(Sno::default(), Sno::checked_add)
    }

    /// Whether a host is a validator that has no seat when the run starts.
    pub fn joins_later(&self, host: HostName) -> bool {
        let mut acts = self.acts.iter();
        acts.any(|act| act.kind == ActKind::Join && act.by == host)
    }

    /// How many endpoints the chain has.
    pub fn endpoint_count(&self) -> usize {
        match self.chain.endpoints {
            Endpoints::Shared(count) => count,
            Endpoints::Each => self.hosts().count(),
        }
    }

    /// Whether a host plays by the rules.
    pub fn is_honest(&self, host: HostName) -> bool {
        !self.misdeeds.contains_key(&host) && !self.validator_misdeeds.contains_key(&host)
    }

    /// How many hosts do not play by the rules: of a scenario with a limit, those that it is about.
    pub fn adversaries(&self) -> usize {
        match &self.limit {
            Some(limit) => self.validators_that(limit.behaviour).count(),
            None => self.validator_misdeeds.len() + self.misdeeds.len(),
        }
    }

    /// On which side of its limit the scenario is, if it has one.
    pub fn side(&self) -> Option<Side> {
        let limit = self.limit.as_ref()?;
        Some(if self.adversaries() <= limit.holds {
            Side::Near
        } else {
            Side::Far
        })
    }

    /// The same scenario with so many of those that its limit is about. The number of validators stays: the last of the
    /// honest ones do as they do, or the last of them become honest.
    pub fn with_adversaries(&self, count: usize) -> Result<Scenario, LimitError> {
        let Some(limit) = &self.limit else {
            return Err(LimitError::None(self.name.clone()));
        };
        let (behaviour, holds, fails) = (limit.behaviour, limit.holds, limit.fails);
        if count > holds && count < fails {
            return Err(LimitError::Between {
                behaviour: behaviour.name(),
                found: count,
                holds,
                fails,
            });
        }
        let honest = self.hosts().filter(|host| {
            host.role == Role::Validator && !self.validator_misdeeds.contains_key(host)
        });
        let honest: Vec<HostName> = honest.collect();
        let candidates = self
            .validators_that(behaviour)
            .chain(honest.into_iter().rev());
        let candidates: Vec<HostName> = candidates.collect();
        if count > candidates.len() {
            return Err(LimitError::TooMany {
                behaviour: behaviour.name(),
                found: count,
                available: candidates.len(),
            });
        }
        let mut scenario = self.clone();
        // What one of them has no occasion for, where an accomplice is first, another who joins them may not have either.
        let mut theirs = self.validators_that(behaviour).peekable();
        if theirs.peek().is_some() && theirs.all(|host| self.may_idle.contains(&host)) {
            scenario.may_idle.extend(&candidates[..count]);
        }
        let misdeeds = &mut scenario.validator_misdeeds;
        misdeeds.retain(|_, misdeed| *misdeed != behaviour);
        misdeeds.extend(candidates[..count].iter().map(|host| (*host, behaviour)));
        Ok(scenario)
    }

    fn validators_that(&self, behaviour: ValidatorMisdeed) -> impl Iterator<Item = HostName> {
        let misdeeds = self.validator_misdeeds.iter();
        misdeeds.filter_map(move |(host, misdeed)| (*misdeed == behaviour).then_some(*host))
    }

    /// Number of jobs of all users.
    pub fn job_count(&self) -> usize {
        self.users.iter().map(|u| u.jobs.len()).sum()
    }

    /// Transfers by sender, each in the order of the file.
    pub fn transfers_by_sender(&self) -> BTreeMap<HostName, Vec<Transfer>> {
        let mut by_sender: BTreeMap<HostName, Vec<Transfer>> = BTreeMap::new();
        for transfer in &self.transfers {
            by_sender.entry(transfer.from).or_default().push(*transfer);
        }
        by_sender
    }
}
