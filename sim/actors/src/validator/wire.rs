//! What a cheating validator says to others.

use std::sync::Arc;

use alloy::primitives::B256;
use libp2p::PeerId;
use libp2p::gossipsub::MessageAcceptance;
use smartnodes_node::p2p::Event;
use smartnodes_node::p2p::wire::{Refusal, Request, Response};
use smartnodes_node::round::payload::SignedPayload;
use tokio::sync::mpsc;
use tracing::info;

use super::{Cheat, ValidatorMisdeed};

/// Hands the swarm's events on to the node's own handling, but for those that the misdeed is about.
pub(super) async fn relay(
    cheat: Arc<Cheat>,
    mut events: mpsc::Receiver<Event>,
    on: mpsc::Sender<Event>,
) {
    while let Some(event) = events.recv().await {
        let passed = match cheat.misdeed {
            ValidatorMisdeed::Silent => cheat.keep_silent(event).await,
            ValidatorMisdeed::Stonewalling => cheat.stonewall(event).await,
            ValidatorMisdeed::Equivocating => cheat.show_another(event).await,
            _ => Some(event),
        };
        let Some(event) = passed else {
            continue;
        };
        if on.send(event).await.is_err() {
            return;
        }
    }
}

impl Cheat {
    async fn keep_silent(&self, event: Event) -> Option<Event> {
        match event {
            Event::Request {
                request: Request::Role { .. },
                ..
            }
            | Event::Connected(_)
            | Event::Disconnected(_) => Some(event),
            Event::Request { responder, .. } => {
                responder.send(Response::Refused(Refusal::NotServed)).await;
                None
            }
            Event::Gossip { ticket, .. } => {
                let network = &self.validator.ctx.network;
                network.judge(ticket, MessageAcceptance::Ignore).await;
                None
            }
            Event::Offered(_) => None,
        }
    }

    async fn show_another(&self, event: Event) -> Option<Event> {
        let Event::Request {
            peer,
            request: Request::Payload { proposal },
            responder,
        } = event
        else {
            return Some(event);
        };
        match self.other_payload(peer, proposal) {
            Some(other) => {
                info!(act = "other-payload", %peer, %proposal, "misdeed");
                responder.send(Response::Payload(Box::new(other))).await;
                None
            }
            None => Some(Event::Request {
                peer,
                request: Request::Payload { proposal },
                responder,
            }),
        }
    }

    /// What every second peer that asks, beginning with the first, is shown under the hash that has been proposed: the same
    /// whenever it asks.
    fn other_payload(&self, peer: PeerId, proposal: B256) -> Option<SignedPayload> {
        let mut made = self.made();
        let made = made.as_mut().filter(|made| made.hash == proposal)?;
        let place = match made.askers.iter().position(|asker| *asker == peer) {
            Some(place) => place,
            None => {
                made.askers.push(peer);
                made.askers.len() - 1
            }
        };
        let other = made.other_payload.as_ref();
        other.filter(|_| place.is_multiple_of(2)).cloned()
    }
}
