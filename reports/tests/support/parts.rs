//! Parts of sweeps, written as the simulator writes them.

use std::{fs, path::Path};

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::parquet::write::ParquetWriter;

/// A run: scenario, seed, whether it held, faults.
pub type Run = (&'static str, u64, bool, &'static str);

pub const RUNS: [Run; 6] = [
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

/// Runs of a scenario without a limit.
pub fn frame(runs: &[Run], build: &str) -> DataFrame {
    let supply = r#"[{"invariant": "supply", "detail": "a wei too many", "virtual_seconds": 7.5}]"#;
    frame_of(runs, build, (7, 0, ""), supply)
}

/// Runs of networks of so many hosts, with so many adversaries on this side of a limit; those that did not hold say so.
pub fn frame_of(
    runs: &[Run],
    build: &str,
    (hosts, adversaries, side): (u32, u32, &str),
    violations: &str,
) -> DataFrame {
    let text = |name: &str, of: &dyn Fn(&Run) -> String| -> Column {
        Series::new(name.into(), runs.iter().map(of).collect::<Vec<_>>()).into()
    };
    let number = |name: &str, of: &dyn Fn(&Run) -> u64| -> Column {
        Series::new(name.into(), runs.iter().map(of).collect::<Vec<_>>()).into()
    };
    let small = |name: &str, value: u32| -> Column {
        Series::new(name.into(), vec![value; runs.len()]).into()
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
        small("adversaries", adversaries),
        text("limit", &|_| side.to_owned()),
        real("virtual_seconds", 57_600.0),
        real("wall_seconds", 4.5),
        small("hosts", hosts),
        number("messages", &|run| 1_000 * run.1),
        number("bytes", &|run| 1_000_000 * run.1),
        number("state_updates", &|run| if run.2 { 2 } else { 1 }),
        number("rounds_opened", &|_| 2),
        number("jobs_submitted", &|_| 4),
        number("jobs_completed", &|run| if run.2 { 4 } else { 1 }),
        number("jobs_failed", &|run| if run.2 { 0 } else { 3 }),
        number("claims", &|_| 3),
        text("violations", &|run| {
            if run.2 { "[]" } else { violations }.to_owned()
        }),
        text("faults", &|run| run.3.to_owned()),
    ];
    DataFrame::new(runs.len(), columns).expect("a frame")
}

/// Writes a part.
pub fn write(path: &Path, mut frame: DataFrame) {
    let file = fs::File::create(path).expect("a file");
    ParquetWriter::new(file).finish(&mut frame).expect("a part");
}

/// Writes a sweep of two parts with a page on one run.
pub fn sweep(dir: &Path) {
    fs::create_dir_all(dir.join("cases")).expect("a directory");
    write(
        &dir.join("part-00001-of-00002.parquet"),
        frame(&RUNS[..4], "0.1.0"),
    );
    write(
        &dir.join("part-00002-of-00002.parquet"),
        frame(&RUNS[4..], "0.1.0"),
    );
    fs::write(dir.join("cases/partition-2.html"), "<p>a story</p>").expect("a page");
}
