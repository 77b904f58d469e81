//! From bytes to a waiting transaction: decoding, the signer, and everything that can be checked before a block.

use alloy::{
    consensus::{
        Transaction, TxEnvelope, Typed2718,
        transaction::{Recovered, SignerRecoverable},
    },
    eips::eip2718::Decodable2718,
    primitives::{B256, U256},
};
use revm::primitives::eip3860::MAX_INITCODE_SIZE;

use super::{Chain, error::TxError, pool::Origin};

/// Greatest encoded size of a transaction, in bytes; the same as geth's.
pub const TX_BYTES_MAX: usize = 128 * 1024;

impl Chain {
    /// Checks a signed, encoded transaction (legacy with EIP-155, EIP-2930 or EIP-1559) and lets it wait for a block.
    /// Returns its hash. A nonce ahead of the account's waits until the gap closes; a fee below the base fee waits until
    /// the base fee falls or the transaction is replaced.
    pub fn submit_raw(&mut self, raw: &[u8]) -> Result<B256, TxError> {
        let envelope = decode(raw)?;
        if self.pool.contains(envelope.tx_hash()) {
            return Err(TxError::AlreadyKnown);
        }
        let signer = envelope
            .recover_signer()
            .map_err(|error| TxError::Signature(error.to_string()))?;
        self.submit(Recovered::new_unchecked(envelope, signer), Origin::Signed)
    }

    /// The same for a transaction whose sender is known.
    pub(super) fn submit(
        &mut self,
        tx: Recovered<TxEnvelope>,
        origin: Origin,
    ) -> Result<B256, TxError> {
        let hash = *tx.tx_hash();
        if self.pool.contains(&hash) {
            return Err(TxError::AlreadyKnown);
        }
        self.check_form(&tx)?;
        let cost_max = self.check_account(&tx, origin)?;
        self.pool.insert(tx, cost_max, origin)?;
        Ok(hash)
    }

    /// What depends on the transaction and the configuration alone.
    fn check_form(&self, tx: &TxEnvelope) -> Result<(), TxError> {
        let want = self.config.chain_id;
        match tx.chain_id() {
            None => return Err(TxError::Unprotected),
            Some(have) if have != want => return Err(TxError::ChainId { have, want }),
            Some(_) => {}
        }
        if tx.is_create() && tx.input().len() > MAX_INITCODE_SIZE {
            return Err(TxError::InitCodeSize {
                size: tx.input().len(),
                limit: MAX_INITCODE_SIZE,
            });
        }
        if tx.gas_limit() > self.config.gas_limit {
            return Err(TxError::GasLimit {
                have: tx.gas_limit(),
                limit: self.config.gas_limit,
            });
        }
        let (max, priority) = (
            tx.max_fee_per_gas(),
            tx.max_priority_fee_per_gas().unwrap_or_default(),
        );
        if priority > max {
            return Err(TxError::TipAboveFeeCap { priority, max });
        }
        let (accounts, slots) = tx.access_list().map_or((0, 0), |list| {
            (
                list.len() as u64,
                list.iter().map(|item| item.storage_keys.len() as u64).sum(),
            )
        });
        let intrinsic =
            self.gas_params
                .initial_tx_gas(tx.input(), tx.is_create(), accounts, slots, 0, None);
        let want = intrinsic.initial_total_gas().max(intrinsic.floor_gas());
        if tx.gas_limit() < want {
            return Err(TxError::IntrinsicGas {
                have: tx.gas_limit(),
                want,
            });
        }
        Ok(())
    }

    /// What depends on the sender's account. Returns what the transaction may cost at most, in wei.
    fn check_account(&self, tx: &Recovered<TxEnvelope>, origin: Origin) -> Result<U256, TxError> {
        let address = tx.signer();
        if tx.nonce() == u64::MAX {
            return Err(TxError::NonceMax(address));
        }
        let state = self.accounts.nonce(&address);
        if tx.nonce() < state {
            return Err(TxError::NonceTooLow {
                address,
                tx: tx.nonce(),
                state,
            });
        }
        if self.accounts.has_code(&address) && origin == Origin::Signed {
            return Err(TxError::SenderHasCode(address));
        }
        let cost_max = (U256::from(tx.gas_limit()) * U256::from(tx.max_fee_per_gas()))
            .saturating_add(tx.value());
        // As in geth, all that waits must be affordable together, or the later ones could never be mined.
        let want = self
            .pool
            .cost_max(&address, tx.nonce())
            .saturating_add(cost_max);
        let have = self.accounts.balance(&address);
        if want > have {
            return Err(TxError::InsufficientFunds {
                address,
                have,
                want,
            });
        }
        Ok(cost_max)
    }
}

/// Decodes an envelope of one of the supported types.
fn decode(raw: &[u8]) -> Result<TxEnvelope, TxError> {
    if raw.len() > TX_BYTES_MAX {
        return Err(TxError::Oversized {
            size: raw.len(),
            limit: TX_BYTES_MAX,
        });
    }
    match raw.first() {
        None => return Err(TxError::Decode("no bytes".to_owned())),
        // EIP-2718: a first byte up to 0x7f is a type; legacy transactions begin with an RLP list (0xc0 and above).
        Some(0x01 | 0x02) => {}
        Some(ty) if *ty < 0x80 => return Err(TxError::Type(*ty)),
        Some(_) => {}
    }
    let envelope =
        TxEnvelope::decode_2718_exact(raw).map_err(|error| TxError::Decode(error.to_string()))?;
    match envelope {
        TxEnvelope::Legacy(_) | TxEnvelope::Eip2930(_) | TxEnvelope::Eip1559(_) => Ok(envelope),
        other => Err(TxError::Type(other.ty())),
    }
}
