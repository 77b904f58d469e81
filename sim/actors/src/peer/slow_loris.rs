//! Connections and streams on which almost nothing is sent.

use std::collections::VecDeque;
use std::time::Duration;

use futures::AsyncWriteExt;
use smartnodes_node::p2p::NetworkError;
use tokio::time::sleep;

use super::raw::{Behaviour, Conduct, FIRST_PORT, Habits, RawPeer};
use crate::stand::Victim;
use crate::{Deeds, Stand};

/// Frames to one victim that trickle at once.
const UNDER_WAY_MAX: usize = 8;
/// What the head of each announces, in bytes.
const ANNOUNCED: u32 = 400_000;
/// Bytes that follow it, one by one.
const FOLLOW: usize = 1_000;
/// Wait between two half-open connections to each victim.
const PACE: Duration = Duration::from_secs(2);
/// Half-open connections that are held.
const HELD_MAX: usize = 256;

pub(super) async fn run(stand: &Stand) -> Result<(), NetworkError> {
    let victims = stand.victims().cloned().collect();
    let habits = Habits {
        trickles: true,
        ..Habits::default()
    };
    let peer = RawPeer::new(stand, &stand.identity, victims, FIRST_PORT, habits)?;
    let deeds = stand.deeds.clone();
    futures::join!(peer.run(Trickle { deeds }), half_open(stand));
    Ok(())
}

struct Trickle {
    deeds: Deeds,
}

impl Conduct for Trickle {
    fn attack(&mut self, behaviour: &mut Behaviour, victim: &Victim, under_way: usize) -> usize {
        if under_way >= UNDER_WAY_MAX {
            return 0;
        }
        let bytes = [&ANNOUNCED.to_be_bytes()[..], &[0; FOLLOW]].concat();
        behaviour.direct.send_request(&victim.peer, bytes);
        self.deeds.did("lets a frame trickle");
        1
    }
}

/// Opens connections again and again, says nothing or nonsense on them, and waits.
async fn half_open(stand: &Stand) {
    let mut held = VecDeque::new();
    loop {
        for socket in stand.victims().filter_map(Victim::socket) {
            // An error means that the victim, or the wire, refuses for now.
            let Ok(mut stream) = stand.wire.connect(socket).await else {
                continue;
            };
            stand.deeds.did("leaves a connection half open");
            if held.len() % 2 == 1 {
                // The same goes for this.
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
                let _ = stream.flush().await;
            }
            held.push_back(stream);
            if held.len() > HELD_MAX {
                held.pop_front();
            }
        }
        sleep(PACE).await;
    }
}
