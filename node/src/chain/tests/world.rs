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

use tokio::sync::Notify;

use crate::{
    chain::{ChainClient, ChainError, ChainSettings},
    store::Store,
};

/// Seconds between two state updates.
pub(crate) const INTERVAL: u64 = 3_600;
/// Validators are the keys from 0 on.
pub(crate) const VALIDATORS: u8 = 3;
pub(crate) const WORKER: u8 = 240;
pub(crate) const USER: u8 = 241;
const DEPLOYER: u8 = 255;

pub(crate) fn wallet(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256([n])).expect("a hash is a valid key")
}

pub(crate) fn key_hash(n: u8) -> B256 {
    keccak256([b'k', n])
}

/// The validator `n` of a deployment.
pub(crate) fn validator(n: u8) -> GenesisValidator {
    GenesisValidator {
        wallet: wallet(n).address(),
        public_key_hash: key_hash(n),
    }
}

pub(crate) fn memory() -> Store {
    Store::open(redb::backends::InMemoryBackend::new()).unwrap()
}

/// Quick, since nothing here takes time, and content with one block on top.
pub(crate) fn settings() -> ChainSettings {
    ChainSettings {
        poll_interval: Duration::from_millis(2),
        receipt_timeout: Duration::from_millis(60),
        confirmations: 1,
        request_timeout: Duration::from_millis(500),
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// It does not arrive.
    Lost,
    /// It arrives, the answer does not.
    AnswerLost,
    /// It hangs.
    Silent,
}

/// From a request on, nothing comes through any more, as if the host had lost its power.
pub(crate) struct PowerCut {
    /// How many more requests are answered.
    pub(crate) after: u32,
    /// Whether the first request that is not answered still arrives.
    pub(crate) last_arrives: bool,
    /// Told when it is dark.
    pub(crate) dark: Arc<Notify>,
}

/// Makes another answer of a true one.
pub(crate) type Lie = fn(serde_json::Value) -> serde_json::Value;

type Interference = Box<dyn FnOnce(&mut Chain) + Send>;

pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) deployment: Deployment,
    /// Whether time goes on: a block is mined before each receipt is asked for.
    pub(crate) mining: bool,
    /// How many requests of a method go wrong, and how.
    pub(crate) faults: BTreeMap<&'static str, (Fault, u32)>,
    /// Happens before the next raw transaction arrives.
    pub(crate) before_send: Option<Interference>,
    /// When all requests stop, if they do.
    pub(crate) power_cut: Option<PowerCut>,
    /// Changes answers, by method: an endpoint that lies.
    pub(crate) lies: BTreeMap<&'static str, Lie>,
    /// How many requests of each method arrived.
    pub(crate) arrived: BTreeMap<String, u32>,
}

