//! What one state update minted, and its comparison with what it should have.

use alloy::primitives::U256;
use thiserror::Error;

/// What one state update minted. Amounts are in SNO wei.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRecord {
    /// Its number, from 1: the distribution's id.
    pub update: u64,
    /// The year, from 1, whose period it covers.
    pub year: u64,
    /// Seconds from the token's deployment to the execution.
    pub elapsed_seconds: u64,
    /// The era whose rate it pays.
    pub era: u64,
    /// By how much the supply grew, with the worker's claim.
    pub minted: U256,
    /// What the closed form says for this era.
    pub closed_form: U256,
    /// The supply afterwards.
    pub supply: U256,
    /// What the worker claimed.
    pub workers: U256,
    /// What the approving validators received.
    pub validators: U256,
    /// What the treasury received.
    pub treasury: U256,
}

/// A state update that minted what it should not have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Discrepancy {
    /// Not the amount of the closed form.
    #[error(
        "state update {update} (era {era}): the contracts minted {minted} wei, the closed form says {closed_form} wei"
    )]
    Emission {
        /// Its number, from 1.
        update: u64,
        /// The era whose rate it pays.
        era: u64,
        /// What the contracts minted, in wei.
        minted: U256,
        /// What the closed form says, in wei.
        closed_form: U256,
    },
    /// The shares are not the whole.
    #[error("state update {update}: {minted} wei were minted, but {received} wei were received")]
    Shares {
        /// Its number, from 1.
        update: u64,
        /// By how much the supply grew, in wei.
        minted: U256,
        /// What workers, validators and treasury received, in wei.
        received: U256,
    },
}

/// The first discrepancy, if there is one.
#[must_use]
pub fn discrepancy(records: &[UpdateRecord]) -> Option<Discrepancy> {
    records.iter().find_map(|record| {
        let UpdateRecord {
            update,
            era,
            minted,
            closed_form,
            ..
        } = *record;
        if minted != closed_form {
            return Some(Discrepancy::Emission {
                update,
                era,
                minted,
                closed_form,
            });
        }
        let shares = [record.validators, record.treasury];
        let received = shares
            .into_iter()
            .fold(record.workers, U256::saturating_add);
        (received != minted).then_some(Discrepancy::Shares {
            update,
            minted,
            received,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three updates in order.
    fn records() -> Vec<UpdateRecord> {
        (1..=3)
            .map(|update| UpdateRecord {
                update,
                year: 1,
                elapsed_seconds: update * 28_800,
                era: 0,
                minted: U256::from(100),
                closed_form: U256::from(100),
                supply: U256::from(100 * update),
                workers: U256::from(85),
                validators: U256::from(10),
                treasury: U256::from(5),
            })
            .collect()
    }

    #[test]
    fn equal_amounts_are_no_discrepancy() {
        assert_eq!(discrepancy(&records()), None);
    }

    #[test]
    fn a_wei_too_many_or_too_few_is_found_and_the_first_named() {
        for wrong in [99, 101] {
            let mut records = records();
            for record in &mut records[1..] {
                record.minted = U256::from(wrong);
            }
            let expected = Discrepancy::Emission {
                update: 2,
                era: 0,
                minted: U256::from(wrong),
                closed_form: U256::from(100),
            };
            assert_eq!(discrepancy(&records), Some(expected.clone()));
            assert!(
                expected
                    .to_string()
                    .starts_with("state update 2 (era 0): the contracts minted")
            );
        }
    }

    #[test]
    fn a_wei_that_nobody_received_is_found() {
        let mut records = records();
        records[2].workers = U256::from(84);
        assert_eq!(
            discrepancy(&records),
            Some(Discrepancy::Shares {
                update: 3,
                minted: U256::from(100),
                received: U256::from(99)
            })
        );
    }
}
