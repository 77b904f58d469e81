//! The libp2p swarm behind one handle: direct requests, gossip of receipts, and the DHT.
//!
//! [`Network::start`] spawns a task that owns the swarm. Everything in and out of it goes through bounded channels:
//! commands in, [`Event`]s out. What an event means is decided above, in `roles`.

mod bans;
mod codec;
mod guard;
pub mod handshake;
mod limits;
mod outbound;
pub mod records;
mod score;
mod service;
mod swarm;
pub mod wire;

use libp2p::gossipsub::{MessageAcceptance, MessageId};
use libp2p::kad::{self, RecordKey};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

pub use score::Offence;
pub use swarm::{BoxedTransport, P2pSettings, upgrade};
use wire::{Request, Response};

use crate::clock::ChainClock;
use crate::identity::Identity;
use crate::signed::Domain;
use crate::store::{Store, StoreError};
use records::keeper::Keeper;

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
    /// The records or bans of the last run cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
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
        /// Who signed the message, which need not be who forwarded it.
        origin: Option<PeerId>,
        /// Goes back with the verdict.
        ticket: GossipTicket,
    },
    /// Something that a peer wants kept in this node's part of the DHT, if the chain bears it out.
    Offered(Offer),
}

/// Something to be kept in this node's part of the DHT. All that can be verified without the chain has been.
#[derive(Debug)]
pub enum Offer {
    /// A record.
    Record {
        /// What it says.
        record: records::Record,
        /// As Kademlia has it.
        offered: kad::Record,
    },
    /// A worker says that it serves a network.
    Provider(kad::ProviderRecord),
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
    Standing {
        peer: PeerId,
        role: Option<handshake::Role>,
    },
    Report {
        peer: PeerId,
        offence: Offence,
    },
    Put {
        record: Box<records::Record>,
    },
    Find {
        key: RecordKey,
        answer: oneshot::Sender<Vec<records::Record>>,
    },
    Keep {
        offer: Box<Offer>,
    },
    Provide {
        key: RecordKey,
    },
    StopProviding {
        key: RecordKey,
    },
    Providers {
        key: RecordKey,
        answer: oneshot::Sender<Vec<PeerId>>,
    },
    Dial {
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    },
    Peers {
        answer: oneshot::Sender<Vec<PeerId>>,
    },
    /// From the service to itself: a request's turn has come.
    Wake,
    /// From the service to itself: time to forget, and to write down.
    Sweep,
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
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a node, each of a type of its own"
    )]
    /// Starts the swarm over `transport`, listening on `listen`, and returns its handle and its events.
    pub fn start(
        transport: BoxedTransport,
        identity: &Identity,
        role: handshake::Role,
        listen: &[Multiaddr],
        domain: Domain,
        clock: ChainClock,
        store: Store,
        settings: &P2pSettings,
    ) -> Result<(Self, mpsc::Receiver<Event>), NetworkError> {
        let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
        let (events, event_queue) = mpsc::channel(EVENTS_MAX);
        let keeper = Keeper::open(identity.peer_id(), &domain, clock.clone(), store.clone())?;
        let mut swarm = swarm::build(
            transport,
            identity,
            listen,
            domain.chain_id,
            role,
            keeper,
            settings,
        )?;
        let guard = &mut swarm.behaviour_mut().guard;
        guard.remember(store, clock.clone())?;
        let weak = commands.downgrade();
        let standing = role.into();
        let service = service::Service::new(swarm, domain, clock, events, weak, standing, settings);
        tokio::spawn(service.run(command_queue));
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

    /// Says what a peer has shown itself to be, or that it has lost its role: who has shown more may ask for more.
    pub async fn set_standing(&self, peer: PeerId, role: Option<handshake::Role>) {
        let _ = self.commands.send(Command::Standing { peer, role }).await;
    }

    /// Holds an offence against a peer. Peers that commit too many are banned for a time.
    pub async fn report(&self, peer: PeerId, offence: Offence) {
        let _ = self.commands.send(Command::Report { peer, offence }).await;
    }

    /// Puts a record of this node's own into the DHT, here and at the closest peers.
    pub async fn put_record(&self, record: &records::Record) {
        let record = Box::new(record.clone());
        let _ = self.commands.send(Command::Put { record }).await;
    }

    /// All different records found under a key that hold as far as can be told without the chain.
    pub async fn find_records(&self, key: RecordKey) -> Vec<records::Record> {
        let (answer, result) = oneshot::channel();
        let _ = self.commands.send(Command::Find { key, answer }).await;
        result.await.unwrap_or_default()
    }

    /// Keeps what a peer has offered, now that the chain has borne it out.
    pub async fn keep(&self, offer: Offer) {
        let offer = Box::new(offer);
        let _ = self.commands.send(Command::Keep { offer }).await;
    }

    /// Says in the DHT that this node serves a network, from now on until the node stops or withdraws.
    pub async fn serve_network(&self, name: &str) {
        let key = records::network_key(name);
        let _ = self.commands.send(Command::Provide { key }).await;
    }

    /// Says no longer that this node serves a network. What others have been told expires.
    pub async fn withdraw_from_network(&self, name: &str) {
        let key = records::network_key(name);
        let _ = self.commands.send(Command::StopProviding { key }).await;
    }

    /// Peers that say that they serve a network, in a fixed order.
    pub async fn network_workers(&self, name: &str) -> Vec<PeerId> {
        let (answer, result) = oneshot::channel();
        let key = records::network_key(name);
        let _ = self.commands.send(Command::Providers { key, answer }).await;
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

/// The record store as a node opens it, for whoever asks what it makes of a database.
#[cfg(test)]
pub(crate) fn open_keeper(
    local: PeerId,
    domain: &Domain,
    clock: ChainClock,
    store: Store,
) -> Result<(), StoreError> {
    Keeper::open(local, domain, clock, store).map(drop)
}

/// The same of bans.
#[cfg(test)]
pub(crate) fn open_bans(store: Store, clock: ChainClock) -> Result<(), StoreError> {
    bans::Bans::restore(store, clock, &mut score::Scores::default()).map(drop)
}
