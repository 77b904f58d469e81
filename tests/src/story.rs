//! The first state updates of a network: a free job, claims, a transfer, a registration, a paid job, claims.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, U256, utils::format_ether},
    signers::local::PrivateKeySigner,
};
use libp2p::PeerId;
use smartnodes_evm::{
    bindings::{SmartnodesCore as Core, SmartnodesERC20 as Token},
    chain::{Chain, ChainConfig},
    deployment::{DeployParams, Deployment, DeploymentPlan, deploy_in_process},
    emission,
};
use smartnodes_node::p2p::handshake::Role;
use tokio::time::sleep;

use crate::{
    chain_host::{BLOCK_TIME_SECONDS, ChainHost, now},
    error::TestnetError,
    layout::{Layout, Plan},
    process::{NodeProcess, ask, smartnode_binary},
};

mod outsiders;

/// SNO that a user locks, in wei: the contracts' default.
const USER_LOCK: u128 = 100 * SNO;
/// What the paid job pays, in wei.
const PAYMENT: u128 = 10 * SNO;
const SNO: u128 = 1_000_000_000_000_000_000;
/// ETH that each node has for gas, in whole ETH.
const GAS_MONEY: u64 = 10;
/// Steps of each task of a job: some tenths of a second.
const STEPS: &str = "1000000";
/// How often the chain is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A network to be run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many validators.
    pub validators: u16,
    /// How many workers.
    pub workers: u16,
    /// How many users. The first one also has a paid job done.
    pub users: u16,
    /// How many state updates must be executed.
    pub updates: u64,
    /// Seconds between two of them.
    pub interval_seconds: u64,
    /// Where its files go.
    pub dir: PathBuf,
    /// Port of the JSON-RPC endpoint; 0 for any free one.
    pub rpc_port: u16,
}

impl Settings {
    /// Refuses a story that cannot come true.
    pub fn check(&self) -> Result<(), TestnetError> {
        let refuse = |field, reason: String| Err(TestnetError::Argument { field, reason });
        for (field, count) in [
            ("--validators", self.validators),
            ("--workers", self.workers),
            ("--users", self.users),
        ] {
            if !(1..=50).contains(&count) {
                return refuse(field, format!("{count} is out of bounds: use 1 to 50"));
            }
        }
        if !(1..=1_000).contains(&self.updates) {
            return refuse(
                "--updates",
                format!("{} is out of bounds: use 1 to 1000", self.updates),
            );
        }
        let need = U256::from(USER_LOCK + PAYMENT);
        let share = self.workers_share();
        if self.updates > 1 && share < need {
            return refuse(
                "--interval",
                format!(
                    "the workers earn {} SNO in the first {} s, and the user needs {} to register and pay; use 90s or \
                     more, or --updates 1",
                    format_ether(share),
                    self.interval_seconds,
                    format_ether(need),
                ),
            );
        }
        Ok(())
    }

    /// What all workers earn together in one update of the first year, in SNO wei.
    fn workers_share(&self) -> U256 {
        emission::per_update(0, self.interval_seconds) * U256::from(85) / U256::from(100)
    }

    /// The longest that anything may take that waits for an update.
    fn patience(&self) -> Duration {
        Duration::from_secs(2 * self.interval_seconds + 60)
    }
}

/// A network that runs.
pub struct Testnet {
    settings: Settings,
    layout: Layout,
    deployment: Deployment,
    binary: PathBuf,
    plans: Vec<Plan>,
    configs: BTreeMap<String, PathBuf>,
    running: BTreeMap<String, NodeProcess>,
    host: ChainHost,
    started: Instant,
}

impl Testnet {
    /// Starts the chain, deploys the contracts, and starts every validator and worker.
    pub async fn start(settings: Settings) -> Result<Testnet, TestnetError> {
        settings.check()?;
        let plans = plans(&settings)?;
        let params = deploy_params(&settings, &plans)?;
        let layout = Layout::create(&settings.dir)?;
        let binary = smartnode_binary().await?;
        let (host, deployment) = start_chain(&settings, &plans, &params).await?;
        layout.write_deployment(&deployment)?;
        let bootstrap: Vec<String> = plans
            .iter()
            .filter(|plan| plan.role == Role::Validator)
            .map(Plan::multiaddr)
            .collect();
        let mut configs = BTreeMap::new();
        for plan in &plans {
            configs.insert(
                plan.name.clone(),
                layout.write_node(plan, host.url(), &bootstrap)?,
            );
        }
        let mut testnet = Testnet {
            settings,
            layout,
            deployment,
            binary,
            plans,
            configs,
            running: BTreeMap::new(),
            host,
            started: Instant::now(),
        };
        testnet.say(&format!(
            "chain {} at {}",
            testnet.deployment.chain_id,
            testnet.host.url()
        ));
        testnet.say(&format!("files in {}", testnet.layout.root().display()));
        let names: Vec<String> = testnet
            .names(Role::Validator)
            .chain(testnet.names(Role::Worker))
            .collect();
        for name in names {
            testnet.start_node(&name).await?;
            testnet.say(&format!("{name} is up"));
        }
        Ok(testnet)
    }

