//! One keystore file.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use eth_keystore::{EthKeystore, KdfparamsType};
use rand_08::rngs::OsRng;

use super::{KeystoreError, Password};

/// Longest keystore or password file, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Most memory that a file's parameters may ask for, in bytes: four times what the usual ones take.
const SCRYPT_MEMORY_MAX: u64 = 1 << 30;
/// Most rounds of scrypt's outer parameter.
const SCRYPT_P_MAX: u32 = 16;
/// Most iterations of PBKDF2: some seconds.
const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;

pub(super) fn read_text(path: &Path) -> Result<String, KeystoreError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    let bytes = read.map_err(|error| failed(path, &error))?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(KeystoreError::File {
            path: path.to_owned(),
            reason: format!("it has more than {FILE_BYTES_MAX} bytes"),
        });
    }
    Ok(text)
}

pub(super) fn must_not_exist(path: &Path) -> Result<(), KeystoreError> {
    match path.symlink_metadata() {
        Ok(_) => Err(KeystoreError::Exists {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path, &error)),
    }
}

/// Encrypts `secret` into a new file, which appears whole or not at all.
pub(super) fn create(path: &Path, secret: &[u8], password: &Password) -> Result<(), KeystoreError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    // Encrypted into a directory of its own, since the library writes a file under its final name at once.
    let staging = directory.join(format!(".keystore-{}", std::process::id()));
    private_directory(&staging)?;
    let result = stage(&staging, secret, password).and_then(|staged| {
        // A link, unlike a rename, never replaces what is there.
        fs::hard_link(&staged, path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => KeystoreError::Exists {
                path: path.to_owned(),
            },
            _ => failed(path, &error),
        })
    });
    fs::remove_dir_all(&staging).map_err(|error| failed(&staging, &error))?;
    result
}

fn stage(staging: &Path, secret: &[u8], password: &Password) -> Result<PathBuf, KeystoreError> {
    const NAME: &str = "key.json";
    let staged = staging.join(NAME);
    eth_keystore::encrypt_key(staging, &mut OsRng, secret, password.as_bytes(), Some(NAME))
        .map_err(|error| KeystoreError::File {
            path: staged.clone(),
            reason: error.to_string(),
        })?;
    private_file(&staged).map_err(|error| failed(&staged, &error))?;
    Ok(staged)
}

fn private_directory(path: &Path) -> Result<(), KeystoreError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| failed(path, &error))
}

/// Makes a file readable by its owner only, and durable.
fn private_file(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let mut file = File::options().append(true).open(path)?;
    file.flush()?;
    file.sync_all()
}

/// Decrypts the file's secret.
pub(super) fn open(path: &Path, password: &Password) -> Result<Vec<u8>, KeystoreError> {
    let format = |reason: String| KeystoreError::Format {
        path: path.to_owned(),
        reason,
    };
    let keystore: EthKeystore =
        serde_json::from_str(&read_text(path)?).map_err(|error| format(error.to_string()))?;
    check(&keystore).map_err(format)?;
    match eth_keystore::decrypt_key(path, password.as_bytes()) {
        Ok(secret) if secret.len() == 32 => Ok(secret),
        Ok(_) => Err(KeystoreError::NotAKey {
            path: path.to_owned(),
        }),
        Err(eth_keystore::KeystoreError::MacMismatch) => Err(KeystoreError::WrongPassword {
            path: path.to_owned(),
        }),
        Err(error) => Err(format(error.to_string())),
    }
}

/// Refuses what the library would panic on, or spend unbounded time or memory on.
fn check(keystore: &EthKeystore) -> Result<(), String> {
    let crypto = &keystore.crypto;
    if crypto.cipher != "aes-128-ctr" {
        return Err(format!(
            "crypto.cipher is {:?}, only \"aes-128-ctr\" is known",
            crypto.cipher
        ));
    }
    if crypto.cipherparams.iv.len() != 16 {
        return Err(format!(
            "crypto.cipherparams.iv has {} bytes, not 16",
            crypto.cipherparams.iv.len()
        ));
    }
    let dklen = match &crypto.kdfparams {
        KdfparamsType::Pbkdf2 { c, dklen, .. } => {
            if *c == 0 || *c > PBKDF2_ITERATIONS_MAX {
                return Err(format!(
                    "crypto.kdfparams.c is {c}, it must be 1 to {PBKDF2_ITERATIONS_MAX}"
                ));
            }
            *dklen
        }
        KdfparamsType::Scrypt { dklen, n, p, r, .. } => {
            if !n.is_power_of_two()
                || *n < 2
                || 128 * u64::from(*n) * u64::from(*r) > SCRYPT_MEMORY_MAX
            {
                return Err(format!(
                    "crypto.kdfparams n = {n}, r = {r}: n must be a power of two and 128 n r at most {SCRYPT_MEMORY_MAX}"
                ));
            }
            if *p == 0 || *p > SCRYPT_P_MAX {
                return Err(format!(
                    "crypto.kdfparams.p is {p}, it must be 1 to {SCRYPT_P_MAX}"
                ));
            }
            *dklen
        }
    };
    if dklen != 32 {
        return Err(format!("crypto.kdfparams.dklen is {dklen}, it must be 32"));
    }
    Ok(())
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> KeystoreError {
    KeystoreError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
