//! The configuration file of a node (TOML).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::transports::http::reqwest::Url;
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use smartnodes_evm::deployment::Deployment;

use super::error::CliError;
use crate::{
    chain::ChainSettings,
    identity::Identity,
    keystore::{self, Password},
    node::NodeConfig,
    p2p::{P2pSettings, handshake::Role},
    work,
};

/// Longest configuration or deployment file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `node.toml`. Relative paths in it start at its own directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// What the node does.
    pub role: Role,
    /// Networks that a worker serves.
    #[serde(default = "default_networks")]
    pub networks: Vec<String>,
    /// Tasks that a worker runs at once.
    #[serde(default = "default_capacity")]
    pub capacity: u32,
    /// Directory of the node's database.
    pub data_dir: PathBuf,
    /// Where the keys are.
    pub keys: KeysSection,
    /// The network of nodes.
    pub p2p: P2pSection,
    /// The chain.
    pub chain: ChainSection,
}

/// `[keys]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysSection {
    /// Keystore of the wallet.
    pub wallet: PathBuf,
    /// Keystore of the network key.
    pub network: PathBuf,
    /// File with the password of both; without it the password is read from the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// `[p2p]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct P2pSection {
    /// Addresses to listen on, such as `/ip4/0.0.0.0/tcp/4001`.
    pub listen: Vec<String>,
    /// Addresses of nodes to begin with, such as `/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…`.
    #[serde(default)]
    pub bootstrap: Vec<String>,
    /// GossipSub heartbeat, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gossip_heartbeat_ms: Option<u64>,
}

/// `[chain]`. Times are milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSection {
    /// URLs of JSON-RPC endpoints: at least one. Several stand in for each other and are compared.
    pub rpc: Vec<String>,
    /// The deployment file (JSON).
    pub deployment: PathBuf,
    /// How often a transaction's receipt is looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_interval_ms: Option<u64>,
    /// How long a transaction may wait before its fees are raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_timeout_ms: Option<u64>,
    /// How long a request may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout_ms: Option<u64>,
    /// Blocks that must follow a transaction's block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmations: Option<u64>,
}

fn default_networks() -> Vec<String> {
    work::NETWORKS.map(str::to_owned).to_vec()
}

fn default_capacity() -> u32 {
    1
}

/// A configuration that was read and checked, with everything it names but the keys.
pub(super) struct Loaded {
    pub(super) node: NodeConfig,
    pub(super) data_dir: PathBuf,
    pub(super) rpc: Vec<Url>,
    pub(super) deployment: Deployment,
    pub(super) keys: KeysSection,
}

