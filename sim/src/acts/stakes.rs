//! Stakes of validators that join later. All SNO of the genesis is locked, and what updates bring is far from a validator's
//! collateral: they have it from a testnet, whose rewards the deployment honours.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolValue;
use smartnodes_evm::deployment::TestnetSnapshot;
use smartnodes_node::identity::Identity;
use smartnodes_scenarios::{HostName, Scenario};

/// SNO wei of each: what a validator locks.
const STAKE: u128 = 1_000_000 * 10u128.pow(18);

/// The tree of stakes: leaves are hashed twice, pairs are sorted.
pub struct Stakes {
    /// From the leaves to the root.
    levels: Vec<Vec<B256>>,
    /// In the order of the leaves.
    accounts: Vec<Address>,
}

impl Stakes {
    /// The stakes of the validators that join later in a scenario.
    pub fn new(scenario: &Scenario, identities: &BTreeMap<HostName, Identity>) -> Stakes {
        let later = identities
            .iter()
            .filter(|(host, _)| scenario.joins_later(**host));
        Stakes::of(later.map(|(_, identity)| identity.address()).collect())
    }

    fn of(accounts: Vec<Address>) -> Stakes {
        let leaves = accounts.iter().map(|account| leaf(*account));
        let mut levels = vec![leaves.collect::<Vec<_>>()];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = level.chunks(2).map(|pair| match pair {
                [one, other] => parent(*one, *other),
                // One without a partner goes up as it is.
                rest => rest.first().copied().unwrap_or_default(),
            });
            let above = above.collect();
            levels.push(above);
        }
        Stakes { levels, accounts }
    }

    /// What the deployment honours; `None` where nobody joins later.
    pub fn snapshot(&self) -> Option<TestnetSnapshot> {
        let root = *self.levels.last()?.first()?;
        let total = U256::from(self.total());
        Some(TestnetSnapshot { root, total })
    }

    /// All stakes together, in SNO wei.
    pub fn total(&self) -> u128 {
        STAKE * self.accounts.len() as u128
    }

    /// What an account may claim, in SNO wei, and the proof for it.
    pub fn claim(&self, account: Address) -> Option<(U256, Vec<B256>)> {
        let mut place = self.accounts.iter().position(|other| *other == account)?;
        let mut proof = Vec::new();
        for level in &self.levels {
            proof.extend(level.get(place ^ 1));
            place /= 2;
        }
        Some((U256::from(STAKE), proof))
    }
}

fn leaf(account: Address) -> B256 {
    keccak256(keccak256((account, U256::from(STAKE)).abi_encode()))
}

fn parent(one: B256, other: B256) -> B256 {
    let (low, high) = if one <= other {
        (one, other)
    } else {
        (other, one)
    };
    keccak256([low.as_slice(), high.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_leads_to_the_root() {
        for count in 0..9u8 {
            let accounts: Vec<Address> = (1..=count).map(Address::repeat_byte).collect();
            let stakes = Stakes::of(accounts.clone());
            let Some(snapshot) = stakes.snapshot() else {
                assert_eq!(count, 0);
                continue;
            };
            assert_eq!(snapshot.total, U256::from(STAKE) * U256::from(count));
            for account in accounts {
                let (amount, proof) = stakes.claim(account).expect("it has a stake");
                assert_eq!(amount, U256::from(STAKE));
                let root = proof.into_iter().fold(leaf(account), parent);
                assert_eq!(root, snapshot.root, "{count} stakes");
            }
            assert!(stakes.claim(Address::ZERO).is_none());
        }
    }
}
