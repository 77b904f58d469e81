//! What can go wrong with keys and passwords.

use std::path::PathBuf;

use super::PASSWORD_VARIABLE;

/// Keys cannot be read or written. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}; check the path and its permissions")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// A key would replace another file.
    #[error(
        "{path} exists already and is not replaced; choose another directory, or move the file away"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a keystore that can be read.
    #[error("{path} is not an Ethereum keystore file (version 3): {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The password does not fit.
    #[error(
        "wrong password for {path}; correct keys.password_file or the variable {PASSWORD_VARIABLE}"
    )]
    WrongPassword {
        /// The keystore.
        path: PathBuf,
    },
    /// The decrypted bytes are not a key.
    #[error("{path} holds no 32-byte private key; is it another program's keystore?")]
    NotAKey {
        /// The keystore.
        path: PathBuf,
    },
    /// The network key is not ed25519.
    #[error("only ed25519 network keys can be saved")]
    KeyKind,
    /// No password was given.
    #[error(
        "no password: name a file in keys.password_file (or --password-file), or set {PASSWORD_VARIABLE}"
    )]
    NoPassword,
    /// An empty password, or a file that is no password.
    #[error("the password has {bytes} bytes, it must have 1 to {max}")]
    PasswordLength {
        /// Its length, in bytes.
        bytes: usize,
        /// The longest allowed, in bytes.
        max: usize,
    },
}
