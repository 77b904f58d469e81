//! The command line: what it prints, its exit codes, and its answers to bad input.
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use common::{root, sim, stderr, stdout};

/// Bad input: exit code 2, these words on standard error, no panic, and nothing written.
#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let output = sim(args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    for word in words {
        assert!(
            said.contains(word),
            "{args:?} does not say {word:?}: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn list_names_every_scenario_with_its_summary() {
    let output = sim(&["list"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        text.contains("scenarios/baseline/first-update.toml"),
        "{text}"
    );
    assert!(text.contains("A free job earns the first SNO"), "{text}");
    assert!(
        text.contains("scenarios/process/kill-and-restart.toml"),
        "{text}"
    );
}

#[test]
fn bad_arguments_are_refused_by_name() {
    refused(
        &["run", "scenarios/baseline/first-update.toml", "--seed", "x"],
        &["--seed", "x"],
    );
    refused(
        &[
            "run",
            "scenarios/baseline/first-update.toml",
            "--seed",
            "-1",
        ],
        &["-1"],
    );
    refused(
        &[
            "run",
            "scenarios/baseline/first-update.toml",
            "--seeds",
            "1",
        ],
        &["--seeds"],
    );
    refused(&["run"], &["PATH"]);
    refused(&["walk"], &["walk"]);
    refused(&["list", "no/such/folder"], &["no/such/folder"]);
}

#[test]
fn a_missing_file_is_named() {
    refused(
        &["run", "scenarios/none.toml", "--seed", "1"],
        &["scenarios/none.toml"],
    );
}

#[test]
fn mistakes_in_a_file_are_named_with_line_and_field_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let good =
        std::fs::read_to_string(root().join("scenarios/baseline/first-update.toml")).unwrap();
    let (file, out) = (folder.path().join("bad.toml"), folder.path().join("out"));
    let (path, out_path) = (file.to_str().unwrap(), out.to_str().unwrap());
    for (from, to, field) in [
        ("deadline =", "dead_line =", "dead_line"),
        ("\"24h\"", "\"24 hours\"", "deadline"),
        ("\"50 SNO\"", "\"50\"", "payment"),
        ("[[worker]]", "[[miner]]", "miner"),
    ] {
        let place = good.find(from).expect("the file has it");
        let line = good[..place].matches('\n').count() + 1;
        let words = [&*format!("bad.toml:{line}:"), field];
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        refused(&["run", path, "--seed", "1", "--out", out_path], &words);
        assert!(!out.exists(), "{to} left something behind");
    }
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    refused(&["run", path], &["bad.toml"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("out");
    let out = below.to_str().unwrap();
    refused(
        &["run", "scenarios/baseline/first-update.toml", "--out", out],
        &["--out", "file"],
    );
}
