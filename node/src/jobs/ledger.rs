//! The verified receipts that a validator holds, and which of them an update has settled.
//!
//! Everything is in the store before it is acted on. A slot (one challenge, one job) is settled once, for ever. In memory
//! there is only what tells a receipt from others, since the results in it may come to megabytes.
//!
//! A settled receipt is kept until no round can need it any more: the update that settled it may be undone by a
//! reorganisation, and its user may not have fetched the result yet. That is over [`CARRY_ROUNDS`] updates later, when the
//! receipt would be too old to be settled again ([`Ledger::forget`]).

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::FREE_JOBS_PER_ROUND;
use super::receipt::{Receipt, Slot, Work};
use crate::signed::{Domain, Signed};
use crate::store::{Store, StoreError, Table};

/// Rounds after which an unsettled receipt is given up, and updates after which a settled one is forgotten.
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
    unsettled: BTreeMap<B256, Held>,
    /// The latest round that was settled since the start.
    round: u64,
}

/// What is known in memory of a receipt that no update has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: B256,
    /// What it is for ([`Slot::hash`]).
    pub slot: B256,
    /// Round in which it was issued.
    pub round: u64,
    /// Chain time of issue, seconds.
    pub issued_at: u64,
    /// The user whose free job it is for, if it is for one.
    pub free_job_of: Option<Address>,
    /// Chain time (seconds) since which this validator has held it.
    pub held_since: u64,
}

impl Held {
    fn of(id: B256, kept: &Kept, domain: &Domain) -> Self {
        let receipt = &kept.receipt.body;
        Self {
            id,
            slot: receipt.slot(domain).hash(),
            round: receipt.round,
            issued_at: receipt.issued_at,
            free_job_of: receipt.free_job_of(),
            held_since: kept.held_since,
        }
    }
}

impl Ledger {
    /// Reads what the store holds.
    pub fn open(store: Store, domain: Domain) -> Result<Self, StoreError> {
        let mut unsettled = BTreeMap::new();
        store.visit(Table::Receipts, &[], |_, kept: Kept| {
            if kept.settled_in.is_none() {
                let id = kept.receipt.id(&domain);
                unsettled.insert(id, Held::of(id, &kept, &domain));
            }
        })?;
        Ok(Self {
            store,
            domain,
            unsettled,
            round: 0,
        })
    }

    /// Takes a verified receipt in. `false` if it was known, its slot is settled already, or it is too old for any round.
    pub fn insert(&mut self, receipt: Signed<Receipt>, now: u64) -> Result<bool, StoreError> {
        let id = receipt.id(&self.domain);
        let kept = Kept {
            receipt,
            held_since: now,
            settled_in: None,
        };
        let held = Held::of(id, &kept, &self.domain);
        let is_too_old = held.round.saturating_add(CARRY_ROUNDS) < self.round;
        if is_too_old || self.contains(id)? || self.settled(held.slot)?.is_some() {
            return Ok(false);
        }
        self.store.write(|batch| {
            batch.put(Table::Receipts, id.as_slice(), &kept)?;
            if let Slot::Job(job) = kept.receipt.body.slot(&self.domain) {
                batch.put(Table::Meta, &job_key(job), &id)?;
            }
            Ok(())
        })?;
        self.unsettled.insert(id, held);
        Ok(true)
    }

    /// Whether a receipt is here, settled or not.
    pub fn contains(&self, id: B256) -> Result<bool, StoreError> {
        Ok(self.unsettled.contains_key(&id) || self.kept(id)?.is_some())
    }

    /// A receipt by its id.
    pub fn get(&self, id: B256) -> Result<Option<Signed<Receipt>>, StoreError> {
        Ok(self.kept(id)?.map(|kept| kept.receipt))
    }

    fn kept(&self, id: B256) -> Result<Option<Kept>, StoreError> {
        self.store.get(Table::Receipts, id.as_slice())
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
        let slot = slot.hash();
        self.unsettled.values().any(|held| held.slot == slot)
    }

