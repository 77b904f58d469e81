//! What a cheating validator makes up: payloads that do not follow from receipts, or not from those of everyone.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, U256, keccak256};
use libp2p::PeerId;
use smartnodes_evm::state_update::{StateUpdate, proposal_hash};
use smartnodes_node::chain::RoundStatus;
use smartnodes_node::jobs::ledger::Held;
use smartnodes_node::jobs::receipt::{Receipt, Work};
use smartnodes_node::jobs::sync;
use smartnodes_node::round::driver::RoundError;
use smartnodes_node::round::payload::{Payload, PublishedPayload, RECEIPTS_MAX, SignedPayload};
use smartnodes_node::round::timing::Timing;
use smartnodes_node::signed::Signed;

use super::{Cheat, ValidatorMisdeed};

/// Capacity that nobody has worked for: far more than workers do in a round.
const LOOT: u128 = 1_000_000_000_000;
/// Added to a total, it leaves nothing of a share, and is within what the token takes for a total.
const OVERSTATED_BY: u128 = 1 << 96;
/// A receipt is with everyone after so many of the margins that the protocol allows for gossip.
const EVERYWHERE_MARGINS: u64 = 4;

/// What has been made up for a round.
pub(super) struct Made {
    pub(super) round: u64,
    /// What is proposed.
    pub(super) hash: B256,
    /// What is executed if it has the votes.
    pub(super) update: StateUpdate,
    /// Nobody honest may vote for it.
    pub(super) is_false: bool,
    /// What whoever asks is shown.
    pub(super) shown_at_once: Option<SignedPayload>,
    /// What is shown when it is late.
    pub(super) shown_late: Option<SignedPayload>,
    /// Another hash for the same round.
    pub(super) other: Option<B256>,
    /// What was shown late came too late for anybody to have had it before.
    pub(super) came_late: bool,
    /// It has tried to vote twice.
    pub(super) voted_again: bool,
    /// Another payload under the same hash, which it does not yield.
    pub(super) other_payload: Option<SignedPayload>,
    /// Who has asked for a payload under the hash, in order.
    pub(super) askers: Vec<PeerId>,
}

impl Cheat {
    /// Something to propose in the open round; `None` if there is no occasion for this misdeed.
    pub(super) async fn make(&self, status: &RoundStatus) -> Result<Option<Made>, RoundError> {
        sync::pull(&self.validator).await;
        let (mut payload, mut is_false) = match self.misdeed {
            ValidatorMisdeed::Censoring => match self.censored(status)? {
                Some(censored) => censored,
                None => return Ok(None),
            },
            ValidatorMisdeed::Duplicating => match self.duplicated(status)? {
                Some(payload) => (payload, false),
                None => return Ok(None),
            },
            ValidatorMisdeed::Forging => self.forged_payload(status)?,
            _ => (self.aggregate(status, |_, _| true)?, false),
        };
        let domain = &self.validator.ctx.domain;
        // An update of nothing is what anybody makes, and nobody misses.
        let needs_work = [
            ValidatorMisdeed::Withholding,
            ValidatorMisdeed::Late,
            ValidatorMisdeed::Swapping,
        ];
        if payload.workers.is_empty() && needs_work.contains(&self.misdeed) {
            return Ok(None);
        }
        match self.misdeed {
            ValidatorMisdeed::Colluding
            | ValidatorMisdeed::Withholding
            | ValidatorMisdeed::Returning => {
                let [Some(account), _] = self.invented() else {
                    return Ok(None);
                };
                let mut workers: BTreeMap<Address, u128> = payload.workers.into_iter().collect();
                workers.insert(account, LOOT);
                payload.workers = workers.into_iter().collect();
                is_false = true;
            }
            ValidatorMisdeed::Expelling => {
                // Once it is rid of all of them there is nothing wrong with what it proposes.
                if let Some(victim) = self.victim().await? {
                    payload.validators_to_remove = vec![victim];
                    is_false = true;
                }
            }
            ValidatorMisdeed::Swapping => {
                let [Some(account), _] = self.invented() else {
                    return Ok(None);
                };
                swap(&mut payload.workers, account, status.round);
                is_false = true;
            }
            ValidatorMisdeed::Padding => {
                let undone = self.undone_jobs(&payload.jobs).await;
                if undone.is_empty() {
                    return Ok(None);
                }
                let twice = payload.jobs.clone();
                payload.jobs.extend(twice);
                payload.jobs.extend(undone);
                payload.jobs.push(self.group.secret);
                is_false = true;
            }
            _ => {}
        }
        let mut update = payload.state_update()?;
        let mut hash = payload.proposal_hash(domain)?;
        let mut other = None;
        let mut other_payload = None;
        match self.misdeed {
            ValidatorMisdeed::WrongTotal => {
                if update.totalCapacity < U256::from(2) {
                    return Ok(None);
                }
                // Each share of it is then twice what it should be.
                update.totalCapacity /= U256::from(2);
                hash = proposal_hash(domain.chain_id, domain.coordinator, status.round, &update);
                is_false = true;
            }
            // What is proposed is true; only what is executed is not.
            ValidatorMisdeed::Understating => update.totalCapacity /= U256::from(2),
            ValidatorMisdeed::Overstating => update.totalCapacity += U256::from(OVERSTATED_BY),
            ValidatorMisdeed::Griefing => {
                hash = keccak256([self.group.secret.as_slice(), hash.as_slice()].concat());
                is_false = true;
            }
            ValidatorMisdeed::Equivocating => {
                let mut second = payload.clone();
                let account = Address::from_word(keccak256(self.group.secret));
                second.reputation_changes = vec![(account, 1)];
                other = Some(second.proposal_hash(domain)?);
                other_payload = Some(self.sign(hash, second));
            }
            _ => {}
        }
        let shown = match self.misdeed {
            ValidatorMisdeed::Withholding | ValidatorMisdeed::Griefing => None,
            _ => Some(self.sign(hash, payload)),
        };
        let (shown_at_once, shown_late) = match self.misdeed {
            ValidatorMisdeed::Late => (None, shown),
            _ => (shown, None),
        };
        Ok(Some(Made {
            round: status.round,
            hash,
            update,
            is_false,
            shown_at_once,
            shown_late,
            other,
            came_late: false,
            voted_again: false,
            other_payload,
            askers: Vec::new(),
        }))
    }

