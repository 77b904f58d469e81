//! The task that owns the swarm.

mod dht;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::MessageAcceptance;
use libp2p::kad::QueryId;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{InboundRequestId, OutboundRequestId};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, ping};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::limits::{Admission, Bucket, PeerMeter, Standing};
use super::outbound::{Answer, Outbound};
use super::score::Offence;
use super::swarm::{Behaviour, BehaviourEvent, P2pSettings, receipts_topic};
use super::{Command, Event, GossipTicket};
use crate::clock::ChainClock;
use crate::signed::Domain;
use dht::Lookup;

/// Time between two rounds of forgetting what is of no use any more, and of writing records down.
const SWEEP: Duration = Duration::from_secs(10);
/// A peer's meter is forgotten after this time without a request: its buckets are full again, and more.
const METER_IDLE: Duration = Duration::from_secs(600);
/// Most peers whose requests are metered; the longest idle give way.
const METERS_MAX: usize = 8_192;

pub(super) struct Service {
    swarm: Swarm<Behaviour>,
    domain: Domain,
    clock: ChainClock,
    events: mpsc::Sender<Event>,
    /// Connects and disconnects that wait for room among the events. Each connection adds two at most.
    outbox: VecDeque<Event>,
    /// For responders. Weak, so that the task ends with the last handle.
    commands: mpsc::WeakSender<Command>,
    outbound: Outbound,
    answers: BTreeMap<OutboundRequestId, (PeerId, Answer)>,
    /// Requests of peers that are being handled.
    inbound: BTreeMap<PeerId, BTreeSet<InboundRequestId>>,
    meters: BTreeMap<PeerId, PeerMeter>,
    lookups: Vec<(QueryId, Lookup)>,
    job_records: Bucket,
    connected: BTreeSet<PeerId>,
    topic: gossipsub::IdentTopic,
    /// When the next [`Command::Wake`] comes, if one is on its way.
    alarm: Option<Instant>,
}

