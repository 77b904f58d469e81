//! Whole validators on the embedded chain, in one process: real swarms over an in-memory wire, real contracts.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{B256, Bytes, TxKind, U256};
use alloy::rpc::types::Filter;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use libp2p::core::transport::MemoryTransport;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_evm::deployment::GenesisValidator;
use tokio::sync::Notify;
use tracing::subscriber::DefaultGuard;

use crate::chain::tests::world::{self as chain, Shared};
use crate::chain::{ChainClient, RoundPhase};
use crate::identity::Identity;
use crate::jobs::JobRequest;
use crate::jobs::receipt::{Answer, Receipt, TaskDone, Work, WorkKind, WorkOrder, challenge_task};
use crate::node::{Node, NodeConfig, NodeParts};
use crate::p2p::handshake::Role;
use crate::p2p::{P2pSettings, upgrade};
use crate::roles::RoleState;
use crate::roles::validator::Validator;
use crate::signed::{Domain, Signed};

/// Seconds between two state updates.
pub(super) const INTERVAL: u64 = 64;
/// How many validators there are.
pub(super) const VALIDATORS: u8 = 3;
/// Real time for each second of chain time while blocks are mined.
const SECOND: Duration = Duration::from_millis(250);
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Memory addresses are the process's, so that tests must not use one twice.
static PORTS: AtomicU64 = AtomicU64::new(1);

/// A deployed network, whose nodes are not started yet.
pub(super) struct World {
    pub(super) shared: Shared,
    ports: u64,
    log: Log,
    _guard: DefaultGuard,
}

/// What the nodes have logged.
#[derive(Clone, Default)]
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    /// Rings with every line.
    grown: Arc<Notify>,
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.grown.notify_one();
        self.text.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn identity(n: u8) -> Identity {
    Identity {
        network: Keypair::ed25519_from_bytes([n.wrapping_add(1); 32]).expect("32 bytes are a key"),
        wallet: chain::wallet(n),
    }
}

impl World {
    pub(super) fn new() -> World {
        World::of(VALIDATORS)
    }

