//! What makes a run repeatable: the identity of everything that goes into it.

use sha2::{Digest, Sha256};
use smartnodes_evm::bindings::{
    ERC1967Proxy, SmartnodesCoordinator, SmartnodesCore, SmartnodesDAO, SmartnodesERC20,
    SmartnodesTimelock,
};

/// What a run is made of, besides scenario and seed. Runs repeat exactly where all of it is equal, on machines of one
/// architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The scenario file's text.
    pub scenario: String,
    /// The contracts' bytecode.
    pub contracts: String,
    /// `Cargo.lock`.
    pub dependencies: String,
    /// Compiler and profile.
    pub toolchain: &'static str,
}

impl Identity {
    /// The identity of this build with a scenario file's text.
    pub fn of(scenario: &str) -> Identity {
        let contracts = [
            &SmartnodesERC20::BYTECODE,
            &SmartnodesCore::BYTECODE,
            &SmartnodesCoordinator::BYTECODE,
            &SmartnodesDAO::BYTECODE,
            &SmartnodesTimelock::BYTECODE,
            &ERC1967Proxy::BYTECODE,
        ];
        let contracts: Vec<u8> = contracts
            .iter()
            .flat_map(|code| code.iter().copied())
            .collect();
        Identity {
            scenario: short_hash(scenario.as_bytes()),
            contracts: short_hash(&contracts),
            dependencies: short_hash(include_bytes!("../../Cargo.lock")),
            toolchain: env!("SMARTNODES_TOOLCHAIN"),
        }
    }
}

impl Identity {
    /// The identity of this build, whatever the scenario.
    pub fn build(&self) -> String {
        format!(
            "contracts {} · dependencies {} · {}",
            self.contracts, self.dependencies, self.toolchain
        )
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "scenario {} · {}", self.scenario, self.build())
    }
}

fn short_hash(bytes: &[u8]) -> String {
    let hash = format!("{:x}", Sha256::digest(bytes));
    hash[..12].to_owned()
}
