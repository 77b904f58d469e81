//! Records in the DHT: typed, signed by their publisher's wallet, sequenced, expiring and bounded in size. A store keeps
//! only what it has verified, and a reader believes only what it has verified again.
//!
//! | record | under | signed by | the chain must know |
//! | --- | --- | --- | --- |
//! | [`NodeRecord`] | the wallet | the wallet | a validator as one, under the network key that the record names |
//! | [`NetworkRecord`] | the network's name | any validator | the publisher as a validator, the network as active |
//! | [`JobRecord`] | job and coordinator | the coordinator | the coordinator as a validator |
//! | payload | the proposal hash that it yields | whoever publishes it | the publisher as a validator |
//!
//! [`Record::verify`] checks all that needs no chain; `roles::context` checks the rest. What a network's record says follows
//! from the network's name and the registry on chain, so nobody has to be believed about it. Whom a worker serves is no
//! record but a provider record of the network's key ([`network_key`]), which Kademlia takes only from the worker itself.

pub(super) mod keeper;
#[cfg(test)]
mod tests;

use std::time::Duration;

use alloy::primitives::{Address, B256};
use libp2p::kad::RecordKey;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use super::handshake::{NETWORKS_MAX, Role};
use crate::jobs::NETWORK_NAME_MAX;
use crate::round::payload::{PublishedError, SignedPayload};
use crate::signed::{DecodeError, Domain, SignatureError, Signed, Statement, decode, encode};
use crate::work::{NetworkName, Policy};

/// Largest encoded record in bytes, of any kind.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Most addresses in a node record.
pub const ADDRESSES_MAX: usize = 16;
/// Most workers in a job record: seven replicas of each of 64 tasks, and some that were replaced.
pub const JOB_WORKERS_MAX: usize = 512;
/// How long a record lives after it was made, in seconds of chain time, if it is not published again.
pub const RECORD_LIFETIME_SECONDS: u64 = 48 * 3_600;
/// How far ahead of chain time a record may be dated, in seconds: two nodes may have seen different heads.
pub const CLOCK_TOLERANCE_SECONDS: u64 = 300;

/// What a node is and where it is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// The publisher.
    pub wallet: Address,
    /// What it does.
    pub role: Role,
    /// Networks that it serves, if a worker.
    pub networks: Vec<String>,
    /// PeerId bytes.
    pub peer: Vec<u8>,
    /// Listening addresses.
    pub addresses: Vec<Multiaddr>,
    /// Chain time (seconds) at which it was made. A store keeps the latest of a wallet.
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

/// A network that is active on chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRecord {
    /// The validator that publishes it.
    pub publisher: Address,
    /// The network's name in Core.
    pub name: String,
    /// The workload of its workers.
    pub workload: String,
    /// How thoroughly their results are verified.
    pub policy: Policy,
    /// Chain time (seconds) at which it was made. A store keeps the latest.
    pub sequence: u64,
    /// Chain time (seconds) after which the record is void.
    pub expires_at: u64,
}

impl Statement for NetworkRecord {
    const TAG: &'static str = "network-record";
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobPhase {
    /// Workers are recruited or at work.
    Active,
    /// Its results are verified.
    Complete,
    /// It was given up.
    Failed,
    /// Its user gave it up.
    Cancelled,
}

/// How a job stands, in its coordinator's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// The validator that coordinates the job.
    pub validator: Address,
    /// The job.
    pub job: B256,
    /// Who asked for it.
    pub user: Address,
    /// How far it has come.
    pub phase: JobPhase,
    /// Who works or has worked on it, ascending.
    pub workers: Vec<Address>,
    /// Chain time (seconds) at which it was made. A store keeps the latest.
    pub sequence: u64,
    /// Chain time (seconds) after which the record is void.
    pub expires_at: u64,
}

impl Statement for JobRecord {
    const TAG: &'static str = "job-record";
}

/// A record of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A node, under [`node_key`].
    Node(Signed<NodeRecord>),
    /// A network, under [`network_key`].
    Network(Signed<NetworkRecord>),
    /// A job, under [`job_key`].
    Job(Signed<JobRecord>),
    /// A state update's payload, under [`payload_key`] of the proposal hash that it yields.
    Payload(Box<SignedPayload>),
}

