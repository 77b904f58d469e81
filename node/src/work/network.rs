//! What a network's name says: the workload of its workers and how thoroughly their results are verified.
//!
//! A network is what governance has put on the registry in SmartnodesCore: a name, and nothing else. The name therefore
//! says everything, so that all nodes know it from the chain alone and nobody has to be believed about it:
//! `WORKLOAD[/LABEL][?PART=N[&PART=N …]]`, such as `wasm`, `matmul/models` or `wasm/audited?executed_again=1000`. The
//! parts are those of [`Policy`]; what is not named has its default.

use std::str::FromStr;

use super::{NETWORKS, Policy};

/// A parsed network name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkName {
    /// The workload, one of [`NETWORKS`].
    pub workload: &'static str,
    /// How thoroughly results are verified.
    pub policy: Policy,
}

/// Why a name is not that of a network which this node can serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkNameError {
    /// No such workload.
    #[error(
        "the network {0:?} has a workload that this version does not know; it knows {known}",
        known = NETWORKS.join(", ")
    )]
    Workload(String),
    /// The label is empty or has other characters.
    #[error(
        "the network {0:?} has a label of other characters than a-z, 0-9, '-' and '_', or an empty one"
    )]
    Label(String),
    /// A part of the policy is unknown, named twice, or no number within its bounds.
    #[error(
        "the network {name:?} has {part:?} in its policy; parts are segments=1…65535, executed_again=1…1000 and vectors=1…255, each once"
    )]
    Policy {
        /// The whole name.
        name: String,
        /// The part.
        part: String,
    },
}

impl FromStr for NetworkName {
    type Err = NetworkNameError;

    fn from_str(name: &str) -> Result<Self, NetworkNameError> {
        let (path, query) = match name.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (name, None),
        };
        let (workload, label) = match path.split_once('/') {
            Some((workload, label)) => (workload, Some(label)),
            None => (path, None),
        };
        let workload = NETWORKS
            .into_iter()
            .find(|known| *known == workload)
            .ok_or_else(|| NetworkNameError::Workload(name.to_owned()))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if label.is_some_and(|label| label.is_empty() || !label.chars().all(plain)) {
            return Err(NetworkNameError::Label(name.to_owned()));
        }
        let mut policy = Policy::default();
        let mut named = Vec::new();
        for part in query.into_iter().flat_map(|query| query.split('&')) {
            let key = part.split('=').next().unwrap_or_default();
            if named.contains(&key) || set(&mut policy, part).is_none() {
                return Err(NetworkNameError::Policy {
                    name: name.to_owned(),
                    part: part.to_owned(),
                });
            }
            named.push(key);
        }
        Ok(Self { workload, policy })
    }
}

/// Sets one part of a policy from `key=number`.
fn set(policy: &mut Policy, part: &str) -> Option<()> {
    let (key, value) = part.split_once('=')?;
    // `parse` would take a sign; one spelling for each number keeps names comparable.
    if value.starts_with('0') || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match key {
        "segments" => policy.segments = value.parse().ok()?,
        "executed_again" => {
            policy.executed_again = value.parse().ok().filter(|share| *share <= 1_000)?;
        }
        "vectors" => policy.vectors = value.parse().ok()?,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(name: &str) -> Result<NetworkName, NetworkNameError> {
        name.parse()
    }

    #[test]
    fn a_name_says_workload_and_policy() {
        for workload in NETWORKS {
            let plain = parse(workload).expect("a built-in workload");
            assert_eq!(
                (plain.workload, plain.policy),
                (workload, Policy::default())
            );
        }
        let strict = parse("wasm/audited?executed_again=1000&segments=7").expect("well formed");
        assert_eq!(strict.workload, "wasm");
        assert_eq!(
            strict.policy,
            Policy {
                executed_again: 1_000,
                segments: 7,
                ..Policy::default()
            }
        );
    }

    #[test]
    fn what_a_name_cannot_say_is_an_error_that_names_it() {
        assert!(matches!(parse(""), Err(NetworkNameError::Workload(_))));
        assert!(matches!(parse("Wasm"), Err(NetworkNameError::Workload(_))));
        assert!(matches!(parse("wasm/"), Err(NetworkNameError::Label(_))));
        assert!(matches!(parse("wasm/a b"), Err(NetworkNameError::Label(_))));
        for query in [
            "?",
            "?vectors",
            "?vectors=",
            "?vectors=0",
            "?vectors=256",
            "?vectors=+2",
            "?vectors=2&vectors=2",
            "?executed_again=1001",
            "?other=1",
        ] {
            let parsed = parse(&format!("wasm/x{query}"));
            assert!(
                matches!(parsed, Err(NetworkNameError::Policy { .. })),
                "{query}: {parsed:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(name in ".{0,80}") {
            let _ = parse(&name);
        }

        #[test]
        fn no_policy_verifies_nothing(parts in "(segments|executed_again|vectors)=[0-9]{1,6}") {
            if let Ok(network) = parse(&format!("wasm?{parts}")) {
                let Policy { segments, executed_again, vectors } = network.policy;
                prop_assert!(segments > 0 && executed_again > 0 && vectors > 0);
            }
        }
    }
}
