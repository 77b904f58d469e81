//! The hostile peers. Each goes on for as long as the attack lasts, under the same identity: turned away, it comes back.

use std::{
    io,
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    kad::{self, Quorum, store::MemoryStore},
    multiaddr::Protocol,
    noise, ping,
    request_response::{self, Codec, Message, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use smartnodes_node::{
    keystore,
    p2p::{
        handshake::{Role, RoleStatement},
        records::node_key,
        wire::{Request, Response},
    },
    signed::{Domain, Signed, decode, encode},
};
use smartnodes_tests::chain_host::now;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

/// Requests that a hostile peer keeps under way.
const UNDER_WAY: usize = 16;
/// Wait before a peer that was turned away comes back.
const BACK_AFTER: Duration = Duration::from_millis(500);

/// What a hostile peer does.
#[derive(Clone, Copy, PartialEq)]
enum Malice {
    /// Sends frames of garbage.
    Malformed,
    /// Announces gigabytes, and sends until it is stopped.
    Oversized,
    /// Opens streams and connections, and sends almost nothing.
    Slow,
    /// Answers every handshake with an old statement, and sends an old request again and again.
    Replaying,
    /// Puts records into the DHT that nobody signed.
    Poisoning,
}

/// Starts so many peers of each kind.
pub fn attack(
    peers: &mut JoinSet<()>,
    address: &Multiaddr,
    domain: Domain,
    of_each_kind: usize,
    time: Duration,
) {
    let kinds = [
        Malice::Malformed,
        Malice::Oversized,
        Malice::Slow,
        Malice::Replaying,
        Malice::Poisoning,
    ];
    for malice in kinds {
        for _ in 0..of_each_kind {
            let hostile = Hostile::new(malice, address.clone(), domain);
            peers.spawn(hostile.run(time));
        }
    }
}

/// Writes whatever bytes it is given.
#[derive(Clone)]
struct RawCodec {
    trickles: bool,
}

async fn read_some(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4 * 1024];
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
        for byte in bytes {
            stream.write_all(&[byte]).await?;
            stream.flush().await?;
            sleep(Duration::from_secs(1)).await;
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

#[derive(NetworkBehaviour)]
struct Behaviour {
    direct: request_response::Behaviour<RawCodec>,
    kad: kad::Behaviour<MemoryStore>,
    /// Who does not answer pings is not kept.
    ping: ping::Behaviour,
}

struct Hostile {
    malice: Malice,
    address: Multiaddr,
    victim: PeerId,
    swarm: Swarm<Behaviour>,
    old_statement: Vec<u8>,
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

impl Hostile {
    fn new(malice: Malice, address: Multiaddr, domain: Domain) -> Hostile {
        let Some(Protocol::P2p(victim)) = address.iter().last() else {
            panic!("{address} names its peer")
        };
        let protocol = |name: &str| {
            StreamProtocol::try_from_owned(format!("/smartnodes/{}/{name}/1", domain.chain_id))
                .expect("a name")
        };
        let (direct, dht) = (protocol("direct"), protocol("kad"));
        let codec = RawCodec {
            trickles: malice == Malice::Slow,
        };
        let identity = keystore::generate();
        let swarm = SwarmBuilder::with_existing_identity(identity.network.clone())
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .expect("a transport")
            .with_behaviour(|key| {
                let id = key.public().to_peer_id();
                Behaviour {
                    direct: request_response::Behaviour::with_codec(
                        codec,
                        [(direct, ProtocolSupport::Full)],
                        request_response::Config::default(),
                    ),
                    kad: kad::Behaviour::with_config(
                        id,
                        MemoryStore::new(id),
                        kad::Config::new(dht),
                    ),
                    ping: ping::Behaviour::default(),
                }
            })
            .expect("a behaviour")
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(60))
            })
            .build();
        // All of it right, but made for another nonce.
        let body = RoleStatement {
            role: Role::Worker,
            wallet: identity.address(),
            networks: vec!["hash-chain".into()],
            capacity: 1,
            prover: identity.peer_id().to_bytes(),
            verifier: victim.to_bytes(),
            nonce: B256::ZERO,
            expires_at: now() + 100,
        };
        let statement = Signed::sign(body, &domain, &identity.wallet);
        Hostile {
            malice,
            address,
            victim,
            swarm,
            old_statement: frame(&encode(&Response::Role(Box::new(statement)))),
        }
    }

    async fn run(mut self, time: Duration) {
        let begin = Instant::now();
        let half_open = (self.malice == Malice::Slow)
            .then(|| tokio::spawn(half_open(self.address.clone(), time)));
        let mut tick = interval(Duration::from_millis(100));
        let mut under_way = 0;
        let mut back_at = begin;
        while begin.elapsed() < time {
            tokio::select! {
                biased;
                event = self.swarm.select_next_some() => match event {
                    SwarmEvent::Behaviour(BehaviourEvent::Direct(event)) => match event {
                        request_response::Event::Message {
                            message: Message::Request { channel, request, .. }, ..
                        } => {
                            if let Some(answer) = self.answer(&request) {
                                // An error means that the other side has closed.
                                let _ = self.swarm.behaviour_mut().direct.send_response(channel, answer);
                            }
                        }
                        request_response::Event::Message { .. }
                        | request_response::Event::OutboundFailure { .. } => under_way -= 1,
                        _ => {}
                    },
                    SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => {
                        back_at = Instant::now() + BACK_AFTER;
                    }
                    _ => {}
                },
                _ = tick.tick() => {
                    if self.swarm.is_connected(&self.victim) {
                        self.misbehave(&mut under_way);
                    } else if Instant::now() >= back_at {
                        back_at = Instant::now() + BACK_AFTER;
                        // An error means that it is being dialled already.
                        let _ = self.swarm.dial(self.address.clone());
                    }
                }
            }
        }
        if let Some(half_open) = half_open {
            half_open.await.expect("no panic");
        }
    }

    /// An answer to what the validator asks.
    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let asked = request.get(4..).map(decode::<Request>);
        match (self.malice, asked) {
            (Malice::Replaying, Some(Ok(Request::Role { .. }))) => Some(self.old_statement.clone()),
            (Malice::Malformed, _) => Some(frame(&[0xff; 1_000])),
            (Malice::Oversized, _) => Some(vec![0xff; 100_000]),
            _ => None,
        }
    }

    fn misbehave(&mut self, under_way: &mut usize) {
        let garbage: [u8; 32] = rand::random();
        let behaviour = self.swarm.behaviour_mut();
        if self.malice == Malice::Poisoning {
            let key = node_key(Address::from_slice(&garbage[..20]));
            let record = kad::Record::new(key, garbage.repeat(100));
            behaviour
                .kad
                .put_record_to(record, [self.victim].into_iter(), Quorum::One);
            return;
        }
        while *under_way < UNDER_WAY {
            let bytes = match self.malice {
                Malice::Malformed => frame(&garbage.repeat(30)),
                Malice::Oversized => vec![0xff; 1_000_000],
                // A large frame of which little comes.
                Malice::Slow => [&400_000u32.to_be_bytes()[..], &[0; 1_000]].concat(),
                Malice::Replaying => frame(&encode(&Request::Register)),
                Malice::Poisoning => return,
            };
            behaviour.direct.send_request(&self.victim, bytes);
            *under_way += 1;
        }
    }
}

/// Opens a connection again and again, says nothing or nonsense on it, and waits.
async fn half_open(address: Multiaddr, time: Duration) {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let port = port.expect("a TCP address");
    let begin = Instant::now();
    let mut held = Vec::new();
    while begin.elapsed() < time {
        if let Ok(Ok(mut stream)) = timeout(
            Duration::from_secs(1),
            TcpStream::connect(("127.0.0.1", port)),
        )
        .await
        {
            if held.len() % 2 == 1 {
                // An error means that the validator has closed it.
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
            }
            held.push(stream);
        }
        sleep(Duration::from_secs(1)).await;
    }
}
