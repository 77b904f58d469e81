//! Peers that want nothing but service.

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, tcp};
use smartnodes_node::{
    clock::ChainClock,
    identity::Identity,
    keystore,
    p2p::{
        Event, Network, P2pSettings,
        handshake::{Role, RoleStatement, STATEMENT_LIFETIME_SECONDS},
        upgrade,
        wire::{Refusal, Request, Response},
    },
    signed::{Domain, Signed},
    store::Store,
};
use smartnodes_tests::chain_host::now;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// Wait between two requests of one peer.
const PACE: Duration = Duration::from_millis(20);
/// Wait between two arrivals.
const ARRIVAL_PACE: Duration = Duration::from_millis(300);
/// How long a peer may take to be served for the first time.
const PATIENCE: Duration = Duration::from_secs(20);

fn peer_of(address: &Multiaddr) -> PeerId {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => peer,
        _ => panic!("{address} names its peer"),
    }
}

/// A worker's statement.
fn statement(identity: &Identity, domain: &Domain, asker: PeerId, nonce: B256) -> Response {
    let body = RoleStatement {
        role: Role::Worker,
        wallet: identity.address(),
        networks: vec!["hash-chain".into()],
        capacity: 1,
        prover: identity.peer_id().to_bytes(),
        verifier: asker.to_bytes(),
        nonce,
        expires_at: now() + STATEMENT_LIFETIME_SECONDS,
    };
    Response::Role(Box::new(Signed::sign(body, domain, &identity.wallet)))
}

/// The node's own network layer, with the handshake of a worker.
struct Peer {
    id: PeerId,
    network: Network,
    answering: JoinHandle<()>,
}

impl Peer {
    fn start(domain: Domain) -> Peer {
        let identity = keystore::generate();
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        let transport = upgrade(tcp, &identity).expect("a transport");
        let store = Store::in_memory().expect("a store");
        let (network, mut events): (Network, mpsc::Receiver<Event>) = Network::start(
            transport,
            &identity,
            Role::Worker,
            &[],
            domain,
            ChainClock::new(now()),
            store,
            &P2pSettings::default(),
        )
        .expect("a network");
        let id = identity.peer_id();
        let answering = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Request {
                    peer,
                    request: Request::Role { nonce },
                    responder,
                } = event
                {
                    let answer = statement(&identity, &domain, peer, nonce);
                    responder.send(answer).await;
                }
            }
        });
        Peer {
            id,
            network,
            answering,
        }
    }

    /// Asks something harmless, and returns how long the answer took; `None` if there was none.
    async fn ask(&self, validator: PeerId) -> Option<Duration> {
        let begin = Instant::now();
        let request = Request::JobStatus {
            job: B256::repeat_byte(1),
        };
        match self.network.request(validator, request).await {
            Ok(Response::Refused(Refusal::NotFound)) => Some(begin.elapsed()),
            _ => None,
        }
    }

    /// Waits until the validator has seen who this is: strangers may ask less.
    async fn be_known(&self, validator: PeerId) {
        let known = async {
            while !matches!(
                self.network.request(validator, Request::Register).await,
                Ok(Response::Registered)
            ) {
                sleep(PACE).await;
            }
        };
        timeout(PATIENCE, known).await.expect("known in the end");
    }

    /// Asks until there is an answer.
    async fn arrive(&self, address: &Multiaddr) -> Option<Duration> {
        let begin = Instant::now();
        let validator = peer_of(address);
        let served = async {
            loop {
                self.network.dial(None, vec![address.clone()]).await;
                if self.ask(validator).await.is_some() {
                    return begin.elapsed();
                }
                sleep(PACE).await;
            }
        };
        timeout(PATIENCE, served).await.ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// Peers that were there before the attack.
pub struct Peers {
    validator: PeerId,
    peers: Vec<Peer>,
}

impl Peers {
    /// Connects so many peers.
    pub async fn join(address: &Multiaddr, domain: Domain, number: usize) -> Peers {
        let peers: Vec<Peer> = (0..number).map(|_| Peer::start(domain)).collect();
        let validator = peer_of(address);
        for peer in &peers {
            peer.arrive(address).await.expect("an undisturbed arrival");
            peer.be_known(validator).await;
        }
        Peers { validator, peers }
    }

    /// Every peer asks at a steady pace, and must get every answer.
    pub async fn ask_for(&mut self, time: Duration) -> Vec<Duration> {
        let begin = Instant::now();
        let validator = self.validator;
        let asking = self.peers.iter().map(|peer| async move {
            let mut times = Vec::new();
            while begin.elapsed() < time {
                times.push(peer.ask(validator).await.expect("an honest peer is served"));
                sleep(PACE).await;
            }
            times
        });
        futures::future::join_all(asking)
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    /// Their names.
    pub fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.iter().map(|peer| peer.id)
    }
}

/// Peers that come while the attack goes on: how long each took from nothing to its first answer.
pub async fn arrivals(address: Multiaddr, domain: Domain, time: Duration) -> Vec<Duration> {
    let begin = Instant::now();
    let mut arriving = JoinSet::new();
    while begin.elapsed() < time {
        let address = address.clone();
        arriving.spawn(async move {
            let peer = Peer::start(domain);
            peer.arrive(&address)
                .await
                .expect("every honest peer is served in the end")
        });
        sleep(ARRIVAL_PACE).await;
    }
    arriving.join_all().await
}
