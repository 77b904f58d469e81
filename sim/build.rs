//! Tells the simulator which compiler built it: a part of every run's identity.

#[allow(
    clippy::disallowed_methods,
    reason = "a build script runs on the real machine"
)]
fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc)
        .arg("--version")
        .output()
        .ok();
    let version = version
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default();
    // "rustc 1.95.0 (59807616e 2026-04-14)" → "rustc 1.95.0"
    let short: Vec<&str> = version.split_whitespace().take(2).collect();
    println!("cargo::rustc-env=SMARTNODES_TOOLCHAIN={}", short.join(" "));
    println!("cargo::rerun-if-changed=build.rs");
}