impl Loaded {
    /// Reads the configuration and the deployment that it names.
    pub(super) fn read(path: &Path) -> Result<Loaded, CliError> {
        let file: ConfigFile =
            toml::from_str(&read_text(path)?).map_err(|error| CliError::Format {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        let base = path.parent().unwrap_or(Path::new(""));
        let deployment_path = base.join(&file.chain.deployment);
        let deployment: Deployment =
            serde_json::from_str(&read_text(&deployment_path)?).map_err(|error| {
                CliError::Format {
                    path: deployment_path,
                    reason: error.to_string(),
                }
            })?;
        let node = NodeConfig {
            role: file.role,
            networks: file.networks,
            capacity: file.capacity,
            listen: addresses("p2p.listen", &file.p2p.listen)?,
            bootstrap: addresses("p2p.bootstrap", &file.p2p.bootstrap)?,
            p2p: p2p_settings(&file.p2p)?,
            chain: chain_settings(&file.chain)?,
        };
        if node.role == Role::Worker && (node.capacity == 0 || node.networks.is_empty()) {
            return Err(CliError::value(
                "capacity, networks",
                "a worker needs a capacity of 1 or more and a network",
            ));
        }
        Ok(Loaded {
            node,
            data_dir: base.join(file.data_dir),
            rpc: rpc_urls(&file.chain.rpc)?,
            deployment,
            keys: KeysSection {
                wallet: base.join(file.keys.wallet),
                network: base.join(file.keys.network),
                password_file: file.keys.password_file.map(|path| base.join(path)),
            },
        })
    }

    /// Decrypts the node's keys.
    pub(super) fn identity(&self) -> Result<Identity, CliError> {
        let password = Password::read(self.keys.password_file.as_deref())?;
        Ok(keystore::load(
            &self.keys.wallet,
            &self.keys.network,
            &password,
        )?)
    }

    /// Refuses a configuration for another role.
    pub(super) fn require(&self, role: Role, command: &str) -> Result<(), CliError> {
        if self.node.role == role {
            return Ok(());
        }
        Err(CliError::value(
            "role",
            format!(
                "{} cannot {command}; use the configuration of a {role}",
                self.node.role
            ),
        ))
    }
}

/// The whole of a text file that is not larger than a configuration can be.
pub(super) fn read_text(path: &Path) -> Result<String, CliError> {
    let length = std::fs::metadata(path)
        .map_err(|error| CliError::file(path, &error))?
        .len();
    if length > FILE_BYTES_MAX {
        return Err(CliError::Format {
            path: path.to_owned(),
            reason: format!("it has {length} bytes, at most {FILE_BYTES_MAX} are expected"),
        });
    }
    std::fs::read_to_string(path).map_err(|error| CliError::file(path, &error))
}

/// Endpoints over HTTP: at least one.
pub(super) fn rpc_urls(texts: &[String]) -> Result<Vec<Url>, CliError> {
    if texts.is_empty() {
        return Err(CliError::value("chain.rpc", "name at least one endpoint"));
    }
    (0..)
        .zip(texts)
        .map(|(place, text): (usize, _)| rpc_url(&format!("chain.rpc[{place}]"), text))
        .collect()
}

/// An endpoint over HTTP, said of `field` if it is none.
pub(super) fn rpc_url(field: &str, text: &str) -> Result<Url, CliError> {
    let url: Url = text.parse().map_err(|error| {
        CliError::value(
            field,
            format!("{text:?} is no URL ({error}); write for example \"http://127.0.0.1:8545\""),
        )
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(CliError::value(
            field,
            format!("{text:?} is {other}, use http or https"),
        )),
    }
}

/// Addresses, with an error that says which one is wrong.
pub(super) fn addresses(field: &str, texts: &[String]) -> Result<Vec<Multiaddr>, CliError> {
    texts
        .iter()
        .enumerate()
        .map(|(place, text)| {
            text.parse().map_err(|error| {
                CliError::value(
                    format!("{field}[{place}]"),
                    format!("{text:?} is no address ({error}); write for example \"/ip4/127.0.0.1/tcp/4001\""),
                )
            })
        })
        .collect()
}

fn p2p_settings(section: &P2pSection) -> Result<P2pSettings, CliError> {
    let default = P2pSettings::default();
    Ok(P2pSettings {
        gossip_heartbeat: time(
            "p2p.gossip_heartbeat_ms",
            section.gossip_heartbeat_ms,
            default.gossip_heartbeat,
        )?,
        ..default
    })
}

fn chain_settings(section: &ChainSection) -> Result<ChainSettings, CliError> {
    let default = ChainSettings::default();
    Ok(ChainSettings {
        poll_interval: time(
            "chain.poll_interval_ms",
            section.poll_interval_ms,
            default.poll_interval,
        )?,
        receipt_timeout: time(
            "chain.receipt_timeout_ms",
            section.receipt_timeout_ms,
            default.receipt_timeout,
        )?,
        request_timeout: time(
            "chain.request_timeout_ms",
            section.request_timeout_ms,
            default.request_timeout,
        )?,
        confirmations: section.confirmations.unwrap_or(default.confirmations),
    })
}

/// A span of time from 10 ms (or a node would do nothing but poll) to an hour.
fn time(field: &str, given: Option<u64>, default: Duration) -> Result<Duration, CliError> {
    match given {
        None => Ok(default),
        Some(ms) if (10..=3_600_000).contains(&ms) => Ok(Duration::from_millis(ms)),
        Some(ms) => Err(CliError::value(
            field,
            format!("{ms} is out of bounds: use 10 to 3600000"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"
        role = "worker"
        data_dir = "data"
        [keys]
        wallet = "wallet.json"
        network = "network.json"
        [p2p]
        listen = ["/ip4/127.0.0.1/tcp/4001"]
        [chain]
        rpc = ["http://127.0.0.1:8545"]
        deployment = "deployment.json"
    "#;

    fn read(text: &str) -> Result<Loaded, String> {
        let dir = tempfile::tempdir().unwrap();
        let zero = "0x0000000000000000000000000000000000000000";
        let deployment = serde_json::json!({
            "chain_id": 1, "token": zero, "core": zero, "coordinator": zero, "dao": zero, "timelock": zero,
        });
        fs::write(dir.path().join("deployment.json"), deployment.to_string()).unwrap();
        let path = dir.path().join("node.toml");
        fs::write(&path, text).unwrap();
        let loaded = Loaded::read(&path).map_err(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })?;
        assert_eq!(loaded.data_dir, dir.path().join("data"));
        Ok(loaded)
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let loaded = read(GOOD).unwrap();
        assert_eq!(loaded.node.chain, ChainSettings::default());
        assert_eq!(
            (loaded.node.capacity, loaded.node.networks),
            (1, work::NETWORKS.map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn mistakes_are_named_by_their_field() {
        for (from, to, expected) in [
            ("role = \"worker\"", "role = \"miner\"", "miner"),
            ("data_dir", "datadir", "datadir"),
            ("[p2p]", "[p2p]\ngossip = 1", "gossip"),
            ("/ip4/127.0.0.1/tcp/4001", "127.0.0.1:4001", "p2p.listen[0]"),
            ("http://127.0.0.1:8545", "ftp://127.0.0.1", "chain.rpc"),
            ("http://127.0.0.1:8545", "nonsense", "chain.rpc[0]"),
            ("[\"http://127.0.0.1:8545\"]", "[]", "chain.rpc"),
            ("\"deployment.json\"", "\"missing.json\"", "missing.json"),
            (
                "[chain]",
                "[chain]\npoll_interval_ms = 0",
                "chain.poll_interval_ms",
            ),
            (
                "role = \"worker\"",
                "role = \"worker\"\ncapacity = 0",
                "capacity",
            ),
        ] {
            assert!(GOOD.contains(from));
            let error = read(&GOOD.replacen(from, to, 1)).err().unwrap();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    /// A deployment of nothing.
    const EMPTY: &[u8] = b"{}";

    /// A file that is there, with these bytes.
    fn read_bytes(config: &[u8], deployment: &[u8]) -> Result<Loaded, CliError> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("deployment.json"), deployment).unwrap();
        let path = dir.path().join("node.toml");
        fs::write(&path, config).unwrap();
        Loaded::read(&path)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arbitrary_files_are_refused(bytes: Vec<u8>, text: String) {
            prop_assert!(read_bytes(&bytes, EMPTY).is_err());
            prop_assert!(read_bytes(text.as_bytes(), EMPTY).is_err());
            prop_assert!(read_bytes(GOOD.as_bytes(), &bytes).is_err());
            prop_assert!(read_bytes(GOOD.as_bytes(), text.as_bytes()).is_err());
        }

        #[test]
        fn a_file_with_a_changed_byte_is_refused_or_read(at: prop::sample::Index, to: u8) {
            let mut bytes = GOOD.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = read_bytes(&bytes, EMPTY);
        }
    }
}