/// Kinds of records that have bounds of their own, so that no kind crowds out another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Node records of validators.
    Validator,
    /// Node records of workers and users, which anyone can make any number of.
    Node,
    /// Networks.
    Network,
    /// Jobs.
    Job,
    /// Payloads.
    Payload,
}

impl Kind {
    /// Largest encoded record of this kind in bytes.
    const fn bytes_max(self) -> usize {
        match self {
            Self::Validator | Self::Node => 8 * 1024,
            Self::Network => 2 * 1024,
            Self::Job => 32 * 1024,
            Self::Payload => RECORD_BYTES_MAX,
        }
    }
}

/// Why a record is not kept, or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Larger than its kind may be.
    #[error("the record has {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        max: usize,
    },
    /// Not a record of ours.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its content belongs under another key.
    #[error("the record's content does not belong under its key")]
    WrongKey,
    /// Past its time, or of a longer life than allowed.
    #[error(
        "the record was made at {sequence} and is valid until {expires_at}, but chain time is {now}"
    )]
    Expired {
        /// Date named in the record, chain seconds.
        sequence: u64,
        /// Expiry named in the record, chain seconds.
        expires_at: u64,
        /// Chain time of the check, seconds.
        now: u64,
    },
    /// A field is out of bounds.
    #[error("the record's {0} is out of bounds")]
    Field(&'static str),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The payload does not hold.
    #[error(transparent)]
    Payload(#[from] PublishedError),
    /// An older version of what is already kept, or the same.
    #[error("a record with this sequence number or a higher one is kept already")]
    Stale,
}

impl RecordError {
    /// Whether no honest peer hands such a record over. Time and luck make records stale.
    pub(super) fn is_offence(&self) -> bool {
        !matches!(self, Self::Expired { .. } | Self::Stale)
    }
}

/// How long what ends at `ends_at` is kept from `now` on, in chain seconds: no longer than any record lives, whatever the
/// disk says, for no timer takes an arbitrary time.
pub(super) fn time_left(ends_at: u64, now: u64) -> Duration {
    const MAX: u64 = RECORD_LIFETIME_SECONDS + CLOCK_TOLERANCE_SECONDS;
    Duration::from_secs(ends_at.saturating_sub(now).min(MAX))
}

fn key(kind: &str, parts: &[&[u8]]) -> RecordKey {
    let mut bytes = format!("/smartnodes/{kind}/").into_bytes();
    for part in parts {
        bytes.extend_from_slice(part);
    }
    RecordKey::from(bytes)
}

/// Key of the node record of `wallet`.
pub fn node_key(wallet: Address) -> RecordKey {
    key("node", &[wallet.as_slice()])
}

/// Key of a network's record, and of the provider records of its workers.
pub fn network_key(name: &str) -> RecordKey {
    key("network", &[name.as_bytes()])
}

/// The name of the network that a key is of, if it is one.
pub fn network_of_key(key: &RecordKey) -> Option<&str> {
    let bytes: &[u8] = key.as_ref();
    let name = std::str::from_utf8(bytes.strip_prefix(b"/smartnodes/network/")?).ok()?;
    (1..=NETWORK_NAME_MAX).contains(&name.len()).then_some(name)
}

/// Key of the record of a job that `validator` coordinates.
pub fn job_key(job: B256, validator: Address) -> RecordKey {
    key("job", &[job.as_slice(), validator.as_slice()])
}

/// Key of the payload that yields `proposal_hash`: content-addressed.
pub fn payload_key(proposal_hash: B256) -> RecordKey {
    key("payload", &[proposal_hash.as_slice()])
}

impl Record {
    /// The key under which the record belongs.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Node(record) => node_key(record.body.wallet),
            Self::Network(record) => network_key(&record.body.name),
            Self::Job(record) => job_key(record.body.job, record.body.validator),
            Self::Payload(payload) => payload_key(payload.body.proposal_hash),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Node(record) if record.body.role == Role::Validator => Kind::Validator,
            Self::Node(_) => Kind::Node,
            Self::Network(_) => Kind::Network,
            Self::Job(_) => Kind::Job,
            Self::Payload(_) => Kind::Payload,
        }
    }

    /// When it was made and when it ends, in seconds of chain time. A payload has no date: it is what it is, and ends some
    /// time after it was first kept.
    fn life(&self) -> Option<(u64, u64)> {
        match self {
            Self::Node(record) => Some((record.body.sequence, record.body.expires_at)),
            Self::Network(record) => Some((record.body.sequence, record.body.expires_at)),
            Self::Job(record) => Some((record.body.sequence, record.body.expires_at)),
            Self::Payload(_) => None,
        }
    }

    /// Chain time (seconds) at which a record that is kept from `now` on ends.
    pub(super) fn ends_at(&self, now: u64) -> u64 {
        self.life()
            .map_or(now.saturating_add(RECORD_LIFETIME_SECONDS), |(_, ends)| {
                ends
            })
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
        let too_large = |max: usize| RecordError::TooLarge {
            bytes: bytes.len(),
            max,
        };
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(too_large(RECORD_BYTES_MAX));
        }
        let record: Self = decode(bytes)?;
        let max = record.kind().bytes_max();
        if bytes.len() > max {
            return Err(too_large(max));
        }
        if record.key() != *key {
            return Err(RecordError::WrongKey);
        }
        if let Some((sequence, expires_at)) = record.life() {
            let begun = sequence <= now.saturating_add(CLOCK_TOLERANCE_SECONDS);
            let short = expires_at <= sequence.saturating_add(RECORD_LIFETIME_SECONDS);
            if !begun || !short || expires_at < now {
                return Err(RecordError::Expired {
                    sequence,
                    expires_at,
                    now,
                });
            }
        }
        record.check_fields()?;
        match &record {
            Self::Node(node) => node.verify(domain, node.body.wallet)?,
            Self::Network(network) => network.verify(domain, network.body.publisher)?,
            Self::Job(job) => job.verify(domain, job.body.validator)?,
            Self::Payload(payload) => payload.check(domain)?,
        }
        Ok(record)
    }

    fn check_fields(&self) -> Result<(), RecordError> {
        let name_fits = |name: &String| (1..=NETWORK_NAME_MAX).contains(&name.len());
        match self {
            Self::Node(node) => {
                let body = &node.body;
                if body.peer_id().is_none() {
                    return Err(RecordError::Field("peer"));
                }
                if body.addresses.len() > ADDRESSES_MAX {
                    return Err(RecordError::Field("number of addresses"));
                }
                if body.networks.len() > NETWORKS_MAX || !body.networks.iter().all(name_fits) {
                    return Err(RecordError::Field("list of networks"));
                }
            }
            Self::Network(network) => {
                let body = &network.body;
                if !name_fits(&body.name) {
                    return Err(RecordError::Field("name"));
                }
                // The name says it all, to everyone alike.
                match body.name.parse::<NetworkName>() {
                    Ok(named) if named.workload != body.workload => {
                        return Err(RecordError::Field("workload"));
                    }
                    Ok(named) if named.policy != body.policy => {
                        return Err(RecordError::Field("policy"));
                    }
                    Ok(_) => {}
                    Err(_) => return Err(RecordError::Field("name")),
                }
            }
            Self::Job(job) => {
                let workers = &job.body.workers;
                if workers.len() > JOB_WORKERS_MAX || !workers.is_sorted_by(|a, b| a < b) {
                    return Err(RecordError::Field("list of workers"));
                }
            }
            Self::Payload(_) => {}
        }
        Ok(())
    }

    /// Whether `self` may replace `kept` under the same key. A payload never does: whoever publishes it, it is the same.
    pub fn replaces(&self, kept: &Self) -> bool {
        match (self.life(), kept.life()) {
            (Some((new, _)), Some((old, _))) => new > old,
            _ => false,
        }
    }

    /// Whether only the chain can tell if the record's publisher may publish it.
    pub(super) fn needs_chain(&self) -> bool {
        self.kind() != Kind::Node
    }
}
