//! Who takes part in a testnet without being a `smartnode` process.

use std::time::Duration;

use alloy::{primitives::Address, sol_types::SolCall};
use libp2p::{Multiaddr, multiaddr::Protocol, tcp};
use smartnodes_actors::{FalseWorker, Misdeed, Speaker};
use smartnodes_evm::bindings::SmartnodesCore as Core;
use smartnodes_node::{
    clock::ChainClock,
    identity::Identity,
    jobs::JobRequest,
    keystore,
    p2p::{BoxedTransport, Event, Network, P2pSettings, handshake::Role, upgrade},
    signed::Domain,
    store::Store,
};
use tokio::sync::mpsc;

use super::Testnet;
use crate::{error::TestnetError, layout::Plan};

/// Gas for the escrow of a payment.
const ESCROW_GAS: u64 = 300_000;

impl Testnet {
    /// Adds a worker that cheats, on real sockets like the others.
    pub fn add_false_worker(
        &self,
        misdeed: Misdeed,
    ) -> Result<(Address, FalseWorker), TestnetError> {
        let identity = keystore::generate();
        let address = identity.address();
        let worker = FalseWorker::start(
            misdeed,
            identity.clone(),
            transport(&identity)?,
            self.validator_addresses()?,
            self.domain(),
            ChainClock::new(self.host.head().1),
            &P2pSettings::default(),
        )
        .map_err(TestnetError::set_up)?;
        Ok((address, worker))
    }

    /// Takes the place of a node that does not run: its keys, on a swarm that listens to receipts, connected to the
    /// validators.
    pub async fn impersonate(
        &self,
        name: &str,
    ) -> Result<(Speaker, Network, mpsc::Receiver<Event>), TestnetError> {
        let plan = self.plan(name)?;
        let speaker = Speaker {
            identity: plan.identity().clone(),
            role: plan.role,
            networks: Vec::new(),
            capacity: 0,
            domain: self.domain(),
            clock: ChainClock::new(self.host.head().1),
        };
        let (network, events) = self.swarm(&speaker, Role::Validator)?;
        for address in self.validator_addresses()? {
            // Known to be one, so that it may send as many receipts as it has.
            if let Some(Protocol::P2p(validator)) = address.iter().last() {
                network.set_standing(validator, Some(Role::Validator)).await;
            }
            network.dial(None, vec![address]).await;
        }
        Ok((speaker, network, events))
    }

    /// Somebody whom nobody has told of anything: a user with new keys, connected to one node and no other.
    pub async fn stranger(
        &self,
        of: &str,
    ) -> Result<(Speaker, Network, mpsc::Receiver<Event>), TestnetError> {
        let speaker = Speaker {
            identity: keystore::generate(),
            role: Role::User,
            networks: Vec::new(),
            capacity: 0,
            domain: self.domain(),
            clock: ChainClock::new(self.host.head().1),
        };
        let (network, events) = self.swarm(&speaker, Role::User)?;
        let address = self.plan(of)?.multiaddr();
        let address = address.parse().map_err(TestnetError::set_up)?;
        network.dial(None, vec![address]).await;
        Ok((speaker, network, events))
    }

    /// A swarm with the keys of `speaker`, connected to nobody yet.
    fn swarm(
        &self,
        speaker: &Speaker,
        role: Role,
    ) -> Result<(Network, mpsc::Receiver<Event>), TestnetError> {
        Network::start(
            transport(&speaker.identity)?,
            &speaker.identity,
            role,
            &[],
            speaker.domain,
            speaker.clock.clone(),
            Store::in_memory().map_err(TestnetError::set_up)?,
            &P2pSettings {
                gossip_heartbeat: Duration::from_secs(1),
                ..P2pSettings::default()
            },
        )
        .map_err(TestnetError::set_up)
    }

    /// Escrows the payments of these jobs from a node's wallet, in as few blocks as they fit.
    pub async fn escrow(&self, name: &str, jobs: &[JobRequest]) -> Result<(), TestnetError> {
        let plan = self.plan(name)?;
        let domain = self.domain();
        let calls: Vec<_> = jobs
            .iter()
            .map(|job| {
                let call = Core::requestJobCall {
                    userHash: plan.identity().public_key_hash(),
                    jobHash: job.job_hash(&domain),
                    network: job.network.clone(),
                    capacities: Vec::new(),
                    payment: job.payment,
                };
                (self.deployment.core, call.abi_encode().into())
            })
            .collect();
        self.host
            .send(&plan.identity().wallet, &calls, ESCROW_GAS)
            .await
    }

    /// Does what governance could have done after a vote and its delays: calls a contract as the timelock.
    pub async fn govern<C: SolCall>(
        &self,
        contract: Address,
        call: &C,
    ) -> Result<(), TestnetError> {
        let payer = &self.plan("user-1")?.identity().wallet;
        let timelock = self.deployment.timelock;
        self.host.impersonate(timelock, payer, contract, call).await
    }

    fn domain(&self) -> Domain {
        Domain {
            chain_id: self.deployment.chain_id,
            core: self.deployment.core,
            coordinator: self.deployment.coordinator,
        }
    }

    fn validator_addresses(&self) -> Result<Vec<Multiaddr>, TestnetError> {
        let validators = self
            .plans
            .iter()
            .filter(|plan| plan.role == Role::Validator);
        validators
            .map(|plan| plan.multiaddr().parse().map_err(TestnetError::set_up))
            .collect()
    }

    fn plan(&self, name: &str) -> Result<&Plan, TestnetError> {
        let plan = self.plans.iter().find(|plan| plan.name == name);
        plan.ok_or_else(|| TestnetError::set_up(format!("there is no {name}")))
    }
}

/// TCP, authenticated and encrypted by Noise.
fn transport(identity: &Identity) -> Result<BoxedTransport, TestnetError> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    upgrade(tcp, identity).map_err(TestnetError::set_up)
}
