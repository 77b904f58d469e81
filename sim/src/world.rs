//! Builds a scenario's network, lets it live, and ends it when the story is done or out of time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use alloy::signers::local::PrivateKeySigner;
use libp2p::identity::Keypair;
use libp2p::multiaddr::{Multiaddr, Protocol};
use madsim::runtime::Handle;
use smartnodes_actors::Victim;
use smartnodes_evm::bindings::SmartnodesERC20;
use smartnodes_evm::chain::Chain;
use smartnodes_evm::deployment::{Deployment, Replacement};
use smartnodes_node::chain::ChainSettings;
use smartnodes_node::identity::Identity;
use smartnodes_node::node::NodeConfig;
use smartnodes_node::p2p::P2pSettings;
use smartnodes_node::p2p::handshake;
use smartnodes_scenarios::{
    FaultKind, HostName, Misdeed, Role, Scenario, UserMisdeed, ValidatorMisdeed,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::acts::keys::Keys;
use crate::acts::{Acts, Done, Troupe};
use crate::chain_host::RPC_PORT;
use crate::disk::{DiskUsage, SimDisk};
use crate::draw;
use crate::endpoints;
use crate::false_validator::FalsePart;
use crate::faults::{self, Faults, Stage, Struck, Target};
use crate::host::Host;
use crate::host::cheats::{Cheating, Victims, crowd_of};
use crate::limit;
use crate::net::{Effect, Net, Rule};
use crate::oracle::draws::Drawn;
use crate::oracle::hostile::{Acted, Hostile};
use crate::oracle::isolation::Isolation;
use crate::oracle::misdeeds::{Counts, Misdeeds};
use crate::oracle::results::Results;
use crate::oracle::truth::Truth;
use crate::oracle::{Oracle, Tally};
use crate::points::{Passings, Points};
use crate::story::{JobCounts, Lack, Story};
use crate::trace::{SIMULATOR, Trace};
use crate::verdict::{self, GivenUp, Verdict};
use crate::violation::Violations;
use crate::wire::Endpoint;

mod chain;
mod ending;

use chain::{chain, start_chain};
use ending::{idle, missing, unseen};

/// The chain host's name and address.
const CHAIN: (&str, Ipv4Addr) = ("chain", Ipv4Addr::new(10, 0, 0, 1));
/// The port on which every node listens for its peers.
const NODE_PORT: u16 = 4001;
/// Chain id of simulated chains.
const CHAIN_ID: u64 = 31_337;
/// ETH wei that every wallet has for gas.
const GAS_MONEY: u128 = 100 * 10u128.pow(18);
/// Blocks before the start of the run: room for the deployment's own. Few, so that the first round has all of its interval.
const BLOCKS_BEFORE_START: u64 = 12;
/// How often the end of the story is looked for, and progress told.
const LOOK: Duration = Duration::from_secs(10);
/// How long a run goes on after its story has come true: nodes believe the last transactions at depth.
const EPILOGUE: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug)]
pub struct Ending {
    /// Number of simulated hosts, the chain's included.
    pub hosts: usize,
    /// What the oracle has counted.
    pub tally: Tally,
    /// Jobs by how they ended.
    pub jobs: JobCounts,
    /// Why it did not come to the end of the story in time, if so.
    pub verdict: Option<Verdict>,
    /// What kinds of things it lacked then.
    pub lacking: BTreeSet<String>,
    /// What the faults did.
    pub faults: Vec<Struck>,
    /// What people did on chain besides.
    pub acts: Vec<Done>,
    /// What those did who did not play by the rules.
    pub acted: Vec<Acted>,
    /// How often each fail point was passed, by host.
    pub points: Passings,
    /// How often nodes came to each state that they name.
    pub states: BTreeMap<String, u64>,
    /// How often the contracts emitted each of their events.
    pub events: BTreeMap<String, u64>,
    /// How often each of the oracle's invariants was checked.
    pub checks: BTreeMap<String, u64>,
    /// How often each validator was drawn to propose.
    pub draws: BTreeMap<String, Drawn>,
    /// What those did who do not play by the rules.
    pub misdeeds: Counts,
    /// What each host's disk did.
    pub disks: BTreeMap<String, DiskUsage>,
    /// SNO wei of each host's wallet, of the treasury and of the token contract, and the total supply.
    pub balances: BTreeMap<String, U256>,
}

