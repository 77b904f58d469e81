//! Runs the consensus report and reads what it writes.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts the binary and reads its files"
)]

mod support;

use std::path::Path;

use support::{
    assert_same, assert_whole, made, names,
    parts::{Run, frame, frame_of, write},
    refused, rows, text,
};
use tempfile::TempDir;

/// The library of the workspace.
const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// Runs of two scenarios with limits as they are in the library, on both sides, and of one without.
fn sweep(dir: &Path) {
    std::fs::create_dir(dir).expect("a directory");
    let part = |number: u32| dir.join(format!("part-0000{number}-of-00005.parquet"));
    let runs = |name: &'static str, held: [bool; 3]| -> Vec<Run> {
        let seeds = (1..).zip(held);
        seeds.map(|(seed, held)| (name, seed, held, "[]")).collect()
    };
    let (all, but_one) = ([true; 3], [true, false, true]);
    let unseen = r#"[{"invariant": "limit", "detail": "not seen"}]"#;
    let late = r#"[{"invariant": "ends-in-time", "detail": "no update"}]"#;
    let frames = [
        frame_of(&runs("colluders", all), "0.1.0", (8, 2, "near"), "[]"),
        frame_of(&runs("colluders", but_one), "0.1.0", (8, 3, "far"), unseen),
        frame_of(&runs("silent", but_one), "0.1.0", (8, 1, "near"), late),
        frame_of(&runs("silent", all), "0.1.0", (8, 2, "far"), "[]"),
        frame(&runs("first-update", all), "0.1.0"),
    ];
    for (number, frame) in (1..).zip(frames) {
        write(&part(number), frame);
    }
}

#[test]
fn three_ways_agree_on_every_cell_and_the_report_is_repeatable() {
    let place = TempDir::new().expect("a directory");
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let source = place.path().join("sweep");
    sweep(&source);
    let source = source.to_str().expect("plain");
    let mut args = vec!["consensus", "--rounds", "20"];
    args.extend(["--sweep", source, "--scenarios", LIBRARY]);
    let output = made(&args, &one);
    // Of up to 12 validators: adversaries, offline, thresholds, fresh and settled.
    assert!(
        output.stdout.starts_with(b"72800 cells compared\n"),
        "{output:?}"
    );
    made(&args, &other);
    assert_same(&one, &other);
    assert_whole(&one, "consensus");

    // Name, formula, contract, runs, reached, and whether it is the same; the name has a comma of its own.
    let limits = text(&one, "consensus-limits.csv");
    let cells = |line: &str| -> String {
        let cells: Vec<&str> = line.split(',').collect();
        [&cells[..2], &cells[8..12], &cells[15..]]
            .concat()
            .join(",")
    };
    let limits: Vec<String> = limits.lines().skip(1).map(cells).collect();
    assert_eq!(
        limits,
        [
            "\"colluders, 2 adversaries\",cannot,cannot,3,0,agree,\"\"",
            "\"colluders, 3 adversaries\",can,can,3,2,differ,seed 2: limit: not seen",
            "\"silent, 1 adversary\",cannot,cannot,3,1,differ,seed 2: ends-in-time: no update",
            "\"silent, 2 adversaries\",can,can,3,3,agree,\"\"",
        ]
    );
    let page = text(&one, "consensus.html");
    assert!(page.contains("Not everywhere do simulations do what the formula says"));

    let (_, frontier) = rows(&text(&one, "consensus-frontier.csv"));
    assert_eq!(frontier.len(), 10_000);
    assert!(
        frontier.iter().all(|row| row[3] == row[4]),
        "the contract says the same"
    );
    let (_, exact) = rows(&text(&one, "consensus-exact.csv"));
    let votes: Vec<_> = exact
        .iter()
        .map(|row| [row[0].as_str(), &row[2], &row[4]])
        .collect();
    assert_eq!(
        votes,
        [["3", "1", "2"], ["50", "33", "34"], ["100", "66", "67"]]
    );
    let (_, recovery) = rows(&text(&one, "consensus-recovery.csv"));
    assert_eq!(recovery.len(), 10);
    for row in &recovery {
        let (silent, hours): (u32, f64) = (
            row[0].parse().expect("a number"),
            row[5].parse().expect("it executes again"),
        );
        // 7 of 10 must approve: up to 3 may be silent.
        assert_eq!(silent > 3, hours > 60.0, "{row:?}");
    }
}

#[test]
fn bad_input_is_named_and_leaves_nothing() {
    let place = TempDir::new().expect("a directory");
    let fresh = place.path().join("fresh");
    refused(&["consensus"], None, "--out");
    refused(&["consensus", "--rounds", "1"], Some(&fresh), "--rounds");
    refused(
        &["consensus", "--scenarios", "scenarios"],
        Some(&fresh),
        "--sweep",
    );
    refused(
        &["consensus", "--sweep", "/nowhere/at/all"],
        Some(&fresh),
        "cannot be read",
    );
    let dir = place.path().join("sweep");
    sweep(&dir);
    let source = dir.to_str().expect("plain");
    refused(
        &[
            "consensus",
            "--sweep",
            source,
            "--scenarios",
            "/nowhere/at/all",
        ],
        Some(&fresh),
        "--scenarios",
    );
    let with = |place: (u32, u32, &str), name: &'static str| {
        let runs = [(name, 9, true, "[]")];
        write(
            &dir.join("part-00005-of-00005.parquet"),
            frame_of(&runs, "0.1.0", place, "[]"),
        );
        refused(
            &["consensus", "--sweep", source, "--scenarios", LIBRARY],
            Some(&fresh),
            name,
        );
    };
    // More hosts than the file has, another side, a number in between, and a scenario that is not there.
    with((9, 1, "near"), "silent");
    with((8, 1, "far"), "silent");
    with((8, 9, "far"), "silent");
    with((8, 1, "near"), "unheard-of");
    assert_eq!(names(place.path()), ["sweep"]);
}
