//! Peers that claim to be validators: by statements that no chain bears out, or by true ones that are not theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use libp2p::PeerId;
use smartnodes_node::jobs::receipt::{Answer, Receipt, Work, WorkKind, WorkOrder, challenge_task};
use smartnodes_node::p2p::handshake::{Role, RoleStatement, STATEMENT_LIFETIME_SECONDS};
use smartnodes_node::p2p::wire::{Gossip, Refusal, Request, Response};
use smartnodes_node::p2p::{Event, Network, NetworkError};
use smartnodes_node::signed::{Domain, Signed, encode};
use smartnodes_node::store::Store;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::Stand;
use crate::stand::Victim;

/// Wait between two attempts on all victims.
const PACE: Duration = Duration::from_secs(15);

/// How a peer without a seat says that it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disguise {
    /// By statements of its own.
    Claimed,
    /// By statements that were made for another nonce, another asker or another deployment.
    Replayed,
}

pub(super) async fn run(stand: &Stand, disguise: Disguise) -> Result<(), NetworkError> {
    let (network, events) = Network::start(
        stand.wire.transport(&stand.identity)?,
        &stand.identity,
        Role::Validator,
        &[],
        stand.domain,
        stand.clock.clone(),
        Store::in_memory()?,
        &stand.settings,
    )?;
    let impostor = Impostor {
        stand,
        network,
        disguise,
    };
    futures::join!(
        impostor.show_statements(events),
        impostor.ask_for_privileges()
    );
    Ok(())
}

struct Impostor<'a> {
    stand: &'a Stand,
    network: Network,
    disguise: Disguise,
}

