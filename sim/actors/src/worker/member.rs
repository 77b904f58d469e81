//! A worker's place in the network, without its work: it is known to the chain and to every validator, and claims what it
//! is paid. What it answers to orders is somebody else's business.

use std::sync::Arc;
use std::time::Duration;

use alloy::rpc::client::RpcClient;
use libp2p::PeerId;
use smartnodes_evm::deployment::Deployment;
use smartnodes_node::chain::ChainClient;
use smartnodes_node::clock::ChainClock;
use smartnodes_node::identity::Identity;
use smartnodes_node::node::{NodeConfig, NodeError};
use smartnodes_node::p2p::handshake::Role;
use smartnodes_node::p2p::wire::{Request, Response};
use smartnodes_node::p2p::{BoxedTransport, Event, Network};
use smartnodes_node::roles::context::Context;
use smartnodes_node::roles::discovery;
use smartnodes_node::round::claims;
use smartnodes_node::signed::Domain;
use smartnodes_node::store::Store;
use smartnodes_node::tasks::JoinSet;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Wait between two registrations with every validator.
const REGISTER: Duration = Duration::from_secs(30);

/// A worker that is a member of the network. Dropped, it is gone.
pub(super) struct Member {
    /// Its keys, connections and chain.
    pub(super) ctx: Arc<Context>,
    events: mpsc::Receiver<Event>,
    tasks: JoinSet<()>,
}

/// What a member answers.
pub(super) trait Answers: Send + Sync + 'static {
    /// The answer to a request of a peer, whoever it is.
    fn answer(
        &self,
        ctx: &Context,
        peer: PeerId,
        request: Request,
    ) -> impl Future<Output = Response> + Send;
}

impl Member {
    /// Joins the network.
    pub(super) async fn join(
        identity: Identity,
        config: NodeConfig,
        transport: BoxedTransport,
        rpc: Vec<RpcClient>,
        deployment: Deployment,
    ) -> Result<Member, NodeError> {
        let domain = Domain {
            chain_id: deployment.chain_id,
            core: deployment.core,
            coordinator: deployment.coordinator,
        };
        let store = Store::in_memory()?;
        let chain = ChainClient::connect(
            rpc,
            identity.wallet.clone(),
            deployment,
            store.clone(),
            config.chain.clone(),
        )
        .await?;
        let clock = ChainClock::new(chain.head().await?.timestamp);
        let (network, events) = Network::start(
            transport,
            &identity,
            Role::Worker,
            &config.listen,
            domain,
            clock.clone(),
            store.clone(),
            &config.p2p,
        )?;
        let ctx = Arc::new(Context::new(
            identity, config, network, chain, store, clock, domain,
        ));
        let mut tasks = JoinSet::new();
        tasks.spawn(discovery::run(ctx.clone()));
        tasks.spawn(discovery::renew(ctx.clone()));
        tasks.spawn(claims::run(ctx.clone()));
        Ok(Member { ctx, events, tasks })
    }

    /// Registers with every validator, and answers as it is told to, until its swarm ends.
    pub(super) async fn serve(mut self, answers: Arc<impl Answers>) {
        let mut next = Instant::now() + REGISTER;
        loop {
            let event = tokio::select! {
                biased;
                () = sleep_until(next) => {
                    next = Instant::now() + REGISTER;
                    let ctx = self.ctx.clone();
                    self.tasks.spawn(async move { register(&ctx).await });
                    continue;
                }
                event = self.events.recv() => event,
            };
            while self.tasks.try_join_next().is_some() {}
            let ctx = self.ctx.clone();
            match event {
                None => return,
                Some(Event::Connected(peer)) => {
                    self.tasks.spawn(async move {
                        // A peer that is no validator is of no interest.
                        if ctx.verify_peer(peer).await.is_ok() {
                            register(&ctx).await;
                        }
                    });
                }
                Some(Event::Disconnected(peer)) => {
                    ctx.forget(&peer);
                    ctx.connections_changed.notify_one();
                }
                Some(Event::Request {
                    peer,
                    request: Request::Role { nonce },
                    responder,
                }) => {
                    let statement = Response::Role(Box::new(ctx.role_statement(&peer, nonce)));
                    self.tasks.spawn(responder.send(statement));
                }
                Some(Event::Request {
                    peer,
                    request,
                    responder,
                }) => {
                    let answers = answers.clone();
                    self.tasks.spawn(async move {
                        let answer = answers.answer(&ctx, peer, request).await;
                        responder.send(answer).await;
                    });
                }
                Some(Event::Gossip { .. } | Event::Offered(_)) => {}
            }
        }
    }
}

/// Registers with every validator that is connected.
async fn register(ctx: &Context) {
    for validator in ctx.peers_with(Role::Validator) {
        // It is tried again soon.
        let _ = ctx.network.request(validator.id, Request::Register).await;
    }
}
