//! The physics on their own: libp2p over the wire, alloy over the wire to a chain, crashes and bad networks.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "time is virtual inside the runtime"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use alloy::network::Ethereum;
use alloy::primitives::U256;
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::{Config as SwarmConfig, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, Transport, noise, ping, yamux};
use madsim::runtime::{Handle, NodeHandle, Runtime};
use smartnodes_evm::chain::{Chain, ChainConfig};
use smartnodes_scenarios::{Latency, Percent};
use smartnodes_sim::chain_host::{ChainHost, RPC_PORT};
use smartnodes_sim::net::{Effect, Net, Rule};
use smartnodes_sim::rpc_transport::WireRpc;
use smartnodes_sim::trace::Trace;
use smartnodes_sim::wire::{Endpoint, Wire, WireStream};
use tokio::time::{Instant, sleep, timeout};

fn runtime() -> Runtime {
    Runtime::with_seed_and_config(1, madsim::Config::default())
}

/// A network with latencies from 20 to 30 ms that loses so many messages, and the record of it.
struct Lab {
    net: Net,
    trace: Trace,
}

fn lab(loss: u8, trace: &Trace) -> Lab {
    let latency = Latency {
        min: Duration::from_millis(20),
        max: Duration::from_millis(30),
    };
    let loss = Percent::from_whole(loss);
    Lab {
        net: Net::start(latency, loss),
        trace: trace.clone(),
    }
}

fn host(name: &str, ip: IpAddr, lab: &Lab) -> (NodeHandle, Endpoint) {
    let node = Handle::current().create_node().name(name).ip(ip).build();
    lab.trace.add_node(node.id(), name);
    let endpoint = Endpoint::new(name, ip, lab.net.clone(), lab.trace.clone());
    (node, endpoint)
}

fn swarm(endpoint: Endpoint, key: u8) -> Swarm<ping::Behaviour> {
    let key = Keypair::ed25519_from_bytes([key; 32]).unwrap();
    let transport = Wire::new(endpoint)
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    let behaviour = ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(1)));
    let config = SwarmConfig::with_executor(|task| drop(tokio::spawn(task)));
    Swarm::new(
        transport,
        behaviour,
        key.public().to_peer_id(),
        config.with_idle_connection_timeout(Duration::MAX),
    )
}

fn peer(key: u8) -> PeerId {
    Keypair::ed25519_from_bytes([key; 32])
        .unwrap()
        .public()
        .to_peer_id()
}

/// Two hosts ping each other; returns the round trips that the dialler measured.
async fn pings(lab: &Lab, count: usize) -> Vec<Duration> {
    let (listener, endpoint) = host("listener", [10, 0, 0, 1].into(), lab);
    listener.spawn(async move {
        let mut swarm = swarm(endpoint, 1);
        swarm
            .listen_on("/ip4/0.0.0.0/tcp/4001".parse().unwrap())
            .unwrap();
        loop {
            swarm.next().await;
        }
    });
    sleep(Duration::from_secs(1)).await;
    let (dialler, endpoint) = host("dialler", [10, 0, 0, 2].into(), lab);
    let measured = dialler.spawn(async move {
        let mut swarm = swarm(endpoint, 2);
        let address: Multiaddr = format!("/ip4/10.0.0.1/tcp/4001/p2p/{}", peer(1))
            .parse()
            .unwrap();
        swarm.dial(address.clone()).unwrap();
        let mut trips = Vec::new();
        while trips.len() < count {
            match swarm.next().await {
                Some(SwarmEvent::Behaviour(ping::Event { result, .. })) => {
                    trips.push(result.unwrap())
                }
                Some(SwarmEvent::OutgoingConnectionError { .. }) => {
                    swarm.dial(address.clone()).unwrap()
                }
                _ => {}
            }
        }
        trips
    });
    measured.await.unwrap()
}

#[test]
fn libp2p_runs_over_the_wire_and_every_message_is_on_record() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        trace.start();
        let trips = pings(&lab(0, &trace), 5).await;
        assert!(
            trips
                .iter()
                .all(|trip| (40..70).contains(&trip.as_millis())),
            "{trips:?}"
        );
        let recorded = trace.finish();
        let there = recorded.traffic[&("dialler".to_owned(), "listener".to_owned())];
        let back = recorded.traffic[&("listener".to_owned(), "dialler".to_owned())];
        assert!(
            there.messages >= 5 && back.messages >= 5 && there.bytes > there.messages,
            "{recorded:?}"
        );
        assert_eq!(recorded.lines, there.messages + back.messages);
    });
}

#[test]
fn a_lossy_wire_is_slow_and_loses_nothing() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        let trips = timeout(Duration::from_secs(600), pings(&lab(30, &trace), 20))
            .await
            .expect("all arrive");
        // Almost a third of all messages are sent again, some several times, and each wait is twice the one before, as TCP's.
        // (At a half, one in a hundred would take longer than a ping's patience.)
        assert!(trips.iter().any(|trip| trip.as_millis() > 70), "{trips:?}");
    });
}

