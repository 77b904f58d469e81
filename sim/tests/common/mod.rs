//! Starts the simulator's binary: one process for each run.
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs the simulator in the root of the workspace, without the variables that the tests' own runner may have set.
pub fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smartnodes-sim"))
        .args(args)
        .current_dir(root())
        .env_remove("RUST_LOG")
        .env_remove("SMARTNODES_SIM_FIXED_ADDRESSES")
        .output()
        .expect("the binary is built with the tests")
}

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The record that `--json` prints on the last line.
pub fn record(output: &Output) -> Value {
    let text = stdout(output);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{e} in {text:?}; {}", stderr(output)))
}

/// Runs a scenario with a seed and further arguments.
pub fn run(scenario: &str, seed: u64, more: &[&str]) -> Output {
    let seed = seed.to_string();
    let mut args = vec!["run", scenario, "--seed", &seed, "--json"];
    args.extend(more);
    sim(&args)
}