/// Where a run is, for whoever shows it.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Virtual time from the start.
    pub now: Duration,
    /// The chain's latest block.
    pub block: u64,
    /// State updates executed, and how many end the run.
    pub updates: (u64, u64),
    /// Messages sent.
    pub messages: u64,
}

/// Why a network could not be built: a defect of the simulator or of the contracts, not of a scenario.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The contracts.
    #[error("cannot deploy the contracts: {0}")]
    Deploy(String),
    /// The chain.
    #[error("cannot start the chain: {0}")]
    Chain(String),
    /// A host's peers could not be told its address.
    #[error("cannot listen on the simulated wire: {0}")]
    Wire(String),
}

/// Runs a scenario from a seed to its end. To be called inside a fresh runtime with that seed.
pub async fn live(
    scenario: &Scenario,
    seed: u64,
    replacements: &[Replacement],
    trace: &Trace,
    violations: &Violations,
    show: &mut dyn FnMut(Status),
) -> Result<Ending, WorldError> {
    let truth = Truth::default();
    let misdeeds = Misdeeds::new(truth.clone());
    let identities: BTreeMap<HostName, Identity> = scenario
        .hosts()
        .map(|name| (name, identity(seed, &name.to_string())))
        .collect();
    for (name, identity) in &identities {
        let name = name.to_string();
        trace.add_owner(&identity.address().to_string(), &name);
        trace.add_owner(&identity.peer_id().to_string(), &name);
    }
    let faithless = scenario.misdeeds.keys();
    for name in faithless.chain(scenario.validator_misdeeds.keys()) {
        if let Some(identity) = identities.get(name) {
            truth.does_not_play_by_the_rules(identity.address());
        }
    }
    let hostile = Hostile::new(scenario, seed, &identities, violations);
    let victims = Arc::new(victims(scenario, seed, &identities));
    trace.watch(Box::new({
        let (truth, misdeeds, hostile) = (truth.clone(), misdeeds.clone(), hostile.clone());
        let isolation = Isolation::new(scenario, violations);
        move |event| {
            truth.watch(event);
            misdeeds.watch(event);
            hostile.watch(event);
            isolation.watch(event);
        }
    }));
    let (chain, deployment, oracle) = chain(
        scenario,
        seed,
        replacements,
        &identities,
        &truth,
        violations,
    )?;
    let oracle = Arc::new(Mutex::new(oracle));
    let net = Net::start(scenario.network.latency, scenario.network.loss);
    for link in &scenario.network.links {
        net.add_rule(Rule {
            these: link.these.iter().copied().map(address).collect(),
            those: link.those.iter().copied().map(address).collect(),
            out: true,
            back: true,
            effect: Effect::Shape {
                latency: link.latency,
                loss: link.loss.map(|loss| loss.probability()),
                bandwidth: link.bandwidth,
            },
        });
    }
    let (opened, rounds) = watch::channel(0);
    let (executed, updates) = watch::channel(0);
    let endpoint = Endpoint::new(CHAIN.0, CHAIN.1.into(), net.clone(), trace.clone());
    let (chain_host, chain_node) = start_chain(
        chain,
        scenario,
        endpoint,
        violations,
        oracle.clone(),
        (opened, executed),
    );
    trace.add_node(chain_node, CHAIN.0);
    let endpoints = endpoints::start(scenario, CHAIN.1, &chain_host, &net, trace, violations);

    let story = Story::new(scenario);
    let results = Results::default();
    let points = Points::default();
    points.install();
    let (mut targets, mut people) = (BTreeMap::new(), BTreeMap::new());
    for name in scenario.hosts() {
        let endpoint = Endpoint::new(&name.to_string(), address(name), net.clone(), trace.clone());
        let disk = SimDisk::new();
        let host = host(
            scenario,
            seed,
            name,
            &identities,
            (disk.clone(), endpoint.clone()),
            endpoints::known_to(name, scenario, &endpoints),
            &deployment,
            Cheating {
                deeds: hostile.deeds(name),
                victims: victims.clone(),
                chain: chain_host.clone(),
            },
            &story,
            (&truth, &results),
            violations,
        );
        let keys = host.keys.clone();
        let node = start_host(host, trace);
        points.add_host(node, name);
        let target = Target {
            node,
            disk,
            endpoint,
            busy: Arc::default(),
        };
        people.insert(name, (keys, target.clone()));
        targets.insert(name, target);
    }

    let stage = Stage {
        targets,
        chain: chain_host.clone(),
        chain_addresses: endpoints.iter().map(SocketAddr::ip).collect(),
        net,
        points: points.clone(),
        rounds,
        healed: watch::channel(false).1,
        violations: violations.clone(),
    };
    let acts = Acts::start(
        scenario,
        seed,
        &Troupe {
            identities: identities.clone(),
            hosts: people,
            deployment: deployment.clone(),
            chain: chain_host.clone(),
            rpc: SocketAddr::new(CHAIN.1.into(), RPC_PORT),
            net: stage.net.clone(),
            rounds: stage.rounds.clone(),
            updates,
            violations: violations.clone(),
        },
        trace,
    );
    let faults = Faults::start(faults::schedule(scenario, seed), &stage);
    let tally = || {
        oracle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tally()
    };
    let seen_events = || {
        oracle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .events()
    };
    let end = Instant::now() + scenario.deadline;
    let mut verdict = None;
    let mut lacking = BTreeSet::new();
    loop {
        sleep(LOOK).await;
        let counted = tally();
        show(Status {
            now: Trace::now(),
            block: chain_host.read(Chain::block_number),
            updates: (counted.state_updates, scenario.updates),
            messages: trace.messages(),
        });
        let mut missing = missing(scenario, counted, &story, &GivenUp::default());
        let acts_open = acts.open().into_iter();
        missing.extend(acts_open.map(|what| Lack::new("act", what)));
        if faults.are_open() {
            missing.push(Lack::new("fault", "faults are going on"));
        }
        // A violation makes the rest worthless, and often endless.
        if !limit::bears(scenario, &violations.all()) {
            break;
        }
        let over = Instant::now() >= end;
        // Where the seed strikes, those who cheat may never have occasion.
        if !over || scenario.swarm.is_none() {
            missing.extend(idle(scenario, &misdeeds));
        }
        missing.extend(unseen(
            scenario,
            &points.states(),
            &seen_events(),
            &misdeeds,
        ));
        // Where no update ends the run, it is watched for as long as it may last.
        if missing.is_empty() && (scenario.updates > 0 || over) {
            sleep(EPILOGUE).await;
            faults.end_lasting().await;
            let unfair = draws(&oracle, &identities);
            for (name, drawn) in &unfair {
                let detail = || format!("{name} was drawn beyond chance: {drawn:?}");
                violations.unless(drawn.is_fair(), "draws-are-fair", detail);
            }
            let unpaid = oracle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .unpaid();
            let (lost, most) = (tally().rounds_lost, scenario.expect.lost_rounds_at_most);
            if let Some(most) = most {
                let detail = || format!("{lost} rounds ended without an update, {most} may");
                violations.unless(lost <= most, "lost-rounds", detail);
            }
            violations.checked("work-is-paid");
            for worker in unpaid {
                violations.add(
                    "work-is-paid",
                    format!("{worker} has done several challenges and was paid for none"),
                );
            }
            break;
        }
        // What is watched till then may be about to claim what was executed last, later where the seed has struck.
        let is_patient = scenario.updates == 0 && scenario.swarm.is_some();
        if over && !(is_patient && Instant::now() < end + scenario.chain.update_interval) {
            let at = Trace::now();
            let words: Vec<&str> = missing.iter().map(|lack| lack.words.as_str()).collect();
            let words = words.join("; ");
            lacking.extend(missing.iter().map(|lack| lack.kind.clone()));
            let is_over = |given_up: &GivenUp| {
                self::missing(scenario, tally(), &story, given_up).is_empty()
                    && acts.open().is_empty()
            };
            let required = counted.required_approvals;
            let judged = verdict::judge(scenario, &faults, required, &story, is_over).await;
            violations.add_at(
                at,
                "ends-in-time",
                format!("after {:?}: {words}; {judged}", scenario.deadline),
            );
            verdict = Some(judged);
            break;
        }
    }
    // Whatever the outcome, and however early the run has ended.
    for accepted in results.judged() {
        let holds = accepted.is_none();
        violations.unless(holds, "result-is-true", || accepted.unwrap_or_default());
    }
    for each in ["chain-runs", "ends-in-time", "node-runs", "node-starts"] {
        violations.checked(each);
    }
    faults.end_all().await;
    let faults = faults.finish(violations);
    let acted = chain_host.read(|chain| {
        let oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
        hostile.finish(&oracle, chain)
    });
    let wallets = identities
        .iter()
        .map(|(name, identity)| (name.to_string(), identity.address()));
    let others = [
        ("treasury".to_owned(), deployment.timelock),
        ("token".to_owned(), deployment.token),
    ];
    let reached = {
        let oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
        (oracle.events(), oracle.checks())
    };
    let balances = chain_host.read(|chain| balances(chain, &deployment, wallets.chain(others)));
    Ok(Ending {
        balances: balances.map_err(|error| WorldError::Chain(error.to_string()))?,
        hosts: identities.len() + 1,
        tally: tally(),
        jobs: story.job_counts(),
        verdict,
        lacking,
        faults,
        acts: acts.done(),
        acted,
        points: points.counts(),
        states: points.states(),
        events: reached.0,
        checks: reached.1,
        draws: draws(&oracle, &identities),
        misdeeds: misdeeds.counts(),
        disks: stage
            .targets
            .iter()
            .map(|(name, target)| (name.to_string(), target.disk.usage()))
            .collect(),
    })
}

