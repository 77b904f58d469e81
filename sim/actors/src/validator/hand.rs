//! Transactions that no node would send: the node's client does each thing once, and this one whatever it is told to.

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::types::{Filter, TransactionInput, TransactionRequest};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use alloy::transports::{RpcError, TransportError};
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesCore as Core};
use smartnodes_node::node::NodeParts;
use tokio::time::sleep;

/// Gas of a transaction: more than anything takes that is sent so.
const GAS: u64 = 1_000_000;
/// Wait between two looks for a receipt.
const LOOK: Duration = Duration::from_millis(500);
/// Looks for a receipt before the transaction counts as lost.
const LOOKS: u32 = 60;

/// A wallet and an endpoint.
pub(super) struct Hand {
    rpc: RootProvider,
    wallet: PrivateKeySigner,
    chain_id: u64,
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The contract would fail, or has failed.
    ByContract,
    /// The endpoint does not answer, or takes no such transaction now.
    ByEndpoint,
}

impl Hand {
    /// With the keys and the first endpoint of a node.
    pub(super) fn new<S>(parts: &NodeParts<S>) -> Option<Hand> {
        Some(Hand {
            rpc: RootProvider::new(parts.rpc.first()?.clone()),
            wallet: parts.identity.wallet.clone(),
            chain_id: parts.deployment.chain_id,
        })
    }

    /// The same endpoint with another wallet.
    pub(super) fn of(&self, wallet: PrivateKeySigner) -> Hand {
        Hand {
            rpc: self.rpc.clone(),
            wallet,
            chain_id: self.chain_id,
        }
    }

    /// Gives ETH wei away, and waits for the block.
    pub(super) async fn give(&self, to: Address, wei: U256) -> Result<(), Refused> {
        let sent = self.send(to, Bytes::new(), wei).await;
        self.included(sent.map_err(|_| Refused::ByEndpoint)?).await
    }

    /// Calls a contract, and waits for the block.
    pub(super) async fn call(&self, to: Address, input: Vec<u8>) -> Result<(), Refused> {
        let refused = |error: TransportError| match error {
            RpcError::ErrorResp(_) => Refused::ByContract,
            _ => Refused::ByEndpoint,
        };
        let input = Bytes::from(input);
        let request = TransactionRequest::default()
            .from(self.wallet.address())
            .to(to)
            .input(TransactionInput::new(input.clone()));
        self.rpc.call(request).await.map_err(refused)?;
        let sent = self.send(to, input, U256::ZERO).await;
        self.included(sent.map_err(|_| Refused::ByEndpoint)?).await
    }

    /// Waits for a transaction's block.
    async fn included(&self, hash: B256) -> Result<(), Refused> {
        for _ in 0..LOOKS {
            sleep(LOOK).await;
            if let Ok(Some(receipt)) = self.rpc.get_transaction_receipt(hash).await {
                return match receipt.status() {
                    true => Ok(()),
                    false => Err(Refused::ByContract),
                };
            }
        }
        Err(Refused::ByEndpoint)
    }

    /// Reads a view of a contract.
    pub(super) async fn view<C: SolCall>(&self, of: Address, call: &C) -> Option<C::Return> {
        let request = TransactionRequest::default()
            .to(of)
            .input(TransactionInput::new(call.abi_encode().into()));
        let answer = self.rpc.call(request).await.ok()?;
        C::abi_decode_returns(&answer).ok()
    }

    /// The block whose hash draws a round's proposers, as it was sealed last.
    pub(super) async fn draw_block(&self, coordinator: Address, round: u64) -> Option<u64> {
        let sealed = Filter::new()
            .address(coordinator)
            .event_signature(Coordinator::DrawSealed::SIGNATURE_HASH)
            .topic1(B256::from(U256::from(round)))
            .from_block(0);
        let logs = self.rpc.get_logs(&sealed).await.ok()?;
        let last = logs.last()?;
        let sealed = Coordinator::DrawSealed::decode_log(&last.inner).ok()?;
        Some(sealed.drawBlock.saturating_to())
    }

    /// The ids of all jobs that were ever requested.
    pub(super) async fn jobs(&self, core: Address) -> Option<Vec<B256>> {
        let requested = Filter::new()
            .address(core)
            .event_signature(Core::JobCreated::SIGNATURE_HASH)
            .from_block(0);
        let logs = self.rpc.get_logs(&requested).await.ok()?;
        let ids = logs.iter().filter_map(|log| log.topics().get(1).copied());
        Some(ids.collect())
    }

    async fn send(&self, to: Address, input: Bytes, value: U256) -> Result<B256, TransportError> {
        let fees = self.rpc.estimate_eip1559_fees().await?;
        let from = self.wallet.address();
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.rpc.get_transaction_count(from).pending().await?,
            gas_limit: GAS,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            to: TxKind::Call(to),
            value,
            access_list: Default::default(),
            input,
        };
        let signature = self
            .wallet
            .sign_hash_sync(&transaction.signature_hash())
            .map_err(TransportError::local_usage)?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        let raw = Bytes::from(envelope.encoded_2718());
        // The provider's own way of sending starts a task that watches for the receipt.
        self.rpc
            .raw_request("eth_sendRawTransaction".into(), (raw,))
            .await
    }
}
