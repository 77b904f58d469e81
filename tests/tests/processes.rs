//! Processes on real sockets. The story of two updates takes minutes: `cargo test -p smartnodes-tests -- --ignored`.

#![allow(
    clippy::disallowed_methods,
    reason = "real processes and files are the point here"
)]

use std::{collections::BTreeSet, fs, process::Command};

use alloy::primitives::Address;
use smartnodes_actors::Misdeed;
use smartnodes_evm::{
    bindings::SmartnodesCore as Core,
    chain::ChainConfig,
    deployment::{DeployParams, deploy_in_process},
};
use smartnodes_node::{
    p2p::{
        handshake::Role,
        wire::{Request, Response},
    },
    work::{Task, TaskKind, hash_chain::HashChain, wasm::Wasm},
};
use smartnodes_tests::{
    chain_host::{ChainHost, now},
    error::TestnetError,
    layout::{Layout, Plan},
    process::{NodeProcess, ask, smartnode_binary},
    story::{Settings, Testnet},
};

/// A module of `node/guests`.
const PRIMES: &[u8] = include_bytes!("../../node/guests/primes.wasm");

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

/// How many tasks of jobs the validators have logged to be done.
fn tasks_done(testnet: &Testnet) -> usize {
    let logs = testnet
        .names(Role::Validator)
        .map(|name| testnet.log(&name).unwrap());
    logs.map(|log| log.matches("task done").count()).sum()
}

