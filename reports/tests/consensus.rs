//! Runs the consensus report and reads what it writes.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts the binary and reads its files"
)]

mod support;

use support::{assert_same, assert_whole, made, names, refused, rows, text};
use tempfile::TempDir;

#[test]
fn three_ways_agree_on_every_cell_and_the_report_is_repeatable() {
    let place = TempDir::new().expect("a directory");
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let args = ["consensus", "--rounds", "20"];
    let output = made(&args, &one);
    // Of up to 12 validators: adversaries, offline, thresholds, fresh and settled.
    assert!(
        output.stdout.starts_with(b"72800 cells compared\n"),
        "{output:?}"
    );
    made(&args, &other);
    assert_same(&one, &other);
    assert_whole(&one, "consensus");

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
        &["consensus", "--sweep", "s3://bucket/x"],
        Some(&fresh),
        "copy the parts",
    );
    refused(
        &["consensus", "--sweep", "/nowhere/at/all"],
        Some(&fresh),
        "cannot be read",
    );
    assert!(names(place.path()).is_empty());
}
