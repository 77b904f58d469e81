//! The embedded chain behind HTTP.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use alloy::{
    consensus::Transaction,
    primitives::{self, Address, TxKind, U256},
    rpc::types::Filter,
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use axum::{
    Router, body::Bytes, extract::DefaultBodyLimit, extract::State, http::header, routing::post,
};
use smartnodes_evm::{
    chain::{Chain, ChainConfig},
    rpc::{self, RpcConfig},
};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::error::TestnetError;

/// Seconds between two blocks.
pub const BLOCK_TIME_SECONDS: u64 = 1;

/// Gas for a call in another's name.
const IMPERSONATED_GAS: u64 = 1_000_000;
/// Transactions that are sent before some are waited for: fewer than may wait of one account, and of calls such as an
/// escrow so many that a block has room for others beside them.
const SENT_AT_ONCE: usize = 300;

/// A mined transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The contract or account called.
    pub to: Option<Address>,
    /// Call data.
    pub input: primitives::Bytes,
    /// Whether it was not reverted.
    pub succeeded: bool,
}

/// A chain that mines a block each second and answers JSON-RPC at [`ChainHost::url`]. It ends when it is dropped.
pub struct ChainHost {
    chain: Arc<Mutex<Chain>>,
    url: String,
    server: JoinHandle<()>,
    miner: JoinHandle<()>,
}

impl ChainHost {
    /// Builds the chain, lets `prepare` act on it, and serves it on loopback. Port 0 is any free one.
    pub async fn start<T>(
        config: ChainConfig,
        port: u16,
        prepare: impl FnOnce(&mut Chain) -> Result<T, TestnetError>,
    ) -> Result<(ChainHost, T), TestnetError> {
        let mut chain = Chain::new(config).map_err(TestnetError::set_up)?;
        let prepared = prepare(&mut chain)?;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .map_err(|error| TestnetError::Argument {
                field: "--rpc-port",
                reason: format!("cannot listen on 127.0.0.1:{port}: {error}"),
            })?;
        let address = listener.local_addr().map_err(TestnetError::set_up)?;
        let chain = Arc::new(Mutex::new(chain));
        let app = Router::new()
            .route("/", post(answer))
            .layer(DefaultBodyLimit::max(RpcConfig::default().body_bytes_max))
            .with_state(chain.clone());
        let server = tokio::spawn(async move {
            // Ends only with the program.
            let _ = axum::serve(listener, app).await;
        });
        let miner = tokio::spawn(mine(chain.clone()));
        Ok((
            ChainHost {
                chain,
                url: format!("http://{address}"),
                server,
                miner,
            },
            prepared,
        ))
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls a view of a contract.
    pub fn read<C: SolCall>(&self, contract: Address, call: &C) -> Result<C::Return, TestnetError> {
        lock(&self.chain)
            .read(contract, call)
            .map_err(TestnetError::set_up)
    }

    /// Every mined transaction of an account, oldest first: receiver, call data and whether it succeeded.
    pub fn sent_by(&self, account: Address) -> Result<Vec<Sent>, TestnetError> {
        let chain = lock(&self.chain);
        let mut found = Vec::new();
        for number in 0..=chain.block_number() {
            let receipts = chain
                .block_receipts(number.into())
                .map_err(TestnetError::set_up)?;
            for receipt in receipts.iter().filter(|receipt| receipt.from == account) {
                if let Some(transaction) = chain.transaction(&receipt.transaction_hash) {
                    found.push(Sent {
                        to: receipt.to,
                        input: transaction.input().clone(),
                        succeeded: receipt.status(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Every log of an event of a contract, oldest first.
    pub fn events<E: SolEvent>(&self, contract: Address) -> Result<Vec<E>, TestnetError> {
        let filter = Filter::new()
            .address(contract)
            .event_signature(E::SIGNATURE_HASH)
            .from_block(0);
        let logs = lock(&self.chain)
            .logs(&filter, usize::MAX)
            .map_err(TestnetError::set_up)?;
        logs.iter()
            .map(|log| {
                E::decode_log(&log.inner)
                    .map(|log| log.data)
                    .map_err(TestnetError::set_up)
            })
            .collect()
    }

    /// Creates contracts from an account, one block for each.
    pub fn create(
        &self,
        from: &PrivateKeySigner,
        init_codes: &[primitives::Bytes],
    ) -> Result<(), TestnetError> {
        for init_code in init_codes {
            lock(&self.chain)
                .transact(from, TxKind::Create, init_code.clone(), U256::ZERO)
                .map_err(TestnetError::set_up)?;
        }
        Ok(())
    }

    /// Sends calls from an account with so much gas each, and waits until the last of them is mined.
    pub async fn send(
        &self,
        from: &PrivateKeySigner,
        calls: &[(Address, primitives::Bytes)],
        gas_limit: u64,
    ) -> Result<(), TestnetError> {
        let mut last = None;
        for part in calls.chunks(SENT_AT_ONCE) {
            for (to, data) in part {
                let to = TxKind::Call(*to);
                let sent = lock(&self.chain)
                    .send_with_gas(from, to, data.clone(), U256::ZERO, gas_limit)
                    .map_err(TestnetError::set_up)?;
                last = Some(sent);
            }
            // The pool takes so many transactions of one account only.
            while let Some(hash) = last
                && lock(&self.chain).receipt(&hash).is_none()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Sends a call in the name of an account without its key, its gas paid for by `payer`, and waits until it is mined.
    pub async fn impersonate<C: SolCall>(
        &self,
        from: Address,
        payer: &PrivateKeySigner,
        to: Address,
        call: &C,
    ) -> Result<(), TestnetError> {
        let hash = {
            let mut chain = lock(&self.chain);
            let ether = U256::from(10).pow(U256::from(18));
            chain
                .send(payer, TxKind::Call(from), primitives::Bytes::new(), ether)
                .and_then(|_| chain.mine_next().map_err(Into::into))
                .map_err(TestnetError::set_up)?;
            let data = call.abi_encode().into();
            chain
                .impersonate(from, TxKind::Call(to), data, U256::ZERO, IMPERSONATED_GAS)
                .map_err(TestnetError::set_up)?
        };
        while lock(&self.chain).receipt(&hash).is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Number and timestamp of the latest block.
    pub fn head(&self) -> (u64, u64) {
        let chain = lock(&self.chain);
        (chain.block_number(), chain.timestamp())
    }
}

impl Drop for ChainHost {
    fn drop(&mut self) {
        self.server.abort();
        self.miner.abort();
    }
}

async fn answer(
    State(chain): State<Arc<Mutex<Chain>>>,
    body: Bytes,
) -> ([(header::HeaderName, &'static str); 1], Vec<u8>) {
    let answer = rpc::handle(&mut lock(&chain), &RpcConfig::default(), &body);
    ([(header::CONTENT_TYPE, "application/json")], answer)
}

async fn mine(chain: Arc<Mutex<Chain>>) {
    let mut ticks = interval(Duration::from_secs(BLOCK_TIME_SECONDS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = lock(&chain).advance_to(now()) {
            tracing::error!(%error, "the chain cannot go on");
        }
    }
}

fn lock(chain: &Mutex<Chain>) -> std::sync::MutexGuard<'_, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
