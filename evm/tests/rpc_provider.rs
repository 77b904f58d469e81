//! The alloy provider, unchanged, on top of the JSON-RPC handler: it must parse every answer.

mod chain_support;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use alloy::{
    consensus::BlockHeader,
    eips::{BlockNumberOrTag, eip2718::Encodable2718},
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::{Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket},
        types::{Filter, TransactionRequest},
    },
    sol,
    sol_types::{Revert, SolError},
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use chain_support::*;
use smartnodes_evm::{
    chain::Chain,
    rpc::{self, RpcConfig},
};

sol! {
    #[sol(rpc)]
    contract Reverting {
        error Denied(uint256 code);
        function anything() external view returns (uint256);
    }
}

/// Carries requests to a chain in the same process.
#[derive(Clone)]
struct InProcess(Arc<Mutex<Chain>>);

impl tower::Service<RequestPacket> for InProcess {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let chain = Arc::clone(&self.0);
        Box::pin(async move {
            let body = serde_json::to_vec(&request).map_err(TransportErrorKind::custom)?;
            let answer = rpc::handle(&mut chain.lock().unwrap(), &RpcConfig::default(), &body);
            serde_json::from_slice(&answer)
                .map_err(|error| TransportError::deser_err(error, String::from_utf8_lossy(&answer)))
        })
    }
}

/// Runs a future that never waits.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn connect(chain: Chain) -> (RpcClient, Arc<Mutex<Chain>>) {
    let chain = Arc::new(Mutex::new(chain));
    (RpcClient::new(InProcess(Arc::clone(&chain)), true), chain)
}

#[test]
fn provider_fills_signs_and_sends() {
    let (client, chain) = connect(chain());
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(signer(3)))
        .connect_client(client);
    let to = Address::with_last_byte(0xaa);
    block_on(async {
        let request = TransactionRequest::default().to(to).value(U256::from(5));
        let raw = provider
            .fill(request)
            .await
            .unwrap()
            .try_into_envelope()
            .unwrap()
            .encoded_2718();
        let hash: B256 = provider
            .client()
            .request("eth_sendRawTransaction", (Bytes::from(raw),))
            .await
            .unwrap();

        let waiting = provider
            .get_transaction_by_hash(hash)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(waiting.block_number, None);
        assert_eq!(
            provider
                .get_transaction_count(signer(3).address())
                .pending()
                .await
                .unwrap(),
            1
        );
        assert!(
            provider
                .get_transaction_receipt(hash)
                .await
                .unwrap()
                .is_none()
        );
        chain.lock().unwrap().mine_next().unwrap();

        let receipt = provider
            .get_transaction_receipt(hash)
            .await
            .unwrap()
            .unwrap();
        assert!(receipt.status());
        assert_eq!((receipt.from, receipt.to), (signer(3).address(), Some(to)));
        assert_eq!(receipt, chain.lock().unwrap().receipt(&hash).unwrap());
        let mined = provider
            .get_transaction_by_hash(hash)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(mined, chain.lock().unwrap().transaction(&hash).unwrap());
        assert_eq!(provider.get_balance(to).await.unwrap(), U256::from(5));
    });
}

