//! Keeps banned peers out, and the connections from any one host within bounds.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};

use libp2p::core::{Endpoint, transport::PortUse};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::bans::Bans;
use super::score::{Offence, Scores};
use crate::clock::ChainClock;
use crate::failpoint::sometimes;
use crate::store::{Store, StoreError};

/// Connections from one address that are being negotiated at once.
const PENDING_PER_IP_MAX: usize = 16;
/// Connections from one address, negotiated or not. Homes and offices share one.
const CONNECTIONS_PER_IP_MAX: usize = 64;

/// Why a connection is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// The peer is banned.
    #[error("peer {0} is banned for a time")]
    Banned(PeerId),
    /// Too many from one host.
    #[error(
        "there are {CONNECTIONS_PER_IP_MAX} connections, or {PENDING_PER_IP_MAX} unfinished ones, from {0} already"
    )]
    CrowdedHost(IpAddr),
}

/// Where a connection from outside comes from, and whether its peer is known yet.
struct Inbound {
    ip: IpAddr,
    established: bool,
}

/// The behaviour: no protocol of its own, only a say in who may connect.
#[derive(Default)]
pub(super) struct Guard {
    scores: Scores,
    /// Where bans are written down.
    bans: Option<Bans>,
    inbound: BTreeMap<ConnectionId, Inbound>,
    to_close: VecDeque<PeerId>,
    waker: Option<Waker>,
}

impl Guard {
    /// Bans whom the last run has banned, and writes bans down from now on.
    pub(super) fn remember(&mut self, store: Store, clock: ChainClock) -> Result<(), StoreError> {
        self.bans = Some(Bans::restore(store, clock, &mut self.scores)?);
        Ok(())
    }

    /// Holds an offence against a peer. `true` if it is banned for it now; its connections are closed then.
    pub(super) fn hold(&mut self, peer: PeerId, offence: Offence, now: Instant) -> bool {
        let banned = self.scores.hold(peer, offence, now);
        if banned {
            sometimes!("peer/banned");
            self.to_close.push_back(peer);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        banned
    }

    /// Points held against a peer.
    pub(super) fn points(&self, peer: &PeerId, now: Instant) -> u64 {
        self.scores.points(peer, now)
    }

    /// Whether a peer is banned: what of it is still under way is not to be handled.
    pub(super) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.scores.is_banned(peer, now)
    }

    /// Drops what time has settled, and writes bans down.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.scores.sweep(now);
        if let Some(bans) = &mut self.bans {
            bans.write_down(&self.scores, now);
        }
    }

    fn check_peer(&self, peer: PeerId) -> Result<(), ConnectionDenied> {
        if self.is_banned(&peer, Instant::now()) {
            return Err(ConnectionDenied::new(Denied::Banned(peer)));
        }
        Ok(())
    }

    /// Counts a connection from `remote`, unless there are too many. Loopback is the operator's own machine, on which a
    /// whole network may run.
    fn admit(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Denied> {
        let Some(ip) = ip_of(remote).filter(|ip| !ip.is_loopback()) else {
            return Ok(());
        };
        let (mut all, mut pending) = (0, 0);
        for other in self.inbound.values().filter(|other| other.ip == ip) {
            all += 1;
            pending += usize::from(!other.established);
        }
        if all >= CONNECTIONS_PER_IP_MAX || pending >= PENDING_PER_IP_MAX {
            return Err(Denied::CrowdedHost(ip));
        }
        let established = false;
        self.inbound.insert(connection, Inbound { ip, established });
        Ok(())
    }
}

/// The host in an address, if it names one.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_canonical()),
        _ => None,
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(connection, remote)
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(peer)?;
        if let Some(inbound) = self.inbound.get_mut(&connection) {
            inbound.established = true;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        peer.map_or(Ok(()), |peer| self.check_peer(peer))?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.inbound.remove(&closed.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.inbound.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(peer_id) = self.to_close.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::All,
            });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_host_cannot_take_all_connections() {
        let mut guard = Guard::default();
        let (crowd, other) = (
            address("/ip4/192.0.2.1/tcp/4000"),
            address("/ip6/2001:db8::1/tcp/1"),
        );
        let mut next = 0;
        let mut connection = || {
            next += 1;
            ConnectionId::new_unchecked(next)
        };
        for _ in 0..PENDING_PER_IP_MAX {
            assert_eq!(guard.admit(connection(), &crowd), Ok(()));
        }
        let ip = ip_of(&crowd).expect("an address with a host");
        let crowded = Err(Denied::CrowdedHost(ip));
        assert_eq!(guard.admit(connection(), &crowd), crowded);
        assert_eq!(guard.admit(connection(), &other), Ok(()));
        // An IPv4 host is the same host behind an IPv6 socket.
        let mapped = address("/ip6/::ffff:192.0.2.1/tcp/4000");
        assert_eq!(guard.admit(connection(), &mapped), crowded);

        let mut established = 0;
        while established < CONNECTIONS_PER_IP_MAX {
            for inbound in guard.inbound.values_mut() {
                established += usize::from(!inbound.established && inbound.ip == ip);
                inbound.established = true;
            }
            let mut free = PENDING_PER_IP_MAX;
            while free > 0 && guard.admit(connection(), &crowd).is_ok() {
                free -= 1;
            }
        }
        assert_eq!(established, CONNECTIONS_PER_IP_MAX);
        assert_eq!(guard.admit(connection(), &crowd), crowded);

        for _ in 0..10 * CONNECTIONS_PER_IP_MAX {
            assert_eq!(
                guard.admit(connection(), &address("/ip4/127.0.0.1/tcp/1")),
                Ok(())
            );
        }
    }

    #[test]
    fn a_banned_peer_is_refused_in_both_directions() {
        let mut guard = Guard::default();
        let peer = PeerId::random();
        assert!(guard.check_peer(peer).is_ok());
        let now = Instant::now();
        while !guard.hold(peer, Offence::BadRecord, now) {}
        assert_eq!(guard.to_close, [peer]);
        let here = address("/ip4/192.0.2.1/tcp/4000");
        let connection = ConnectionId::new_unchecked(1);
        let inbound = guard.handle_established_inbound_connection(connection, peer, &here, &here);
        let outbound =
            guard.handle_pending_outbound_connection(connection, Some(peer), &[], Endpoint::Dialer);
        for refused in [inbound.err(), outbound.err()] {
            let cause = refused.expect("refused").downcast::<Denied>();
            assert_eq!(cause.expect("our own reason"), Denied::Banned(peer));
        }
    }
}
