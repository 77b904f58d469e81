//! The simulated wire: byte streams between hosts, for libp2p and for JSON-RPC, with every message on record.
//!
//! [`Wire`] is a libp2p transport of plain streams; the node puts Noise and Yamux on top as it does on real TCP. Under it
//! lies the simulated network ([`crate::net`]).

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::{Multiaddr, Protocol};

use crate::net::{Handle, Net};
use crate::trace::Trace;

/// Bytes that are sent without a flush: a writer of much need not keep all of it.
const SEGMENT_BYTES: usize = 64 * 1024;

/// A byte stream between two hosts. Each flush of written bytes is one message.
#[derive(Debug)]
pub struct WireStream {
    handle: Handle,
    local: Endpoint,
    remote: IpAddr,
    /// Bytes written and not yet sent.
    unsent: Vec<u8>,
    /// The process of the host that holds it.
    process: u64,
}

/// Who a host is on the wire, and where its messages are recorded. Clones are the same host.
#[derive(Clone)]
pub struct Endpoint(Arc<Place>);

struct Place {
    host: Arc<str>,
    address: IpAddr,
    net: Net,
    trace: Trace,
    /// Counts the host's processes: what an earlier one holds is dead.
    process: AtomicU64,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.0.host, self.0.address)
    }
}

impl Endpoint {
    /// The host `host` at `address` of a network.
    pub fn new(host: &str, address: IpAddr, net: Net, trace: Trace) -> Endpoint {
        trace.add_address(address, host);
        Endpoint(Arc::new(Place {
            host: host.into(),
            address,
            net,
            trace,
            process: AtomicU64::new(0),
        }))
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The host's address.
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// The network.
    pub fn net(&self) -> &Net {
        &self.0.net
    }

    /// The host's process has ended: whatever it still does sends nothing.
    pub fn cut_off(&self) {
        self.0.process.fetch_add(1, Ordering::Relaxed);
    }

    fn process(&self) -> u64 {
        self.0.process.load(Ordering::Relaxed)
    }

    fn stream(&self, handle: Handle, remote: IpAddr) -> WireStream {
        WireStream {
            handle,
            local: self.clone(),
            remote,
            unsent: Vec::new(),
            process: self.process(),
        }
    }

    /// Opens a stream to a port of another host.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<WireStream> {
        let handle = self.0.net.connect(self.0.address, to).await?;
        Ok(self.stream(handle, to.ip()))
    }

    /// Accepts streams on a port of this host; port 0 stands for any free one.
    pub fn listen(&self, port: u16) -> io::Result<WireListener> {
        let at = self.0.net.listen(SocketAddr::new(self.0.address, port))?;
        Ok(WireListener {
            at,
            local: self.clone(),
        })
    }
}

/// Accepts streams; dropping it closes the port.
#[derive(Debug)]
pub struct WireListener {
    at: SocketAddr,
    local: Endpoint,
}

impl WireListener {
    /// The next stream, and where it comes from.
    pub async fn accept(&self) -> io::Result<(WireStream, SocketAddr)> {
        let net = &self.local.0.net;
        let (handle, from) = std::future::poll_fn(|cx| net.poll_accept(self.at, cx)).await?;
        Ok((self.local.stream(handle, from.ip()), from))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.at.port()
    }
}

impl Drop for WireListener {
    fn drop(&mut self) {
        self.local.0.net.close_listener(self.at);
    }
}

impl WireStream {
    fn send(&mut self) -> io::Result<()> {
        if self.process != self.local.process() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let bytes = std::mem::take(&mut self.unsent);
        let length = bytes.len();
        self.handle.send(bytes)?;
        let place = &self.local.0;
        place.trace.sent(&place.host, self.remote, length);
        Ok(())
    }
}

impl AsyncRead for WireStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.handle.poll_read(cx, buf)
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unsent.len() >= SEGMENT_BYTES {
            futures::ready!(self.handle.poll_ready(cx))?;
            self.send()?;
        }
        let count = buf.len().min(SEGMENT_BYTES);
        self.unsent.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            futures::ready!(self.handle.poll_ready(cx))?;
            self.send()?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures::ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.handle.finish())
    }
}

/// libp2p's transport over the simulated wire, for addresses such as `/ip4/10.0.1.1/tcp/4001`.
pub struct Wire {
    local: Endpoint,
    listeners: Vec<Listener>,
    events: VecDeque<WireEvent>,
    waker: Option<Waker>,
}

type Upgrade = futures::future::Ready<io::Result<WireStream>>;
type WireEvent = TransportEvent<Upgrade, io::Error>;

