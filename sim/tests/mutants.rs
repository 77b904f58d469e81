//! Bugs put into the product on purpose: a sweep of the library finds each of them.
//!
//! `sim/mutants/list.toml` has the list. Every run of the tests checks that each bug still fits the code;
//! `SMARTNODES_MUTANTS=all cargo simtest --test mutants -- --nocapture` builds a copy of the workspace that has all of them,
//! each behind its name, and sweeps the scenarios that should see it (`SMARTNODES_MUTANTS=a,b` runs these two,
//! `SMARTNODES_SEEDS=1..21` takes other seeds than 1..6).
#![cfg(madsim)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::root;
use serde::Deserialize;
use serde_json::Value;

/// What tells a node which bug it has, in the copy only.
const SWITCH: &str = r#"//! Which bug this process has.

use std::sync::OnceLock;

static ON: OnceLock<Option<String>> = OnceLock::new();

/// Whether it is this one.
pub fn is(name: &str) -> bool {
    ON.get_or_init(|| std::env::var("SMARTNODES_MUTANT").ok())
        .as_deref()
        == Some(name)
}
"#;
/// Folders of the workspace that a copy does without.
const LEFT_OUT: [&str; 3] = ["target", ".git", "node_modules"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    breaks: String,
    /// Files of the library, without their ending.
    scenarios: Vec<String>,
    /// Why no run can tell the difference: something else of the product holds.
    survives: Option<String>,
    change: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    file: String,
    from: String,
    to: String,
}

fn list() -> Vec<Mutant> {
    let text = fs::read_to_string(root().join("sim/mutants/list.toml")).expect("the list is there");
    toml::from_str::<List>(&text)
        .expect("the list is well formed")
        .mutant
}

/// The changed files, by their paths from the root.
fn changed(mutants: &[Mutant]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for mutant in mutants {
        for Change { file, from, to } in &mutant.change {
            let text: &mut String = files.entry(file.clone()).or_insert_with(|| {
                fs::read_to_string(root().join(file)).expect("a file of the node")
            });
            let found = text.matches(from.as_str()).count();
            assert_eq!(
                found, 1,
                "{}: what it changes occurs {found} times in {file}, not once:\n{from}",
                mutant.name
            );
            *text = text.replacen(from.as_str(), to, 1);
        }
    }
    files
}

#[test]
fn every_mutant_fits_the_code_and_names_its_scenarios() {
    let mutants = list();
    let names: BTreeSet<&str> = mutants.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names.len(), mutants.len(), "two mutants have one name");
    assert!(mutants.len() >= 25, "{} mutants", mutants.len());
    for mutant in &mutants {
        let switched = mutant.change.iter().all(|change| {
            change.to.contains(&format!("is(\"{}\")", mutant.name))
                || change.to.contains("given_up")
        });
        assert!(switched, "{} is not behind its name", mutant.name);
        for scenario in &mutant.scenarios {
            let path = root().join(format!("scenarios/{scenario}.toml"));
            assert!(path.exists(), "{}: there is no {scenario}", mutant.name);
        }
    }
    changed(&mutants);
}

