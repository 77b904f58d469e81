//! Direct requests: sent in turn, received within bounds.

use libp2p::request_response::{self, InboundFailure, Message, OutboundFailure};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::Service;
use crate::p2p::codec::{Direct, FrameError, Framed};
use crate::p2p::limits::IN_FLIGHT_MAX;
use crate::p2p::wire::{Refusal, Response};
use crate::p2p::{Event, RequestError, Responder};

impl Service {
    /// Sends every request whose turn it is.
    pub(super) fn send_due(&mut self) {
        while let Some((peer, request, answer)) = self.outbound.due(Instant::now()) {
            let framed = Direct::Whole(Framed {
                message: *request,
                bytes: 0,
            });
            let requests = &mut self.swarm.behaviour_mut().requests;
            let id = requests.send_request(&peer, framed);
            self.answers.insert(id, (peer, answer));
        }
    }

    pub(super) fn request_event(&mut self, event: request_response::Event<Direct, Response>) {
        match event {
            request_response::Event::Message {
                peer,
                message:
                    Message::Request {
                        request_id,
                        request,
                        channel,
                    },
                ..
            } => {
                let Framed { message, bytes } = match request {
                    Direct::Whole(framed) => framed,
                    Direct::Bad(frame) => {
                        debug!(%peer, error = %frame, "no request");
                        return self.hold(peer, frame.offence());
                    }
                };
                let Some(commands) = self.commands.upgrade() else {
                    return;
                };
                let admitted = self.admit(peer, message.kind(), bytes);
                let under_way = self.inbound.entry(peer).or_default();
                let responder = Responder { channel, commands };
                if !admitted || under_way.len() >= IN_FLIGHT_MAX {
                    return self.answer_busy(responder);
                }
                under_way.insert(request_id);
                let event = Event::Request {
                    peer,
                    request: message,
                    responder,
                };
                if let Err(mpsc::error::TrySendError::Full(Event::Request { responder, .. })) =
                    self.events.try_send(event)
                {
                    self.answer_busy(responder);
                }
            }
            request_response::Event::Message {
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                if let Some((peer, answer)) = self.answers.remove(&request_id) {
                    self.outbound.ended(&peer);
                    let _ = answer.send(Ok(response));
                }
            }
            request_response::Event::OutboundFailure {
                request_id, error, ..
            } => {
                let Some((peer, answer)) = self.answers.remove(&request_id) else {
                    return;
                };
                self.outbound.ended(&peer);
                if let OutboundFailure::Io(error) = &error
                    && let Some(frame) = FrameError::within(error)
                {
                    self.hold(peer, frame.offence());
                }
                let reason = error.to_string();
                let _ = answer.send(Err(RequestError::NoAnswer { peer, reason }));
            }
            request_response::Event::InboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                debug!(%peer, %error, "a request could not be answered");
                self.handled(&peer, &request_id);
                if let InboundFailure::Io(error) = &error
                    && let Some(frame) = FrameError::within(error)
                {
                    self.hold(peer, frame.offence());
                }
            }
            request_response::Event::ResponseSent {
                peer, request_id, ..
            } => self.handled(&peer, &request_id),
        }
    }

    fn handled(&mut self, peer: &libp2p::PeerId, request: &request_response::InboundRequestId) {
        if let Some(under_way) = self.inbound.get_mut(peer) {
            under_way.remove(request);
        }
    }

    fn answer_busy(&mut self, responder: Responder) {
        let busy = Response::Refused(Refusal::Busy);
        let requests = &mut self.swarm.behaviour_mut().requests;
        // An error means that the peer has gone.
        let _ = requests.send_response(responder.channel, busy);
    }
}
