//! A simulated host: one node, unchanged, on simulated physics, and the person who uses it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use alloy::rpc::client::RpcClient;
use madsim::runtime::Handle;
use smartnodes_evm::deployment::Deployment;
use smartnodes_node::chain::{ChainError, Intent};
use smartnodes_node::jobs::{JobRequest, Shape};
use smartnodes_node::node::{Node, NodeConfig, NodeError, NodeParts};
use smartnodes_node::p2p;
use smartnodes_node::roles::RoleState;
use smartnodes_node::roles::context::Context;
use smartnodes_node::roles::user::{User, UserError};
use smartnodes_node::work::hash_chain::HashChain;
use smartnodes_node::work::matmul::{Factors, Matmul};
use smartnodes_node::work::wasm::Wasm;
use smartnodes_node::work::{Task, TaskKind};
use smartnodes_scenarios::{
    Ending, Guest, HostName, Job, Misdeed, Transfer, USER_COLLATERAL, Work,
};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::acts::keys::Keys;
use crate::disk::{DiskHandle, SimDisk};
use crate::draw;
use crate::false_validator::FalsePart;
use crate::oracle::results::Results;
use crate::oracle::truth::Truth;
use crate::refunds;
use crate::rpc_transport::WireRpc;
use crate::story::{Progress, Story};
use crate::violation::Violations;
use crate::wire::{Endpoint, Wire};

pub mod cheats;

use cheats::Cheating;

/// Wait before a node that could not start is started again, and between two looks at the chain by its user.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What is added to the nonce of a job that is submitted anew; a plan has fewer jobs.
const ANEW: u64 = 1_000_000;

const PRIMES: &[u8] = include_bytes!("../../node/guests/primes.wasm");
const SUMMARY: &[u8] = include_bytes!("../../node/guests/summary.wasm");
/// Fuel of a module, of which a guest uses what its input takes.
const FUEL: u64 = 100_000_000;
/// Pages of memory of a module.
const PAGES: u32 = 32;

/// All that a host needs to start, at first and after each crash.
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Its node's keys.
    pub keys: Keys,
    /// Its node's configuration.
    pub config: NodeConfig,
    /// Where it is on the wire.
    pub endpoint: Endpoint,
    /// Its disk.
    pub disk: SimDisk,
    /// The chain's endpoints that it knows, in its order.
    pub chain: Vec<SocketAddr>,
    /// The contracts.
    pub deployment: Deployment,
    /// Jobs of its user, in order.
    pub jobs: Vec<Job>,
    /// Transfers from its wallet, in order, with their numbers in the scenario and the receivers' wallets.
    pub transfers: Vec<(usize, Transfer, Address)>,
    /// What it does, if it does not play by the rules.
    pub misdeed: Option<Misdeed>,
    /// How it does that.
    pub cheating: Cheating,
    /// What its validator does, if that does not play by the rules.
    pub false_part: Option<FalsePart>,
    /// The run's seed.
    pub seed: u64,
    /// Whether a payment can become too old before its job is done.
    pub payments_age: bool,
    /// What has been done of the plan.
    pub story: Story,
    /// What workers have really computed.
    pub truth: Truth,
    /// What users have got.
    pub results: Results,
    /// Where it is told what did not hold.
    pub violations: Violations,
}

impl Host {
    /// Runs the node and plays the plan; never ends by itself.
    pub async fn run(self: Arc<Self>) {
        if let Some(misdeed) = self.misdeed {
            match self.cheat(misdeed).await {}
        }
        if let Some(part) = &self.false_part {
            return self.play_false(part).await;
        }
        let mut node = loop {
            match self.start().await {
                Ok(node) => break node,
                Err(error) if self.can_start_later(&error).await => {}
                Err(_) => return std::future::pending().await,
            }
        };
        let (context, role) = (node.context().clone(), node.role().clone());
        let ended = tokio::select! {
            biased;
            ended = node.stopped() => ended,
            never = self.play(&context, &role) => match never {},
        };
        killed_here().await;
        self.violations.add(
            "node-runs",
            format!("a task of {} has ended: {ended:?}", self.name),
        );
        std::future::pending().await
    }

    /// Waits before another attempt to start, where the reason passes by itself or an operator mends it. Another reason is a
    /// violation.
    pub(crate) async fn can_start_later(&self, error: &NodeError) -> bool {
        match error {
            // An endpoint that does not answer yet is the one reason that passes by itself.
            NodeError::Chain(error) => warn!(%error, "the node cannot start yet"),
            NodeError::Store(error) if self.disk.is_damaged() => {
                info!(%error, "the node refuses its disk, its operator replaces it");
                self.disk.replace();
            }
            NodeError::Store(error) if self.disk.fails() => {
                info!(%error, "the node cannot start before its disk works again");
            }
            error => {
                killed_here().await;
                self.violations
                    .add("node-starts", format!("{}: {error}", self.name));
                return false;
            }
        }
        sleep(PATIENCE).await;
        true
    }

