//! Many identities around one victim, each of which knows nobody but the others.

use futures::future::join_all;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use smartnodes_node::p2p::NetworkError;

use super::raw::{Behaviour, Conduct, FIRST_PORT, Habits, RawPeer};
use crate::stand::Victim;
use crate::{Deeds, Stand};

pub(super) async fn run(stand: &Stand) -> Result<(), NetworkError> {
    // The first of the validators: all identities are around one.
    let victims: Vec<Victim> = stand.validators.iter().take(1).cloned().collect();
    let mut around = Vec::new();
    for (identity, port) in stand.crowd.iter().zip(FIRST_PORT..) {
        let habits = Habits {
            knows_only_told: true,
            ..Habits::default()
        };
        let mut peer = RawPeer::new(stand, identity, victims.clone(), port, habits)?;
        for (other, port) in stand.crowd.iter().zip(FIRST_PORT..) {
            let id = other.peer_id();
            if id != identity.peer_id() {
                let address: Multiaddr = stand.wire.address(port).with(Protocol::P2p(id));
                peer.kad().add_address(&id, address);
            }
        }
        let deeds = stand.deeds.clone();
        around.push(peer.run(Surround { deeds }));
    }
    join_all(around).await;
    Ok(())
}

struct Surround {
    deeds: Deeds,
}

impl Conduct for Surround {
    /// It is enough to be there: the victim takes whoever speaks its protocol into its tables.
    fn attack(&mut self, _: &mut Behaviour, _: &Victim, _: usize) -> usize {
        0
    }

    fn looked_up(&mut self) {
        self.deeds.did("answers a look-up with its own");
    }
}
