//! The simulated wire: byte streams between hosts, for libp2p and for JSON-RPC, with every message on record.
//!
//! [`Wire`] is a libp2p transport of plain streams; the node puts Noise and Yamux on top as it does on real TCP. Under it
//! lies the simulator's TCP: messages of one connection arrive in order, each after a latency drawn from the scenario's
//! range, and a lost one is sent again after a growing wait.
//!
//! What it leaves out: bandwidth, back-pressure and half-closed connections. The end of a process is seen by its peers
//! at once.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::{Multiaddr, Protocol};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::trace::Trace;

/// A byte stream between two hosts. Each flush of written bytes is one message.
#[derive(Debug)]
pub struct WireStream {
    tcp: TcpStream,
    local: Endpoint,
    remote: IpAddr,
    /// Bytes written and not yet sent. The simulator's TCP sends a message at every flush, an empty one too.
    unsent: usize,
}

/// Who a host is on the wire, and where its messages are recorded.
#[derive(Clone)]
pub struct Endpoint {
    host: Arc<str>,
    address: IpAddr,
    trace: Trace,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.host, self.address)
    }
}

impl Endpoint {
    /// The host `host` at `address`.
    pub fn new(host: &str, address: IpAddr, trace: Trace) -> Endpoint {
        trace.add_address(address, host);
        Endpoint {
            host: host.into(),
            address,
            trace,
        }
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Opens a stream to a port of another host.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<WireStream> {
        let tcp = TcpStream::connect(to).await?;
        Ok(WireStream {
            tcp,
            local: self.clone(),
            remote: to.ip(),
            unsent: 0,
        })
    }

    /// Accepts streams on a port of this host, on all its addresses.
    pub async fn listen(&self, port: u16) -> io::Result<WireListener> {
        let tcp = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(WireListener {
            tcp,
            local: self.clone(),
        })
    }
}

/// Accepts streams.
#[derive(Debug)]
pub struct WireListener {
    tcp: TcpListener,
    local: Endpoint,
}

impl WireListener {
    /// The next stream, and where it comes from.
    pub async fn accept(&self) -> io::Result<(WireStream, SocketAddr)> {
        let (tcp, from) = self.tcp.accept().await?;
        Ok((
            WireStream {
                tcp,
                local: self.local.clone(),
                remote: from.ip(),
                unsent: 0,
            },
            from,
        ))
    }

    /// The port.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.tcp.local_addr()?.port())
    }
}

impl AsyncRead for WireStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        futures::ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = futures::ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.unsent += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent == 0 {
            return Poll::Ready(Ok(()));
        }
        futures::ready!(Pin::new(&mut self.tcp).poll_flush(cx))?;
        let bytes = std::mem::take(&mut self.unsent);
        self.local.trace.sent(&self.local.host, self.remote, bytes);
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures::ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
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
        if !wanted.ip().is_unspecified() && wanted.ip() != self.local.address {
            let message = format!("{} is not an address of {}", wanted.ip(), self.local.host);
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
                    let listen_addr = multiaddr(SocketAddr::new(this.local.address, port));
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
                    let listener = local.listen(port).await.map_err(Some)?;
                    let bound = listener.port().map_err(Some)?;
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
