//! What every role shares: keys, network, chain, store, clock, and who the peers are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use alloy::primitives::{Address, B256};
use libp2p::PeerId;
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::chain::{ChainClient, ChainError};
use crate::clock::ChainClock;
use crate::identity::{Identity, peer_key_hash};
use crate::node::NodeConfig;
use crate::p2p::handshake::{
    HandshakeError, Role, RoleStatement, STATEMENT_LIFETIME_SECONDS, check_statement,
};
use crate::p2p::wire::{Refusal, Request, Response};
use crate::p2p::{Network, RequestError};
use crate::signed::{Domain, Signed};
use crate::store::Store;

/// A peer whose role has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its PeerId.
    pub id: PeerId,
    /// Its role, borne out by the chain where it needs to be.
    pub role: Role,
    /// Its wallet.
    pub wallet: Address,
    /// Networks that it serves, if a worker.
    pub networks: Vec<String>,
    /// Tasks that it runs at once, if a worker.
    pub capacity: u32,
}

impl Peer {
    /// Whether it serves this network: it names the network, or the workload that the network's name begins with.
    pub fn serves(&self, network: &str) -> bool {
        serves(&self.networks, network)
    }
}

/// Whether a worker with these `networks` serves `network`. A bare workload stands for all networks of it, those that are
/// added later included.
fn serves(networks: &[String], network: &str) -> bool {
    networks
        .iter()
        .any(|served| served == network || served == workload_of(network))
}

/// The workload that a network's name begins with.
pub fn workload_of(network: &str) -> &str {
    network.split(['/', '?']).next().unwrap_or_default()
}

/// Why a peer has no role here.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It answered something else.
    #[error("the peer answered the handshake with something else")]
    UnexpectedAnswer,
    /// Its statement does not hold.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Its PeerId does not carry its key.
    #[error("the PeerId does not carry its public key (use ed25519 or secp256k1)")]
    NoKey,
    /// The chain does not know it as a validator with this key.
    #[error("{0} is no verified validator on chain under this network key")]
    NotValidator(Address),
    /// The chain cannot be asked: no privileged role without it.
    #[error("the chain cannot be asked: {0}")]
    Chain(#[from] ChainError),
}

/// The shared parts of a running node.
pub struct Context {
    /// Keys.
    pub identity: Identity,
    /// Configuration.
    pub config: NodeConfig,
    /// What signatures are bound to.
    pub domain: Domain,
    /// The swarm.
    pub network: Network,
    /// The chain.
    pub chain: ChainClient,
    /// The database.
    pub store: Store,
    /// Chain time.
    pub clock: ChainClock,
    /// Wakes whoever keeps up connections.
    pub connections_changed: Notify,
    peers: Mutex<BTreeMap<PeerId, Peer>>,
}

impl Context {
    /// Puts the parts together.
    pub fn new(
        identity: Identity,
        config: NodeConfig,
        network: Network,
        chain: ChainClient,
        store: Store,
        clock: ChainClock,
        domain: Domain,
    ) -> Self {
        Self {
            identity,
            config,
            domain,
            network,
            chain,
            store,
            clock,
            connections_changed: Notify::new(),
            peers: Mutex::new(BTreeMap::new()),
        }
    }

    /// Own wallet address.
    pub fn address(&self) -> Address {
        self.identity.address()
    }

    /// Verified peers with this role, in a fixed order.
    pub fn peers_with(&self, role: Role) -> Vec<Peer> {
        self.book()
            .values()
            .filter(|peer| peer.role == role)
            .cloned()
            .collect()
    }

    /// The verified peer behind a wallet.
    pub fn peer_of(&self, wallet: Address) -> Option<Peer> {
        self.book()
            .values()
            .find(|peer| peer.wallet == wallet)
            .cloned()
    }

    /// What is known of a peer.
    pub fn peer(&self, id: &PeerId) -> Option<Peer> {
        self.book().get(id).cloned()
    }

    /// Forgets a peer: it has gone, or has lost its role.
    pub fn forget(&self, id: &PeerId) {
        self.book().remove(id);
    }

    fn book(&self) -> std::sync::MutexGuard<'_, BTreeMap<PeerId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a handshake: what this node is, for one asker and nonce.
    pub fn role_statement(&self, asker: &PeerId, nonce: B256) -> Signed<RoleStatement> {
        let body = RoleStatement {
            role: self.config.role,
            wallet: self.address(),
            networks: self.config.networks.clone(),
            capacity: self.config.capacity,
            prover: self.identity.peer_id().to_bytes(),
            verifier: asker.to_bytes(),
            nonce,
            expires_at: self.clock.now() + STATEMENT_LIFETIME_SECONDS,
        };
        Signed::sign(body, &self.domain, &self.identity.wallet)
    }

    /// The peer's verified role: from memory, or by a handshake now. Fails closed.
    pub async fn verify_peer(&self, id: PeerId) -> Result<Peer, PeerError> {
        if let Some(peer) = self.peer(&id) {
            return Ok(peer);
        }
        let nonce = B256::from(rand::random::<[u8; 32]>());
        let Response::Role(statement) = self.network.request(id, Request::Role { nonce }).await?
        else {
            return Err(PeerError::UnexpectedAnswer);
        };
        let me = self.identity.peer_id();
        check_statement(&statement, &self.domain, &id, &me, nonce, self.clock.now())?;
        let body = statement.body;
        if body.role == Role::Validator {
            self.check_validator(&id, body.wallet).await?;
        }
        let peer = Peer {
            id,
            role: body.role,
            wallet: body.wallet,
            networks: body.networks,
            capacity: body.capacity,
        };
        info!(peer = %id, role = %peer.role, wallet = %peer.wallet, "peer verified");
        self.book().insert(id, peer.clone());
        self.connections_changed.notify_one();
        Ok(peer)
    }

    /// Asks Core whether `wallet` is a validator with the network key of `id`.
    async fn check_validator(&self, id: &PeerId, wallet: Address) -> Result<(), PeerError> {
        let key_hash = peer_key_hash(id).ok_or(PeerError::NoKey)?;
        if self.chain.is_verified_validator(wallet, key_hash).await? {
            Ok(())
        } else {
            Err(PeerError::NotValidator(wallet))
        }
    }

    /// Asks the chain again about every validator among the peers, and forgets those that have lost their role.
    pub async fn recheck_validators(&self) {
        for peer in self.peers_with(Role::Validator) {
            match self.check_validator(&peer.id, peer.wallet).await {
                Ok(()) => {}
                Err(PeerError::Chain(error)) => debug!(%error, "validators cannot be checked now"),
                Err(error) => {
                    info!(peer = %peer.id, wallet = %peer.wallet, %error, "peer has lost its role");
                    self.forget(&peer.id);
                }
            }
        }
    }

    /// The peer, if it is a verified validator; otherwise the refusal to send.
    pub async fn require(&self, id: PeerId, role: Role) -> Result<Peer, Refusal> {
        match self.verify_peer(id).await {
            Ok(peer) if peer.role == role => Ok(peer),
            Ok(_) => Err(Refusal::NotAllowed(role)),
            Err(PeerError::Chain(error)) => Err(Refusal::Unavailable(error.to_string())),
            Err(error) => {
                debug!(peer = %id, %error, "handshake failed");
                Err(Refusal::NotAllowed(role))
            }
        }
    }
}
