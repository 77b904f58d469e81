//! Records that do not hold, handed over and served.

use alloy::primitives::{Address, B256};
use libp2p::Multiaddr;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{Quorum, Record as Stored, RecordKey};
use smartnodes_node::p2p::NetworkError;
use smartnodes_node::p2p::handshake::Role;
use smartnodes_node::p2p::records::{
    NodeRecord, RECORD_LIFETIME_SECONDS, Record, node_key, payload_key,
};
use smartnodes_node::round::payload::{Payload, PublishedPayload};
use smartnodes_node::signed::Signed;

use super::raw::{Behaviour, Conduct, FIRST_PORT, Habits, RawPeer};
use crate::Stand;
use crate::stand::Victim;

/// Bytes of a record that is nothing.
const GARBAGE_BYTES: usize = 3_000;
/// How much older an old record is, in seconds.
const OLD_SECONDS: u64 = 3_600;

pub(super) async fn run(stand: &Stand) -> Result<(), NetworkError> {
    let victims = stand.victims().cloned().collect();
    let mut peer = RawPeer::new(
        stand,
        &stand.identity,
        victims,
        FIRST_PORT,
        Habits::default(),
    )?;
    let poison = Poison { stand, turn: 0 };
    // Whoever looks for a validator here finds the attacker in its place.
    for victim in &stand.validators {
        let record = poison.node(victim.wallet, stand.clock.now());
        let poisoned = stored(node_key(victim.wallet), &record);
        // There is room for a few.
        let _ = peer.kad().store_mut().put(poisoned);
    }
    peer.run(poison).await;
    Ok(())
}

fn stored(key: RecordKey, record: &Record) -> Stored {
    Stored::new(key, record.encode())
}

struct Poison<'a> {
    stand: &'a Stand,
    turn: usize,
}

impl Poison<'_> {
    /// A node record of a wallet, which names the attacker as its peer and is signed by the attacker.
    fn node(&self, wallet: Address, sequence: u64) -> Record {
        let body = NodeRecord {
            wallet,
            role: Role::Validator,
            networks: Vec::new(),
            peer: self.stand.identity.peer_id().to_bytes(),
            addresses: vec![self.address()],
            sequence,
            expires_at: sequence + RECORD_LIFETIME_SECONDS,
        };
        Record::Node(self.sign(body))
    }

    fn address(&self) -> Multiaddr {
        self.stand.wire.address(FIRST_PORT)
    }

    fn sign<T: smartnodes_node::signed::Statement>(&self, body: T) -> Signed<T> {
        Signed::sign(body, &self.stand.domain, &self.stand.identity.wallet)
    }

    /// The next record, and what is wrong with it.
    fn next(&mut self, victim: &Victim) -> (Stored, &'static str) {
        self.turn += 1;
        let own = self.stand.identity.address();
        let now = self.stand.clock.now();
        match self.turn % 6 {
            0 => {
                let forged = self.node(victim.wallet, now);
                let key = node_key(victim.wallet);
                (
                    stored(key, &forged),
                    "publishes a record that another should have signed",
                )
            }
            1 => {
                let key = node_key(Address::from(rand::random::<[u8; 20]>()));
                let mut garbage = rand::random::<[u8; 32]>().to_vec();
                garbage.resize(GARBAGE_BYTES, 0xff);
                (
                    Stored::new(key, garbage),
                    "publishes a record that is nothing",
                )
            }
            2 => {
                let key = node_key(victim.wallet);
                (
                    stored(key, &self.node(own, now)),
                    "publishes a record under another's key",
                )
            }
            3 => {
                let expired = now.saturating_sub(2 * RECORD_LIFETIME_SECONDS);
                let record = self.node(own, expired);
                (
                    stored(node_key(own), &record),
                    "publishes a record that has expired",
                )
            }
            4 => {
                let record = self.node(own, now.saturating_sub(OLD_SECONDS));
                (
                    stored(node_key(own), &record),
                    "claims a seat in a record of its own",
                )
            }
            _ => {
                let proposal_hash = B256::from(rand::random::<[u8; 32]>());
                let payload = PublishedPayload {
                    publisher: own,
                    proposal_hash,
                    payload: Payload {
                        round: 1,
                        distribution_id: 1,
                        receipts: Vec::new(),
                        workers: vec![(own, 1_000_000_000)],
                        jobs: Vec::new(),
                        validators_to_remove: Vec::new(),
                        reputation_changes: Vec::new(),
                    },
                };
                let record = Record::Payload(Box::new(self.sign(payload)));
                let key = payload_key(proposal_hash);
                (
                    stored(key, &record),
                    "publishes a payload that does not yield its hash",
                )
            }
        }
    }
}

impl Conduct for Poison<'_> {
    fn attack(&mut self, behaviour: &mut Behaviour, victim: &Victim, _: usize) -> usize {
        let (record, what) = self.next(victim);
        behaviour
            .kad
            .put_record_to(record, [victim.peer].into_iter(), Quorum::One);
        self.stand.deeds.did(what);
        0
    }

    fn looked_up(&mut self) {
        self.stand.deeds.did("serves poison to who looks");
    }
}