    /// Unsettled receipts for free jobs of a user in a round.
    pub fn free_jobs(&self, user: Address, round: u64) -> usize {
        self.unsettled
            .values()
            .filter(|held| held.round == round && held.free_job_of == Some(user))
            .count()
    }

    /// Ids of all receipts that no update has settled.
    pub fn unsettled_ids(&self) -> Vec<B256> {
        self.unsettled.keys().copied().collect()
    }

    /// The first so many of them after `after`.
    pub fn unsettled_after(&self, after: B256, most: usize) -> Vec<B256> {
        use std::ops::Bound::{Excluded, Unbounded};
        let ids = self.unsettled.range((Excluded(after), Unbounded));
        ids.take(most).map(|(id, _)| *id).collect()
    }

    /// The receipts that `round` may settle: issued before `cutoff` (chain seconds), one for each slot, and no more
    /// free jobs of one user and round than its quota. Those of the oldest rounds come first: where an update has no
    /// room for all of them, none waits until it is too old.
    pub fn eligible(&self, round: u64, cutoff: u64) -> Vec<Held> {
        let mut held: Vec<Held> = self
            .unsettled
            .values()
            .filter(|held| {
                held.issued_at < cutoff
                    && held.round <= round
                    && held.round.saturating_add(CARRY_ROUNDS) >= round
            })
            .copied()
            .collect();
        held.sort_by_key(|held| (held.round, held.id));
        let mut slots = BTreeSet::new();
        let mut free_jobs = BTreeMap::new();
        held.retain(|held| {
            if !slots.insert(held.slot) {
                return false;
            }
            let Some(user) = held.free_job_of else {
                return true;
            };
            let count = free_jobs.entry((user, held.round)).or_insert(0usize);
            *count += 1;
            *count <= FREE_JOBS_PER_ROUND
        });
        held
    }

    /// Drops a receipt that has turned out to be false. `false` if it is not here, or an update has settled it.
    pub fn refute(&mut self, id: B256) -> Result<bool, StoreError> {
        if !self.unsettled.contains_key(&id) {
            return Ok(false);
        }
        self.store.write(|batch| self.delete(batch, id).map(drop))?;
        self.unsettled.remove(&id);
        Ok(true)
    }

    /// Whether a receipt is here, and no update has settled it.
    pub fn is_unsettled(&self, id: B256) -> bool {
        self.unsettled.contains_key(&id)
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
        let is_given_up = |held: &Held| {
            !ids.contains(&held.id)
                && (slots.contains(&held.slot) || held.round.saturating_add(CARRY_ROUNDS) < round)
        };
        self.store.write(|batch| {
            for slot in &slots {
                batch.put(Table::Meta, &slot_key(*slot), &distribution_id)?;
            }
            for held in self.unsettled.values().filter(|held| is_given_up(held)) {
                self.delete(batch, held.id)?;
            }
            for id in ids.iter().filter(|id| self.unsettled.contains_key(*id)) {
                let Some(mut kept) = self.kept(*id)? else {
                    continue;
                };
                kept.settled_in = Some(distribution_id);
                batch.put(Table::Receipts, id.as_slice(), &kept)?;
                if let Slot::Job(job) = kept.receipt.body.slot(&self.domain) {
                    // Of two receipts for a job, this is the one that stays.
                    batch.put(Table::Meta, &job_key(job), id)?;
                }
            }
            Ok(())
        })?;
        self.unsettled
            .retain(|id, held| !ids.contains(id) && !is_given_up(held));
        self.round = self.round.max(round);
        Ok(())
    }

    /// Deletes a receipt, and what leads from its job to it.
    fn delete(
        &self,
        batch: &mut crate::store::Batch<'_>,
        id: B256,
    ) -> Result<Option<Signed<Receipt>>, StoreError> {
        let Some(kept) = self.kept(id)? else {
            return Ok(None);
        };
        batch.delete(Table::Receipts, id.as_slice())?;
        if let Slot::Job(job) = kept.receipt.body.slot(&self.domain) {
            let key = job_key(job);
            // Another validator's receipt for the same job may have taken its place.
            if self.store.get::<B256>(Table::Meta, &key)? == Some(id) {
                batch.delete(Table::Meta, &key)?;
            }
        }
        Ok(Some(kept.receipt))
    }