    /// Lives through the updates. `Ok` means that all were executed, every worker's claims landed, and the jobs were done.
    pub async fn run(&mut self) -> Result<(), TestnetError> {
        for user in self.names(Role::User).collect::<Vec<_>>() {
            let job = self.job(&user, None).await?;
            self.say(&format!("{user}: free job {job} is complete"));
        }
        self.until_claimed(1).await?;
        if self.settings.updates > 1 {
            let job = self.paid_job().await?;
            for update in 2..=self.settings.updates {
                self.until_claimed(update).await?;
            }
            // A job that came too late for an update is settled by the next.
            self.until("the settlement of the paid job", |net| {
                let call = Core::getJobCall { jobId: job };
                Ok(net.host.read(net.deployment.core, &call)?.state == 2)
            })
            .await?;
            self.say(&format!("paid job {job} is settled"));
        }
        self.summary()
    }

    /// Waits while everything runs, until the program is told to stop; an error if a node ends.
    pub async fn stay(&mut self) -> Result<(), TestnetError> {
        loop {
            self.check_nodes().await?;
            sleep(LOOK).await;
        }
    }

    /// How to join by hand.
    pub fn how_to_join(&self) -> String {
        let (binary, url) = (self.binary.display(), self.host.url());
        let deployment = self.layout.deployment_file();
        let bootstrap = self.plans.first().map(Plan::multiaddr).unwrap_or_default();
        let user = self
            .names(Role::User)
            .next()
            .and_then(|name| self.configs.get(&name))
            .cloned()
            .unwrap_or_default();
        format!(
            "The network stays up until Ctrl-C. To join it from another terminal:\n\
             \n  export SMARTNODE_PASSWORD=any\n  {binary} init --role worker --rpc {url} \\\n    --deployment {deployment} \\\n    \
             --bootstrap {bootstrap} \\\n    --listen /ip4/127.0.0.1/tcp/0 --dir my-worker\n  {binary} run --config my-worker/node.toml\n\
             \nAnd from a third one, as a user whose job may go to it (each round, a user has two free jobs):\n\
             \n  {binary} init --role user --rpc {url} \\\n    --deployment {deployment} \\\n    --bootstrap {bootstrap} \\\n    \
             --listen /ip4/127.0.0.1/tcp/0 --dir my-user\n  {binary} job submit --config my-user/node.toml --steps {STEPS} --tasks 4 --wait\n\
             \nA new wallet has no ETH for gas, so it cannot claim or pay; {user} has some:\n\
             \n  {binary} status --config {user}\n",
            deployment = deployment.display(),
            user = user.display(),
        )
    }

    /// Ends a node's process at once, as a crash would.
    pub async fn kill(&mut self, name: &str) -> Result<(), TestnetError> {
        match self.running.remove(name) {
            Some(node) => node.kill().await,
            None => Err(TestnetError::set_up(format!("{name} does not run"))),
        }
    }

    /// Resident memory of a node's process, in bytes (Linux).
    pub fn memory(&self, name: &str) -> Option<u64> {
        self.running.get(name)?.memory()
    }

    /// What a node has logged so far.
    pub fn log(&self, name: &str) -> Result<String, TestnetError> {
        let path = self.layout.log_file(name);
        std::fs::read_to_string(&path).map_err(|error| TestnetError::file(&path, &error))
    }

    /// Starts a node again that was killed or stopped.
    pub async fn restart(&mut self, name: &str) -> Result<(), TestnetError> {
        self.start_node(name).await
    }

    /// The contracts.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The chain.
    pub fn chain(&self) -> &ChainHost {
        &self.host
    }

    /// PeerId of a node.
    pub fn peer_id(&self, name: &str) -> Option<PeerId> {
        let plan = self.plans.iter().find(|plan| plan.name == name)?;
        Some(plan.peer_id())
    }