/// How often each host's validator was drawn to propose, and should have been.
fn draws(
    oracle: &Mutex<Oracle>,
    identities: &BTreeMap<HostName, Identity>,
) -> BTreeMap<String, Drawn> {
    let oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
    let draws = oracle.draws();
    let hosts = identities.iter();
    hosts
        .filter_map(|(name, identity)| Some((name.to_string(), *draws.get(&identity.address())?)))
        .collect()
}

fn balances(
    chain: &Chain,
    deployment: &Deployment,
    accounts: impl Iterator<Item = (String, Address)>,
) -> Result<BTreeMap<String, U256>, smartnodes_evm::chain::ChainError> {
    let supply = chain.read(deployment.token, &SmartnodesERC20::totalSupplyCall {})?;
    let mut balances = BTreeMap::from([("supply".to_owned(), supply)]);
    for (name, account) in accounts {
        balances.insert(
            name,
            chain.read(
                deployment.token,
                &SmartnodesERC20::balanceOfCall { account },
            )?,
        );
    }
    Ok(balances)
}

/// A host's keys, from the seed.
pub fn identity(seed: u64, name: &str) -> Identity {
    let network = Keypair::ed25519_from_bytes(draw::bytes(seed, &format!("network key of {name}")))
        .expect("any 32 bytes are an ed25519 key");
    Identity {
        network,
        wallet: wallet(seed, name),
    }
}

