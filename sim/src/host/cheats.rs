//! Hosts that do not play by the rules: actors in a node's place, and users whose node is in order.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use smartnodes_actors::peer::{Attack, attack};
use smartnodes_actors::user::{self, Misuse, crowd};
use smartnodes_actors::worker::conduct::{Conduct, OnChain, cheat};
use smartnodes_actors::{self as actors, Deeds, FalseWorker, RawStream, RawWire, Stand, Victim};
use smartnodes_evm::chain::Chain;
use smartnodes_node::clock::ChainClock;
use smartnodes_node::identity::Identity;
use smartnodes_node::node::{NodeConfig, NodeError};
use smartnodes_node::p2p::{self, BoxedTransport, NetworkError};
use smartnodes_node::roles::RoleState;
use smartnodes_node::roles::user::{User, UserError};
use smartnodes_node::signed::Domain;
use smartnodes_scenarios::{HostName, Misdeed, PeerMisdeed, UserMisdeed, WorkerMisdeed};
use tokio::time::sleep;
use tracing::warn;

use super::{Host, PATIENCE, killed_here, wait_for};
use crate::chain_host::ChainHost;
use crate::wire::{Endpoint, Wire};
use crate::world;

/// How long a worker is down that ends when work begins.
const DOWN: Duration = Duration::from_secs(30);
/// Identities of a crowd besides the host's own.
const CROWD: usize = 4;
/// Identities around a victim.
const AROUND: usize = 16;

/// What a host that cheats is told besides what every host is.
#[derive(Clone)]
pub struct Cheating {
    /// What it does.
    pub deeds: Deeds,
    /// Whom it can attack.
    pub victims: Arc<Victims>,
    /// The chain: what time it is.
    pub chain: ChainHost,
}

/// Who plays by the rules, and who is in league.
#[derive(Default)]
pub struct Victims {
    /// Honest validators.
    pub validators: Vec<Victim>,
    /// Honest workers.
    pub workers: Vec<Victim>,
    /// Wallets of users that farm free jobs.
    pub farm: Vec<Address>,
}

/// The identities of a host that cheats, besides its own.
pub fn crowd_of(seed: u64, name: HostName, misdeed: Misdeed) -> Vec<Identity> {
    let size = match misdeed {
        Misdeed::Peer(PeerMisdeed::Eclipse) => AROUND,
        Misdeed::Worker(WorkerMisdeed::Sybils)
        | Misdeed::User(UserMisdeed::Spamming | UserMisdeed::Farming) => CROWD,
        _ => 0,
    };
    (1..=size)
        .map(|number| world::identity(seed, &format!("{name} as number {number}")))
        .collect()
}

/// The simulated wire, as an attacker on a host uses it.
struct HostWire(Endpoint);

impl RawWire for HostWire {
    fn transport(&self, identity: &Identity) -> Result<BoxedTransport, NetworkError> {
        p2p::upgrade(Wire::new(self.0.clone()), identity)
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn RawStream>>> {
        let endpoint = self.0.clone();
        async move {
            let stream = endpoint.connect(to).await?;
            Ok(Box::new(stream) as Box<dyn RawStream>)
        }
        .boxed()
    }

    fn address(&self, port: u16) -> Multiaddr {
        Multiaddr::from(self.0.address()).with(Protocol::Tcp(port))
    }
}

impl Host {
    /// Does what no honest host does; never ends by itself.
    pub(super) async fn cheat(&self, misdeed: Misdeed) -> Infallible {
        while let Err(error) = self.cheat_once(misdeed).await {
            killed_here().await;
            if !self.can_start_later(&error).await {
                break;
            }
        }
        std::future::pending().await
    }

    async fn cheat_once(&self, misdeed: Misdeed) -> Result<(), NodeError> {
        match misdeed {
            Misdeed::Worker(misdeed) => self.cheat_as_worker(misdeed).await,
            Misdeed::User(misdeed) => self.cheat_as_user(misdeed).await,
            Misdeed::Peer(misdeed) => {
                let attacks = match misdeed {
                    PeerMisdeed::Eclipse => Attack::Eclipse,
                    PeerMisdeed::Poisoner => Attack::Poisoner,
                    PeerMisdeed::Flooder => Attack::Flooder,
                    PeerMisdeed::Replayer => Attack::Replayer,
                    PeerMisdeed::Impostor => Attack::Impostor,
                    PeerMisdeed::Malformed => Attack::Malformed,
                    PeerMisdeed::SlowLoris => Attack::SlowLoris,
                };
                let stand = self.stand(Misdeed::Peer(misdeed));
                Ok(attack(attacks, &stand).await?)
            }
        }
    }

    fn stand(&self, misdeed: Misdeed) -> Stand {
        let Cheating { deeds, victims, .. } = &self.cheating;
        Stand {
            identity: self.keys.now(),
            crowd: crowd_of(self.seed, self.name, misdeed),
            wire: Arc::new(HostWire(self.endpoint.clone())),
            validators: victims.validators.clone(),
            workers: victims.workers.clone(),
            domain: self.domain(),
            clock: self.right_clock(),
            settings: self.config.p2p.clone(),
            deeds: deeds.clone(),
        }
    }

