//! From revert data to the names that the contracts' sources use.

use std::fmt::Debug;

use alloy::{
    primitives::Bytes,
    rpc::json_rpc::ErrorPayload,
    sol_types::{Panic, Revert, SolError, SolInterface},
};

use smartnodes_evm::bindings::{
    SmartnodesCoordinator::SmartnodesCoordinatorErrors, SmartnodesCore::SmartnodesCoreErrors,
    SmartnodesERC20::SmartnodesERC20Errors,
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
    use alloy::primitives::{Address, U256};

    use smartnodes_evm::bindings::SmartnodesERC20 as Token;

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
}
