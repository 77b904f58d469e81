//! Workers that cheat. Those here are never paid, and have nothing to do with the chain; those that earn something besides
//! are [`member`]s.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use smartnodes_node::clock::ChainClock;
use smartnodes_node::identity::Identity;
use smartnodes_node::jobs::receipt::{Answer, WorkKind, WorkOrder};
use smartnodes_node::p2p::handshake::Role;
use smartnodes_node::p2p::wire::{Refusal, Request, Response};
use smartnodes_node::p2p::{BoxedTransport, Event, Network, NetworkError, P2pSettings};
use smartnodes_node::signed::{Domain, Signed};
use smartnodes_node::store::Store;
use smartnodes_node::work::matmul::Product;
use smartnodes_node::work::{NETWORKS, Task, TaskKind, TaskOutput};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::info;

use crate::{Deeds, Speaker};

pub mod conduct;
mod member;

/// Wait between two registrations with everyone connected.
const REGISTER: Duration = Duration::from_secs(5);
/// The deed that must cost reputation.
pub const FALSE_RESULT: &str = "signs a false result";
/// Tasks that it says it runs at once: more than anyone else has room for.
const CAPACITY: u32 = 64;

/// What a cheating worker does with a job's task. It takes no challenges, so that whatever it is paid it is paid for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// It returns the result of another task, properly signed: nothing short of doing the work again shows it. Of a matrix
    /// product it returns the right one, but for one entry.
    FalseResult,
    /// It accepts, and is at work for ever.
    Stall,
    /// It accepts what everyone offers, and declines the work.
    OverBooked,
    /// It accepts, and ends when the work is to begin ([`FalseWorker::ended`]).
    Crashing,
}

/// A cheating worker. Dropped, it is gone.
pub struct FalseWorker {
    network: Network,
    task: JoinHandle<()>,
}

impl Drop for FalseWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FalseWorker {
    /// Joins the network of the nodes at `bootstrap`, which should be its validators, and cheats.
    pub fn start(
        misdeed: Misdeed,
        identity: Identity,
        transport: BoxedTransport,
        bootstrap: Vec<Multiaddr>,
        domain: Domain,
        clock: ChainClock,
        settings: &P2pSettings,
    ) -> Result<Self, NetworkError> {
        let deeds = Deeds::default();
        Self::start_counted(
            misdeed, identity, transport, bootstrap, domain, clock, settings, deeds,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a node, and the count of its deeds"
    )]
    /// The same, counting what it does.
    pub fn start_counted(
        misdeed: Misdeed,
        identity: Identity,
        transport: BoxedTransport,
        bootstrap: Vec<Multiaddr>,
        domain: Domain,
        clock: ChainClock,
        settings: &P2pSettings,
        deeds: Deeds,
    ) -> Result<Self, NetworkError> {
        let (network, events) = Network::start(
            transport,
            &identity,
            Role::Worker,
            &[],
            domain,
            clock.clone(),
            Store::in_memory()?,
            settings,
        )?;
        let actor = Actor {
            misdeed,
            speaker: Speaker {
                identity,
                role: Role::Worker,
                networks: NETWORKS.map(str::to_owned).to_vec(),
                capacity: CAPACITY,
                domain,
                clock,
            },
            network: network.clone(),
            deeds,
        };
        let task = tokio::spawn(actor.run(bootstrap, events));
        Ok(Self { network, task })
    }

    /// Waits until it ends by itself, as one that crashes does.
    pub async fn ended(&mut self) {
        // An error means that it has been stopped.
        let _ = (&mut self.task).await;
    }

    /// Its swarm, to ask other nodes with its key.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

struct Actor {
    misdeed: Misdeed,
    speaker: Speaker,
    network: Network,
    deeds: Deeds,
}

impl Actor {
    async fn run(self, bootstrap: Vec<Multiaddr>, mut events: mpsc::Receiver<Event>) {
        loop {
            for address in &bootstrap {
                self.network.dial(None, vec![address.clone()]).await;
            }
            let peers = self.network.peers().await;
            // Answers are waited for elsewhere: to get one, it must itself answer the peer's handshake.
            for peer in peers {
                self.register(peer);
            }
            let next = tokio::time::sleep(REGISTER);
            tokio::pin!(next);
            loop {
                let event = tokio::select! {
                    biased;
                    () = &mut next => break,
                    event = events.recv() => event,
                };
                match event {
                    Some(Event::Request {
                        peer,
                        request,
                        responder,
                    }) => match self.answer(peer, request).await {
                        Some(answer) => responder.send(answer).await,
                        None => return,
                    },
                    Some(Event::Connected(peer)) => self.register(peer),
                    Some(_) => {}
                    None => return,
                }
            }
        }
    }

    fn register(&self, peer: PeerId) {
        let network = self.network.clone();
        tokio::spawn(async move { network.request(peer, Request::Register).await });
    }

    /// What it says to a request; nothing if that is its end.
    async fn answer(&self, peer: PeerId, request: Request) -> Option<Response> {
        Some(match request {
            Request::Role { nonce } => self.speaker.answer(peer, nonce),
            Request::Offer { .. } => Response::Accepted,
            Request::Work(order) => return self.work(*order).await,
            _ => Response::Refused(Refusal::NotServed),
        })
    }

    async fn work(&self, order: WorkOrder) -> Option<Response> {
        let WorkKind::Job { job, task, .. } = order.kind else {
            return Some(Response::Refused(Refusal::Busy));
        };
        match self.misdeed {
            Misdeed::FalseResult => {}
            Misdeed::Stall => {
                self.deeds.did("accepts work and does not end it");
                return Some(Response::Working);
            }
            Misdeed::OverBooked => {
                self.deeds.did("declines work that it has accepted");
                return Some(Response::Refused(Refusal::Busy));
            }
            Misdeed::Crashing => {
                self.deeds.did("ends when work begins");
                return None;
            }
        }
        let Some(output) = false_output(&order.task).await else {
            return Some(Response::Refused(Refusal::Busy));
        };
        let Identity { wallet, .. } = &self.speaker.identity;
        info!(%job, task, worker = %wallet.address(), "false result given");
        self.deeds.did(FALSE_RESULT);
        let result = Signed::sign(order.result(&output), &self.speaker.domain, wallet);
        Some(Response::Work(Box::new(Answer { result, output })))
    }
}

/// A result that looks like that of the task; `None` if it cannot be done.
async fn false_output(task: &Task) -> Option<TaskOutput> {
    if !matches!(task.kind, TaskKind::Matmul(_)) {
        return other_task(task).execute().await.ok();
    }
    let mut bytes = task.execute().await.ok()?.bytes()?.to_vec();
    let (entries, _) = bytes.as_chunks_mut::<4>();
    // Another one in each job.
    let [a, b, c, d, ..] = task.digest().0;
    let wrong = u32::from_be_bytes([a, b, c, d]) as usize % entries.len();
    let entry = u32::from_le_bytes(entries[wrong]);
    entries[wrong] = entry.checked_sub(1).unwrap_or(1).to_le_bytes();
    let product = Product::new(bytes);
    Some(TaskOutput {
        output: product.digest(),
        proof: product.into(),
    })
}

/// The same work on another input, which is as long and has another result.
fn other_task(task: &Task) -> Task {
    let mut other = task.clone();
    if other.input.len() < 2 {
        other.input.push(1);
    }
    // The second byte of each word: of numbers in little-endian order, it changes the size by some thousands.
    for byte in other.input.iter_mut().skip(1).step_by(8) {
        *byte ^= 0x15;
    }
    other
}
