//! Workers that cheat and are paid for what they do besides: they take challenges, and claim.
//!
//! Each tells what it has really computed in the words of an honest worker (`work done`), so that whoever compares what was
//! paid with what was done needs to know nothing of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, B256, keccak256};
use alloy::rpc::client::RpcClient;
use futures::future::try_join_all;
use libp2p::PeerId;
use smartnodes_evm::deployment::Deployment;
use smartnodes_node::identity::Identity;
use smartnodes_node::jobs::receipt::{Answer, Receipt, Work, WorkKind, WorkOrder, challenge_task};
use smartnodes_node::node::{NodeConfig, NodeError};
use smartnodes_node::p2p::handshake::Role;
use smartnodes_node::p2p::wire::{Gossip, Refusal, Request, Response};
use smartnodes_node::roles::context::Context;
use smartnodes_node::signed::{Signed, Statement, encode};
use smartnodes_node::work::TaskOutput;
use tokio::time::sleep;
use tracing::info;

use super::member::{Answers, Member};
use super::{CAPACITY, FALSE_RESULT};
use crate::{Deeds, Stand};

/// Time that a job's task takes a worker that has taken far too many.
const OVERLOADED: Duration = Duration::from_secs(20);
/// Wait between two receipts that a worker signs for itself.
const SELF_RECEIPT: Duration = Duration::from_secs(60);

/// How a worker cheats that is paid for what it does besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// It works once, and gives that result for everything after it, challenges included.
    CopiedResult,
    /// It says that it runs far more tasks at once than it can, takes them all, and signs receipts for itself.
    OverClaim,
    /// It has many identities and one computation for all of them.
    Sybils,
    /// It works for these users and for nobody else, challenges included.
    Farming(Vec<Address>),
}

/// What a member needs besides a [`Stand`].
pub struct OnChain {
    /// What it says of itself.
    pub config: NodeConfig,
    /// JSON-RPC clients for the chain's endpoints.
    pub rpc: Vec<RpcClient>,
    /// The contracts.
    pub deployment: Deployment,
}

/// Cheats until it is dropped. It returns only if it cannot begin, or its swarm ends.
pub async fn cheat(conduct: Conduct, stand: &Stand, chain: &OnChain) -> Result<(), NodeError> {
    let deeds = stand.deeds.clone();
    match conduct {
        Conduct::CopiedResult => {
            let copier = Arc::new(Copier {
                deeds,
                answers: Answered::default(),
                kept: Mutex::default(),
            });
            join(&stand.identity, 1, stand, chain)
                .await?
                .serve(copier)
                .await;
        }
        Conduct::OverClaim => {
            let member = join(&stand.identity, CAPACITY, stand, chain).await?;
            let ctx = member.ctx.clone();
            let overloaded = Arc::new(Overloaded {
                deeds: deeds.clone(),
                open: Arc::default(),
                turn: Arc::default(),
            });
            futures::join!(member.serve(overloaded), sign_for_itself(&ctx, &deeds));
        }
        Conduct::Sybils => {
            let one = Arc::new(Sybils {
                deeds,
                answers: Answered::default(),
                computed: tokio::sync::Mutex::default(),
            });
            let all = [&stand.identity].into_iter().chain(&stand.crowd);
            let members = try_join_all(all.map(|identity| join(identity, 1, stand, chain))).await?;
            let serving = members.into_iter().map(|member| member.serve(one.clone()));
            futures::future::join_all(serving).await;
        }
        Conduct::Farming(users) => {
            let farmer = Arc::new(Farmer {
                deeds,
                users,
                answers: Answered::default(),
            });
            join(&stand.identity, CAPACITY, stand, chain)
                .await?
                .serve(farmer)
                .await;
        }
    }
    Ok(())
}

