//! Ethereum tools from the package registries, installed once into the target directory, for tests beside them.

// Each test binary uses its own part of this.
#![allow(dead_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "the tools are other programs, and nothing here runs in the simulator"
)]

pub mod anvil;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const PACKAGE: &str = include_str!("../tools/package.json");
const PACKAGE_LOCK: &str = include_str!("../tools/package-lock.json");
const REQUIREMENTS: &str = include_str!("../tools/requirements.txt");

/// Why a tool cannot be had on this machine. Nothing else may make a test pass without running.
#[derive(Debug)]
pub struct Missing(String);

impl Missing {
    /// Says on the terminal that `what` was left out; tests print past the harness, which hides what passes.
    pub fn report(&self, what: &str) {
        // A closed terminal is no reason to fail.
        let _ = writeln!(io::stderr(), "\nSKIPPED {what}: {}", self.0);
    }
}

/// A program of Foundry's: `anvil` or `cast`.
pub fn foundry(name: &str) -> Result<PathBuf, Missing> {
    let directory = install("npm", &[PACKAGE, PACKAGE_LOCK], |directory| {
        write(&directory.join("package.json"), PACKAGE)?;
        write(&directory.join("package-lock.json"), PACKAGE_LOCK)?;
        // The packages hold nothing but the programs; no script has to run.
        run(Command::new("npm")
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .current_dir(directory))
    })?;
    let program = directory.join(format!(
        "node_modules/@foundry-rs/{name}-linux-amd64/bin/{name}"
    ));
    if program.is_file() {
        Ok(program)
    } else {
        Err(Missing(format!("{} is not there", program.display())))
    }
}

/// A Python with web3.py.
pub fn python() -> Result<PathBuf, Missing> {
    let directory = install("python", &[REQUIREMENTS], |directory| {
        let requirements = directory.join("requirements.txt");
        write(&requirements, REQUIREMENTS)?;
        run(Command::new("python3")
            .args(["-m", "venv", "venv"])
            .current_dir(directory))?;
        run(Command::new("venv/bin/python")
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--no-compile"])
            .arg("-r")
            .arg(&requirements)
            .current_dir(directory))
    })?;
    Ok(directory.join("venv/bin/python"))
}

/// Installs into a directory of this name, unless the same has been installed there before.
fn install(
    name: &str,
    pins: &[&str],
    install: impl FnOnce(&Path) -> Result<(), Missing>,
) -> Result<PathBuf, Missing> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let wanted = pins.concat();
    let failed = |error: io::Error| Missing(format!("{}: {error}", base.display()));
    fs::create_dir_all(base).map_err(failed)?;
    // Tests run side by side; the lock goes with the file.
    let lock = File::create(base.join(format!("{name}.lock"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let (directory, done) = (base.join(name), base.join(format!("{name}.installed")));
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(failed)?;
    }
    fs::create_dir(&directory).map_err(failed)?;
    install(&directory)?;
    fs::write(&done, wanted).map_err(failed)?;
    Ok(directory)
}

fn write(path: &Path, text: &str) -> Result<(), Missing> {
    fs::write(path, text).map_err(|error| Missing(format!("{}: {error}", path.display())))
}

/// Runs a command to its end; what it said is the reason if it fails.
fn run(command: &mut Command) -> Result<(), Missing> {
    let name = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Missing(format!("{name}: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Missing(format!("{name}: {}\n{said}", output.status)))
    }
}
