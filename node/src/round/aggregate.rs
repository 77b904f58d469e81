//! From receipts, one after the other, to a payload: each is read, counted and let go.

use std::collections::BTreeSet;

use alloy::primitives::B256;

use super::driver::RoundError;
use super::earnings::{Earnings, Reputation};
use super::payload::{Payload, PayloadError, RECEIPTS_MAX, WORKERS_MAX, check_gas};
use crate::jobs::ledger::Ledger;
use crate::jobs::receipt::{Receipt, Work};
use crate::signed::Domain;

/// What the receipts so far come to.
#[derive(Clone, Debug)]
pub struct Aggregate {
    domain: Domain,
    receipts: Vec<(B256, B256)>,
    slots: BTreeSet<B256>,
    earnings: Earnings,
    jobs: BTreeSet<B256>,
    reputation: Reputation,
}

impl Aggregate {
    /// Of no receipts.
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            receipts: Vec::new(),
            slots: BTreeSet::new(),
            earnings: Earnings::default(),
            jobs: BTreeSet::new(),
            reputation: Reputation::default(),
        }
    }

    /// Whether one update has room for this receipt, too. What there is no room for now, there is none for later either:
    /// others take at least as much room as they leave it less to take.
    pub fn has_room_for(&self, receipt: &Receipt) -> bool {
        let jobs = self.jobs.len() + usize::from(self.completed(receipt).is_some());
        self.receipts.len() < RECEIPTS_MAX
            && self.earnings.accounts_with(receipt) <= WORKERS_MAX
            && check_gas(jobs, self.reputation.accounts_with(receipt)).is_ok()
    }

    /// The paid job that a receipt completes.
    fn completed(&self, receipt: &Receipt) -> Option<B256> {
        match &receipt.work {
            Work::Job { request, .. } if request.body.payment > 0 && receipt.is_complete_job() => {
                Some(request.body.job_id(&self.domain))
            }
            _ => None,
        }
    }

    /// Counts a receipt.
    pub fn add(&mut self, id: B256, receipt: &Receipt) -> Result<(), PayloadError> {
        let slot = receipt.slot(&self.domain).hash();
        if !self.slots.insert(slot) {
            return Err(PayloadError::DuplicateWork(id));
        }
        self.receipts.push((id, slot));
        for earned in receipt.earned() {
            self.earnings.add(earned)?;
        }
        self.reputation.add(receipt);
        self.jobs.extend(self.completed(receipt));
        Ok(())
    }

    /// What follows from the receipts. It does not depend on their order.
    pub fn payload(&self, round: u64, distribution_id: u64) -> Result<Payload, PayloadError> {
        let mut receipts = self.receipts.clone();
        receipts.sort_unstable();
        let payload = Payload {
            round,
            distribution_id,
            receipts,
            workers: self.earnings.clone().settle()?,
            jobs: self.jobs.iter().copied().collect(),
            validators_to_remove: Vec::new(),
            reputation_changes: self.reputation.clone().changes(),
        };
        payload.check_limits()?;
        Ok(payload)
    }
}

/// The payload of a proposal for `round`, whose due time is `cutoff` (chain seconds): what is held, the oldest first, as
/// much as one update has room for. The rest is carried over.
pub(super) fn compose(
    ledger: &Ledger,
    round: u64,
    cutoff: u64,
    distribution_id: u64,
    domain: &Domain,
) -> Result<Payload, RoundError> {
    let mut aggregate = Aggregate::new(*domain);
    for held in ledger.eligible(round, cutoff) {
        if let Some(receipt) = ledger.get(held.id)?
            && aggregate.has_room_for(&receipt.body)
        {
            aggregate.add(held.id, &receipt.body)?;
        }
    }
    Ok(aggregate.payload(round, distribution_id)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::payload::{EXECUTION_GAS_MAX, JOB_GAS, REPUTATION_CHANGE_GAS};
    use crate::signed::Signed;
    use crate::testing::{challenge_receipt, domain, job_receipt, job_request, wallet};

    async fn paid(nonce: u64, worker: u8) -> Signed<Receipt> {
        let request = job_request(&wallet(200), nonce, 1, 1);
        job_receipt(&wallet(1), &[&wallet(worker)], request, 1, 1).await
    }

    /// The same receipt for many jobs: only what they are called differs.
    fn like(receipt: &Receipt, nonce: u64) -> Receipt {
        let mut receipt = receipt.clone();
        if let Work::Job { request, .. } = &mut receipt.work {
            request.body.nonce = nonce;
        }
        receipt
    }

    #[tokio::test]
    async fn an_update_takes_what_one_transaction_can_do_and_no_more() {
        let one = paid(0, 11).await.body;
        let mut aggregate = Aggregate::new(domain());
        let mut nonce = 0u64;
        loop {
            let next = like(&one, nonce);
            if !aggregate.has_room_for(&next) {
                break;
            }
            let id = B256::from(alloy::primitives::U256::from(nonce));
            aggregate.add(id, &next).expect("another job");
            nonce += 1;
        }
        let payload = aggregate.payload(1, 1).expect("within the limits");
        let gas = payload.jobs.len() as u64 * JOB_GAS + REPUTATION_CHANGE_GAS;
        assert!(gas <= EXECUTION_GAS_MAX && gas + JOB_GAS > EXECUTION_GAS_MAX);
        // What costs no gas still has room.
        let challenge = challenge_receipt(&wallet(1), &wallet(11), 1, 0, 1).await;
        assert!(aggregate.has_room_for(&challenge.body));
        aggregate
            .add(B256::repeat_byte(0xff), &like(&one, nonce))
            .expect("another job");
        assert!(matches!(
            aggregate.payload(1, 1),
            Err(PayloadError::Gas { .. })
        ));
    }
}
