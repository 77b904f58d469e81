//! The one owner of the wallet's nonce: signs, journals, sends, waits, raises fees, and knows when a thing is done.
//!
//! ```text
//! send ─▶ journal? ──mined──▶ done
//!           │  └──pending──▶ ┌───────────────────────────┐
//!           no               │ included: sent again with │──▶ confirmed: deep enough ──▶ mined, or failed (closed)
//!           ▼                │ higher fees until in a    │◀── reorganised out
//!   simulate, sign, journal ▶│ block; holds the nonce    │──▶ another transaction took the nonce: from the start
//!                            └───────────────────────────┘
//! ```
//! The nonce's owner is locked until the transaction is in a block, and not while it is being confirmed.

use std::collections::BTreeMap;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::{BlockId, eip2718::Encodable2718},
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::{Provider, RootProvider},
    rpc::types::{TransactionInput, TransactionReceipt, TransactionRequest},
    signers::SignerSync,
};
use smartnodes_evm::bindings::SmartnodesCore as Core;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{
    client::ChainClient,
    error::ChainError,
    intent::{Call, Intent},
    journal::{Attempt, Entry, Journal, Mined, Pending},
};
use crate::store::StoreError;

/// How much gas is allowed beyond the estimate, in per cent: the state may change before the block.
const GAS_MARGIN_PERCENT: u64 = 25;
/// The part of both fees that is added when a transaction is sent again: 12.5 %. Pools ask for 10 %.
const FEE_BUMP_DIVISOR: u128 = 8;
/// How many transactions are signed for one nonce: fees rise about tenfold, then no more.
const FEE_BIDS_MAX: usize = 20;
/// How many blocks beyond the confirmations must pass before a nonce that is used, and by none of ours as far as the
/// endpoint says, is given up: receipts may lag behind, and to send a thing twice would be worse than to wait.
const TAKEN_NONCE_BLOCKS: u64 = 3;

/// The nonces that are given out.
#[derive(Debug)]
pub(super) struct NonceOwner {
    /// Journal keys of what may still be waiting, by nonce.
    pending: BTreeMap<u64, Vec<u8>>,
}

/// How the wait for a block ended.
enum Inclusion {
    Included,
    /// Somebody else used the nonce.
    NonceTaken,
}

/// What an endpoint says to a raw transaction.
enum Sent {
    /// It is in the pool, perhaps since long.
    Accepted,
    /// The nonce is used: by one of ours, or not.
    NonceUsed,
    /// The pool has one of the same nonce that bids more.
    Underpriced,
    /// Anything else.
    Refused(String),
}

impl NonceOwner {
    /// Reads what was pending when the node stopped.
    pub(super) fn restore(journal: &Journal, scope: B256) -> Result<NonceOwner, StoreError> {
        let pending = journal.pending(|key| key.starts_with(scope.as_slice()))?;
        Ok(NonceOwner {
            pending: pending.into_iter().collect(),
        })
    }

    /// The nonce for a new transaction, where the chain has counted `used`.
    fn next(&self, used: u64) -> u64 {
        self.pending
            .last_key_value()
            .map_or(used, |(last, _)| used.max(last + 1))
    }

    fn forget(&mut self, nonce: u64, key: &[u8]) {
        if self.pending.get(&nonce).is_some_and(|holder| holder == key) {
            self.pending.remove(&nonce);
        }
    }
}

impl ChainClient {
    /// Has `intent` done on chain, at most once, and returns when it is confirmed.
    ///
    /// If it was done before, also in an earlier run of the node, its transaction is returned; if it is under way, this
    /// waits for it. Dropping the future stops the waiting, not the transaction: send the same intent to resume. After
    /// [`ChainError::Reverted`], [`ChainError::Refused`] and [`ChainError::Failed`] it is not done and may be sent
    /// again; after other errors it may or may not be done, and sending it again finds out.
    pub async fn send(&self, intent: Intent) -> Result<Mined, ChainError> {
        let key = intent.key(self.inner.scope);
        loop {
            {
                let mut owner = self.inner.owner.lock().await;
                // Whatever waits holds up what comes after it, and perhaps nobody else sends it again after a restart.
                self.push_waiting(&owner, false).await?;
                let nonce = match self.inner.journal.load(&key)? {
                    Some(Entry::Mined(mined)) if !intent.repeatable() => return Ok(mined),
                    Some(Entry::Pending(pending)) => pending.nonce,
                    Some(Entry::Mined(_)) | None => self.submit(&mut owner, &key, &intent).await?,
                };
                match self.until_included(&mut owner, &key, nonce).await? {
                    Inclusion::Included => {}
                    Inclusion::NonceTaken => continue,
                }
            }
            if let Some(done) = self.until_confirmed(&key).await? {
                return done;
            }
        }
    }

