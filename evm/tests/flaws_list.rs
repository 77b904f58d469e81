//! That the tests of the upstream contracts' flaws are complete: one at least for each flaw, and no broken variant that
//! no attack meets.

#![expect(
    clippy::disallowed_methods,
    reason = "checked-in files, for tests that never run in the simulator"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The flaws by their numbers. The numbers 8, 9 and 48 were never given to one.
const FLAWS: [u8; 48] = [
    1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
    28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 49, 50, 51,
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of all files in which flaws are tested.
fn tests() -> String {
    fs::read_dir(folder("tests"))
        .expect("the tests' folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.starts_with("flaws_") && name != "flaws_list.rs"
        })
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect()
}

#[test]
fn every_flaw_has_a_test_that_begins_with_its_number() {
    let tests = tests();
    let names: Vec<&str> = tests
        .split("#[test]\nfn ")
        .skip(1)
        .filter_map(|rest| rest.split('(').next())
        .collect();
    let missing: Vec<String> = FLAWS
        .iter()
        .map(|number| format!("f{number:02}"))
        .filter(|flaw| {
            // One attack may be two flaws: f37_f49_...
            let begins = |name: &&str| name.split('_').take(3).any(|part| part == flaw);
            !names.iter().any(begins)
        })
        .collect();
    assert!(missing.is_empty(), "without a test: {missing:?}");
}

#[test]
fn every_broken_variant_is_attacked() {
    let tests = tests();
    let unused: Vec<String> = fs::read_dir(folder("artifacts/variants"))
        .expect("the variants' folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .filter(|variant| !tests.contains(&format!("\"{variant}\"")))
        .collect();
    assert!(unused.is_empty(), "no test attacks {unused:?}");
}
