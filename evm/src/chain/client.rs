//! The chain for tests, deployments and reports in the same process: signing, sending and reading in one call each.

use alloy::{
    consensus::{SignableTransaction, Signed, TxEip1559, TxEnvelope, transaction::Recovered},
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, Signature, TxKind, U256},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolCall,
};

use super::{
    Chain,
    error::{CallError, ChainError, TxError},
    pool::Origin,
    view::SUGGESTED_PRIORITY_FEE,
};

const LATEST: BlockId = BlockId::Number(BlockNumberOrTag::Latest);

impl Chain {
    /// Signs a transaction and lets it wait for a block; returns its hash. The gas limit is estimated on the latest state
    /// with a quarter added, so a call that would revert now is refused with its revert.
    pub fn send(
        &mut self,
        signer: &PrivateKeySigner,
        to: TxKind,
        data: Bytes,
        value: U256,
    ) -> Result<B256, ChainError> {
        let request = TransactionRequest {
            from: Some(signer.address()),
            to: Some(to),
            value: Some(value),
            input: data.clone().into(),
            ..TransactionRequest::default()
        };
        let estimate = self.estimate_gas(&request, LATEST)?;
        let gas_limit = estimate
            .saturating_add(estimate / 4)
            .min(self.config.gas_limit);
        self.send_with_gas(signer, to, data, value, gas_limit)
    }

    /// Signs a transaction with a given gas limit and lets it wait for a block, whether it will succeed or not.
    pub fn send_with_gas(
        &mut self,
        signer: &PrivateKeySigner,
        to: TxKind,
        data: Bytes,
        value: U256,
        gas_limit: u64,
    ) -> Result<B256, ChainError> {
        let tx = self.next_transaction(signer.address(), to, data, value, gas_limit)?;
        let signature = signer
            .sign_hash_sync(&tx.signature_hash())
            .map_err(|error| TxError::Sign(error.to_string()))?;
        self.send_as(signer.address(), tx.into_signed(signature), Origin::Signed)
    }

    /// Lets a transaction of `from` wait that `from` has not signed, which may be a contract. Like `anvil`'s
    /// impersonation it is a transaction in all other respects: it takes a nonce, pays for its gas and can fail. Reports
    /// use it to run decades of state updates without a signature each; no JSON-RPC method leads here.
    pub fn impersonate(
        &mut self,
        from: Address,
        to: TxKind,
        data: Bytes,
        value: U256,
        gas_limit: u64,
    ) -> Result<B256, ChainError> {
        let tx = self.next_transaction(from, to, data, value, gas_limit)?;
        // No real signature has s = 1 and the sender as r; the sender in it keeps hashes of different senders apart.
        let filler = Signature::new(U256::from_be_slice(from.as_slice()), U256::ONE, false);
        self.send_as(from, tx.into_signed(filler), Origin::Impersonated)
    }

    /// Sends as [`Chain::send`] does, mines a block and returns the receipt. A transaction that fails is an error.
    pub fn transact(
        &mut self,
        signer: &PrivateKeySigner,
        to: TxKind,
        data: Bytes,
        value: U256,
    ) -> Result<TransactionReceipt, ChainError> {
        let hash = self.send(signer, to, data, value)?;
        self.mine_for(hash)
    }

    /// Mines a block for a transaction that waits, and returns its receipt; an error if it failed or did not enter.
    pub fn mine_for(&mut self, hash: B256) -> Result<TransactionReceipt, ChainError> {
        self.mine_next()?;
        if let Some(error) = self.failure(&hash) {
            return Err(ChainError::Failed {
                hash,
                error: error.clone(),
            });
        }
        self.receipt(&hash).ok_or(ChainError::NotIncluded(hash))
    }

    /// Calls a function of a contract on the latest state, changing nothing, and decodes the answer.
    pub fn read<C: SolCall>(&self, contract: Address, call: &C) -> Result<C::Return, ChainError> {
        let request = TransactionRequest {
            to: Some(TxKind::Call(contract)),
            input: Bytes::from(call.abi_encode()).into(),
            ..TransactionRequest::default()
        };
        let output = self.call(&request, LATEST)?;
        C::abi_decode_returns_validate(&output).map_err(|error| ChainError::Decode {
            contract,
            error: error.to_string(),
        })
    }

    /// The next transaction of `from`, with fees that outlast a doubled base fee.
    fn next_transaction(
        &self,
        from: Address,
        to: TxKind,
        data: Bytes,
        value: U256,
        gas_limit: u64,
    ) -> Result<TxEip1559, ChainError> {
        let nonce = self
            .nonce(from, BlockId::pending())
            .map_err(CallError::Block)?;
        Ok(TxEip1559 {
            chain_id: self.config.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: u128::from(self.base_fee)
                .saturating_mul(2)
                .saturating_add(SUGGESTED_PRIORITY_FEE),
            max_priority_fee_per_gas: SUGGESTED_PRIORITY_FEE,
            to,
            value,
            access_list: Default::default(),
            input: data,
        })
    }

    fn send_as(
        &mut self,
        from: Address,
        tx: Signed<TxEip1559>,
        origin: Origin,
    ) -> Result<B256, ChainError> {
        Ok(self.submit(
            Recovered::new_unchecked(TxEnvelope::Eip1559(tx), from),
            origin,
        )?)
    }
}
