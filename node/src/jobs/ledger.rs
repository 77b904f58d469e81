//! The verified receipts that a validator holds, and which of them an update has settled.
//!
//! Everything is in the store before it is acted on. A slot (one challenge, one job) is settled once, for ever.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::FREE_JOBS_PER_ROUND;
use super::receipt::{Receipt, Slot};
use crate::signed::{Domain, Signed};
use crate::store::{Store, StoreError, Table};

/// Rounds after which an unsettled receipt is given up.
pub const CARRY_ROUNDS: u64 = 16;

/// A receipt as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    receipt: Signed<Receipt>,
    /// Chain time (seconds) at which this validator had it verified.
    held_since: u64,
    /// Distribution that settled it.
    settled_in: Option<u64>,
}

/// The receipts of one validator.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    domain: Domain,
    unsettled: BTreeMap<B256, Kept>,
}

/// A receipt that is due for settlement.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its id.
    pub id: B256,
    /// The receipt.
    pub receipt: &'a Receipt,
    /// Chain time (seconds) since which this validator has held it.
    pub held_since: u64,
}

impl Ledger {
    /// Reads what the store holds.
    pub fn open(store: Store, domain: Domain) -> Result<Self, StoreError> {
        let unsettled = store
            .scan::<Kept>(Table::Receipts)?
            .into_iter()
            .filter(|(_, kept)| kept.settled_in.is_none())
            .map(|(_, kept)| (kept.receipt.id(&domain), kept))
            .collect();
        Ok(Self {
            store,
            domain,
            unsettled,
        })
    }

    /// Takes a verified receipt in. `false` if it was known, or its slot is settled already.
    pub fn insert(&mut self, receipt: Signed<Receipt>, now: u64) -> Result<bool, StoreError> {
        let id = receipt.id(&self.domain);
        if self.contains(id)?
            || self
                .settled(receipt.body.slot(&self.domain).hash())?
                .is_some()
        {
            return Ok(false);
        }
        let kept = Kept {
            receipt,
            held_since: now,
            settled_in: None,
        };
        self.store.write(|batch| {
            batch.put(Table::Receipts, id.as_slice(), &kept)?;
            if let Slot::Job(job) = kept.receipt.body.slot(&self.domain) {
                batch.put(Table::Meta, &job_key(job), &id)?;
            }
            Ok(())
        })?;
        self.unsettled.insert(id, kept);
        Ok(true)
    }

    /// Whether a receipt is here, settled or not.
    pub fn contains(&self, id: B256) -> Result<bool, StoreError> {
        Ok(self.unsettled.contains_key(&id)
            || self
                .store
                .get::<Kept>(Table::Receipts, id.as_slice())?
                .is_some())
    }

    /// A receipt by its id.
    pub fn get(&self, id: B256) -> Result<Option<Signed<Receipt>>, StoreError> {
        if let Some(kept) = self.unsettled.get(&id) {
            return Ok(Some(kept.receipt.clone()));
        }
        Ok(self
            .store
            .get::<Kept>(Table::Receipts, id.as_slice())?
            .map(|kept| kept.receipt))
    }

    /// The receipt of a job, settled or not.
    pub fn job(&self, job: B256) -> Result<Option<Signed<Receipt>>, StoreError> {
        match self.store.get::<B256>(Table::Meta, &job_key(job))? {
            Some(id) => self.get(id),
            None => Ok(None),
        }
    }

    /// Distribution in which a slot was settled.
    pub fn settled(&self, slot: B256) -> Result<Option<u64>, StoreError> {
        self.store.get(Table::Meta, &slot_key(slot))
    }

    /// Whether an unsettled receipt for this slot is here.
    pub fn has_slot(&self, slot: &Slot) -> bool {
        self.unsettled
            .values()
            .any(|kept| kept.receipt.body.slot(&self.domain) == *slot)
    }

    /// Unsettled receipts for free jobs of a user in a round.
    pub fn free_jobs(&self, user: Address, round: u64) -> usize {
        self.unsettled
            .values()
            .filter(|kept| {
                kept.receipt.body.round == round && kept.receipt.body.free_job_of() == Some(user)
            })
            .count()
    }