#[test]
fn provider_parses_blocks_logs_and_fees() {
    let mut chain = chain();
    let logger = deploy(&mut chain, LOGGER);
    let store = deploy(&mut chain, STORE);
    chain
        .transact(
            &signer(0),
            TxKind::Call(logger),
            words(&[1, 2, 3]),
            U256::ZERO,
        )
        .unwrap();
    chain
        .transact(&signer(0), TxKind::Call(store), word(77), U256::ZERO)
        .unwrap();
    let (client, chain) = connect(chain);
    let provider = ProviderBuilder::new().connect_client(client);
    block_on(async {
        assert_eq!(provider.get_chain_id().await.unwrap(), 31_337);
        assert_eq!(provider.get_block_number().await.unwrap(), 4);
        assert_eq!(provider.get_net_version().await.unwrap(), 31_337);
        assert!(
            provider
                .get_client_version()
                .await
                .unwrap()
                .starts_with("smartnodes-evm/v")
        );
        assert!(provider.get_accounts().await.unwrap().is_empty());

        for number in 0..=4 {
            let full = provider
                .get_block_by_number(number.into())
                .full()
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                full,
                chain.lock().unwrap().block(number.into(), true).unwrap()
            );
            assert_eq!(full.header.inner.hash_slow(), full.header.hash);
            let hashes = provider
                .get_block_by_hash(full.header.hash)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(hashes.header, full.header);
            assert_eq!(
                hashes.transactions.hashes().collect::<Vec<_>>(),
                full.transactions.hashes().collect::<Vec<_>>()
            );
            let receipts = provider
                .get_block_receipts(number.into())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                receipts,
                chain.lock().unwrap().block_receipts(number.into()).unwrap()
            );
        }
        assert!(
            provider
                .get_block_by_number(99.into())
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            provider
                .get_block_by_hash(B256::ZERO)
                .await
                .unwrap()
                .is_none()
        );
        let finalized = provider
            .get_block_by_number(BlockNumberOrTag::Finalized)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(finalized.header.number(), 0);

        let filter = Filter::new()
            .from_block(0)
            .address(logger)
            .event_signature(B256::from(U256::from(1)));
        let logs = provider.get_logs(&filter).await.unwrap();
        assert_eq!(logs, chain.lock().unwrap().logs(&filter, 10).unwrap());
        assert_eq!(logs.len(), 1);

        assert_eq!(
            provider.get_storage_at(store, U256::ZERO).await.unwrap(),
            U256::from(77)
        );
        assert_eq!(
            provider
                .get_storage_at(store, U256::ZERO)
                .block_id(2.into())
                .await
                .unwrap(),
            U256::ZERO
        );
        assert_eq!(
            provider.get_code_at(store).await.unwrap(),
            Bytes::from(alloy::hex::decode(STORE).unwrap())
        );
        assert_eq!(
            provider.get_gas_price().await.unwrap(),
            chain.lock().unwrap().gas_price()
        );
        let fees = provider.estimate_eip1559_fees().await.unwrap();
        assert!(fees.max_fee_per_gas >= u128::from(BASE_FEE));
        let history = provider
            .get_fee_history(3, BlockNumberOrTag::Latest, &[20.0])
            .await
            .unwrap();
        assert_eq!(history.base_fee_per_gas.len(), 4);
        assert_eq!(
            provider.get_max_priority_fee_per_gas().await.unwrap(),
            1_000_000
        );
    });
}

#[test]
fn provider_decodes_reverts() {
    let mut chain = chain();
    let reverter = deploy(&mut chain, REVERTER);
    let (client, _chain) = connect(chain);
    let provider = ProviderBuilder::new().connect_client(client);
    block_on(async {
        // The contract reverts with its input, so the input is the error.
        let denied = Reverting::Denied {
            code: U256::from(9),
        };
        let request = TransactionRequest::default()
            .to(reverter)
            .input(denied.abi_encode().into());
        let error = provider.call(request.clone()).await.unwrap_err();
        let payload = error.as_error_resp().unwrap();
        assert_eq!(payload.code, 3);
        assert_eq!(
            payload
                .as_decoded_error::<Reverting::Denied>()
                .unwrap()
                .code,
            U256::from(9)
        );
        let estimate = provider.estimate_gas(request).await.unwrap_err();
        assert!(
            estimate
                .as_error_resp()
                .unwrap()
                .message
                .starts_with("execution reverted: custom error 0x")
        );

        let reason = Revert::from("no").abi_encode();
        let request = TransactionRequest::default()
            .to(reverter)
            .input(reason.clone().into());
        let error = provider.call(request).await.unwrap_err();
        let payload = error.as_error_resp().unwrap();
        assert_eq!(payload.message, "execution reverted: no");
        assert_eq!(payload.as_revert_data().unwrap(), Bytes::from(reason));

        let contract = Reverting::new(reverter, &provider);
        assert!(contract.anything().call().await.is_err());
    });
}
