//! What the DHT says and the chain bears out: where nodes are, which networks there are, how jobs stand.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use libp2p::PeerId;
use tokio::time::Instant;
use tracing::debug;

use super::context::{Context, Peer, PeerError, serves};
use crate::chain::ChainError;
use crate::identity::peer_key_hash;
use crate::p2p::Offer;
use crate::p2p::handshake::Role;
use crate::p2p::records::{
    ADDRESSES_MAX, JobPhase, JobRecord, NetworkRecord, NodeRecord, RECORD_LIFETIME_SECONDS, Record,
    job_key, network_of_key, node_key,
};
use crate::signed::Signed;
use crate::work::NetworkName;

/// For how long the list of validators is taken from memory. A flood of records must not become one of questions to the
/// chain.
const VALIDATORS_KEPT: Duration = Duration::from_secs(30);

/// The validators on chain, and when they were asked for.
pub(super) type KnownValidators = Option<(Instant, Vec<Address>)>;

impl Context {
    /// Whether the chain bears out what a peer wants kept.
    pub(super) async fn bears_out(&self, offer: &Offer) -> Result<bool, ChainError> {
        match offer {
            Offer::Record { record, .. } => self.believes(record).await,
            Offer::Provider(provider) => match self.verify_peer(provider.provider).await {
                Ok(peer) if peer.role == Role::Worker => {
                    Ok(network_of_key(&provider.key).is_some_and(|name| peer.serves(name)))
                }
                Err(PeerError::Chain(error)) => Err(error),
                Ok(_) | Err(_) => Ok(false),
            },
        }
    }

    /// Whether the chain lets its publisher publish this record.
    async fn believes(&self, record: &Record) -> Result<bool, ChainError> {
        match record {
            Record::Node(node) if node.body.role == Role::Validator => {
                let key_hash = node.body.peer_id().as_ref().and_then(peer_key_hash);
                match key_hash {
                    Some(hash) => {
                        self.chain
                            .is_verified_validator(node.body.wallet, hash)
                            .await
                    }
                    None => Ok(false),
                }
            }
            Record::Node(_) => Ok(true),
            Record::Network(network) => Ok(self.is_validator(network.body.publisher).await?
                && self.chain.is_network(&network.body.name).await?),
            Record::Job(job) => self.is_validator(job.body.validator).await,
            Record::Payload(payload) => self.is_validator(payload.body.publisher).await,
        }
    }

    async fn is_validator(&self, wallet: Address) -> Result<bool, ChainError> {
        let known = self.known_validators().clone();
        if let Some((at, validators)) = known
            && at.elapsed() < VALIDATORS_KEPT
        {
            return Ok(validators.contains(&wallet));
        }
        let validators = self.chain.validators().await?;
        let found = validators.contains(&wallet);
        *self.known_validators() = Some((Instant::now(), validators));
        Ok(found)
    }

    /// The records under a key that the chain bears out.
    async fn believed(&self, key: libp2p::kad::RecordKey) -> Vec<Record> {
        let mut believed = Vec::new();
        for record in self.network.find_records(key).await {
            match self.believes(&record).await {
                Ok(true) => believed.push(record),
                Ok(false) => debug!(?record, "a record that the chain does not bear out"),
                Err(error) => debug!(%error, "records cannot be checked now"),
            }
        }
        believed
    }

    /// The latest node record of a wallet.
    pub async fn find_node(&self, wallet: Address) -> Option<NodeRecord> {
        let records = self.believed(node_key(wallet)).await;
        let nodes = records.into_iter().filter_map(|record| match record {
            Record::Node(node) => Some(node.body),
            _ => None,
        });
        nodes.max_by_key(|node| node.sequence)
    }

    /// Whether a validator says in the DHT that it coordinates a job, or did.
    pub async fn is_coordinator(&self, validator: Address, job: B256) -> bool {
        let records = self.believed(job_key(job, validator)).await;
        records
            .iter()
            .any(|record| matches!(record, Record::Job(_)))
    }

