//! A deployed network on the embedded chain, real nodes on an in-memory wire, and peers that answer as they please.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket},
    },
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use libp2p::{PeerId, core::transport::MemoryTransport, identity::Keypair};
use serde_json::json;
use smartnodes_evm::{
    chain::{Chain, ChainConfig},
    deployment::{DeployParams, Deployment, GenesisValidator, deploy_in_process},
    rpc::{self, RpcConfig},
};
use smartnodes_node::{
    chain::{ChainClient, ChainSettings},
    clock::ChainClock,
    identity::Identity,
    node::{Node, NodeConfig, NodeParts},
    p2p::{
        Event, Network, P2pSettings,
        handshake::{Role, RoleStatement, STATEMENT_LIFETIME_SECONDS},
        upgrade,
        wire::{Request, Response},
    },
    signed::{Domain, Signed},
    store::Store,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Seconds between two state updates: a round.
pub const ROUND: Duration = Duration::from_secs(32);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Quick, since nothing here takes time.
fn settings() -> ChainSettings {
    ChainSettings {
        poll_interval: Duration::from_millis(1),
        request_timeout: Duration::from_millis(500),
        ..ChainSettings::default()
    }
}

/// The keys of somebody, by number. Numbers 0 to 2 are the genesis validators.
pub fn keys(n: u8) -> Identity {
    Identity {
        network: Keypair::ed25519_from_bytes(keccak256([b'n', n]).0).expect("32 bytes"),
        wallet: PrivateKeySigner::from_bytes(&keccak256([b'w', n])).expect("a scalar"),
    }
}

/// A part of an answer in JSON, and what it becomes. No value: it is left out.
#[derive(Clone, Debug)]
pub struct Twist {
    /// Which of the parts of the answer's `result`, counted through it.
    pub place: usize,
    /// What is put there.
    pub value: Option<serde_json::Value>,
}

impl Twist {
    /// The answer with that part changed.
    pub fn apply(&self, answer: &[u8]) -> Vec<u8> {
        let mut answer: serde_json::Value = serde_json::from_slice(answer).expect("JSON");
        if let Some(result) = answer.get_mut("result") {
            let mut paths = Vec::new();
            parts(result, String::new(), &mut paths);
            let path = &paths[self.place % paths.len()];
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", ""));
            match (&self.value, result.pointer_mut(parent)) {
                (None, Some(serde_json::Value::Object(fields))) => drop(fields.remove(name)),
                (value, _) => {
                    if let Some(part) = result.pointer_mut(path) {
                        *part = value.clone().unwrap_or_default();
                    }
                }
            }
        }
        serde_json::to_vec(&answer).expect("JSON")
    }
}

/// Paths of a value and of all values in it.
fn parts(value: &serde_json::Value, path: String, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                parts(item, format!("{path}/{n}"), found);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                parts(field, format!("{path}/{name}"), found);
            }
        }
        _ => {}
    }
    found.push(path);
}

/// The chain, and whether it can be reached.
#[derive(Clone)]
pub struct World {
    chain: Arc<Mutex<Chain>>,
    is_down: Arc<AtomicBool>,
    /// What every question is answered with, if the endpoint lies.
    lie: Arc<Mutex<Option<Vec<u8>>>>,
    /// What a part of every answer is replaced by, and which one.
    twist: Arc<Mutex<Option<Twist>>>,
    pub deployment: Deployment,
}

