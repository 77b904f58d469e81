//! Hosts that do not play by the rules: an attack takes place, is answered, and is on record; one that does not is seen.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use common::{record, root, run};
use serde_json::Value;

/// What the one cheating host of a run did.
fn acted(record: &Value) -> &Value {
    match record["acted"].as_array().map(Vec::as_slice) {
        Some([acted]) => acted,
        other => panic!("one host cheats, not {other:?}"),
    }
}

/// The invariants that were violated.
fn violated(record: &Value) -> Vec<&str> {
    let violations = record["violations"].as_array().expect("a list");
    let names = violations.iter().map(|v| v["invariant"].as_str());
    names.map(Option::unwrap_or_default).collect()
}

#[test]
fn malformed_frames_are_sent_and_their_sender_is_banned() {
    let record = record(&run("scenarios/network/malformed-frames.toml", 3, &[]));
    assert_eq!(record["outcome"], "held", "{record}");
    let acted = acted(&record);
    assert_eq!(acted["behaviour"], "malformed");
    let times = |what: &str| acted["deeds"][what].as_u64().unwrap_or_default();
    for what in [
        "sends a frame of garbage",
        "sends an empty frame",
        "sends a frame that announces 4 GiB",
    ] {
        assert!(times(what) > 0, "{what}: {acted}");
    }
    // By all three validators and both workers.
    assert!(acted["bans"].as_u64() >= Some(5), "{acted}");
}

#[test]
fn an_attack_that_never_takes_place_fails_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("malformed-frames.toml");
    let scenario = root().join("scenarios/network/malformed-frames.toml");
    let mut text = std::fs::read_to_string(scenario).expect("it is in the library");
    text.push_str(
        "\n[[fault]]\nkind = \"partition\"\nhost = \"peer-1\"\nat = \"0s\"\nlasts = \"forever\"\n",
    );
    std::fs::write(&file, text).expect("written");
    let record = record(&run(file.to_str().expect("a path"), 3, &[]));
    let acted = acted(&record);
    assert_eq!(acted["bans"], 0, "{acted}");
    assert!(
        violated(&record).contains(&"attack-takes-place"),
        "{record}"
    );
}
