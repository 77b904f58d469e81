//! Which receipts a validator believes: what is asked of one before it is kept, and what becomes of one that turns out to
//! be false.
//!
//! What costs little is checked first, so that strangers cannot have work done here. Proofs are checked at samples that
//! depend on a secret and on what the receipt is for, not on how often it is offered: whoever offers a false one again, or
//! signs it anew, is found out in the same place. Validators have secrets of their own, and so look at different samples.
//! The one that finds a result false tells the others ([`Gossip::Refutation`]), which look at all of it then; so
//! either all of them keep a receipt or none, and no round is held up by a difference.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, B256, keccak256};
use libp2p::gossipsub::MessageAcceptance;
use tracing::{debug, info, warn};

use super::JobRequest;
use super::receipt::{
    Answer, Receipt, ReceiptError, Scrutiny, Work, check_word_of_validator, false_answers,
    verify_work,
};
use crate::chain::{ChainError, JobState};
use crate::failpoint::sometimes;
use crate::p2p::wire::Gossip;
use crate::roles::validator::Validator;
use crate::signed::{Signed, encode};
use crate::store::StoreError;
use crate::work::Task;

/// Refuted receipts, works in doubt and cleared receipts that are remembered, of each the latest.
const REMEMBERED: usize = 4_096;

/// Why a receipt is not taken into the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Unbelieved {
    /// It is wrong in itself.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// Issued by somebody who is no validator.
    #[error("{0} is no validator on chain")]
    NotValidator(Address),
    /// It was found to be false before.
    #[error("receipt {0} was refuted before")]
    Refuted(B256),
    /// Its round is not there yet.
    #[error("it is of round {round}, and the chain is in round {now}")]
    RoundAhead {
        /// The receipt's round.
        round: u64,
        /// The chain's.
        now: u64,
    },
    /// Its job's network never was on the registry, so that nobody decided how its results are verified.
    #[error("network {0:?} never was on chain")]
    NoNetwork(String),
    /// A paid job without its escrow.
    #[error("job {job} is not escrowed on chain as its request says: {reason}")]
    NotEscrowed {
        /// The job.
        job: B256,
        /// What differs.
        reason: &'static str,
    },
    /// A paid job whose escrow a reorganisation might still undo.
    #[error("the payment of job {0} is not confirmed yet")]
    Unconfirmed(B256),
    /// The chain cannot be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Unbelieved {
    /// Whether every honest validator sees that the receipt is wrong, so that none forwards it. A proof is checked at samples,
    /// and who is a validator, or what the time is, depends on the head that a node has seen.
    pub(crate) fn is_conclusive(&self) -> bool {
        match self {
            Self::Receipt(error) => !matches!(
                error,
                ReceiptError::Proof { .. } | ReceiptError::FromTheFuture { .. }
            ),
            _ => false,
        }
    }
}

/// The latest of what came.
#[derive(Debug, Default)]
struct Latest {
    all: BTreeSet<B256>,
    order: VecDeque<B256>,
}