async fn join(
    identity: &Identity,
    capacity: u32,
    stand: &Stand,
    chain: &OnChain,
) -> Result<Member, NodeError> {
    let config = NodeConfig {
        capacity,
        ..chain.config.clone()
    };
    let transport = stand.wire.transport(identity)?;
    let (rpc, deployment) = (chain.rpc.clone(), chain.deployment.clone());
    Member::join(identity.clone(), config, transport, rpc, deployment).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does the work of an order, and tells that it was done.
async fn compute(ctx: &Context, order: &WorkOrder) -> Option<TaskOutput> {
    let output = order.task.execute().await.ok()?;
    tell(ctx, order, &output);
    Some(output)
}

/// Tells that an order has a true result, which is due its pay: nobody can tell it from one that was computed for it.
fn tell(ctx: &Context, order: &WorkOrder, output: &TaskOutput) {
    let capacity = order.task.kind.capacity(output);
    let (job, task) = match order.kind {
        WorkKind::Job { job, task, .. } => (Some(tracing::field::display(job)), Some(task)),
        WorkKind::Challenge { .. } => (None, None),
    };
    let id = order.digest(&ctx.domain);
    info!(order = %id, worker = %ctx.address(), capacity, job, task, "work done");
}

fn signed(ctx: &Context, order: &WorkOrder, output: TaskOutput) -> Answer {
    let result = Signed::sign(order.result(&output), &ctx.domain, &ctx.identity.wallet);
    Answer { result, output }
}

fn refused() -> Response {
    Response::Refused(Refusal::Busy)
}

/// What was answered to which order: asked again, a worker gives the same answer.
#[derive(Default)]
struct Answered(Mutex<BTreeMap<B256, Answer>>);

impl Answered {
    fn before(&self, ctx: &Context, order: &WorkOrder) -> Option<Response> {
        let answer = lock(&self.0).get(&order.digest(&ctx.domain)).cloned();
        answer.map(|answer| Response::Work(Box::new(answer)))
    }

    fn answer(&self, ctx: &Context, order: &WorkOrder, output: TaskOutput) -> Response {
        let answer = signed(ctx, order, output);
        lock(&self.0).insert(order.digest(&ctx.domain), answer.clone());
        Response::Work(Box::new(answer))
    }
}

struct Copier {
    deeds: Deeds,
    answers: Answered,
    /// Its one result of each workload.
    kept: Mutex<BTreeMap<&'static str, TaskOutput>>,
}

impl Answers for Copier {
    async fn answer(&self, ctx: &Context, _: PeerId, request: Request) -> Response {
        let order = match request {
            Request::Offer { .. } => return Response::Accepted,
            Request::Work(order) => *order,
            _ => return refused(),
        };
        if let Some(again) = self.answers.before(ctx, &order) {
            return again;
        }
        if let WorkKind::Job { job, task, .. } = order.kind {
            self.ask_around(ctx, job, task).await;
        }
        let workload = order.task.network();
        let kept = lock(&self.kept).get(workload).cloned();
        let output = match kept {
            Some(output) => {
                self.deeds.did("returns the result of earlier work");
                // Of a task that is the same to the letter it is true.
                match order.task.execute().await {
                    Ok(truth) if truth == output => tell(ctx, &order, &output),
                    _ => self.deeds.did(FALSE_RESULT),
                }
                output
            }
            None => {
                let Some(output) = compute(ctx, &order).await else {
                    return refused();
                };
                lock(&self.kept).insert(workload, output.clone());
                output
            }
        };
        self.answers.answer(ctx, &order, output)
    }
}

impl Copier {
    /// Somebody else may have done the work already.
    async fn ask_around(&self, ctx: &Context, job: B256, task: u16) {
        for validator in ctx.peers_with(Role::Validator) {
            self.deeds.did("asks for another's result");
            let request = Request::Output { job, task };
            if let Ok(Response::Output(_)) = ctx.network.request(validator.id, request).await {
                self.deeds.gained("another's result");
            }
        }
    }
}

struct Overloaded {
    deeds: Deeds,
    /// Orders for jobs that it has taken, and their answers once they are there.
    open: Arc<Mutex<BTreeMap<B256, Option<Answer>>>>,
    /// Held while it computes: it has one processor.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Answers for Overloaded {
    async fn answer(&self, ctx: &Context, _: PeerId, request: Request) -> Response {
        let order = match request {
            Request::Offer { .. } => {
                self.deeds.did("accepts whatever is offered");
                return Response::Accepted;
            }
            Request::Work(order) => *order,
            _ => return refused(),
        };
        let id = order.digest(&ctx.domain);
        let known = lock(&self.open).get(&id).cloned();
        match known {
            Some(Some(answer)) => return Response::Work(Box::new(answer)),
            Some(None) => return Response::Working,
            None => {}
        }
        if let WorkKind::Challenge { .. } = order.kind {
            let _turn = self.turn.lock().await;
            let Some(output) = compute(ctx, &order).await else {
                return refused();
            };
            let answer = signed(ctx, &order, output);
            lock(&self.open).insert(id, Some(answer.clone()));
            return Response::Work(Box::new(answer));
        }
        lock(&self.open).insert(id, None);
        let _turn = self.turn.lock().await;
        sleep(OVERLOADED).await;
        let Some(output) = compute(ctx, &order).await else {
            return refused();
        };
        let answer = signed(ctx, &order, output);
        lock(&self.open).insert(id, Some(answer.clone()));
        Response::Work(Box::new(answer))
    }
}

/// Gossips receipts for work that it ordered from itself. It did the work, but does not tell so: nobody may count it.
async fn sign_for_itself(ctx: &Context, deeds: &Deeds) {
    loop {
        sleep(SELF_RECEIPT).await;
        let Ok(status) = ctx.chain.round_status().await else {
            continue;
        };
        let own = ctx.address();
        let kind = WorkKind::Challenge {
            round: status.round,
            index: 0,
            nonce: B256::from(rand::random::<[u8; 32]>()),
        };
        let order = WorkOrder {
            validator: own,
            worker: own,
            task: challenge_task(&ctx.domain, own, own, &kind),
            kind,
        };
        let Ok(output) = order.task.execute().await else {
            continue;
        };
        let receipt = Receipt {
            validator: own,
            round: status.round,
            issued_at: ctx.clock.now(),
            work: Work::Challenge(signed(ctx, &order, output)),
        };
        let receipt = Signed::sign(receipt, &ctx.domain, &ctx.identity.wallet);
        let gossip = encode(&Gossip::Receipt(Box::new(receipt)));
        ctx.network.publish(gossip).await;
        deeds.did("signs a receipt for itself");
    }
}

struct Sybils {
    deeds: Deeds,
    answers: Answered,
    /// Results by what they are for, whoever of them was asked: each is computed once. Held while it computes.
    computed: tokio::sync::Mutex<BTreeMap<B256, TaskOutput>>,
}

impl Answers for Sybils {
    async fn answer(&self, ctx: &Context, _: PeerId, request: Request) -> Response {
        let order = match request {
            Request::Offer { .. } => return Response::Accepted,
            Request::Work(order) => *order,
            _ => return refused(),
        };
        let mut computed = self.computed.lock().await;
        if let Some(again) = self.answers.before(ctx, &order) {
            return again;
        }
        let slot = keccak256(match &order.kind {
            WorkKind::Challenge { round, index, .. } => encode(&(order.validator, round, index)),
            WorkKind::Job { job, task, .. } => encode(&(job, task)),
        });
        let output = match computed.get(&slot) {
            Some(output) => {
                self.deeds.did("sells one computation again");
                match order.kind {
                    WorkKind::Challenge { .. } => self.deeds.did(FALSE_RESULT),
                    // Of two replicas of a task each is true.
                    WorkKind::Job { .. } => tell(ctx, &order, output),
                }
                output.clone()
            }
            None => {
                let Some(output) = compute(ctx, &order).await else {
                    return refused();
                };
                computed.insert(slot, output.clone());
                output
            }
        };
        self.answers.answer(ctx, &order, output)
    }
}

struct Farmer {
    deeds: Deeds,
    users: Vec<Address>,
    answers: Answered,
}

impl Answers for Farmer {
    async fn answer(&self, ctx: &Context, _: PeerId, request: Request) -> Response {
        let order = match request {
            Request::Offer { .. } => return Response::Accepted,
            Request::Work(order) => *order,
            _ => return refused(),
        };
        let of_ours = match &order.kind {
            WorkKind::Job { user, .. } => self.users.contains(user),
            WorkKind::Challenge { .. } => false,
        };
        if !of_ours {
            return refused();
        }
        if let Some(again) = self.answers.before(ctx, &order) {
            return again;
        }
        let Some(output) = compute(ctx, &order).await else {
            return refused();
        };
        self.deeds.did("works for a user in league with it");
        self.answers.answer(ctx, &order, output)
    }
}
