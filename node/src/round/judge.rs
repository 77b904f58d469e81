//! What a validator demands of a payload before it votes: a pure function of the payload, the chain and its ledger.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;

use super::payload::{Aggregate, Payload, PayloadError};
use crate::jobs::FREE_JOBS_PER_ROUND;
use crate::jobs::ledger::{CARRY_ROUNDS, Ledger};
use crate::jobs::receipt::Receipt;
use crate::signed::Domain;
use crate::store::StoreError;

/// What the chain says about the round that is judged.
#[derive(Clone, Copy, Debug)]
pub struct RoundFacts {
    /// The open round.
    pub round: u64,
    /// Receipts issued before this chain time (seconds) count: the round's due time.
    pub cutoff: u64,
    /// Id of the distribution that the round's update creates.
    pub distribution_id: u64,
    /// A receipt issued at least this long (seconds) before the cut-off had the time to reach everyone: it must not
    /// be left out by a proposer if the voter holds it.
    pub gossip_margin_seconds: u64,
}

/// Why a validator does not vote for a payload.
#[derive(Debug, thiserror::Error)]
pub enum Objection {
    /// For another round or distribution.
    #[error("it is for round {round} and distribution {distribution_id}")]
    WrongRound {
        /// Round in the payload.
        round: u64,
        /// Distribution in the payload.
        distribution_id: u64,
    },
    /// Receipts that this validator does not hold, and has to fetch and verify first.
    #[error("{} receipts in it are unknown here, the first is {}", .0.len(), .0[0])]
    UnknownReceipts(Vec<B256>),
    /// A receipt is settled, too new or too old.
    #[error("receipt {0} is not for this round: {1}")]
    NotEligible(B256, &'static str),
    /// An identity had more free jobs than its quota.
    #[error(
        "more free jobs of one user than {FREE_JOBS_PER_ROUND} in the round, the last is receipt {0}"
    )]
    FreeQuota(B256),
    /// The content is not what follows from its receipts.
    #[error("{0} is not what follows from its receipts")]
    Differs(&'static str),
    /// A receipt that everyone must have by now is left out.
    #[error("receipt {0} is left out, though it was issued {1} s before the cut-off")]
    LeftOut(B256, u64),
    /// It yields no update at all.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The validator's own store fails.
    #[error("own store: {0}")]
    Store(#[from] StoreError),
}

/// Judges `payload`: recomputes every field from the receipts in `ledger`. `Ok` means: vote.
pub fn judge(
    payload: &Payload,
    facts: &RoundFacts,
    ledger: &Ledger,
    domain: &Domain,
) -> Result<(), Objection> {
    if payload.round != facts.round || payload.distribution_id != facts.distribution_id {
        return Err(Objection::WrongRound {
            round: payload.round,
            distribution_id: payload.distribution_id,
        });
    }
    if !payload.receipts.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(Objection::Differs("the list of receipts"));
    }
    let mut unknown = Vec::new();
    for (id, slot) in &payload.receipts {
        if ledger.contains(*id)? {
            continue;
        }
        // A receipt whose work another one has settled is not kept, and would not be if it were fetched.
        if ledger.settled(*slot)?.is_some() {
            return Err(Objection::NotEligible(*id, "settled before"));
        }
        unknown.push(*id);
    }
    if !unknown.is_empty() {
        return Err(Objection::UnknownReceipts(unknown));
    }
    let mut free_jobs = BTreeMap::new();
    let mut included = BTreeSet::new();
    let mut aggregate = Aggregate::new(*domain);
    for (id, _) in &payload.receipts {
        let Some(receipt) = ledger.get(*id)?.map(|signed| signed.body) else {
            return Err(Objection::UnknownReceipts(vec![*id]));
        };
        let slot = receipt.slot(domain).hash();
        check_eligible(*id, &receipt, slot, facts, ledger)?;
        if let Some(user) = receipt.free_job_of() {
            let count = free_jobs.entry((user, receipt.round)).or_insert(0usize);
            *count += 1;
            if *count > FREE_JOBS_PER_ROUND {
                return Err(Objection::FreeQuota(*id));
            }
        }
        aggregate.add(*id, &receipt)?;
        included.insert(slot);
    }
    compare(
        payload,
        &aggregate.payload(facts.round, facts.distribution_id)?,
    )?;
    for held in ledger.eligible(facts.round, facts.cutoff) {
        // The quota may have room for some of a user's free jobs only, and the proposer chooses which.
        let over_quota = held.free_job_of.is_some_and(|user| {
            free_jobs
                .get(&(user, held.round))
                .is_some_and(|count| *count >= FREE_JOBS_PER_ROUND)
        });
        let age = facts
            .cutoff
            .saturating_sub(held.issued_at.max(held.held_since));
        let needs_a_reason =
            !over_quota && age >= facts.gossip_margin_seconds && !included.contains(&held.slot);
        // The only good one: an update that is full.
        if needs_a_reason
            && let Some(receipt) = ledger.get(held.id)?
            && aggregate.has_room_for(&receipt.body)
        {
            return Err(Objection::LeftOut(held.id, age));
        }
    }
    Ok(())
}

/// Checks that a receipt may be settled by the round that is judged.
fn check_eligible(
    id: B256,
    receipt: &Receipt,
    slot: B256,
    facts: &RoundFacts,
    ledger: &Ledger,
) -> Result<(), Objection> {
    let objection = if receipt.issued_at >= facts.cutoff {
        "issued after the cut-off"
    } else if receipt.round > facts.round
        || receipt.round.saturating_add(CARRY_ROUNDS) < facts.round
    {
        "of a round that is too far away"
    } else if ledger.settled(slot)?.is_some() {
        "settled before"
    } else {
        return Ok(());
    };
    Err(Objection::NotEligible(id, objection))
}

/// Names the first field that differs.
fn compare(found: &Payload, expected: &Payload) -> Result<(), Objection> {
    let fields = [
        ("the list of receipts", found.receipts == expected.receipts),
        ("a worker's capacity", found.workers == expected.workers),
        ("the list of jobs", found.jobs == expected.jobs),
        (
            "the list of validators to remove",
            found.validators_to_remove == expected.validators_to_remove,
        ),
        (
            "a reputation change",
            found.reputation_changes == expected.reputation_changes,
        ),
    ];
    match fields.iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(Objection::Differs(field)),
        None => Ok(()),
    }
}
