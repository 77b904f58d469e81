//! What people do on chain besides what their nodes do: validators come and go, claims are tried twice, ETH is refused, the
//! DAO decides.
//!
//! People sit on a host of their own and sign with their hosts' wallets, as an operator does from another machine: their
//! transactions and those of the nodes meet at the same nonces. What they send goes over the wire as plain JSON-RPC; what
//! they want to know of the contracts they see at once. An act without the effect that the scenario states fails the run.

mod claims;
mod error;
mod eth;
mod govern;
mod jobs;
pub mod keys;
mod person;
pub mod stakes;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::Address;
use madsim::runtime::Handle;
use serde::{Deserialize, Serialize};
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};
use smartnodes_evm::deployment::Deployment;
use smartnodes_node::identity::Identity;
use smartnodes_scenarios::{Act, ActKind, ActTime, Change, HostName, Scenario, Side};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use self::error::ActError;
use self::keys::Keys;
use self::person::{Person, Sent};
use self::stakes::Stakes;
use crate::chain_host::ChainHost;
use crate::faults::Target;
use crate::net::Net;
use crate::trace::Trace;
use crate::violation::Violations;
use crate::wire::Endpoint;

/// The host that people sit at, and its address.
const PEOPLE: (&str, Ipv4Addr) = ("people", Ipv4Addr::new(10, 5, 0, 1));

/// What an act did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What was done.
    pub kind: String,
    /// By whose wallet.
    pub by: String,
    /// When it began, in virtual seconds from the start.
    pub at_seconds: f64,
    /// When its last transaction was believed, in virtual seconds from the start.
    pub done_at_seconds: f64,
    /// Transactions that were included in blocks.
    pub transactions: u64,
    /// What became of the last one: "included", or the name of the error with which it was reverted.
    pub effect: String,
}

/// All that people act on.
pub struct Troupe {
    /// The hosts' keys.
    pub identities: BTreeMap<HostName, Identity>,
    /// What their nodes are started with, and their processes.
    pub hosts: BTreeMap<HostName, (Keys, Target)>,
    /// The contracts.
    pub deployment: Deployment,
    /// The chain.
    pub chain: ChainHost,
    /// Where people send transactions.
    pub rpc: SocketAddr,
    /// The network.
    pub net: Net,
    /// The round that was opened last.
    pub rounds: watch::Receiver<u64>,
    /// How many state updates have been executed.
    pub updates: watch::Receiver<u64>,
    /// Where an act without its effect is told.
    pub violations: Violations,
}

/// An act of the run.
struct Entry {
    act: Act,
    /// What it did, once it is over.
    done: Option<Done>,
}

/// The acts of a run. Clones share them.
#[derive(Clone)]
pub struct Acts(Arc<Mutex<Vec<Entry>>>);

impl Acts {
    /// Lets people act, from now as the start of the run.
    pub fn start(scenario: &Scenario, seed: u64, troupe: &Troupe, trace: &Trace) -> Acts {
        let is_far = scenario.side() == Some(Side::Far);
        let planned = scenario.acts.iter().cloned();
        let planned: Vec<Act> = planned.filter(|act| is_far || !act.beyond_limit).collect();
        let entries = planned.iter().map(|act| Entry {
            act: act.clone(),
            done: None,
        });
        let acts = Acts(Arc::new(Mutex::new(entries.collect())));
        if planned.is_empty() {
            return acts;
        }
        let (name, address) = PEOPLE;
        let endpoint = Endpoint::new(name, address.into(), troupe.net.clone(), trace.clone());
        let node = Handle::current()
            .create_node()
            .name(name)
            .ip(address.into())
            .build();
        trace.add_node(node.id(), name);
        let person = Person::new(endpoint, troupe);
        let stakes = Arc::new(Stakes::new(scenario, &troupe.identities));
        let is_struck = scenario.swarm.is_some();
        let start = Instant::now();
        let mut before: Option<oneshot::Receiver<()>> = None;
        for (index, act) in planned.into_iter().enumerate() {
            let (told, done) = oneshot::channel();
            let waited_for = before.replace(done);
            let (acts, person, stakes) = (acts.clone(), person.clone(), stakes.clone());
            let (identities, hosts) = (troupe.identities.clone(), troupe.hosts.clone());
            let (rounds, updates) = (troupe.rounds.clone(), troupe.updates.clone());
            let violations = troupe.violations.clone();
            node.spawn(async move {
                begin(act.when, start, rounds, updates, waited_for).await;
                let at = Trace::now();
                info!(kind = act.kind.name(), by = %act.by, "act");
                let played = Play {
                    person: &person,
                    stakes: &stakes,
                    identities: &identities,
                    hosts: &hosts,
                    seed,
                    index,
                };
                let sent = played.act(&act).await;
                let effect = effect(&sent);
                info!(kind = act.kind.name(), by = %act.by, effect, "act over");
                let wrong = wrong(&act, &sent, is_struck);
                violations.unless(wrong.is_none(), "act-has-effect", || {
                    let wrong = wrong.unwrap_or_default();
                    format!("{} of {}: {wrong}", act.kind.name(), act.by)
                });
                let done = Done {
                    kind: act.kind.name().to_owned(),
                    by: act.by.to_string(),
                    at_seconds: at.as_secs_f64(),
                    done_at_seconds: Trace::now().as_secs_f64(),
                    transactions: sent.as_ref().map_or(0, |sent| sent.len() as u64),
                    effect,
                };
                if let Some(entry) = acts.lock().get_mut(index) {
                    entry.done = Some(done);
                }
                // The next one need not wait for it.
                let _ = told.send(());
            });
        }
        acts
    }

