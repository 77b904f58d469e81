//! The task that owns the swarm.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetRecordOk, QueryId, QueryResult, Quorum};
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message, OutboundRequestId};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, ping};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::records::{Record, RecordError};
use super::swarm::{Behaviour, BehaviourEvent, receipts_topic};
use super::wire::{Refusal, Response};
use super::{Command, Event, GossipTicket, RequestError, Responder};
use crate::clock::ChainClock;
use crate::signed::Domain;

/// Answers waited for at most; a request beyond fails at once.
const REQUESTS_MAX: usize = 4_096;

/// A query of the DHT under way: the values found so far, and who waits for them.
type Lookup = (QueryId, Vec<Vec<u8>>, oneshot::Sender<Vec<Vec<u8>>>);

pub(super) struct Service {
    swarm: Swarm<Behaviour>,
    domain: Domain,
    clock: ChainClock,
    events: mpsc::Sender<Event>,
    /// For responders. Weak, so that the task ends with the last handle.
    commands: mpsc::WeakSender<Command>,
    requests:
        BTreeMap<OutboundRequestId, (PeerId, oneshot::Sender<Result<Response, RequestError>>)>,
    lookups: Vec<Lookup>,
    connected: BTreeSet<PeerId>,
    topic: gossipsub::IdentTopic,
}

