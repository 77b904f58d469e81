//! `smartnode keys`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArg, config::Loaded, error::CliError, output::Output, start};
use crate::{
    chain::Intent,
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
    /// Replace the network key, in its file and on chain. Stop the node first. Interrupted, the same command goes on
    Rotate(ConfigArg),
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

pub(super) async fn keys(command: KeysCommand, output: &Output) -> Result<(), CliError> {
    match command {
        KeysCommand::New(args) => {
            let password = Password::read(args.password_file.as_deref())?;
            output.result(&describe(&make(&args.dir, &password)?));
        }
        KeysCommand::Show(arg) => output.result(&describe(&Loaded::read(&arg.config)?.identity()?)),
        KeysCommand::Rotate(arg) => rotate(&Loaded::read(&arg.config)?, output).await?,
    }
    Ok(())
}

/// Puts a new network key in the place of the old one. The new one is in its file before the chain knows it, and takes the
/// old one's place only after that.
async fn rotate(loaded: &Loaded, output: &Output) -> Result<(), CliError> {
    let mut identity = loaded.identity()?;
    // Holds the database too, so that no node runs under the old key meanwhile.
    let chain = start::chain(loaded, &identity).await?;
    let password = Password::read(loaded.keys.password_file.as_deref())?;
    identity.network = keystore::stage_network_key(&loaded.keys.network, &password)?;
    let key_hash = identity.public_key_hash();
    let registered = chain
        .credential_of(identity.address())
        .await
        .map_err(CliError::Chain)?;
    // Who is not registered has no key on chain to replace.
    if !registered.is_zero() && registered != key_hash {
        let change = chain.send(Intent::SetPublicKeyHash { key_hash });
        tokio::select! {
            biased;
            mined = change => drop(mined.map_err(CliError::Chain)?),
            stopped = start::stop_signal() => {
                stopped?;
                return Err(CliError::Interrupted);
            }
        }
    }
    keystore::adopt_network_key(&loaded.keys.network)?;
    let mut shown = describe(&identity);
    shown["registered"] = json!(!registered.is_zero());
    output.result(&shown);
    Ok(())
}

/// Refuses to go on under a network key that is about to be replaced, or has been on chain already.
pub(super) fn refuse_while_rotating(loaded: &Loaded) -> Result<(), CliError> {
    if keystore::is_rotating(&loaded.keys.network)? {
        return Err(CliError::value(
            "keys.network",
            "its rotation was interrupted; finish it with `smartnode keys rotate`",
        ));
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