    /// What is not done yet, in words.
    pub fn open(&self) -> Vec<String> {
        let entries = self.lock();
        let open = entries
            .iter()
            .filter(|entry| entry.done.is_none() && !entry.act.may_miss);
        open.map(|Entry { act, .. }| format!("{} of {} is not done", act.kind.name(), act.by))
            .collect()
    }

    /// What has been done, in the order of the file.
    pub fn done(&self) -> Vec<Done> {
        let entries = self.lock();
        entries
            .iter()
            .filter_map(|entry| entry.done.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an act's time. What it waits for may never come: then the run ends without it.
async fn begin(
    when: ActTime,
    start: Instant,
    mut rounds: watch::Receiver<u64>,
    mut updates: watch::Receiver<u64>,
    before: Option<oneshot::Receiver<()>>,
) {
    let came = match when {
        ActTime::At(at) => {
            sleep_until(start + at).await;
            true
        }
        ActTime::Round { number, after } => {
            let came = rounds.wait_for(|round| *round >= number).await.is_ok();
            sleep(after).await;
            came
        }
        ActTime::AfterUpdate(count) => updates.wait_for(|updates| *updates >= count).await.is_ok(),
        ActTime::Next => match before {
            Some(before) => before.await.is_ok(),
            None => true,
        },
    };
    if !came {
        std::future::pending::<()>().await;
    }
}

/// What became of the last transaction.
fn effect(sent: &Result<Vec<Sent>, ActError>) -> String {
    match sent {
        Err(error) => error.to_string(),
        Ok(sent) => match sent.last() {
            None => "nothing".to_owned(),
            Some(Sent { reverted: None, .. }) => "included".to_owned(),
            Some(Sent {
                reverted: Some(name),
                ..
            }) => name.clone(),
        },
    }
}

/// What an act lacks of its stated effect. Where the seed strikes, what it is about may not have come to pass, as a job that
/// is called off may be paid already: then its transactions may fail, but what should fail must not succeed.
fn wrong(act: &Act, sent: &Result<Vec<Sent>, ActError>, is_struck: bool) -> Option<String> {
    let sent = match sent {
        Ok(sent) => sent,
        Err(error) => return Some(error.to_string()),
    };
    let Some((last, others)) = sent.split_last() else {
        return Some("nothing was sent".to_owned());
    };
    let has_failed = sent.iter().any(|sent| sent.reverted.is_some());
    if is_struck && has_failed {
        return None;
    }
    if let Some(failed) = others.iter().find_map(|sent| sent.reverted.as_ref()) {
        return Some(format!("a transaction before the last failed: {failed}"));
    }
    match (&act.reverts, &last.reverted) {
        (None, Some(found)) => Some(format!("its transaction failed: {found}")),
        (Some(expected), None) => Some(format!("it should fail with {expected}, and succeeded")),
        (Some(expected), Some(found)) if expected != found => Some(format!(
            "it should fail with {expected}, and failed with {found}"
        )),
        _ => None,
    }
}

/// One act as it is played.
struct Play<'a> {
    person: &'a Person,
    stakes: &'a Stakes,
    identities: &'a BTreeMap<HostName, Identity>,
    hosts: &'a BTreeMap<HostName, (Keys, Target)>,
    seed: u64,
    /// Its number in the scenario, from 0.
    index: usize,
}

impl Play<'_> {
    fn identity(&self, host: HostName) -> Result<&Identity, ActError> {
        self.identities.get(&host).ok_or(ActError::NoHost(host))
    }

    /// Does what the act says; returns its transactions in their order, the first that failed being the last.
    async fn act(&self, act: &Act) -> Result<Vec<Sent>, ActError> {
        let identity = self.identity(act.by)?;
        let (wallet, person) = (&identity.wallet, self.person);
        let deployment = person.deployment().clone();
        match &act.kind {
            ActKind::Join => {
                let stake = self.stakes.claim(wallet.address());
                let (amount, proof) = stake.ok_or(ActError::NoStake(act.by))?;
                let claim = Token::claimTestnetRewardsCall { amount, proof };
                let register = Core::createValidatorCall {
                    publicKeyHash: identity.public_key_hash(),
                };
                let claimed = person.call(wallet, deployment.token, &claim).await?;
                if claimed.reverted.is_some() {
                    return Ok(vec![claimed]);
                }
                let registered = person.call(wallet, deployment.core, &register).await?;
                Ok(vec![claimed, registered])
            }
            ActKind::Leave => {
                let leave = Coordinator::removeValidatorCall {};
                let left = person.call(wallet, deployment.coordinator, &leave).await?;
                Ok(vec![left])
            }
            ActKind::Rejoin => {
                let enter = Coordinator::addValidatorCall {};
                let entered = person.call(wallet, deployment.coordinator, &enter).await?;
                Ok(vec![entered])
            }
            ActKind::Unlock => {
                let unlock = Core::unlockValidatorCall {};
                Ok(vec![person.call(wallet, deployment.core, &unlock).await?])
            }
            ActKind::ClaimAgain { distribution } => {
                claims::again(person, wallet, act.by, wallet.address(), *distribution).await
            }
            ActKind::ClaimForeign { of, distribution } => {
                let owner = self.identity(*of)?.address();
                claims::again(person, wallet, *of, owner, *distribution).await
            }
            ActKind::ClaimUnknown { distribution } => {
                claims::of_the_future(person, wallet, act.by, *distribution).await
            }
            ActKind::ClaimBatch { distribution } => {
                claims::batch(person, wallet, *distribution).await
            }
            ActKind::ClaimWrongCapacity { distribution } => {
                claims::of_too_much(person, wallet, *distribution).await
            }
            ActKind::CancelJob => jobs::cancel(person, wallet).await,
            ActKind::RotateKey => {
                let label = format!("{} after act {}", act.by, self.index);
                let next = Identity {
                    network: crate::world::identity(self.seed, &label).network,
                    wallet: wallet.clone(),
                };
                keys::rotate(person, self.hosts, act.by, next).await
            }
            ActKind::RefundInEth { payment } => {
                let mark = crate::draw::bytes(self.seed, &format!("job in act {}", self.index));
                eth::refund(person, wallet, payment.wei(), mark.into()).await
            }
            ActKind::Donate { amount } => eth::donate(person, wallet, amount.wei()).await,
            ActKind::Govern {
                change,
                votes,
                hasty,
            } => {
                let voters = votes.iter().map(|host| Ok(&self.identity(*host)?.wallet));
                let voters: Vec<_> = voters.collect::<Result<_, ActError>>()?;
                let of = match change {
                    Change::Slash { of, .. } => self.identity(*of)?.address(),
                    _ => Address::ZERO,
                };
                let plan = govern::Plan {
                    change: *change,
                    of,
                    index: self.index,
                    hasty: *hasty,
                };
                govern::cycle(person, wallet, &voters, plan).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;
    use smartnodes_scenarios::Role;

    use super::*;

    fn act(reverts: Option<&str>) -> Act {
        Act {
            by: HostName {
                role: Role::Worker,
                number: 1,
            },
            kind: ActKind::ClaimAgain { distribution: 1 },
            when: ActTime::Next,
            reverts: reverts.map(str::to_owned),
            may_miss: false,
            beyond_limit: false,
        }
    }

    fn sent(reverted: Option<&str>) -> Sent {
        Sent {
            hash: B256::ZERO,
            created: None,
            reverted: reverted.map(str::to_owned),
        }
    }

    #[test]
    fn an_act_must_have_exactly_the_effect_that_is_stated() {
        let judged = |expected, outcomes: &[Option<&str>]| {
            let sent = outcomes.iter().map(|outcome| sent(*outcome)).collect();
            wrong(&act(expected), &Ok(sent), false).is_none()
        };
        assert!(judged(None, &[None]));
        assert!(judged(None, &[None, None]));
        assert!(judged(Some("A"), &[None, Some("A")]));
        assert!(!judged(None, &[]));
        assert!(!judged(None, &[Some("A")]));
        assert!(!judged(Some("A"), &[None]));
        assert!(!judged(Some("A"), &[Some("B")]));
        assert!(!judged(Some("A"), &[Some("A"), Some("A")]));
        let failed = Err(ActError::NoHost(act(None).by));
        assert!(wrong(&act(None), &failed, false).is_some());
    }
}
