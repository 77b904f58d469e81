//! A hundred hostile peers against one real validator: honest ones are served all the while, its memory stays within bounds,
//! and those who misbehave are banned.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "real processes, files and clocks are the point here"
)]

mod honest;
mod peers;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use libp2p::Multiaddr;
use smartnodes_evm::{
    chain::ChainConfig,
    deployment::{DeployParams, deploy_in_process},
};
use smartnodes_node::{p2p::handshake::Role, signed::Domain};
use smartnodes_tests::{
    chain_host::{ChainHost, now},
    error::TestnetError,
    layout::{Layout, Plan},
    process::{NodeProcess, smartnode_binary},
};
use tokio::task::JoinSet;

/// Hostile peers of each of the kinds.
const OF_EACH_KIND: usize = 20;
/// How long honest peers are watched under attack.
const ATTACK: Duration = Duration::from_secs(12);
/// How long the attack may go on until all who are to be banned are banned: a loaded machine takes its time.
const ATTACK_MAX: Duration = Duration::from_secs(90);
/// Bound on the 99th percentile of an honest request. The machine that runs this runs other tests too.
const REQUEST_P99_MAX: Duration = Duration::from_secs(2);
/// Bound on the 99th percentile of an honest peer's way from nothing to its first answer.
const ARRIVAL_P99_MAX: Duration = Duration::from_secs(5);
/// Bound on what the attack may add to the validator's memory, in KiB.
const GROWTH_KIB_MAX: u64 = 192 * 1024;

/// A validator that is alone, and its chain.
struct Stage {
    _chain: ChainHost,
    node: NodeProcess,
    address: Multiaddr,
    domain: Domain,
    log: std::path::PathBuf,
}

async fn stage(dir: &Path) -> Stage {
    let binary = smartnode_binary().await.expect("the program");
    let layout = Layout::create(&dir.join("net")).expect("a directory");
    let plan = Plan::new("validator".into(), Role::Validator).expect("keys");
    let deployer = smartnodes_node::keystore::generate().wallet;
    let ether = alloy::primitives::U256::from(10).pow(alloy::primitives::U256::from(18));
    let config = ChainConfig {
        start_timestamp: now() - 20,
        balances: [(deployer.address(), ether), (plan.address(), ether)].into(),
        ..ChainConfig::default()
    };
    let params = DeployParams {
        genesis: vec![plan.genesis()],
        ..DeployParams::default()
    };
    let (chain, deployment) = ChainHost::start(config, 0, |chain| {
        deploy_in_process(chain, &deployer, &params)
            .map_err(|error| TestnetError::SetUp(error.to_string()))
    })
    .await
    .expect("a chain");
    layout.write_deployment(&deployment).expect("written");
    let config = layout
        .write_node(&plan, chain.url(), &[])
        .expect("a configuration");
    let log = layout.log_file("validator");
    let node = NodeProcess::start(&binary, "validator", &config, &log)
        .await
        .expect("the validator starts");
    Stage {
        address: plan.multiaddr().parse().expect("an address"),
        domain: Domain {
            chain_id: deployment.chain_id,
            core: deployment.core,
            coordinator: deployment.coordinator,
        },
        _chain: chain,
        node,
        log,
    }
}

/// Memory of a process that is in use now, in KiB.
fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .expect("a size")
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 99).div_ceil(100) - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_hostile_peers_keep_no_honest_one_from_being_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut stage = stage(dir.path()).await;
    let process = stage.node.id().expect("it runs");

    let mut steady = honest::Peers::join(&stage.address, stage.domain, 3).await;
    let quiet = steady.ask_for(Duration::from_secs(2)).await;
    let before = resident_kib(process);

    let mut attackers = JoinSet::new();
    peers::attack(
        &mut attackers,
        &stage.address,
        stage.domain,
        OF_EACH_KIND,
        ATTACK_MAX,
    );
    assert_eq!(attackers.len(), 100);
    let newcomers = tokio::spawn(honest::arrivals(
        stage.address.clone(),
        stage.domain,
        ATTACK,
    ));
    let watch = tokio::task::spawn_blocking(move || {
        let begin = Instant::now();
        let mut peak = 0;
        while begin.elapsed() < ATTACK {
            peak = peak.max(resident_kib(process));
            std::thread::sleep(Duration::from_millis(100));
        }
        peak
    });
    let served = steady.ask_for(ATTACK).await;
    let arrivals = newcomers.await.expect("no panic");
    let peak = watch.await.expect("no panic");
    // Every peer that sends frames or records which no honest one does.
    let to_ban = 3 * OF_EACH_KIND;
    let bans = || {
        let log = fs::read_to_string(&stage.log).expect("a log");
        (log.matches("peer banned for a time").count(), log)
    };
    let begin = Instant::now();
    while bans().0 < to_ban && begin.elapsed() < ATTACK_MAX - ATTACK {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    attackers.shutdown().await;
    let (bans, log) = bans();
    stage.node.check().await.expect("the validator still runs");

    let (quiet_p99, busy_p99) = (p99(quiet), p99(served.clone()));
    println!(
        "{} honest requests: p99 {busy_p99:?} (undisturbed {quiet_p99:?}); {} arrivals: p99 {:?}; memory {} MiB before, \
         {} MiB at most; {bans} bans",
        served.len(),
        arrivals.len(),
        p99(arrivals.clone()),
        before / 1024,
        peak / 1024,
    );
    assert!(!log.contains("panicked"), "{log}");
    assert!(busy_p99 < REQUEST_P99_MAX, "{busy_p99:?}");
    assert!(arrivals.len() >= 5 && p99(arrivals) < ARRIVAL_P99_MAX);
    assert!(
        peak < before + GROWTH_KIB_MAX,
        "{before} KiB before, {peak} KiB at most"
    );
    let banned: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("peer banned"))
        .collect();
    assert!(bans >= to_ban, "{bans} bans:\n{}", banned.join("\n"));
    for honest in steady.ids() {
        let banned = format!("peer={honest} ");
        let held = log
            .lines()
            .any(|line| line.contains("banned") && line.contains(&banned));
        assert!(!held, "an honest peer was banned");
    }
    stage.node.stop().await.expect("it stops when asked to");
}