impl World {
    pub fn new() -> World {
        let deployer = keys(255).wallet;
        let params = DeployParams {
            genesis: (0..3)
                .map(|n| GenesisValidator {
                    wallet: keys(n).address(),
                    public_key_hash: keys(n).public_key_hash(),
                })
                .collect(),
            update_interval_seconds: ROUND.as_secs(),
            ..DeployParams::default()
        };
        let build = |rich: &[Address]| {
            let ether = U256::from(10).pow(U256::from(18));
            let config = ChainConfig {
                balances: rich.iter().map(|account| (*account, ether)).collect(),
                ..ChainConfig::default()
            };
            let mut chain = Chain::new(config).expect("a chain");
            let deployment = deploy_in_process(&mut chain, &deployer, &params).expect("deployed");
            (chain, deployment)
        };
        let mut rich: Vec<Address> = (0..3).map(|n| keys(n).address()).collect();
        rich.push(deployer.address());
        // Contracts are where they are; those that act here without a signature have to pay for it.
        let (_, deployment) = build(&rich);
        rich.extend([deployment.timelock, deployment.coordinator]);
        let (chain, deployment) = build(&rich);
        World {
            chain: Arc::new(Mutex::new(chain)),
            is_down: Arc::default(),
            lie: Arc::default(),
            twist: Arc::default(),
            deployment,
        }
    }

    pub fn domain(&self) -> Domain {
        Domain {
            chain_id: self.deployment.chain_id,
            core: self.deployment.core,
            coordinator: self.deployment.coordinator,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().expect("no panic while it was held")
    }

    /// Cuts everyone off from the chain, or lets them back.
    pub fn set_down(&self, down: bool) {
        self.is_down.store(down, Ordering::Relaxed);
    }

    /// From now on every question is answered with these bytes.
    pub fn lie(&self, bytes: Vec<u8>) {
        *self.lie.lock().expect("no panic while it was held") = Some(bytes);
    }

    /// From now on some part of every answer is something else.
    pub fn twist(&self, twist: Twist) {
        *self.twist.lock().expect("no panic while it was held") = Some(twist);
    }

    /// A client of somebody.
    pub async fn client(&self, n: u8) -> ChainClient {
        let store = Store::in_memory().expect("a store");
        ChainClient::connect(
            vec![self.rpc()],
            keys(n).wallet,
            self.deployment.clone(),
            store,
            settings(),
        )
        .await
        .expect("the chain is there")
    }

    fn rpc(&self) -> RpcClient {
        RpcClient::new(Transport(self.clone()), true)
    }

    /// A transaction of a wallet.
    pub fn act<C: SolCall>(&self, n: u8, to: Address, call: C) {
        let data = Bytes::from(call.abi_encode());
        self.lock()
            .transact(&keys(n).wallet, TxKind::Call(to), data, U256::ZERO)
            .expect("it succeeds");
    }

    /// A transaction of one of the contracts.
    pub fn act_as<C: SolCall>(&self, from: Address, to: Address, call: C) {
        let data = Bytes::from(call.abi_encode());
        let mut chain = self.lock();
        let hash = chain
            .impersonate(from, TxKind::Call(to), data, U256::ZERO, 5_000_000)
            .expect("it is taken");
        chain.mine_for(hash).expect("it succeeds");
    }

    /// Starts a node.
    pub async fn node(&self, n: u8, role: Role) -> Node {
        let identity = keys(n);
        let config = NodeConfig {
            role,
            networks: vec!["hash-chain".into()],
            capacity: 1,
            listen: vec!["/memory/0".parse().expect("an address")],
            bootstrap: Vec::new(),
            p2p: P2pSettings::default(),
            chain: settings(),
        };
        let parts = NodeParts {
            transport: upgrade(MemoryTransport::new(), &identity).expect("a transport"),
            rpc: vec![self.rpc()],
            storage: redb::backends::InMemoryBackend::new(),
            deployment: self.deployment.clone(),
            identity,
        };
        Node::start(config, parts).await.expect("a node")
    }

    /// Starts a peer that answers every handshake with what `answer` makes of asker and nonce.
    pub fn peer<F, A>(&self, identity: Identity, answer: F) -> Peer
    where
        F: Fn(Network, PeerId, B256) -> A + Send + 'static,
        A: Future<Output = Response> + Send,
    {
        let (network, mut events) = Network::start(
            upgrade(MemoryTransport::new(), &identity).expect("a transport"),
            &identity,
            Role::Worker,
            &["/memory/0".parse().expect("an address")],
            self.domain(),
            ChainClock::new(self.lock().timestamp()),
            Store::in_memory().expect("a store"),
            &P2pSettings::default(),
        )
        .expect("a network");
        let own = network.clone();
        let answering = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Request {
                    peer,
                    request: Request::Role { nonce },
                    responder,
                } = event
                {
                    responder.send(answer(own.clone(), peer, nonce).await).await;
                }
            }
        });
        Peer {
            id: identity.peer_id(),
            network,
            answering,
        }
    }

    /// A validator's peer that answers as it should.
    pub fn honest_validator(&self, identity: Identity) -> Peer {
        let world = self.clone();
        self.peer(identity.clone(), move |_, asker, nonce| {
            let statement = world.statement(&identity, asker, nonce, &world.domain());
            std::future::ready(Response::Role(Box::new(statement)))
        })
    }

    /// What a validator states.
    pub fn statement(
        &self,
        identity: &Identity,
        asker: PeerId,
        nonce: B256,
        domain: &Domain,
    ) -> Signed<RoleStatement> {
        let body = RoleStatement {
            role: Role::Validator,
            wallet: identity.address(),
            networks: Vec::new(),
            capacity: 0,
            prover: identity.peer_id().to_bytes(),
            verifier: asker.to_bytes(),
            nonce,
            expires_at: self.lock().timestamp() + STATEMENT_LIFETIME_SECONDS,
        };
        Signed::sign(body, domain, &identity.wallet)
    }
}