#[test]
fn an_address_of_another_host_cannot_be_listened_on_and_a_foreign_one_not_dialled() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        let (node, endpoint) = host("host", [10, 0, 0, 1].into(), &lab(0, &trace));
        let checked = node.spawn(async move {
            let mut swarm = swarm(endpoint, 1);
            assert!(
                swarm
                    .listen_on("/ip4/10.0.0.9/tcp/1".parse().unwrap())
                    .is_err()
            );
            assert!(
                swarm
                    .listen_on("/ip4/10.0.0.1/udp/1/quic-v1".parse().unwrap())
                    .is_err()
            );
            swarm
                .listen_on("/ip4/10.0.0.1/tcp/4001".parse().unwrap())
                .unwrap();
            let SwarmEvent::NewListenAddr {
                address,
                listener_id,
            } = swarm.next().await.unwrap()
            else {
                panic!("it listens")
            };
            assert_eq!(address, "/ip4/10.0.0.1/tcp/4001".parse().unwrap());
            assert!(swarm.remove_listener(listener_id));
            assert!(!swarm.remove_listener(listener_id));
            let SwarmEvent::ExpiredListenAddr { .. } = swarm.next().await.unwrap() else {
                panic!("it ends")
            };
            let SwarmEvent::ListenerClosed { .. } = swarm.next().await.unwrap() else {
                panic!("it is closed")
            };
            // The port is free again.
            swarm
                .listen_on("/ip4/10.0.0.1/tcp/4001".parse().unwrap())
                .unwrap();
            let SwarmEvent::NewListenAddr { .. } = swarm.next().await.unwrap() else {
                panic!("it listens again")
            };
        });
        checked.await.unwrap();
    });
}

fn start_chain(lab: &Lab) -> (NodeHandle, ChainHost) {
    let (node, endpoint) = host("chain", [10, 0, 0, 1].into(), lab);
    let chain = ChainHost::new(Chain::new(ChainConfig::default()).unwrap(), Vec::new());
    node.spawn({
        let chain = chain.clone();
        async move { chain.run(endpoint, Duration::from_secs(2)).await.unwrap() }
    });
    (node, chain)
}

#[test]
fn alloy_speaks_to_a_chain_that_mines_on_virtual_time() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        let lab = lab(0, &trace);
        let (_, chain) = start_chain(&lab);
        let (node, endpoint) = host("client", [10, 0, 0, 2].into(), &lab);
        let asked = node.spawn(async move {
            sleep(Duration::from_secs(101)).await;
            let server = SocketAddr::new([10, 0, 0, 1].into(), RPC_PORT);
            let rpc = WireRpc::new(endpoint, server, Duration::from_secs(5));
            let provider = RootProvider::<Ethereum>::new(RpcClient::new(rpc, false));
            // Several at once, each with its own connection.
            let (id, head, balance) = futures::join!(
                async { provider.get_chain_id().await },
                async { provider.get_block_number().await },
                async { provider.get_balance(Default::default()).await },
            );
            assert_eq!(
                (id.unwrap(), head.unwrap(), balance.unwrap()),
                (31_337, 50, U256::ZERO)
            );
            let refused = provider
                .raw_request::<_, String>("eth_nonsense".into(), ())
                .await
                .unwrap_err();
            assert!(refused.to_string().contains("eth_nonsense"), "{refused}");
        });
        asked.await.unwrap();
        assert_eq!(
            chain.read(Chain::timestamp) - chain.read(|c| c.config().start_timestamp),
            100
        );
    });
}

#[test]
fn a_chain_that_is_away_is_an_error_in_time_and_back_again_afterwards() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        let lab = lab(0, &trace);
        let (server_node, _) = start_chain(&lab);
        let (node, endpoint) = host("client", [10, 0, 0, 2].into(), &lab);
        let server = SocketAddr::new([10, 0, 0, 1].into(), RPC_PORT);
        let rpc = WireRpc::new(endpoint, server, Duration::from_secs(5));
        let provider = RootProvider::<Ethereum>::new(RpcClient::new(rpc, false));
        let ask = |provider: RootProvider| {
            node.spawn(async move {
                let start = Instant::now();
                (
                    provider.get_block_number().await.map_err(|e| e.to_string()),
                    start.elapsed(),
                )
            })
        };
        sleep(Duration::from_secs(1)).await;
        assert!(ask(provider.clone()).await.unwrap().0.is_ok());
        // Silent: nothing comes back.
        Handle::current().pause(server_node.id());
        let (answer, took) = ask(provider.clone()).await.unwrap();
        assert!(answer.unwrap_err().contains("has not answered within 5s"));
        assert!((5..6).contains(&took.as_secs()), "{took:?}");
        Handle::current().resume(server_node.id());
        assert!(ask(provider.clone()).await.unwrap().0.is_ok());
        // Gone: refused at once, on a connection that was open too.
        Handle::current().kill(server_node.id());
        assert!(
            ask(provider.clone())
                .await
                .unwrap()
                .0
                .unwrap_err()
                .contains("cannot reach")
        );
    });
}