    /// Ids of all receipts that no update has settled.
    pub fn unsettled_ids(&self) -> Vec<B256> {
        self.unsettled.keys().copied().collect()
    }

    /// The receipts that `round` may settle: issued before `cutoff` (chain seconds), one for each slot, and no more
    /// free jobs of one user and round than its quota.
    pub fn eligible(&self, round: u64, cutoff: u64) -> Vec<Held<'_>> {
        let mut slots = BTreeSet::new();
        let mut free_jobs = BTreeMap::new();
        self.unsettled
            .iter()
            .filter(|(_, kept)| {
                let body = &kept.receipt.body;
                body.issued_at < cutoff && body.round <= round && body.round + CARRY_ROUNDS >= round
            })
            .filter(|(_, kept)| slots.insert(kept.receipt.body.slot(&self.domain)))
            .filter(|(_, kept)| {
                let Some(user) = kept.receipt.body.free_job_of() else {
                    return true;
                };
                let count = free_jobs
                    .entry((user, kept.receipt.body.round))
                    .or_insert(0usize);
                *count += 1;
                *count <= FREE_JOBS_PER_ROUND
            })
            .map(|(id, kept)| Held {
                id: *id,
                receipt: &kept.receipt.body,
                held_since: kept.held_since,
            })
            .collect()
    }

    /// Marks the receipts of an executed update as settled, in one durable write, and gives up those whose slot is
    /// settled by another receipt or that are too old.
    pub fn settle(
        &mut self,
        receipts: &[(B256, B256)],
        distribution_id: u64,
        round: u64,
    ) -> Result<(), StoreError> {
        let slots: BTreeSet<B256> = receipts.iter().map(|(_, slot)| *slot).collect();
        let ids: BTreeSet<B256> = receipts.iter().map(|(id, _)| *id).collect();
        let unsettled = &mut self.unsettled;
        let domain = self.domain;
        self.store.write(|batch| {
            for slot in &slots {
                batch.put(Table::Meta, &slot_key(*slot), &distribution_id)?;
            }
            for (id, kept) in unsettled.iter_mut() {
                if ids.contains(id) {
                    kept.settled_in = Some(distribution_id);
                    batch.put(Table::Receipts, id.as_slice(), kept)?;
                } else if slots.contains(&kept.receipt.body.slot(&domain).hash())
                    || kept.receipt.body.round + CARRY_ROUNDS < round
                {
                    kept.settled_in = Some(distribution_id);
                    batch.delete(Table::Receipts, id.as_slice())?;
                }
            }
            Ok(())
        })?;
        self.unsettled.retain(|_, kept| kept.settled_in.is_none());
        Ok(())
    }

    /// Takes back [`Ledger::settle`] of an update that a reorganisation has dropped, in one durable write. Receipts that
    /// were given up for those of the update come back from whoever holds them.
    pub fn unsettle(
        &mut self,
        receipts: &[(B256, B256)],
        distribution_id: u64,
    ) -> Result<(), StoreError> {
        let mut returned = Vec::new();
        let mut slots = Vec::new();
        for (id, slot) in receipts {
            if self.settled(*slot)? == Some(distribution_id) {
                slots.push(slot_key(*slot));
            }
            let kept = self.store.get::<Kept>(Table::Receipts, id.as_slice())?;
            if let Some(mut kept) = kept
                && kept.settled_in == Some(distribution_id)
            {
                kept.settled_in = None;
                returned.push((*id, kept));
            }
        }
        self.store.write(|batch| {
            for slot in &slots {
                batch.delete(Table::Meta, slot)?;
            }
            for (id, kept) in &returned {
                batch.put(Table::Receipts, id.as_slice(), kept)?;
            }
            Ok(())
        })?;
        self.unsettled.extend(returned);
        Ok(())
    }
}

fn job_key(job: B256) -> Vec<u8> {
    [b"job-receipt/".as_slice(), job.as_slice()].concat()
}

fn slot_key(slot: B256) -> Vec<u8> {
    [b"settled/".as_slice(), slot.as_slice()].concat()
}
