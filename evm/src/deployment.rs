//! Deploys the contracts to any chain.
//!
//! Every address is known before the first transaction, from the deployer's address and nonce, so that the contracts
//! name each other in their constructors. Nothing has to be set up afterwards, nothing is open to others between two
//! transactions, and no key is left that could bypass governance: the deployer is nobody once the last one is mined.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolConstructor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bindings::{
    ERC1967Proxy, SmartnodesCoordinator, SmartnodesCore, SmartnodesDAO, SmartnodesERC20,
    SmartnodesTimelock,
};

mod in_process;
mod replacement;

pub use in_process::{InProcessError, deploy_in_process, deploy_plan_in_process, gas_in_process};
pub use replacement::{Replacement, ReplacementError};

/// Seconds that governance's decisions wait in the timelock.
const TIMELOCK_DELAY_SECONDS: u64 = 2 * 24 * 3_600;
/// Bounds of the update interval, in seconds; the Coordinator has the same.
const INTERVAL_SECONDS: std::ops::RangeInclusive<u64> = 32..=256 * 3_600;
/// Bounds of the approval percentage; the Coordinator has the same.
const APPROVAL_PERCENT: std::ops::RangeInclusive<u8> = 51..=100;
/// Longest name of a network, in bytes, and most networks; Core has the same.
const NETWORK_NAME_BYTES_MAX: usize = 64;
const NETWORKS_MAX: usize = 256;

/// Largest init code that the EVM accepts, in bytes (EIP-3860).
const INIT_CODE_BYTES_MAX: usize = 49_152;

/// A validator that is there from the start, with 1,000,000 SNO, all of it locked as its collateral.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// The account that owns the collateral and signs its transactions.
    pub wallet: Address,
    /// keccak256 of its network public key (libp2p protobuf encoding).
    pub public_key_hash: B256,
}

/// Rewards of a testnet that can be claimed on the chain that is deployed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestnetSnapshot {
    /// Root over (account, amount): leaf = keccak256(keccak256(abi.encode(account, amount))), sorted pairs.
    pub root: B256,
    /// Sum of the amounts, in SNO wei: the most that can be claimed.
    pub total: U256,
}

/// What a deployment is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeployParams {
    /// The first validators: at least one.
    pub genesis: Vec<GenesisValidator>,
    /// Seconds between two state updates.
    pub update_interval_seconds: u64,
    /// More than this share of a round's validators must approve an update.
    pub approval_percent: u8,
    /// Names of the networks that are there from the start.
    pub networks: Vec<String>,
    /// Rewards of a testnet before this chain, if there was one.
    pub testnet: Option<TestnetSnapshot>,
}

impl Default for DeployParams {
    /// The rule book's numbers, without genesis validators.
    fn default() -> Self {
        Self {
            genesis: Vec::new(),
            update_interval_seconds: 8 * 3_600,
            approval_percent: 66,
            networks: vec!["hash-chain".to_owned()],
            testnet: None,
        }
    }
}

/// Parameters that cannot be deployed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeployError {
    /// Without a validator no round can ever be opened.
    #[error("genesis is empty: name at least one validator")]
    NoGenesis,
    /// One account cannot be two validators.
    #[error("genesis names the wallet {0} twice: remove one")]
    DuplicateWallet(Address),
    /// No key hashes to zero, and the token goes to no one.
    #[error(
        "genesis has a validator whose wallet ({wallet}) or public_key_hash is zero: give both"
    )]
    ZeroGenesis {
        /// Its wallet.
        wallet: Address,
    },
    /// An interval that the Coordinator refuses.
    #[error("update_interval_seconds is {0}: use {min} to {max}", min = INTERVAL_SECONDS.start(), max = INTERVAL_SECONDS.end())]
    Interval(u64),
    /// A share that the Coordinator refuses.
    #[error("approval_percent is {0}: use {min} to {max}", min = APPROVAL_PERCENT.start(), max = APPROVAL_PERCENT.end())]
    ApprovalPercent(u8),
    /// A name that Core refuses.
    #[error("networks has the name {0:?}: use 1 to {NETWORK_NAME_BYTES_MAX} bytes")]
    NetworkName(String),
    /// One name twice.
    #[error("networks names {0:?} twice: remove one")]
    DuplicateNetwork(String),
    /// A constructor's arguments make the transaction larger than the EVM accepts.
    #[error(
        "genesis has {0} validators: their list does not fit into a transaction; let some register after the deployment"
    )]
    TooManyValidators(usize),
    /// More than Core can number.
    #[error("networks has {0} names: use at most {NETWORKS_MAX}")]
    TooManyNetworks(usize),
}

