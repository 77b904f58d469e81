//! The one owner of the wallet's nonce: signs, journals, sends, waits, raises fees, and knows when a thing is done.
//!
//! ```text
//! send ─▶ journal? ──mined──▶ done
//!           │  └──pending──▶ ┌───────────────────────────┐
//!           no               │ included: sent again with │──▶ confirmed: deep enough ──▶ mined, or failed (closed)
//!           ▼                │ higher fees until in a    │◀── reorganised out, also later
//!   simulate, sign, journal ▶│ block; holds the nonce    │──▶ another transaction took the nonce: from the start
//!                            └───────────────────────────┘
//! ```
//! The nonce's owner is locked until the transaction is in a block, and not while it is being confirmed.

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, Bytes},
    providers::{Provider, RootProvider},
    rpc::types::{TransactionInput, TransactionReceipt, TransactionRequest},
};
use smartnodes_evm::bindings::{SmartnodesCoordinator as Coordinator, SmartnodesCore as Core};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{
    bids::Sent,
    client::ChainClient,
    error::ChainError,
    gas::gas_limit,
    intent::{Call, Intent},
    journal::{Entry, Mined, Pending},
    nonces::NonceOwner,
};
use crate::failpoint::{fail_point, sometimes};

/// How many blocks beyond the confirmations must pass before a nonce that is used, and by none of ours as far as the
/// endpoints say, is given up: receipts may lag behind, and to send a thing twice would be worse than to wait.
const TAKEN_NONCE_BLOCKS: u64 = 3;

/// How the wait for a block ended.
enum Inclusion {
    Included,
    /// Somebody else used the nonce.
    NonceTaken,
}

impl Mined {
    pub(super) fn new(receipt: &TransactionReceipt, block: u64) -> Mined {
        Mined {
            hash: receipt.transaction_hash,
            block,
            block_hash: receipt.block_hash.unwrap_or_default(),
            gas_used: receipt.gas_used,
        }
    }
}

impl ChainClient {
    /// Has `intent` done on chain, at most once, and returns when it is confirmed.
    ///
    /// If it was done before, also in an earlier run of the node, its transaction is returned, until that is too deep to be
    /// undone and the contracts refuse to do it again; if it is under way, this waits for it; if a reorganisation has undone
    /// it, it is sent again. Dropping the future stops the waiting, not the
    /// transaction: send the same intent to resume. After [`ChainError::Reverted`], [`ChainError::Refused`] and
    /// [`ChainError::Failed`] it is not done and may be sent again; after other errors it may or may not be done, and
    /// sending it again finds out.
    pub async fn send(&self, intent: Intent) -> Result<Mined, ChainError> {
        let key = intent.key(self.inner.scope);
        loop {
            {
                let mut owner = self.inner.owner.lock().await;
                self.redo(&mut owner).await?;
                // Whatever waits holds up what comes after it, and perhaps nobody else sends it again after a restart.
                self.push_waiting(&mut owner, false).await?;
                let nonce = match self.inner.journal.load(&key)? {
                    Some(Entry::Mined { mined, .. }) if !intent.repeatable() => return Ok(mined),
                    Some(Entry::Pending(pending)) => pending.nonce,
                    Some(Entry::Mined { .. }) | None => {
                        self.submit(&mut owner, &key, &intent).await?
                    }
                };
                match self.until_included(&mut owner, &key, nonce).await? {
                    Inclusion::Included => {
                        fail_point!(intent.kind(), "included");
                    }
                    Inclusion::NonceTaken => continue,
                }
            }
            if let Some(done) = self.until_confirmed(&key).await? {
                fail_point!(intent.kind(), "confirmed");
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
            gas_limit: gas_limit(intent, estimate, self.validators_for(intent).await?),
            attempts: Vec::new(),
        };
        let attempt = self.sign(&pending, max_fee, priority_fee)?;
        let raw = attempt.raw.clone();
        info!(what = pending.what, nonce, hash = %attempt.hash, "sending a transaction");
        pending.attempts.push(attempt);
        fail_point!(intent.kind(), "signed");
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
        fail_point!(intent.kind(), "sent");
        Ok(nonce)
    }

    /// How many validators there are, for the one intent whose gas depends on it; zero for others.
    async fn validators_for(&self, intent: &Intent) -> Result<u64, ChainError> {
        if !matches!(intent, Intent::OpenRound { .. }) {
            return Ok(0);
        }
        let call = Coordinator::getValidatorCountCall {};
        let count = self.view(self.deployment().coordinator, call).await?;
        Ok(count.saturating_to())
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
                    && !self.known_anywhere(&pending).await
                {
                    sometimes!("chain/nonce-taken");
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
                    sometimes!("chain/not-included");
                    // The endpoint may take transactions and keep them to itself.
                    if let Some((place, _)) = self.inner.endpoints.current() {
                        self.inner.endpoints.leave(place);
                    }
                    // It may wait for one before it that a reorganisation has undone.
                    self.redo(owner).await?;
                    self.push_waiting(owner, true).await?;
                    pushed_at = Instant::now();
                    if let Some(Entry::Pending(now)) = self.inner.journal.load(key)?
                        && now.attempts.len() == pending.attempts.len()
                        && let Some(last) = now.attempts.last()
                    {
                        return Err(ChainError::NotMined {
                            nonce,
                            hash: last.hash,
                            attempts: now.attempts.len(),
                            what: now.what,
                        });
                    }
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
                Some(Entry::Mined { mined, .. }) => return Ok(Some(Ok(mined))),
                // Another caller with the same intent has closed it.
                None => return Ok(None),
            };
            let Some((block, receipt)) = self.receipt_of(&pending).await? else {
                sometimes!("chain/undone");
                warn!(
                    what = pending.what,
                    nonce = pending.nonce,
                    "a reorganisation undid a transaction"
                );
                return Ok(None);
            };
            let head = self.head().await?.number;
            if head >= block.saturating_add(self.settings().confirmations)
                && self.borne_out(&receipt, block).await?
            {
                let mut owner = self.inner.owner.lock().await;
                return self
                    .finish(&mut owner, key, &pending, &receipt, block)
                    .await
                    .map(Some);
            }
            sleep(self.settings().poll_interval).await;
        }
    }

