//! Composition of the swarm: which behaviours, with which limits.

use std::num::NonZeroUsize;
use std::time::Duration;

use alloy::primitives::keccak256;
use futures::{AsyncRead, AsyncWrite};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, StoreInserts};
use libp2p::request_response::{self, ProtocolSupport, cbor};
use libp2p::swarm::{NetworkBehaviour, Swarm};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Transport, gossipsub, identify, noise, ping, yamux,
};

use super::NetworkError;
use super::handshake::Role;
use super::records::RECORD_BYTES_MAX;
use super::wire::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Request, Response};
use crate::identity::Identity;

/// A transport with authenticated peers and multiplexed streams: what the swarm runs on.
pub type BoxedTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// Time for Noise and Yamux to be negotiated on a new connection.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that nothing uses is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Largest gossiped receipt in bytes.
const GOSSIP_BYTES_MAX: usize = 256 * 1024;
/// Time for a DHT query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Replication factor of records: all nodes in a small network.
const REPLICATION: NonZeroUsize = NonZeroUsize::new(20).expect("not zero");

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
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) gossip: gossipsub::Behaviour,
    pub(super) requests: cbor::Behaviour<Request, Response>,
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
    let noise = noise::Config::new(&identity.network)
        .map_err(|error| NetworkError::Setup(format!("noise: {error}")))?;
    Ok(transport
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(UPGRADE_TIMEOUT)
        .boxed())
}

pub(super) fn build(
    transport: BoxedTransport,
    identity: &Identity,
    listen: &[Multiaddr],
    chain_id: u64,
    role: Role,
    settings: &P2pSettings,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(
            ConnectionLimits::default()
                .with_max_established(Some(settings.connections_max))
                .with_max_established_per_peer(Some(4))
                .with_max_pending_incoming(Some(64)),
        ),
        kad: kademlia(identity, chain_id)?,
        gossip: gossip(identity, chain_id, role, settings)?,
        requests: cbor::Behaviour::with_codec(
            cbor::codec::Codec::default()
                .set_request_size_maximum(REQUEST_BYTES_MAX)
                .set_response_size_maximum(RESPONSE_BYTES_MAX),
            [(protocol(chain_id, "direct")?, ProtocolSupport::Full)],
            request_response::Config::default().with_request_timeout(settings.request_timeout),
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
) -> Result<kad::Behaviour<MemoryStore>, NetworkError> {
    let store = MemoryStore::with_config(
        identity.peer_id(),
        MemoryStoreConfig {
            max_value_bytes: RECORD_BYTES_MAX,
            ..MemoryStoreConfig::default()
        },
    );
    let mut config = kad::Config::new(protocol(chain_id, "kad")?);
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_replication_factor(REPLICATION)
        // Nothing is kept before it is verified (`service`).
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_max_packet_size(RECORD_BYTES_MAX + 16 * 1024)
        .set_periodic_bootstrap_interval(Some(IDLE_TIMEOUT));
    let mut kad = kad::Behaviour::with_config(identity.peer_id(), store, config);
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
    // Only validators can verify a receipt, and a peer that forwards nothing would be a hole in the mesh.
    if role == Role::Validator {
        gossip
            .subscribe(&receipts_topic(chain_id))
            .map_err(|error| NetworkError::Setup(format!("gossip: {error}")))?;
    }
    Ok(gossip)
}
