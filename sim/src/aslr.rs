//! Address-space randomisation off, for this process.
//!
//! Some hash maps in dependencies of dependencies take their seeds from addresses. With the same addresses in every
//! process they iterate in the same order in every process.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::personality::{self, Persona};

/// Set in the process that is started anew, so that it is started anew only once.
const GUARD: &str = "SMARTNODES_SIM_FIXED_ADDRESSES";

/// Why addresses cannot be fixed.
#[derive(Debug, thiserror::Error)]
pub enum AslrError {
    /// The operating system forbids it.
    #[error(
        "cannot switch address-space randomisation off ({0}): runs would not repeat; allow the `personality` call"
    )]
    Forbidden(nix::Error),
    /// The flag is set and does not last.
    #[error(
        "address-space randomisation is on although it was switched off: runs would not repeat"
    )]
    Ignored,
    /// The simulator cannot start itself.
    #[error("cannot start the simulator anew: {0}")]
    Exec(std::io::Error),
}

/// Returns in a process with fixed addresses: this one, or the one that replaces it.
#[allow(
    clippy::disallowed_methods,
    reason = "before any run, the process replaces itself"
)]
pub fn fix_addresses() -> Result<(), AslrError> {
    let persona = personality::get().map_err(AslrError::Forbidden)?;
    if persona.contains(Persona::ADDR_NO_RANDOMIZE) {
        return Ok(());
    }
    if std::env::var_os(GUARD).is_some() {
        return Err(AslrError::Ignored);
    }
    personality::set(persona | Persona::ADDR_NO_RANDOMIZE).map_err(AslrError::Forbidden)?;
    let program = std::env::current_exe().map_err(AslrError::Exec)?;
    Err(AslrError::Exec(
        Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(GUARD, "1")
            .exec(),
    ))
}