impl Latest {
    /// `false` if it was there.
    fn insert(&mut self, hash: B256) -> bool {
        if !self.all.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

/// What is known of receipts besides those that are kept.
#[derive(Debug)]
pub(crate) struct Beliefs {
    /// Chooses samples, together with what is sampled.
    secret: B256,
    doubts: Mutex<Doubts>,
    /// The latest round that the chain was seen in.
    round: AtomicU64,
    /// Names that are or were on the registry of networks.
    networks: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Doubts {
    /// Receipts that are false.
    refuted: Latest,
    /// What somebody has found a false receipt for ([`Slot::hash`](super::receipt::Slot::hash)): each receipt for it is verified thoroughly.
    slots: Latest,
    /// Receipts that were verified thoroughly, and hold.
    cleared: Latest,
}

impl Beliefs {
    pub(crate) fn new() -> Self {
        Self {
            secret: B256::from(rand::random::<[u8; 32]>()),
            doubts: Mutex::default(),
            round: AtomicU64::new(0),
            networks: Mutex::default(),
        }
    }

    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seed(&self, slot: B256) -> [u8; 32] {
        keccak256([self.secret, slot].concat()).0
    }
}

impl Validator {
    /// Verifies a receipt against everything, the chain included, and keeps it. `true` if it is new.
    pub(crate) async fn take(&self, receipt: Signed<Receipt>) -> Result<bool, Unbelieved> {
        let domain = &self.ctx.domain;
        let id = receipt.id(domain);
        if self.ledger().contains(id)? {
            return Ok(false);
        }
        if self.beliefs.doubts().refuted.all.contains(&id) {
            return Err(Unbelieved::Refuted(id));
        }
        let now = self.ctx.clock.now();
        check_word_of_validator(&receipt, domain, now)?;
        let validators = self.ctx.chain.validators().await?;
        if !validators.contains(&receipt.body.validator) {
            return Err(Unbelieved::NotValidator(receipt.body.validator));
        }
        self.check_round(receipt.body.round).await?;
        if let Work::Job { request, .. } = &receipt.body.work {
            if request.body.payment > 0 {
                self.check_escrow(&request.body).await?;
            } else {
                self.check_network(&request.body.network).await?;
            }
        }
        let slot = receipt.body.slot(domain).hash();
        let scrutiny = if self.beliefs.doubts().slots.all.contains(&slot) {
            Scrutiny::Thorough
        } else {
            Scrutiny::Samples
        };
        let seed = self.beliefs.seed(slot);
        let verified = verify_work(&receipt.body, domain, seed, scrutiny).await;
        if let Err(ReceiptError::Proof { .. } | ReceiptError::NoFault(_)) = verified {
            let is_new = {
                let mut doubts = self.beliefs.doubts();
                doubts.slots.insert(slot);
                doubts.refuted.insert(id)
            };
            // A false accusation is found out by everybody, without being told.
            if is_new && matches!(verified, Err(ReceiptError::Proof { .. })) {
                sometimes!("receipt/refuted");
                warn!(receipt = %id, "the work in a receipt is false: the other validators are told");
                let refutation = Gossip::Refutation { receipt: id, slot };
                self.ctx.network.publish(encode(&refutation)).await;
            }
        }
        verified?;
        let new = self.ledger().insert(receipt, now)?;
        if new {
            debug!(receipt = %id, "receipt verified");
        }
        Ok(new)
    }

    /// A receipt from the future would be kept for ever: no update makes it too old.
    async fn check_round(&self, round: u64) -> Result<(), Unbelieved> {
        // Another validator may have seen a later head.
        let is_ahead = |now: u64| round > now.saturating_add(1);
        if is_ahead(self.beliefs.round.load(Ordering::Relaxed)) {
            let now = self.ctx.chain.round_status().await?.round;
            self.beliefs.round.store(now, Ordering::Relaxed);
            if is_ahead(now) {
                return Err(Unbelieved::RoundAhead { round, now });
            }
        }
        Ok(())
    }

    /// A network's name says how thoroughly its results are verified, so it must be one that governance has decided on. Jobs
    /// may end after their network has.
    async fn check_network(&self, name: &str) -> Result<(), Unbelieved> {
        let networks = &self.beliefs.networks;
        let known = |name: &str| {
            networks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(name)
        };
        if known(name) {
            return Ok(());
        }
        let all = self.ctx.chain.networks().await?;
        networks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(all.into_iter().map(|(name, _)| name));
        if known(name) {
            return Ok(());
        }
        Err(Unbelieved::NoNetwork(name.to_owned()))
    }

    /// Checks that a paid job is escrowed on chain as its request says, so deep that no reorganisation is expected to undo it.
    pub(crate) async fn check_escrow(&self, request: &JobRequest) -> Result<(), Unbelieved> {
        let job = request.job_id(&self.ctx.domain);
        let reason = match self.ctx.chain.confirmed_job(job).await? {
            None if self.ctx.chain.job(job).await?.is_some() => {
                return Err(Unbelieved::Unconfirmed(job));
            }
            None => "no such job",
            Some(escrow) if escrow.owner != request.user => "another owner",
            Some(escrow) if escrow.payment != request.payment || !escrow.pays_sno => {
                "another payment"
            }
            Some(escrow) if escrow.state != JobState::Open => "not open any more",
            Some(escrow) if escrow.network != request.network => "another network",
            Some(_) => return Ok(()),
        };
        Err(Unbelieved::NotEscrowed { job, reason })
    }

    /// Looks into it that another validator has found a receipt false. Who has found it, too, passes it on.
    pub(crate) async fn refutation(&self, id: B256, slot: B256) -> MessageAcceptance {
        let (is_known, is_cleared) = {
            let mut doubts = self.beliefs.doubts();
            doubts.slots.insert(slot);
            let cleared = doubts.cleared.all.contains(&id);
            (doubts.refuted.all.contains(&id), cleared)
        };
        if is_known {
            return MessageAcceptance::Accept;
        }
        let held = match self.ledger().get(id) {
            Ok(held) => held,
            Err(error) => {
                warn!(%error, "a receipt that is in doubt cannot be read");
                return MessageAcceptance::Ignore;
            }
        };
        // Not here yet: when it comes it is verified thoroughly, for its slot is in doubt.
        let Some(held) = held else {
            return MessageAcceptance::Accept;
        };
        if is_cleared || !self.ledger().is_unsettled(id) {
            return MessageAcceptance::Ignore;
        }
        let seed = self.beliefs.seed(slot);
        let found = false_answers(&held.body, &self.ctx.domain, seed).await;
        if found.is_empty() {
            self.beliefs.doubts().cleared.insert(id);
            info!(receipt = %id, "a receipt that was called false holds");
            return MessageAcceptance::Ignore;
        }
        sometimes!("receipt/dropped");
        warn!(receipt = %id, "a receipt that was believed is false, and dropped");
        self.beliefs.doubts().refuted.insert(id);
        if let Err(error) = self.ledger().refute(id) {
            warn!(%error, "a false receipt cannot be dropped now");
        }
        if held.body.validator == self.ctx.address() {
            self.accuse_all(held.body.round, found).await;
        }
        MessageAcceptance::Accept
    }

    /// Puts false results of one's own workers on record that one's own samples have missed.
    async fn accuse_all(&self, round: u64, found: Vec<(Answer, Task)>) {
        for (answer, task) in found {
            if let Err(error) = self.issue(round, Work::Fault { answer, task }).await {
                warn!(%error, "no receipt could be issued for a false result");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_comes_the_latest_is_remembered() {
        let mut latest = Latest::default();
        let hash = |n: usize| keccak256(n.to_be_bytes());
        for n in 0..REMEMBERED + 2 {
            assert!(latest.insert(hash(n)));
            assert!(!latest.insert(hash(n)));
        }
        assert_eq!(latest.all.len(), REMEMBERED);
        assert_eq!(latest.order.len(), REMEMBERED);
        assert!(!latest.all.contains(&hash(1)) && latest.all.contains(&hash(2)));
    }
}
