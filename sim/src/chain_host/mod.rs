//! The host that runs the chain: it mines on virtual time and answers JSON-RPC on the simulated wire.
//!
//! The chain itself is the in-process one of `smartnodes-evm`, called in line. After each block with transactions the
//! observers look at it, in the same instant of virtual time.

mod trouble;

pub use trouble::{Scope, Trouble, Wrong};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::rand::Rng;
use serde_json::{Value, json};
use smartnodes_evm::chain::{BlockSummary, Chain, MineError, RewindError};
use smartnodes_evm::rpc::{self, RpcConfig};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info};

use self::trouble::{Asked, Verdict};
use crate::frame;
use crate::trace::Trace;
use crate::wire::{Endpoint, WireListener, WireStream};

/// The port on which the chain answers JSON-RPC.
pub const RPC_PORT: u16 = 8545;

/// What an observer is shown.
#[derive(Debug, Clone, Copy)]
pub enum Sight<'a> {
    /// A block with transactions has been mined.
    Mined(&'a BlockSummary),
    /// All blocks after this one are undone.
    Rewound(u64),
}

/// Looks at the chain after each block with transactions, and after each reorganisation.
pub type Observer = Box<dyn FnMut(&Chain, Sight<'_>) + Send>;

/// The chain, and who watches it. Clones share it.
#[derive(Clone)]
pub struct ChainHost(Arc<Mutex<State>>);

struct State {
    chain: Chain,
    /// The last block from before the run.
    first: u64,
    observers: Vec<Observer>,
    rpc: RpcConfig,
    /// What is wrong, by number, and how often it has been felt.
    troubles: BTreeMap<u64, (Trouble, u64)>,
    began: u64,
    /// Seconds by which the chain's time has jumped so far.
    jumped: u64,
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
            first: chain.block_number(),
            chain,
            observers,
            rpc: RpcConfig::default(),
            troubles: BTreeMap::new(),
            began: 0,
            jumped: 0,
        })))
    }

    /// Reads the chain as it is now.
    pub fn read<T>(&self, read: impl FnOnce(&Chain) -> T) -> T {
        read(&self.lock().chain)
    }

    /// Something is wrong from now on; returns its number for [`ChainHost::end`].
    pub fn begin(&self, trouble: Trouble) -> u64 {
        let mut state = self.lock();
        state.began += 1;
        let number = state.began;
        state.troubles.insert(number, (trouble, 0));
        number
    }

    /// It is over. Says how many requests, transactions or blocks it has touched.
    pub fn end(&self, number: u64) -> u64 {
        let mut state = self.lock();
        let Some((trouble, touched)) = state.troubles.remove(&number) else {
            return 0;
        };
        if let Trouble::Fee { before, .. } = trouble {
            state.chain.set_base_fee(before);
        }
        touched
    }

    /// The chain's time jumps with the next block, and goes on from there.
    pub fn jump(&self, by: Duration) {
        self.lock().jumped += by.as_secs();
    }

    /// Undoes the latest blocks; their transactions wait again. Says how many transactions there were.
    pub fn reorg(&self, depth: u64, forgets: bool) -> Result<u64, RewindError> {
        let mut state = self.lock();
        let State {
            chain,
            observers,
            first,
            ..
        } = &mut *state;
        // What was there before the run is nobody's to undo.
        let depth = depth.min(chain.block_number().saturating_sub(*first));
        let undone = if forgets {
            chain.reorg_forgetting(depth)?
        } else {
            chain.reorg(depth)?
        };
        let latest = chain.block_number();
        info!(depth, latest, transactions = undone.len(), "blocks undone");
        for observe in observers.iter_mut() {
            observe(chain, Sight::Rewound(latest));
        }
        Ok(undone.len() as u64)
    }

    /// Answers requests as an endpoint apart from the chain's own host, until the simulated host ends. Endpoints are numbered
    /// from 1, which is the chain's host itself.
    pub async fn answer_at(self, local: Endpoint, number: usize) -> Result<(), ChainHostError> {
        let listener = local.listen(RPC_PORT)?;
        self.accept(listener, number).await;
        Ok(())
    }

    /// Mines a block each `block_time` and answers requests, until the simulated host ends.
    pub async fn run(self, local: Endpoint, block_time: Duration) -> Result<(), ChainHostError> {
        let listener = local.listen(RPC_PORT)?;
        tokio::spawn(self.clone().accept(listener, 1));
        // Each block is due a whole number of block times after the first, however long the work on one takes.
        let (start, first) = (Instant::now(), self.read(Chain::timestamp));
        let mut due = block_time;
        loop {
            sleep_until(start + due).await;
            self.mine(first + due.as_secs())?;
            due += block_time;
        }
    }

    fn mine(&self, due: u64) -> Result<(), MineError> {
        let mut state = self.lock();
        let State {
            chain,
            observers,
            troubles,
            jumped,
            ..
        } = &mut *state;
        let mut ahead = *jumped;
        let (mut stopped, mut fee) = (false, None);
        for (trouble, touched) in troubles.values_mut() {
            match trouble {
                Trouble::Stop => {
                    *touched += 1;
                    stopped = true;
                }
                Trouble::Drift(by) => {
                    *touched += 1;
                    ahead += *by;
                }
                Trouble::Fee { times, before } => fee = Some(before.saturating_mul(*times)),
                _ => {}
            }
        }
        if stopped {
            return Ok(());
        }
        if let Some(fee) = fee {
            chain.set_base_fee(fee);
        }
        // After timestamps of the future, time stands almost still until it has caught up.
        let block = chain.mine((due + ahead).max(chain.timestamp() + 1))?;
        for (hash, reason) in &block.dropped {
            info!(number = block.number, %hash, %reason, "transaction dropped");
        }
        if !block.transactions.is_empty() {
            for (trouble, touched) in troubles.values_mut() {
                if matches!(trouble, Trouble::Fee { .. }) {
                    *touched += block.transactions.len() as u64;
                }
            }
            let transactions = block.transactions.len();
            info!(number = block.number, hash = %block.hash, transactions, gas = block.gas_used, "block mined");
            observers
                .iter_mut()
                .for_each(|observe| observe(chain, Sight::Mined(&block)));
        }
        Ok(())
    }

    async fn accept(self, listener: WireListener, endpoint: usize) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    drop(tokio::spawn(self.clone().serve(
                        stream,
                        from.ip(),
                        endpoint,
                    )));
                }
                Err(error) => return debug!(%error, "no longer accepting"),
            }
        }
    }

    async fn serve(self, mut stream: WireStream, from: IpAddr, endpoint: usize) {
        let failed = loop {
            let request = match frame::read(&mut stream).await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => break error,
            };
            let Some(answer) = self.answer(from, endpoint, &request) else {
                // The client's own time-out ends the wait.
                continue;
            };
            if let Err(error) = frame::write(&mut stream, &answer).await {
                break error;
            }
        };
        debug!(error = %failed, "connection ended");
    }

    /// The answer of an endpoint to a request body of a host; `None` if it gets none.
    fn answer(&self, from: IpAddr, endpoint: usize, body: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let State {
            chain,
            rpc,
            troubles,
            ..
        } = &mut *state;
        if troubles.is_empty() {
            return Some(rpc::handle(chain, rpc, body));
        }
        // The node sends no batches; one would be answered as if all were well.
        let Ok(mut request) = serde_json::from_slice::<Value>(body) else {
            return Some(rpc::handle(chain, rpc, body));
        };
        let now = Trace::now();
        let drawn = madsim::rand::thread_rng().gen_range(0.0..1.0);
        let mut verdict = Verdict::Answer;
        for (trouble, touched) in troubles.values_mut() {
            if verdict == Verdict::Answer {
                let asked = Asked {
                    from,
                    endpoint,
                    request: &request,
                    now,
                };
                verdict = trouble.verdict(asked, drawn);
                *touched += u64::from(verdict != Verdict::Answer);
            }
            *touched += u64::from(trouble.bend_request(from, endpoint, &mut request));
        }
        let hash = match verdict {
            Verdict::Silence => return None,
            Verdict::Later(_) | Verdict::Lost => trouble::hash_of(&request),
            Verdict::Answer => None,
        };
        let Some(hash) = hash else {
            let bent = serde_json::to_vec(&request).unwrap_or_else(|_| body.to_vec());
            let answer = rpc::handle(chain, rpc, &bent);
            let Ok(mut answer) = serde_json::from_slice::<Value>(&answer) else {
                return Some(answer);
            };
            let asked = Asked {
                from,
                endpoint,
                request: &request,
                now,
            };
            for (trouble, touched) in troubles.values_mut() {
                *touched += u64::from(trouble.bend_answer(asked, &mut answer));
            }
            return serde_json::to_vec(&answer).ok();
        };
        if let Verdict::Later(by) = verdict {
            let (host, body) = (self.clone(), body.to_vec());
            tokio::spawn(async move {
                sleep(by).await;
                let mut state = host.lock();
                let State { chain, rpc, .. } = &mut *state;
                // The sender has had its answer.
                rpc::handle(chain, rpc, &body);
            });
        }
        info!(%from, %hash, ?verdict, "transaction kept from the chain");
        let id = request.get("id").cloned().unwrap_or(Value::Null);
        serde_json::to_vec(&json!({"jsonrpc": "2.0", "id": id, "result": hash})).ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