    /// A client for each of the chain's endpoints that it knows.
    fn rpc(&self) -> Vec<RpcClient> {
        let timeout = self.config.chain.request_timeout;
        let clients = self.chain.iter().map(|server| {
            RpcClient::new(WireRpc::new(self.endpoint.clone(), *server, timeout), false)
        });
        clients.collect()
    }

    async fn start(&self) -> Result<Node, NodeError> {
        Node::start(self.config.clone(), self.parts()?).await
    }

    /// What a node on this host is made of.
    pub(crate) fn parts(&self) -> Result<NodeParts<DiskHandle>, NodeError> {
        let identity = self.keys.now();
        let transport = p2p::upgrade(Wire::new(self.endpoint.clone()), &identity)?;
        Ok(NodeParts {
            identity,
            transport,
            rpc: self.rpc(),
            storage: self.disk.open(),
            deployment: self.deployment.clone(),
        })
    }

    async fn play(&self, context: &Context, role: &RoleState) -> std::convert::Infallible {
        for (index, transfer, to) in &self.transfers {
            self.send(context, *index, transfer, *to).await;
        }
        if let RoleState::User(user) = role {
            for (index, job) in self.jobs.iter().enumerate() {
                self.submit(user, index, job).await;
            }
        }
        std::future::pending().await
    }

    async fn send(&self, context: &Context, index: usize, transfer: &Transfer, to: Address) {
        if self.story.transfer(index) == Progress::Done {
            return;
        }
        let amount = U256::from(transfer.amount.wei());
        // Once begun it may have happened, so the balance says nothing any more; the node knows.
        if self.story.transfer(index) == Progress::Waiting {
            wait_for(context, transfer.after_update, amount).await;
            self.story.set_transfer(index, Progress::Begun);
        } else if self.disk.usage().replaced > 0 {
            self.truth.forgotten((context.address(), to, amount));
        }
        let reference = B256::from(draw::bytes(self.seed, &format!("transfer {index}")));
        while let Err(error) = context
            .chain
            .send(Intent::Transfer {
                to,
                amount,
                reference,
            })
            .await
        {
            warn!(index, %error, "transfer not sent");
            sleep(PATIENCE).await;
        }
        info!(index, %to, %amount, "transfer sent");
        self.story.set_transfer(index, Progress::Done);
    }

    async fn submit(&self, user: &User, index: usize, job: &Job) {
        if matches!(
            self.story.job(self.name, index),
            Progress::Done | Progress::Failed
        ) {
            return;
        }
        let mut request = self.request(index, job);
        let mut id = request.job_id(&user.ctx.domain);
        if self.story.job(self.name, index) == Progress::Waiting {
            let needed = self.needed(user, job).await;
            wait_for(&user.ctx, job.after_update, needed).await;
            self.truth.submitted(id, request.tasks.len() as u64);
            self.story.set_job(self.name, index, Progress::Begun);
        }
        let ended = loop {
            let attempt = match job.ending {
                Ending::Result => self.attempt(user, job, request.clone()).await,
                Ending::CalledOff(after) => {
                    refunds::submit_and_cancel(user, request.clone(), after).await
                }
                Ending::Failure => refunds::submit_in_vain(user, request.clone()).await,
            };
            killed_here().await;
            match attempt {
                Ok(()) => break Progress::Done,
                // The chain may be reached later, and the machine be mended: a restarted node goes on from here.
                Err(error @ (UserError::Chain(_) | UserError::Store(_))) => {
                    warn!(job = %id, %error, "job not submitted yet");
                    sleep(PATIENCE).await;
                }
                // A payment that is too old, or a job that is late, before anybody could do it. Its user does as it is told:
                // takes the payment back, and submits the job anew.
                Err(error @ (UserError::Refused(_) | UserError::Failed(_)))
                    if self.payments_age && request.nonce < ANEW =>
                {
                    warn!(job = %id, %error, "job given up, to be submitted anew");
                    match refunds::refund(user, id, request.payment > 0).await {
                        Ok(()) => {
                            request.nonce += ANEW;
                            id = request.job_id(&user.ctx.domain);
                            self.truth.submitted(id, request.tasks.len() as u64);
                        }
                        Err(error) => {
                            warn!(job = %id, %error, "not given up yet");
                            sleep(PATIENCE).await;
                        }
                    }
                    killed_here().await;
                }
                Err(error) => {
                    warn!(job = %id, %error, "job failed");
                    break Progress::Failed;
                }
            }
        };
        info!(job = %id, ?ended, "job ended");
        self.story.set_job(self.name, index, ended);
    }

