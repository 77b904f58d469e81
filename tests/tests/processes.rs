//! Processes on real sockets. The story of two updates takes minutes: `cargo test -p smartnodes-tests -- --ignored`.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes and files are the point here"
)]

use std::{fs, process::Command};

use smartnodes_evm::{
    chain::ChainConfig,
    deployment::{DeployParams, deploy_in_process},
};
use smartnodes_node::p2p::handshake::Role;
use smartnodes_tests::{
    chain_host::{ChainHost, now},
    error::TestnetError,
    layout::{Layout, Plan},
    process::{NodeProcess, ask, smartnode_binary},
    story::{Settings, Testnet},
};

fn settings(dir: &std::path::Path, updates: u64, interval_seconds: u64) -> Settings {
    Settings {
        validators: 3,
        workers: 2,
        users: 1,
        updates,
        interval_seconds,
        dir: dir.join("testnet"),
        rpc_port: 0,
    }
}

async fn comes_true(settings: Settings) {
    let mut testnet = Testnet::start(settings).await.expect("the network starts");
    testnet.run().await.expect("the story comes true");
    testnet
        .stop()
        .await
        .expect("every node stops when it is asked to");
}

#[tokio::test]
async fn a_network_of_processes_executes_an_update_and_pays_its_workers() {
    let dir = tempfile::tempdir().unwrap();
    comes_true(settings(dir.path(), 1, 40)).await;
}

#[tokio::test]
#[ignore = "takes more than three minutes"]
async fn a_network_of_processes_executes_two_updates_and_settles_a_paid_job() {
    let dir = tempfile::tempdir().unwrap();
    comes_true(settings(dir.path(), 2, 90)).await;
}

#[tokio::test]
async fn a_second_process_is_refused_the_port_and_the_data_of_the_first() {
    let binary = smartnode_binary().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("net")).unwrap();
    let plans =
        [Role::Validator, Role::Worker].map(|role| Plan::new(role.to_string(), role).unwrap());
    let deployer = smartnodes_node::keystore::generate().wallet;
    let ether = alloy::primitives::U256::from(10).pow(alloy::primitives::U256::from(18));
    let config = ChainConfig {
        start_timestamp: now() - 20,
        balances: [(deployer.address(), ether)].into(),
        ..ChainConfig::default()
    };
    let params = DeployParams {
        genesis: vec![plans[0].genesis()],
        ..DeployParams::default()
    };
    let (host, deployment) = ChainHost::start(config, 0, |chain| {
        deploy_in_process(chain, &deployer, &params)
            .map_err(|error| TestnetError::SetUp(error.to_string()))
    })
    .await
    .unwrap();
    layout.write_deployment(&deployment).unwrap();
    let first = layout.write_node(&plans[0], host.url(), &[]).unwrap();
    let second = layout.write_node(&plans[1], host.url(), &[]).unwrap();
    let node = NodeProcess::start(&binary, "validator", &first, &layout.log_file("validator"))
        .await
        .unwrap();

    let limit = std::time::Duration::from_secs(60);
    let refused = async |command: &[&str], config: &std::path::Path| {
        let config = config.to_string_lossy();
        let arguments = [command, &["--config", &config]].concat();
        let error = ask(&binary, &arguments, limit).await.unwrap_err();
        let TestnetError::Command { status, stderr, .. } = error else {
            panic!("{error}")
        };
        assert!(
            status.contains('2') && !stderr.contains("panicked"),
            "{status}: {stderr}"
        );
        stderr
    };
    let nobody = "0x0000000000000000000000000000000000000001";
    let transfer = ["transfer", "--amount", "1 wei", "--to", nobody];
    let said = refused(&transfer, &first).await;
    assert!(
        said.contains("data_dir") && said.contains("another smartnode process"),
        "{said}"
    );

    let listen = |config: &std::path::Path| -> toml::Table {
        toml::from_str(&fs::read_to_string(config).unwrap()).unwrap()
    };
    let mut changed = listen(&second);
    changed["p2p"] = listen(&first)["p2p"].clone();
    fs::write(&second, changed.to_string()).unwrap();
    let said = refused(&["run"], &second).await;
    assert!(
        said.contains("cannot listen on /ip4/127.0.0.1/tcp/") && said.contains("p2p.listen[0]"),
        "{said}"
    );

    // What reads only can be asked beside the running node.
    let shown = ask(
        &binary,
        &["status", "--config", &first.to_string_lossy()],
        limit,
    )
    .await
    .unwrap();
    assert_eq!(
        (&shown["registered_as_validator"], &shown["validators"]),
        (&true.into(), &1.into())
    );
    node.stop().await.unwrap();
}

#[test]
fn arguments_that_cannot_come_true_are_refused_at_once() {
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("file"), "").unwrap();
    let full = full.path().to_string_lossy().into_owned();
    for (arguments, word) in [
        (vec!["--validators", "0"], "--validators"),
        (vec!["--workers", "1000"], "--workers"),
        (vec!["--updates", "0"], "--updates"),
        (vec!["--interval", "60s"], "--interval"),
        (vec!["--interval", "5s", "--updates", "1"], "--interval"),
        (vec!["--interval", "soon"], "90s"),
        (vec!["--dir", &full], "not empty"),
        (vec!["--seed", "1"], "--seed"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_smartnodes-testnet"))
            .arg("up")
            .args(&arguments)
            // The program beside it is up to date already.
            .env_remove("CARGO")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.contains(word) && !said.contains("panicked"),
            "{arguments:?}: {said}"
        );
    }
}