/// Whether a worker has begun to execute a module and not ended, as it logs itself.
fn is_at_work(testnet: &Testnet, name: &str) -> bool {
    let log = testnet.log(name).unwrap();
    let orders = |message: &str, more: &str| -> BTreeSet<String> {
        log.lines()
            .filter(|line| line.contains(message) && line.contains(more))
            .filter_map(|line| line.split("order=").nth(1)?.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    !orders("work begun", "workload=\"wasm\"").is_subset(&orders("work done", ""))
}

/// Once the validators have logged so many tasks done: the first of the workers that is at work, killed at once.
async fn kill_one_at_work(testnet: &mut Testnet, workers: &[String], done: usize) -> String {
    loop {
        if tasks_done(testnet) >= done
            && let Some(name) = workers.iter().find(|name| is_at_work(testnet, name))
        {
            testnet.kill(name).await.unwrap();
            assert!(is_at_work(testnet, name), "{name} was done before its end");
            return name.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Where a worker has been found to lie: the lines in which coordinators say so.
fn lies_found(testnet: &Testnet, liar: Address) -> Vec<String> {
    let accused = format!("worker={liar}");
    let logs = testnet
        .names(Role::Validator)
        .map(|name| testnet.log(&name).unwrap());
    logs.flat_map(|log| {
        let found = log
            .lines()
            .filter(|line| line.contains("result is false") && line.contains(&accused));
        found.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

/// What an honest execution of the module of primes gives, and one of it with that result, as `job submit` writes it.
async fn expected(input: &[u8]) -> [Vec<u8>; 2] {
    let run = async |input: Vec<u8>| {
        let kind = TaskKind::Wasm(Wasm {
            module: PRIMES.to_vec(),
            fuel: 10_000_000_000,
            pages: 64,
        });
        let output = Task { kind, input }.execute().await.unwrap();
        output.bytes().unwrap().to_vec()
    };
    let first = run(input.to_vec()).await;
    let second = run(first.clone()).await;
    [first, second]
}

#[tokio::test]
async fn replicas_outvote_a_liar_and_replace_a_worker_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut testnet = Testnet::start(Settings {
        workers: 4,
        ..settings(dir.path(), 1, 60)
    })
    .await
    .unwrap();
    let (liar, false_worker) = testnet.add_false_worker(Misdeed::FalseResult).unwrap();
    let registered = format!("worker registered worker={liar}");
    testnet
        .until("the liar's registration", |net| {
            let all = net.names(Role::Validator);
            Ok(all
                .map(|name| net.log(&name))
                .all(|log| log.is_ok_and(|log| log.contains(&registered))))
        })
        .await
        .unwrap();

    // Two primes, which are a range again: some tenths of a second for each of three workers, in the second stage of a
    // pipeline as in the first, so that one of them can be killed over it.
    let input = dir.path().join("input");
    let numbers = [1_099_511_627_573u64, 1_099_511_627_600]
        .map(u64::to_le_bytes)
        .concat();
    fs::write(&input, &numbers).unwrap();
    let [first, second] = expected(&numbers).await;
    let (primes, input) = (
        format!("{}/../node/guests/primes.wasm", env!("CARGO_MANIFEST_DIR")),
        input.to_string_lossy(),
    );
    let (config, binary) = (
        testnet.config("user-1").unwrap().to_owned(),
        smartnode_binary().await.unwrap(),
    );
    let submit = |out: &str, more: &[&str]| {
        let (out, config) = (dir.path().join(out), config.to_string_lossy());
        let common = [
            "job",
            "submit",
            "--wasm",
            &primes,
            "--fuel",
            "10000000000",
            "--replication",
            "3",
            "--input",
            &input,
            "--wait",
            "--config",
            &config,
            "--out",
            &out.to_string_lossy(),
        ];
        let arguments: Vec<String> = common
            .iter()
            .chain(more)
            .map(|part| (*part).to_owned())
            .collect();
        let binary = binary.clone();
        tokio::spawn(async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            ask(&binary, &arguments, std::time::Duration::from_secs(120)).await
        })
    };
    let result = |path: &str| fs::read(dir.path().join(path)).unwrap();
    let mut honest: Vec<String> = testnet.names(Role::Worker).collect();

    // Two tasks for three workers each: all five are needed, the liar too.
    let one = submit("one", &["--input", &input]);
    let dead = kill_one_at_work(&mut testnet, &honest, 0).await;
    one.await.unwrap().unwrap();
    assert_eq!([result("one/0"), result("one/1")], [&*first, &*first]);
    assert!(!lies_found(&testnet, liar).is_empty());
    honest.retain(|name| *name != dead);

    // A pipeline for the three that are left and the liar, of whom another is killed over its second stage: for three
    // results of that one, everybody else is needed.
    let stages = tasks_done(&testnet) + 1;
    let two = submit("two", &["--then", &primes]);
    let dead = kill_one_at_work(&mut testnet, &honest, stages).await;
    let two = two.await.unwrap().unwrap();
    assert_eq!([result("two/0"), result("two/1")], [first, second]);
    honest.retain(|name| *name != dead);
    let job = two["job"].as_str().unwrap();
    let lies = lies_found(&testnet, liar);
    let stage = format!("job={job} task=1 ");
    assert!(lies.iter().any(|line| line.contains(&stage)), "{lies:?}");
    let shown = testnet
        .smartnode("user-1", &["job", "status", job])
        .await
        .unwrap();
    let mut agreed: Vec<Address> = serde_json::from_value(shown["workers"][1].clone()).unwrap();
    let mut left: Vec<Address> = honest
        .iter()
        .map(|name| testnet.address(name).unwrap())
        .collect();
    agreed.sort();
    left.sort();
    assert_eq!(agreed, left, "whoever is alive and honest");

    let core = testnet.deployment().core;
    let reputation = move |net: &Testnet, account| {
        let call = Core::reputationOfCall { account };
        net.chain().read(core, &call)
    };
    // Each of its lies costs as much, in the update that has the receipt for it.
    let left = 500 - 10 * i64::try_from(lies.len()).unwrap();
    testnet
        .until("what the lies cost", |net| {
            Ok(i64::from(reputation(net, liar)?) == left)
        })
        .await
        .unwrap();
    for name in &honest {
        let account = testnet.address(name).unwrap();
        assert!(reputation(&testnet, account).unwrap() > 500, "{name}");
    }
    let mut told = 0;
    for name in testnet.names(Role::Validator) {
        let request = Request::ClaimProof {
            distribution_id: 1,
            account: liar,
        };
        let peer = testnet.peer_id(&name).unwrap();
        // A validator settles the update some moments after its execution.
        while let Ok(answer) = false_worker.network().request(peer, request.clone()).await {
            if let Response::ClaimProof { capacity, .. } = answer {
                assert_eq!(capacity, 0, "the liar is unpaid");
                told += 1;
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    assert_eq!(told, 3);
    testnet.stop().await.unwrap();
}

#[tokio::test]
async fn a_network_is_served_from_when_it_is_added_on_chain_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = Testnet::start(settings(dir.path(), 1, 600)).await.unwrap();
    let core = testnet.deployment().core;
    let name = "hash-chain/strict?segments=64";
    let submit = async |nonce: &str| {
        let arguments = [
            "job",
            "submit",
            "--steps",
            "20000",
            "--network",
            name,
            "--nonce",
            nonce,
            "--wait",
        ];
        testnet.smartnode("user-1", &arguments).await
    };
    let refused = async |nonce: &str| match submit(nonce).await {
        Err(TestnetError::Command { stderr, .. }) => {
            assert!(stderr.contains("there is no network"), "{stderr}");
        }
        other => panic!("{other:?}"),
    };
    refused("1").await;
    let add = Core::addNetworkCall { name: name.into() };
    testnet.govern(core, &add).await.unwrap();
    assert_eq!(submit("2").await.unwrap()["state"], "complete");
    let listed = testnet
        .smartnode("user-1", &["network", "list"])
        .await
        .unwrap();
    let networks = listed["networks"].as_array().unwrap();
    let id = networks
        .iter()
        .position(|network| network["name"] == name)
        .unwrap();
    assert_eq!(networks[id]["policy"]["segments"], 64);
    let remove = Core::removeNetworkCall {
        id: u8::try_from(id).unwrap(),
    };
    testnet.govern(core, &remove).await.unwrap();
    refused("3").await;
    testnet.stop().await.unwrap();
}

#[tokio::test]
async fn a_jobs_state_and_result_can_be_asked_for_and_a_job_be_called_off() {
    let dir = tempfile::tempdir().unwrap();
    let testnet = Testnet::start(settings(dir.path(), 1, 600)).await.unwrap();
    let run = async |arguments: &[&str]| testnet.smartnode("user-1", arguments).await;
    let submit = async |more: &[&str]| {
        let shown = run(&[&["job", "submit", "--steps", "20000"], more].concat()).await;
        shown.unwrap()["job"].as_str().unwrap().to_owned()
    };
    let done = submit(&["--tasks", "2", "--wait"]).await;
    let shown = run(&["job", "status", &done]).await.unwrap();
    assert_eq!(shown["state"], "complete");
    assert_eq!(shown["workers"].as_array().unwrap().len(), 2);
    let out = dir.path().join("results");
    let out = out.to_string_lossy();
    let shown = run(&["job", "result", &done, "--out", &out]).await.unwrap();
    assert_eq!(shown["state"], "complete");
    let task = Task {
        kind: TaskKind::HashChain(HashChain { steps: 20_000 }),
        input: 1u16.to_be_bytes().to_vec(),
    };
    let expected = task.execute().await.unwrap().output;
    assert_eq!(
        fs::read(dir.path().join("results/1")).unwrap(),
        expected.as_slice()
    );

    // More workers than there are: it cannot end.
    let stuck = submit(&["--replication", "3"]).await;
    let shown = run(&["job", "status", &stuck]).await.unwrap();
    assert_eq!(shown["state"], "pending");
    let shown = run(&["job", "cancel", &stuck]).await.unwrap();
    assert_eq!(shown["state"], "called off");
    let shown = run(&["job", "status", &stuck]).await.unwrap();
    assert_eq!(shown["state"], "failed");
    assert_eq!(shown["reason"], "called off by its user");
    let shown = run(&["job", "status", &format!("0x{}", "12".repeat(32))]).await;
    assert_eq!(shown.unwrap()["state"], "unknown");
    testnet.stop().await.unwrap();
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
