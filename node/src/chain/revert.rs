//! From revert data to the names that the contracts' sources use.

use std::fmt::Debug;

use alloy::{
    primitives::Bytes,
    rpc::json_rpc::ErrorPayload,
    sol_types::{Panic, Revert, SolError, SolInterface},
};

use smartnodes_evm::bindings::{
    ERC1967Proxy::ERC1967ProxyErrors, SmartnodesCoordinator::SmartnodesCoordinatorErrors,
    SmartnodesCore::SmartnodesCoreErrors, SmartnodesDAO::SmartnodesDAOErrors,
    SmartnodesERC20::SmartnodesERC20Errors, SmartnodesTimelock::SmartnodesTimelockErrors,
};

/// Why a contract reverted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// The error's name.
    pub(super) name: String,
    /// Its arguments in parentheses, or nothing.
    pub(super) details: String,
}

impl Reason {
    /// Decodes revert data by the errors of all our contracts, since they call each other.
    pub(super) fn decode(data: &Bytes) -> Reason {
        if data.is_empty() {
            return Reason::named("Revert", "(no reason given)");
        }
        if let Ok(revert) = Revert::abi_decode(data) {
            return Reason::named("Error", &format!("({})", revert.reason));
        }
        if let Ok(panic) = Panic::abi_decode(data) {
            return Reason::named("Panic", &format!("({panic})"));
        }
        custom::<SmartnodesCoordinatorErrors>(data)
            .or_else(|| custom::<SmartnodesCoreErrors>(data))
            .or_else(|| custom::<SmartnodesERC20Errors>(data))
            .or_else(|| custom::<SmartnodesDAOErrors>(data))
            .or_else(|| custom::<SmartnodesTimelockErrors>(data))
            .or_else(|| custom::<ERC1967ProxyErrors>(data))
            .unwrap_or_else(|| Reason::named("Unknown", &format!("({data})")))
    }

    /// The reason in an error response to `eth_call` or `eth_estimateGas`; `None` if it is not about a revert.
    pub(super) fn of(payload: &ErrorPayload) -> Option<Reason> {
        if let Some(data) = payload.as_revert_data() {
            return Some(Reason::decode(&data));
        }
        // Some endpoints leave the data out.
        payload
            .message
            .contains("revert")
            .then(|| Reason::named("Revert", &format!("({})", payload.message)))
    }

    fn named(name: &str, details: &str) -> Reason {
        Reason {
            name: name.to_owned(),
            details: details.to_owned(),
        }
    }
}

fn custom<E: SolInterface + Debug>(data: &Bytes) -> Option<Reason> {
    let error = E::abi_decode(data).ok()?;
    // The derived form is `Variant(Struct { field: value })` or `Variant(Struct)`.
    let text = format!("{error:?}");
    let inner = text
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(&text);
    Some(match inner.split_once(" {") {
        Some((name, fields)) => {
            Reason::named(name, &format!("({})", fields.trim_end_matches('}').trim()))
        }
        None => Reason::named(inner, ""),
    })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256};
    use proptest::prelude::*;

    use smartnodes_evm::bindings::{
        ERC1967Proxy as Proxy, SmartnodesDAO as Dao, SmartnodesERC20 as Token,
        SmartnodesTimelock as Timelock,
    };

    use super::*;

    #[test]
    fn custom_errors_have_their_source_name_and_arguments() {
        let error = Token::ERC20InsufficientBalance {
            sender: Address::repeat_byte(1),
            balance: U256::from(2),
            needed: U256::from(3),
        };
        let reason = Reason::decode(&error.abi_encode().into());
        assert_eq!(reason.name, "ERC20InsufficientBalance");
        assert!(
            reason.details.starts_with("(sender: 0x0101") && reason.details.ends_with("needed: 3)"),
            "{reason:?}"
        );
    }

    #[test]
    fn errors_of_governance_and_of_the_proxies_are_decoded_too() {
        let zero = B256::ZERO;
        let decode = |data: Vec<u8>| Reason::decode(&data.into());
        let reason = decode(
            Dao::GovernorNonexistentProposal {
                proposalId: U256::from(7),
            }
            .abi_encode(),
        );
        assert_eq!(reason.name, "GovernorNonexistentProposal");
        assert_eq!(reason.details, "(proposalId: 7)");
        let reason = decode(Dao::DAO__TimelockIsFixed {}.abi_encode());
        assert_eq!(reason, Reason::named("DAO__TimelockIsFixed", ""));
        let early = Timelock::TimelockUnexpectedOperationState {
            operationId: zero,
            expectedStates: zero,
        };
        assert_eq!(
            decode(early.abi_encode()).name,
            "TimelockUnexpectedOperationState"
        );
        let denied = Timelock::AccessControlUnauthorizedAccount {
            account: Address::ZERO,
            neededRole: zero,
        };
        assert_eq!(
            decode(denied.abi_encode()).name,
            "AccessControlUnauthorizedAccount"
        );
        let bare = Proxy::ERC1967ProxyUninitialized {};
        assert_eq!(decode(bare.abi_encode()).name, "ERC1967ProxyUninitialized");
    }

    /// Every error that a contract declares, given the arguments that every type has: zeros.
    #[test]
    fn no_error_of_any_contract_is_unknown() {
        fn all<E: SolInterface>() -> impl Iterator<Item = [u8; 4]> {
            E::selectors()
        }
        let selectors: Vec<[u8; 4]> = all::<SmartnodesCoordinatorErrors>()
            .chain(all::<SmartnodesCoreErrors>())
            .chain(all::<SmartnodesERC20Errors>())
            .chain(all::<SmartnodesDAOErrors>())
            .chain(all::<SmartnodesTimelockErrors>())
            .chain(all::<ERC1967ProxyErrors>())
            .collect();
        assert!(selectors.len() > 100, "{}", selectors.len());
        for selector in selectors {
            // A string or an array is told by where it is: at zero, where the zeros say that it is empty.
            let data = [selector.as_slice(), &[0; 32 * 8]].concat();
            let reason = Reason::decode(&data.into());
            assert_ne!(reason.name, "Unknown", "{selector:?}");
        }
    }

    #[test]
    fn plain_reverts_panics_and_unknown_data_are_told_apart() {
        let decode = |data: Vec<u8>| Reason::decode(&data.into());
        assert_eq!(
            decode(Revert::from("no").abi_encode()),
            Reason::named("Error", "(no)")
        );
        assert_eq!(decode(vec![]).name, "Revert");
        assert_eq!(
            decode(vec![1, 2, 3, 4]),
            Reason::named("Unknown", "(0x01020304)")
        );
        assert_eq!(decode(Panic::from(0x11u64).abi_encode()).name, "Panic");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arbitrary_revert_data_has_some_name(bytes: Vec<u8>, selector: prop::sample::Index) {
            prop_assert!(!Reason::decode(&bytes.clone().into()).name.is_empty());
            // Behind a selector that is known, so that the arguments are read.
            let known: Vec<[u8; 4]> = SmartnodesDAOErrors::selectors()
                .chain(SmartnodesERC20Errors::selectors())
                .chain([Revert::SELECTOR, Panic::SELECTOR])
                .collect();
            let data = [known[selector.index(known.len())].as_slice(), &bytes].concat();
            prop_assert!(!Reason::decode(&data.into()).name.is_empty());
        }
    }
}
