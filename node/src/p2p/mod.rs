//! The libp2p swarm behind one handle: direct requests, gossip of receipts, and the DHT.
//!
//! [`Network::start`] spawns a task that owns the swarm. Everything in and out of it goes through bounded channels:
//! commands in, [`Event`]s out. What an event means is decided above, in `roles`.

pub mod handshake;
pub mod records;
mod service;
mod swarm;
pub mod wire;

use libp2p::gossipsub::{MessageAcceptance, MessageId};
use libp2p::kad::RecordKey;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

pub use swarm::{BoxedTransport, P2pSettings, upgrade};
use wire::{Request, Response};

use crate::clock::ChainClock;
use crate::identity::Identity;
use crate::signed::Domain;

/// Commands that may wait for the swarm's task.
const COMMANDS_MAX: usize = 256;
/// Events that may wait to be handled; requests beyond are answered [`wire::Refusal::Busy`].
const EVENTS_MAX: usize = 1_024;

/// Why the network cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}; choose another address or port in `listen`")]
    Listen {
        /// The address as configured.
        address: Multiaddr,
        /// The transport's words.
        reason: String,
    },
    /// A behaviour refuses its configuration.
    #[error("cannot set up the swarm: {0}")]
    Setup(String),
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No connection, no answer in time, or no common protocol.
    #[error("no answer from {peer}: {reason}")]
    NoAnswer {
        /// The peer asked.
        peer: PeerId,
        /// libp2p's words.
        reason: String,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Stopped,
}

/// Something that the swarm saw.
#[derive(Debug)]
pub enum Event {
    /// The first connection to a peer.
    Connected(PeerId),
    /// The last connection to a peer is gone.
    Disconnected(PeerId),
    /// A peer asks.
    Request {
        /// Who asks, authenticated by Noise.
        peer: PeerId,
        /// What.
        request: Request,
        /// Takes the answer.
        responder: Responder,
    },
    /// A gossiped receipt that awaits its verdict.
    Gossip {
        /// The bytes.
        data: Vec<u8>,
        /// Goes back with the verdict.
        ticket: GossipTicket,
    },
}

/// Takes the answer to one request. Dropped, the peer sees a failure at once.
#[derive(Debug)]
pub struct Responder {
    channel: libp2p::request_response::ResponseChannel<Response>,
    commands: mpsc::Sender<Command>,
}

impl Responder {
    /// Sends the answer.
    pub async fn send(self, response: Response) {
        // A failure here means that the node is stopping.
        let _ = self
            .commands
            .send(Command::Respond {
                channel: self.channel,
                response: Box::new(response),
            })
            .await;
    }
}

/// Names a gossiped message until its verdict.
#[derive(Debug)]
pub struct GossipTicket {
    id: MessageId,
    source: PeerId,
}

#[derive(Debug)]
enum Command {
    Request {
        peer: PeerId,
        request: Box<Request>,
        answer: oneshot::Sender<Result<Response, RequestError>>,
    },
    Respond {
        channel: libp2p::request_response::ResponseChannel<Response>,
        response: Box<Response>,
    },
    Publish {
        data: Vec<u8>,
    },
    Judge {
        ticket: GossipTicket,
        verdict: MessageAcceptance,
    },
    Put {
        key: RecordKey,
        value: Vec<u8>,
    },
    Get {
        key: RecordKey,
        answer: oneshot::Sender<Vec<Vec<u8>>>,
    },
    Dial {
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    },
    Peers {
        answer: oneshot::Sender<Vec<PeerId>>,
    },
    Addresses {
        answer: oneshot::Sender<Vec<Multiaddr>>,
    },
}

/// Handle on the swarm's task. Cheap to clone; the task ends when all handles are dropped.
#[derive(Clone, Debug)]
pub struct Network {
    commands: mpsc::Sender<Command>,
}

impl Network {
    /// Starts the swarm over `transport`, listening on `listen`, and returns its handle and its events.
    pub fn start(
        transport: BoxedTransport,
        identity: &Identity,
        role: handshake::Role,
        listen: &[Multiaddr],
        domain: Domain,
        clock: ChainClock,
        settings: &P2pSettings,
    ) -> Result<(Self, mpsc::Receiver<Event>), NetworkError> {
        let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
        let (events, event_queue) = mpsc::channel(EVENTS_MAX);
        let swarm = swarm::build(transport, identity, listen, domain.chain_id, role, settings)?;
        let weak = commands.downgrade();
        tokio::spawn(service::Service::new(swarm, domain, clock, events, weak).run(command_queue));
        Ok((Self { commands }, event_queue))
    }

    /// Asks `peer` and waits for the answer, dialling it if an address is known.
    pub async fn request(&self, peer: PeerId, request: Request) -> Result<Response, RequestError> {
        let (answer, result) = oneshot::channel();
        let command = Command::Request {
            peer,
            request: Box::new(request),
            answer,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_| RequestError::Stopped)?;
        result.await.map_err(|_| RequestError::Stopped)?
    }

    /// Gossips a receipt to all validators.
    pub async fn publish(&self, data: Vec<u8>) {
        let _ = self.commands.send(Command::Publish { data }).await;
    }

    /// Gives the verdict on a gossiped message: accepted ones are forwarded, rejected ones cost the sender its score.
    pub async fn judge(&self, ticket: GossipTicket, verdict: MessageAcceptance) {
        let _ = self.commands.send(Command::Judge { ticket, verdict }).await;
    }

    /// Puts a record into the DHT, here and at the closest peers.
    pub async fn put_record(&self, record: &records::Record) {
        let _ = self
            .commands
            .send(Command::Put {
                key: record.key(),
                value: record.encode(),
            })
            .await;
    }

    /// All values found under a key, unverified.
    pub async fn get_record(&self, key: RecordKey) -> Vec<Vec<u8>> {
        let (answer, result) = oneshot::channel();
        let _ = self.commands.send(Command::Get { key, answer }).await;
        result.await.unwrap_or_default()
    }

    /// Dials a peer at these addresses; with no peer given, whoever answers there.
    pub async fn dial(&self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) {
        let _ = self.commands.send(Command::Dial { peer, addresses }).await;
    }

    /// Peers connected now, in a fixed order.
    pub async fn peers(&self) -> Vec<PeerId> {
        let (answer, result) = oneshot::channel();
        let _ = self.commands.send(Command::Peers { answer }).await;
        result.await.unwrap_or_default()
    }

    /// Addresses on which the node listens.
    pub async fn addresses(&self) -> Vec<Multiaddr> {
        let (answer, result) = oneshot::channel();
        let _ = self.commands.send(Command::Addresses { answer }).await;
        result.await.unwrap_or_default()
    }
}