/// The contracts of one deployment on one chain, as it is saved (JSON).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// SmartnodesERC20.
    pub token: Address,
    /// SmartnodesCore (proxy).
    pub core: Address,
    /// SmartnodesCoordinator (proxy).
    pub coordinator: Address,
    /// SmartnodesDAO.
    pub dao: Address,
    /// SmartnodesTimelock: the treasury, and the owner of everything.
    pub timelock: Address,
    /// Number of the block of the first transaction: no log of these contracts is older.
    #[serde(default)]
    pub deployed_at: u64,
    /// Timestamp of that block (seconds): the start of era 0 and of the grid of due times.
    #[serde(default)]
    pub start_time: u64,
}

/// The transactions of a deployment, to be signed and sent by the deployer with consecutive nonces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentPlan {
    /// Init code of each contract creation (no value), in order.
    pub transactions: Vec<Bytes>,
    /// Where the contracts will be. When it started is known once the first transaction is mined:
    /// [`DeploymentPlan::started`].
    pub deployment: Deployment,
}

/// What each transaction of a plan creates, in order.
pub const CREATED: [&str; 7] = [
    "SmartnodesERC20",
    "SmartnodesTimelock",
    "SmartnodesDAO",
    "SmartnodesCore (implementation)",
    "SmartnodesCoordinator (implementation)",
    "SmartnodesCore (proxy)",
    "SmartnodesCoordinator (proxy)",
];

/// The deployer's transactions by their place in the plan. The token comes first, for the others ask it when they start;
/// the proxies come last, for they call everything.
enum Step {
    Token,
    Timelock,
    Dao,
    CoreImplementation,
    CoordinatorImplementation,
    Core,
    Coordinator,
}

impl DeploymentPlan {
    /// Plans a deployment by `deployer`, whose next nonce is `first_nonce`.
    pub fn new(
        params: &DeployParams,
        deployer: Address,
        first_nonce: u64,
        chain_id: u64,
    ) -> Result<Self, DeployError> {
        check(params)?;
        let address = |step: Step| deployer.create(first_nonce.wrapping_add(step as u64));
        let deployment = Deployment {
            chain_id,
            token: address(Step::Token),
            core: address(Step::Core),
            coordinator: address(Step::Coordinator),
            dao: address(Step::Dao),
            timelock: address(Step::Timelock),
            deployed_at: 0,
            start_time: 0,
        };
        let Deployment {
            token,
            core,
            coordinator,
            dao,
            timelock,
            ..
        } = deployment;
        let wallets: Vec<Address> = params
            .genesis
            .iter()
            .map(|validator| validator.wallet)
            .collect();
        let testnet = params.testnet.unwrap_or(TestnetSnapshot {
            root: B256::ZERO,
            total: U256::ZERO,
        });

        let transactions = vec![
            init_code(
                &SmartnodesERC20::BYTECODE,
                &SmartnodesERC20::constructorCall {
                    genesisNodes: wallets.clone(),
                    core,
                    coordinator,
                    dao: timelock,
                    testnetRoot: testnet.root,
                    testnetTotal: testnet.total,
                },
            ),
            init_code(
                &SmartnodesTimelock::BYTECODE,
                &SmartnodesTimelock::constructorCall {
                    minDelay: U256::from(TIMELOCK_DELAY_SECONDS),
                    proposers: vec![dao],
                    executors: vec![dao],
                    admin: Address::ZERO,
                },
            ),
            init_code(
                &SmartnodesDAO::BYTECODE,
                &SmartnodesDAO::constructorCall { token, timelock },
            ),
            init_code(
                &SmartnodesCore::BYTECODE,
                &SmartnodesCore::constructorCall {
                    token,
                    coordinator,
                    timelock,
                },
            ),
            init_code(
                &SmartnodesCoordinator::BYTECODE,
                &SmartnodesCoordinator::constructorCall {
                    token,
                    core,
                    timelock,
                },
            ),
            proxy(
                address(Step::CoreImplementation),
                &SmartnodesCore::initializeCall {
                    genesisNodes: wallets.clone(),
                    publicKeyHashes: params
                        .genesis
                        .iter()
                        .map(|validator| validator.public_key_hash)
                        .collect(),
                    networkNames: params.networks.clone(),
                },
            ),
            proxy(
                address(Step::CoordinatorImplementation),
                &SmartnodesCoordinator::initializeCall {
                    interval: u32::try_from(params.update_interval_seconds)
                        .map_err(|_| DeployError::Interval(params.update_interval_seconds))?,
                    approvalPercent: params.approval_percent,
                    genesisNodes: wallets,
                },
            ),
        ];
        if transactions
            .iter()
            .any(|init_code| init_code.len() > INIT_CODE_BYTES_MAX)
        {
            return Err(DeployError::TooManyValidators(params.genesis.len()));
        }
        Ok(Self {
            transactions,
            deployment,
        })
    }

    /// The deployment, now that its first transaction is in block `number` with `timestamp` (seconds).
    #[must_use]
    pub fn started(&self, number: u64, timestamp: u64) -> Deployment {
        Deployment {
            deployed_at: number,
            start_time: timestamp,
            ..self.deployment.clone()
        }
    }
}

