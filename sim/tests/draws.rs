//! Who moves rounds on to its own advantage is drawn no more often than chance has it.
#![cfg(madsim)]

mod common;

use common::{record, run};

const GRINDING: &str = "scenarios/validator/grinding.toml";
/// Standard deviations that chance may be off: once in sixteen thousand times.
const CHANCE: f64 = 4.0;

#[test]
fn grinding_gains_no_draws() {
    let (mut rounds, mut times, mut expected, mut variance) = (0, 0, 0.0, 0.0);
    let (mut moved_on, mut left) = (0, 0);
    for seed in 1..=2 {
        let record = record(&run(GRINDING, seed, &[]));
        assert_eq!(record["outcome"], "held", "{record}");
        let drawn = &record["draws"]["validator-4"];
        rounds += drawn["rounds"].as_u64().expect("a number");
        times += drawn["times"].as_u64().expect("a number");
        expected += drawn["expected"].as_f64().expect("a number");
        variance += drawn["variance"].as_f64().expect("a number");
        let acts = &record["misdeeds"]["validator-4"];
        moved_on += acts["round-moved-on"].as_u64().unwrap_or_default();
        left += acts["round-left-to-others"].as_u64().unwrap_or_default();
    }
    println!(
        "{times} of {rounds} draws, {expected:.1} expected; moved on {moved_on} times, left {left} to others"
    );
    assert!(
        rounds > 40 && moved_on > 10 && left > 10,
        "{moved_on}, {left}"
    );
    let off = times as f64 - expected;
    assert!(off.abs() <= CHANCE * variance.sqrt(), "{off} of {expected}");
}