struct Listener {
    id: ListenerId,
    /// The address told to others, once the port is known.
    announced: Option<Multiaddr>,
    incoming: BoxStream<'static, io::Result<Incoming>>,
}

#[allow(clippy::large_enum_variant, reason = "moved once, for each connection")]
enum Incoming {
    Listening(u16),
    Connection(WireStream, SocketAddr),
}

impl Wire {
    /// The transport of one host.
    pub fn new(local: Endpoint) -> Wire {
        Wire {
            local,
            listeners: Vec::new(),
            events: VecDeque::new(),
            waker: None,
        }
    }

    fn close(&mut self, index: usize, reason: io::Result<()>) {
        let Listener {
            id: listener_id,
            announced,
            ..
        } = self.listeners.remove(index);
        if let Some(listen_addr) = announced {
            self.events.push_back(TransportEvent::AddressExpired {
                listener_id,
                listen_addr,
            });
        }
        self.events.push_back(TransportEvent::ListenerClosed {
            listener_id,
            reason,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Transport for Wire {
    type Output = WireStream;
    type Error = io::Error;
    type ListenerUpgrade = Upgrade;
    type Dial = BoxFuture<'static, io::Result<WireStream>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        let Some(wanted) = socket_address(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        if !wanted.ip().is_unspecified() && wanted.ip() != self.local.address() {
            let message = format!("{} is not an address of {}", wanted.ip(), self.local.host());
            return Err(TransportError::Other(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                message,
            )));
        }
        let incoming = accepting(self.local.clone(), wanted.port()).boxed();
        self.listeners.push(Listener {
            id,
            announced: None,
            incoming,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let found = self.listeners.iter().position(|listener| listener.id == id);
        if let Some(index) = found {
            self.close(index, Ok(()));
        }
        found.is_some()
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        _: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        match socket_address(&addr) {
            Some(to) if to.port() != 0 && !to.ip().is_unspecified() => {
                let local = self.local.clone();
                Ok(async move { local.connect(to).await }.boxed())
            }
            _ => Err(TransportError::MultiaddrNotSupported(addr)),
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WireEvent> {
        let this = self.get_mut();
        if let Some(event) = this.events.pop_front() {
            return Poll::Ready(event);
        }
        for index in 0..this.listeners.len() {
            let listener = &mut this.listeners[index];
            match listener.incoming.poll_next_unpin(cx) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(Incoming::Listening(port)))) => {
                    let listen_addr = multiaddr(SocketAddr::new(this.local.address(), port));
                    listener.announced = Some(listen_addr.clone());
                    return Poll::Ready(TransportEvent::NewAddress {
                        listener_id: listener.id,
                        listen_addr,
                    });
                }
                Poll::Ready(Some(Ok(Incoming::Connection(stream, from)))) => {
                    return Poll::Ready(TransportEvent::Incoming {
                        listener_id: listener.id,
                        upgrade: futures::future::ready(Ok(stream)),
                        local_addr: listener.announced.clone().unwrap_or_else(Multiaddr::empty),
                        send_back_addr: multiaddr(from),
                    });
                }
                Poll::Ready(ended) => {
                    let reason = ended.map_or(Ok(()), |result| result.map(|_| ()));
                    this.close(index, reason);
                    let event = this
                        .events
                        .pop_front()
                        .expect("closing a listener leaves an event");
                    return Poll::Ready(event);
                }
            }
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Binds the port, tells of it, then accepts until the simulated host ends.
fn accepting(local: Endpoint, port: u16) -> impl Stream<Item = io::Result<Incoming>> {
    enum State {
        Bind,
        Accept(WireListener),
        End,
    }
    futures::stream::unfold((State::Bind, local), move |(state, local)| async move {
        let step = async {
            match state {
                State::Bind => {
                    let listener = local.listen(port).map_err(Some)?;
                    let bound = listener.port();
                    Ok((Incoming::Listening(bound), State::Accept(listener)))
                }
                State::Accept(listener) => {
                    let (stream, from) = listener.accept().await.map_err(Some)?;
                    Ok((Incoming::Connection(stream, from), State::Accept(listener)))
                }
                State::End => Err(None),
            }
        };
        match step.await {
            Ok((incoming, next)) => Some((Ok(incoming), (next, local))),
            Err(None) => None,
            Err(Some(error)) => Some((Err(error), (State::End, local))),
        }
    })
}

/// The address in `/ip4/…/tcp/…` or `/ip6/…/tcp/…`, with or without a peer's name behind it.
fn socket_address(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else {
        return None;
    };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}
