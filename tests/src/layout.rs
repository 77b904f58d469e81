//! The files of a local network: for each node a directory with keys, configuration and data.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use alloy::primitives::Address;
use libp2p::PeerId;
use smartnodes_evm::deployment::{Deployment, GenesisValidator};
use smartnodes_node::{
    cli::config::{ChainSection, ConfigFile, KeysSection, P2pSection},
    identity::Identity,
    keystore::{self, Password},
    p2p::handshake::Role,
};

use crate::error::TestnetError;

/// A node's keys, and the port that it will listen on.
pub struct Plan {
    /// `validator-1`, for instance; also the name of its directory.
    pub name: String,
    /// What it does.
    pub role: Role,
    identity: Identity,
    port: u16,
}

impl Plan {
    /// New keys and a port that is free now.
    pub fn new(name: String, role: Role) -> Result<Plan, TestnetError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(TestnetError::set_up)?;
        let port = listener.local_addr().map_err(TestnetError::set_up)?.port();
        Ok(Plan {
            name,
            role,
            identity: keystore::generate(),
            port,
        })
    }

    /// The wallet's address.
    pub fn address(&self) -> Address {
        self.identity.address()
    }

    /// The node as a genesis validator.
    pub fn genesis(&self) -> GenesisValidator {
        GenesisValidator {
            wallet: self.address(),
            public_key_hash: self.identity.public_key_hash(),
        }
    }

    /// Its keys.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its PeerId.
    pub fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Where others reach it.
    pub fn multiaddr(&self) -> String {
        format!(
            "/ip4/127.0.0.1/tcp/{}/p2p/{}",
            self.port,
            self.identity.peer_id()
        )
    }
}

/// The directory of a local network.
pub struct Layout {
    root: PathBuf,
    password_file: PathBuf,
    password: Password,
}

impl Layout {
    /// Begins a network in `root`, which must be empty.
    pub fn create(root: &Path) -> Result<Layout, TestnetError> {
        fs::create_dir_all(root).map_err(|error| TestnetError::file(root, &error))?;
        let root = fs::canonicalize(root).map_err(|error| TestnetError::file(root, &error))?;
        let mut entries = fs::read_dir(&root).map_err(|error| TestnetError::file(&root, &error))?;
        if entries.next().is_some() {
            return Err(TestnetError::Argument {
                field: "--dir",
                reason: format!("{} is not empty; name a new directory", root.display()),
            });
        }
        // Random, since the files may be left to others; and on disk, since these keys are worth nothing.
        let text = format!("{:032x}", rand::random::<u128>());
        let password = Password::new(&text).map_err(TestnetError::set_up)?;
        let password_file = root.join("password");
        write(&password_file, &text)?;
        Ok(Layout {
            root,
            password_file,
            password,
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The deployment file.
    pub fn deployment_file(&self) -> PathBuf {
        self.root.join("deployment.json")
    }

    /// Writes the deployment file.
    pub fn write_deployment(&self, deployment: &Deployment) -> Result<(), TestnetError> {
        let text = serde_json::to_string_pretty(deployment).map_err(TestnetError::set_up)?;
        write(&self.deployment_file(), &text)
    }

    /// The log file of a node.
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.root.join(name).join("log")
    }

    /// The database of a node.
    pub fn database_file(&self, name: &str) -> PathBuf {
        self.root.join(name).join("data").join("node.redb")
    }

    /// Writes a node's directory and returns the path of its configuration.
    pub fn write_node(
        &self,
        plan: &Plan,
        rpc: &str,
        bootstrap: &[String],
    ) -> Result<PathBuf, TestnetError> {
        let dir = self.root.join(&plan.name);
        fs::create_dir(&dir).map_err(|error| TestnetError::file(&dir, &error))?;
        let (wallet, network) = (dir.join("wallet.json"), dir.join("network.json"));
        keystore::save(&plan.identity, &wallet, &network, &self.password)
            .map_err(TestnetError::set_up)?;
        let own = plan.multiaddr();
        let file = ConfigFile {
            role: plan.role,
            networks: smartnodes_node::work::NETWORKS.map(str::to_owned).to_vec(),
            capacity: 2,
            data_dir: "data".into(),
            keys: KeysSection {
                wallet,
                network,
                password_file: Some(self.password_file.clone()),
            },
            p2p: P2pSection {
                listen: vec![format!("/ip4/127.0.0.1/tcp/{}", plan.port)],
                bootstrap: bootstrap
                    .iter()
                    .filter(|address| **address != own)
                    .cloned()
                    .collect(),
                gossip_heartbeat_ms: Some(1_000),
            },
            chain: ChainSection {
                rpc: vec![rpc.to_owned()],
                deployment: self.deployment_file(),
                poll_interval_ms: Some(500),
                receipt_timeout_ms: Some(10_000),
                request_timeout_ms: Some(5_000),
                confirmations: Some(1),
            },
        };
        let text = toml::to_string(&file).map_err(TestnetError::set_up)?;
        let config = dir.join("node.toml");
        write(&config, &text)?;
        Ok(config)
    }
}

fn write(path: &Path, text: &str) -> Result<(), TestnetError> {
    fs::write(path, text).map_err(|error| TestnetError::file(path, &error))
}