    /// Simulates, signs and journals a new transaction, and sends it. Returns its nonce.
    async fn submit(
        &self,
        owner: &mut NonceOwner,
        key: &[u8],
        intent: &Intent,
    ) -> Result<u64, ChainError> {
        let what = intent.to_string();
        let Call { to, input } = self.call_of(intent).await?;
        let request = self.request_of(to, &input);
        self.eth_call(&what, &request).await?;
        let estimate = self
            .contract_request("eth_estimateGas", &what, |provider| {
                let request = request.clone();
                async move { provider.estimate_gas(request).await }
            })
            .await?;
        let (max_fee, priority_fee) = self.market_fees().await?;
        let nonce = owner.next(self.nonces_used().await?);
        let mut pending = Pending {
            what,
            nonce,
            to,
            input,
            gas_limit: estimate.saturating_add(estimate.saturating_mul(GAS_MARGIN_PERCENT) / 100),
            attempts: Vec::new(),
        };
        let attempt = self.sign(&pending, max_fee, priority_fee)?;
        let raw = attempt.raw.clone();
        info!(what = pending.what, nonce, hash = %attempt.hash, "sending a transaction");
        pending.attempts.push(attempt);
        // The journal is first, so that a crash at any point finds the transaction again.
        self.inner
            .journal
            .save(key, &Entry::Pending(pending.clone()))?;
        owner.pending.insert(nonce, key.to_vec());
        if let Sent::Refused(message) = self.push(&raw).await? {
            // Never in the pool, so the nonce is free again.
            self.inner.journal.close(key)?;
            owner.forget(nonce, key);
            return Err(ChainError::Refused {
                what: pending.what,
                wallet: self.address(),
                message,
            });
        }
        Ok(nonce)
    }

    /// Waits until one of the transactions is in a block, sending with higher fees when that takes too long.
    async fn until_included(
        &self,
        owner: &mut NonceOwner,
        key: &[u8],
        nonce: u64,
    ) -> Result<Inclusion, ChainError> {
        let settings = self.settings();
        let mut pushed_at = Instant::now();
        let mut taken_since = None;
        loop {
            let Some(Entry::Pending(pending)) = self.inner.journal.load(key)? else {
                // Another caller with the same intent has seen it confirmed meanwhile.
                return Ok(Inclusion::Included);
            };
            if self.receipt_of(&pending).await?.is_some() {
                return Ok(Inclusion::Included);
            }
            if self.nonces_used().await? > nonce {
                let head = self.head().await?.number;
                let since = *taken_since.get_or_insert(head);
                if head
                    >= since
                        .saturating_add(settings.confirmations)
                        .saturating_add(TAKEN_NONCE_BLOCKS)
                {
                    warn!(
                        what = pending.what,
                        nonce, "another transaction used the nonce, starting again"
                    );
                    self.inner.journal.close(key)?;
                    owner.forget(nonce, key);
                    return Ok(Inclusion::NonceTaken);
                }
            } else {
                taken_since = None;
                if pushed_at.elapsed() >= settings.receipt_timeout {
                    if let (Some(last), true) = (
                        pending.attempts.last(),
                        pending.attempts.len() >= FEE_BIDS_MAX,
                    ) {
                        return Err(ChainError::NotMined {
                            nonce,
                            hash: last.hash,
                            attempts: pending.attempts.len(),
                            what: pending.what,
                        });
                    }
                    // The endpoint may take transactions and keep them to itself.
                    if let Some((place, _)) = self.inner.endpoints.current() {
                        self.inner.endpoints.leave(place);
                    }
                    self.push_waiting(owner, true).await?;
                    pushed_at = Instant::now();
                }
            }
            sleep(settings.poll_interval).await;
        }
    }

    /// Waits until the transaction is deep enough. `None` if a reorganisation threw it out.
    async fn until_confirmed(
        &self,
        key: &[u8],
    ) -> Result<Option<Result<Mined, ChainError>>, ChainError> {
        loop {
            let pending = match self.inner.journal.load(key)? {
                Some(Entry::Pending(pending)) => pending,
                Some(Entry::Mined(mined)) => return Ok(Some(Ok(mined))),
                // Another caller with the same intent has closed it.
                None => return Ok(None),
            };
            let Some(receipt) = self.receipt_of(&pending).await? else {
                warn!(
                    what = pending.what,
                    nonce = pending.nonce,
                    "a reorganisation undid a transaction"
                );
                return Ok(None);
            };
            // A receipt without a block is of a pending block, which some endpoints show.
            if let Some(block) = receipt.block_number {
                let head = self.head().await?.number;
                if head >= block.saturating_add(self.settings().confirmations) {
                    return self.finish(key, &pending, &receipt, block).await.map(Some);
                }
            }
            sleep(self.settings().poll_interval).await;
        }
    }