    /// The files.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Stops every node, all at once.
    pub async fn stop(mut self) -> Result<(), TestnetError> {
        self.stop_nodes().await
    }

    /// The same, and leaves the chain to be looked at.
    pub async fn stop_nodes(&mut self) -> Result<(), TestnetError> {
        for node in self.running.values() {
            node.ask_to_stop();
        }
        while let Some((_, node)) = self.running.pop_last() {
            node.stop().await?;
        }
        Ok(())
    }

    /// Gathers SNO from the workers for the first user, who registers, pays for a job, and gets its result.
    async fn paid_job(&mut self) -> Result<B256, TestnetError> {
        let user = self.fund_user().await?;
        let job = self.job(&user, Some(PAYMENT)).await?;
        self.say(&format!(
            "{user}: paid job {job} is complete, to be settled by the next update"
        ));
        Ok(job)
    }

    /// Gathers SNO from the workers for the first user, and registers it. What is left over pays for jobs.
    pub async fn fund_user(&mut self) -> Result<String, TestnetError> {
        let Some(user) = self.names(Role::User).next() else {
            return Err(TestnetError::set_up("there is no user"));
        };
        let to = self.address(&user)?;
        let mut need = U256::from(USER_LOCK + PAYMENT);
        for worker in self.names(Role::Worker).collect::<Vec<_>>() {
            let amount = self.balance(self.address(&worker)?)?.min(need);
            if amount.is_zero() {
                continue;
            }
            // A wallet has one owner: the worker rests while its operator sends by hand.
            if let Some(node) = self.running.remove(&worker) {
                node.stop().await?;
            }
            let (to, wei) = (to.to_string(), format!("{amount} wei"));
            self.smartnode(&worker, &["transfer", "--to", &to, "--amount", &wei])
                .await?;
            self.start_node(&worker).await?;
            self.say(&format!(
                "{worker} sent {} SNO to {user}",
                format_ether(amount)
            ));
            need -= amount;
            if need.is_zero() {
                break;
            }
        }
        self.smartnode(&user, &["user", "register"]).await?;
        self.say(&format!("{user} is registered"));
        Ok(user)
    }

    async fn job(&mut self, user: &str, payment: Option<u128>) -> Result<B256, TestnetError> {
        let payment = payment.map(|wei| format!("{wei} wei"));
        let mut arguments = vec!["job", "submit", "--steps", STEPS, "--tasks", "2", "--wait"];
        if let Some(payment) = &payment {
            arguments.extend(["--payment", payment]);
        }
        let done = self.smartnode(user, &arguments).await?;
        serde_json::from_value(done["job"].clone()).map_err(|error| {
            TestnetError::set_up(format!("the answer {done} names no job: {error}"))
        })
    }

    /// Waits until update `id` is executed and every worker has claimed from it.
    pub async fn until_claimed(&mut self, id: u64) -> Result<(), TestnetError> {
        self.until(&format!("state update {id}"), |net| {
            let count = net
                .host
                .read(net.deployment.token, &Token::s_currentDistributionIdCall {})?;
            Ok(count >= U256::from(id))
        })
        .await?;
        self.say(&format!(
            "state update {id} is executed (block {})",
            self.host.head().0
        ));
        let workers = self
            .names(Role::Worker)
            .map(|name| self.address(&name))
            .collect::<Result<Vec<_>, _>>()?;
        self.until(&format!("every worker's claim from update {id}"), |net| {
            let claimed = |account: &Address| {
                let call = Token::s_claimedCall {
                    distributionId: U256::from(id),
                    account: *account,
                };
                net.host.read(net.deployment.token, &call)
            };
            workers
                .iter()
                .map(claimed)
                .try_fold(true, |all, one| Ok(all && one?))
        })
        .await?;
        self.say(&format!("every worker has claimed from update {id}"));
        Ok(())
    }

