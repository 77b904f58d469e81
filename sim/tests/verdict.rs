//! A run that does not end in time says whether the network is to blame.
#![cfg(madsim)]

mod common;

use common::{record, run};

#[test]
fn a_network_that_lost_its_majority_cannot_go_on_and_does_when_a_core_is_healed() {
    let record = record(&run("sim/tests/lost-majority.toml", 3, &[]));
    assert_eq!(
        record["violations"][0]["invariant"], "ends-in-time",
        "{record}"
    );
    // What is seen while a core is healed does not count: the run ended at its deadline.
    let ended = record["violations"][0]["virtual_seconds"].as_f64();
    assert!(
        (3600.0..3620.0).contains(&ended.expect("a time")),
        "{record}"
    );
    assert_eq!(
        record["verdict"]["verdict"], "converges-when-healed",
        "{record}"
    );
    // One of the two is enough, with the third: the other stays as it is.
    assert_eq!(record["verdict"]["healed"], 1, "{record}");
}

#[test]
fn a_run_that_nothing_keeps_from_its_end_is_late() {
    let record = record(&run("sim/tests/hopeless.toml", 3, &[]));
    assert_eq!(record["verdict"]["verdict"], "late", "{record}");
}
