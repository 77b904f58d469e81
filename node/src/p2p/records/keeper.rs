//! What a node keeps of the DHT: in memory, for Kademlia to serve, and in the node's store, for the next start.
//!
//! Numbers and bytes are bounded for each kind. Where there is no room, what ends first gives way; what the node has
//! published itself does not. A worker's own provider records are not written down: its next start says again which networks
//! it serves.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::time::Instant;

use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{self, ProviderRecord, RecordKey};
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::{ADDRESSES_MAX, Kind, Record, network_of_key, time_left};
use crate::clock::ChainClock;
use crate::signed::{Domain, decode};
use crate::store::{Store, StoreError, Table};

/// Networks of which the providers are kept.
const PROVIDED_KEYS_MAX: usize = 256;
/// Providers of one network.
const PROVIDERS_MAX: usize = 256;

impl Kind {
    /// How many records of this kind are kept for others, and how many bytes of them.
    const fn room(self) -> (usize, usize) {
        const MIB: usize = 1024 * 1024;
        match self {
            Self::Validator => (1_024, 2 * MIB),
            Self::Node => (4_096, 8 * MIB),
            Self::Network => (256, MIB / 4),
            Self::Job => (2_048, 8 * MIB),
            Self::Payload => (64, 32 * MIB),
        }
    }
}

/// A record as it lies in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    record: Record,
    /// PeerId bytes of whom Kademlia holds to be the publisher.
    publisher: Option<Vec<u8>>,
    /// Chain time (seconds) at which it ends.
    ends_at: u64,
}

/// A provider record as it lies in the store, among those of its network.
#[derive(Serialize, Deserialize)]
struct StoredProvider {
    /// PeerId bytes of the worker.
    provider: Vec<u8>,
    /// Where it said that it is.
    addresses: Vec<Multiaddr>,
    /// Chain time (seconds) at which the record ends.
    ends_at: u64,
}

struct Kept {
    record: kad::Record,
    kind: Kind,
}

/// The node's record store.
pub(in crate::p2p) struct Keeper {
    local: PeerId,
    clock: ChainClock,
    store: Store,
    records: BTreeMap<Vec<u8>, Kept>,
    /// Keys whose records in the store are out of date.
    changed: BTreeSet<Vec<u8>>,
    providers: BTreeMap<Vec<u8>, Vec<ProviderRecord>>,
    /// Networks whose providers in the store are out of date.
    changed_providers: BTreeSet<Vec<u8>>,
}

impl Keeper {
    /// Takes in what the store has from the last run, except what has ended or does not hold any more.
    pub(in crate::p2p) fn open(
        local: PeerId,
        domain: &Domain,
        clock: ChainClock,
        store: Store,
    ) -> std::result::Result<Self, StoreError> {
        let mut keeper = Self {
            local,
            clock,
            store,
            records: BTreeMap::new(),
            changed: BTreeSet::new(),
            providers: BTreeMap::new(),
            changed_providers: BTreeSet::new(),
        };
        let now = keeper.clock.now();
        for (key, stored) in keeper.store.scan::<Stored>(Table::Records)? {
            let value = stored.record.encode();
            let record_key = RecordKey::from(key.clone());
            let held = Record::verify(&record_key, &value, domain, now);
            if stored.ends_at <= now || held.is_err() {
                keeper.changed.insert(key);
                continue;
            }
            let record = kad::Record {
                key: record_key,
                value,
                publisher: stored
                    .publisher
                    .and_then(|bytes| PeerId::from_bytes(&bytes).ok()),
                expires: Some(Instant::now() + time_left(stored.ends_at, now)),
            };
            if let Err(error) = keeper.put(record) {
                debug!(%error, "a stored record has no room any more");
                keeper.changed.insert(key);
            }
        }
        keeper.open_providers(now)?;
        Ok(keeper)
    }