    fn sign(&self, proposal_hash: B256, payload: Payload) -> SignedPayload {
        let ctx = &self.validator.ctx;
        let body = PublishedPayload {
            publisher: ctx.address(),
            proposal_hash,
            payload,
        };
        Signed::sign(body, &ctx.domain, &ctx.identity.wallet)
    }

    /// The receipts that the round may settle.
    fn due(&self, status: &RoundStatus) -> Result<Vec<(Held, Receipt)>, RoundError> {
        let ledger = self.validator.ledger();
        let mut due = Vec::new();
        for held in ledger.eligible(status.round, status.due_time) {
            if let Some(receipt) = ledger.get(held.id)? {
                due.push((held, receipt.body));
            }
        }
        Ok(due)
    }

    /// What follows from the receipts that are due and that `takes` takes, given by id.
    pub(super) fn aggregate(
        &self,
        status: &RoundStatus,
        takes: impl Fn(B256, &Receipt) -> bool,
    ) -> Result<Payload, RoundError> {
        let due = self.due(status)?;
        let receipts = due
            .iter()
            .filter(|(held, receipt)| takes(held.id, receipt))
            .take(RECEIPTS_MAX)
            .map(|(held, receipt)| (held.id, receipt));
        let domain = &self.validator.ctx.domain;
        let (round, distribution) = (status.round, status.next_distribution_id);
        Ok(Payload::aggregate(round, distribution, receipts, domain)?)
    }

    /// Everything but what one worker has earned, and whether that is long enough ago for everyone to know of it.
    fn censored(&self, status: &RoundStatus) -> Result<Option<(Payload, bool)>, RoundError> {
        let margin = Timing::new(status.update_interval).gossip_margin_seconds;
        let whole = self.aggregate(status, |_, _| true)?;
        let disliked = |worker: &Address| {
            keccak256([self.group.secret.as_slice(), worker.as_slice()].concat())
        };
        let workers = whole.workers.iter().map(|(worker, _)| *worker);
        let Some(victim) = workers.min_by_key(disliked) else {
            return Ok(None);
        };
        let earns = |receipt: &Receipt| receipt.earned().iter().any(|e| e.worker == victim);
        let due = self.due(status)?;
        let mut earned = due.iter().filter(|(_, receipt)| earns(receipt));
        let known_to_all = earned.any(|(held, _)| {
            let since = held.issued_at.max(held.held_since);
            status.due_time.saturating_sub(since) >= EVERYWHERE_MARGINS * margin
        });
        let payload = self.aggregate(status, |_, receipt| !earns(receipt))?;
        Ok(Some((payload, known_to_all)))
    }