/// Who can be attacked, and who farms.
fn victims(scenario: &Scenario, seed: u64, identities: &BTreeMap<HostName, Identity>) -> Victims {
    let honest = |role| {
        let hosts = identities
            .iter()
            .filter(move |(host, _)| host.role == role && !scenario.misdeeds.contains_key(host));
        hosts.map(|(host, identity)| Victim {
            address: listening(*host, identity),
            peer: identity.peer_id(),
            wallet: identity.address(),
        })
    };
    let farms = scenario
        .misdeeds
        .iter()
        .filter(|(_, misdeed)| **misdeed == Misdeed::User(UserMisdeed::Farming));
    let farm = farms.flat_map(|(host, misdeed)| {
        let own = identities.get(host).map(Identity::address);
        let crowd = crowd_of(seed, *host, *misdeed);
        own.into_iter()
            .chain(crowd.iter().map(Identity::address).collect::<Vec<_>>())
    });
    Victims {
        validators: honest(Role::Validator).collect(),
        workers: honest(Role::Worker).collect(),
        farm: farm.collect(),
    }
}

/// Where a host's node listens.
fn listening(host: HostName, identity: &Identity) -> Multiaddr {
    Multiaddr::from(address(host))
        .with(Protocol::Tcp(NODE_PORT))
        .with(Protocol::P2p(identity.peer_id()))
}

