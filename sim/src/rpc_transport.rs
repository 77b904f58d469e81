//! The chain endpoint of a simulated node: alloy's transport, with JSON-RPC in frames on the simulated wire.
//!
//! Above it the node uses the same alloy provider as over HTTP. Requests may overlap; each has a connection for itself,
//! taken from those that an earlier request left, or opened anew.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use futures::FutureExt;
use tower::Service;

use crate::frame;
use crate::wire::{Endpoint, WireStream};

/// Connections kept for later requests.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// Carries requests from one host to the chain host. Clones share connections.
#[derive(Clone)]
pub struct WireRpc(Arc<Shared>);

struct Shared {
    local: Endpoint,
    server: SocketAddr,
    timeout: Duration,
    idle: Mutex<Vec<WireStream>>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
enum RpcError {
    #[error("cannot reach the chain endpoint {server}: {source}")]
    Unreachable {
        server: SocketAddr,
        source: io::Error,
    },
    #[error("the chain endpoint {server} has not answered within {timeout:?}")]
    TimedOut {
        server: SocketAddr,
        timeout: Duration,
    },
}

impl WireRpc {
    /// A transport from `local` to the server at `server`; a request fails when it takes longer than `timeout`.
    pub fn new(local: Endpoint, server: SocketAddr, timeout: Duration) -> WireRpc {
        WireRpc(Arc::new(Shared {
            local,
            server,
            timeout,
            idle: Mutex::default(),
        }))
    }
}

impl Shared {
    async fn exchange(&self, body: &[u8]) -> io::Result<Vec<u8>> {
        // A connection left by an earlier request may have died since; a new one tells for sure.
        let idle = self.lock().pop();
        if let Some(stream) = idle
            && let Ok(answer) = self.ask(stream, body).await
        {
            return Ok(answer);
        }
        self.ask(self.local.connect(self.server).await?, body).await
    }

    async fn ask(&self, mut stream: WireStream, body: &[u8]) -> io::Result<Vec<u8>> {
        frame::write(&mut stream, body).await?;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer");
        let answer = frame::read(&mut stream).await?.ok_or_else(closed)?;
        let mut idle = self.lock();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(stream);
        }
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<WireStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<RequestPacket> for WireRpc {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> TransportFut<'static> {
        let shared = self.0.clone();
        async move {
            let body = request.serialize().map_err(TransportError::ser_err)?;
            let (server, timeout) = (shared.server, shared.timeout);
            let answer =
                match tokio::time::timeout(timeout, shared.exchange(body.get().as_bytes())).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(source)) => {
                        return Err(TransportErrorKind::custom(RpcError::Unreachable {
                            server,
                            source,
                        }));
                    }
                    Err(_) => {
                        return Err(TransportErrorKind::custom(RpcError::TimedOut {
                            server,
                            timeout,
                        }));
                    }
                };
            let text = || String::from_utf8_lossy(&answer);
            serde_json::from_slice(&answer)
                .map_err(|error| TransportError::deser_err(error, text()))
        }
        .boxed()
    }
}