    /// A payload with those of its own doubled receipts that nobody else would choose.
    fn duplicated(&self, status: &RoundStatus) -> Result<Option<Payload>, RoundError> {
        let ctx = &self.validator.ctx;
        let mut chosen: BTreeMap<B256, (B256, Receipt)> = BTreeMap::new();
        for (held, receipt) in self.due(status)? {
            chosen.insert(held.slot, (held.id, receipt));
        }
        let mut doubled = false;
        let ledger = self.validator.ledger();
        for id in ledger.unsettled_ids() {
            let Some(receipt) = ledger.get(id)? else {
                continue;
            };
            let slot = receipt.body.slot(&ctx.domain).hash();
            if let Some(first) = chosen.get_mut(&slot)
                && first.0 != id
                && receipt.body.issued_at < status.due_time
            {
                *first = (id, receipt.body);
                doubled = true;
            }
        }
        if !doubled {
            return Ok(None);
        }
        let receipts = chosen.values().map(|(id, receipt)| (*id, receipt));
        let (round, distribution) = (status.round, status.next_distribution_id);
        let payload = Payload::aggregate(round, distribution, receipts, &ctx.domain)?;
        Ok(Some(payload))
    }

    /// Pays for forged receipts besides true ones, and whether there are any.
    fn forged_payload(&self, status: &RoundStatus) -> Result<(Payload, bool), RoundError> {
        let payload = self.aggregate(status, |_, _| true)?;
        let names: BTreeSet<Address> = self.invented().into_iter().flatten().collect();
        let paid = payload.workers.iter();
        let is_false = paid.filter(|(worker, _)| names.contains(worker)).count() > 0;
        Ok((payload, is_false))
    }

    /// Jobs on chain that an update with `done` does not complete: nobody has done them, or they are complete already.
    async fn undone_jobs(&self, done: &[B256]) -> Vec<B256> {
        let core = self.validator.ctx.chain.deployment().core;
        let known = match &self.hand {
            Some(hand) => hand.jobs(core).await.unwrap_or_default(),
            None => Vec::new(),
        };
        known
            .into_iter()
            .filter(|job| !done.contains(job))
            .collect()
    }

    /// An honest validator that the group wants to be rid of.
    async fn victim(&self) -> Result<Option<Address>, RoundError> {
        let validators = self.validator.ctx.chain.validators().await?;
        let honest = validators.into_iter().filter(|v| !self.is_member(*v));
        Ok(honest.min_by_key(|v| keccak256([self.group.secret.as_slice(), v.as_slice()].concat())))
    }

    /// Whether a receipt is one of its own for a challenge: what it can issue twice.
    pub(super) fn is_own_challenge(&self, receipt: &Receipt) -> bool {
        receipt.validator == self.validator.ctx.address()
            && matches!(receipt.work, Work::Challenge(_))
    }
}

/// Gives two workers each other's capacity; in every second round, and where all have the same, puts an account in the
/// place of the first one. The total stays as it is.
fn swap(workers: &mut [(Address, u128)], account: Address, round: u64) {
    let Some((_, first)) = workers.first().copied() else {
        return;
    };
    match workers.iter().position(|(_, capacity)| *capacity != first) {
        Some(other) if round % 2 == 1 => {
            let theirs = std::mem::replace(&mut workers[other].1, first);
            workers[0].1 = theirs;
        }
        _ => {
            workers[0].0 = account;
            workers.sort_unstable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_swapped_and_the_total_stays() {
        let [one, other, third, account] = [1, 2, 3, 9].map(Address::repeat_byte);
        let swapped = |workers: &[(Address, u128)], round| {
            let mut workers = workers.to_vec();
            swap(&mut workers, account, round);
            workers
        };
        let workers = [(one, 5), (other, 5), (third, 7)];
        assert_eq!(swapped(&workers, 1), [(one, 7), (other, 5), (third, 5)]);
        let renamed = [(other, 5), (third, 7), (account, 5)];
        assert_eq!(swapped(&workers, 2), renamed);
        let same = [(one, 5), (other, 5)];
        assert_eq!(swapped(&same, 1), [(other, 5), (account, 5)]);
        assert_eq!(swapped(&[], 1), []);
    }
}
