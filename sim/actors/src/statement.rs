//! The handshake, for whoever is no node.

use alloy::primitives::B256;
use libp2p::PeerId;
use smartnodes_node::clock::ChainClock;
use smartnodes_node::identity::Identity;
use smartnodes_node::p2p::handshake::{Role, RoleStatement, STATEMENT_LIFETIME_SECONDS};
use smartnodes_node::p2p::wire::Response;
use smartnodes_node::signed::{Domain, Signed};

/// Says who it is, as a node would.
pub struct Speaker {
    /// Its keys.
    pub identity: Identity,
    /// The role that it claims.
    pub role: Role,
    /// The networks that it says it serves.
    pub networks: Vec<String>,
    /// How many tasks it says it runs at once.
    pub capacity: u32,
    /// The deployment.
    pub domain: Domain,
    /// Chain time.
    pub clock: ChainClock,
}

impl Speaker {
    /// The answer to a peer that asks with this nonce.
    pub fn answer(&self, peer: PeerId, nonce: B256) -> Response {
        let body = RoleStatement {
            role: self.role,
            wallet: self.identity.address(),
            networks: self.networks.clone(),
            capacity: self.capacity,
            prover: self.identity.peer_id().to_bytes(),
            verifier: peer.to_bytes(),
            nonce,
            expires_at: self.clock.now() + STATEMENT_LIFETIME_SECONDS,
        };
        let signed = Signed::sign(body, &self.domain, &self.identity.wallet);
        Response::Role(Box::new(signed))
    }
}