    /// The same of provider records.
    fn open_providers(&mut self, now: u64) -> std::result::Result<(), StoreError> {
        let rows = self.store.scan::<Vec<StoredProvider>>(Table::Providers)?;
        for (key, stored) in rows {
            for provider in stored {
                let record = PeerId::from_bytes(&provider.provider)
                    .ok()
                    .filter(|peer| provider.ends_at > now && *peer != self.local)
                    .map(|peer| ProviderRecord {
                        key: RecordKey::from(key.clone()),
                        provider: peer,
                        expires: Some(Instant::now() + time_left(provider.ends_at, now)),
                        addresses: provider.addresses,
                    });
                if let Some(Err(error)) = record.map(|record| self.add_provider(record)) {
                    debug!(%error, "a stored provider record has no room any more");
                }
            }
            // What was left out is to go from the store as well.
            self.changed_providers.insert(key);
        }
        Ok(())
    }

    /// Writes down what has changed. What is lost by a crash before that is published again by others.
    pub(in crate::p2p) fn flush(&mut self) {
        self.flush_records();
        self.flush_providers();
    }

    fn flush_providers(&mut self) {
        let changed = std::mem::take(&mut self.changed_providers);
        if changed.is_empty() {
            return;
        }
        let now = self.clock.now();
        let stored = |key: &Vec<u8>| -> Vec<StoredProvider> {
            let providers = self.providers.get(key).into_iter().flatten();
            providers
                .filter(|provider| provider.provider != self.local)
                .filter_map(|provider| {
                    let left = provider
                        .expires?
                        .saturating_duration_since(Instant::now())
                        .as_secs();
                    Some(StoredProvider {
                        provider: provider.provider.to_bytes(),
                        addresses: provider.addresses.clone(),
                        ends_at: now.saturating_add(left),
                    })
                })
                .collect()
        };
        let result = self.store.write(|batch| {
            for key in &changed {
                let stored = stored(key);
                if stored.is_empty() {
                    batch.delete(Table::Providers, key)?;
                } else {
                    batch.put(Table::Providers, key, &stored)?;
                }
            }
            Ok(())
        });
        if let Err(error) = result {
            warn!(%error, "provider records of the DHT cannot be written down");
            self.changed_providers.extend(changed);
        }
    }

    fn flush_records(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        let now = self.clock.now();
        let result = self.store.write(|batch| {
            for key in &changed {
                let stored = self.records.get(key).and_then(|kept| {
                    let record = &kept.record;
                    let left = record
                        .expires
                        .map(|at| at.saturating_duration_since(Instant::now()));
                    let decoded: Record = decode(&record.value).ok()?;
                    Some(Stored {
                        ends_at: left.map_or(decoded.ends_at(now), |left| {
                            now.saturating_add(left.as_secs())
                        }),
                        record: decoded,
                        publisher: record.publisher.map(|peer| peer.to_bytes()),
                    })
                });
                match stored {
                    Some(stored) => batch.put(Table::Records, key, &stored)?,
                    None => batch.delete(Table::Records, key)?,
                }
            }
            Ok(())
        });
        if let Err(error) = result {
            warn!(%error, "records of the DHT cannot be written down");
            // Tried again with the next change or sweep.
            self.changed.extend(changed);
        }
    }

