//! `smartnode keys`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArg, config::Loaded, error::CliError, output::Output};
use crate::{
    identity::Identity,
    keystore::{self, Password},
};

/// File names of the keystores in a directory of keys.
pub(super) const WALLET_FILE: &str = "wallet.json";
pub(super) const NETWORK_FILE: &str = "network.json";

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Make a wallet key and a network key, each in an encrypted keystore file
    New(NewArgs),
    /// Show the public halves of a node's keys
    Show(ConfigArg),
}

#[derive(Args)]
pub(super) struct NewArgs {
    /// Directory for wallet.json and network.json
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// File with the password; without it, SMARTNODE_PASSWORD is used
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) fn keys(command: KeysCommand, output: &Output) -> Result<(), CliError> {
    match command {
        KeysCommand::New(args) => {
            let password = Password::read(args.password_file.as_deref())?;
            output.result(&describe(&make(&args.dir, &password)?));
        }
        KeysCommand::Show(arg) => output.result(&describe(&Loaded::read(&arg.config)?.identity()?)),
    }
    Ok(())
}

/// Makes keys in a directory, which is made too if it is not there.
pub(super) fn make(dir: &Path, password: &Password) -> Result<Identity, CliError> {
    std::fs::create_dir_all(dir).map_err(|error| CliError::file(dir, &error))?;
    let identity = keystore::generate();
    keystore::save(
        &identity,
        &dir.join(WALLET_FILE),
        &dir.join(NETWORK_FILE),
        password,
    )?;
    Ok(identity)
}

/// The public halves.
pub(super) fn describe(identity: &Identity) -> Value {
    json!({
        "address": identity.address(),
        "peer_id": identity.peer_id().to_string(),
        "public_key_hash": identity.public_key_hash(),
    })
}
