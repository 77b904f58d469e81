//! Composition of the swarm: which behaviours, with which limits.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use alloy::primitives::keccak256;
use futures::{AsyncRead, AsyncWrite};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::kad::{self, StoreInserts};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, Swarm};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Transport, gossipsub, identify, noise, ping, yamux,
};

use super::NetworkError;
use super::codec::DirectCodec;
use super::guard::Guard;
use super::handshake::Role;
use super::limits::IN_FLIGHT_MAX;
use super::records::RECORD_BYTES_MAX;
use super::records::keeper::Keeper;
use super::score::BAN_POINTS;
use crate::identity::Identity;

/// A transport with authenticated peers and multiplexed streams: what the swarm runs on.
pub type BoxedTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// Time for Noise and Yamux to be negotiated on a new connection.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the first bytes of a request on its stream, and for the whole of a small one.
const FRAME_PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are being negotiated at once. Each costs some kilobytes; with too few, a handful of silent strangers
/// would keep everyone else waiting.
const PENDING_INBOUND_MAX: u32 = 512;
/// Streams on a connection. A peer can make each hold 256 KiB (Yamux's window) before any of it is looked at.
const STREAMS_MAX: usize = 128;
/// Direct requests on a connection, in both directions together.
const DIRECT_STREAMS_MAX: usize = 2 * IN_FLIGHT_MAX;
/// Streams of a connection on which the protocol is being negotiated.
const NEGOTIATING_STREAMS_MAX: usize = 64;
/// Time in which gossip that was wrong is forgotten by the mesh.
const GOSSIP_MEMORY: Duration = Duration::from_secs(3_600);
/// A connection that nothing uses is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Largest gossiped receipt in bytes.
const GOSSIP_BYTES_MAX: usize = 256 * 1024;
/// Time for a DHT query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Replication factor of records: all nodes in a small network.
const REPLICATION: NonZeroUsize = NonZeroUsize::new(20).expect("not zero");

/// Seconds after which a node hands the records that it keeps to the nodes that are closest to them. Who does so first spares
/// the others the trouble: they pass over what they have just been sent. So nodes that started together, as after a power
/// cut, must not all wait equally long, or each of them would send everything to all.
const REPLICATE_AFTER_SECONDS: Range<u64> = 3_600..2 * 3_600;

/// How chatty the network is. The defaults let a network idle cheaply over 8-hour rounds.
#[derive(Clone, Debug)]
pub struct P2pSettings {
    /// GossipSub heartbeat.
    pub gossip_heartbeat: Duration,
    /// Time between pings on a connection; a ping unanswered for a third of it closes the connection.
    pub ping_interval: Duration,
    /// Time for a peer to answer a request, its work included.
    pub request_timeout: Duration,
    /// Most connections in all.
    pub connections_max: u32,
}

impl Default for P2pSettings {
    fn default() -> Self {
        Self {
            gossip_heartbeat: Duration::from_secs(15),
            ping_interval: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            connections_max: 512,
        }
    }
}

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) guard: Guard,
    pub(super) kad: kad::Behaviour<Keeper>,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) requests: request_response::Behaviour<DirectCodec>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
}

/// Name of the gossip topic for receipts.
pub(super) fn receipts_topic(chain_id: u64) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(format!("/smartnodes/{chain_id}/receipts/1"))
}

fn protocol(chain_id: u64, name: &str) -> Result<StreamProtocol, NetworkError> {
    StreamProtocol::try_from_owned(format!("/smartnodes/{chain_id}/{name}/1"))
        .map_err(|error| NetworkError::Setup(error.to_string()))
}

/// Puts Noise (authentication, encryption) and Yamux (streams) on a raw stream transport.
pub fn upgrade<T>(transport: T, identity: &Identity) -> Result<BoxedTransport, NetworkError>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_MAX);
    let noise = noise::Config::new(&identity.network)
        .map_err(|error| NetworkError::Setup(format!("noise: {error}")))?;
    Ok(transport
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(UPGRADE_TIMEOUT)
        .boxed())
}