    /// Drops what has ended.
    pub(in crate::p2p) fn sweep(&mut self) {
        let now = Instant::now();
        let ended: Vec<Vec<u8>> = self
            .records
            .iter()
            .filter(|(_, kept)| kept.record.is_expired(now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            self.records.remove(&key);
            self.changed.insert(key);
        }
        let changed = &mut self.changed_providers;
        self.providers.retain(|key, providers| {
            let before = providers.len();
            providers.retain(|provider| !provider.is_expired(now));
            if providers.len() < before {
                changed.insert(key.clone());
            }
            !providers.is_empty()
        });
    }

    fn is_own(&self, record: &kad::Record) -> bool {
        record.publisher == Some(self.local)
    }

    /// Makes room for a record of this kind and size that ends at `expires`. `false` if everything else lasts longer.
    fn make_room(&mut self, kind: Kind, bytes: usize, expires: Option<Instant>) -> bool {
        let (number_max, bytes_max) = kind.room();
        loop {
            let others = || {
                self.records
                    .iter()
                    .filter(|(_, kept)| kept.kind == kind && !self.is_own(&kept.record))
            };
            let number = others().count();
            let sum: usize = others().map(|(_, kept)| kept.record.value.len()).sum();
            if number < number_max && sum + bytes <= bytes_max {
                return true;
            }
            let first = others()
                .min_by_key(|(_, kept)| (kept.record.expires.is_none(), kept.record.expires))
                .map(|(key, kept)| (key.clone(), kept.record.expires));
            match first {
                Some((key, ends)) if ends.is_some() && (expires.is_none() || ends < expires) => {
                    self.records.remove(&key);
                    self.changed.insert(key);
                }
                _ => return false,
            }
        }
    }
}

/// The records of a [`Keeper`], in the order of their keys.
pub(in crate::p2p) struct Records<'a>(btree_map::Values<'a, Vec<u8>, Kept>);

impl<'a> Iterator for Records<'a> {
    type Item = Cow<'a, kad::Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|kept| Cow::Borrowed(&kept.record))
    }
}

impl RecordStore for Keeper {
    type RecordsIter<'a> = Records<'a>;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, kad::Record>> {
        let kept = self.records.get(key.as_ref() as &[u8])?;
        Some(Cow::Borrowed(&kept.record))
    }

    /// Keeps a record that has been verified.
    fn put(&mut self, record: kad::Record) -> Result<()> {
        let Ok(decoded) = decode::<Record>(&record.value) else {
            return Err(Error::ValueTooLarge);
        };
        let kind = decoded.kind();
        if record.value.len() > kind.bytes_max() {
            return Err(Error::ValueTooLarge);
        }
        let key = record.key.to_vec();
        // What it replaces makes room for it.
        let before = self.records.remove(&key);
        let has_room =
            self.is_own(&record) || self.make_room(kind, record.value.len(), record.expires);
        if !has_room {
            if let Some(before) = before {
                self.records.insert(key, before);
            }
            return Err(Error::MaxRecords);
        }
        self.changed.insert(key.clone());
        self.records.insert(key, Kept { record, kind });
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        let key = key.to_vec();
        if self.records.remove(&key).is_some() {
            self.changed.insert(key);
        }
    }

    fn records(&self) -> Records<'_> {
        Records(self.records.values())
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        if network_of_key(&record.key).is_none() {
            return Err(Error::MaxProvidedKeys);
        }
        let key = record.key.to_vec();
        if self.providers.len() >= PROVIDED_KEYS_MAX && !self.providers.contains_key(&key) {
            return Err(Error::MaxProvidedKeys);
        }
        record.addresses.truncate(ADDRESSES_MAX);
        self.changed_providers.insert(key.clone());
        let providers = self.providers.entry(key).or_default();
        providers.retain(|known| known.provider != record.provider);
        let is_own = record.provider == self.local;
        if providers.len() >= PROVIDERS_MAX && !is_own {
            return Err(Error::MaxProvidedKeys);
        }
        providers.push(record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let now = Instant::now();
        let providers = self.providers.get(key.as_ref() as &[u8]);
        providers
            .into_iter()
            .flatten()
            .filter(|provider| !provider.is_expired(now))
            .cloned()
            .collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        let own = self.providers.values().flatten();
        own.filter(|provider| provider.provider == self.local)
            .map(Cow::Borrowed)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        let key: &[u8] = key.as_ref();
        if let Some(providers) = self.providers.get_mut(key) {
            providers.retain(|known| known.provider != *provider);
            self.changed_providers.insert(key.to_vec());
            if providers.is_empty() {
                self.providers.remove(key);
            }
        }
    }
}