fn init_code(bytecode: &Bytes, constructor: &impl SolConstructor) -> Bytes {
    [bytecode.as_ref(), &constructor.abi_encode()]
        .concat()
        .into()
}

fn proxy(implementation: Address, initialize: &impl SolCall) -> Bytes {
    init_code(
        &ERC1967Proxy::BYTECODE,
        &ERC1967Proxy::constructorCall {
            implementation,
            _data: initialize.abi_encode().into(),
        },
    )
}

/// What the contracts would refuse, said before anything is paid for.
fn check(params: &DeployParams) -> Result<(), DeployError> {
    if params.genesis.is_empty() {
        return Err(DeployError::NoGenesis);
    }
    for (place, validator) in params.genesis.iter().enumerate() {
        if validator.wallet.is_zero() || validator.public_key_hash.is_zero() {
            return Err(DeployError::ZeroGenesis {
                wallet: validator.wallet,
            });
        }
        if params.genesis[..place]
            .iter()
            .any(|earlier| earlier.wallet == validator.wallet)
        {
            return Err(DeployError::DuplicateWallet(validator.wallet));
        }
    }
    if !INTERVAL_SECONDS.contains(&params.update_interval_seconds) {
        return Err(DeployError::Interval(params.update_interval_seconds));
    }
    if !APPROVAL_PERCENT.contains(&params.approval_percent) {
        return Err(DeployError::ApprovalPercent(params.approval_percent));
    }
    if params.networks.len() > NETWORKS_MAX {
        return Err(DeployError::TooManyNetworks(params.networks.len()));
    }
    for (place, name) in params.networks.iter().enumerate() {
        if name.is_empty() || name.len() > NETWORK_NAME_BYTES_MAX {
            return Err(DeployError::NetworkName(name.clone()));
        }
        if params.networks[..place].contains(name) {
            return Err(DeployError::DuplicateNetwork(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> DeployParams {
        let genesis = (1..=3)
            .map(|n| GenesisValidator {
                wallet: Address::with_last_byte(n),
                public_key_hash: B256::with_last_byte(n),
            })
            .collect();
        DeployParams {
            genesis,
            ..DeployParams::default()
        }
    }

    fn refusal(change: impl FnOnce(&mut DeployParams)) -> DeployError {
        let mut params = params();
        change(&mut params);
        DeploymentPlan::new(&params, Address::with_last_byte(9), 0, 1).expect_err("must be refused")
    }

    #[test]
    fn addresses_follow_the_deployers_nonce() {
        let deployer = Address::with_last_byte(9);
        let plan = DeploymentPlan::new(&params(), deployer, 5, 1).expect("good parameters");
        assert_eq!(plan.transactions.len(), CREATED.len());
        assert_eq!(plan.deployment.token, deployer.create(5));
        assert_eq!(plan.deployment.coordinator, deployer.create(11));
        let started = plan.started(17, 1_000);
        assert_eq!(
            (started.deployed_at, started.start_time, started.token),
            (17, 1_000, plan.deployment.token)
        );
    }

    #[test]
    fn what_the_contracts_would_refuse_is_refused_before() {
        assert_eq!(refusal(|p| p.genesis.clear()), DeployError::NoGenesis);
        assert_eq!(
            refusal(|p| p.genesis[2].wallet = p.genesis[0].wallet),
            DeployError::DuplicateWallet(Address::with_last_byte(1))
        );
        let crowd = |n: u64| GenesisValidator {
            wallet: Address::left_padding_from(&n.to_be_bytes()),
            public_key_hash: B256::with_last_byte(1),
        };
        assert_eq!(
            refusal(|p| p.genesis = (1..=900).map(crowd).collect()),
            DeployError::TooManyValidators(900)
        );
        assert_eq!(
            refusal(|p| p.genesis[1].public_key_hash = B256::ZERO),
            DeployError::ZeroGenesis {
                wallet: Address::with_last_byte(2)
            }
        );
        assert_eq!(
            refusal(|p| p.update_interval_seconds = 31),
            DeployError::Interval(31)
        );
        assert_eq!(
            refusal(|p| p.update_interval_seconds = 256 * 3_600 + 1),
            DeployError::Interval(921_601)
        );
        assert_eq!(
            refusal(|p| p.approval_percent = 50),
            DeployError::ApprovalPercent(50)
        );
        assert_eq!(
            refusal(|p| p.networks.push(String::new())),
            DeployError::NetworkName(String::new())
        );
        assert_eq!(
            refusal(|p| p.networks.push("hash-chain".into())),
            DeployError::DuplicateNetwork("hash-chain".into())
        );
    }

    #[test]
    fn a_deployment_survives_json() {
        let deployment = DeploymentPlan::new(&params(), Address::with_last_byte(9), 0, 8_453)
            .expect("good parameters")
            .started(3, 1_000);
        let json = serde_json::to_string(&deployment).expect("plain data");
        assert_eq!(
            serde_json::from_str::<Deployment>(&json).expect("its own JSON"),
            deployment
        );
    }
}
