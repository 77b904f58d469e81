//! Keeps a node's keys in encrypted files, in the Ethereum keystore format (version 3).
//!
//! The wallet key and the secret half of the ed25519 network key are 32 bytes each, so the same format holds both. Nothing
//! here logs or shows a secret. Real networks only: a simulated node is given its keys as bytes.

#![allow(
    clippy::disallowed_methods,
    reason = "keys lie on the real disk; the simulator has none of this"
)]

mod error;
mod file;
mod rotation;

pub use error::KeystoreError;
pub use rotation::{adopt_network_key, is_rotating, stage_network_key};

use std::{fmt, path::Path};

use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use libp2p::identity::Keypair;
use rand_08::{RngCore, rngs::OsRng};

use crate::identity::Identity;

/// The environment variable that holds the password of the keystores.
pub const PASSWORD_VARIABLE: &str = "SMARTNODE_PASSWORD";
/// Longest password, in bytes; more is a wrong file rather than a password.
const PASSWORD_BYTES_MAX: usize = 1024;

/// The password of keystore files. `Debug` does not show it.
#[derive(Clone)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// A password as given, without the line end that editors and `echo` leave.
    pub fn new(text: &str) -> Result<Password, KeystoreError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() || text.len() > PASSWORD_BYTES_MAX {
            return Err(KeystoreError::PasswordLength {
                bytes: text.len(),
                max: PASSWORD_BYTES_MAX,
            });
        }
        Ok(Password(text.to_owned()))
    }

    /// The password from `file` if one is named, else from the environment variable [`PASSWORD_VARIABLE`].
    pub fn read(file: Option<&Path>) -> Result<Password, KeystoreError> {
        match file {
            Some(path) => Password::new(&file::read_text(path)?),
            None => match std::env::var(PASSWORD_VARIABLE) {
                Ok(text) => Password::new(&text),
                Err(_) => Err(KeystoreError::NoPassword),
            },
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// New keys from the operating system's entropy.
pub fn generate() -> Identity {
    let wallet = loop {
        let mut secret = [0; 32];
        OsRng.fill_bytes(&mut secret);
        // All but some 2⁻¹²⁸ of the numbers are keys.
        if let Ok(wallet) = PrivateKeySigner::from_bytes(&B256::new(secret)) {
            break wallet;
        }
    };
    Identity {
        network: Keypair::generate_ed25519(),
        wallet,
    }
}

/// Writes the keys of a node to two new files, readable by their owner only. An existing file is never replaced.
pub fn save(
    identity: &Identity,
    wallet_file: &Path,
    network_file: &Path,
    password: &Password,
) -> Result<(), KeystoreError> {
    for path in [wallet_file, network_file] {
        file::must_not_exist(path)?;
    }
    let network = identity
        .network
        .clone()
        .try_into_ed25519()
        .map_err(|_| KeystoreError::KeyKind)?;
    file::create(wallet_file, identity.wallet.to_bytes().as_slice(), password)?;
    file::create(network_file, network.secret().as_ref(), password)
}

/// Reads the keys of a node from its two files.
pub fn load(
    wallet_file: &Path,
    network_file: &Path,
    password: &Password,
) -> Result<Identity, KeystoreError> {
    let wallet = load_wallet(wallet_file, password)?;
    let network = file::open(network_file, password)?;
    let network = Keypair::ed25519_from_bytes(network).map_err(|_| not_a_key(network_file))?;
    Ok(Identity { network, wallet })
}

/// Reads a wallet key from its file.
pub fn load_wallet(file: &Path, password: &Password) -> Result<PrivateKeySigner, KeystoreError> {
    PrivateKeySigner::from_slice(&file::open(file, password)?).map_err(|_| not_a_key(file))
}

fn not_a_key(path: &Path) -> KeystoreError {
    KeystoreError::NotAKey {
        path: path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text).unwrap()
    }

    #[test]
    fn keys_come_back_with_the_right_password_only() {
        let dir = tempfile::tempdir().unwrap();
        let (wallet, network) = (
            dir.path().join("wallet.json"),
            dir.path().join("network.json"),
        );
        let identity = generate();
        save(&identity, &wallet, &network, &password("right")).unwrap();
        let loaded = load(&wallet, &network, &password("right\n")).unwrap();
        assert_eq!(
            (loaded.address(), loaded.peer_id()),
            (identity.address(), identity.peer_id())
        );

        let error = load(&wallet, &network, &password("wrong")).unwrap_err();
        assert!(
            matches!(&error, KeystoreError::WrongPassword { path } if *path == wallet),
            "{error}"
        );
        let text = fs::read_to_string(&wallet).unwrap();
        assert!(
            !text.contains(&alloy::hex::encode(identity.wallet.to_bytes())),
            "the secret is not in clear"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&wallet).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (wallet, network) = (
            dir.path().join("wallet.json"),
            dir.path().join("network.json"),
        );
        fs::write(&network, "precious").unwrap();
        let error = save(&generate(), &wallet, &network, &password("p")).unwrap_err();
        assert!(
            matches!(&error, KeystoreError::Exists { path } if *path == network),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&network).unwrap(), "precious");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing half-written"
        );
    }

    #[test]
    fn files_that_are_no_keystores_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.json");
        let refused = || load(&path, &path, &password("p")).unwrap_err();
        assert!(matches!(refused(), KeystoreError::File { .. }));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(refused(), KeystoreError::Format { .. }));

        // Parameters that would make decryption panic, or take for ever.
        file::create(&dir.path().join("good.json"), &[1; 32], &password("p")).unwrap();
        let good: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(dir.path().join("good.json")).unwrap())
                .unwrap();
        for (pointer, bad) in [
            ("/crypto/kdfparams/dklen", serde_json::json!(8)),
            ("/crypto/kdfparams/dklen", serde_json::json!(255)),
            ("/crypto/kdfparams/n", serde_json::json!(0)),
            ("/crypto/kdfparams/n", serde_json::json!(1u32 << 31)),
            ("/crypto/kdfparams/r", serde_json::json!(4_000_000)),
            ("/crypto/kdfparams/p", serde_json::json!(4_000_000)),
            ("/crypto/cipherparams/iv", serde_json::json!("00")),
            ("/crypto/cipher", serde_json::json!("rot13")),
        ] {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = bad;
            fs::write(&path, changed.to_string()).unwrap();
            let error = refused();
            assert!(
                matches!(error, KeystoreError::Format { .. }),
                "{pointer}: {error}"
            );
        }
    }

    #[test]
    fn passwords_have_a_length_and_stay_out_of_debug_output() {
        assert!(Password::new("\n").is_err());
        assert!(Password::new(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
        assert_eq!(format!("{:?}", password("secret")), "Password(..)");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "from file\r\n").unwrap();
        assert_eq!(Password::read(Some(&path)).unwrap().0, "from file");
        assert!(matches!(
            Password::read(Some(&dir.path().join("none"))),
            Err(KeystoreError::File { .. })
        ));
    }
}