#[test]
fn a_sweep_finds_every_mutant() {
    let Ok(wanted) = std::env::var("SMARTNODES_MUTANTS") else {
        eprintln!("skipped: set SMARTNODES_MUTANTS to `all` or to names");
        return;
    };
    let seeds = std::env::var("SMARTNODES_SEEDS").unwrap_or_else(|_| "1..6".to_owned());
    let mutants = list();
    let chosen: Vec<&Mutant> = mutants
        .iter()
        .filter(|mutant| wanted == "all" || wanted.split(',').any(|name| name == mutant.name))
        .collect();
    assert!(!chosen.is_empty(), "no mutant is called {wanted}");
    let tree = build(&mutants);
    // Without any of the bugs the same runs hold: what is seen with one is seen for it.
    let scenarios: BTreeSet<&str> = chosen
        .iter()
        .flat_map(|mutant| mutant.scenarios.iter().map(String::as_str))
        .collect();
    for scenario in scenarios {
        let found = sweep(&tree, scenario, &seeds, None);
        assert_eq!(
            found["violated"], 0,
            "without a bug {scenario} does not hold: {found}"
        );
    }
    let mut survivors = Vec::new();
    for mutant in chosen {
        let (mut seen, mut runs) = (0, 0);
        let mut invariants: BTreeMap<String, u64> = BTreeMap::new();
        for scenario in &mutant.scenarios {
            let found = sweep(&tree, scenario, &seeds, Some(&mutant.name));
            seen += found["violated"].as_u64().unwrap_or_default();
            runs += found["done"].as_u64().unwrap_or_default();
            let violated = found["coverage"]["violated"]
                .as_object()
                .into_iter()
                .flatten();
            for (invariant, times) in violated {
                *invariants.entry(invariant.clone()).or_default() += times.as_u64().unwrap_or(0);
            }
        }
        println!(
            "{}: {seen} of {runs} runs {invariants:?} ({})",
            mutant.name, mutant.breaks
        );
        match &mutant.survives {
            Some(why) => println!("{} is expected to survive: {why}", mutant.name),
            None if seen == 0 => survivors.push(mutant.name.as_str()),
            None => {}
        }
    }
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}

/// Builds the simulator from a copy of the workspace that has the bugs. Returns the copy.
fn build(mutants: &[Mutant]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let tree = target.join("tree");
    let mut files = changed(mutants);
    let library = "node/src/lib.rs".to_owned();
    let text = files
        .remove(&library)
        .unwrap_or_else(|| fs::read_to_string(root().join(&library)).expect("the node's library"));
    files.insert(library, format!("{text}\npub mod mutant;\n"));
    copy(&root(), &tree, Path::new(""), &files);
    write(&tree.join("node/src/mutant.rs"), SWITCH.as_bytes());
    let built = Command::new(env!("CARGO"))
        .args(["build", "--config", "build.rustflags=['--cfg','madsim']"])
        .args([
            "-p",
            "smartnodes-sim",
            "-p",
            "smartnodes-node",
            "-p",
            "futures-timer",
        ])
        .args(["--bin", "smartnodes-sim", "--target-dir"])
        .arg(target.join("target"))
        .current_dir(&tree)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the mutants do not build");
    tree
}

/// Copies a folder, with `files` in the place of those that it has. What is there already is not touched, so that a
/// second build has little to do.
fn copy(from: &Path, to: &Path, folder: &Path, files: &BTreeMap<String, String>) {
    let there = to.join(folder);
    fs::create_dir_all(&there).expect("a folder");
    for entry in fs::read_dir(from.join(folder)).expect("a folder of the workspace") {
        let entry = entry.expect("an entry of it");
        let name = entry.file_name();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let kind = entry.file_type().expect("its kind");
        let path = folder.join(&name);
        if kind.is_dir() {
            copy(from, to, &path, files);
        } else if kind.is_file() {
            match path.to_str().and_then(|path| files.get(path)) {
                Some(text) => write(&to.join(&path), text.as_bytes()),
                None => write(
                    &to.join(&path),
                    &fs::read(entry.path()).expect("a file of it"),
                ),
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    if fs::read(path).ok().as_deref() != Some(bytes) {
        fs::write(path, bytes).expect("a file of the copy");
    }
}

/// What a sweep of the copy's simulator says, with one of the bugs switched on or with none.
fn sweep(tree: &Path, scenario: &str, seeds: &str, mutant: Option<&str>) -> Value {
    let simulator = tree.with_file_name("target").join("debug/smartnodes-sim");
    let output = Command::new(simulator)
        .args(["sweep", &format!("scenarios/{scenario}.toml")])
        .args(["--seeds", seeds, "--keep-going", "--json"])
        .current_dir(tree)
        .env_remove("SMARTNODES_MUTANT")
        .envs(mutant.map(|name| ("SMARTNODES_MUTANT", name)))
        .env_remove("RUST_LOG")
        .stderr(Stdio::null())
        .output()
        .expect("the copy's simulator is built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{mutant:?}, {scenario}: {error} in {text}"))
}