/// Two hosts with a connection, and what one end reads of what the other writes within a time.
async fn heard_within(reader: &mut WireStream, wait: Duration) -> Option<std::io::Result<u8>> {
    let mut byte = [0];
    let read = timeout(wait, reader.read(&mut byte)).await.ok()?;
    Some(read.map(|count| if count == 1 { byte[0] } else { 0 }))
}

fn cut(effect: Effect, back: bool) -> Rule {
    Rule {
        these: [IpAddr::from([10, 0, 0, 1])].into(),
        those: [IpAddr::from([10, 0, 0, 2])].into(),
        out: true,
        back,
        effect,
    }
}

#[test]
fn closed_links_hold_up_or_break_and_say_how_much() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        let lab = lab(0, &trace);
        let (_, one) = host("one", [10, 0, 0, 1].into(), &lab);
        let (_, two) = host("two", [10, 0, 0, 2].into(), &lab);
        let listener = two.listen(7).unwrap();
        let to = SocketAddr::new(two.address(), 7);
        let (dialled, accepted) = futures::join!(one.connect(to), listener.accept());
        let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap().0);
        let second = Duration::from_secs(1);

        // One way only: what goes there waits, what comes back passes.
        let rule = lab.net.add_rule(cut(Effect::Hold, false));
        dialled.write_all(b"a").await.unwrap();
        dialled.flush().await.unwrap();
        accepted.write_all(b"b").await.unwrap();
        accepted.flush().await.unwrap();
        assert!(heard_within(&mut accepted, second).await.is_none());
        assert_eq!(
            heard_within(&mut dialled, second).await.unwrap().unwrap(),
            b'b'
        );
        assert_eq!(lab.net.remove_rule(rule), 1);
        let later = Duration::from_secs(10);
        assert_eq!(
            heard_within(&mut accepted, later).await.unwrap().unwrap(),
            b'a'
        );

        // A dial over a silent link waits, and is made when the link opens.
        let rule = lab.net.add_rule(cut(Effect::Hold, true));
        let dial = one.connect(to);
        futures::pin_mut!(dial);
        assert!(timeout(second, &mut dial).await.is_err());
        lab.net.remove_rule(rule);
        assert!(timeout(later, &mut dial).await.unwrap().is_ok());

        // Loud: both ends break, and a dial is refused at once.
        let rule = lab.net.add_rule(cut(Effect::Refuse, true));
        for end in [&mut dialled, &mut accepted] {
            let broken = heard_within(end, second).await.unwrap().unwrap_err();
            assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(timeout(second, one.connect(to)).await.unwrap().is_err());
        assert!(lab.net.remove_rule(rule) > 2);
        assert!(one.connect(to).await.is_ok());

        // Nobody listens there.
        let nowhere = SocketAddr::new(two.address(), 8);
        let refused = one.connect(nowhere).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_narrow_link_takes_its_time_and_a_reader_that_sleeps_stops_its_writer() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        let lab = lab(0, &trace);
        let (_, one) = host("one", [10, 0, 0, 1].into(), &lab);
        let (_, two) = host("two", [10, 0, 0, 2].into(), &lab);
        let listener = two.listen(7).unwrap();
        let to = SocketAddr::new(two.address(), 7);
        let (dialled, accepted) = futures::join!(one.connect(to), listener.accept());
        let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap().0);
        let narrow = Effect::Shape {
            latency: None,
            loss: None,
            bandwidth: Some(10_000),
        };
        let rule = lab.net.add_rule(cut(narrow, true));
        let start = Instant::now();
        dialled.write_all(&[7; 50_000]).await.unwrap();
        dialled.flush().await.unwrap();
        let mut all = vec![0; 50_000];
        accepted.read_exact(&mut all).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 5);
        assert!(all.iter().all(|byte| *byte == 7));
        lab.net.remove_rule(rule);

        // Nobody reads: some megabytes are not taken in.
        let much = vec![9; 8 << 20];
        let writing = dialled.write_all(&much);
        futures::pin_mut!(writing);
        assert!(
            timeout(Duration::from_secs(60), &mut writing)
                .await
                .is_err()
        );
        let mut all = vec![0; 8 << 20];
        let (written, read) = futures::join!(writing, accepted.read_exact(&mut all[..7 << 20]));
        assert!(written.is_ok() && read.is_ok());
    });
}

#[test]
fn an_ended_process_sends_nothing_more() {
    let trace = Trace::new(None);
    runtime().block_on(async {
        let lab = lab(0, &trace);
        let (_, one) = host("one", [10, 0, 0, 1].into(), &lab);
        let (_, two) = host("two", [10, 0, 0, 2].into(), &lab);
        let listener = two.listen(7).unwrap();
        let to = SocketAddr::new(two.address(), 7);
        let (dialled, accepted) = futures::join!(one.connect(to), listener.accept());
        let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap().0);
        dialled.write_all(b"a").await.unwrap();
        one.cut_off();
        assert!(dialled.flush().await.is_err());
        drop(dialled);
        // The other end learns that it is over.
        let second = Duration::from_secs(1);
        assert_eq!(
            heard_within(&mut accepted, second).await.unwrap().unwrap(),
            0
        );
    });
}
