//! What can go wrong with a local network.

use std::path::{Path, PathBuf};

/// The network could not be set up, or did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum TestnetError {
    /// An argument makes no sense.
    #[error("{field}: {reason}")]
    Argument {
        /// The argument.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// The network cannot be set up.
    #[error("cannot set the network up: {0}")]
    SetUp(String),
    /// A process ended by itself.
    #[error("{name} ended ({status}); the end of its log {log}:\n{tail}")]
    Ended {
        /// The node.
        name: String,
        /// How.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A command did not succeed.
    #[error("`{command}` failed ({status}):\n{stderr}")]
    Command {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s")]
    Late {
        /// What.
        what: String,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl TestnetError {
    /// 2 for bad arguments, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            TestnetError::Argument { .. } => 2,
            _ => 1,
        }
    }

    pub(crate) fn file(path: &Path, error: &std::io::Error) -> TestnetError {
        TestnetError::File {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    /// Something that the network needs could not be had.
    pub fn set_up(reason: impl ToString) -> TestnetError {
        TestnetError::SetUp(reason.to_string())
    }
}
