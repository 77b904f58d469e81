//! Records in the DHT: typed, signed by their publisher's wallet, sequenced, expiring and bounded in size. A store
//! keeps only what it has verified.

use alloy::primitives::{Address, B256};
use libp2p::kad::RecordKey;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::round::payload::{PublishedError, SignedPayload};
use crate::signed::{DecodeError, Domain, SignatureError, Signed, Statement, decode, encode};

/// Largest encoded record in bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Most addresses in a node record.
pub const ADDRESSES_MAX: usize = 16;
/// How long a node record lives, in seconds of chain time.
pub const NODE_RECORD_LIFETIME_SECONDS: u64 = 48 * 3_600;

/// Where a node is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The publisher.
    pub wallet: Address,
    /// PeerId bytes.
    pub peer: Vec<u8>,
    /// Listening addresses.
    pub addresses: Vec<Multiaddr>,
    /// Grows with each record of this wallet; a store keeps the highest.
    pub sequence: u64,
    /// Chain time (seconds) after which the record is void.
    pub expires_at: u64,
}

impl Statement for NodeRecord {
    const TAG: &'static str = "node-record";
}

impl NodeRecord {
    /// The peer that the record names, if it names one.
    pub fn peer_id(&self) -> Option<PeerId> {
        PeerId::from_bytes(&self.peer).ok()
    }
}

/// A record of any kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A node's addresses, under [`node_key`].
    Node(Signed<NodeRecord>),
    /// A state update's payload, under [`payload_key`] of the proposal hash that it yields.
    Payload(Box<SignedPayload>),
}

/// Why a record is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Over [`RECORD_BYTES_MAX`].
    #[error("the record has {0} bytes, at most {RECORD_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// Not a record of ours.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its content belongs under another key.
    #[error("the record's content does not belong under its key")]
    WrongKey,
    /// Past its time, or further ahead than allowed.
    #[error("the record is valid until {expires_at}, but chain time is {now}")]
    Expired {
        /// Expiry named in the record, chain seconds.
        expires_at: u64,
        /// Chain time of the check, seconds.
        now: u64,
    },
    /// Names no usable peer or too many addresses.
    #[error("the node record names no peer, or more than {ADDRESSES_MAX} addresses")]
    BadAddresses,
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The payload does not hold.
    #[error(transparent)]
    Payload(#[from] PublishedError),
    /// An older version of what is already kept.
    #[error("a record with a higher sequence number is kept already")]
    Stale,
}

/// Key of the node record of `wallet`.
pub fn node_key(wallet: Address) -> RecordKey {
    RecordKey::new(&[b"/smartnodes/node/".as_slice(), wallet.as_slice()].concat())
}

/// Key of the payload that yields `proposal_hash`: content-addressed.
pub fn payload_key(proposal_hash: B256) -> RecordKey {
    RecordKey::new(&[b"/smartnodes/payload/".as_slice(), proposal_hash.as_slice()].concat())
}

impl Record {
    /// The key under which the record belongs.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Node(record) => node_key(record.body.wallet),
            Self::Payload(payload) => payload_key(payload.body.proposal_hash),
        }
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes and verifies everything that can be verified without the chain.
    pub fn verify(
        key: &RecordKey,
        bytes: &[u8],
        domain: &Domain,
        now: u64,
    ) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let record: Self = decode(bytes)?;
        if record.key() != *key {
            return Err(RecordError::WrongKey);
        }
        match &record {
            Self::Node(node) => {
                let body = &node.body;
                if body.expires_at < now || body.expires_at > now + 2 * NODE_RECORD_LIFETIME_SECONDS
                {
                    return Err(RecordError::Expired {
                        expires_at: body.expires_at,
                        now,
                    });
                }
                if body.peer_id().is_none() || body.addresses.len() > ADDRESSES_MAX {
                    return Err(RecordError::BadAddresses);
                }
                node.verify(domain, body.wallet)?;
            }
            Self::Payload(payload) => payload.check(domain)?,
        }
        Ok(record)
    }

    /// Whether `self` may replace `kept` under the same key.
    pub fn replaces(&self, kept: &Self) -> bool {
        match (self, kept) {
            (Self::Node(new), Self::Node(old)) => new.body.sequence > old.body.sequence,
            // A payload is its own key: whoever publishes it, it is the same.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::signers::local::PrivateKeySigner;

    fn record(sequence: u64) -> Record {
        let wallet = PrivateKeySigner::from_bytes(&B256::repeat_byte(4)).expect("a valid scalar");
        let body = NodeRecord {
            wallet: wallet.address(),
            peer: PeerId::random().to_bytes(),
            addresses: vec!["/ip4/10.0.0.1/tcp/4000".parse().expect("an address")],
            sequence,
            expires_at: 1_000,
        };
        Record::Node(Signed::sign(body, &domain(), &wallet))
    }

    fn domain() -> Domain {
        Domain {
            chain_id: 1,
            core: Address::repeat_byte(1),
            coordinator: Address::repeat_byte(2),
        }
    }

    #[test]
    fn a_store_keeps_only_what_it_can_verify() {
        let good = record(1);
        assert!(Record::verify(&good.key(), &good.encode(), &domain(), 900).is_ok());
        assert_eq!(
            Record::verify(&node_key(Address::ZERO), &good.encode(), &domain(), 900).err(),
            Some(RecordError::WrongKey)
        );
        assert!(matches!(
            Record::verify(&good.key(), &good.encode(), &domain(), 1_001),
            Err(RecordError::Expired { .. })
        ));
        let Record::Node(mut forged) = good.clone() else {
            panic!("a node record")
        };
        forged.body.addresses.clear();
        let forged = Record::Node(forged);
        assert!(matches!(
            Record::verify(&forged.key(), &forged.encode(), &domain(), 900),
            Err(RecordError::Signature(_))
        ));
        assert!(matches!(
            Record::verify(&good.key(), &vec![0; RECORD_BYTES_MAX + 1], &domain(), 900),
            Err(RecordError::TooLarge(_))
        ));
        assert!(record(2).replaces(&good) && !good.replaces(&record(2)));
    }
}
