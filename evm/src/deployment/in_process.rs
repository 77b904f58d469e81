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
    let plan = plan(chain, deployer, params)?;
    deploy_plan_in_process(chain, deployer, &plan)
}

/// Carries out a plan of `deployer`'s, one block for each transaction. It must begin with the deployer's next nonce.
pub fn deploy_plan_in_process(
    chain: &mut Chain,
    deployer: &PrivateKeySigner,
    plan: &DeploymentPlan,
) -> Result<Deployment, InProcessError> {
    Ok(execute(chain, deployer, plan)?.0)
}

/// The plan of a deployment that begins with the deployer's next nonce.
fn plan(
    chain: &Chain,
    deployer: &PrivateKeySigner,
    params: &DeployParams,
) -> Result<DeploymentPlan, InProcessError> {
    let nonce = next_nonce(chain, deployer)?;
    let chain_id = chain.config().chain_id;
    Ok(DeploymentPlan::new(
        params,
        deployer.address(),
        nonce,
        chain_id,
    )?)
}

fn next_nonce(chain: &Chain, deployer: &PrivateKeySigner) -> Result<u64, InProcessError> {
    let nonce = chain.nonce(deployer.address(), BlockId::pending());
    nonce.map_err(|error| InProcessError::Chain {
        place: 0,
        source: CallError::Block(error).into(),
    })
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
    let plan = plan(&chain, &deployer, params)?;
    Ok(execute(&mut chain, &deployer, &plan)?.1)
}

fn execute(
    chain: &mut Chain,
    deployer: &PrivateKeySigner,
    plan: &DeploymentPlan,
) -> Result<(Deployment, Vec<u64>), InProcessError> {
    let at = |place| move |source: ChainError| InProcessError::Chain { place, source };
    let nonce = next_nonce(chain, deployer)?;
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
