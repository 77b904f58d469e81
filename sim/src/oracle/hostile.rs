//! What attacks came to: whether they took place, whether they gained anything, and whether those who play by the rules
//! held the right ones responsible.
//!
//! | invariant | what must hold |
//! | --- | --- |
//! | `attack-takes-place` | every host that is to cheat did so |
//! | `attack-gains-nothing` | none got what it must not get |
//! | `attacker-banned` | peers that send what no honest node sends were banned |
//! | `honest-not-banned` | nobody who plays by the rules was |
//! | `no-impostor-verified` | no honest node took a peer without a seat for a validator |
//! | `newcomers-are-served` | an honest node that starts under attack is known to another within [`SERVED_WITHIN`] |
//! | `liar-loses-reputation` | a false result has cost reputation on chain |
//! | `free-share-capped` | who farms free jobs has at most its part of what is distributed |
//! | `spam-is-refused` | free jobs beyond the quota were refused |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use smartnodes_actors::Deeds;
use smartnodes_actors::user::REFUSED;
use smartnodes_actors::worker::FALSE_RESULT;
use smartnodes_evm::bindings::SmartnodesCore as Core;
use smartnodes_evm::chain::Chain;
use smartnodes_node::identity::Identity;
use smartnodes_scenarios::{
    HostName, Misdeed, PeerMisdeed, Role, Scenario, UserMisdeed, WorkerMisdeed,
};

use super::Oracle;
use crate::host::cheats::crowd_of;
use crate::trace::{Seen, Trace};
use crate::violation::Violations;

/// Within this time of its start, another node has verified who an honest node is.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// Reputation of an account that no update has changed (the rule of SmartnodesCore).
const INITIAL_REPUTATION: u16 = 500;
/// Free jobs come to at most one part of what is distributed in so many (the rule of state updates).
const FREE_SHARE_DIVISOR: u128 = 4;

/// What a host did that does not play by the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// The host.
    pub host: String,
    /// How it misbehaves.
    pub behaviour: String,
    /// How often it did what.
    pub deeds: BTreeMap<String, u64>,
    /// How often honest nodes have banned one of its identities.
    pub bans: u64,
}

/// Watches hosts that do not play by the rules, and those that do. Clones share what they have seen.
#[derive(Clone)]
pub struct Hostile(Arc<Shared>);

struct Shared {
    misdeeds: BTreeMap<HostName, Misdeed>,
    /// Whose each PeerId is, as it is written.
    peers: BTreeMap<String, HostName>,
    /// Accounts of hosts that cheat.
    accounts: BTreeMap<HostName, Vec<Address>>,
    deeds: BTreeMap<HostName, Deeds>,
    /// Hosts that need not find occasion.
    may_idle: BTreeSet<HostName>,
    /// Whether the seed strikes: then those who cheat may have no occasion.
    is_struck: bool,
    /// Whether hosts without a role attack, and nothing else goes wrong besides.
    is_attacked: bool,
    violations: Violations,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bans: BTreeMap<HostName, u64>,
    /// Honest hosts whose nodes have started, when, and that nobody has verified since.
    unserved: BTreeMap<HostName, Duration>,
}

impl Hostile {
    /// For the hosts of a scenario with these keys.
    pub fn new(
        scenario: &Scenario,
        seed: u64,
        identities: &BTreeMap<HostName, Identity>,
        violations: &Violations,
    ) -> Hostile {
        let mut peers = BTreeMap::new();
        let mut accounts: BTreeMap<HostName, Vec<Address>> = BTreeMap::new();
        for (host, identity) in identities {
            peers.insert(identity.peer_id().to_string(), *host);
            let Some(misdeed) = scenario.misdeeds.get(host) else {
                continue;
            };
            let own = accounts.entry(*host).or_default();
            own.push(identity.address());
            for other in crowd_of(seed, *host, *misdeed) {
                peers.insert(other.peer_id().to_string(), *host);
                own.push(other.address());
            }
        }
        let deeds = scenario.misdeeds.keys();
        Hostile(Arc::new(Shared {
            misdeeds: scenario.misdeeds.clone(),
            peers,
            accounts,
            deeds: deeds.map(|host| (*host, Deeds::default())).collect(),
            may_idle: scenario.may_idle.clone(),
            is_struck: scenario.swarm.is_some(),
            is_attacked: scenario.peers > 0 && scenario.swarm.is_none(),
            violations: violations.clone(),
            state: Mutex::default(),
        }))
    }

    /// Where a host counts what it does.
    pub fn deeds(&self, host: HostName) -> Deeds {
        self.0.deeds.get(&host).cloned().unwrap_or_default()
    }

    /// Takes in an event of the trace.
    pub fn watch(&self, event: &Seen<'_>) {
        let Ok(observer) = event.host.parse::<HostName>() else {
            return;
        };
        let text = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
        if self.0.misdeeds.contains_key(&observer) {
            // What an attacker's own parts say of others is of no interest.
            if event.target == "smartnodes_actors::deeds" && event.message == "gained by a misdeed"
            {
                let what = text("what").unwrap_or_default();
                self.violation("attack-gains-nothing", format!("{observer} got {what}"));
            }
            return;
        }
        let peer = || text("peer").and_then(|peer| self.0.peers.get(peer));
        match (event.target, event.message) {
            ("smartnodes_node::p2p::service", "peer banned for a time") => {
                if let Some(peer) = peer() {
                    self.banned(observer, *peer, text("last").unwrap_or_default());
                }
            }
            ("smartnodes_node::roles::context", "peer verified") => {
                if let Some(peer) = peer() {
                    self.served(*peer);
                    if text("role") == Some("validator") {
                        let detail = || format!("{observer} takes {peer} for a validator");
                        self.unless(peer.role == Role::Validator, "no-impostor-verified", detail);
                    }
                }
            }
            ("smartnodes_node::node", "node started") if self.0.is_attacked => {
                self.lock().unserved.insert(observer, Trace::now());
            }
            _ => {}
        }
    }