impl Service {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        domain: Domain,
        clock: ChainClock,
        events: mpsc::Sender<Event>,
        commands: mpsc::WeakSender<Command>,
    ) -> Self {
        Self {
            swarm,
            domain,
            clock,
            events,
            commands,
            requests: BTreeMap::new(),
            lookups: Vec::new(),
            connected: BTreeSet::new(),
            topic: receipts_topic(domain.chain_id),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event).await,
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Request {
                peer,
                request,
                answer,
            } => {
                if self.requests.len() >= REQUESTS_MAX {
                    let reason = format!("{REQUESTS_MAX} requests wait for answers already");
                    let _ = answer.send(Err(RequestError::NoAnswer { peer, reason }));
                    return;
                }
                let id = self
                    .swarm
                    .behaviour_mut()
                    .requests
                    .send_request(&peer, *request);
                self.requests.insert(id, (peer, answer));
            }
            Command::Respond { channel, response } => {
                // An error means that the peer has gone or has stopped waiting.
                let _ = self
                    .swarm
                    .behaviour_mut()
                    .requests
                    .send_response(channel, *response);
            }
            Command::Publish { data } => {
                let topic = self.topic.clone();
                if let Err(error) = self.swarm.behaviour_mut().gossip.publish(topic, data) {
                    // Peers pull what they missed (`roles::validator::sync`), so this is no loss.
                    debug!(%error, "gossip not published");
                }
            }
            Command::Judge { ticket, verdict } => {
                self.swarm
                    .behaviour_mut()
                    .gossip
                    .report_message_validation_result(&ticket.id, &ticket.source, verdict);
            }
            Command::Put { key, value } => {
                let record = kad::Record::new(key, value);
                if let Err(error) = self
                    .swarm
                    .behaviour_mut()
                    .kad
                    .put_record(record, Quorum::One)
                {
                    warn!(%error, "the record could not be stored here");
                }
            }
            Command::Get { key, answer } => {
                let id = self.swarm.behaviour_mut().kad.get_record(key);
                self.lookups.push((id, Vec::new(), answer));
            }
            Command::Dial { peer, addresses } => self.dial(peer, addresses),
            Command::Peers { answer } => {
                let _ = answer.send(self.connected.iter().copied().collect());
            }
            Command::Addresses { answer } => {
                let _ = answer.send(self.swarm.listeners().cloned().collect());
            }
        }
    }

    fn dial(&mut self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) {
        let named = addresses
            .iter()
            .find_map(|address| match address.iter().last() {
                Some(Protocol::P2p(peer)) => Some(peer),
                _ => None,
            });
        match peer.or(named) {
            Some(peer) => {
                for address in &addresses {
                    self.swarm
                        .behaviour_mut()
                        .kad
                        .add_address(&peer, address.clone());
                }
                if self.swarm.is_connected(&peer) {
                    return;
                }
                if let Err(error) = self
                    .swarm
                    .dial(DialOpts::peer_id(peer).addresses(addresses).build())
                {
                    debug!(%peer, %error, "not dialled");
                }
            }
            None => {
                for address in addresses {
                    if let Err(error) = self.swarm.dial(address.clone()) {
                        debug!(%address, %error, "not dialled");
                    }
                }
            }
        }
    }

    async fn emit(&mut self, event: Event) {
        // A closed channel means that the node is stopping; the command channel closes next.
        let _ = self.events.send(event).await;
    }

    async fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => {
                self.request_event(event).await
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.kad_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => {
                let ticket = GossipTicket {
                    id: message_id,
                    source: propagation_source,
                };
                self.emit(Event::Gossip {
                    data: message.data,
                    ticket,
                })
                .await;
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                let kad = &mut self.swarm.behaviour_mut().kad;
                if info
                    .protocols
                    .iter()
                    .any(|protocol| kad.protocol_names().contains(protocol))
                {
                    for address in info.listen_addrs {
                        kad.add_address(&peer_id, address);
                    }
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(error),
            })) => {
                debug!(%peer, %error, "the peer does not answer pings");
                self.swarm.close_connection(connection);
            }
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, ..
            } => {
                if let ConnectedPoint::Dialer { address, .. } = endpoint {
                    self.swarm
                        .behaviour_mut()
                        .kad
                        .add_address(&peer_id, address);
                }
                if self.connected.insert(peer_id) {
                    self.emit(Event::Connected(peer_id)).await;
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                self.connected.remove(&peer_id);
                self.emit(Event::Disconnected(peer_id)).await;
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                debug!(%peer, %error, "dialling failed");
            }
            SwarmEvent::ListenerError { error, .. } => warn!(%error, "a listener failed"),
            SwarmEvent::NewListenAddr { address, .. } => debug!(%address, "listening"),
            _ => {}
        }
    }

    async fn request_event(&mut self, event: request_response::Event<super::Request, Response>) {
        match event {
            request_response::Event::Message {
                peer,
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            } => {
                let Some(commands) = self.commands.upgrade() else {
                    return;
                };
                let responder = Responder { channel, commands };
                let event = Event::Request {
                    peer,
                    request,
                    responder,
                };
                if let Err(mpsc::error::TrySendError::Full(Event::Request { responder, .. })) =
                    self.events.try_send(event)
                {
                    let busy = Response::Refused(Refusal::Busy);
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .requests
                        .send_response(responder.channel, busy);
                }
            }
            request_response::Event::Message {
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                if let Some((_, answer)) = self.requests.remove(&request_id) {
                    let _ = answer.send(Ok(response));
                }
            }
            request_response::Event::OutboundFailure {
                request_id, error, ..
            } => {
                if let Some((peer, answer)) = self.requests.remove(&request_id) {
                    let _ = answer.send(Err(RequestError::NoAnswer {
                        peer,
                        reason: error.to_string(),
                    }));
                }
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                debug!(%peer, %error, "a request could not be answered");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn kad_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetRecord(result),
                step,
                ..
            } => {
                let Some(index) = self.lookups.iter().position(|(lookup, ..)| *lookup == id) else {
                    return;
                };
                if let Ok(GetRecordOk::FoundRecord(found)) = result {
                    self.lookups[index].1.push(found.record.value);
                }
                if step.last {
                    let (_, values, answer) = self.lookups.swap_remove(index);
                    let _ = answer.send(values);
                }
            }
            kad::Event::OutboundQueryProgressed {
                result: QueryResult::PutRecord(Err(error)),
                ..
            } => {
                debug!(%error, "the record reached no peer");
            }
            kad::Event::InboundRequest {
                request:
                    kad::InboundRequest::PutRecord {
                        source,
                        record: Some(record),
                        ..
                    },
            } => {
                if let Err(error) = self.keep(record) {
                    debug!(peer = %source, %error, "record refused");
                }
            }
            _ => {}
        }
    }

    /// Verifies a record that a peer wants kept here, and keeps it.
    fn keep(&mut self, record: kad::Record) -> Result<(), RecordError> {
        let new = Record::verify(&record.key, &record.value, &self.domain, self.clock.now())?;
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if let Some(kept) = store.get(&record.key)
            && let Ok(kept) = crate::signed::decode::<Record>(&kept.value)
            && !new.replaces(&kept)
        {
            return Err(RecordError::Stale);
        }
        if let Err(error) = store.put(record) {
            debug!(%error, "the record store is full");
        }
        Ok(())
    }
}
