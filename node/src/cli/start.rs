//! From a configuration to a running part of the node: runtime, endpoint, database, wire.

use std::{
    fs,
    net::{IpAddr, TcpListener},
    time::Duration,
};

use alloy::{rpc::client::RpcClient, transports::http::reqwest::Url};
use libp2p::{Multiaddr, dns, multiaddr::Protocol, tcp};
use redb::backends::FileBackend;

use super::{config::Loaded, error::CliError};
use crate::{
    chain::ChainClient,
    identity::Identity,
    node::{Node, NodeError, NodeParts},
    p2p::{BoxedTransport, upgrade},
    store::{Store, StoreError},
};

/// The node's database in its data directory.
const DATABASE: &str = "node.redb";
/// How long tasks may take to end when the program does.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Runs a command on a runtime of its own.
pub(super) fn block_on<T>(
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    // Fails only if a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::System(error.to_string()))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN);
    result
}

/// Clients for the configured endpoints. Nothing is sent yet.
pub(super) fn rpc(loaded: &Loaded) -> Result<Vec<RpcClient>, CliError> {
    loaded.rpc.iter().map(http).collect()
}

/// A client for an endpoint. Nothing is sent yet.
pub(super) fn http(url: &Url) -> Result<RpcClient, CliError> {
    let client = reqwest::Client::builder()
        .build()
        .map_err(|error| CliError::System(format!("HTTP client: {error}")))?;
    Ok(RpcClient::new_http_with_client(client, url.clone()))
}

/// Opens the database file.
pub(super) fn storage(loaded: &Loaded) -> Result<FileBackend, CliError> {
    let failed = |error: std::io::Error| {
        CliError::value(
            "data_dir",
            format!(
                "{}: {error}; check the path and its permissions",
                loaded.data_dir.display()
            ),
        )
    };
    fs::create_dir_all(&loaded.data_dir).map_err(failed)?;
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(loaded.data_dir.join(DATABASE))
        .map_err(failed)?;
    FileBackend::new(file).map_err(|error| {
        CliError::System(format!(
            "the database in {}: {error}",
            loaded.data_dir.display()
        ))
    })
}

/// Says of a database that another process holds who that is.
fn store_error(loaded: &Loaded, error: StoreError) -> CliError {
    match &error {
        StoreError::Database { source, .. }
            if matches!(**source, redb::Error::DatabaseAlreadyOpen) =>
        {
            CliError::InUse {
                path: loaded.data_dir.clone(),
            }
        }
        _ => CliError::Store(error),
    }
}

/// Connects to the chain with the node's own journal, so that its wallet has one owner.
pub(super) async fn chain(loaded: &Loaded, identity: &Identity) -> Result<ChainClient, CliError> {
    let store = Store::open(storage(loaded)?).map_err(|error| store_error(loaded, error))?;
    connect(loaded, identity, store).await
}

/// Connects to the chain to read only, beside a node that may be running.
pub(super) async fn chain_to_read(
    loaded: &Loaded,
    identity: &Identity,
) -> Result<ChainClient, CliError> {
    let store = Store::in_memory().map_err(CliError::Store)?;
    connect(loaded, identity, store).await
}

async fn connect(
    loaded: &Loaded,
    identity: &Identity,
    store: Store,
) -> Result<ChainClient, CliError> {
    let settings = loaded.node.chain.clone();
    ChainClient::connect(
        rpc(loaded)?,
        identity.wallet.clone(),
        loaded.deployment.clone(),
        store,
        settings,
    )
    .await
    .map_err(CliError::ConnectChain)
}

/// Starts the node.
pub(super) async fn node(loaded: &Loaded, identity: Identity) -> Result<Node, CliError> {
    check_ports(&loaded.node.listen)?;
    let parts = NodeParts {
        transport: transport(&identity)?,
        rpc: rpc(loaded)?,
        storage: storage(loaded)?,
        deployment: loaded.deployment.clone(),
        identity,
    };
    Node::start(loaded.node.clone(), parts)
        .await
        .map_err(|error| match error {
            NodeError::Store(error) => store_error(loaded, error),
            error => CliError::Start(error),
        })
}

/// Refuses ports that another program listens on. The transport would not notice: it shares ports (SO_REUSEPORT), and
/// each of two nodes would get some of the connections that are meant for the other.
fn check_ports(listen: &[Multiaddr]) -> Result<(), CliError> {
    for (place, address) in listen.iter().enumerate() {
        let mut parts = address.iter();
        let ip = match parts.next() {
            Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
            Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
            _ => continue,
        };
        if let Some(Protocol::Tcp(port)) = parts.next()
            && port != 0
            && let Err(error) = TcpListener::bind((ip, port))
        {
            let reason = format!(
                "cannot listen on {address}: {error}; choose another port, or stop what uses it"
            );
            return Err(CliError::value(format!("p2p.listen[{place}]"), reason));
        }
    }
    Ok(())
}

/// TCP with names resolved by the system, authenticated and encrypted by Noise.
fn transport(identity: &Identity) -> Result<BoxedTransport, CliError> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let named = dns::tokio::Transport::system(tcp)
        .map_err(|error| CliError::System(format!("the system's name resolution: {error}")))?;
    upgrade(named, identity).map_err(|error| CliError::Start(error.into()))
}

/// Ends when the program is asked to end: Ctrl-C or SIGTERM.
pub(super) async fn stop_signal() -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::System(format!("signals: {error}"));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::select! {
            biased;
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map_err(failed)
}
