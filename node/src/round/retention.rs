//! What a validator has written down about rounds, and when it forgets that.
//!
//! For claims it keeps the payload of every executed update for good. Whatever else belongs to a round (votes, own
//! proposals, payloads that were proposed and never executed, and the receipts that an update has settled) goes more than
//! [`CARRY_ROUNDS`] rounds later: by then no receipt of the round could be settled again, so nothing can depend on it.

use alloy::primitives::B256;
use serde::de::IgnoredAny;

use super::payloads::distribution_payload;
use crate::jobs::ledger::{CARRY_ROUNDS, Ledger};
use crate::store::{Batch, Store, StoreError, Table};

/// Payloads of proposals that no settled update has executed, by round.
const CANDIDATE: &[u8] = b"candidate/";
/// Own proposals, by round and distribution.
const PROPOSED: &[u8] = b"proposed/";

/// Where the vote of a round is kept in [`Table::Votes`].
pub(super) fn vote_key(round: u64) -> [u8; 8] {
    round.to_be_bytes()
}

/// Where the hash of the own proposal is kept.
pub(super) fn proposed_key(round: u64, distribution_id: u64) -> Vec<u8> {
    [
        PROPOSED,
        &round.to_be_bytes(),
        &distribution_id.to_be_bytes(),
    ]
    .concat()
}

/// Marks a payload as that of a proposal which may never be executed.
pub(super) fn candidate_key(round: u64, proposal: B256) -> Vec<u8> {
    [CANDIDATE, &round.to_be_bytes(), proposal.as_slice()].concat()
}

/// The round that a key begins with after `prefix`, and the rest of the key.
fn round_of<'a>(key: &'a [u8], prefix: &[u8]) -> Option<(u64, &'a [u8])> {
    let (round, rest) = key.strip_prefix(prefix)?.split_at_checked(8)?;
    Some((u64::from_be_bytes(round.try_into().ok()?), rest))
}

