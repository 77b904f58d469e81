//! Errors of the command line, and their exit codes.

use std::path::{Path, PathBuf};

use crate::{
    chain::ChainError, keystore::KeystoreError, node::NodeError, roles::user::UserError,
    store::StoreError,
};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    /// A file can be read, but not understood. The parser's words name line and field.
    #[error("{path}: {reason}")]
    Format { path: PathBuf, reason: String },
    /// A value in the configuration or an argument makes no sense.
    #[error("{field}: {reason}")]
    Value { field: String, reason: String },
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// Another process has the node's database.
    #[error(
        "data_dir {path} is used by another smartnode process; stop it first (a wallet has one owner at a time)"
    )]
    InUse { path: PathBuf },
    /// The operating system refuses what every program needs.
    #[error("cannot start: {0}")]
    System(String),
    /// The node could not be put together.
    #[error("{0}")]
    Start(#[source] NodeError),
    #[error("{0}")]
    ConnectChain(#[source] ChainError),
    #[error("{0}")]
    Store(#[source] StoreError),
    /// The chain refused, or was lost, after it had been reached.
    #[error(transparent)]
    Chain(ChainError),
    #[error(transparent)]
    User(UserError),
    /// A deployment was begun and could not go on.
    #[error("{0}")]
    Deploy(String),
    /// A part of a running node failed.
    #[error("the node stopped: {0}")]
    Stopped(String),
    /// Stopped by the person who waited.
    #[error(
        "interrupted before it was done; the same command resumes, with the same --nonce or --reference where it has one"
    )]
    Interrupted,
}

impl CliError {
    pub(super) fn file(path: &Path, error: &std::io::Error) -> CliError {
        CliError::File {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    pub(super) fn value(field: impl Into<String>, reason: impl ToString) -> CliError {
        CliError::Value {
            field: field.into(),
            reason: reason.to_string(),
        }
    }

    /// 2 for what the person who typed the command can put right before trying again, 1 for the rest.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            CliError::Chain(_)
            | CliError::User(_)
            | CliError::Deploy(_)
            | CliError::Stopped(_)
            | CliError::Interrupted => 1,
            _ => 2,
        }
    }
}