/// The world as everybody in it sees it.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared::with_genesis((0..VALIDATORS).map(validator).collect(), INTERVAL)
    }

    /// A deployment with these validators, and so many seconds between two state updates.
    pub(crate) fn with_genesis(genesis: Vec<GenesisValidator>, interval: u64) -> Shared {
        let ether = U256::from(10).pow(U256::from(18));
        let people = [WORKER, USER, DEPLOYER].map(|n| wallet(n).address());
        let people = genesis.iter().map(|node| node.wallet).chain(people);
        let config = ChainConfig {
            balances: people.map(|address| (address, ether)).collect(),
            // To deploy a hundred genesis validators takes more than a block of Base.
            gas_limit: 1_000_000_000,
            ..Default::default()
        };
        let mut chain = Chain::new(config).unwrap();
        let params = DeployParams {
            genesis,
            update_interval_seconds: interval,
            ..Default::default()
        };
        let deployment = deploy_in_process(&mut chain, &wallet(DEPLOYER), &params).unwrap();
        Shared(Arc::new(Mutex::new(World {
            chain,
            deployment,
            mining: true,
            faults: BTreeMap::new(),
            before_send: None,
            power_cut: None,
            lies: BTreeMap::new(),
            arrived: BTreeMap::new(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(crate) fn rpc(&self) -> RpcClient {
        self.endpoint(false)
    }

    /// An endpoint to which transactions never come.
    #[cfg(not(madsim))]
    pub(crate) fn silent_rpc(&self) -> RpcClient {
        self.endpoint(true)
    }

    fn endpoint(&self, silent: bool) -> RpcClient {
        let shared = self.clone();
        RpcClient::new(Transport { shared, silent }, true)
    }

    /// A client with several endpoints, each a world of its own.
    pub(crate) async fn client_of(worlds: &[Shared], n: u8, store: Store) -> ChainClient {
        let rpc = worlds.iter().map(Shared::rpc).collect();
        let deployment = worlds[0].lock().deployment.clone();
        ChainClient::connect(rpc, wallet(n), deployment, store, settings())
            .await
            .unwrap()
    }

    /// A client as a node has one.
    pub(crate) async fn client(&self, n: u8, store: Store) -> ChainClient {
        self.try_client(n, store, |_| {}).await.unwrap()
    }

    /// A client that needs so many blocks on top.
    pub(crate) async fn client_at_depth(
        &self,
        n: u8,
        store: Store,
        confirmations: u64,
    ) -> ChainClient {
        let deployment = self.lock().deployment.clone();
        let settings = ChainSettings {
            confirmations,
            ..settings()
        };
        ChainClient::connect(vec![self.rpc()], wallet(n), deployment, store, settings)
            .await
            .unwrap()
    }

    pub(crate) async fn try_client(
        &self,
        n: u8,
        store: Store,
        change: impl FnOnce(&mut Deployment),
    ) -> Result<ChainClient, ChainError> {
        let mut deployment = self.lock().deployment.clone();
        change(&mut deployment);
        ChainClient::connect(vec![self.rpc()], wallet(n), deployment, store, settings()).await
    }

    pub(crate) fn fail(&self, method: &'static str, fault: Fault, times: u32) {
        self.lock().faults.insert(method, (fault, times));
    }

    pub(crate) fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Goes to a time, in seconds since the Unix epoch.
    pub(crate) fn wait_until(&self, time: u64) {
        let mut world = self.lock();
        let time = time.max(world.chain.timestamp() + 1);
        world.chain.mine(time).unwrap();
    }

    pub(crate) fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.lock().chain.mine_next().unwrap();
        }
    }

    /// Waits until so many transactions are in the mempool.
    pub(crate) async fn until_pending(&self, count: usize) {
        while self.lock().chain.pending_len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How many transactions of `n` are in blocks.
    pub(crate) fn nonce(&self, n: u8) -> u64 {
        self.lock()
            .chain
            .nonce(wallet(n).address(), Default::default())
            .unwrap()
    }
}

impl World {
    /// Sends a call of somebody else, or of a node's wallet behind the node's back.
    pub(crate) fn interfere<C: SolCall>(&mut self, n: u8, to: Address, call: C) {
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
        let answer = rpc::handle(&mut self.chain, &RpcConfig::default(), body);
        match self.lies.get(method) {
            Some(lie) => {
                let mut answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                if let Some(result) = answer.get_mut("result") {
                    *result = lie(result.take());
                }
                serde_json::to_vec(&answer).unwrap()
            }
            None => answer,
        }
    }

    /// Whether the power is gone, and if so whether this request still arrives.
    fn dark(&mut self) -> Option<bool> {
        let cut = self.power_cut.as_mut()?;
        match cut.after.checked_sub(1) {
            Some(after) => {
                cut.after = after;
                None
            }
            None => {
                cut.dark.notify_one();
                Some(std::mem::take(&mut cut.last_arrives))
            }
        }
    }

    fn fault(&mut self, method: &str) -> Option<Fault> {
        let (fault, times) = self.faults.get_mut(method)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
    }
}

#[derive(Clone)]
struct Transport {
    shared: Shared,
    /// Whether transactions are lost.
    silent: bool,
}

impl tower::Service<RequestPacket> for Transport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let Transport { shared, silent } = self.clone();
        Box::pin(async move {
            let body = serde_json::to_vec(&request).map_err(TransportErrorKind::custom)?;
            let method = request
                .as_single()
                .map(|single| single.method().to_owned())
                .unwrap_or_default();
            if silent && method == "eth_sendRawTransaction" {
                return Err(TransportErrorKind::custom_str("connection refused"));
            }
            let dark = shared.lock().dark();
            if let Some(arrives) = dark {
                if arrives {
                    shared.lock().answer(&method, &body);
                }
                std::future::pending::<()>().await;
            }
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
