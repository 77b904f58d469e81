//! Assembly of a node from its configuration and its five replaceable parts.

use std::sync::Arc;

use crate::tasks::JoinSet;
use libp2p::Multiaddr;
use redb::StorageBackend;
use smartnodes_evm::deployment::Deployment;
use tokio::sync::mpsc;
use tracing::info;

use crate::chain::{ChainClient, ChainError, ChainSettings};
use crate::clock::ChainClock;
use crate::identity::Identity;
use crate::p2p::handshake::Role;
use crate::p2p::{BoxedTransport, Event, Network, NetworkError, P2pSettings};
use crate::roles::context::Context;
use crate::roles::user::User;
use crate::roles::validator::Validator;
use crate::roles::worker::Worker;
use crate::roles::{RoleState, discovery, serve};
use crate::signed::Domain;
use crate::store::{Store, StoreError};

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's role.
    pub role: Role,
    /// Networks that a worker serves.
    pub networks: Vec<String>,
    /// Tasks that a worker runs at once.
    pub capacity: u32,
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Addresses of nodes to begin with.
    pub bootstrap: Vec<Multiaddr>,
    /// The swarm's settings.
    pub p2p: P2pSettings,
    /// The chain client's settings.
    pub chain: ChainSettings,
}

/// What differs between a real host and a simulated one: wire, chain endpoint and disk (clock and entropy come with
/// the runtime), and the node's keys.
pub struct NodeParts<S> {
    /// The node's keys.
    pub identity: Identity,
    /// Authenticated transport ([`crate::p2p::upgrade`]).
    pub transport: BoxedTransport,
    /// JSON-RPC clients for the chain's endpoints: at least one.
    pub rpc: Vec<alloy::rpc::client::RpcClient>,
    /// Where the database lives.
    pub storage: S,
    /// The contracts.
    pub deployment: Deployment,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The chain endpoint.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Opens the database, connects to the chain and starts the swarm: what all roles share, and the swarm's events. No task
/// handles these yet ([`serve`] does), nor does anything a role has to do.
pub async fn assemble<S: StorageBackend>(
    config: NodeConfig,
    parts: NodeParts<S>,
) -> Result<(Arc<Context>, mpsc::Receiver<Event>), NodeError> {
    let NodeParts {
        identity,
        transport,
        rpc,
        storage,
        deployment,
    } = parts;
    let domain = Domain {
        chain_id: deployment.chain_id,
        core: deployment.core,
        coordinator: deployment.coordinator,
    };
    let store = Store::open(storage)?;
    let chain = ChainClient::connect(
        rpc,
        identity.wallet.clone(),
        deployment,
        store.clone(),
        config.chain.clone(),
    )
    .await?;
    let clock = ChainClock::new(chain.head().await?.timestamp);
    let (network, events) = Network::start(
        transport,
        &identity,
        config.role,
        &config.listen,
        domain,
        clock.clone(),
        store.clone(),
        &config.p2p,
    )?;
    info!(role = %config.role, peer = %identity.peer_id(), wallet = %identity.address(), "node started");
    let context = Context::new(identity, config, network, chain, store, clock, domain);
    Ok((Arc::new(context), events))
}

/// A running node. Dropping it stops it.
pub struct Node {
    context: Arc<Context>,
    role: RoleState,
    tasks: JoinSet<()>,
}

impl Node {
    /// Starts all tasks of the node's role.
    pub async fn start<S: StorageBackend>(
        config: NodeConfig,
        parts: NodeParts<S>,
    ) -> Result<Self, NodeError> {
        let (context, events) = assemble(config, parts).await?;
        let role = match context.config.role {
            Role::Validator => RoleState::Validator(Arc::new(Validator::open(context.clone())?)),
            Role::Worker => RoleState::Worker(Arc::new(Worker::new(context.clone()))),
            Role::User => RoleState::User(Arc::new(User::new(context.clone()))),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(context.clone(), role.clone(), events));
        tasks.spawn(discovery::run(context.clone()));
        tasks.spawn(discovery::renew(context.clone()));
        role.spawn_tasks(&mut tasks);
        Ok(Self {
            context,
            role,
            tasks,
        })
    }

    /// The shared parts.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The node's role, with its functions.
    pub fn role(&self) -> &RoleState {
        &self.role
    }

    /// Waits until a task of the node ends, which none does unless the node stops or a task panics. The error names
    /// the panic.
    pub async fn stopped(&mut self) -> Result<(), tokio::task::JoinError> {
        self.tasks.join_next().await.unwrap_or(Ok(()))
    }
}
