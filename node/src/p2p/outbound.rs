//! Requests to peers, held back until the peer's allowance for this node has room.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::RequestError;
use super::limits::{Allowance, Bucket, IN_FLIGHT_MAX, Standing};
use super::wire::{Request, Response};

/// Requests of this node that wait, for their turn or for their answer.
const REQUESTS_MAX: usize = 4_096;

/// Takes the answer to a request.
pub(super) type Answer = oneshot::Sender<Result<Response, RequestError>>;

struct Waiting {
    request: Box<Request>,
    answer: Answer,
    since: Instant,
}

struct Peer {
    in_flight: usize,
    waiting: BTreeMap<&'static str, VecDeque<Waiting>>,
    buckets: BTreeMap<&'static str, Bucket>,
    last_used: Instant,
}

/// The requests of this node.
pub(super) struct Outbound {
    /// What others hold this node to be.
    standing: Standing,
    /// How long a request may wait for its turn.
    patience: Duration,
    peers: BTreeMap<PeerId, Peer>,
    count: usize,
}

impl Outbound {
    pub(super) fn new(standing: Standing, patience: Duration) -> Self {
        Self {
            standing,
            patience,
            peers: BTreeMap::new(),
            count: 0,
        }
    }

    /// Takes a request in, to be sent when [`Outbound::due`] says so.
    pub(super) fn push(
        &mut self,
        peer: PeerId,
        request: Box<Request>,
        answer: Answer,
        now: Instant,
    ) {
        if self.count >= REQUESTS_MAX {
            let reason = format!("{REQUESTS_MAX} requests wait already");
            let _ = answer.send(Err(RequestError::NoAnswer { peer, reason }));
            return;
        }
        self.count += 1;
        let queue = self.peers.entry(peer).or_insert_with(|| Peer {
            in_flight: 0,
            waiting: BTreeMap::new(),
            buckets: BTreeMap::new(),
            last_used: now,
        });
        queue.last_used = now;
        queue
            .waiting
            .entry(request.kind())
            .or_default()
            .push_back(Waiting {
                request,
                answer,
                since: now,
            });
    }

    /// The next request whose turn it is.
    pub(super) fn due(&mut self, now: Instant) -> Option<(PeerId, Box<Request>, Answer)> {
        for (id, peer) in &mut self.peers {
            if peer.in_flight >= IN_FLIGHT_MAX || peer.waiting.is_empty() {
                continue;
            }
            // Kinds of which nothing waits are dropped from the queue, so each of these has a first.
            let turn = peer.waiting.keys().copied().find(|kind| {
                let bucket = peer.buckets.entry(kind).or_insert_with(|| Bucket::new(now));
                bucket.take(Allowance::of(kind, self.standing), 1, now)
            });
            if let Some(kind) = turn
                && let Some(queue) = peer.waiting.get_mut(kind)
            {
                let first = queue.pop_front();
                if queue.is_empty() {
                    peer.waiting.remove(kind);
                }
                if let Some(first) = first {
                    peer.in_flight += 1;
                    return Some((*id, first.request, first.answer));
                }
            }
        }
        None
    }

