//! Other init code in the place of one of the contracts': to see what a network makes of a changed contract.

use alloy::primitives::Bytes;
use serde::Deserialize;
use thiserror::Error;

use super::DeploymentPlan;
use crate::bindings::{
    SmartnodesCoordinator, SmartnodesCore, SmartnodesDAO, SmartnodesERC20, SmartnodesTimelock,
};

/// A contract that takes the place of the one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Replacement {
    /// The contract's name, such as `SmartnodesCoordinator`.
    pub contract: String,
    /// Its init code, without the constructor's arguments. They must be those of the original.
    pub bytecode: Bytes,
}

/// Why a contract cannot be replaced.
#[derive(Debug, Error)]
pub enum ReplacementError {
    /// The text is no artifact.
    #[error("no artifact of a contract: {0}; it must be JSON with `contract` and `bytecode`")]
    Format(#[from] serde_json::Error),
    /// No contract has that name.
    #[error(
        "there is no contract {0} to replace: the names are SmartnodesERC20, SmartnodesTimelock, SmartnodesDAO, SmartnodesCore and SmartnodesCoordinator"
    )]
    Unknown(String),
    /// The plan does not create the contract.
    #[error("the deployment does not create {0}, or has replaced it already")]
    Absent(String),
}

impl Replacement {
    /// Reads an artifact: JSON with `contract` and `bytecode`. Other fields are passed over.
    pub fn parse(json: &str) -> Result<Self, ReplacementError> {
        Ok(serde_json::from_str(json)?)
    }

    /// Puts the init code in the place of the original's in a plan.
    pub fn apply(&self, plan: &mut DeploymentPlan) -> Result<(), ReplacementError> {
        let original: &Bytes = match self.contract.as_str() {
            "SmartnodesERC20" => &SmartnodesERC20::BYTECODE,
            "SmartnodesTimelock" => &SmartnodesTimelock::BYTECODE,
            "SmartnodesDAO" => &SmartnodesDAO::BYTECODE,
            "SmartnodesCore" => &SmartnodesCore::BYTECODE,
            "SmartnodesCoordinator" => &SmartnodesCoordinator::BYTECODE,
            other => return Err(ReplacementError::Unknown(other.to_owned())),
        };
        let creation = plan.transactions.iter_mut().find_map(|transaction| {
            let arguments = transaction.strip_prefix(original.as_ref())?;
            Some(([self.bytecode.as_ref(), arguments].concat(), transaction))
        });
        let (code, transaction) =
            creation.ok_or_else(|| ReplacementError::Absent(self.contract.clone()))?;
        *transaction = code.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};

    use super::*;
    use crate::deployment::{DeployParams, GenesisValidator};

    fn plan() -> DeploymentPlan {
        let params = DeployParams {
            genesis: vec![GenesisValidator {
                wallet: Address::repeat_byte(1),
                public_key_hash: B256::repeat_byte(1),
            }],
            ..DeployParams::default()
        };
        DeploymentPlan::new(&params, Address::repeat_byte(9), 0, 1).expect("good parameters")
    }

    #[test]
    fn one_creation_has_the_other_code_and_the_same_arguments() {
        let json = r#"{ "contract": "SmartnodesDAO", "breaks": "all", "bytecode": "0xfefe" }"#;
        let replacement = Replacement::parse(json).expect("an artifact");
        let (before, mut after) = (plan(), plan());
        replacement.apply(&mut after).expect("it is created");
        let differ: Vec<usize> = (0..before.transactions.len())
            .filter(|i| before.transactions[*i] != after.transactions[*i])
            .collect();
        assert_eq!(differ.len(), 1);
        let arguments = before.transactions[differ[0]]
            .strip_prefix(SmartnodesDAO::BYTECODE.as_ref())
            .expect("the DAO's creation");
        assert_eq!(
            after.transactions[differ[0]].as_ref(),
            [b"\xfe\xfe", arguments].concat()
        );
        assert!(matches!(
            replacement.apply(&mut after),
            Err(ReplacementError::Absent(_))
        ));
    }

    #[test]
    fn bad_input_is_refused_in_words() {
        assert!(Replacement::parse("{}").is_err());
        let unknown = Replacement::parse(r#"{ "contract": "Token", "bytecode": "0x" }"#);
        let refused = unknown.expect("well formed").apply(&mut plan());
        assert!(matches!(refused, Err(ReplacementError::Unknown(name)) if name == "Token"));
    }
}