    /// The verified node behind a wallet, whatever its role: one that is connected, or found in the DHT and dialled now.
    pub async fn reach(&self, wallet: Address) -> Option<Peer> {
        if let Some(peer) = self.peer_of(wallet) {
            return Some(peer);
        }
        let record = self.find_node(wallet).await?;
        let id = record.peer_id()?;
        self.network.dial(Some(id), record.addresses).await;
        match self.verify_peer(id).await {
            Ok(peer) if peer.wallet == wallet => Some(peer),
            Ok(_) => None,
            Err(error) => {
                debug!(peer = %id, %wallet, %error, "not reached");
                None
            }
        }
    }

    /// Publishes where this node is and what it does.
    pub(super) async fn publish_node(&self) {
        let now = self.clock.now();
        let mut addresses = self.network.addresses().await;
        addresses.truncate(ADDRESSES_MAX);
        let body = NodeRecord {
            wallet: self.address(),
            role: self.config.role,
            networks: self.config.networks.clone(),
            peer: self.identity.peer_id().to_bytes(),
            addresses,
            sequence: now,
            expires_at: now.saturating_add(RECORD_LIFETIME_SECONDS),
        };
        self.put(Record::Node(self.sign(body))).await;
    }

    /// Says which of the networks that are active on chain this worker serves, and withdraws from those that were removed.
    pub(super) async fn publish_service(&self) -> Result<(), ChainError> {
        for (name, is_active) in self.chain.networks().await? {
            if !serves(&self.config.networks, &name) {
                continue;
            }
            if is_active {
                self.network.serve_network(&name).await;
            } else {
                self.network.withdraw_from_network(&name).await;
            }
        }
        Ok(())
    }

    async fn active_networks(&self) -> Result<Vec<String>, ChainError> {
        let networks = self.chain.networks().await?.into_iter();
        Ok(networks
            .filter_map(|(name, active)| active.then_some(name))
            .collect())
    }

    /// Publishes every network that is active on chain, as a validator does.
    pub(super) async fn publish_networks(&self) -> Result<(), ChainError> {
        for name in self.active_networks().await? {
            let NetworkName { workload, policy } = match name.parse() {
                Ok(named) => named,
                Err(error) => {
                    debug!(%error, "no record for this network");
                    continue;
                }
            };
            let now = self.clock.now();
            let body = NetworkRecord {
                publisher: self.address(),
                name,
                workload: workload.to_owned(),
                policy,
                sequence: now,
                expires_at: now.saturating_add(RECORD_LIFETIME_SECONDS),
            };
            self.put(Record::Network(self.sign(body))).await;
        }
        Ok(())
    }

    /// Publishes how a job stands that this validator coordinates.
    pub async fn publish_job(
        &self,
        job: B256,
        user: Address,
        phase: JobPhase,
        workers: impl IntoIterator<Item = Address>,
    ) {
        let now = self.clock.now();
        let mut workers: Vec<Address> = workers.into_iter().collect();
        workers.sort();
        workers.dedup();
        let body = JobRecord {
            validator: self.address(),
            job,
            user,
            phase,
            workers,
            sequence: now,
            expires_at: now.saturating_add(RECORD_LIFETIME_SECONDS),
        };
        self.put(Record::Job(self.sign(body))).await;
    }

    fn sign<T: crate::signed::Statement>(&self, body: T) -> Signed<T> {
        Signed::sign(body, &self.domain, &self.identity.wallet)
    }

    async fn put(&self, record: Record) {
        self.network.put_record(&record).await;
    }

    /// Peers that say in the DHT that they serve a network, this node aside. Whether they do shows when they are asked.
    pub async fn find_workers(&self, network: &str) -> Vec<PeerId> {
        let mut workers = self.network.network_workers(network).await;
        workers.retain(|peer| *peer != self.identity.peer_id());
        workers
    }
}