    /// Closes the journal over a confirmed transaction.
    pub(super) async fn finish(
        &self,
        owner: &mut NonceOwner,
        key: &[u8],
        pending: &Pending,
        receipt: &TransactionReceipt,
        block: u64,
    ) -> Result<Result<Mined, ChainError>, ChainError> {
        let mined = Mined::new(receipt, block);
        if receipt.status() {
            info!(what = pending.what, hash = %mined.hash, block, gas = mined.gas_used, "transaction confirmed");
            let undoable = Some(pending.clone());
            self.inner
                .journal
                .save(key, &Entry::Mined { mined, undoable })?;
            owner.mined(pending.nonce, key.to_vec(), &mined);
            return Ok(Ok(mined));
        }
        let reason = self.replay(pending, &mined).await?;
        sometimes!("chain/failed");
        warn!(what = pending.what, hash = %mined.hash, block, reason, "transaction failed");
        self.inner.journal.close(key)?;
        owner.forget(pending.nonce, key);
        Ok(Err(ChainError::Failed {
            what: pending.what.clone(),
            hash: mined.hash,
            reason,
        }))
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
        Ok(intent.call(self.deployment(), self.address(), user_key_hash))
    }

    fn request_of(&self, to: Address, input: &Bytes) -> TransactionRequest {
        TransactionRequest::default()
            .from(self.address())
            .to(to)
            .input(TransactionInput::new(input.clone()))
    }

    /// How many nonces of the wallet the latest block has seen used.
    pub(super) async fn nonces_used(&self) -> Result<u64, ChainError> {
        let address = self.address();
        self.request("eth_getTransactionCount", |provider| async move {
            provider.get_transaction_count(address).await
        })
        .await
    }

    /// The receipt of whichever of the transactions is in a block, and the block's number.
    pub(super) async fn receipt_of(
        &self,
        pending: &Pending,
    ) -> Result<Option<(u64, TransactionReceipt)>, ChainError> {
        for attempt in pending.attempts.iter().rev() {
            let hash = attempt.hash;
            let get = |provider: RootProvider| async move {
                provider.get_transaction_receipt(hash).await
            };
            let receipt = self.request("eth_getTransactionReceipt", get).await?;
            // Some endpoints show receipts of a pending block, which has no number.
            if let Some(receipt) = receipt
                && let Some(block) = receipt.block_number
            {
                return Ok(Some((block, receipt)));
            }
        }
        Ok(None)
    }
}
