//! The baselines' traces, to the bit: a change that alters what happens in them shows in review.
//!
//! `SMARTNODES_HASHES=write cargo simtest --test hashes` puts the present ones on record.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{record, root, run};

const SEED: u64 = 7;

#[test]
fn the_baselines_leave_the_traces_that_are_on_record() {
    let mut hashes = BTreeMap::new();
    for entry in fs::read_dir(root().join("scenarios/baseline")).expect("the baselines") {
        let name = entry.expect("a baseline").file_name();
        let file = format!("scenarios/baseline/{}", name.to_string_lossy());
        let record = record(&run(&file, SEED, &[]));
        assert_eq!(record["outcome"], "held", "{file}: {record}");
        let hash = record["trace_hash"].as_str().expect("a hash").to_owned();
        hashes.insert(format!("{file} --seed {SEED}"), hash);
    }
    let path = root().join("sim/tests/hashes.json");
    if std::env::var("SMARTNODES_HASHES").as_deref() == Ok("write") {
        let text = serde_json::to_string_pretty(&hashes).expect("a map of texts");
        fs::write(&path, text + "\n").expect("the record is written");
        return;
    }
    let text = fs::read_to_string(&path).expect("the traces on record");
    let on_record: BTreeMap<String, String> =
        serde_json::from_str(&text).expect("the record is well formed");
    assert_eq!(
        hashes, on_record,
        "what happens in a baseline has changed; if it should, SMARTNODES_HASHES=write puts the new traces on record"
    );
}
