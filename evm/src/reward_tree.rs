//! The tree of the workers' rewards, as OpenZeppelin's `MerkleProof` expects it.
//!
//! A leaf is `keccak256(keccak256(abi.encode(account, capacity, distributionId)))` – hashed twice, so that no inner node
//! passes for a leaf – and pairs are sorted before they are hashed, so that a proof needs no directions.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolValue;
use rs_merkle::{Hasher, MerkleTree};

/// Why no tree can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewardTreeError {
    /// No leaves: a distribution without workers has the root zero and no tree.
    #[error(
        "a reward tree needs at least one worker; use the root zero for a distribution without"
    )]
    Empty,
    /// Two leaves for one account, of which only one could ever be claimed.
    #[error("{0} has two leaves; add up its capacities")]
    Duplicate(Address),
    /// A leaf that is worth nothing.
    #[error("{0} has capacity zero; leave it out")]
    ZeroCapacity(Address),
}

#[derive(Clone)]
struct SortedKeccak;

impl Hasher for SortedKeccak {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        keccak256(data).0
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        match right {
            Some(right) if right < left => {
                keccak256([right.as_slice(), left.as_slice()].concat()).0
            }
            Some(right) => keccak256([left.as_slice(), right.as_slice()].concat()).0,
            // The last node of an odd level moves up as it is: its proof is one hash shorter.
            None => *left,
        }
    }
}

/// A distribution's rewards: one leaf for each account.
#[derive(Clone)]
pub struct RewardTree {
    tree: MerkleTree<SortedKeccak>,
    root: B256,
    /// Place of each account's leaf.
    places: BTreeMap<Address, usize>,
}

impl std::fmt::Debug for RewardTree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RewardTree")
            .field("root", &self.root)
            .field("leaves", &self.places.len())
            .finish_non_exhaustive()
    }
}

/// The leaf of `account` in distribution `distribution_id`.
pub fn leaf(account: Address, capacity: U256, distribution_id: u64) -> B256 {
    keccak256(keccak256(
        (account, capacity, U256::from(distribution_id)).abi_encode(),
    ))
}

/// Whether `proof` leads from the leaf to `root`, as the contract checks it.
pub fn verify(
    root: B256,
    account: Address,
    capacity: U256,
    distribution_id: u64,
    proof: &[B256],
) -> bool {
    let leaf = leaf(account, capacity, distribution_id);
    let top = proof.iter().fold(leaf.0, |node, sibling| {
        SortedKeccak::concat_and_hash(&node, Some(&sibling.0))
    });
    top == root.0
}

impl RewardTree {
    /// The tree of a distribution. The order of `capacities` does not matter.
    pub fn new(
        distribution_id: u64,
        capacities: Vec<(Address, U256)>,
    ) -> Result<Self, RewardTreeError> {
        let mut by_account = BTreeMap::new();
        for (account, capacity) in capacities {
            if capacity.is_zero() {
                return Err(RewardTreeError::ZeroCapacity(account));
            }
            if by_account.insert(account, capacity).is_some() {
                return Err(RewardTreeError::Duplicate(account));
            }
        }
        let leaves: Vec<[u8; 32]> = by_account
            .iter()
            .map(|(account, capacity)| leaf(*account, *capacity, distribution_id).0)
            .collect();
        let tree = MerkleTree::<SortedKeccak>::from_leaves(&leaves);
        let root = tree.root().ok_or(RewardTreeError::Empty)?;
        let places = by_account
            .into_keys()
            .enumerate()
            .map(|(place, account)| (account, place))
            .collect();
        Ok(Self {
            tree,
            root: B256::from(root),
            places,
        })
    }

    /// The root that goes into the state update.
    pub fn root(&self) -> B256 {
        self.root
    }

    /// The proof of an account's leaf, if it has one.
    pub fn proof(&self, account: Address) -> Option<Vec<B256>> {
        let place = *self.places.get(&account)?;
        let proof = self.tree.proof(&[place]);
        Some(
            proof
                .proof_hashes()
                .iter()
                .map(|hash| B256::from(*hash))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(index: u64) -> Address {
        Address::left_padding_from(&(index + 1).to_be_bytes())
    }

    fn tree(count: u64) -> RewardTree {
        let capacities = (0..count)
            .map(|index| (account(index), U256::from(index + 1)))
            .collect();
        RewardTree::new(7, capacities).expect("distinct accounts")
    }

    #[test]
    fn every_leaf_of_every_shape_has_a_proof_and_only_its_own() {
        for count in [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 100] {
            let tree = tree(count);
            for index in 0..count {
                let proof = tree.proof(account(index)).expect("has a leaf");
                let capacity = U256::from(index + 1);
                assert!(
                    verify(tree.root(), account(index), capacity, 7, &proof),
                    "{index} of {count}"
                );
                assert!(!verify(
                    tree.root(),
                    account(index),
                    capacity + U256::ONE,
                    7,
                    &proof
                ));
                assert!(!verify(tree.root(), account(index), capacity, 8, &proof));
                assert!(!verify(
                    tree.root(),
                    account(index + 1),
                    capacity,
                    7,
                    &proof
                ));
            }
            assert_eq!(tree.proof(account(count)), None);
        }
    }

    #[test]
    fn bad_leaves_are_refused() {
        let one = (account(1), U256::ONE);
        assert_eq!(
            RewardTree::new(1, vec![]).err(),
            Some(RewardTreeError::Empty)
        );
        assert_eq!(
            RewardTree::new(1, vec![one, one]).err(),
            Some(RewardTreeError::Duplicate(account(1)))
        );
        assert_eq!(
            RewardTree::new(1, vec![(account(1), U256::ZERO)]).err(),
            Some(RewardTreeError::ZeroCapacity(account(1)))
        );
    }
}