/// Forgets what belongs to rounds too far before `round`, whose update is being settled as `distribution_id`.
pub(super) fn forget_old_rounds(
    store: &Store,
    ledger: &mut Ledger,
    round: u64,
    distribution_id: u64,
) -> Result<(), StoreError> {
    // There is at most one update in a round, so this one's round is at least as far back as its id.
    if let Some(old) = distribution_id.checked_sub(CARRY_ROUNDS + 1)
        && let Some(payload) = distribution_payload(store, old)?
    {
        ledger.forget(&payload.body.payload.receipts)?;
    }
    let old_keys = |table, prefix: &[u8]| -> Result<Vec<Vec<u8>>, StoreError> {
        let mut keys = Vec::new();
        store.visit(table, prefix, |key, _: IgnoredAny| {
            let of = round_of(key, prefix).map(|(of, _)| of);
            if of.is_some_and(|of| of.saturating_add(CARRY_ROUNDS) < round) {
                keys.push(key.to_vec());
            }
        })?;
        Ok(keys)
    };
    let votes = old_keys(Table::Votes, &[])?;
    let proposed = old_keys(Table::Meta, PROPOSED)?;
    let candidates = old_keys(Table::Meta, CANDIDATE)?;
    if votes.is_empty() && proposed.is_empty() && candidates.is_empty() {
        return Ok(());
    }
    store.write(|batch| {
        let delete = |batch: &mut Batch<'_>, table, keys: &[Vec<u8>]| {
            keys.iter().try_for_each(|key| batch.delete(table, key))
        };
        delete(batch, Table::Votes, &votes)?;
        delete(batch, Table::Meta, &proposed)?;
        for key in &candidates {
            if let Some((_, proposal)) = round_of(key, CANDIDATE) {
                batch.delete(Table::Payloads, proposal)?;
            }
        }
        delete(batch, Table::Meta, &candidates)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::payload::{Payload, PublishedPayload};
    use super::super::payloads::{distribution_key, keep_payload, stored_payload};
    use super::*;
    use crate::signed::Signed;
    use crate::store::rows::{config, damaged, damages, rows_of};
    use crate::testing::{challenge_receipt, domain, wallet};

    fn rows(store: &Store, table: Table, prefix: &[u8]) -> usize {
        let rows = store.scan_prefix::<IgnoredAny>(table, prefix);
        rows.expect("reads").len()
    }

    /// Rounds up to `last`, each with a receipt, a vote, two proposals and an update. The hashes of what was executed.
    async fn rounds(store: &Store, last: u64) -> Vec<B256> {
        let mut ledger = Ledger::open(store.clone(), domain()).expect("opens");
        let mut executed = Vec::new();
        for round in 1..=last {
            let receipt = challenge_receipt(&wallet(1), &wallet(11), round, 0, round).await;
            let named = vec![(receipt.id(&domain()), receipt.body.slot(&domain()).hash())];
            ledger.insert(receipt, round).expect("stored");
            let published: Vec<_> = [named.clone(), Vec::new()]
                .into_iter()
                .map(|receipts| {
                    let payload = Payload {
                        round,
                        distribution_id: round,
                        receipts,
                        workers: Vec::new(),
                        jobs: Vec::new(),
                        validators_to_remove: Vec::new(),
                        reputation_changes: Vec::new(),
                    };
                    let body = PublishedPayload {
                        publisher: wallet(1).address(),
                        proposal_hash: payload.proposal_hash(&domain()).expect("hashes"),
                        payload,
                    };
                    Signed::sign(body, &domain(), &wallet(1))
                })
                .collect();
            let hash = published[0].body.proposal_hash;
            store
                .write(|batch| {
                    for payload in &published {
                        keep_payload(batch, round, payload)?;
                    }
                    batch.put(Table::Votes, &vote_key(round), &hash)?;
                    batch.put(Table::Meta, &proposed_key(round, round), &hash)?;
                    // As an executed update is written down.
                    batch.put(Table::Meta, &distribution_key(round), &hash)?;
                    batch.delete(Table::Meta, &candidate_key(round, hash))
                })
                .expect("stored");
            executed.push(hash);
            ledger.settle(&named, round, round).expect("settles");
            forget_old_rounds(store, &mut ledger, round, round).expect("forgets");
        }
        executed
    }

    #[tokio::test]
    async fn a_round_leaves_its_payload_for_claims_and_nothing_else() {
        let store = Store::in_memory().expect("opens");
        let last = 3 * CARRY_ROUNDS;
        let executed = rounds(&store, last).await;
        let kept = CARRY_ROUNDS as usize + 1;
        assert_eq!(rows(&store, Table::Receipts, &[]), kept);
        assert_eq!(rows(&store, Table::Votes, &[]), kept);
        assert_eq!(rows(&store, Table::Meta, PROPOSED), kept);
        assert_eq!(rows(&store, Table::Meta, CANDIDATE), kept);
        assert_eq!(rows(&store, Table::Meta, b"settled/"), kept);
        let payloads = last as usize + kept;
        assert_eq!(rows(&store, Table::Payloads, &[]), payloads);
        for hash in executed {
            assert!(stored_payload(&store, hash).expect("reads").is_some());
        }
    }

    #[tokio::test]
    async fn damaged_rounds_are_forgotten_or_refused() {
        let store = Store::in_memory().expect("opens");
        rounds(&store, 2).await;
        let rows = rows_of(&store);
        let late = prop_oneof![Just(CARRY_ROUNDS + 2), any::<u64>()];
        proptest!(config(), |(damages in damages(), round in late.clone(), id in late)| {
            let store = damaged(&rows, &damages);
            let Ok(mut ledger) = Ledger::open(store.clone(), domain()) else {
                return Ok(());
            };
            if forget_old_rounds(&store, &mut ledger, round, id).is_ok() {
                // Once more, with what is left.
                prop_assert!(forget_old_rounds(&store, &mut ledger, round, id).is_ok());
            }
        });
    }
}
