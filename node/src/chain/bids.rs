//! Signed transactions on their way: fees that rise, nonces without a holder, and what endpoints say to them.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{B256, Bytes, TxKind, U256},
    providers::{Provider, RootProvider},
    signers::SignerSync,
};
use tracing::{debug, info, warn};

use super::{
    client::ChainClient,
    error::ChainError,
    journal::{Attempt, Entry, Pending},
    nonces::{NonceOwner, filler_key},
};
use crate::failpoint::sometimes;

/// The part of both fees that is added when a transaction is sent again: 12.5 %. Pools ask for 10 %.
const FEE_BUMP_DIVISOR: u128 = 8;
/// How many transactions are signed for one nonce: fees rise about tenfold, then no more, unless the market asks for it.
const FEE_BIDS_MAX: usize = 20;
/// How many there may be in all: each is looked for among the receipts.
const FEE_BIDS_MARKET_MAX: usize = 60;
/// Gas of a transfer to an account without code.
const TRANSFER_GAS: u64 = 21_000;

/// What an endpoint says to a raw transaction.
pub(super) enum Sent {
    /// It is in the pool, perhaps since long.
    Accepted,
    /// The nonce is used: by one of ours, or not.
    NonceUsed,
    /// The pool has one of the same nonce that bids more.
    Underpriced,
    /// Anything else.
    Refused(String),
}

impl ChainClient {
    /// Sends everything that is not in a block again, with higher fees if `bump`.
    pub(super) async fn push_waiting(
        &self,
        owner: &mut NonceOwner,
        bump: bool,
    ) -> Result<(), ChainError> {
        if owner.pending.is_empty() {
            return Ok(());
        }
        let used = self.nonces_used().await?;
        self.drop_fillers(owner, used)?;
        for nonce in owner.gap(used) {
            self.fill(owner, nonce).await?;
        }
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

    /// A reorganisation can take out a transaction that failed, and was forgotten for it, below others that wait: they
    /// would wait for ever. A transfer of nothing to oneself takes its nonce.
    async fn fill(&self, owner: &mut NonceOwner, nonce: u64) -> Result<(), ChainError> {
        let (max_fee, priority_fee) = self.market_fees().await?;
        let mut pending = Pending {
            what: format!("use nonce {nonce}"),
            nonce,
            to: self.address(),
            input: Bytes::new(),
            gas_limit: TRANSFER_GAS,
            attempts: Vec::new(),
        };
        let attempt = self.sign(&pending, max_fee, priority_fee)?;
        sometimes!("chain/nonce-filled");
        warn!(nonce, hash = %attempt.hash, "a nonce below waiting transactions is free, filling it");
        pending.attempts.push(attempt);
        let key = filler_key(self.inner.scope, nonce);
        self.inner.journal.save(&key, &Entry::Pending(pending))?;
        owner.pending.insert(nonce, key);
        Ok(())
    }

    /// Forgets fillers whose nonces are used. If a reorganisation frees them again, they are filled again.
    fn drop_fillers(&self, owner: &mut NonceOwner, used: u64) -> Result<(), ChainError> {
        let fillers: Vec<(u64, Vec<u8>)> = owner
            .pending
            .range(..used)
            .filter(|(nonce, key)| **key == filler_key(self.inner.scope, **nonce))
            .map(|(nonce, key)| (*nonce, key.clone()))
            .collect();
        for (nonce, key) in fillers {
            self.inner.journal.close(&key)?;
            owner.forget(nonce, &key);
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
        let bids_max = if market.0 > last.max_fee {
            FEE_BIDS_MARKET_MAX
        } else {
            FEE_BIDS_MAX
        };
        if pending.attempts.len() >= bids_max {
            return Ok(());
        }
        let priority_fee = raised(last.priority_fee).max(market.1);
        let max_fee = raised(last.max_fee).max(market.0).max(priority_fee);
        let attempt = self.sign(pending, max_fee, priority_fee)?;
        sometimes!("chain/fees-raised");
        info!(what = pending.what, nonce = pending.nonce, hash = %attempt.hash, max_fee, "raising the fees");
        pending.attempts.push(attempt);
        self.inner
            .journal
            .save(key, &Entry::Pending(pending.clone()))?;
        Ok(())
    }

    pub(super) fn sign(
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
    pub(super) async fn push(&self, raw: &Bytes) -> Result<Sent, ChainError> {
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

    /// What so much gas costs at the market's price now, in wei at most.
    pub async fn cost_of_gas(&self, gas: u64) -> Result<U256, ChainError> {
        let (max_fee, _) = self.market_fees().await?;
        Ok(U256::from(max_fee).saturating_mul(U256::from(gas)))
    }

    /// Maximum and priority fee that the market asks for, in wei for each unit of gas.
    pub(super) async fn market_fees(&self) -> Result<(u128, u128), ChainError> {
        let fees = self
            .request("eth_feeHistory", |provider| async move {
                provider.estimate_eip1559_fees().await
            })
            .await?;
        Ok((fees.max_fee_per_gas, fees.max_priority_fee_per_gas))
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
}
