//! The host that runs the chain: it mines on virtual time and answers JSON-RPC on the simulated wire.
//!
//! The chain itself is the in-process one of `smartnodes-evm`, called in line. After each block with transactions the
//! observers look at it, in the same instant of virtual time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smartnodes_evm::chain::{BlockSummary, Chain, MineError};
use smartnodes_evm::rpc::{self, RpcConfig};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::frame;
use crate::wire::{Endpoint, WireListener, WireStream};

/// The port on which the chain answers JSON-RPC.
pub const RPC_PORT: u16 = 8545;

/// Looks at the chain after each block with transactions.
pub type Observer = Box<dyn FnMut(&Chain, &BlockSummary) + Send>;

/// The chain, and who watches it. Clones share it.
#[derive(Clone)]
pub struct ChainHost(Arc<Mutex<State>>);

struct State {
    chain: Chain,
    observers: Vec<Observer>,
    rpc: RpcConfig,
}

/// Why the chain host ended.
#[derive(Debug, thiserror::Error)]
pub enum ChainHostError {
    /// The port cannot be used.
    #[error("cannot serve JSON-RPC on port {RPC_PORT}: {0}")]
    Listen(#[from] std::io::Error),
    /// The chain refuses a block.
    #[error("cannot mine: {0}")]
    Mine(#[from] MineError),
}

impl ChainHost {
    /// A host for `chain`.
    pub fn new(chain: Chain, observers: Vec<Observer>) -> ChainHost {
        ChainHost(Arc::new(Mutex::new(State {
            chain,
            observers,
            rpc: RpcConfig::default(),
        })))
    }

    /// Reads the chain as it is now.
    pub fn read<T>(&self, read: impl FnOnce(&Chain) -> T) -> T {
        read(&self.lock().chain)
    }

    /// Mines a block each `block_time` and answers requests, until the simulated host ends.
    pub async fn run(self, local: Endpoint, block_time: Duration) -> Result<(), ChainHostError> {
        let listener = local.listen(RPC_PORT).await?;
        tokio::spawn(self.clone().accept(listener));
        // Each block is due a whole number of block times after the first, however long the work on one takes.
        let (start, first) = (Instant::now(), self.read(Chain::timestamp));
        let mut due = block_time;
        loop {
            sleep_until(start + due).await;
            self.mine(first + due.as_secs())?;
            due += block_time;
        }
    }

    fn mine(&self, timestamp: u64) -> Result<(), MineError> {
        let mut state = self.lock();
        let State {
            chain, observers, ..
        } = &mut *state;
        let block = chain.mine(timestamp)?;
        for (hash, reason) in &block.dropped {
            info!(number = block.number, %hash, %reason, "transaction dropped");
        }
        if !block.transactions.is_empty() {
            let transactions = block.transactions.len();
            info!(number = block.number, hash = %block.hash, transactions, gas = block.gas_used, "block mined");
            observers
                .iter_mut()
                .for_each(|observe| observe(chain, &block));
        }
        Ok(())
    }

    async fn accept(self, listener: WireListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(self.clone().serve(stream))),
                Err(error) => return debug!(%error, "no longer accepting"),
            }
        }
    }

    async fn serve(self, mut stream: WireStream) {
        let failed = loop {
            let request = match frame::read(&mut stream).await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => break error,
            };
            let answer = {
                let mut state = self.lock();
                let State { chain, rpc, .. } = &mut *state;
                rpc::handle(chain, rpc, &request)
            };
            if let Err(error) = frame::write(&mut stream, &answer).await {
                break error;
            }
        };
        debug!(error = %failed, "connection ended");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
