//! Reports on sweeps, whose parts are written here as the simulator writes them.

#![allow(
    clippy::disallowed_methods,
    reason = "the test writes parts and reads reports"
)]

mod support;

use std::{fs, path::Path};

use support::{
    assert_same, assert_whole, made, names,
    parts::{RUNS, frame, frame_of, sweep, write},
    refused, rows, text,
};
use tempfile::TempDir;

#[test]
fn parts_of_many_shards_are_one_table() {
    let place = TempDir::new().expect("a directory");
    let dir = place.path().join("sweep");
    sweep(&dir);
    let source = dir.to_str().expect("a plain path");
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    made(&["run", source], &one);
    made(&["run", source], &other);
    assert_same(&one, &other);
    assert_whole(&one, "run");
    let (header, scenarios) = rows(&text(&one, "run-scenarios.csv"));
    assert_eq!(header[..4], ["scenario", "runs", "held", "held_percent"]);
    assert_eq!(scenarios[0][..4], ["first-update", "3", "3", "100.0"]);
    assert_eq!(scenarios[1][..3], ["partition", "3", "2"]);
    let (_, faults) = rows(&text(&one, "run-faults.csv"));
    let faults: Vec<_> = faults.iter().map(|row| row[..3].join(" ")).collect();
    assert_eq!(faults, ["loss 2 0", "none 3 0", "partition 2 1"]);
    let violations = text(&one, "run-violations.csv");
    assert!(
        violations.contains("supply: a wei too many,cargo sim replay"),
        "{violations}"
    );
    let page = text(&one, "run.html");
    assert!(page.contains("partition-2.html") && page.contains(">6</span> runs"));

    // Without a directory of its own the report is beside the parts, and links to the pages there.
    let output = support::report(&["run", source], None);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text(&dir.join("report"), "run.html").contains("href=\"../cases/partition-2.html\""));
}

/// A sweep runs a scenario with a limit on both sides of it, with the same seeds.
#[test]
fn both_sides_of_a_limit_are_told_apart() {
    let place = TempDir::new().expect("a directory");
    let dir = place.path().join("sweep");
    fs::create_dir(&dir).expect("a directory");
    let runs = [("colluders", 1, true, "[]"), ("colluders", 2, true, "[]")];
    let beyond = [("colluders", 1, true, "[]"), ("colluders", 2, false, "[]")];
    write(
        &dir.join("part-00001-of-00002.parquet"),
        frame_of(&runs, "0.1.0", (8, 2, "near"), "[]"),
    );
    let not_seen = r#"[{"invariant": "limit", "detail": "was not seen"}]"#;
    write(
        &dir.join("part-00002-of-00002.parquet"),
        frame_of(&beyond, "0.1.0", (8, 3, "far"), not_seen),
    );
    let out = place.path().join("out");
    made(&["run", dir.to_str().expect("plain")], &out);
    let scenarios = text(&out, "run-scenarios.csv");
    assert!(
        scenarios.contains("\"colluders, 2 adversaries\",2,2,100.0"),
        "{scenarios}"
    );
    assert!(
        scenarios.contains("\"colluders, 3 adversaries\",2,1,50.0"),
        "{scenarios}"
    );
    let violations = text(&out, "run-violations.csv");
    assert!(
        violations.contains("cases/colluders-2-3.json"),
        "{violations}"
    );
    let (_, faults) = rows(&text(&out, "run-faults.csv"));
    assert_eq!(faults[0][..3], ["none", "2", "0"], "the near side alone");
}

#[test]
fn what_is_no_whole_sweep_of_one_build_is_refused() {
    let place = TempDir::new().expect("a directory");
    let out = place.path().join("out");
    let dir = |name: &str| {
        let dir = place.path().join(name);
        fs::create_dir(&dir).expect("a directory");
        dir
    };
    let refuse = |dir: &Path, named: &str| {
        refused(&["run", dir.to_str().expect("plain")], Some(&out), named)
    };

    refuse(
        &place.path().join("nowhere"),
        "cannot be read as a sweep's directory",
    );
    refused(&["run", "s3://bucket/sweep"], None, "--out");
    refused(
        &["run", "ftp://bucket/sweep"],
        Some(&out),
        "s3://BUCKET/PREFIX",
    );
    let none = dir("none");
    refuse(&none, "no part-*.parquet");
    let empty = dir("empty");
    write(
        &empty.join("part-00001-of-00001.parquet"),
        frame(&[], "0.1.0"),
    );
    refuse(&empty, "no runs in them");
    let missing = dir("missing");
    write(
        &missing.join("part-00001-of-00003.parquet"),
        frame(&RUNS[..1], "0.1.0"),
    );
    write(
        &missing.join("part-00003-of-00003.parquet"),
        frame(&RUNS[1..2], "0.1.0"),
    );
    refuse(&missing, "lacks part 2 of 3");
    let shards = dir("shards");
    write(
        &shards.join("part-00001-of-00001.parquet"),
        frame(&RUNS[..1], "0.1.0"),
    );
    write(
        &shards.join("part-00001-of-00002.parquet"),
        frame(&RUNS[1..2], "0.1.0"),
    );
    refuse(&shards, "a directory of its own");
    let builds = dir("builds");
    write(
        &builds.join("part-00001-of-00002.parquet"),
        frame(&RUNS[..1], "0.1.0"),
    );
    write(
        &builds.join("part-00002-of-00002.parquet"),
        frame(&RUNS[1..2], "0.2.0"),
    );
    refuse(&builds, "build 0.1.0 and of build 0.2.0");
    let twice = dir("twice");
    write(
        &twice.join("part-00001-of-00002.parquet"),
        frame(&RUNS[..1], "0.1.0"),
    );
    write(
        &twice.join("part-00002-of-00002.parquet"),
        frame(&RUNS[..1], "0.1.0"),
    );
    refuse(
        &twice,
        "seed 1 of scenario first-update with 0 adversaries twice",
    );
    let broken = dir("broken");
    fs::write(
        broken.join("part-00001-of-00001.parquet"),
        "PAR1 not really",
    )
    .expect("a file");
    refuse(&broken, "cannot be read as a part");
    let narrow = dir("narrow");
    let without = frame(&RUNS[..1], "0.1.0").drop("bytes").expect("a column");
    write(&narrow.join("part-00001-of-00001.parquet"), without);
    refuse(&narrow, "no column bytes");
    let strange = dir("strange");
    let faults = [("first-update", 1, true, "loss")];
    write(
        &strange.join("part-00001-of-00001.parquet"),
        frame(&faults, "0.1.0"),
    );
    refuse(&strange, "as faults of seed 1");
    let sides = dir("sides");
    write(
        &sides.join("part-00001-of-00001.parquet"),
        frame_of(&RUNS[..1], "0.1.0", (7, 1, "upper"), "[]"),
    );
    refuse(&sides, "\"upper\" as limit of seed 1");
    assert!(
        !names(place.path()).contains(&"out".to_owned()),
        "no half-written report"
    );
}
