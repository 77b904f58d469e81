//! Deployment to the chain in the process.

use alloy::eips::BlockId;
use alloy::primitives::{TxKind, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use thiserror::Error;

use super::{DeployError, DeployParams, Deployment, DeploymentPlan};
use crate::chain::{CallError, Chain, ChainConfig, ChainError, ConfigError};

/// Why a deployment to the chain in the process failed.
#[derive(Debug, Error)]
pub enum InProcessError {
    /// The parameters cannot be deployed.
    #[error(transparent)]
    Plan(#[from] DeployError),
    /// No such chain can be built.
    #[error("chain: {0}")]
    Config(#[from] ConfigError),
    /// The chain refused a transaction, or a constructor reverted.
    #[error("transaction {place} of the deployment: {source}")]
    Chain {
        /// Its place in the plan, from 0.
        place: usize,
        /// What the chain said.
        source: ChainError,
    },
    /// A contract is not where the plan put it: somebody else used the deployer's nonces.
    #[error(
        "transaction {place} of the deployment created no contract where the plan has one: deploy from an unused account"
    )]
    Address {
        /// Its place in the plan, from 0.
        place: usize,
    },
}

/// Deploys everything from `deployer`, one block for each transaction.
pub fn deploy_in_process(
    chain: &mut Chain,
    deployer: &PrivateKeySigner,
    params: &DeployParams,
) -> Result<Deployment, InProcessError> {
    Ok(execute(chain, deployer, params)?.0)
}

/// The gas that each transaction of a deployment uses, in the plan's order: measured on a chain in the process. On
/// another chain it differs by some hundred at most, for the addresses differ and their zero bytes are cheaper.
pub fn gas_in_process(params: &DeployParams, chain_id: u64) -> Result<Vec<u64>, InProcessError> {
    let deployer = PrivateKeySigner::from_bytes(&keccak256("rehearsal"))
        .expect("this hash is below the order of the curve");
    let config = ChainConfig {
        chain_id,
        balances: [(deployer.address(), U256::MAX >> 1)].into(),
        ..ChainConfig::default()
    };
    let mut chain = Chain::new(config)?;
    Ok(execute(&mut chain, &deployer, params)?.1)
}

fn execute(
    chain: &mut Chain,
    deployer: &PrivateKeySigner,
    params: &DeployParams,
) -> Result<(Deployment, Vec<u64>), InProcessError> {
    let at = |place| move |source: ChainError| InProcessError::Chain { place, source };
    let nonce = chain
        .nonce(deployer.address(), BlockId::pending())
        .map_err(|error| at(0)(CallError::Block(error).into()))?;
    let plan = DeploymentPlan::new(params, deployer.address(), nonce, chain.config().chain_id)?;
    let mut start = None;
    let mut gas = Vec::with_capacity(plan.transactions.len());
    for (place, init_code) in plan.transactions.iter().enumerate() {
        let receipt = chain
            .transact(deployer, TxKind::Create, init_code.clone(), U256::ZERO)
            .map_err(at(place))?;
        if receipt.contract_address != Some(deployer.address().create(nonce + place as u64)) {
            return Err(InProcessError::Address { place });
        }
        start.get_or_insert((chain.block_number(), chain.timestamp()));
        gas.push(receipt.gas_used);
    }
    let (number, timestamp) = start.expect("a plan has transactions");
    Ok((plan.started(number, timestamp), gas))
}
