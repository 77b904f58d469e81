//! What every role shares: keys, network, chain, store, clock, and who the peers are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, B256};
use futures::{StreamExt, stream};
use libp2p::PeerId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::directory::KnownValidators;
use crate::chain::{ChainClient, ChainError, Head};
use crate::clock::ChainClock;
use crate::failpoint::sometimes;
use crate::identity::{Identity, peer_key_hash};
use crate::node::NodeConfig;
use crate::p2p::handshake::{
    HandshakeError, Role, RoleStatement, STATEMENT_LIFETIME_SECONDS, check_statement,
};
use crate::p2p::wire::{Refusal, Request, Response};
use crate::p2p::{Network, Offence, RequestError};
use crate::signed::{Domain, Signed};
use crate::store::Store;

/// Reputation below which a validator is not dealt with as one. Everyone starts with 500 of 1000, and a state update takes
/// some at most: this is lost by repeated misconduct only.
pub const REPUTATION_FLOOR: u16 = 250;
/// A peer that has been refused is not asked again for this time: every handshake costs a question to it and to the chain.
const REFUSAL_KEPT: Duration = Duration::from_secs(10);
/// How long the chain may take to say which key a worker or user has registered: they are served without its word.
const CREDENTIAL_PATIENCE: Duration = Duration::from_secs(2);
/// Statements that are renewed at once.
const RENEWALS_MAX: usize = 16;
/// Most refusals that are remembered.
const REFUSALS_MAX: usize = 4_096;

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
    /// Chain time (seconds) at which it made its statement, and the chain bore it out.
    pub stated_at: u64,
}

impl Peer {
    /// Whether it serves this network: it names the network, or the workload that the network's name begins with.
    pub fn serves(&self, network: &str) -> bool {
        serves(&self.networks, network)
    }
}

