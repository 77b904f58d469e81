//! Questions for what nobody has.

use alloy::primitives::B256;
use libp2p::kad::RecordKey;
use smartnodes_node::p2p::NetworkError;
use smartnodes_node::p2p::wire::Request;
use smartnodes_node::signed::encode;

use super::raw::{Behaviour, Conduct, FIRST_PORT, Habits, RawPeer, frame};
use crate::stand::Victim;
use crate::{Deeds, Stand};

/// Questions about jobs that are kept waiting for answers, for each victim: many times what a stranger is allowed.
const UNDER_WAY_MAX: usize = 60;
/// Look-ups of missing keys that begin in one turn.
const LOOKUPS: usize = 2;
/// Look-ups in all: each asks every node that there is.
const LOOKUPS_MAX: usize = 400;

pub(super) async fn run(stand: &Stand) -> Result<(), NetworkError> {
    let victims = stand.victims().cloned().collect();
    let peer = RawPeer::new(
        stand,
        &stand.identity,
        victims,
        FIRST_PORT,
        Habits::default(),
    )?;
    let deeds = stand.deeds.clone();
    peer.run(Questions { deeds, lookups: 0 }).await;
    Ok(())
}

struct Questions {
    deeds: Deeds,
    lookups: usize,
}

impl Conduct for Questions {
    fn attack(&mut self, behaviour: &mut Behaviour, victim: &Victim, under_way: usize) -> usize {
        for _ in 0..LOOKUPS {
            if self.lookups < LOOKUPS_MAX {
                self.lookups += 1;
                let missing: [u8; 32] = rand::random();
                behaviour.kad.get_record(RecordKey::new(&missing));
                self.deeds.did("looks up a missing key");
            }
        }
        let new = UNDER_WAY_MAX.saturating_sub(under_way);
        for _ in 0..new {
            let job = B256::from(rand::random::<[u8; 32]>());
            let question = encode(&Request::JobStatus { job });
            behaviour
                .direct
                .send_request(&victim.peer, frame(&question));
            self.deeds.did("asks about a missing job");
        }
        new
    }
}
