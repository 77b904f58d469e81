//! The embedded chain behind HTTP, driven by the clients that others use: web3.py and `cast`.

#![allow(
    clippy::disallowed_methods,
    reason = "the clients are other programs, and nothing here runs in the simulator"
)]

#[path = "../tools_support/mod.rs"]
mod tools_support;

mod cast;
mod host;

use std::{path::Path, process::Command};

use host::{Host, Mining};
use tools_support::python;

#[test]
fn web3_py_deploys_and_drives_the_chain() {
    let python = match python() {
        Ok(python) => python,
        Err(missing) => return missing.report("the test with web3.py"),
    };
    let host = Host::start(Mining::WhenAsked);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .arg(package.join("tests/tools/drive_web3.py"))
        .arg(host.url())
        .arg(package.join("artifacts"))
        // A proxy of the machine's would not find our loopback.
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("python starts");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
