//! The chain of a run: its contracts, its host, and the oracle that watches it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::{B256, U256};
use madsim::runtime::Handle;
use madsim::time::TimeHandle;
use smartnodes_evm::bindings::SmartnodesERC20;
use smartnodes_evm::chain::{Chain, ChainConfig};
use smartnodes_evm::deployment::{
    DeployParams, Deployment, DeploymentPlan, GenesisValidator, Replacement, deploy_plan_in_process,
};
use smartnodes_node::identity::Identity;
use smartnodes_scenarios::{FaultKind, HostName, Role, Scenario, SwarmKind};
use tokio::sync::watch;

use super::{BLOCKS_BEFORE_START, CHAIN_ID, GAS_MONEY, WorldError, wallet};
use crate::acts::stakes::Stakes;
use crate::chain_host::{ChainHost, Sight};
use crate::draw;
use crate::host::cheats::crowd_of;
use crate::oracle::Oracle;
use crate::oracle::books::Terms;
use crate::oracle::truth::Truth;
use crate::violation::Violations;
use crate::wire::Endpoint;

/// A chain with the contracts on it, whose time has come to the start of the run.
pub(super) fn chain(
    scenario: &Scenario,
    seed: u64,
    replacements: &[Replacement],
    identities: &BTreeMap<HostName, Identity>,
    truth: &Truth,
    violations: &Violations,
) -> Result<(Chain, Deployment, Oracle), WorldError> {
    let chain_error = |error: &dyn std::fmt::Display| WorldError::Chain(error.to_string());
    let unix = TimeHandle::current()
        .now_time()
        .duration_since(std::time::UNIX_EPOCH);
    let start = unix.map_err(|error| chain_error(&error))?.as_secs();
    let deployer = wallet(seed, "the deployer");
    let crowds = scenario
        .misdeeds
        .iter()
        .flat_map(|(host, misdeed)| crowd_of(seed, *host, *misdeed));
    let wallets = identities
        .values()
        .map(Identity::address)
        .chain(crowds.map(|identity| identity.address()))
        .chain([deployer.address()]);
    let age = scenario.chain.starts_at.as_secs();
    let before_start = BLOCKS_BEFORE_START * scenario.chain.block_time.as_secs();
    let config = ChainConfig {
        chain_id: CHAIN_ID,
        start_timestamp: start.saturating_sub(before_start + age),
        block_time_seconds: scenario.chain.block_time.as_secs(),
        balances: wallets
            .map(|wallet| (wallet, U256::from(GAS_MONEY)))
            .collect(),
        randomness_seed: B256::from(draw::bytes(seed, "randomness of the chain")),
        ..ChainConfig::default()
    };
    let mut chain = Chain::new(config).map_err(|error| chain_error(&error))?;
    let stakes = Stakes::new(scenario, identities);
    let validators = identities
        .iter()
        .filter(|(name, _)| name.role == Role::Validator);
    let genesis: Vec<GenesisValidator> = validators
        .filter(|(name, _)| !scenario.joins_later(**name))
        .map(|(_, identity)| GenesisValidator {
            wallet: identity.address(),
            public_key_hash: identity.public_key_hash(),
        })
        .collect();
    let params = DeployParams {
        genesis: genesis.clone(),
        update_interval_seconds: scenario.chain.update_interval.as_secs(),
        approval_percent: scenario.chain.approval_percent,
        networks: smartnodes_node::work::NETWORKS.map(str::to_owned).to_vec(),
        testnet: stakes.snapshot(),
    };
    let deploy_error = |error: &dyn std::fmt::Display| WorldError::Deploy(error.to_string());
    let mut plan = DeploymentPlan::new(&params, deployer.address(), 0, CHAIN_ID)
        .map_err(|error| deploy_error(&error))?;
    for replacement in replacements {
        replacement
            .apply(&mut plan)
            .map_err(|error| deploy_error(&error))?;
    }
    let deployment = deploy_plan_in_process(&mut chain, &deployer, &plan)
        .map_err(|error| deploy_error(&error))?;
    let deployed = chain.block_number();
    debug_assert!(
        deployed < BLOCKS_BEFORE_START,
        "the deployment takes {deployed} blocks"
    );
    if age > 0 {
        // Blocks of that time would hold nothing.
        let before = start.saturating_sub(before_start);
        chain.mine(before).map_err(|error| chain_error(&error))?;
    }
    chain
        .advance_to(start)
        .map_err(|error| chain_error(&error))?;

    let deployed_at = chain.read(
        deployment.token,
        &SmartnodesERC20::i_deploymentTimestampCall {},
    );
    let terms = Terms {
        genesis: genesis.len() as u64,
        testnet: stakes.total(),
        deployed_at: deployed_at
            .map_err(|error| chain_error(&error))?
            .saturating_to(),
        interval: scenario.chain.update_interval.as_secs(),
        approval_percent: scenario.chain.approval_percent.into(),
    };
    let mut oracle = Oracle::new(deployment.clone(), terms, truth.clone(), violations.clone());
    oracle.expect_transfers(scenario.transfers.iter().filter_map(|transfer| {
        let wallet = |host| identities.get(host).map(Identity::address);
        let (from, to) = (wallet(&transfer.from)?, wallet(&transfer.to)?);
        Some((from, to, U256::from(transfer.amount.wei())))
    }));
    (1..=deployed).for_each(|number| oracle.follow(&chain, number));
    oracle.compare(&chain);
    if may_rewind(scenario) {
        oracle.remember(&chain);
    }
    Ok((chain, deployment, oracle))
}

pub(super) fn start_chain(
    chain: Chain,
    scenario: &Scenario,
    endpoint: Endpoint,
    violations: &Violations,
    oracle: Arc<Mutex<Oracle>>,
    (opened, executed): (watch::Sender<u64>, watch::Sender<u64>),
) -> (ChainHost, madsim::task::NodeId) {
    let observer = move |chain: &Chain, sight: Sight<'_>| {
        let mut oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
        match sight {
            Sight::Mined(block) => oracle.observe(chain, block),
            Sight::Rewound(latest) => oracle.rewind(chain, latest),
        }
        let tally = oracle.tally();
        opened.send_if_modified(|round| {
            std::mem::replace(round, tally.last_round) != tally.last_round
        });
        executed.send_if_modified(|updates| {
            std::mem::replace(updates, tally.state_updates) != tally.state_updates
        });
    };
    let host = ChainHost::new(chain, vec![Box::new(observer)]);
    let (running, violations, block_time) =
        (host.clone(), violations.clone(), scenario.chain.block_time);
    let node = Handle::current()
        .create_node()
        .name(endpoint.host())
        .ip(endpoint.address())
        .build();
    node.spawn(async move {
        if let Err(error) = running.run(endpoint, block_time).await {
            violations.add("chain-runs", error.to_string());
        }
    });
    (host, node.id())
}

/// Whether blocks may be undone in a run.
fn may_rewind(scenario: &Scenario) -> bool {
    let mut faults = scenario.faults.iter();
    let mut swarm = scenario.swarm.iter().flat_map(|swarm| &swarm.kinds);
    faults.any(|fault| matches!(fault.kind, FaultKind::Reorg { .. }))
        || swarm.any(|kind| *kind == SwarmKind::Reorg)
}
