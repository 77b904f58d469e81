//! Where an actor stands: what its world gives it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use alloy::primitives::Address;
use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use smartnodes_node::clock::ChainClock;
use smartnodes_node::identity::Identity;
use smartnodes_node::p2p::{BoxedTransport, NetworkError, P2pSettings};
use smartnodes_node::signed::Domain;

use crate::Deeds;

/// A stream of bytes without any protocol on it.
pub trait RawStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> RawStream for T {}

/// The wire, as deep as an attacker gets.
pub trait RawWire: Send + Sync {
    /// A transport whose connections are authenticated under these keys.
    fn transport(&self, identity: &Identity) -> Result<BoxedTransport, NetworkError>;

    /// Opens a stream, and says nothing on it.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn RawStream>>>;

    /// The address on which others reach this host at a port.
    fn address(&self, port: u16) -> Multiaddr;
}

/// An honest node, as anyone can know it.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Where it is, its PeerId at the end.
    pub address: Multiaddr,
    /// Its PeerId.
    pub peer: PeerId,
    /// Its wallet.
    pub wallet: Address,
}

impl Victim {
    /// Where its port is, below all protocols.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        let mut parts = self.address.iter();
        let ip = match parts.next()? {
            Protocol::Ip4(ip) => ip.into(),
            Protocol::Ip6(ip) => ip.into(),
            _ => return None,
        };
        match parts.next()? {
            Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
            _ => None,
        }
    }
}

/// What an actor's world gives it.
#[derive(Clone)]
pub struct Stand {
    /// The keys of its host.
    pub identity: Identity,
    /// Further keys, for those who are many.
    pub crowd: Vec<Identity>,
    /// The wire.
    pub wire: Arc<dyn RawWire>,
    /// Honest validators.
    pub validators: Vec<Victim>,
    /// Honest workers.
    pub workers: Vec<Victim>,
    /// The deployment.
    pub domain: Domain,
    /// Chain time.
    pub clock: ChainClock,
    /// How chatty its swarms are, where they are a node's own.
    pub settings: P2pSettings,
    /// What it does.
    pub deeds: Deeds,
}

impl Stand {
    /// The addresses of all honest validators.
    pub(crate) fn bootstrap(&self) -> Vec<Multiaddr> {
        let validators = self.validators.iter();
        validators.map(|victim| victim.address.clone()).collect()
    }

    /// All honest nodes that listen.
    pub(crate) fn victims(&self) -> impl Iterator<Item = &Victim> {
        self.validators.iter().chain(&self.workers)
    }
}