    /// A request that was sent has been answered, or has failed.
    pub(super) fn ended(&mut self, peer: &PeerId) {
        self.count = self.count.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
        }
    }

    /// When a request's turn comes by time alone: its allowance is regained then.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        let standing = self.standing;
        let peers = self.peers.values_mut();
        peers
            .filter(|peer| peer.in_flight < IN_FLIGHT_MAX)
            .flat_map(|peer| {
                let buckets = &mut peer.buckets;
                peer.waiting.keys().filter_map(move |kind| {
                    let bucket = buckets.get_mut(kind)?;
                    Some(now + bucket.wait(Allowance::of(kind, standing), now))
                })
            })
            .min()
    }

    /// Fails requests that have waited too long, and forgets peers of which nothing is wanted.
    pub(super) fn expire(&mut self, now: Instant) {
        let patience = self.patience;
        let mut given_up = 0;
        self.peers.retain(|id, peer| {
            peer.waiting.retain(|_, queue| {
                while queue
                    .front()
                    .is_some_and(|first| now >= first.since + patience)
                {
                    if let Some(late) = queue.pop_front() {
                        given_up += 1;
                        let reason = "it is asked as much as it allows already".to_owned();
                        let _ = late
                            .answer
                            .send(Err(RequestError::NoAnswer { peer: *id, reason }));
                    }
                }
                !queue.is_empty()
            });
            // Long enough for every bucket to be full again.
            peer.in_flight > 0
                || !peer.waiting.is_empty()
                || now < peer.last_used + Duration::from_secs(60)
        });
        self.count = self.count.saturating_sub(given_up);
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::{Admission, PeerMeter};
    use super::*;
    use alloy::primitives::B256;

    type Outcome = oneshot::Receiver<Result<Response, RequestError>>;

    fn push(outbound: &mut Outbound, peer: PeerId, request: Request, now: Instant) -> Outcome {
        let (answer, result) = oneshot::channel();
        outbound.push(peer, Box::new(request), answer, now);
        result
    }

    fn status() -> Request {
        Request::JobStatus { job: B256::ZERO }
    }

    #[test]
    fn only_so_many_are_under_way_to_one_peer_and_others_do_not_wait_for_it() {
        let now = Instant::now();
        let (slow, quick) = (PeerId::random(), PeerId::random());
        let mut outbound = Outbound::new(Standing::Member, Duration::from_secs(30));
        let mut held = Vec::new();
        for peer in std::iter::repeat_n(slow, 100).chain([quick]) {
            held.push(push(&mut outbound, peer, status(), now));
        }
        let mut sent = BTreeMap::new();
        while let Some((peer, ..)) = outbound.due(now) {
            *sent.entry(peer).or_insert(0) += 1;
        }
        assert_eq!((sent[&slow], sent[&quick]), (IN_FLIGHT_MAX, 1));
        outbound.ended(&slow);
        assert!(outbound.due(now).is_some() && outbound.due(now).is_none());
    }

    #[test]
    fn what_this_side_sends_the_other_side_admits() {
        let mut now = Instant::now();
        let peer = PeerId::random();
        let mut outbound = Outbound::new(Standing::Member, Duration::from_secs(3_600));
        let _held: Vec<_> = (0..REQUESTS_MAX)
            .map(|_| push(&mut outbound, peer, status(), now))
            .collect();
        let mut other_side = PeerMeter::new(now);
        other_side.standing = Standing::Member;
        let (begin, mut sent) = (now, 0);
        while sent < REQUESTS_MAX {
            while let Some((_, request, _)) = outbound.due(now) {
                assert_eq!(
                    other_side.admit(request.kind(), 40, now),
                    Admission::Granted
                );
                outbound.ended(&peer);
                sent += 1;
            }
            if sent < REQUESTS_MAX {
                let next = outbound.next(now).expect("something waits");
                assert!(next > now, "no busy waiting");
                now = next;
            }
        }
        assert!(now - begin < Duration::from_secs(10));
        assert_eq!(outbound.next(now), None);
    }

    #[test]
    fn what_has_waited_too_long_fails() {
        let now = Instant::now();
        let peer = PeerId::random();
        let mut outbound = Outbound::new(Standing::Member, Duration::from_secs(30));
        let mut results: Vec<_> = (0..IN_FLIGHT_MAX + 1)
            .map(|_| push(&mut outbound, peer, status(), now))
            .collect();
        while outbound.due(now).is_some() {}
        assert_eq!(outbound.next(now), None, "an answer must come first");
        let late = now + Duration::from_secs(30);
        outbound.expire(late);
        let last = results.last_mut().expect("one of them").try_recv();
        assert!(matches!(last, Ok(Err(RequestError::NoAnswer { .. }))));
        assert_eq!(outbound.next(late), None);
        assert_eq!(outbound.count, IN_FLIGHT_MAX);

        let result = (0..=REQUESTS_MAX)
            .map(|_| push(&mut outbound, peer, status(), now))
            .last();
        let refused = result.and_then(|mut result| result.try_recv().ok());
        assert!(matches!(refused, Some(Err(RequestError::NoAnswer { .. }))));
    }
}