pub(super) fn build(
    transport: BoxedTransport,
    identity: &Identity,
    listen: &[Multiaddr],
    chain_id: u64,
    role: Role,
    keeper: Keeper,
    settings: &P2pSettings,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_established(Some(settings.connections_max))
                // A quarter is for peers that this node has chosen itself.
                .with_max_established_incoming(Some(settings.connections_max / 4 * 3))
                .with_max_established_per_peer(Some(4))
                .with_max_pending_incoming(Some(PENDING_INBOUND_MAX)),
        ),
        guard: Guard::default(),
        kad: kademlia(identity, chain_id, keeper)?,
        gossip: gossip(identity, chain_id, role, settings)?,
        requests: request_response::Behaviour::with_codec(
            DirectCodec::new(FRAME_PATIENCE),
            [(protocol(chain_id, "direct")?, ProtocolSupport::Full)],
            request_response::Config::default()
                .with_request_timeout(settings.request_timeout)
                .with_max_concurrent_streams(DIRECT_STREAMS_MAX),
        ),
        identify: identify::Behaviour::new(
            identify::Config::new(
                format!("/smartnodes/{chain_id}/1"),
                identity.network.public(),
            )
            .with_interval(IDLE_TIMEOUT)
            .with_hide_listen_addrs(false),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(settings.ping_interval)
                .with_timeout(settings.ping_interval / 3),
        ),
    };
    let config = libp2p::swarm::Config::with_executor(|task| {
        tokio::spawn(task);
    })
    .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX)
    .with_idle_connection_timeout(IDLE_TIMEOUT);
    let mut swarm = Swarm::new(transport, behaviour, identity.peer_id(), config);
    for address in listen {
        swarm
            .listen_on(address.clone())
            .map_err(|error| NetworkError::Listen {
                address: address.clone(),
                reason: error.to_string(),
            })?;
    }
    Ok(swarm)
}

fn kademlia(
    identity: &Identity,
    chain_id: u64,
    keeper: Keeper,
) -> Result<kad::Behaviour<Keeper>, NetworkError> {
    let mut config = kad::Config::new(protocol(chain_id, "kad")?);
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_replication_factor(REPLICATION)
        // Nothing is kept before it is verified (`service`).
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_max_packet_size(RECORD_BYTES_MAX + 16 * 1024)
        .set_replication_interval(Some(Duration::from_secs(rand::random_range(
            REPLICATE_AFTER_SECONDS,
        ))))
        .set_periodic_bootstrap_interval(Some(IDLE_TIMEOUT));
    let mut kad = kad::Behaviour::with_config(identity.peer_id(), keeper, config);
    kad.set_mode(Some(kad::Mode::Server));
    Ok(kad)
}

fn gossip(
    identity: &Identity,
    chain_id: u64,
    role: Role,
    settings: &P2pSettings,
) -> Result<gossipsub::Behaviour, NetworkError> {
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(settings.gossip_heartbeat)
        .validation_mode(gossipsub::ValidationMode::Strict)
        // A message is forwarded only after the receipt in it has been verified.
        .validate_messages()
        .message_id_fn(|message| gossipsub::MessageId::from(keccak256(&message.data).to_vec()))
        .max_transmit_size(GOSSIP_BYTES_MAX)
        .build()
        .map_err(|error| NetworkError::Setup(format!("gossip: {error}")))?;
    let mut gossip = gossipsub::Behaviour::new(
        gossipsub::MessageAuthenticity::Signed(identity.network.clone()),
        config,
    )
    .map_err(|error| NetworkError::Setup(format!("gossip: {error}")))?;
    let (params, thresholds) = gossip_score(chain_id, settings);
    gossip
        .with_peer_score(params, thresholds)
        .map_err(|error| NetworkError::Setup(format!("gossip score: {error}")))?;
    // Only validators can verify a receipt, and a peer that forwards nothing would be a hole in the mesh.
    if role == Role::Validator {
        gossip
            .subscribe(&receipts_topic(chain_id))
            .map_err(|error| NetworkError::Setup(format!("gossip: {error}")))?;
    }
    Ok(gossip)
}

/// How the mesh rates its peers. What is wrong with a message counts, and what this node holds against its sender
/// ([`super::score`]); how much a peer forwards does not, since receipts come rarely.
fn gossip_score(
    chain_id: u64,
    settings: &P2pSettings,
) -> (gossipsub::PeerScoreParams, gossipsub::PeerScoreThresholds) {
    // Counted no more often than the mesh is looked at, to idle cheaply. At least a second is asked for.
    let decay_interval = settings.gossip_heartbeat.max(Duration::from_secs(1));
    let decay = gossipsub::score_parameter_decay_with_base(GOSSIP_MEMORY, decay_interval, 0.01);
    let receipts = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // The square counts: nine messages that are wrong in themselves are the end.
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: decay,
        ..gossipsub::TopicScoreParams::default()
    };
    let params = gossipsub::PeerScoreParams {
        topics: [(receipts_topic(chain_id).hash(), receipts)].into(),
        app_specific_weight: 1.0,
        // Hosts are bounded by connections (`Guard`).
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: decay,
        slow_peer_weight: 0.0,
        decay_interval,
        decay_to_zero: 0.01,
        ..gossipsub::PeerScoreParams::default()
    };
    let ban = BAN_POINTS as f64;
    let thresholds = gossipsub::PeerScoreThresholds {
        gossip_threshold: -ban / 4.0,
        publish_threshold: -ban / 2.0,
        graylist_threshold: -ban * 0.8,
        accept_px_threshold: 0.0,
        opportunistic_graft_threshold: 0.0,
    };
    (params, thresholds)
}