/// Somebody on the wire.
pub struct Peer {
    pub id: PeerId,
    pub network: Network,
    answering: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// Lets time pass for a node.
pub fn pass(node: &Node, time: Duration) {
    let clock = &node.context().clock;
    clock.observe(clock.now() + time.as_secs());
}

/// Connects a node to somebody.
pub async fn connect(node: &Node, other: &Network, id: PeerId) {
    until("they are connected", || async {
        let addresses = other.addresses().await;
        let network = &node.context().network;
        if !addresses.is_empty() {
            network.dial(Some(id), addresses).await;
        }
        network.peers().await.contains(&id)
    })
    .await;
}

/// Why a node refuses a peer that is connected; `None` if it takes it for what it says.
pub async fn refusal(node: &Node, peer: &Peer) -> Option<String> {
    connect(node, &peer.network, peer.id).await;
    let result = node.context().verify_peer(peer.id).await;
    assert_eq!(
        result.is_ok(),
        node.context().peer(&peer.id).is_some(),
        "whoever is refused has no role"
    );
    result.err().map(|error| error.to_string())
}

/// Whether a node holds a peer to be a validator.
pub fn is_validator(node: &Node, peer: &Peer) -> bool {
    let validators = node.context().peers_with(Role::Validator);
    validators.iter().any(|known| known.id == peer.id)
}

/// Waits for something to come true.
pub async fn until<A: Future<Output = bool>>(what: &str, is_true: impl Fn() -> A) {
    let waiting = async {
        while !is_true().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "too late: {what}");
}

#[derive(Clone)]
struct Transport(World);

impl tower::Service<RequestPacket> for Transport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let world = self.0.clone();
        let answer: Pin<Box<_>> = Box::pin(async move {
            if world.is_down.load(Ordering::Relaxed) {
                return Err(TransportErrorKind::custom_str("connection refused"));
            }
            if let (Some(lie), RequestPacket::Single(request)) =
                (world.lie.lock().expect("no panic").clone(), &request)
            {
                let answer = json!({
                    "jsonrpc": "2.0", "id": request.id(), "result": Bytes::from(lie),
                });
                return serde_json::from_value(answer)
                    .map_err(|error| TransportError::deser_err(error, "a lie"));
            }
            let body = serde_json::to_vec(&request).map_err(TransportErrorKind::custom)?;
            let mut answer = rpc::handle(&mut world.lock(), &RpcConfig::default(), &body);
            if let Some(twist) = world.twist.lock().expect("no panic").as_ref() {
                answer = twist.apply(&answer);
            }
            serde_json::from_slice(&answer)
                .map_err(|error| TransportError::deser_err(error, String::from_utf8_lossy(&answer)))
        });
        answer
    }
}
