//! What the calls cost: every figure of `evm/gas.snap` is compared exactly, for the chain is deterministic, and the
//! rule book's bounds hold. After a change that is meant to move them, write the table anew with
//!
//! ```text
//! SMARTNODES_BLESS=1 cargo test -p smartnodes-evm --test gas
//! ```
//!
//! and look at what moved. Which proposers are drawn depends on block hashes, so a change of any contract may move
//! `openRound` by some hundred gas.
//!
//! | row of the rule book | test |
//! | --- | --- |
//! | a state update costs the same whatever the number of workers | `a_state_update_costs_the_same_whatever_the_number_of_workers` |
//! | a single claim ≤ 120,000 gas at 10,000 workers | `a_claim_among_10_000_workers_stays_within_its_bound` |
//! | a vote ≤ 90,000 | `a_vote_costs_at_most_90_000_gas` |
//! | each contract under the 24,576-byte limit | `rules_deployment.rs` |

mod contracts_support;
mod gas_support;

use std::sync::LazyLock;

use gas_support::{Meter, snapshot_path};

/// Measured once for all tests of this file.
static MEASURED: LazyLock<Meter> = LazyLock::new(gas_support::measure_all);

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a checked-in file, for a test that never runs in the simulator"
)]
fn gas_is_as_recorded() {
    let path = snapshot_path();
    if std::env::var_os("SMARTNODES_BLESS").is_some() {
        std::fs::write(&path, MEASURED.table()).expect("the table is written");
        return;
    }
    let recorded = std::fs::read_to_string(&path).expect("evm/gas.snap is checked in");
    let differences = MEASURED.differences(&recorded);
    assert!(
        differences.is_empty(),
        "gas differs from evm/gas.snap; if it is meant, write it anew with SMARTNODES_BLESS=1:\n{}",
        differences.join("\n")
    );
}

#[test]
fn a_changed_row_a_missing_one_and_a_surplus_one_are_differences() {
    let mut meter = Meter::default();
    meter.row("a", 10);
    meter.row("b", 20);
    assert!(meter.differences(&meter.table()).is_empty());
    let recorded = meter
        .table()
        .replace("10  a", "11  a")
        .replace("20  b", "20  c");
    assert_eq!(
        meter.differences(&recorded),
        [
            "a: recorded 11, now 10 (-1)",
            "b: not recorded, now 20",
            "c: recorded, not measured"
        ]
    );
}

#[test]
fn a_vote_costs_at_most_90_000_gas() {
    let votes = MEASURED.rows_of("voteForProposal");
    assert!(votes.len() >= 6);
    for (name, gas) in votes {
        assert!(gas <= 90_000, "{name}: {gas}");
    }
}

#[test]
fn a_claim_among_10_000_workers_stays_within_its_bound() {
    let claims = MEASURED.rows_of("claimMerkleRewards: ");
    assert!(claims.len() >= 6);
    for (name, gas) in claims {
        assert!(gas <= 120_000, "{name}: {gas}");
    }
}

#[test]
fn a_state_update_costs_the_same_whatever_the_number_of_workers() {
    let updates = MEASURED.rows_of("executeProposal: 3 voters, emission, workers: ");
    assert_eq!(updates.len(), 3);
    let (least, most) = (
        updates.iter().map(|row| row.1).min().expect("three rows"),
        updates.iter().map(|row| row.1).max().expect("three rows"),
    );
    // Call data pays for the bytes of the total capacity that are not zero.
    assert!(most - least < 500, "{updates:?}");
}

#[test]
fn three_hundred_validators_are_drawn_propose_vote_execute_and_remove_within_blocks_of_60_million()
{
    let rows = MEASURED.rows_of("");
    let of_300: Vec<_> = rows
        .iter()
        .filter(|(name, _)| name.contains("300 validators"))
        .collect();
    assert!(of_300.len() >= 8);
    for (name, gas) in of_300 {
        // A third of a block, so that nothing else has to wait for it.
        assert!(*gas < 20_000_000, "{name}: {gas}");
    }
    let execute = MEASURED.rows_of("executeProposal: 300 validators, all voted");
    assert!(execute[0].1 < 300 * 40_000, "{execute:?}");
}