    /// An honest node knows who this host is.
    fn served(&self, host: HostName) {
        let started = self.lock().unserved.remove(&host);
        if let Some(started) = started {
            let took = Trace::now().saturating_sub(started);
            let detail = || format!("nobody had verified {host} until {took:?} after its start");
            self.unless(took <= SERVED_WITHIN, "newcomers-are-served", detail);
        }
    }

    fn banned(&self, by: HostName, peer: HostName, last: &str) {
        let cheats = self.0.misdeeds.contains_key(&peer);
        if cheats {
            *self.lock().bans.entry(peer).or_default() += 1;
        }
        let detail = || format!("{by} has banned {peer}, the last reason being {last}");
        self.unless(cheats, "honest-not-banned", detail);
    }

    /// Judges at the end of a run what only the end shows, and says what was done.
    pub fn finish(&self, oracle: &Oracle, chain: &Chain) -> Vec<Acted> {
        let now = Trace::now();
        // Where something did not hold, the run has ended early, perhaps before an attack.
        if self.0.violations.is_empty() {
            for (host, started) in self.lock().unserved.clone() {
                let in_time = now.saturating_sub(started) <= SERVED_WITHIN;
                let detail = || format!("nobody has verified {host}, which started at {started:?}");
                self.unless(in_time, "newcomers-are-served", detail);
            }
            for (host, misdeed) in &self.0.misdeeds {
                if !self.0.may_idle.contains(host) {
                    self.judge(*host, *misdeed, oracle, chain);
                }
            }
            self.judge_farms(oracle);
        }
        let acted = self.0.misdeeds.iter().map(|(host, misdeed)| Acted {
            host: host.to_string(),
            behaviour: misdeed.to_string(),
            deeds: self
                .deeds(*host)
                .done()
                .into_iter()
                .map(|(what, times)| (what.to_owned(), times))
                .collect(),
            bans: self.bans(*host),
        });
        acted.collect()
    }

    fn judge(&self, host: HostName, misdeed: Misdeed, oracle: &Oracle, chain: &Chain) {
        let done = self.deeds(host).done();
        let detail = || format!("{host} ({misdeed}) has done nothing");
        let holds = !done.is_empty() || self.0.is_struck;
        self.unless(holds, "attack-takes-place", detail);
        if done.is_empty() {
            return;
        }
        // What it got was told when it got it.
        self.0.violations.checked("attack-gains-nothing");
        if is_to_be_banned(misdeed) {
            let detail = || format!("nobody has banned {host} ({misdeed})");
            self.unless(self.bans(host) > 0, "attacker-banned", detail);
        }
        if done.contains_key(FALSE_RESULT) {
            let accounts = self.0.accounts.get(&host).into_iter().flatten();
            let found: Result<BTreeSet<u16>, _> = accounts
                .map(|account| {
                    let account = *account;
                    chain.read(
                        oracle.deployment().core,
                        &Core::reputationOfCall { account },
                    )
                })
                .collect();
            match found.map(|found| found.first().copied()) {
                Ok(lowest) => {
                    let lost = lowest.is_some_and(|lowest| lowest < INITIAL_REPUTATION);
                    let detail = || format!("{host} ({misdeed}) has lied and lost no reputation");
                    self.unless(lost, "liar-loses-reputation", detail);
                }
                Err(error) => self.violation("chain-readable", error.to_string()),
            }
        }
        if misdeed == Misdeed::User(UserMisdeed::Spamming) {
            let detail = || format!("no job of {host} was refused");
            self.unless(done.contains_key(REFUSED), "spam-is-refused", detail);
        }
    }

    /// Workers that farm do nothing but the free jobs of users in league with them.
    fn judge_farms(&self, oracle: &Oracle) {
        let farmers = self
            .0
            .misdeeds
            .iter()
            .filter(|(_, misdeed)| **misdeed == Misdeed::Worker(WorkerMisdeed::Farming));
        let mut farmers = farmers.peekable();
        if farmers.peek().is_none() {
            return;
        }
        let accounts =
            farmers.flat_map(|(host, _)| self.0.accounts.get(host).into_iter().flatten());
        let books = oracle.books();
        let claimed: u128 = accounts.map(|account| books.claimed_by(*account)).sum();
        let settled = books.settled_capacity();
        let detail = || format!("farmers were paid for {claimed} of a capacity of {settled}");
        let holds = claimed <= settled / FREE_SHARE_DIVISOR;
        self.unless(holds, "free-share-capped", detail);
    }

    fn bans(&self, host: HostName) -> u64 {
        self.lock().bans.get(&host).copied().unwrap_or_default()
    }

    fn unless(&self, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        self.0.violations.unless(holds, invariant, detail);
    }

    fn violation(&self, invariant: &str, detail: String) {
        self.0.violations.add(invariant, detail);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether honest nodes must hold what it does against it until it is banned.
fn is_to_be_banned(misdeed: Misdeed) -> bool {
    matches!(
        misdeed,
        Misdeed::Peer(
            PeerMisdeed::Malformed
                | PeerMisdeed::Poisoner
                | PeerMisdeed::Replayer
                | PeerMisdeed::Flooder
        )
    )
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod tests;
