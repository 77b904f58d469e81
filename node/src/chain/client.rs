//! The client: settings, connection, and requests that are repeated when they fail.

use std::{sync::Arc, time::Duration};

use alloy::{
    network::Ethereum,
    primitives::{Address, B256, Bytes, keccak256},
    providers::{Provider, RootProvider},
    rpc::client::RpcClient,
    rpc::json_rpc::ErrorPayload,
    rpc::types::{TransactionInput, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolValue},
    transports::{RpcError, TransportErrorKind, TransportResult},
};
use smartnodes_evm::deployment::Deployment;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    endpoints::Endpoints, error::ChainError, journal::Journal, nonces::NonceOwner, revert::Reason,
};
use crate::store::Store;

/// How often each endpoint is tried before the chain counts as unreachable.
const REQUEST_ATTEMPTS: u32 = 5;

/// How patiently the client deals with the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSettings {
    /// How often a transaction's receipt is looked for. Also the wait before a failed request is
    /// repeated, which doubles with each further attempt.
    pub poll_interval: Duration,
    /// How long a transaction may wait for a block before it is sent again with higher fees.
    pub receipt_timeout: Duration,
    /// Blocks that must follow a transaction's block before it counts as done; 0: its own block is enough.
    pub confirmations: u64,
    /// How long one JSON-RPC request may take before it is repeated.
    pub request_timeout: Duration,
}

impl Default for ChainSettings {
    /// For a chain with a block every two seconds.
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            receipt_timeout: Duration::from_secs(30),
            confirmations: 2,
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// A node's access to the chain. Clones share it: there must be one for each wallet, because it owns the nonce.
#[derive(Clone)]
pub struct ChainClient {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) endpoints: Endpoints,
    pub(super) wallet: PrivateKeySigner,
    pub(super) deployment: Deployment,
    pub(super) settings: ChainSettings,
    pub(super) journal: Journal,
    /// Begins the journal keys of this wallet on this deployment, so that a data directory that is used with another
    /// one does not take its transactions for this one's.
    pub(super) scope: B256,
    pub(super) owner: Mutex<NonceOwner>,
}

impl ChainClient {
    /// Checks that the endpoints serve the deployment's chain and that the contracts are there, and reads the journal.
    /// One endpoint is asked at a time, the first at first; where it fails, the next is asked.
    pub async fn connect(
        rpc: Vec<RpcClient>,
        wallet: PrivateKeySigner,
        deployment: Deployment,
        store: Store,
        settings: ChainSettings,
    ) -> Result<Self, ChainError> {
        let identity = (
            deployment.chain_id,
            deployment.coordinator,
            deployment.deployed_at,
            deployment.start_time,
            wallet.address(),
        );
        let scope = keccak256(identity.abi_encode());
        let journal = Journal::new(store);
        let owner = NonceOwner::restore(&journal, scope)?;
        let client = Self {
            inner: Arc::new(Inner {
                endpoints: Endpoints::new(rpc),
                wallet,
                deployment,
                settings,
                journal,
                scope,
                owner: Mutex::new(owner),
            }),
        };
        client.check_deployment().await?;
        Ok(client)
    }

    async fn check_deployment(&self) -> Result<(), ChainError> {
        let deployment = self.deployment();
        self.check_endpoints().await?;
        let contracts = [
            ("Core", deployment.core),
            ("the Coordinator", deployment.coordinator),
            ("the token", deployment.token),
        ];
        for (contract, address) in contracts {
            let code = self
                .request("eth_getCode", |provider| async move {
                    provider.get_code_at(address).await
                })
                .await?;
            if code.is_empty() {
                return Err(ChainError::NoContract { contract, address });
            }
        }
        Ok(())
    }

    /// The wallet that signs this node's transactions.
    pub fn wallet(&self) -> &PrivateKeySigner {
        &self.inner.wallet
    }

    /// The wallet's address.
    pub fn address(&self) -> Address {
        self.inner.wallet.address()
    }

    /// The contracts.
    pub fn deployment(&self) -> &Deployment {
        &self.inner.deployment
    }

    /// The settings given to [`ChainClient::connect`].
    pub fn settings(&self) -> &ChainSettings {
        &self.inner.settings
    }

