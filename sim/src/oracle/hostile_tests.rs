use serde_json::json;

use super::*;
use crate::world::identity;

const SCENARIO: &str = r#"
name = "a"
summary = "b"
updates = 1
deadline = "9h"
[[validator]]
count = 1
[[worker]]
count = 1
[[worker]]
count = 1
behaviour = "sybils"
[[peer]]
count = 1
behaviour = "impostor"
"#;

struct World {
    hostile: Hostile,
    identities: BTreeMap<HostName, Identity>,
    violations: Violations,
}

impl World {
    fn new() -> World {
        let scenario = Scenario::parse("", SCENARIO).expect("the scenario is good");
        let violations = Violations::default();
        let identities: BTreeMap<HostName, Identity> = scenario
            .hosts()
            .map(|host| (host, identity(1, &host.to_string())))
            .collect();
        World {
            hostile: Hostile::new(&scenario, 1, &identities, &violations),
            identities,
            violations,
        }
    }

    fn peer(&self, host: &str) -> String {
        let host: HostName = host.parse().expect("a host");
        self.identities[&host].peer_id().to_string()
    }

    /// What is violated once `host` has told this.
    fn told(&self, host: &str, target: &str, message: &str, fields: Value) -> Vec<String> {
        let fields = fields.as_object().expect("an object");
        self.hostile.watch(&Seen {
            host,
            target,
            message,
            fields,
        });
        let all = self.violations.all().into_iter();
        all.map(|violation| violation.invariant).collect()
    }

    fn bans(&self, by: &str, peer: String) -> Vec<String> {
        let fields = json!({ "peer": peer, "last": "a flood of requests" });
        let service = "smartnodes_node::p2p::service";
        self.told(by, service, "peer banned for a time", fields)
    }

    fn verifies(&self, by: &str, peer: &str, role: &str) -> Vec<String> {
        let fields = json!({ "peer": self.peer(peer), "role": role });
        let context = "smartnodes_node::roles::context";
        self.told(by, context, "peer verified", fields)
    }
}

type Value = serde_json::Value;

#[test]
fn bans_of_attackers_are_counted_and_those_of_others_are_violations() {
    let world = World::new();
    let none: [String; 0] = [];
    assert_eq!(world.bans("validator-1", world.peer("peer-1")), none);
    assert_eq!(world.bans("worker-1", world.peer("peer-1")), none);
    let attacker = "peer-1".parse().expect("a host");
    assert_eq!(world.hostile.bans(attacker), 2);
    // One of a crowd is the host that has it.
    let sybils: HostName = "worker-2".parse().expect("a host");
    let crowd = crowd_of(1, sybils, Misdeed::Worker(WorkerMisdeed::Sybils));
    let third = crowd[2].peer_id().to_string();
    assert_eq!(world.bans("validator-1", third), none);
    assert_eq!(world.hostile.bans(sybils), 1);
    // What a cheat says of others counts for nothing.
    assert_eq!(world.bans("worker-2", world.peer("worker-1")), none);
    let honest = world.peer("worker-1");
    assert_eq!(world.bans("validator-1", honest), ["honest-not-banned"]);
}

#[test]
fn a_peer_without_a_seat_is_no_validator_whoever_says_so() {
    let world = World::new();
    let none: [String; 0] = [];
    assert_eq!(world.verifies("worker-1", "validator-1", "validator"), none);
    assert_eq!(world.verifies("validator-1", "worker-2", "worker"), none);
    let broken = world.verifies("worker-1", "peer-1", "validator");
    assert_eq!(broken, ["no-impostor-verified"]);
}

#[test]
fn what_a_misdeed_gains_is_seen_at_once() {
    let world = World::new();
    let gained = |host| {
        let fields = json!({ "what": "the receipts of a validator" });
        world.told(
            host,
            "smartnodes_actors::deeds",
            "gained by a misdeed",
            fields,
        )
    };
    assert_eq!(gained("peer-1"), ["attack-gains-nothing"]);
}

#[test]
fn a_node_that_starts_under_attack_is_served_once_another_knows_it() {
    let world = World::new();
    let started = "node started";
    world.told(
        "worker-1",
        "smartnodes_node::node",
        started,
        json!({ "role": "worker" }),
    );
    let worker = "worker-1".parse().expect("a host");
    assert!(world.hostile.lock().unserved.contains_key(&worker));
    world.verifies("validator-1", "worker-1", "worker");
    assert!(world.hostile.lock().unserved.is_empty());
}