impl Service {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        domain: Domain,
        clock: ChainClock,
        events: mpsc::Sender<Event>,
        commands: mpsc::WeakSender<Command>,
        standing: Standing,
        settings: &P2pSettings,
    ) -> Self {
        Self {
            swarm,
            domain,
            clock,
            events,
            outbox: VecDeque::new(),
            commands,
            outbound: Outbound::new(standing, settings.request_timeout),
            answers: BTreeMap::new(),
            inbound: BTreeMap::new(),
            meters: BTreeMap::new(),
            lookups: Vec::new(),
            job_records: Bucket::new(Instant::now()),
            connected: BTreeSet::new(),
            topic: receipts_topic(domain.chain_id),
            alarm: None,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let events = self.events.clone();
        self.sweep();
        loop {
            self.set_alarm();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                room = events.reserve(), if !self.outbox.is_empty() => match (room, self.outbox.pop_front()) {
                    (Ok(room), Some(event)) => room.send(event),
                    // Nobody handles events any more: the node is stopping.
                    _ => self.outbox.clear(),
                },
                event = self.swarm.select_next_some() => self.event(event),
            }
            self.send_due();
        }
        let behaviour = self.swarm.behaviour_mut();
        behaviour.kad.store_mut().flush();
        behaviour.guard.sweep(Instant::now());
    }

    /// Sees to it that [`Command::Wake`] comes when a request's turn does. A task sleeps instead of this one, which would
    /// have to set its timer again at each of its many turns.
    fn set_alarm(&mut self) {
        if let Some(at) = self.outbound.next(Instant::now())
            && self.alarm.is_none_or(|alarm| at < alarm)
        {
            self.alarm = Some(at);
            self.command_at(at, Command::Wake);
        }
    }

    /// Gives the service a command later.
    fn command_at(&self, at: Instant, command: Command) {
        let commands = self.commands.clone();
        tokio::spawn(async move {
            sleep_until(at).await;
            if let Some(commands) = commands.upgrade() {
                // An error means that the service has ended.
                let _ = commands.send(command).await;
            }
        });
    }

    /// Forgets what time has settled, and writes records down.
    fn sweep(&mut self) {
        let now = Instant::now();
        self.command_at(now + SWEEP, Command::Sweep);
        self.outbound.expire(now);
        self.swarm.behaviour_mut().guard.sweep(now);
        let keeper = self.swarm.behaviour_mut().kad.store_mut();
        keeper.sweep();
        keeper.flush();
        self.meters.retain(|peer, meter| {
            self.connected.contains(peer) || !meter.idle_for(METER_IDLE, now)
        });
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Request {
                peer,
                request,
                answer,
            } => self.outbound.push(peer, request, answer, Instant::now()),
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
            Command::Judge { ticket, verdict } => self.judge(&ticket, verdict),
            // Requests whose turn it is are sent after each command.
            Command::Wake => self.alarm = None,
            Command::Sweep => self.sweep(),
            Command::Standing { peer, role } => {
                let standing = role.map_or(Standing::Stranger, Standing::from);
                if let Some(meter) = self.meter(peer) {
                    meter.standing = standing;
                }
            }
            Command::Report { peer, offence } => self.hold(peer, offence),
            Command::Put { record } => self.put(&record),
            Command::Find { key, answer } => self.find(key, answer),
            Command::Keep { offer } => self.keep(*offer),
            Command::Provide { key } => self.provide(key),
            Command::StopProviding { key } => {
                self.swarm.behaviour_mut().kad.stop_providing(&key);
            }
            Command::Providers { key, answer } => self.find_providers(key, answer),
            Command::Dial { peer, addresses } => self.dial(peer, addresses),
            Command::Peers { answer } => {
                let _ = answer.send(self.connected.iter().copied().collect());
            }
            Command::Addresses { answer } => {
                let _ = answer.send(self.swarm.listeners().cloned().collect());
            }
        }
    }

    fn judge(&mut self, ticket: &GossipTicket, verdict: MessageAcceptance) {
        if matches!(verdict, MessageAcceptance::Reject) {
            self.hold(ticket.source, Offence::RejectedGossip);
        }
        self.swarm
            .behaviour_mut()
            .gossip
            .report_message_validation_result(&ticket.id, &ticket.source, verdict);
    }

    /// Holds an offence against a peer: its score falls, and at some point it is banned.
    fn hold(&mut self, peer: PeerId, offence: Offence) {
        let now = Instant::now();
        let behaviour = self.swarm.behaviour_mut();
        if behaviour.guard.hold(peer, offence, now) {
            info!(%peer, last = %offence, "peer banned for a time");
        } else {
            debug!(%peer, %offence, "held against a peer");
        }
        // Points are some thousands at most.
        let points = behaviour.guard.points(&peer, now) as f64;
        behaviour.gossip.set_application_score(&peer, -points);
    }

    /// What a peer has asked for. `None` if too many others are remembered.
    fn meter(&mut self, peer: PeerId) -> Option<&mut PeerMeter> {
        if self.meters.len() >= METERS_MAX && !self.meters.contains_key(&peer) {
            let connected = &self.connected;
            self.meters.retain(|peer, _| connected.contains(peer));
            if self.meters.len() >= METERS_MAX {
                return None;
            }
        }
        let now = Instant::now();
        Some(
            self.meters
                .entry(peer)
                .or_insert_with(|| PeerMeter::new(now)),
        )
    }

    /// Whether what a peer sends of this kind and size is within its allowance. A flood is held against it.
    fn admit(&mut self, peer: PeerId, kind: &'static str, bytes: usize) -> bool {
        let now = Instant::now();
        if self.swarm.behaviour().guard.is_banned(&peer, now) {
            return false;
        }
        match self.meter(peer).map(|meter| meter.admit(kind, bytes, now)) {
            Some(Admission::Granted) => true,
            Some(Admission::Refused) | None => false,
            Some(Admission::Flood) => {
                self.hold(peer, Offence::Flood);
                false
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
                self.add_addresses(&peer, &addresses);
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

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => self.request_event(event),
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
                self.gossiped(ticket, message.source, message.data);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                let kad = &self.swarm.behaviour().kad;
                if info
                    .protocols
                    .iter()
                    .any(|protocol| kad.protocol_names().contains(protocol))
                {
                    self.add_addresses(&peer_id, &info.listen_addrs);
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
                    self.add_addresses(&peer_id, &[address]);
                }
                if self.connected.insert(peer_id) {
                    self.outbox.push_back(Event::Connected(peer_id));
                    let points = self
                        .swarm
                        .behaviour()
                        .guard
                        .points(&peer_id, Instant::now());
                    let gossip = &mut self.swarm.behaviour_mut().gossip;
                    gossip.set_application_score(&peer_id, -(points as f64));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                self.connected.remove(&peer_id);
                self.inbound.remove(&peer_id);
                if let Some(meter) = self.meters.get_mut(&peer_id) {
                    // Who connects again shows its role again.
                    meter.standing = Standing::Stranger;
                }
                self.outbox.push_back(Event::Disconnected(peer_id));
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

    fn gossiped(&mut self, ticket: GossipTicket, origin: Option<PeerId>, data: Vec<u8>) {
        let admitted = self.admit(ticket.source, "gossip", data.len());
        let event = Event::Gossip {
            data,
            origin,
            ticket,
        };
        if !admitted {
            return self.ignore(event);
        }
        // What there is no room for is pulled later.
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.ignore(event);
        }
    }

    fn ignore(&mut self, event: Event) {
        if let Event::Gossip { ticket, .. } = event {
            self.judge(&ticket, MessageAcceptance::Ignore);
        }
    }
}
