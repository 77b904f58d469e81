//! A deployed network, and the transport to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
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
use smartnodes_evm::{
    chain::{Chain, ChainConfig},
    deployment::{DeployParams, Deployment, GenesisValidator, deploy_in_process},
    rpc::{self, RpcConfig},
};

use crate::{
    chain::{ChainClient, ChainError, ChainSettings},
    store::Store,
};

/// Seconds between two state updates.
pub(super) const INTERVAL: u64 = 3_600;
/// Validators are the keys from 0 on.
pub(super) const VALIDATORS: u8 = 3;
pub(super) const WORKER: u8 = 100;
pub(super) const USER: u8 = 101;
const DEPLOYER: u8 = 255;

pub(super) fn wallet(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256([n])).expect("a hash is a valid key")
}

pub(super) fn key_hash(n: u8) -> B256 {
    keccak256([b'k', n])
}

pub(super) fn memory() -> Store {
    Store::open(redb::backends::InMemoryBackend::new()).unwrap()
}

/// Quick, since nothing here takes time, and content with one block on top.
fn settings() -> ChainSettings {
    ChainSettings {
        poll_interval: Duration::from_millis(2),
        receipt_timeout: Duration::from_millis(60),
        confirmations: 1,
        request_timeout: Duration::from_millis(500),
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// It does not arrive.
    Lost,
    /// It arrives, the answer does not.
    AnswerLost,
    /// It hangs.
    Silent,
}

type Interference = Box<dyn FnOnce(&mut Chain) + Send>;

pub(super) struct World {
    pub(super) chain: Chain,
    pub(super) deployment: Deployment,
    /// Whether time goes on: a block is mined before each receipt is asked for.
    pub(super) mining: bool,
    /// How many requests of a method go wrong, and how.
    pub(super) faults: BTreeMap<&'static str, (Fault, u32)>,
    /// Happens before the next raw transaction arrives.
    pub(super) before_send: Option<Interference>,
    /// How many requests of each method arrived.
    pub(super) arrived: BTreeMap<String, u32>,
}

/// The world as everybody in it sees it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new() -> Shared {
        let ether = U256::from(10).pow(U256::from(18));
        let people = (0..VALIDATORS).chain([WORKER, USER, DEPLOYER]);
        let config = ChainConfig {
            balances: people.map(|n| (wallet(n).address(), ether)).collect(),
            ..Default::default()
        };
        let mut chain = Chain::new(config).unwrap();
        let genesis = (0..VALIDATORS)
            .map(|n| GenesisValidator {
                wallet: wallet(n).address(),
                public_key_hash: key_hash(n),
            })
            .collect();
        let params = DeployParams {
            genesis,
            update_interval_seconds: INTERVAL,
            ..Default::default()
        };
        let deployment = deploy_in_process(&mut chain, &wallet(DEPLOYER), &params).unwrap();
        Shared(Arc::new(Mutex::new(World {
            chain,
            deployment,
            mining: true,
            faults: BTreeMap::new(),
            before_send: None,
            arrived: BTreeMap::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(super) fn rpc(&self) -> RpcClient {
        RpcClient::new(Transport(self.clone()), true)
    }

    /// A client with several endpoints, each a world of its own.
    pub(super) async fn client_of(worlds: &[Shared], n: u8, store: Store) -> ChainClient {
        let rpc = worlds.iter().map(Shared::rpc).collect();
        let deployment = worlds[0].lock().deployment.clone();
        ChainClient::connect(rpc, wallet(n), deployment, store, settings())
            .await
            .unwrap()
    }

    /// A client as a node has one.
    pub(super) async fn client(&self, n: u8, store: Store) -> ChainClient {
        self.try_client(n, store, |_| {}).await.unwrap()
    }

    pub(super) async fn try_client(
        &self,
        n: u8,
        store: Store,
        change: impl FnOnce(&mut Deployment),
    ) -> Result<ChainClient, ChainError> {
        let mut deployment = self.lock().deployment.clone();
        change(&mut deployment);
        ChainClient::connect(vec![self.rpc()], wallet(n), deployment, store, settings()).await
    }

    pub(super) fn fail(&self, method: &'static str, fault: Fault, times: u32) {
        self.lock().faults.insert(method, (fault, times));
    }

    pub(super) fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Goes to a time, in seconds since the Unix epoch.
    pub(super) fn wait_until(&self, time: u64) {
        let mut world = self.lock();
        let time = time.max(world.chain.timestamp() + 1);
        world.chain.mine(time).unwrap();
    }

    /// How many transactions of `n` are in blocks.
    pub(super) fn nonce(&self, n: u8) -> u64 {
        self.lock()
            .chain
            .nonce(wallet(n).address(), Default::default())
            .unwrap()
    }
}

impl World {
    /// Sends a call of somebody else, or of a node's wallet behind the node's back.
    pub(super) fn interfere<C: SolCall>(&mut self, n: u8, to: Address, call: C) {
        self.chain
            .transact(
                &wallet(n),
                TxKind::Call(to),
                Bytes::from(call.abi_encode()),
                U256::ZERO,
            )
            .unwrap();
    }

    fn answer(&mut self, method: &str, body: &[u8]) -> Vec<u8> {
        *self.arrived.entry(method.to_owned()).or_default() += 1;
        if method == "eth_getTransactionReceipt" && self.mining {
            self.chain.mine_next().unwrap();
        }
        if method == "eth_sendRawTransaction"
            && let Some(interference) = self.before_send.take()
        {
            interference(&mut self.chain);
        }
        rpc::handle(&mut self.chain, &RpcConfig::default(), body)
    }

    fn fault(&mut self, method: &str) -> Option<Fault> {
        let (fault, times) = self.faults.get_mut(method)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
    }
}

#[derive(Clone)]
struct Transport(Shared);

impl tower::Service<RequestPacket> for Transport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let body = serde_json::to_vec(&request).map_err(TransportErrorKind::custom)?;
            let method = request
                .as_single()
                .map(|single| single.method().to_owned())
                .unwrap_or_default();
            let fault = shared.lock().fault(&method);
            match fault {
                Some(Fault::Lost) => {
                    return Err(TransportErrorKind::custom_str("connection refused"));
                }
                Some(Fault::Silent) => std::future::pending().await,
                Some(Fault::AnswerLost) | None => {}
            }
            let answer = shared.lock().answer(&method, &body);
            if fault == Some(Fault::AnswerLost) {
                return Err(TransportErrorKind::custom_str("connection reset"));
            }
            serde_json::from_slice(&answer)
                .map_err(|error| TransportError::deser_err(error, String::from_utf8_lossy(&answer)))
        })
    }
}