    /// Waits for something that must happen within two intervals; an error if it does not, or if a node ends.
    pub async fn until(
        &mut self,
        what: &str,
        done: impl Fn(&Testnet) -> Result<bool, TestnetError>,
    ) -> Result<(), TestnetError> {
        let patience = self.settings.patience();
        let since = Instant::now();
        while !done(self)? {
            self.check_nodes().await?;
            if since.elapsed() > patience {
                return Err(TestnetError::Late {
                    what: what.to_owned(),
                    seconds: patience.as_secs(),
                });
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// An error if a node has ended by itself.
    pub async fn check_nodes(&mut self) -> Result<(), TestnetError> {
        for node in self.running.values_mut() {
            node.check().await?;
        }
        Ok(())
    }

    async fn start_node(&mut self, name: &str) -> Result<(), TestnetError> {
        let node = NodeProcess::start(
            &self.binary,
            name,
            self.config(name)?,
            &self.layout.log_file(name),
        )
        .await?;
        self.running.insert(name.to_owned(), node);
        Ok(())
    }

    /// Runs `smartnode` with a node's configuration, and returns what it printed.
    pub async fn smartnode(
        &self,
        name: &str,
        arguments: &[&str],
    ) -> Result<serde_json::Value, TestnetError> {
        let config = self.config(name)?.to_string_lossy().into_owned();
        let mut all = arguments.to_vec();
        all.extend(["--config", &config]);
        ask(&self.binary, &all, self.settings.patience()).await
    }

    /// Path of a node's configuration.
    pub fn config(&self, name: &str) -> Result<&Path, TestnetError> {
        let config = self
            .configs
            .get(name)
            .ok_or_else(|| TestnetError::set_up(format!("there is no {name}")))?;
        Ok(config)
    }

    /// Names of the nodes with a role.
    pub fn names(&self, role: Role) -> impl Iterator<Item = String> + use<'_> {
        self.plans
            .iter()
            .filter(move |plan| plan.role == role)
            .map(|plan| plan.name.clone())
    }

    /// Wallet of a node.
    pub fn address(&self, name: &str) -> Result<Address, TestnetError> {
        let plan = self.plans.iter().find(|plan| plan.name == name);
        plan.map(Plan::address)
            .ok_or_else(|| TestnetError::set_up(format!("there is no {name}")))
    }

    fn balance(&self, account: Address) -> Result<U256, TestnetError> {
        self.host
            .read(self.deployment.token, &Token::balanceOfCall { account })
    }

    fn summary(&self) -> Result<(), TestnetError> {
        self.say("balances without what is locked:");
        for plan in &self.plans {
            println!(
                "           {:<12} {} SNO",
                plan.name,
                format_ether(self.balance(plan.address())?)
            );
        }
        println!(
            "           {:<12} {} SNO",
            "treasury",
            format_ether(self.balance(self.deployment.timelock)?)
        );
        Ok(())
    }

    fn say(&self, text: &str) {
        println!("[{:5.1} s] {text}", self.started.elapsed().as_secs_f64());
    }
}

fn plans(settings: &Settings) -> Result<Vec<Plan>, TestnetError> {
    let counts = [
        (Role::Validator, settings.validators),
        (Role::Worker, settings.workers),
        (Role::User, settings.users),
    ];
    counts
        .into_iter()
        .flat_map(|(role, count)| (1..=count).map(move |n| Plan::new(format!("{role}-{n}"), role)))
        .collect()
}

/// What to deploy, refused if the contracts would refuse it.
fn deploy_params(settings: &Settings, plans: &[Plan]) -> Result<DeployParams, TestnetError> {
    let params = DeployParams {
        genesis: plans
            .iter()
            .filter(|plan| plan.role == Role::Validator)
            .map(Plan::genesis)
            .collect(),
        update_interval_seconds: settings.interval_seconds,
        networks: smartnodes_node::work::NETWORKS.map(str::to_owned).to_vec(),
        ..DeployParams::default()
    };
    match DeploymentPlan::new(&params, Address::ZERO, 0, 1) {
        Ok(_) => Ok(params),
        Err(error) => Err(TestnetError::Argument {
            field: "--interval, --validators",
            reason: error.to_string(),
        }),
    }
}

async fn start_chain(
    settings: &Settings,
    plans: &[Plan],
    params: &DeployParams,
) -> Result<(ChainHost, Deployment), TestnetError> {
    let deployer =
        PrivateKeySigner::from_bytes(&B256::new(rand::random())).map_err(TestnetError::set_up)?;
    let money = U256::from(GAS_MONEY) * U256::from(SNO);
    let accounts = plans.iter().map(Plan::address).chain([deployer.address()]);
    let config = ChainConfig {
        // The deployment takes a block for each of its transactions, which must not lie in the future.
        start_timestamp: now() - 10 * BLOCK_TIME_SECONDS,
        block_time_seconds: BLOCK_TIME_SECONDS,
        balances: accounts.map(|account| (account, money)).collect(),
        randomness_seed: B256::new(rand::random()),
        ..ChainConfig::default()
    };
    ChainHost::start(config, settings.rpc_port, |chain: &mut Chain| {
        deploy_in_process(chain, &deployer, params).map_err(TestnetError::set_up)
    })
    .await
}
