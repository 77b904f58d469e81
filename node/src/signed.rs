//! Statements signed by a wallet: the one form in which the network believes anything.
//!
//! A digest covers a domain tag of the statement's type, the chain id and Core's address, then the BLAKE3 hash of the body's
//! CBOR encoding, so that a signature made for one chain, deployment or kind of statement is worthless for any other. A
//! receipt may hold results of a MiB, for which Keccak takes more than ten times as long.

use alloy::primitives::{Address, B256, Keccak256, Signature};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The deployment that a signature is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of SmartnodesCore on that chain.
    pub core: Address,
    /// Address of SmartnodesCoordinator on that chain: proposal hashes are bound to it.
    pub coordinator: Address,
}

/// A type that may be signed. `TAG` must be unique among all statements.
pub trait Statement: Serialize + DeserializeOwned {
    /// Domain-separation tag of this type of statement.
    const TAG: &'static str;

    /// What a wallet signs for this body, and the statement's id: it does not depend on the signature, which is
    /// malleable.
    fn digest(&self, domain: &Domain) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(b"smartnodes/1/");
        hasher.update(Self::TAG.as_bytes());
        hasher.update([0]);
        hasher.update(domain.chain_id.to_be_bytes());
        hasher.update(domain.core);
        hasher.update(blake3::hash(&encode(self)).as_bytes());
        hasher.finalize()
    }
}

/// Why a signed statement is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is not one.
    #[error("the signature is malformed or recovers to no address")]
    Malformed,
    /// The signature is somebody else's.
    #[error("signed by {found}, but it must be signed by {expected}")]
    WrongSigner {
        /// The address that the statement names.
        expected: Address,
        /// The address that the signature recovers to.
        found: Address,
    },
}

/// A statement and the wallet signature (EIP-2 low-s ECDSA, 65 bytes) over its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
pub struct Signed<T> {
    /// What is stated.
    pub body: T,
    signature: Signature,
}

impl<T: Statement> Signed<T> {
    /// Signs `body` with `wallet` for `domain`.
    pub fn sign(body: T, domain: &Domain, wallet: &PrivateKeySigner) -> Self {
        let signature = wallet
            .sign_hash_sync(&body.digest(domain))
            .expect("a local key signs any 32-byte digest");
        Self { body, signature }
    }

    /// The statement's id: its digest.
    pub fn id(&self, domain: &Domain) -> B256 {
        self.body.digest(domain)
    }

    /// Checks that `expected` signed this for `domain`.
    pub fn verify(&self, domain: &Domain, expected: Address) -> Result<(), SignatureError> {
        let found = self
            .signature
            .recover_address_from_prehash(&self.body.digest(domain))
            .map_err(|_| SignatureError::Malformed)?;
        if found == expected {
            Ok(())
        } else {
            Err(SignatureError::WrongSigner { expected, found })
        }
    }
}

/// CBOR encoding of a value of ours.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)
        .expect("our own types encode, and a Vec takes any number of bytes");
    bytes
}

/// Bytes that do not decode as what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("does not decode as {what}: {reason}")]
pub struct DecodeError {
    /// The type that was expected.
    pub what: &'static str,
    /// The decoder's words.
    pub reason: String,
}

/// Decodes `T` from CBOR that came from outside: all of the bytes, so that a value has no second form with something after
/// it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let refused = |reason: String| DecodeError {
        what: std::any::type_name::<T>(),
        reason,
    };
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(|error| refused(error.to_string()))?;
    if !rest.is_empty() {
        return Err(refused(format!("{} bytes follow the value", rest.len())));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Serialize, Deserialize)]
    struct Note(u64);
    impl Statement for Note {
        const TAG: &'static str = "note";
    }
    #[derive(Serialize, Deserialize)]
    struct Other(u64);
    impl Statement for Other {
        const TAG: &'static str = "other";
    }

    fn domain() -> Domain {
        Domain {
            chain_id: 31_337,
            core: Address::repeat_byte(7),
            coordinator: Address::repeat_byte(8),
        }
    }

    fn wallet(byte: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(byte)).expect("a valid scalar")
    }

    #[test]
    fn a_signature_is_bound_to_signer_body_type_chain_and_deployment() {
        let signed = Signed::sign(Note(1), &domain(), &wallet(1));
        assert_eq!(signed.verify(&domain(), wallet(1).address()), Ok(()));
        assert!(matches!(
            signed.verify(&domain(), wallet(2).address()),
            Err(SignatureError::WrongSigner { .. })
        ));
        let mut changed = signed.clone();
        changed.body.0 = 2;
        assert!(changed.verify(&domain(), wallet(1).address()).is_err());
        let other_chain = Domain {
            chain_id: 1,
            ..domain()
        };
        assert!(signed.verify(&other_chain, wallet(1).address()).is_err());
        let other_core = Domain {
            core: Address::ZERO,
            ..domain()
        };
        assert!(signed.verify(&other_core, wallet(1).address()).is_err());
        assert_ne!(Note(1).digest(&domain()), Other(1).digest(&domain()));
    }

    #[test]
    fn a_signed_statement_survives_its_encoding() {
        let signed = Signed::sign(Note(9), &domain(), &wallet(3));
        let mut bytes = encode(&signed);
        let back: Signed<Note> = decode(&bytes).expect("decodes");
        assert_eq!(back.verify(&domain(), wallet(3).address()), Ok(()));
        bytes.push(0);
        assert!(decode::<Signed<Note>>(&bytes).is_err());
    }
}