    /// Takes back [`Ledger::settle`] of an update that a reorganisation has dropped, in one durable write. Receipts that
    /// were given up for those of the update come back from whoever holds them.
    pub fn unsettle(
        &mut self,
        receipts: &[(B256, B256)],
        distribution_id: u64,
    ) -> Result<(), StoreError> {
        let mut returned = Vec::new();
        self.store.write(|batch| {
            for (id, slot) in receipts {
                if self.settled(*slot)? == Some(distribution_id) {
                    batch.delete(Table::Meta, &slot_key(*slot))?;
                }
                if let Some(mut kept) = self.kept(*id)?
                    && kept.settled_in == Some(distribution_id)
                {
                    kept.settled_in = None;
                    batch.put(Table::Receipts, id.as_slice(), &kept)?;
                    returned.push(Held::of(*id, &kept, &self.domain));
                }
            }
            Ok(())
        })?;
        self.unsettled
            .extend(returned.into_iter().map(|held| (held.id, held)));
        Ok(())
    }

    /// Forgets the receipts of an update that was settled more than [`CARRY_ROUNDS`] updates ago, in one durable write.
    ///
    /// Of a slot it forgets, too, that it is settled, where something else keeps it from being settled again: a challenge
    /// names its round, and the chain knows of a paid job that it is complete. The user's word for a free job and a
    /// worker's under a false result have no date, so of these some bytes are kept for good.
    pub fn forget(&mut self, receipts: &[(B256, B256)]) -> Result<(), StoreError> {
        self.store.write(|batch| {
            for (id, slot) in receipts {
                if self.unsettled.contains_key(id) {
                    continue;
                }
                let Some(receipt) = self.delete(batch, *id)? else {
                    continue;
                };
                let dated = match &receipt.body.work {
                    Work::Challenge(_) => true,
                    Work::Job { request, .. } => {
                        request.body.payment > 0 && receipt.body.is_complete_job()
                    }
                    Work::Fault { .. } => false,
                };
                if dated {
                    batch.delete(Table::Meta, &slot_key(*slot))?;
                }
            }
            Ok(())
        })
    }
}

fn job_key(job: B256) -> Vec<u8> {
    [b"job-receipt/".as_slice(), job.as_slice()].concat()
}