    /// Closes the journal over a confirmed transaction.
    async fn finish(
        &self,
        key: &[u8],
        pending: &Pending,
        receipt: &TransactionReceipt,
        block: u64,
    ) -> Result<Result<Mined, ChainError>, ChainError> {
        let mined = Mined {
            hash: receipt.transaction_hash,
            block,
            gas_used: receipt.gas_used,
        };
        let failure = if receipt.status() {
            None
        } else {
            Some(self.replay(pending, &mined).await?)
        };
        let mut owner = self.inner.owner.lock().await;
        owner.forget(pending.nonce, key);
        match failure {
            None => {
                info!(what = pending.what, hash = %mined.hash, block, gas = mined.gas_used, "transaction confirmed");
                self.inner.journal.save(key, &Entry::Mined(mined))?;
                Ok(Ok(mined))
            }
            Some(reason) => {
                warn!(what = pending.what, hash = %mined.hash, block, reason, "transaction failed");
                self.inner.journal.close(key)?;
                Ok(Err(ChainError::Failed {
                    what: pending.what.clone(),
                    hash: mined.hash,
                    reason,
                }))
            }
        }
    }

    /// Why a transaction failed: the same call on the state after its block.
    async fn replay(&self, pending: &Pending, mined: &Mined) -> Result<String, ChainError> {
        if mined.gas_used >= pending.gas_limit {
            return Ok(format!(
                "out of gas: it used all of its {} units",
                pending.gas_limit
            ));
        }
        let request = self.request_of(pending.to, &pending.input);
        let block = BlockId::number(mined.block);
        let call = |provider: RootProvider| {
            let request = request.clone();
            async move { provider.call(request).block(block).await }
        };
        Ok(
            match self.contract_request("eth_call", &pending.what, call).await {
                Err(ChainError::Reverted { name, details, .. }) => format!("{name}{details}"),
                Ok(_) => "the same call succeeds on the state after the block".to_owned(),
                // An endpoint without old states refuses; that is no reason to hide the failure itself.
                Err(ChainError::Rpc { message, .. }) => {
                    format!("unknown, the endpoint cannot replay it: {message}")
                }
                Err(error) => return Err(error),
            },
        )
    }

    /// Sends everything that is not in a block again, with higher fees if `bump`.
    async fn push_waiting(&self, owner: &NonceOwner, bump: bool) -> Result<(), ChainError> {
        if owner.pending.is_empty() {
            return Ok(());
        }
        let used = self.nonces_used().await?;
        let market = if bump {
            Some(self.market_fees().await?)
        } else {
            None
        };
        for key in owner.pending.range(used..).map(|(_, key)| key) {
            let Some(Entry::Pending(mut pending)) = self.inner.journal.load(key)? else {
                continue;
            };
            if let Some(market) = market {
                self.bid_more(key, &mut pending, market)?;
            }
            let Some(last) = pending.attempts.last() else {
                continue;
            };
            match self.push(&last.raw).await? {
                Sent::Accepted | Sent::NonceUsed => {}
                // Raised at the next timeout.
                Sent::Underpriced => {
                    debug!(what = pending.what, hash = %last.hash, "the pool asks for higher fees")
                }
                // An older bid may still be in the pool, so this is no reason to give up.
                Sent::Refused(message) => {
                    warn!(what = pending.what, hash = %last.hash, message, "the endpoint refuses the transaction");
                }
            }
        }
        Ok(())
    }

    /// Signs a further transaction for the same nonce and journals it.
    fn bid_more(
        &self,
        key: &[u8],
        pending: &mut Pending,
        market: (u128, u128),
    ) -> Result<(), ChainError> {
        let Some(last) = pending.attempts.last() else {
            return Ok(());
        };
        if pending.attempts.len() >= FEE_BIDS_MAX {
            return Ok(());
        }
        let priority_fee = raised(last.priority_fee).max(market.1);
        let max_fee = raised(last.max_fee).max(market.0).max(priority_fee);
        let attempt = self.sign(pending, max_fee, priority_fee)?;
        info!(what = pending.what, nonce = pending.nonce, hash = %attempt.hash, max_fee, "raising the fees");
        pending.attempts.push(attempt);
        self.inner
            .journal
            .save(key, &Entry::Pending(pending.clone()))?;
        Ok(())
    }

