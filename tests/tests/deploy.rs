//! `smartnode deploy` against the embedded chain over HTTP.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes and files are the point here"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
};
use serde_json::Value;
use smartnodes_evm::{
    bindings::{SmartnodesCoordinator, SmartnodesERC20},
    chain::ChainConfig,
    deployment::{CREATED, Deployment},
};
use smartnodes_node::keystore::{self, Password};
use smartnodes_tests::{
    chain_host::{ChainHost, now},
    error::TestnetError,
    process::{ask, smartnode_binary},
};

const PARAMS: &str = "update_interval_seconds = 3600\napproval_percent = 75\n";

/// A directory with the deployer's keys and parameters, beside a chain on which the deployer has ETH.
struct Desk {
    dir: tempfile::TempDir,
    binary: PathBuf,
    host: ChainHost,
    deployer: Address,
}

impl Desk {
    async fn new(genesis: usize) -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let password = Password::new("correct horse").unwrap();
        let identity = keystore::generate();
        let file = |name: &str| dir.path().join(name);
        keystore::save(
            &identity,
            &file("wallet.json"),
            &file("network.json"),
            &password,
        )
        .unwrap();
        fs::write(file("password"), "correct horse\n").unwrap();
        let validators: String = (0..genesis)
            .map(|_| {
                let node = keystore::generate();
                format!(
                    "[[genesis]]\nwallet = \"{}\"\npublic_key_hash = \"{}\"\n",
                    node.address(),
                    node.public_key_hash()
                )
            })
            .collect();
        fs::write(file("params.toml"), format!("{PARAMS}{validators}")).unwrap();
        let deployer = identity.address();
        let config = ChainConfig {
            start_timestamp: now() - 20,
            balances: [(deployer, U256::from(10).pow(U256::from(18)))].into(),
            ..ChainConfig::default()
        };
        let (host, ()) = ChainHost::start(config, 0, |_| Ok(())).await.unwrap();
        Desk {
            binary: smartnode_binary().await.unwrap(),
            dir,
            host,
            deployer,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn deploy(&self, more: &[&str]) -> Result<Value, TestnetError> {
        let path = |name: &str| self.file(name).to_string_lossy().into_owned();
        let (keystore, password) = (path("wallet.json"), path("password"));
        let (params, out) = (path("params.toml"), path("deployment.json"));
        let usual = [
            "deploy",
            "--rpc",
            self.host.url(),
            "--keystore",
            &keystore,
            "--password-file",
            &password,
            "--params",
            &params,
            "--out",
            &out,
        ];
        ask(
            &self.binary,
            &[&usual, more].concat(),
            Duration::from_secs(120),
        )
        .await
    }

    /// The refusal of a command that must leave with code 2.
    async fn refused(&self, more: &[&str]) -> String {
        let TestnetError::Command { status, stderr, .. } = self.deploy(more).await.unwrap_err()
        else {
            panic!("the command was not refused")
        };
        assert!(
            status.contains('2') && !stderr.contains("panicked"),
            "{status}: {stderr}"
        );
        stderr
    }

    fn check(&self, deployment: &Deployment, validators: u64) {
        let start = self
            .host
            .read(
                deployment.token,
                &SmartnodesERC20::i_deploymentTimestampCall {},
            )
            .unwrap();
        assert_eq!(start, U256::from(deployment.start_time));
        let status = self
            .host
            .read(
                deployment.coordinator,
                &SmartnodesCoordinator::roundStatusCall {},
            )
            .unwrap();
        assert_eq!(status.dueTime, deployment.start_time + 3_600);
        let supply = self
            .host
            .read(deployment.token, &SmartnodesERC20::totalSupplyCall {})
            .unwrap();
        assert_eq!(
            supply,
            U256::from(validators * 1_000_000) * U256::from(10).pow(U256::from(18))
        );
    }
}

fn read(path: &Path) -> Deployment {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_dry_run_tells_what_the_deployment_then_does() {
    let desk = Desk::new(4).await;
    let shown = desk.deploy(&["--dry-run"]).await.unwrap();
    assert!(!desk.file("deployment.json").exists(), "nothing is written");
    let planned: Deployment = serde_json::from_value(shown["deployment"].clone()).unwrap();
    let transactions = shown["transactions"].as_array().unwrap();
    let created: Vec<_> = transactions
        .iter()
        .map(|t| t["creates"].as_str().unwrap())
        .collect();
    assert_eq!(created, CREATED);
    assert!(
        transactions
            .iter()
            .all(|t| t["gas"].as_u64().unwrap() > 53_000)
    );
    let first: Address = serde_json::from_value(transactions[0]["address"].clone()).unwrap();
    assert_eq!(first, planned.token);

    let before = desk.host.head().0;
    let done = desk.deploy(&[]).await.unwrap();
    let deployment = read(&desk.file("deployment.json"));
    assert_eq!(
        serde_json::from_value::<Deployment>(done["deployment"].clone()).unwrap(),
        deployment
    );
    assert_eq!(
        planned.clone(),
        Deployment {
            deployed_at: 0,
            start_time: 0,
            ..deployment.clone()
        },
        "the addresses are those of the dry run"
    );
    assert!(deployment.deployed_at >= before);
    desk.check(&deployment, 4);
    assert!(!desk.file("deployment.json.partial").exists());

    let again = desk.refused(&[]).await;
    assert!(
        again.contains("deployment.json") && again.contains("exists already"),
        "{again}"
    );
}

#[tokio::test]
async fn an_interrupted_deployment_goes_on_with_the_same_command() {
    let desk = Desk::new(1).await;
    // What a deployment leaves that was killed after its first three transactions.
    let params: toml::Table =
        toml::from_str(&fs::read_to_string(desk.file("params.toml")).unwrap()).unwrap();
    let params: smartnodes_evm::deployment::DeployParams = params.try_into().unwrap();
    let plan = smartnodes_evm::deployment::DeploymentPlan::new(
        &params,
        desk.deployer,
        0,
        ChainConfig::default().chain_id,
    )
    .unwrap();
    let password = Password::new("correct horse").unwrap();
    let wallet: PrivateKeySigner =
        keystore::load_wallet(&desk.file("wallet.json"), &password).unwrap();
    desk.host.create(&wallet, &plan.transactions[..3]).unwrap();
    let begun = serde_json::json!({
        "chain_id": plan.deployment.chain_id, "deployer": desk.deployer, "first_nonce": 0, "params": params,
    });
    let partial = desk.file("deployment.json.partial");
    fs::write(&partial, begun.to_string()).unwrap();

    let other = fs::read_to_string(desk.file("params.toml")).unwrap();
    fs::write(desk.file("params.toml"), other.replace("= 75", "= 76")).unwrap();
    let said = desk.refused(&[]).await;
    assert!(
        said.contains(".partial") && said.contains("another chain, deployer or parameters"),
        "{said}"
    );
    fs::write(desk.file("params.toml"), other).unwrap();

    desk.deploy(&[]).await.unwrap();
    let deployment = read(&desk.file("deployment.json"));
    assert_eq!(deployment.token, plan.deployment.token);
    desk.check(&deployment, 1);
    assert!(!partial.exists());
}

#[tokio::test]
async fn what_cannot_be_deployed_is_refused_before_anything_is_sent() {
    let desk = Desk::new(1).await;
    let params = fs::read_to_string(desk.file("params.toml")).unwrap();
    for (from, to, expected) in [
        ("= 75", "= 50", "approval_percent"),
        ("approval_percent", "approval", "approval"),
        ("[[genesis]]", "[[validators]]", "validators"),
        ("= 3600", "= 31", "update_interval_seconds"),
    ] {
        fs::write(desk.file("params.toml"), params.replacen(from, to, 1)).unwrap();
        let said = desk.refused(&[]).await;
        assert!(
            said.contains("params.toml") && said.contains(expected),
            "{said}"
        );
    }
    fs::write(desk.file("params.toml"), &params).unwrap();
    fs::write(desk.file("password"), "wrong").unwrap();
    let said = desk.refused(&[]).await;
    assert!(said.contains("wallet.json"), "{said}");
    assert!(!desk.file("deployment.json.partial").exists());
}
