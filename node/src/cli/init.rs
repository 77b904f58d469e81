//! `smartnode init`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    config::{self, ChainSection, ConfigFile, KeysSection, P2pSection},
    error::CliError,
    keys::{NETWORK_FILE, WALLET_FILE, describe, make},
    output::Output,
};
use crate::{
    keystore::{self, Password},
    p2p::handshake::Role,
    work,
};

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    Validator,
    Worker,
    User,
}

#[derive(Args)]
pub(super) struct InitArgs {
    /// What the node does
    #[arg(long, value_enum)]
    role: RoleArg,
    /// URL of a JSON-RPC endpoint of the chain; given several times, they are compared and stand in for each other
    #[arg(long, value_name = "URL", required = true)]
    rpc: Vec<String>,
    /// The deployment file (JSON): which contracts, on which chain
    #[arg(long, value_name = "FILE")]
    deployment: PathBuf,
    /// Address of a node to begin with, such as /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW...; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// Address to listen on; may be given several times
    #[arg(long, value_name = "ADDRESS", default_value = "/ip4/0.0.0.0/tcp/0")]
    listen: Vec<String>,
    /// Directory for the configuration, the keys and the data
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// File with the password of the keys; without it, SMARTNODE_PASSWORD is used
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Writes `node.toml`, and keys unless both are there. Nothing is replaced.
pub(super) fn init(args: InitArgs, output: &Output) -> Result<(), CliError> {
    config::rpc_urls(&args.rpc)?;
    config::addresses("--bootstrap", &args.bootstrap)?;
    config::addresses("--listen", &args.listen)?;
    let deployment = absolute(&args.deployment)?;
    let password = Password::read(args.password_file.as_deref())?;
    let password_file = args.password_file.as_deref().map(absolute).transpose()?;
    let file = ConfigFile {
        role: match args.role {
            RoleArg::Validator => Role::Validator,
            RoleArg::Worker => Role::Worker,
            RoleArg::User => Role::User,
        },
        networks: work::NETWORKS.map(str::to_owned).to_vec(),
        capacity: 1,
        data_dir: "data".into(),
        keys: KeysSection {
            wallet: WALLET_FILE.into(),
            network: NETWORK_FILE.into(),
            password_file,
        },
        p2p: P2pSection {
            listen: args.listen,
            bootstrap: args.bootstrap,
            gossip_heartbeat_ms: None,
        },
        chain: ChainSection {
            rpc: args.rpc,
            deployment,
            poll_interval_ms: None,
            receipt_timeout_ms: None,
            request_timeout_ms: None,
            confirmations: None,
        },
    };
    let text =
        toml::to_string(&file).map_err(|error| CliError::System(format!("node.toml: {error}")))?;
    let path = args.dir.join("node.toml");
    if path.exists() {
        return Err(CliError::File {
            path,
            reason: "it exists already and is not replaced".to_owned(),
        });
    }
    let (wallet, network) = (args.dir.join(WALLET_FILE), args.dir.join(NETWORK_FILE));
    let identity = if wallet.exists() && network.exists() {
        keystore::load(&wallet, &network, &password)?
    } else {
        make(&args.dir, &password)?
    };
    write_new(&path, &text).map_err(|error| CliError::file(&path, &error))?;
    let mut shown = describe(&identity);
    shown["config"] = json!(path);
    output.result(&shown);
    Ok(())
}

/// The path of a file that exists, from the root: the configuration may lie elsewhere than where it was made.
fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    fs::canonicalize(path).map_err(|error| CliError::file(path, &error))
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