    /// A network of so many validators.
    pub(super) fn of(validators: u8) -> World {
        let genesis = (0..validators)
            .map(|n| GenesisValidator {
                wallet: identity(n).address(),
                public_key_hash: identity(n).public_key_hash(),
            })
            .collect();
        let shared = Shared::with_genesis(genesis, INTERVAL);
        // Blocks come from `live`, not from requests.
        shared.lock().mining = false;
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        World {
            shared,
            ports: PORTS.fetch_add(u64::from(VALIDATORS), Ordering::Relaxed),
            log,
            // The runtime of a test has one thread, so this is said of all its tasks.
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    pub(super) fn domain(&self) -> Domain {
        let deployment = &self.shared.lock().deployment;
        Domain {
            chain_id: deployment.chain_id,
            core: deployment.core,
            coordinator: deployment.coordinator,
        }
    }

    fn address(&self, n: u8) -> Multiaddr {
        let peer: PeerId = identity(n).peer_id();
        format!("/memory/{}/p2p/{peer}", self.ports + u64::from(n))
            .parse()
            .expect("an address")
    }

    /// Starts a validator. A silent one sees the chain, and none of its transactions arrives.
    pub(super) async fn start(&self, n: u8, silent: bool) -> Node {
        let identity = identity(n);
        let config = NodeConfig {
            role: Role::Validator,
            networks: Vec::new(),
            capacity: 1,
            listen: vec![
                format!("/memory/{}", self.ports + u64::from(n))
                    .parse()
                    .expect("an address"),
            ],
            bootstrap: (0..VALIDATORS)
                .filter(|other| *other != n)
                .map(|other| self.address(other))
                .collect(),
            p2p: P2pSettings {
                gossip_heartbeat: Duration::from_millis(500),
                ..P2pSettings::default()
            },
            chain: chain::settings(),
        };
        let rpc = if silent {
            self.shared.silent_rpc()
        } else {
            self.shared.rpc()
        };
        let parts = NodeParts {
            transport: upgrade(MemoryTransport::default(), &identity).expect("a transport"),
            rpc: vec![rpc],
            storage: redb::backends::InMemoryBackend::new(),
            deployment: self.shared.lock().deployment.clone(),
            identity,
        };
        Node::start(config, parts).await.expect("the node starts")
    }

    /// A client to look at the chain with.
    pub(super) async fn observer(&self) -> ChainClient {
        self.shared.client(chain::USER, chain::memory()).await
    }

    /// Sends a call of validator `n`, to be mined with the next block.
    pub(super) fn send<C: SolCall>(&self, n: u8, call: C) {
        let mut world = self.shared.lock();
        let coordinator = world.deployment.coordinator;
        let (to, data) = (TxKind::Call(coordinator), Bytes::from(call.abi_encode()));
        world
            .chain
            .send(&chain::wallet(n), to, data, U256::ZERO)
            .expect("taken");
    }

    /// Sends a call of validator `n` and mines it.
    pub(super) fn act<C: SolCall>(&self, n: u8, call: C) {
        let mut world = self.shared.lock();
        let coordinator = world.deployment.coordinator;
        world
            .chain
            .transact(
                &chain::wallet(n),
                TxKind::Call(coordinator),
                Bytes::from(call.abi_encode()),
                U256::ZERO,
            )
            .expect("mined");
    }

    /// Opens the round that is due next, and returns its number and the first drawn proposer.
    pub(super) async fn open_round(&self, observer: &ChainClient) -> (u64, u8) {
        let status = observer.round_status().await.expect("the chain answers");
        self.shared.wait_until(status.due_time);
        self.act(0, Coordinator::openRoundCall {});
        // Until the block of the draw is there for a call as well.
        while observer
            .round_status()
            .await
            .expect("the chain answers")
            .phase
            != RoundPhase::Drawable
        {
            self.shared.mine(1);
        }
        self.act(0, Coordinator::openRoundCall {});
        let status = observer.round_status().await.expect("the chain answers");
        assert_eq!(status.phase, RoundPhase::Open);
        let drawn = observer.proposers().await.expect("the chain answers")[0];
        let first = (0..u8::MAX)
            .find(|n| identity(*n).address() == drawn)
            .expect("a validator");
        (status.round, first)
    }

    /// Lets time pass, a block for each second, until `done`.
    pub(super) async fn live(&self, what: &str, mut done: impl FnMut() -> bool) {
        let since = tokio::time::Instant::now();
        let mut time = self.shared.lock().chain.timestamp();
        while !done() {
            assert!(
                since.elapsed() < PATIENCE,
                "{what} does not happen; the log:\n{}",
                self.log()
            );
            tokio::time::sleep(SECOND).await;
            // After a reorganisation, time goes on where it was.
            time = time.max(self.shared.lock().chain.timestamp()) + 1;
            self.shared.lock().chain.mine(time).expect("mined");
        }
    }

    /// Waits until something has happened of which a node has a word to say.
    pub(super) async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let waiting = async {
            while !done() {
                self.log.grown.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{what} does not happen; the log:\n{}", self.log());
        }
    }

    /// Blocks of the logs of an event of the Coordinator, oldest first.
    pub(super) fn events<E: SolEvent>(&self) -> Vec<E> {
        let world = self.shared.lock();
        let filter = Filter::new()
            .address(world.deployment.coordinator)
            .event_signature(E::SIGNATURE_HASH)
            .from_block(0);
        let logs = world.chain.logs(&filter, usize::MAX).expect("logs");
        logs.iter()
            .map(|log| E::decode_log(&log.inner).expect("an event").data)
            .collect()
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.text.lock().expect("no panic")).into_owned()
    }
}

pub(super) fn validator(node: &Node) -> &Validator {
    match node.role() {
        RoleState::Validator(validator) => validator,
        _ => panic!("every node here is a validator"),
    }
}

/// A receipt of a real challenge.
pub(super) async fn challenge(
    domain: &Domain,
    validator: &PrivateKeySigner,
    worker: &PrivateKeySigner,
    round: u64,
    issued_at: u64,
) -> Signed<Receipt> {
    let kind = WorkKind::Challenge {
        round,
        index: 0,
        nonce: B256::repeat_byte(3),
    };
    let task = challenge_task(domain, validator.address(), worker.address(), &kind);
    let output = task.execute().await.expect("the task is within bounds");
    let order = WorkOrder {
        validator: validator.address(),
        worker: worker.address(),
        kind,
        task,
    };
    let result = Signed::sign(order.result(&output), domain, worker);
    let body = Receipt {
        validator: validator.address(),
        round,
        issued_at,
        work: Work::Challenge(Answer { result, output }),
    };
    Signed::sign(body, domain, validator)
}

/// A receipt of a job whose tasks these workers have done, each one of them.
pub(super) async fn job(
    domain: &Domain,
    validator: &PrivateKeySigner,
    workers: &[PrivateKeySigner],
    request: Signed<JobRequest>,
    round: u64,
    issued_at: u64,
) -> Signed<Receipt> {
    let mut tasks = Vec::new();
    for (worker, index) in workers.iter().zip(0u16..) {
        let task = request.body.task(usize::from(index), None).expect("a task");
        let kind = WorkKind::Job {
            job: request.body.job_id(domain),
            task: index,
            user: request.body.user,
        };
        let output = task.execute().await.expect("the task is within bounds");
        let order = WorkOrder {
            validator: validator.address(),
            worker: worker.address(),
            kind,
            task,
        };
        let by = vec![Signed::sign(order.result(&output), domain, worker)];
        tasks.push(Some(TaskDone { output, by }));
    }
    let body = Receipt {
        validator: validator.address(),
        round,
        issued_at,
        work: Work::Job { request, tasks },
    };
    Signed::sign(body, domain, validator)
}
