//! Somebody with a wallet and a JSON-RPC endpoint: signs, sends, and waits until the chain has it.

use std::sync::Arc;
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use alloy::transports::{TransportError, TransportErrorKind};
use smartnodes_evm::chain::{CallError, Chain, ChainError};
use smartnodes_evm::deployment::Deployment;
use smartnodes_evm::names;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Troupe;
use super::error::ActError;
use crate::chain_host::ChainHost;
use crate::rpc_transport::WireRpc;
use crate::wire::Endpoint;

/// The name of the error with which a transaction failed.
fn error_name(error: &CallError) -> String {
    match error {
        CallError::Reverted(reverted) => names::error(&reverted.data),
        other => other.to_string(),
    }
}

/// Gas of a transaction: more than any act needs, for one that fails cannot be estimated.
const GAS: u64 = 4_000_000;
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait between two looks at the chain.
const LOOK: Duration = Duration::from_secs(1);
/// Blocks on top of a transaction's own before it is believed.
const DEPTH: u64 = 2;
/// Looks for a receipt after the wallet's nonce is used, before the transaction counts as pushed aside by one of the node's.
const LOOKS_WITHOUT_RECEIPT: u32 = 6;

/// Somebody who acts on chain. Clones share the endpoint.
#[derive(Clone)]
pub(super) struct Person(Arc<Inner>);

struct Inner {
    rpc: RootProvider,
    chain: ChainHost,
    deployment: Deployment,
}

/// A transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its hash.
    pub(super) hash: B256,
    /// The contract that it has created.
    pub(super) created: Option<Address>,
    /// The name of the error with which it failed; `None` if it succeeded.
    pub(super) reverted: Option<String>,
}

impl Person {
    pub(super) fn new(endpoint: Endpoint, troupe: &Troupe) -> Person {
        let wire = WireRpc::new(endpoint, troupe.rpc, REQUEST_TIMEOUT);
        Person(Arc::new(Inner {
            rpc: RootProvider::new(RpcClient::new(wire, false)),
            chain: troupe.chain.clone(),
            deployment: troupe.deployment.clone(),
        }))
    }

    pub(super) fn deployment(&self) -> &Deployment {
        &self.0.deployment
    }

    pub(super) fn chain(&self) -> &ChainHost {
        &self.0.chain
    }

    pub(super) fn rpc(&self) -> &RootProvider {
        &self.0.rpc
    }

    /// Reads a view of a contract as it is now.
    pub(super) fn read<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
    ) -> Result<C::Return, ChainError> {
        self.0.chain.read(|chain| chain.read(contract, call))
    }

    /// Waits until a view of the contracts says so.
    pub(super) async fn until(
        &self,
        mut holds: impl FnMut(&Person) -> Result<bool, ActError>,
    ) -> Result<(), ActError> {
        while !holds(self)? {
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until the chain's time has come to `timestamp`.
    pub(super) async fn until_time(&self, timestamp: u64) {
        while self.0.chain.read(Chain::timestamp) < timestamp {
            sleep(LOOK).await;
        }
    }

    /// Has a wallet call a contract.
    pub(super) async fn call<C: SolCall>(
        &self,
        wallet: &PrivateKeySigner,
        contract: Address,
        call: &C,
    ) -> Result<Sent, ActError> {
        let input = call.abi_encode().into();
        self.send(wallet, TxKind::Call(contract), input, U256::ZERO)
            .await
    }

    /// Has a wallet send a transaction, and waits until it is deep enough in the chain. One that the node's own transaction
    /// of the same nonce pushes aside is sent again.
    pub(super) async fn send(
        &self,
        wallet: &PrivateKeySigner,
        to: TxKind,
        input: Bytes,
        value: U256,
    ) -> Result<Sent, ActError> {
        loop {
            match self.attempt(wallet, to, input.clone(), value).await {
                Ok(Some(sent)) => return Ok(sent),
                Ok(None) => {
                    info!(wallet = %wallet.address(), "the nonce went to another transaction")
                }
                Err(TransportError::LocalUsageError(error)) => {
                    return Err(ActError::Sign(error.to_string()));
                }
                Err(TransportError::ErrorResp(payload)) => {
                    // Between the question for the nonce and the answer to the transaction the node may be faster.
                    let races = ["nonce too low", "underpriced", "already known"];
                    if !races.iter().any(|race| payload.message.contains(race)) {
                        return Err(ActError::Refused(payload.message.into_owned()));
                    }
                }
                Err(error) => warn!(%error, "the endpoint does not answer"),
            }
            sleep(LOOK).await;
        }
    }

    /// Sends once. `None`: the nonce went to another transaction.
    async fn attempt(
        &self,
        wallet: &PrivateKeySigner,
        to: TxKind,
        input: Bytes,
        value: U256,
    ) -> Result<Option<Sent>, TransportError> {
        let (rpc, from) = (&self.0.rpc, wallet.address());
        let fees = rpc.estimate_eip1559_fees().await?;
        let nonce = rpc.get_transaction_count(from).pending().await?;
        let transaction = TxEip1559 {
            chain_id: self.0.deployment.chain_id,
            nonce,
            gas_limit: GAS,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            to,
            value,
            access_list: Default::default(),
            input,
        };
        let signature = wallet
            .sign_hash_sync(&transaction.signature_hash())
            .map_err(TransportError::local_usage)?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        let (hash, raw) = (*envelope.tx_hash(), Bytes::from(envelope.encoded_2718()));
        // The provider's own way of sending starts a task that watches for the receipt.
        let _: B256 = rpc
            .raw_request("eth_sendRawTransaction".into(), (raw,))
            .await?;
        let mut without_receipt = 0;
        while without_receipt < LOOKS_WITHOUT_RECEIPT {
            sleep(LOOK).await;
            let Some(receipt) = rpc.get_transaction_receipt(hash).await? else {
                let used = rpc.get_transaction_count(from).await?;
                without_receipt = if used > nonce { without_receipt + 1 } else { 0 };
                continue;
            };
            without_receipt = 0;
            let head = rpc.get_block_number().await?;
            if receipt
                .block_number
                .is_some_and(|block| head >= block + DEPTH)
            {
                let failure = self.0.chain.read(|chain| chain.failure(&hash).cloned());
                return Ok(Some(Sent {
                    hash,
                    created: receipt.contract_address,
                    reverted: match (receipt.status(), failure) {
                        (true, _) => None,
                        (false, Some(failure)) => Some(error_name(&failure)),
                        (false, None) => {
                            return Err(TransportErrorKind::custom_str(
                                "a reorganisation has undone a transaction that failed",
                            ));
                        }
                    },
                }));
            }
        }
        Ok(None)
    }
}
