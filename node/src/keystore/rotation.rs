//! Replacement of a node's network key, in steps that can be resumed.
//!
//! The new key lies beside the old one until the chain knows it; then it takes the old one's place. Whatever interrupts
//! that, the key that the chain knows is in one of the two files.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;

use super::{KeystoreError, Password, file, not_a_key};

/// Where a new network key waits for its turn.
fn staged(network_file: &Path) -> PathBuf {
    let mut name = network_file
        .file_name()
        .map_or_else(OsString::new, OsString::from);
    name.push(".next");
    network_file.with_file_name(name)
}

/// Whether a rotation has been begun and not finished.
pub fn is_rotating(network_file: &Path) -> Result<bool, KeystoreError> {
    match staged(network_file).symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file::failed(&staged(network_file), &error)),
    }
}

/// The new network key that waits beside `network_file`; it is made if there is none.
pub fn stage_network_key(
    network_file: &Path,
    password: &Password,
) -> Result<Keypair, KeystoreError> {
    let path = staged(network_file);
    if !is_rotating(network_file)? {
        let key = Keypair::generate_ed25519()
            .try_into_ed25519()
            .map_err(|_| KeystoreError::KeyKind)?;
        file::create(&path, key.secret().as_ref(), password)?;
    }
    Keypair::ed25519_from_bytes(file::open(&path, password)?).map_err(|_| not_a_key(&path))
}

/// Puts the staged key in the place of the old one, which is gone then.
pub fn adopt_network_key(network_file: &Path) -> Result<(), KeystoreError> {
    let path = staged(network_file);
    fs::rename(&path, network_file).map_err(|error| file::failed(&path, &error))?;
    // The new name is on the disk only when its directory is.
    #[cfg(unix)]
    if let Some(directory) = network_file.parent() {
        let directory = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| file::failed(directory, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{generate, load, save};
    use super::*;

    #[test]
    fn a_rotation_can_be_interrupted_anywhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let (wallet, network) = (dir.path().join("w.json"), dir.path().join("n.json"));
        let password = Password::new("p").expect("a password");
        let identity = generate();
        save(&identity, &wallet, &network, &password).expect("saved");
        let current = || load(&wallet, &network, &password).expect("loads").peer_id();
        assert!(!is_rotating(&network).expect("told"));

        let staged = stage_network_key(&network, &password).expect("staged");
        assert_ne!(staged.public().to_peer_id(), identity.peer_id());
        assert!(is_rotating(&network).expect("told"));
        assert_eq!(current(), identity.peer_id(), "nothing has changed yet");
        // Again, as after a crash: the same key, since the chain may know it already.
        let again = stage_network_key(&network, &password).expect("staged");
        assert_eq!(again.public(), staged.public());
        let wrong = Password::new("q").expect("a password");
        assert!(matches!(
            stage_network_key(&network, &wrong),
            Err(KeystoreError::WrongPassword { .. })
        ));

        adopt_network_key(&network).expect("adopted");
        assert_eq!(current(), staged.public().to_peer_id());
        assert!(!is_rotating(&network).expect("told"));
        assert!(matches!(
            adopt_network_key(&network),
            Err(KeystoreError::File { .. })
        ));
        let next = stage_network_key(&network, &password).expect("staged");
        assert_ne!(next.public(), staged.public(), "each rotation has its own");
    }
}
