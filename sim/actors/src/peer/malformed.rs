//! Frames that are no messages, or far too large.

use smartnodes_node::p2p::NetworkError;

use super::raw::{Behaviour, Conduct, FIRST_PORT, Habits, RawPeer, frame};
use crate::stand::Victim;
use crate::{Deeds, Stand};

/// Requests to one victim that wait for an answer at once.
const UNDER_WAY_MAX: usize = 4;
/// Bytes of garbage in a frame.
const GARBAGE_BYTES: usize = 1_000;
/// Bytes that follow a head that announces as many as a head can.
const OVERSIZED_BYTES: usize = 64 * 1024;

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
    peer.run(Garbage { deeds, turn: 0 }).await;
    Ok(())
}

struct Garbage {
    deeds: Deeds,
    turn: usize,
}

impl Garbage {
    fn next(&mut self) -> Vec<u8> {
        self.turn += 1;
        let garbage: [u8; 32] = rand::random();
        match self.turn % 3 {
            0 => {
                self.deeds.did("sends a frame that announces 4 GiB");
                vec![0xff; OVERSIZED_BYTES]
            }
            1 => {
                self.deeds.did("sends a frame of garbage");
                frame(&garbage.repeat(GARBAGE_BYTES / garbage.len()))
            }
            _ => {
                self.deeds.did("sends an empty frame");
                frame(&[])
            }
        }
    }
}

impl Conduct for Garbage {
    fn attack(&mut self, behaviour: &mut Behaviour, victim: &Victim, under_way: usize) -> usize {
        if under_way >= UNDER_WAY_MAX {
            return 0;
        }
        let bytes = self.next();
        behaviour.direct.send_request(&victim.peer, bytes);
        1
    }

    fn answer(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        self.deeds.did("answers with garbage");
        Some(vec![0xff; GARBAGE_BYTES])
    }
}
