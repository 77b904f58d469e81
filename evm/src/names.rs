//! Names of the contracts' events and errors, as their sources have them.

use alloy::sol_types::{Panic, Revert, SolError};

use crate::bindings::SmartnodesCoordinator::{
    SmartnodesCoordinatorErrors, SmartnodesCoordinatorEvents,
};
use crate::bindings::SmartnodesCore::{SmartnodesCoreErrors, SmartnodesCoreEvents};
use crate::bindings::SmartnodesDAO::{SmartnodesDAOErrors, SmartnodesDAOEvents};
use crate::bindings::SmartnodesERC20::{SmartnodesERC20Errors, SmartnodesERC20Events};
use crate::bindings::SmartnodesTimelock::SmartnodesTimelockErrors;

/// A failure that says nothing.
const SILENT: &str = "Revert";
/// `require` with words.
const WITH_WORDS: &str = "Error";
/// Solidity's own checks.
const PANIC: &str = "Panic";

/// The events that the contracts can emit, as `Contract.Event`.
pub fn events() -> Vec<String> {
    let signatures = [
        ("SmartnodesERC20", SmartnodesERC20Events::SIGNATURES),
        ("SmartnodesCore", SmartnodesCoreEvents::SIGNATURES),
        (
            "SmartnodesCoordinator",
            SmartnodesCoordinatorEvents::SIGNATURES,
        ),
        ("SmartnodesDAO", SmartnodesDAOEvents::SIGNATURES),
    ];
    let named = signatures.into_iter().flat_map(|(contract, signatures)| {
        let names = signatures.iter().filter_map(|signature| named(signature));
        names.map(move |name| format!("{contract}.{name}"))
    });
    named.collect()
}

/// The errors with which a call of the contracts can fail, those of Solidity itself among them.
pub fn errors() -> Vec<&'static str> {
    let signatures = [
        SmartnodesERC20Errors::SIGNATURES,
        SmartnodesCoreErrors::SIGNATURES,
        SmartnodesCoordinatorErrors::SIGNATURES,
        SmartnodesDAOErrors::SIGNATURES,
        SmartnodesTimelockErrors::SIGNATURES,
    ];
    let declared = signatures.into_iter().flatten();
    declared
        .filter_map(|signature| named(signature))
        .chain([SILENT, WITH_WORDS, PANIC])
        .collect()
}

/// Which of [`errors`] a call failed with, by what it returned; what no contract has declared, by its selector.
pub fn error(data: &[u8]) -> String {
    let Some(selector) = data.first_chunk::<4>().copied() else {
        return SILENT.to_owned();
    };
    let known = [
        SmartnodesCoordinatorErrors::name_by_selector(selector),
        SmartnodesCoreErrors::name_by_selector(selector),
        SmartnodesERC20Errors::name_by_selector(selector),
        SmartnodesDAOErrors::name_by_selector(selector),
        SmartnodesTimelockErrors::name_by_selector(selector),
        (selector == Revert::SELECTOR).then_some(WITH_WORDS),
        (selector == Panic::SELECTOR).then_some(PANIC),
    ];
    match known.into_iter().flatten().next() {
        Some(name) => name.to_owned(),
        None => format!("0x{}", alloy::hex::encode(selector)),
    }
}

fn named(signature: &'static str) -> Option<&'static str> {
    signature.split('(').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::{SmartnodesDAO as Dao, SmartnodesERC20 as Token};

    #[test]
    fn errors_have_the_names_of_the_sources() {
        let quorum = Dao::DAO__InvalidQuorum {
            percent: alloy::primitives::U256::from(1),
        };
        let known = [
            (
                Token::Token__RewardsAlreadyClaimed {}.abi_encode(),
                "Token__RewardsAlreadyClaimed",
            ),
            (quorum.abi_encode(), "DAO__InvalidQuorum"),
            (Revert::from("no").abi_encode(), "Error"),
            (Vec::new(), "Revert"),
        ];
        for (data, name) in known {
            assert_eq!(error(&data), name);
            assert!(errors().contains(&name), "{name}");
        }
        assert_eq!(error(&[1, 2, 3, 4]), "0x01020304");
    }

    #[test]
    fn events_are_named_with_their_contracts() {
        assert!(events().contains(&"SmartnodesCore.JobSkipped".to_owned()));
    }
}