/// Whether a worker with these `networks` serves `network`. A bare workload stands for all networks of it, those that are
/// added later included.
pub(super) fn serves(networks: &[String], network: &str) -> bool {
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
    /// Its reputation is gone.
    #[error("{wallet} has a reputation of {found}, a validator needs {REPUTATION_FLOOR}")]
    Reputation {
        /// The validator.
        wallet: Address,
        /// Its reputation on chain.
        found: u16,
    },
    /// The wallet has registered another network key: this one was rotated out, or is not its own.
    #[error("{0} has registered another network key")]
    OtherKey(Address),
    /// Refused moments ago, and not asked again yet.
    #[error("the peer was refused moments ago: {0}")]
    RefusedBefore(String),
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
    /// Handshakes under way, so that a peer is asked once however many of its requests wait for that.
    handshakes: Mutex<BTreeMap<PeerId, Arc<tokio::sync::Mutex<()>>>>,
    /// Peers that were refused, when and why.
    refused: Mutex<BTreeMap<PeerId, (Instant, String)>>,
    validators: Mutex<KnownValidators>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            peers: Mutex::default(),
            handshakes: Mutex::default(),
            refused: Mutex::default(),
            validators: Mutex::default(),
        }
    }

    /// Own wallet address.
    pub fn address(&self) -> Address {
        self.identity.address()
    }

    /// Takes the time of the latest block in.
    pub async fn observe_head(&self) -> Result<Head, ChainError> {
        let head = self.chain.agreed_head().await?;
        self.clock.observe(head.timestamp);
        Ok(head)
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

    /// Forgets a peer that has gone.
    pub fn forget(&self, id: &PeerId) {
        self.book().remove(id);
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<PeerId, Peer>> {
        lock(&self.peers)
    }

    pub(super) fn known_validators(&self) -> MutexGuard<'_, KnownValidators> {
        lock(&self.validators)
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
            expires_at: self.clock.now().saturating_add(STATEMENT_LIFETIME_SECONDS),
        };
        Signed::sign(body, &self.domain, &self.identity.wallet)
    }

    /// The peer's verified role: from memory, or by a handshake now. Fails closed.
    pub async fn verify_peer(&self, id: PeerId) -> Result<Peer, PeerError> {
        if let Some(peer) = self.peer(&id) {
            return Ok(peer);
        }
        let gate = lock(&self.handshakes).entry(id).or_default().clone();
        let result = {
            let _turn = gate.lock().await;
            match (self.peer(&id), self.last_refusal(&id)) {
                (Some(peer), _) => Ok(peer),
                (None, Some(reason)) => Err(PeerError::RefusedBefore(reason)),
                (None, None) => self.handshake(id).await,
            }
        };
        lock(&self.handshakes).retain(|_, other| Arc::strong_count(other) > 1);
        result
    }

    fn last_refusal(&self, id: &PeerId) -> Option<String> {
        let mut refused = lock(&self.refused);
        refused.retain(|_, (at, _)| at.elapsed() < REFUSAL_KEPT);
        refused.get(id).map(|(_, reason)| reason.clone())
    }

    fn remember_refusal(&self, id: PeerId, reason: String) {
        let mut refused = lock(&self.refused);
        if refused.len() < REFUSALS_MAX {
            refused.insert(id, (Instant::now(), reason));
        }
    }

    /// Asks a peer for its statement, checks it, and takes the peer into the book. One that lies is remembered.
    async fn handshake(&self, id: PeerId) -> Result<Peer, PeerError> {
        let result = self.shake_hands(id).await;
        match &result {
            Ok(peer) => {
                info!(peer = %id, role = %peer.role, wallet = %peer.wallet, "peer verified");
                self.book().insert(id, peer.clone());
                self.network.set_standing(id, Some(peer.role)).await;
                self.connections_changed.notify_one();
            }
            // Neither the network nor the chain failing says anything about the peer.
            Err(PeerError::Request(_) | PeerError::Chain(_)) => {}
            Err(error) => {
                sometimes!("peer/refused");
                self.remember_refusal(id, error.to_string());
                if matches!(error, PeerError::Handshake(error) if error.is_false()) {
                    self.network.report(id, Offence::FalseStatement).await;
                }
            }
        }
        result
    }

    async fn shake_hands(&self, id: PeerId) -> Result<Peer, PeerError> {
        let nonce = B256::from(rand::random::<[u8; 32]>());
        let Response::Role(statement) = self.network.request(id, Request::Role { nonce }).await?
        else {
            return Err(PeerError::UnexpectedAnswer);
        };
        let me = self.identity.peer_id();
        let now = self.clock.now();
        check_statement(&statement, &self.domain, &id, &me, nonce, now)?;
        let body = statement.body;
        self.check_on_chain(&id, body.role, body.wallet).await?;
        Ok(Peer {
            id,
            role: body.role,
            wallet: body.wallet,
            networks: body.networks,
            capacity: body.capacity,
            stated_at: now,
        })
    }

    /// Asks Core about a wallet and the network key of `id`. A validator must be one, under this key and in good standing;
    /// anyone else must not have registered another key.
    async fn check_on_chain(
        &self,
        id: &PeerId,
        role: Role,
        wallet: Address,
    ) -> Result<(), PeerError> {
        let key_hash = peer_key_hash(id).ok_or(PeerError::NoKey)?;
        if role != Role::Validator {
            let asked = timeout(CREDENTIAL_PATIENCE, self.chain.credential_of(wallet)).await;
            return match asked {
                Ok(Ok(registered)) if !registered.is_zero() && registered != key_hash => {
                    Err(PeerError::OtherKey(wallet))
                }
                // It claims no privilege that the chain would have to bear out.
                _ => Ok(()),
            };
        }
        if !self.chain.is_verified_validator(wallet, key_hash).await? {
            return Err(PeerError::NotValidator(wallet));
        }
        let found = self.chain.reputation(wallet).await?;
        if found < REPUTATION_FLOOR {
            return Err(PeerError::Reputation { wallet, found });
        }
        Ok(())
    }

    /// Asks every peer whose statement is older than half a round for a new one, and the chain about it again. Whoever has
    /// lost its role is forgotten: unlocked, slashed, removed, without reputation, or under a key that was rotated out.
    /// So is whoever has not been borne out for a round, because it or the chain does not answer.
    pub async fn renew_statements(&self, round_seconds: u64) {
        let peers: Vec<Peer> = self.book().values().cloned().collect();
        // Side by side, since each that does not answer takes its time.
        let renewing = peers
            .into_iter()
            .map(|peer| self.renew(peer, round_seconds));
        stream::iter(renewing)
            .buffer_unordered(RENEWALS_MAX)
            .collect::<()>()
            .await;
    }

    async fn renew(&self, peer: Peer, round_seconds: u64) {
        let age = self.clock.now().saturating_sub(peer.stated_at);
        if age < round_seconds / 2 {
            return;
        }
        let error = match self.handshake(peer.id).await {
            Ok(_) => return,
            Err(PeerError::Request(_) | PeerError::Chain(_)) if age < round_seconds => return,
            Err(error) => error,
        };
        sometimes!("peer/lost-role");
        info!(peer = %peer.id, wallet = %peer.wallet, %error, "peer has lost its role");
        self.forget(&peer.id);
        self.network.set_standing(peer.id, None).await;
        self.connections_changed.notify_one();
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