impl Impostor<'_> {
    /// Answers handshakes, each in another way than the one before.
    async fn show_statements(&self, mut events: mpsc::Receiver<Event>) {
        let mut turn = 0;
        // By asker, the first statement that it was shown.
        let mut shown = BTreeMap::new();
        while let Some(event) = events.recv().await {
            let Event::Request {
                peer,
                request,
                responder,
            } = event
            else {
                continue;
            };
            let Request::Role { nonce } = request else {
                responder.send(Response::Refused(Refusal::Busy)).await;
                continue;
            };
            turn += 1;
            match self.disguise {
                Disguise::Claimed => {
                    let statement = self.claim(turn, peer, nonce);
                    responder.send(statement).await;
                }
                Disguise::Replayed => {
                    let response = match self.borrowed(turn, peer, nonce).await {
                        Some(relayed) => relayed,
                        None => {
                            let fresh = self.statement(self.own(), peer, nonce);
                            let old = shown.entry(peer).or_insert(fresh).clone();
                            self.stand.deeds.did("replays a statement of its own");
                            old
                        }
                    };
                    responder.send(response).await;
                }
            }
        }
    }

    fn own(&self) -> Address {
        self.stand.identity.address()
    }

    /// That it is a validator: by its own wallet, or by that of one.
    fn claim(&self, turn: usize, peer: PeerId, nonce: B256) -> Response {
        let validators = &self.stand.validators;
        match validators.get(turn % (validators.len() + 1)) {
            Some(victim) => {
                self.stand.deeds.did("signs for a validator's wallet");
                self.statement(victim.wallet, peer, nonce)
            }
            None => {
                self.stand.deeds.did("claims a seat for its own wallet");
                self.statement(self.own(), peer, nonce)
            }
        }
    }

    /// Somebody else's statement for this nonce, or one for another deployment; nothing where it is another trick's turn.
    async fn borrowed(&self, turn: usize, peer: PeerId, nonce: B256) -> Option<Response> {
        match turn % 3 {
            0 => None,
            1 => {
                let foreign = Domain {
                    chain_id: self.stand.domain.chain_id + 1,
                    ..self.stand.domain
                };
                let body = self.body(self.own(), peer, nonce);
                self.stand.deeds.did("shows a statement of another chain");
                let signed = Signed::sign(body, &foreign, &self.stand.identity.wallet);
                Some(Response::Role(Box::new(signed)))
            }
            _ => {
                // Of a validator that is not the one that asks.
                let mut others = self.stand.validators.iter();
                let other = others.find(|victim| victim.peer != peer)?;
                let request = Request::Role { nonce };
                let relayed = self.network.request(other.peer, request).await.ok()?;
                if !matches!(relayed, Response::Role(_)) {
                    return None;
                }
                self.stand.deeds.did("relays a validator's statement");
                Some(relayed)
            }
        }
    }

    fn body(&self, wallet: Address, peer: PeerId, nonce: B256) -> RoleStatement {
        RoleStatement {
            role: Role::Validator,
            wallet,
            networks: Vec::new(),
            capacity: 0,
            prover: self.stand.identity.peer_id().to_bytes(),
            verifier: peer.to_bytes(),
            nonce,
            expires_at: self.stand.clock.now() + STATEMENT_LIFETIME_SECONDS,
        }
    }

    fn statement(&self, wallet: Address, peer: PeerId, nonce: B256) -> Response {
        let body = self.body(wallet, peer, nonce);
        let signed = Signed::sign(body, &self.stand.domain, &self.stand.identity.wallet);
        Response::Role(Box::new(signed))
    }

    /// Asks everyone for what only validators get, and gossips receipts that no validator signed.
    async fn ask_for_privileges(&self) {
        for round in 1.. {
            for victim in self.stand.victims() {
                let address = vec![victim.address.clone()];
                self.network.dial(None, address).await;
            }
            sleep(PACE).await;
            let validators = self.stand.validators.iter().map(|victim| self.spy(victim));
            let workers = self.stand.workers.iter().map(|victim| self.order(victim));
            futures::join!(
                futures::future::join_all(validators),
                futures::future::join_all(workers),
            );
            if self.disguise == Disguise::Claimed {
                self.forge(round).await;
            }
        }
    }

    /// Asks a validator for receipts.
    async fn spy(&self, victim: &Victim) {
        self.stand.deeds.did("asks for receipts");
        let answer = self
            .network
            .request(victim.peer, Request::ReceiptIds { after: B256::ZERO })
            .await;
        if let Ok(Response::ReceiptIds(_)) = answer {
            self.stand.deeds.gained("the receipts of a validator");
        }
    }

    /// Offers a worker a task of its own, and orders it.
    async fn order(&self, victim: &Victim) {
        self.stand.deeds.did("orders work");
        let job = B256::from(rand::random::<[u8; 32]>());
        let offer = Request::Offer { job, task: 0 };
        if let Ok(Response::Accepted) = self.network.request(victim.peer, offer).await {
            self.stand.deeds.gained("a worker's place");
        }
        let order = self.challenge(victim.wallet, self.own(), 1);
        let request = Request::Work(Box::new(order));
        if let Ok(Response::Work(_) | Response::Working) =
            self.network.request(victim.peer, request).await
        {
            self.stand.deeds.gained("a worker's work");
        }
    }

    fn challenge(&self, worker: Address, validator: Address, round: u64) -> WorkOrder {
        let kind = WorkKind::Challenge {
            round,
            index: 0,
            nonce: B256::from(rand::random::<[u8; 32]>()),
        };
        WorkOrder {
            validator,
            worker,
            task: challenge_task(&self.stand.domain, validator, worker, &kind),
            kind,
        }
    }

    /// Gossips two receipts for work that was done, but that no validator has seen: one in its own name, one in a
    /// validator's.
    async fn forge(&self, round: u64) {
        let seat = self.stand.validators.first().map(|victim| victim.wallet);
        for validator in [Some(self.own()), seat].into_iter().flatten() {
            let order = self.challenge(self.own(), validator, round);
            let Ok(output) = order.task.execute().await else {
                continue;
            };
            let (domain, wallet) = (&self.stand.domain, &self.stand.identity.wallet);
            let result = Signed::sign(order.result(&output), domain, wallet);
            let receipt = Receipt {
                validator,
                round,
                issued_at: self.stand.clock.now(),
                work: Work::Challenge(Answer { result, output }),
            };
            let forged = Gossip::Receipt(Box::new(Signed::sign(receipt, domain, wallet)));
            self.network.publish(encode(&forged)).await;
            self.stand
                .deeds
                .did("gossips a receipt that no validator signed");
        }
    }
}
