//! Names of the contracts' errors.

use alloy::sol_types::{Panic, Revert, SolError};
use smartnodes_evm::bindings::{
    SmartnodesCoordinator::SmartnodesCoordinatorErrors, SmartnodesCore::SmartnodesCoreErrors,
    SmartnodesDAO::SmartnodesDAOErrors, SmartnodesERC20::SmartnodesERC20Errors,
    SmartnodesTimelock::SmartnodesTimelockErrors,
};
use smartnodes_evm::chain::CallError;

/// The name of the error with which a transaction failed, as the contracts' sources have it.
pub(super) fn name(error: &CallError) -> String {
    match error {
        CallError::Reverted(reverted) => of_data(&reverted.data),
        other => other.to_string(),
    }
}

fn of_data(data: &[u8]) -> String {
    let Some(selector) = data.first_chunk::<4>().copied() else {
        return "Revert".to_owned();
    };
    let known = [
        SmartnodesCoordinatorErrors::name_by_selector(selector),
        SmartnodesCoreErrors::name_by_selector(selector),
        SmartnodesERC20Errors::name_by_selector(selector),
        SmartnodesDAOErrors::name_by_selector(selector),
        SmartnodesTimelockErrors::name_by_selector(selector),
        (selector == Revert::SELECTOR).then_some("Error"),
        (selector == Panic::SELECTOR).then_some("Panic"),
    ];
    match known.into_iter().flatten().next() {
        Some(name) => name.to_owned(),
        None => format!("0x{}", alloy::hex::encode(selector)),
    }
}

#[cfg(test)]
mod tests {
    use smartnodes_evm::bindings::{SmartnodesDAO as Dao, SmartnodesERC20 as Token};
    use smartnodes_evm::chain::Reverted;

    use super::*;

    #[test]
    fn errors_have_the_names_of_the_sources() {
        let name_of = |data: Vec<u8>| name(&CallError::Reverted(Reverted { data: data.into() }));
        assert_eq!(
            name_of(Token::Token__RewardsAlreadyClaimed {}.abi_encode()),
            "Token__RewardsAlreadyClaimed"
        );
        let quorum = Dao::DAO__InvalidQuorum {
            percent: alloy::primitives::U256::from(1),
        };
        assert_eq!(name_of(quorum.abi_encode()), "DAO__InvalidQuorum");
        assert_eq!(name_of(Revert::from("no").abi_encode()), "Error");
        assert_eq!(name_of(Vec::new()), "Revert");
        assert_eq!(name_of(vec![1, 2, 3, 4]), "0x01020304");
    }
}