    /// A clock that is right, also when the chain's time has jumped: it follows the blocks for as long as the host runs.
    fn right_clock(&self) -> ChainClock {
        let chain = self.cheating.chain.clone();
        let clock = ChainClock::new(chain.read(Chain::timestamp));
        let following = clock.clone();
        tokio::spawn(async move {
            loop {
                sleep(PATIENCE).await;
                following.observe(chain.read(Chain::timestamp));
            }
        });
        clock
    }

    fn domain(&self) -> Domain {
        Domain {
            chain_id: self.deployment.chain_id,
            core: self.deployment.core,
            coordinator: self.deployment.coordinator,
        }
    }

    async fn cheat_as_worker(&self, misdeed: WorkerMisdeed) -> Result<(), NodeError> {
        let unpaid = match misdeed {
            WorkerMisdeed::FalseResult => actors::Misdeed::FalseResult,
            WorkerMisdeed::Stall => actors::Misdeed::Stall,
            WorkerMisdeed::OverBooked => actors::Misdeed::OverBooked,
            WorkerMisdeed::Crashing => actors::Misdeed::Crashing,
            WorkerMisdeed::CopiedResult => return self.earn(misdeed, Conduct::CopiedResult).await,
            WorkerMisdeed::OverClaim => return self.earn(misdeed, Conduct::OverClaim).await,
            WorkerMisdeed::Sybils => return self.earn(misdeed, Conduct::Sybils).await,
            WorkerMisdeed::Farming => {
                let farm = self.cheating.victims.farm.clone();
                return self.earn(misdeed, Conduct::Farming(farm)).await;
            }
        };
        let clock = self.right_clock();
        loop {
            let (wire, identity) = (HostWire(self.endpoint.clone()), self.keys.now());
            let mut worker = FalseWorker::start_counted(
                unpaid,
                identity.clone(),
                wire.transport(&identity)?,
                self.config.bootstrap.clone(),
                self.domain(),
                clock.clone(),
                &self.config.p2p,
                self.cheating.deeds.clone(),
            )?;
            worker.ended().await;
            drop(worker);
            sleep(DOWN).await;
        }
    }

    /// Cheats as one that is paid for what it does besides.
    async fn earn(&self, misdeed: WorkerMisdeed, conduct: Conduct) -> Result<(), NodeError> {
        let chain = OnChain {
            // It fetches what it wants, and nobody needs to find it.
            config: NodeConfig {
                listen: Vec::new(),
                ..self.config.clone()
            },
            rpc: self.rpc(),
            deployment: self.deployment.clone(),
        };
        let stand = self.stand(Misdeed::Worker(misdeed));
        cheat(conduct, &stand, &chain).await
    }

    async fn cheat_as_user(&self, misdeed: UserMisdeed) -> Result<(), NodeError> {
        let Some(job) = self.jobs.first() else {
            return Ok(());
        };
        let pattern = self.request(0, job);
        let misuse = match misdeed {
            UserMisdeed::Spamming => Misuse::Spamming,
            UserMisdeed::Farming => Misuse::Farming,
            UserMisdeed::Underpaying | UserMisdeed::Vanishing => {
                return self.cheat_with_a_node(misdeed).await;
            }
        };
        let stand = self.stand(Misdeed::User(misdeed));
        Ok(crowd(misuse, &stand, &pattern).await?)
    }

    /// Cheats through a node that is in order.
    async fn cheat_with_a_node(&self, misdeed: UserMisdeed) -> Result<(), NodeError> {
        let node = self.start().await?;
        let RoleState::User(user) = node.role().clone() else {
            return Ok(());
        };
        user.connected().await;
        let deeds = &self.cheating.deeds;
        match misdeed {
            UserMisdeed::Vanishing => self.submit_and_vanish(&user).await,
            _ => {
                if let Some(job) = self.jobs.first() {
                    user::underpay(&user, self.request(0, job), deeds).await;
                }
            }
        }
        Ok(())
    }

    async fn submit_and_vanish(&self, user: &User) {
        for (index, job) in self.jobs.iter().enumerate() {
            let needed = self.needed(user, job).await;
            wait_for(&user.ctx, job.after_update, needed).await;
            let request = self.request(index, job);
            let id = request.job_id(&user.ctx.domain);
            self.truth.submitted(id, request.tasks.len() as u64);
            loop {
                match user::vanish(user, request.clone(), &self.cheating.deeds).await {
                    Ok(()) => break,
                    Err(UserError::Chain(error)) => warn!(%error, "not submitted yet"),
                    Err(error) => {
                        warn!(%error, "job refused");
                        break;
                    }
                }
                sleep(PATIENCE).await;
            }
        }
    }
}