    fn sign(
        &self,
        pending: &Pending,
        max_fee: u128,
        priority_fee: u128,
    ) -> Result<Attempt, ChainError> {
        let transaction = TxEip1559 {
            chain_id: self.deployment().chain_id,
            nonce: pending.nonce,
            gas_limit: pending.gas_limit,
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: priority_fee,
            to: TxKind::Call(pending.to),
            value: U256::ZERO,
            access_list: Default::default(),
            input: pending.input.clone(),
        };
        let signature = self
            .wallet()
            .sign_hash_sync(&transaction.signature_hash())
            .map_err(|error| ChainError::Signing {
                what: pending.what.clone(),
                reason: error.to_string(),
            })?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(Attempt {
            hash: *envelope.tx_hash(),
            raw: envelope.encoded_2718().into(),
            max_fee,
            priority_fee,
        })
    }

    /// Hands a raw transaction to the endpoint.
    ///
    /// The provider's own way of sending is not used: it starts a task of its own to watch for the receipt.
    async fn push(&self, raw: &Bytes) -> Result<Sent, ChainError> {
        let send = |provider: RootProvider| {
            let raw = raw.clone();
            async move {
                provider
                    .raw_request::<_, B256>("eth_sendRawTransaction".into(), (raw,))
                    .await
            }
        };
        let refusal = match self.answer("eth_sendRawTransaction", send).await? {
            Ok(_) => return Ok(Sent::Accepted),
            Err(refusal) => refusal.message.to_lowercase(),
        };
        // Clients agree on these words more than on codes.
        Ok(
            if ["already known", "known transaction", "already imported"]
                .iter()
                .any(|text| refusal.contains(text))
            {
                Sent::Accepted
            } else if refusal.contains("nonce too low") || refusal.contains("nonce is too low") {
                Sent::NonceUsed
            } else if refusal.contains("underpriced") {
                Sent::Underpriced
            } else {
                Sent::Refused(refusal)
            },
        )
    }

    async fn call_of(&self, intent: &Intent) -> Result<Call, ChainError> {
        let user_key_hash = match intent {
            Intent::RequestJob { .. } => {
                self.view(
                    self.deployment().core,
                    Core::usersCall {
                        account: self.address(),
                    },
                )
                .await?
                .publicKeyHash
            }
            _ => B256::ZERO,
        };
        Ok(intent.call(self.deployment(), user_key_hash))
    }

    fn request_of(&self, to: Address, input: &Bytes) -> TransactionRequest {
        TransactionRequest::default()
            .from(self.address())
            .to(to)
            .input(TransactionInput::new(input.clone()))
    }

    /// Maximum and priority fee that the market asks for, in wei for each unit of gas.
    async fn market_fees(&self) -> Result<(u128, u128), ChainError> {
        let fees = self
            .request("eth_feeHistory", |provider| async move {
                provider.estimate_eip1559_fees().await
            })
            .await?;
        Ok((fees.max_fee_per_gas, fees.max_priority_fee_per_gas))
    }

    /// How many nonces of the wallet the latest block has seen used.
    async fn nonces_used(&self) -> Result<u64, ChainError> {
        let address = self.address();
        self.request("eth_getTransactionCount", |provider| async move {
            provider.get_transaction_count(address).await
        })
        .await
    }

    /// The receipt of whichever of the transactions is in a block.
    async fn receipt_of(
        &self,
        pending: &Pending,
    ) -> Result<Option<TransactionReceipt>, ChainError> {
        for attempt in pending.attempts.iter().rev() {
            let hash = attempt.hash;
            let get = |provider: RootProvider| async move {
                provider.get_transaction_receipt(hash).await
            };
            let receipt = self.request("eth_getTransactionReceipt", get).await?;
            if receipt.is_some() {
                return Ok(receipt);
            }
        }
        Ok(None)
    }
}

/// A fee that replaces `fee`: rounded up, and never the same.
fn raised(fee: u128) -> u128 {
    fee.saturating_add(fee.div_ceil(FEE_BUMP_DIVISOR).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raised_fees_satisfy_pools_that_ask_for_ten_percent() {
        for fee in [0, 1, 2, 7, 1_000, 10_000_000, u128::MAX / 2] {
            let higher = raised(fee);
            assert!(higher > fee);
            assert!(higher >= fee + fee.div_ceil(10), "{fee} to {higher}");
        }
        assert_eq!(raised(1000), 1125);
        assert_eq!(raised(u128::MAX), u128::MAX);
    }

    #[test]
    fn nonces_follow_both_the_chain_and_what_is_pending() {
        let mut owner = NonceOwner {
            pending: BTreeMap::new(),
        };
        assert_eq!(owner.next(5), 5);
        owner.pending.insert(7, b"a".to_vec());
        assert_eq!(owner.next(5), 8);
        assert_eq!(owner.next(9), 9);
        owner.forget(7, b"another");
        assert_eq!(owner.next(5), 8);
        owner.forget(7, b"a");
        assert_eq!(owner.next(5), 5);
    }
}
