//! A peer that speaks the node's protocols byte by byte: what it sends need be no message.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::kad::{self, store::MemoryStore};
use libp2p::request_response::{self, Codec, Message, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{PeerId, StreamProtocol, identify, ping};
use smartnodes_node::identity::Identity;
use smartnodes_node::p2p::NetworkError;
use tokio::time::{Instant, sleep};

use crate::Stand;
use crate::stand::Victim;

/// Wait between two attacks on each victim.
const PACE: Duration = Duration::from_secs(1);
/// Wait before a peer that was turned away comes back.
const BACK_AFTER: Duration = Duration::from_secs(30);
/// Connections that nothing uses are kept for this time.
const IDLE: Duration = Duration::from_secs(3_600);
/// Bytes of a frame that are looked at.
const READ_BYTES: usize = 4 * 1024;
/// Wait between two bytes of a frame that trickles.
const TRICKLE: Duration = Duration::from_secs(5);
/// The port on which the first identity of a host listens; the others take those behind it.
pub(super) const FIRST_PORT: u16 = 4_001;

/// Sends whatever bytes it is given.
#[derive(Clone)]
pub(super) struct RawCodec {
    /// The first bytes at once and the rest one by one, slowly.
    trickles: bool,
}

async fn read_some(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; READ_BYTES];
    let read = stream.read(&mut bytes).await?;
    bytes.truncate(read);
    Ok(bytes)
}

impl Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_some(stream).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, stream: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_some(stream).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        if !self.trickles {
            return stream.write_all(&bytes).await;
        }
        let (head, rest) = bytes.split_at(bytes.len().min(4));
        stream.write_all(head).await?;
        for byte in rest {
            stream.flush().await?;
            sleep(TRICKLE).await;
            stream.write_all(&[*byte]).await?;
        }
        Ok(())
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        stream: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        stream.write_all(&bytes).await
    }
}

/// The protocols that a raw peer speaks.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) direct: request_response::Behaviour<RawCodec>,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    /// Tells victims that it takes part in the DHT.
    identify: identify::Behaviour,
    /// Who does not answer pings is not kept.
    ping: ping::Behaviour,
}

/// What a raw peer does with its connections.
pub(super) trait Conduct {
    /// Attacks a victim that is connected. `under_way` of its requests wait for an answer; the number of new ones is
    /// returned.
    fn attack(&mut self, behaviour: &mut Behaviour, victim: &Victim, under_way: usize) -> usize;

    /// What it says to a request; nothing if it keeps silent.
    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let _ = request;
        None
    }

    /// Somebody has asked its part of the DHT.
    fn looked_up(&mut self) {}
}

/// How a raw peer differs from others.
#[derive(Clone, Copy, Default)]
pub(super) struct Habits {
    /// Its frames come byte by byte.
    pub(super) trickles: bool,
    /// Its part of the DHT has those peers that it was given, and no others.
    pub(super) knows_only_told: bool,
}

/// A frame of direct requests: the length, then the body.
pub(super) fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body].concat()
}

/// A swarm of its own, and whom it is after.
pub(super) struct RawPeer {
    swarm: Swarm<Behaviour>,
    victims: Vec<Victim>,
    under_way: BTreeMap<PeerId, usize>,
    back_at: BTreeMap<PeerId, Instant>,
}

impl RawPeer {
    /// A peer with these keys, that is after these victims and listens on a port of its host.
    pub(super) fn new(
        stand: &Stand,
        identity: &Identity,
        victims: Vec<Victim>,
        port: u16,
        habits: Habits,
    ) -> Result<RawPeer, NetworkError> {
        let chain_id = stand.domain.chain_id;
        let protocol = |name: &str| {
            StreamProtocol::try_from_owned(format!("/smartnodes/{chain_id}/{name}/1"))
                .map_err(|error| NetworkError::Setup(error.to_string()))
        };
        let id = identity.peer_id();
        let mut config = kad::Config::new(protocol("kad")?);
        if habits.knows_only_told {
            config.set_kbucket_inserts(kad::BucketInserts::Manual);
        }
        let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), config);
        kad.set_mode(Some(kad::Mode::Server));
        let behaviour = Behaviour {
            direct: request_response::Behaviour::with_codec(
                RawCodec {
                    trickles: habits.trickles,
                },
                [(protocol("direct")?, ProtocolSupport::Full)],
                request_response::Config::default().with_request_timeout(IDLE),
            ),
            kad,
            identify: identify::Behaviour::new(
                identify::Config::new(
                    format!("/smartnodes/{chain_id}/1"),
                    identity.network.public(),
                )
                .with_interval(IDLE)
                .with_hide_listen_addrs(false),
            ),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(IDLE)),
        };
        let config = libp2p::swarm::Config::with_executor(|task| {
            tokio::spawn(task);
        })
        .with_idle_connection_timeout(IDLE);
        let transport = stand.wire.transport(identity)?;
        let mut swarm = Swarm::new(transport, behaviour, id, config);
        let address = stand.wire.address(port);
        swarm
            .listen_on(address.clone())
            .map_err(|error| NetworkError::Listen {
                address,
                reason: error.to_string(),
            })?;
        Ok(RawPeer {
            swarm,
            victims,
            under_way: BTreeMap::new(),
            back_at: BTreeMap::new(),
        })
    }

    /// The part of the DHT that it keeps.
    pub(super) fn kad(&mut self) -> &mut kad::Behaviour<MemoryStore> {
        &mut self.swarm.behaviour_mut().kad
    }

    /// Connects to its victims and attacks them, again and again.
    pub(super) async fn run(mut self, mut conduct: impl Conduct) {
        let mut next = Instant::now();
        loop {
            let turn = tokio::time::sleep_until(next);
            tokio::pin!(turn);
            loop {
                let event = tokio::select! {
                    biased;
                    () = &mut turn => break,
                    event = self.swarm.select_next_some() => event,
                };
                self.event(event, &mut conduct);
            }
            next = Instant::now() + PACE;
            self.turn(&mut conduct);
        }
    }

    fn turn(&mut self, conduct: &mut impl Conduct) {
        let now = Instant::now();
        for victim in &self.victims {
            if self.swarm.is_connected(&victim.peer) {
                let under_way = self.under_way.entry(victim.peer).or_default();
                *under_way += conduct.attack(self.swarm.behaviour_mut(), victim, *under_way);
            } else if self.back_at.get(&victim.peer).is_none_or(|at| *at <= now) {
                self.back_at.insert(victim.peer, now + BACK_AFTER);
                self.under_way.remove(&victim.peer);
                // An error means that it is being dialled already.
                let _ = self.swarm.dial(victim.address.clone());
            }
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>, conduct: &mut impl Conduct) {
        let event = match event {
            SwarmEvent::Behaviour(BehaviourEvent::Direct(event)) => event,
            SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::InboundRequest { .. })) => {
                return conduct.looked_up();
            }
            _ => return,
        };
        match event {
            request_response::Event::Message {
                message:
                    Message::Request {
                        channel, request, ..
                    },
                ..
            } => {
                if let Some(answer) = conduct.answer(&request) {
                    let direct = &mut self.swarm.behaviour_mut().direct;
                    // An error means that the other side has closed.
                    let _ = direct.send_response(channel, answer);
                }
            }
            request_response::Event::Message { peer, .. }
            | request_response::Event::OutboundFailure { peer, .. } => {
                if let Some(under_way) = self.under_way.get_mut(&peer) {
                    *under_way = under_way.saturating_sub(1);
                }
            }
            _ => {}
        }
    }
}
