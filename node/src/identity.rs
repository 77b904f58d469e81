//! A node's two keys: the network key (its PeerId) and the wallet.

use alloy::primitives::{Address, B256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey};

/// The keys of a node. Never logged: `Debug` shows the public halves only.
#[derive(Clone)]
pub struct Identity {
    /// Key of the transport, whose public half is the PeerId.
    pub network: Keypair,
    /// Key of the Ethereum account that signs statements and transactions.
    pub wallet: PrivateKeySigner,
}

impl Identity {
    /// The PeerId under which the node is found.
    pub fn peer_id(&self) -> PeerId {
        self.network.public().to_peer_id()
    }

    /// The account that is paid, and that holds the collateral.
    pub fn address(&self) -> Address {
        self.wallet.address()
    }

    /// `publicKeyHash` in SmartnodesCore.
    pub fn public_key_hash(&self) -> B256 {
        public_key_hash(&self.network.public())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("peer", &self.peer_id())
            .field("wallet", &self.address())
            .finish_non_exhaustive()
    }
}

/// keccak256 of a network public key in libp2p's protobuf encoding: what Core stores as `publicKeyHash`.
pub fn public_key_hash(key: &PublicKey) -> B256 {
    keccak256(key.encode_protobuf())
}

/// The same for a peer known by its id. `None` where the id does not carry its key: only keys of up to 42 bytes
/// (ed25519, secp256k1) are embedded, and no others may take part.
pub fn peer_key_hash(peer: &PeerId) -> Option<B256> {
    const IDENTITY_MULTIHASH: u64 = 0;
    let multihash = peer.as_ref();
    (multihash.code() == IDENTITY_MULTIHASH)
        .then(|| PublicKey::try_decode_protobuf(multihash.digest()).ok())
        .flatten()
        .map(|key| public_key_hash(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_hash_can_be_had_from_the_peer_id() {
        let key = Keypair::ed25519_from_bytes([5; 32]).expect("32 bytes are a key");
        assert_eq!(
            peer_key_hash(&key.public().to_peer_id()),
            Some(public_key_hash(&key.public()))
        );
    }
}
