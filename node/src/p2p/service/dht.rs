//! The DHT: lookups, and what is kept for others.

use std::collections::BTreeSet;
use std::time::Instant;

use libp2p::kad::store::RecordStore;
use libp2p::kad::{
    self, GetProvidersOk, GetRecordOk, ProviderRecord, QueryId, QueryResult, Quorum, RecordKey,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::Service;
use crate::p2p::limits::Allowance;
use crate::p2p::records::{ADDRESSES_MAX, Record, RecordError, network_of_key, time_left};
use crate::p2p::score::Offence;
use crate::p2p::{Event, Offer};

/// Lookups under way at once.
const LOOKUPS_MAX: usize = 256;
/// Most values of one lookup: one from each of the nodes that keep it.
const FOUND_MAX: usize = 32;
/// Most providers of one lookup.
const PROVIDERS_MAX: usize = 256;

/// What was looked for, what has been found so far, and who waits for it.
pub(super) enum Lookup {
    Record {
        key: RecordKey,
        found: Vec<Record>,
        answer: oneshot::Sender<Vec<Record>>,
    },
    Providers {
        found: BTreeSet<PeerId>,
        answer: oneshot::Sender<Vec<PeerId>>,
    },
}

impl Service {
    /// Takes in where a peer is said to be.
    pub(super) fn add_addresses(&mut self, peer: &PeerId, addresses: &[Multiaddr]) {
        for address in addresses.iter().take(ADDRESSES_MAX) {
            let kad = &mut self.swarm.behaviour_mut().kad;
            kad.add_address(peer, address.clone());
        }
    }

    /// Publishes a record of this node's own, here and at the closest peers.
    pub(super) fn put(&mut self, record: &Record) {
        let now = tokio::time::Instant::now();
        if matches!(record, Record::Job(_))
            && !self.job_records.take(Allowance::of_job_records(), 1, now)
        {
            debug!("too many jobs for a record of each");
            return;
        }
        let mut published = kad::Record::new(record.key(), record.encode());
        published.expires = Some(self.end_of(record));
        let kad = &mut self.swarm.behaviour_mut().kad;
        if let Err(error) = kad.put_record(published, Quorum::One) {
            warn!(%error, "the record could not be stored here");
        }
    }

    /// When a record that is kept from now on ends.
    fn end_of(&self, record: &Record) -> Instant {
        let now = self.clock.now();
        Instant::now() + time_left(record.ends_at(now), now)
    }

    pub(super) fn find(&mut self, key: RecordKey, answer: oneshot::Sender<Vec<Record>>) {
        if self.lookups.len() >= LOOKUPS_MAX {
            // The answer is dropped: nothing was found.
            return;
        }
        let id = self.swarm.behaviour_mut().kad.get_record(key.clone());
        let found = Vec::new();
        self.lookups
            .push((id, Lookup::Record { key, found, answer }));
    }

    pub(super) fn find_providers(&mut self, key: RecordKey, answer: oneshot::Sender<Vec<PeerId>>) {
        if self.lookups.len() >= LOOKUPS_MAX {
            return;
        }
        let id = self.swarm.behaviour_mut().kad.get_providers(key);
        let found = BTreeSet::new();
        self.lookups.push((id, Lookup::Providers { found, answer }));
    }

    pub(super) fn provide(&mut self, key: RecordKey) {
        if let Err(error) = self.swarm.behaviour_mut().kad.start_providing(key) {
            warn!(%error, "the network's workers could not be joined in the DHT");
        }
    }

    pub(super) fn kad_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id, result, step, ..
            } => {
                self.query_progressed(id, result);
                if step.last {
                    self.lookup_ended(id);
                }
            }
            kad::Event::InboundRequest {
                request:
                    kad::InboundRequest::PutRecord {
                        source,
                        record: Some(record),
                        ..
                    },
            } => {
                if self.admit(source, "record", record.value.len())
                    && let Err(error) = self.offered(record)
                {
                    self.bad_record(Some(source), &error);
                }
            }
            kad::Event::InboundRequest {
                request:
                    kad::InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } => self.provider_offered(record),
            _ => {}
        }
    }

    fn query_progressed(&mut self, id: QueryId, result: QueryResult) {
        match result {
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                let key = self.lookups.iter().find_map(|(of, lookup)| match lookup {
                    Lookup::Record { key, .. } if *of == id => Some(key.clone()),
                    _ => None,
                });
                let Some(key) = key else { return };
                match self.verify(&key, &found.record.value) {
                    Ok(record) => {
                        if let Some((_, Lookup::Record { found, .. })) = self.lookup(id)
                            && found.len() < FOUND_MAX
                            && !found.contains(&record)
                        {
                            found.push(record);
                        }
                    }
                    Err(error) => self.bad_record(found.peer, &error),
                }
            }
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                if let Some((_, Lookup::Providers { found, .. })) = self.lookup(id) {
                    // Sorted before it is cut off, since the set has no order of its own.
                    found.extend(providers);
                    while found.len() > PROVIDERS_MAX {
                        found.pop_last();
                    }
                }
            }
            QueryResult::PutRecord(Err(error)) => debug!(%error, "the record reached no peer"),
            _ => {}
        }
    }

    fn lookup(&mut self, id: QueryId) -> Option<&mut (QueryId, Lookup)> {
        self.lookups.iter_mut().find(|(of, _)| *of == id)
    }

    fn lookup_ended(&mut self, id: QueryId) {
        let Some(index) = self.lookups.iter().position(|(of, _)| *of == id) else {
            return;
        };
        // Whoever asked may have stopped waiting.
        match self.lookups.swap_remove(index).1 {
            Lookup::Record { found, answer, .. } => drop(answer.send(found)),
            Lookup::Providers { found, answer } => drop(answer.send(found.into_iter().collect())),
        }
    }

    fn verify(&self, key: &RecordKey, value: &[u8]) -> Result<Record, RecordError> {
        Record::verify(key, value, &self.domain, self.clock.now())
    }

    /// Refuses a record. One that is wrong in itself is held against whoever handed it over.
    fn bad_record(&mut self, from: Option<PeerId>, error: &RecordError) {
        debug!(?from, %error, "record refused");
        if let Some(peer) = from
            && error.is_offence()
        {
            self.hold(peer, Offence::BadRecord);
        }
    }

    /// Verifies a record that a peer wants kept here, and keeps it if the chain need not be asked about it.
    fn offered(&mut self, offered: kad::Record) -> Result<(), RecordError> {
        let record = self.verify(&offered.key, &offered.value)?;
        self.check_newer(&offered.key, &record)?;
        let needs_chain = record.needs_chain();
        let offer = Offer::Record { record, offered };
        if needs_chain {
            self.pass_on(offer);
        } else {
            self.keep(offer);
        }
        Ok(())
    }

    /// A peer says that it serves a network. Kademlia has checked that it speaks for itself.
    fn provider_offered(&mut self, record: ProviderRecord) {
        if self.admit(record.provider, "record", 0) && network_of_key(&record.key).is_some() {
            self.pass_on(Offer::Provider(record));
        }
    }

    /// Asks above whether to keep something. If there is no room among the events, it comes again when it is published
    /// again.
    fn pass_on(&mut self, offer: Offer) {
        let _ = self.events.try_send(Event::Offered(offer));
    }

    fn check_newer(&mut self, key: &RecordKey, record: &Record) -> Result<(), RecordError> {
        let kept = self.swarm.behaviour_mut().kad.store_mut().get(key);
        let kept = kept.and_then(|kept| crate::signed::decode::<Record>(&kept.value).ok());
        match kept {
            Some(kept) if !record.replaces(&kept) => Err(RecordError::Stale),
            _ => Ok(()),
        }
    }

    /// Keeps what has been verified, unless something newer has come meanwhile.
    pub(super) fn keep(&mut self, offer: Offer) {
        let kept = match offer {
            Offer::Record {
                record,
                mut offered,
            } => {
                if self.check_newer(&offered.key, &record).is_err() {
                    return;
                }
                let end = self.end_of(&record);
                offered.expires = Some(offered.expires.map_or(end, |expires| expires.min(end)));
                self.swarm.behaviour_mut().kad.store_mut().put(offered)
            }
            Offer::Provider(provider) => {
                let store = self.swarm.behaviour_mut().kad.store_mut();
                store.add_provider(provider)
            }
        };
        if let Err(error) = kept {
            debug!(%error, "there is no room for what a peer wants kept");
        }
    }
}