    /// Calls a view of the contract at `to`.
    pub(super) async fn view<C: SolCall>(
        &self,
        to: Address,
        call: C,
    ) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default()
            .to(to)
            .input(TransactionInput::new(call.abi_encode().into()));
        let data = self.eth_call(C::SIGNATURE, &request).await?;
        C::abi_decode_returns(&data).map_err(|error| ChainError::Response {
            method: C::SIGNATURE,
            reason: error.to_string(),
        })
    }

    /// `eth_call` on the latest block. A revert becomes [`ChainError::Reverted`], said of `what`.
    pub(super) async fn eth_call(
        &self,
        what: &str,
        request: &TransactionRequest,
    ) -> Result<Bytes, ChainError> {
        self.contract_request("eth_call", what, |provider| {
            let request = request.clone();
            async move { provider.call(request).await }
        })
        .await
    }

    /// Makes a request that a contract may refuse.
    pub(super) async fn contract_request<T, F>(
        &self,
        method: &'static str,
        what: &str,
        make: impl Fn(RootProvider<Ethereum>) -> F,
    ) -> Result<T, ChainError>
    where
        F: Future<Output = TransportResult<T>>,
    {
        match self.answer(method, make).await? {
            Ok(value) => Ok(value),
            Err(refusal) => Err(match Reason::of(&refusal) {
                Some(Reason { name, details }) => ChainError::Reverted {
                    what: what.to_owned(),
                    name,
                    details,
                },
                None => refused(method, refusal),
            }),
        }
    }

    /// Makes a request to which any error response is a failure.
    pub(super) async fn request<T, F>(
        &self,
        method: &'static str,
        make: impl Fn(RootProvider<Ethereum>) -> F,
    ) -> Result<T, ChainError>
    where
        F: Future<Output = TransportResult<T>>,
    {
        self.answer(method, make)
            .await?
            .map_err(|refusal| refused(method, refusal))
    }

    /// Makes a request until there is an answer, be it an error response; gives up after some attempts.
    pub(super) async fn answer<T, F>(
        &self,
        method: &'static str,
        make: impl Fn(RootProvider<Ethereum>) -> F,
    ) -> Result<Result<T, ErrorPayload>, ChainError>
    where
        F: Future<Output = TransportResult<T>>,
    {
        let mut backoff = self.inner.settings.poll_interval;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let limit = self.inner.settings.request_timeout;
            let Some((place, provider)) = self.inner.endpoints.current() else {
                return Err(ChainError::NoEndpoint);
            };
            let reason = match self.foreign(place).await {
                Some(reason) => reason,
                None => match timeout(limit, make(provider)).await {
                    Ok(Ok(value)) => return Ok(Ok(value)),
                    Ok(Err(RpcError::ErrorResp(payload))) if !payload.is_retry_err() => {
                        return Ok(Err(payload));
                    }
                    Ok(Err(RpcError::NullResp)) => {
                        return Err(ChainError::Response {
                            method,
                            reason: "null".to_owned(),
                        });
                    }
                    Ok(Err(RpcError::Transport(TransportErrorKind::NonRetryable(error))))
                        if self.inner.endpoints.count() == 1 =>
                    {
                        return Err(ChainError::Unreachable {
                            method,
                            attempts,
                            reason: error.to_string(),
                        });
                    }
                    // Also an answer that cannot be read: a proxy's error page, or a connection cut short.
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("no answer within {limit:?}"),
                },
            };
            if attempts == REQUEST_ATTEMPTS * self.inner.endpoints.count() as u32 {
                return Err(ChainError::Unreachable {
                    method,
                    attempts,
                    reason,
                });
            }
            debug!(
                method,
                attempts, reason, "the chain request failed, it is repeated"
            );
            self.inner.endpoints.leave(place);
            // Another endpoint is asked at once, the same one after a while.
            if (attempts as usize).is_multiple_of(self.inner.endpoints.count()) {
                sleep(backoff).await;
                backoff *= 2;
            }
        }
    }
}

fn refused(method: &'static str, payload: ErrorPayload) -> ChainError {
    ChainError::Rpc {
        method,
        code: payload.code,
        message: payload.message.into_owned(),
    }
}
