//! Reports on sweeps, whose parts are written here as the simulator writes them.

#![allow(
    clippy::disallowed_methods,
    reason = "the test writes parts and reads reports"
)]

mod support;

use std::{fs, path::Path};

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::parquet::write::ParquetWriter;
use support::{assert_same, assert_whole, made, names, refused, rows, text};
use tempfile::TempDir;

/// A run: scenario, seed, whether it held, faults.
type Run = (&'static str, u64, bool, &'static str);

const RUNS: [Run; 6] = [
    ("first-update", 1, true, "[]"),
    ("first-update", 2, true, "[]"),
    ("first-update", 3, true, "[]"),
    (
        "partition",
        1,
        true,
        r#"[{"kind": "partition"}, {"kind": "loss"}]"#,
    ),
    ("partition", 2, false, r#"[{"kind": "partition"}]"#),
    ("partition", 3, true, r#"["loss"]"#),
];

fn frame(runs: &[Run], build: &str) -> DataFrame {
    let text = |name: &str, of: &dyn Fn(&Run) -> String| -> Column {
        Series::new(name.into(), runs.iter().map(of).collect::<Vec<_>>()).into()
    };
    let number = |name: &str, of: &dyn Fn(&Run) -> u64| -> Column {
        Series::new(name.into(), runs.iter().map(of).collect::<Vec<_>>()).into()
    };
    let real = |name: &str, value: f64| -> Column {
        Series::new(name.into(), vec![value; runs.len()]).into()
    };
    let columns = vec![
        text("scenario", &|run| run.0.to_owned()),
        number("seed", &|run| run.1),
        text("build", &|_| build.to_owned()),
        text("trace_hash", &|run| format!("{:016x}", run.1)),
        text("outcome", &|run| {
            if run.2 { "held" } else { "violated" }.to_owned()
        }),
        real("virtual_seconds", 57_600.0),
        real("wall_seconds", 4.5),
        Series::new("hosts".into(), vec![7_u32; runs.len()]).into(),
        number("messages", &|run| 1_000 * run.1),
        number("bytes", &|run| 1_000_000 * run.1),
        number("state_updates", &|run| if run.2 { 2 } else { 1 }),
        number("rounds_opened", &|_| 2),
        number("jobs_submitted", &|_| 4),
        number("jobs_completed", &|run| if run.2 { 4 } else { 1 }),
        number("jobs_failed", &|run| if run.2 { 0 } else { 3 }),
        number("claims", &|_| 3),
        text("violations", &|run| {
            if run.2 {
                "[]"
            } else {
                r#"[{"invariant": "supply", "detail": "a wei too many", "virtual_seconds": 7.5}]"#
            }
            .to_owned()
        }),
        text("faults", &|run| run.3.to_owned()),
    ];
    DataFrame::new(runs.len(), columns).expect("a frame")
}

fn write(path: &Path, mut frame: DataFrame) {
    let file = fs::File::create(path).expect("a file");
    ParquetWriter::new(file).finish(&mut frame).expect("a part");
}

fn sweep(dir: &Path) {
    fs::create_dir_all(dir).expect("a directory");
    write(
        &dir.join("part-00001-of-00002.parquet"),
        frame(&RUNS[..4], "0.1.0"),
    );
    write(
        &dir.join("part-00002-of-00002.parquet"),
        frame(&RUNS[4..], "0.1.0"),
    );
    fs::create_dir(dir.join("cases")).expect("a directory");
    fs::write(dir.join("cases/partition-2.html"), "<p>a story</p>").expect("a page");
}

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
    refused(
        &["run", "s3://bucket/sweep"],
        Some(&out),
        "copy the parts into a directory",
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
    refuse(&twice, "seed 1 of scenario first-update twice");
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
    assert!(
        !names(place.path()).contains(&"out".to_owned()),
        "no half-written report"
    );
}
