//! The simulated network: connections between hosts, and the one courier that brings every message at its time.
//!
//! ```text
//!   WireStream ── send ──► links: how long? ──► agenda ── courier ──► WireStream of the other host
//!                             │                                           (wakes its reader)
//!                             └─ held while a link is closed, released when it opens
//! ```
//!
//! Connections behave as TCP's do: bytes arrive in order, a lost message holds up those behind it, a silent link keeps
//! messages until it opens or the sender gives up, a reset breaks both ends, a reader that does not read stops its
//! writer. The other end of a process that has ended learns of it one travel time later.

mod links;
mod state;

pub use links::{Effect, Rule};

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use smartnodes_scenarios::{Latency, Percent};
use tokio::sync::{Notify, oneshot};

use self::links::Links;
use self::state::{Packet, State};
use crate::trace::Trace;

/// The network of a run. Clones are the same network.
#[derive(Clone)]
pub struct Net(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// An event comes before the one that the courier sleeps for.
    sooner: Notify,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    connection: u64,
    /// Which end: the dialler's is 0, the listener's 1.
    side: usize,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

impl Net {
    /// A network in which messages usually travel for so long, and get lost so often. Its courier belongs to the host that
    /// calls, which must not end.
    pub fn start(latency: Latency, loss: Percent) -> Net {
        let net = Net(Arc::new(Shared {
            state: Mutex::new(State::new(Links::new(latency, loss))),
            sooner: Notify::new(),
        }));
        tokio::spawn(net.clone().courier());
        net
    }

    /// Brings messages until the run ends.
    async fn courier(self) {
        loop {
            let sooner = self.0.sooner.notified();
            let next = self.lock().run_due(Trace::now());
            match next {
                None => sooner.await,
                Some(at) => {
                    let wait = at.saturating_sub(Trace::now());
                    tokio::select! {
                        biased;
                        () = sooner => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// Changes something, and lets the courier know where that makes an event that comes before all others.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (changed, sooner) = {
            let mut state = self.lock();
            let before = state.next_event();
            let changed = change(&mut state);
            let after = state.next_event();
            (
                changed,
                after.is_some() && (before.is_none() || after < before),
            )
        };
        if sooner {
            self.0.sooner.notify_one();
        }
        changed
    }

    /// Puts a rule in force; returns its number. Where it refuses, connections between the two sides break at once.
    pub fn add_rule(&self, rule: Rule) -> u64 {
        self.change(|state| state.add_rule(rule))
    }

    /// Ends a rule; messages that only it held up travel on. Says how many messages and connections it has concerned.
    pub fn remove_rule(&self, id: u64) -> u64 {
        self.change(|state| state.remove_rule(id, Trace::now()))
    }

    /// Breaks all connections between the two sides, and says how many there were.
    pub fn reset(&self, these: &BTreeSet<IpAddr>, those: &BTreeSet<IpAddr>) -> u64 {
        self.change(|state| state.reset(these, those))
    }

    pub(crate) async fn connect(&self, from: IpAddr, to: SocketAddr) -> io::Result<Handle> {
        let (done, answer) = oneshot::channel();
        let end = self.change(|state| state.dial(from, to, done, Trace::now()));
        let handle = Handle {
            net: self.clone(),
            end,
        };
        match answer.await {
            Ok(Ok(())) => Ok(handle),
            Ok(Err(kind)) => Err(io::Error::new(kind, "the connection was not made")),
            Err(_) => Err(ErrorKind::ConnectionAborted.into()),
        }
    }

    pub(crate) fn listen(&self, at: SocketAddr) -> io::Result<SocketAddr> {
        self.lock().listen(at)
    }

    pub(crate) fn close_listener(&self, at: SocketAddr) {
        self.change(|state| state.close_listener(at, Trace::now()));
    }

    pub(crate) fn poll_accept(
        &self,
        at: SocketAddr,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Handle, SocketAddr)>> {
        let accepted = self.lock().poll_accept(at, cx.waker());
        accepted.map_ok(|(end, from)| {
            let net = self.clone();
            (Handle { net, end }, from)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a connection, as its owner holds it: dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Handle {
    net: Net,
    end: End,
}

impl Handle {
    /// Takes bytes that have arrived; none at the end.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.net.lock().poll_read(self.end, cx.waker(), buf)
    }

    /// Whether more may be sent now: the other side may have to read first.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net.lock().poll_ready(self.end, cx.waker())
    }

    /// Sends bytes as one message.
    pub(crate) fn send(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.net
            .change(|state| state.send(self.end, Packet::Data(bytes), Trace::now()))
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.net
            .change(|state| state.send(self.end, Packet::Finish, Trace::now()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.net.change(|state| state.leave(self.end, Trace::now()));
    }
}