fn slot_key(slot: B256) -> Vec<u8> {
    [b"settled/".as_slice(), slot.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::receipt::WorkKind;
    use crate::testing::{
        answer, challenge_receipt, domain, job_receipt, job_request, receipt, wallet,
    };
    use crate::work::hash_chain::HashChain;
    use crate::work::{Task, TaskKind};

    fn rows(store: &Store, table: Table) -> usize {
        let rows = store.scan::<ciborium::Value>(table).expect("reads");
        rows.len()
    }

    /// A challenge, a paid job and a free one, and a fault, all of this round.
    async fn of_every_kind(round: u64) -> Vec<Signed<Receipt>> {
        let (validator, worker) = (wallet(1), wallet(11));
        let task = Task {
            kind: TaskKind::HashChain(HashChain { steps: 500 }),
            input: vec![1],
        };
        let kind = WorkKind::Job {
            job: B256::repeat_byte(round as u8),
            task: 0,
            user: wallet(9).address(),
        };
        let answer = answer(validator.address(), &worker, kind, task.clone()).await;
        let mut receipts = vec![
            challenge_receipt(&validator, &worker, round, 0, round).await,
            receipt(&validator, round, round, Work::Fault { answer, task }),
        ];
        for payment in [0, 1_000] {
            let request = job_request(&wallet(9), round, payment, 1);
            receipts.push(job_receipt(&validator, &[&worker], request, round, round).await);
        }
        receipts
    }

    #[tokio::test]
    async fn what_no_round_can_need_is_forgotten_and_what_has_no_date_is_not_settled_twice() {
        let store = Store::in_memory().expect("opens");
        let mut ledger = Ledger::open(store.clone(), domain()).expect("opens");
        let receipts = of_every_kind(1).await;
        for receipt in &receipts {
            assert!(ledger.insert(receipt.clone(), 1).expect("stored"));
        }
        let named: Vec<(B256, B256)> = receipts
            .iter()
            .map(|receipt| (receipt.id(&domain()), receipt.body.slot(&domain()).hash()))
            .collect();
        ledger.forget(&named).expect("stored");
        assert_eq!(rows(&store, Table::Receipts), 4, "not settled yet");
        ledger.settle(&named, 1, 1).expect("settles");
        ledger.forget(&named).expect("stored");
        assert_eq!(rows(&store, Table::Receipts), 0);
        let settled: Vec<bool> = named
            .iter()
            .map(|(_, slot)| ledger.settled(*slot).expect("reads").is_some())
            .collect();
        assert_eq!(settled, [false, true, true, false]);
        assert_eq!(rows(&store, Table::Meta), 2);
        // Sent again by whoever still has them: what the chain and the round do not refuse, this does.
        for at in [1, 2] {
            assert!(!ledger.insert(receipts[at].clone(), 1).expect("reads"));
        }
        let too_late = 1 + CARRY_ROUNDS + 1;
        assert!(ledger.insert(receipts[0].clone(), 1).expect("stored"));
        assert!(ledger.eligible(too_late, u64::MAX).is_empty());
        ledger.settle(&[], 2, too_late).expect("settles");
        assert!(ledger.unsettled_ids().is_empty());
        assert!(!ledger.insert(receipts[0].clone(), 1).expect("reads"));
    }

    #[tokio::test]
    async fn a_receipt_that_is_given_up_leaves_nothing() {
        let store = Store::in_memory().expect("opens");
        let mut ledger = Ledger::open(store.clone(), domain()).expect("opens");
        for receipt in of_every_kind(1).await {
            assert!(ledger.insert(receipt, 1).expect("stored"));
        }
        ledger.settle(&[], 1, 1 + CARRY_ROUNDS).expect("settles");
        assert_eq!(ledger.unsettled_ids().len(), 4, "it may still be settled");
        ledger.settle(&[], 2, 2 + CARRY_ROUNDS).expect("settles");
        assert!(ledger.unsettled_ids().is_empty());
        let left = rows(&store, Table::Receipts) + rows(&store, Table::Meta);
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn of_two_receipts_for_a_job_the_one_that_is_settled_stays() {
        for place in [0, 1] {
            let mut ledger = crate::testing::ledger();
            let request = job_request(&wallet(9), 1, 0, 1);
            let job = request.body.job_id(&domain());
            let mut ids = Vec::new();
            for validator in [1, 2].map(wallet) {
                let of = job_receipt(&validator, &[&wallet(11)], request.clone(), 1, 1).await;
                ids.push(of.id(&domain()));
                assert!(ledger.insert(of, 1).expect("stored"));
            }
            let slot = Slot::Job(job).hash();
            ledger.settle(&[(ids[place], slot)], 1, 1).expect("settles");
            let kept = ledger.job(job).expect("reads").expect("is there");
            assert_eq!(kept.id(&domain()), ids[place]);
            assert!(!ledger.contains(ids[1 - place]).expect("reads"));
        }
    }

    #[tokio::test]
    async fn the_oldest_receipts_come_first() {
        let mut ledger = crate::testing::ledger();
        for round in [3, 1, 2] {
            for receipt in of_every_kind(round).await {
                ledger.insert(receipt, round).expect("stored");
            }
        }
        let rounds: Vec<u64> = ledger
            .eligible(3, u64::MAX)
            .iter()
            .map(|held| held.round)
            .collect();
        assert_eq!(rounds.len(), 12);
        assert!(rounds.is_sorted(), "{rounds:?}");
    }
}