fn wallet(seed: u64, of: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::from(draw::bytes(seed, &format!("wallet of {of}"))))
        .expect("32 drawn bytes are a key but for one chance in 2^128")
}

fn address(name: HostName) -> IpAddr {
    let group = match name.role {
        Role::Validator => 1,
        Role::Worker => 2,
        Role::User => 3,
        Role::Peer => 4,
    };
    // A scenario has far fewer hosts than a role has addresses.
    let [high, low] = (name.number as u16).to_be_bytes();
    Ipv4Addr::new(10, group, high, low).into()
}

#[allow(
    clippy::too_many_arguments,
    reason = "each is one part of the host, and this is where the parts meet"
)]
fn host(
    scenario: &Scenario,
    seed: u64,
    name: HostName,
    identities: &BTreeMap<HostName, Identity>,
    (disk, endpoint): (SimDisk, Endpoint),
    chain: Vec<SocketAddr>,
    deployment: &Deployment,
    cheating: Cheating,
    story: &Story,
    (truth, results): (&Truth, &Results),
    violations: &Violations,
) -> Host {
    let others = identities
        .iter()
        .filter(|(other, _)| other.role == Role::Validator && **other != name);
    let bootstrap = others.map(|(other, identity)| listening(*other, identity));
    let listen = Multiaddr::from(Ipv4Addr::UNSPECIFIED).with(Protocol::Tcp(NODE_PORT));
    let config = NodeConfig {
        role: match name.role {
            Role::Validator => handshake::Role::Validator,
            Role::Worker => handshake::Role::Worker,
            // A host without a role runs no node.
            Role::User | Role::Peer => handshake::Role::User,
        },
        networks: match name.role {
            Role::Worker => smartnodes_node::work::NETWORKS.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        },
        capacity: 1,
        listen: vec![listen],
        bootstrap: bootstrap.collect(),
        p2p: P2pSettings::default(),
        chain: ChainSettings::default(),
    };
    let wallet = |host: &HostName| {
        identities
            .get(host)
            .map(Identity::address)
            .unwrap_or(Address::ZERO)
    };
    let transfers = scenario
        .transfers
        .iter()
        .enumerate()
        .filter(|(_, transfer)| transfer.from == name);
    let user = scenario
        .users
        .get(name.number - 1)
        .filter(|_| name.role == Role::User);
    Host {
        name,
        keys: Keys::new(identities[&name].clone()),
        config,
        endpoint,
        disk,
        chain,
        deployment: deployment.clone(),
        jobs: user.map(|user| user.jobs.clone()).unwrap_or_default(),
        transfers: transfers
            .map(|(index, transfer)| (index, *transfer, wallet(&transfer.to)))
            .collect(),
        misdeed: scenario.misdeeds.get(&name).copied(),
        cheating,
        false_part: FalsePart::of(scenario, name, identities, seed),
        seed,
        payments_age: payments_age(scenario, seed),
        story: story.clone(),
        truth: truth.clone(),
        results: results.clone(),
        violations: violations.clone(),
    }
}

/// Whether a payment can become too old before its job is done, with nobody to blame who plays by the rules: chain time jumps,
/// or validators keep jobs for no good.
fn payments_age(scenario: &Scenario, seed: u64) -> bool {
    let mut strikes = faults::schedule(scenario, seed).into_iter();
    let mut misdeeds = scenario.validator_misdeeds.values();
    strikes.any(|strike| matches!(strike.kind, FaultKind::TimeJump { .. }))
        || misdeeds.any(|misdeed| matches!(misdeed, ValidatorMisdeed::Stonewalling))
}

fn start_host(host: Host, trace: &Trace) -> madsim::task::NodeId {
    let (name, ip) = (host.name.to_string(), host.endpoint.address());
    let host = Arc::new(host);
    let node = Handle::current()
        .create_node()
        .name(&name)
        .ip(ip)
        .init(move || host.clone().run())
        .build();
    debug_assert_ne!(name, SIMULATOR);
    trace.add_node(node.id(), &name);
    node.id()
}
