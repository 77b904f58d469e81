//! Keeps the host machine out of a run: once a run begins, the kernel refuses it threads, processes and entropy.
//!
//! madsim interposes the C library's clock and entropy functions and refuses `std::thread`; what goes around the C
//! library, by a raw system call in some dependency, would leak into a run unseen. With this seccomp filter it fails
//! loudly instead: the call is refused, whoever made it panics, and the run ends with a violation. (Reading the clock
//! needs no system call on Linux and cannot be refused so; two processes that agree on their traces show that none
//! matters.)

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Why the filter cannot be put in place.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep threads and entropy out of the run (seccomp): {0}")]
pub struct GuardError(String);

/// Refuses threads, processes and kernel entropy to the calling thread from now on.
pub fn seal() -> Result<(), GuardError> {
    let refused = [
        libc::SYS_clone,
        libc::SYS_clone3,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        libc::SYS_execve,
        libc::SYS_getrandom,
    ];
    let rules: BTreeMap<i64, _> = refused.into_iter().map(|call| (call, Vec::new())).collect();
    let error = |error: &dyn std::fmt::Display| GuardError(error.to_string());
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|cause| error(&cause))?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)
        .map_err(|cause| error(&cause))?;
    let program: BpfProgram = filter
        .try_into()
        .map_err(|cause: seccompiler::BackendError| error(&cause))?;
    apply_filter(&program).map_err(|cause| error(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "the test sees that they are refused"
    )]
    #[allow(unsafe_code, reason = "a raw system call is what the guard must catch")]
    fn a_sealed_thread_gets_neither_threads_nor_processes_nor_entropy() {
        let mut buffer = [0u8; 8];
        let mut entropy =
            || unsafe { libc::syscall(libc::SYS_getrandom, buffer.as_mut_ptr(), buffer.len(), 0) };
        assert_eq!(entropy(), 8, "available before");
        seal().expect("the filter is accepted");
        assert_eq!(entropy(), -1, "refused after");
        assert!(std::thread::Builder::new().spawn(|| ()).is_err());
        assert!(std::process::Command::new("true").status().is_err());
    }
}
