//! Workers that cheat.

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
use smartnodes_node::work::{NETWORKS, Task};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::info;

use crate::Speaker;

/// Wait between two registrations with everyone connected.
const REGISTER: Duration = Duration::from_secs(5);
/// Tasks that it says it runs at once: more than anyone else has room for.
const CAPACITY: u32 = 64;

/// What a cheating worker does with a job's task. It takes no challenges, so that whatever it is paid it is paid for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// It returns the result of another task, properly signed: nothing short of doing the work again shows it.
    FalseResult,
    /// It accepts, and is at work for ever.
    Stall,
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
        };
        let task = tokio::spawn(actor.run(bootstrap, events));
        Ok(Self { network, task })
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
                let network = self.network.clone();
                tokio::spawn(async move { network.request(peer, Request::Register).await });
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
                    }) => responder.send(self.answer(peer, request).await).await,
                    Some(_) => {}
                    None => return,
                }
            }
        }
    }

    async fn answer(&self, peer: PeerId, request: Request) -> Response {
        match request {
            Request::Role { nonce } => self.speaker.answer(peer, nonce),
            Request::Offer { .. } => Response::Accepted,
            Request::Work(order) => self.work(*order).await,
            _ => Response::Refused(Refusal::NotServed),
        }
    }

    async fn work(&self, order: WorkOrder) -> Response {
        let WorkKind::Job { job, task, .. } = order.kind else {
            return Response::Refused(Refusal::Busy);
        };
        if self.misdeed == Misdeed::Stall {
            return Response::Working;
        }
        let Ok(output) = other_task(&order.task).execute().await else {
            return Response::Refused(Refusal::Busy);
        };
        let Identity { wallet, .. } = &self.speaker.identity;
        info!(%job, task, worker = %wallet.address(), "false result given");
        let result = Signed::sign(order.result(&output), &self.speaker.domain, wallet);
        Response::Work(Box::new(Answer { result, output }))
    }
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
