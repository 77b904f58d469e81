//! The modules that are checked in are those of their sources.
#![cfg(not(madsim))]
#![allow(clippy::disallowed_methods, reason = "looks at real files")]

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

fn guests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/guests"))
}

#[test]
fn every_module_has_its_source_and_its_recorded_hash() {
    let sums = fs::read_to_string(guests().join("SHA256SUMS")).unwrap();
    let recorded: Vec<(&str, &str)> = sums
        .lines()
        .map(|line| line.split_once("  ./").unwrap())
        .collect();
    let mut modules: Vec<String> = fs::read_dir(guests())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".wasm"))
        .collect();
    modules.sort_unstable();
    let names: Vec<&str> = recorded.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, modules);
    for (sum, name) in recorded {
        let module = fs::read(guests().join(name)).unwrap();
        let found: String = Sha256::digest(&module)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found, sum, "{name}");
        let source = guests()
            .join(name.trim_end_matches(".wasm"))
            .join("main.rs");
        assert!(source.is_file(), "{name} has no source");
    }
}

#[test]
fn modules_are_what_their_sources_compile_to() {
    let done = Command::new(guests().join("build"))
        .arg("--check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    // The script's code for a compiler that is not there.
    if done.status.code() == Some(3) {
        eprintln!("skipped: {said}");
        return;
    }
    assert!(done.status.success(), "{said}");
}