    async fn attempt(&self, user: &User, job: &Job, request: JobRequest) -> Result<(), UserError> {
        if job.payment.is_some() {
            user.register().await?;
        }
        let done = user.run_job(request.clone()).await?;
        self.results.accepted(request, done.outputs);
        Ok(())
    }

    /// SNO wei that the user must hold before it begins: payment, and the collateral unless that is locked already.
    async fn needed(&self, user: &User, job: &Job) -> U256 {
        let Some(payment) = job.payment else {
            return U256::ZERO;
        };
        let registered = until_answered(|| user.ctx.chain.is_user(user.ctx.address())).await;
        let collateral = if registered { 0 } else { USER_COLLATERAL.wei() };
        U256::from(payment.wei()) + U256::from(collateral)
    }

    fn request(&self, index: usize, job: &Job) -> JobRequest {
        let drawn =
            || draw::bytes(self.seed, &format!("input of job {index} of {}", self.name)).to_vec();
        let (kind, input) = match &job.work {
            Work::HashChain { steps } => {
                (TaskKind::HashChain(HashChain { steps: *steps }), drawn())
            }
            Work::Matmul { size } => {
                let factors = Factors::Seeded;
                (
                    TaskKind::Matmul(Matmul {
                        size: *size,
                        factors,
                    }),
                    drawn(),
                )
            }
            Work::Wasm { guest, numbers } => {
                let input = numbers.iter().flat_map(|number| number.to_le_bytes());
                (module(*guest), input.collect())
            }
        };
        let later = job.then.iter().map(|guest| Task {
            kind: module(*guest),
            input: Vec::new(),
        });
        JobRequest {
            user: self.keys.now().address(),
            network: job.work.network().to_owned(),
            shape: if job.then.is_empty() {
                Shape::Parallel
            } else {
                Shape::Pipeline
            },
            tasks: [Task { kind, input }].into_iter().chain(later).collect(),
            replication: job.replication,
            payment: job.payment.map_or(0, |payment| payment.wei()),
            nonce: index as u64,
        }
    }
}

fn module(guest: Guest) -> TaskKind {
    let module = match guest {
        Guest::Primes => PRIMES,
        Guest::Summary => SUMMARY,
    };
    TaskKind::Wasm(Wasm {
        module: module.to_vec(),
        fuel: FUEL,
        pages: PAGES,
    })
}

/// Waits until so many updates have been executed and the wallet holds the amount.
async fn wait_for(context: &Context, updates: u64, amount: U256) {
    while until_answered(|| context.chain.distribution_count()).await < updates {
        sleep(PATIENCE).await;
    }
    while until_answered(|| context.chain.token_balance(context.address())).await < amount {
        sleep(PATIENCE).await;
    }
}

/// Never returns where the process has been ended at a fail point and runs on to its next wait: what it got to see after
/// that is no answer to anybody.
pub(crate) async fn killed_here() {
    if Handle::current().is_exit(madsim::plugin::node()) {
        std::future::pending().await
    }
}

async fn until_answered<T, F: Future<Output = Result<T, ChainError>>>(ask: impl Fn() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => warn!(%error, "the chain does not answer"),
        }
        sleep(PATIENCE).await;
    }
}

#[cfg(test)]
mod tests {
    use smartnodes_node::work::{hash_chain, matmul, wasm};
    use smartnodes_scenarios::Scenario;

    #[test]
    fn scenarios_may_ask_for_what_the_node_accepts() {
        let text = |job: &str| {
            format!(
                "name = \"a\"\nsummary = \"b\"\nupdates = 1\ndeadline = \"9h\"\nvalidator = [{{ count = 1 }}]\nworker = \
                 [{{ count = 1 }}]\n[[user]]\ncount = 1\njob = [{{ {job} }}]\n"
            )
        };
        let accepted = |network: &str, rest: String| {
            let job = format!("network = \"{network}\", {rest}");
            Scenario::parse("", &text(&job)).is_ok()
        };
        let chain = |steps| accepted(hash_chain::NETWORK, format!("steps = {steps}"));
        assert!(chain(hash_chain::STEPS_MAX));
        assert!(!chain(hash_chain::STEPS_MAX + 1));
        let product = |size| accepted(matmul::NETWORK, format!("size = {size}"));
        assert!(product(matmul::SIZE_MAX));
        assert!(!product(matmul::SIZE_MAX + 1));
        assert!(accepted(
            wasm::NETWORK,
            "guest = \"primes\", numbers = [0, 9]".into()
        ));
    }
}
