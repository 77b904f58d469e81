//! An account of the protocol kept from the chain's logs, and the rules that every transaction must keep.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256, U256};

use super::Tally;
use super::draws::{Drawn, Draws};
use super::ether::Ether;
use super::events::Seen;
use super::settings::{Settings, approvals};
use super::testnet::Testnet;
use super::truth::Truth;

#[path = "balances.rs"]
mod balances;
#[path = "rounds.rs"]
mod rounds;

pub use balances::Balances;
use rounds::{Round, paid_alike};

/// A rule that was broken, and how.
pub type Broken = (&'static str, String);

/// SNO wei that each genesis validator gets.
const GENESIS_EACH: u128 = 1_000_000 * 10u128.pow(18);
/// A distribution can be claimed while there are no more later ones.
const CLAIMABLE_UPDATES: u64 = 500;
/// Challenges after which a worker must have been paid for one.
const SURELY_PAID: u64 = 3;
/// Parts of a distribution, in per cent: the workers'.
const WORKERS_PERCENT: u128 = 85;

/// What the deployment fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Number of genesis validators.
    pub genesis: u64,
    /// SNO wei that rewards of a testnet may mint in all.
    pub testnet: u128,
    /// When the token was deployed, in chain seconds: the start of era 0.
    pub deployed_at: u64,
    /// Update interval at first, in seconds.
    pub interval: u64,
    /// Share of the snapshot to be exceeded at first, in per cent.
    pub approval_percent: u64,
}

/// The account. Amounts are SNO wei.
#[derive(Debug, Clone)]
pub struct Books {
    terms: Terms,
    settings: Settings,
    truth: Truth,
    supply: U256,
    ether: Ether,
    testnet: Testnet,
    genesis_minted: bool,
    /// Payments of settled jobs that wait for a distribution with capacity.
    released: u128,
    open_jobs: BTreeMap<B256, Job>,
    settled_jobs: BTreeSet<B256>,
    distributions: BTreeMap<u64, Distribution>,
    settled_capacity: u128,
    /// Something has expired that somebody could have claimed.
    has_lapsed: bool,
    claimed_capacity: BTreeMap<Address, u128>,
    claims: u64,
    members: BTreeSet<Address>,
    round: Option<Round>,
    draws: Draws,
    last_executed_round: u64,
    rounds_opened: u64,
    /// Of these, those that another one followed without an update.
    rounds_lost: u64,
    last_opened_round: u64,
    /// Challenges that each worker had done when the last update was executed, and the one before it.
    done_by_last: BTreeMap<Address, u64>,
    done_before_last: BTreeMap<Address, u64>,
    /// How often each invariant was checked.
    checks: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone)]
struct Job {
    payment: u128,
    sno: bool,
}

#[derive(Debug, Clone, Default)]
struct Distribution {
    /// What workers may claim in all.
    pool: u128,
    /// How much of it comes from the emission, and so is to be minted.
    pool_minted: u128,
    capacity: u128,
    claimed: u128,
    claimed_minted: u128,
    claimed_capacity: u128,
    accounts: BTreeSet<Address>,
    expired: bool,
}

/// Collects the rules that one transaction is checked for, and those that it breaks.
#[derive(Default)]
pub(super) struct Broke {
    pub(super) broken: Vec<Broken>,
    checks: Vec<&'static str>,
}

impl Broke {
    pub(super) fn unless(
        &mut self,
        holds: bool,
        invariant: &'static str,
        detail: impl FnOnce() -> String,
    ) {
        self.checks.push(invariant);
        if !holds {
            self.broken.push((invariant, detail()));
        }
    }
}

/// So many per cent of a sum, rounded down.
fn part(sum: u128, percent: u128) -> u128 {
    sum / 100 * percent + sum % 100 * percent / 100
}

impl Books {
    /// Empty books, from before the deployment.
    pub fn new(terms: Terms, truth: Truth) -> Books {
        Books {
            settings: Settings::new(&terms),
            terms,
            truth,
            supply: U256::ZERO,
            ether: Ether::default(),
            testnet: Testnet::default(),
            genesis_minted: false,
            released: 0,
            open_jobs: BTreeMap::new(),
            settled_jobs: BTreeSet::new(),
            distributions: BTreeMap::new(),
            settled_capacity: 0,
            has_lapsed: false,
            claimed_capacity: BTreeMap::new(),
            claims: 0,
            members: BTreeSet::new(),
            round: None,
            draws: Draws::default(),
            last_executed_round: 0,
            rounds_opened: 0,
            rounds_lost: 0,
            last_opened_round: 0,
            done_by_last: BTreeMap::new(),
            done_before_last: BTreeMap::new(),
            checks: BTreeMap::new(),
        }
    }

    /// Enters what one transaction did, at a block's time in chain seconds, and says which rules it breaks.
    pub fn transaction(&mut self, timestamp: u64, seen: &[Seen]) -> Vec<Broken> {
        let mut broke = Broke::default();
        let sum = |of: fn(&Seen) -> Option<U256>| {
            seen.iter()
                .filter_map(of)
                .fold(U256::ZERO, U256::saturating_add)
        };
        let minted = sum(|s| {
            if let Seen::Minted(value) = s {
                Some(*value)
            } else {
                None
            }
        });
        let burned = sum(|s| {
            if let Seen::Burned(value) = s {
                Some(*value)
            } else {
                None
            }
        });
        self.supply = self.supply.saturating_add(minted).saturating_sub(burned);

        let mut explained = U256::ZERO;
        for event in seen {
            match event {
                Seen::JobCreated { .. } | Seen::JobCompleted { .. } | Seen::JobCancelled { .. } => {
                    self.job(event, &mut broke);
                }
                Seen::Distributed { id, pool } => {
                    explained += self.distributed(*id, *pool, timestamp, seen, &mut broke);
                }
                Seen::Expired { id } => self.expired(*id, &mut broke),
                Seen::Claimed {
                    id,
                    account,
                    amount,
                } => {
                    explained += self.claimed(*id, *account, *amount, minted, seen, &mut broke);
                }
                Seen::Executed {
                    round,
                    proposal,
                    distribution,
                } => {
                    self.executed(*round, *proposal, *distribution, seen, &mut broke);
                }
                Seen::TestnetClaimed { account, amount } => {
                    explained += *amount;
                    let broken = self.testnet.claimed(*account, *amount, self.terms.testnet);
                    broke.broken.extend(broken);
                }
                Seen::EthCame(_) | Seen::EthGiven(_) | Seen::EthLeft(_) => self.ether.enter(event),
                Seen::IntervalSet(_) | Seen::ApprovalSet(_) => self.settings.enter(event),
                Seen::Minted(_)
                | Seen::Burned(_)
                | Seen::Paid { .. }
                | Seen::ClaimCall { .. }
                | Seen::ExecuteCall { .. } => {}
                Seen::ValidatorAdded(_)
                | Seen::ValidatorRemoved(_)
                | Seen::Drawn(_)
                | Seen::RoundOpened { .. }
                | Seen::Proposed { .. }
                | Seen::Voted { .. } => self.consensus(event, &mut broke),
            }
        }
        if !self.genesis_minted && !minted.is_zero() {
            self.genesis_minted = true;
            explained = U256::from(GENESIS_EACH) * U256::from(self.terms.genesis);
        }
        broke.unless(minted == explained, "supply", || {
            format!("minted {minted}, of which {explained} is explained")
        });
        self.counted(broke)
    }

    /// Counts what was checked, and says what was broken.
    fn counted(&mut self, broke: Broke) -> Vec<Broken> {
        for invariant in broke.checks {
            *self.checks.entry(invariant).or_default() += 1;
        }
        broke.broken
    }

    /// What was really done.
    pub(super) fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Workers that had done several challenges a whole round before the last update, and were never paid. (A single one
    /// may have been lost with its validator or worker.)
    pub fn unpaid(&self) -> Vec<Address> {
        // What nobody claimed until it expired may be all that somebody had earned.
        if self.has_lapsed {
            return Vec::new();
        }
        let done = self.done_before_last.iter();
        done.filter(|(worker, challenges)| {
            **challenges >= SURELY_PAID && !self.claimed_capacity.contains_key(*worker)
        })
        .map(|(worker, _)| *worker)
        .collect()
    }

    /// How often each validator was drawn to propose, and should have been.
    pub fn draws(&self) -> BTreeMap<Address, Drawn> {
        self.draws.all()
    }

    /// How often each invariant was checked.
    pub fn checks(&self) -> BTreeMap<String, u64> {
        let checks = self.checks.iter();
        checks
            .map(|(name, times)| ((*name).to_owned(), *times))
            .collect()
    }

    fn job(&mut self, event: &Seen, broke: &mut Broke) {
        match event {
            Seen::JobCreated { job, payment, sno } => {
                let again = self.settled_jobs.contains(job);
                let before = self.open_jobs.insert(
                    *job,
                    Job {
                        payment: *payment,
                        sno: *sno,
                    },
                );
                broke.unless(before.is_none() && !again, "job-id-used-once", || {
                    format!("job {job} was created twice")
                });
            }
            Seen::JobCompleted { job, payment, sno } => {
                let open = self.open_jobs.remove(job);
                let as_escrowed =
                    open.is_some_and(|open| open.payment == *payment && open.sno == *sno);
                broke.unless(as_escrowed, "escrow", || {
                    format!("job {job} releases {payment}, which is not its escrow")
                });
                if *sno {
                    self.released = self.released.saturating_add(*payment);
                }
            }
            Seen::JobCancelled { job } => {
                let open = self.open_jobs.remove(job).is_some();
                broke.unless(open, "escrow", || {
                    format!("job {job} is refunded and was not open")
                });
            }
            _ => {}
        }
    }

    /// Returns what the distribution itself must mint.
    fn distributed(
        &mut self,
        id: u64,
        pool: U256,
        timestamp: u64,
        seen: &[Seen],
        broke: &mut Broke,
    ) -> U256 {
        let next = self.distributions.len() as u64 + 1;
        broke.unless(id == next, "distribution-ids-without-gaps", || {
            format!("distribution {id} follows {}", next - 1)
        });
        let call = seen.iter().find_map(|s| {
            if let Seen::ExecuteCall { capacity, .. } = s {
                Some(*capacity)
            } else {
                None
            }
        });
        let capacity: u128 = call.unwrap_or_default().saturating_to();
        let payments = if capacity == 0 {
            0
        } else {
            std::mem::take(&mut self.released)
        };
        let emission = self.settings.emission(self.terms.deployed_at, timestamp);
        let expected = emission.saturating_add(payments);
        broke.unless(pool == U256::from(expected), "emission", || {
            format!("distribution {id} has {pool}, and {emission} of emission with {payments} of payments is {expected}")
        });
        let workers = part(expected, WORKERS_PERCENT);
        let from_payments = part(payments, WORKERS_PERCENT);
        let pool_minted = workers - from_payments;
        let mut distribution = Distribution {
            capacity,
            ..Distribution::default()
        };
        if capacity != 0 {
            (distribution.pool, distribution.pool_minted) = (workers, pool_minted);
        }
        self.distributions.insert(id, distribution);
        U256::from(emission - pool_minted)
    }

    /// What is left of a distribution is nobody's any more: its emission is never minted, its payments are the treasury's.
    fn expired(&mut self, id: u64, broke: &mut Broke) {
        let newest = self.distributions.len() as u64;
        let distribution = self.distributions.get_mut(&id);
        let is_due = id + CLAIMABLE_UPDATES + 1 == newest;
        broke.unless(distribution.is_some() && is_due, "expires-in-time", || {
            format!("distribution {id} expires with distribution {newest}")
        });
        if let Some(distribution) = distribution {
            self.has_lapsed |= distribution.claimed_capacity < distribution.capacity;
            distribution.expired = true;
            distribution.pool = distribution.claimed;
            distribution.pool_minted = distribution.claimed_minted;
            distribution.capacity = distribution.claimed_capacity;
        }
    }

    /// Returns how much of what the transaction minted the claim explains.
    fn claimed(
        &mut self,
        id: u64,
        account: Address,
        amount: U256,
        minted: U256,
        seen: &[Seen],
        broke: &mut Broke,
    ) -> U256 {
        self.claims += 1;
        let Some(distribution) = self.distributions.get_mut(&id) else {
            broke.unless(false, "claims-within-pool", || {
                format!("{account} claims from distribution {id}, which is none")
            });
            return U256::ZERO;
        };
        let expired = distribution.expired;
        broke.unless(!expired, "claims-within-pool", || {
            format!("{account} claims from distribution {id}, which has expired")
        });
        let called = seen.iter().find_map(|s| match s {
            Seen::ClaimCall {
                id: of,
                account: by,
                capacity,
            } if *of == id && *by == account => Some(*capacity),
            _ => None,
        });
        let capacity: u128 = called.unwrap_or_default().saturating_to();
        let first = distribution.accounts.insert(account);
        broke.unless(first, "one-claim-each", || {
            format!("{account} claims twice from distribution {id}")
        });

        let due = U256::from(distribution.pool) * U256::from(capacity)
            / U256::from(distribution.capacity.max(1));
        broke.unless(amount == due, "claim-is-the-share", || {
            format!("{account} is paid {amount} from distribution {id}, its share is {due}")
        });
        let amount: u128 = amount.saturating_to();
        distribution.claimed = distribution.claimed.saturating_add(amount);
        distribution.claimed_capacity = distribution.claimed_capacity.saturating_add(capacity);
        broke.unless(
            distribution.claimed <= distribution.pool,
            "claims-within-pool",
            || {
                format!(
                    "{} claimed of {} in distribution {id}",
                    distribution.claimed, distribution.pool
                )
            },
        );
        let minted: u128 = minted.min(U256::from(amount)).saturating_to();
        distribution.claimed_minted = distribution.claimed_minted.saturating_add(minted);
        broke.unless(
            distribution.claimed_minted <= distribution.pool_minted,
            "supply",
            || {
                format!(
                    "claims of distribution {id} minted more than its emission of {}",
                    distribution.pool_minted
                )
            },
        );
        let total = self.claimed_capacity.entry(account).or_default();
        *total = total.saturating_add(capacity);
        let computed = self.truth.capacity_of(account);
        broke.unless(*total <= computed, "executed-is-true", || {
            format!("{account} was paid for a capacity of {total} and has computed {computed}")
        });
        U256::from(minted)
    }

    fn executed(&mut self, number: u64, proposal: B256, id: u64, seen: &[Seen], broke: &mut Broke) {
        broke.unless(
            number > self.last_executed_round,
            "one-execution-a-round",
            || {
                format!(
                    "round {number} executes after round {}",
                    self.last_executed_round
                )
            },
        );
        self.last_executed_round = self.last_executed_round.max(number);
        let done = self.truth.challenges();
        self.done_before_last = std::mem::replace(&mut self.done_by_last, done);
        self.settings.period_over();
        let last = self.distributions.len() as u64;
        broke.unless(id == last, "distribution-ids-without-gaps", || {
            format!("round {number} names {id}, made {last}")
        });
        let made_up = self.truth.is_made_up(proposal);
        broke.unless(!made_up, "executed-is-true", || {
            format!("round {number} executes {proposal}, which is made up")
        });
        match self.round.take().filter(|round| round.number == number) {
            None => broke.unless(false, "one-execution-a-round", || {
                format!("round {number} executes and is not open")
            }),
            Some(round) => {
                let votes = round.voters_of(proposal).len() as u64;
                let required = approvals(round.snapshot, round.approval_percent);
                broke.unless(votes >= required, "approved", || {
                    format!(
                        "round {number} executes with {votes} votes, {required} of {} are required",
                        round.snapshot
                    )
                });
                paid_alike(number, &round.paid_for(proposal, seen), seen, broke);
            }
        }
        for event in seen {
            let Seen::ExecuteCall { capacity, jobs } = event else {
                continue;
            };
            self.settled_capacity = self
                .settled_capacity
                .saturating_add(capacity.saturating_to());
            let computed = self.truth.capacity();
            broke.unless(
                self.settled_capacity <= computed,
                "executed-is-true",
                || {
                    format!(
                        "updates pay for a capacity of {}, workers have computed {computed}",
                        self.settled_capacity
                    )
                },
            );
            for job in jobs {
                let first = self.settled_jobs.insert(*job);
                broke.unless(first, "job-settled-once", || {
                    format!("job {job} is settled twice")
                });
                let why = self.truth.not_done(*job);
                broke.unless(why.is_none(), "executed-is-true", || {
                    format!("job {job} is settled: {}", why.unwrap_or_default())
                });
            }
        }
    }

    /// Capacity for which an account has been paid so far.
    pub fn claimed_by(&self, account: Address) -> u128 {
        self.claimed_capacity
            .get(&account)
            .copied()
            .unwrap_or_default()
    }

    /// Capacity that all updates so far have settled.
    pub fn settled_capacity(&self) -> u128 {
        self.settled_capacity
    }

    /// What has been counted.
    pub fn tally(&self) -> Tally {
        Tally {
            state_updates: self.distributions.len() as u64,
            claims: self.claims,
            unclaimed_capacity: self
                .distributions
                .values()
                .map(|d| d.capacity.saturating_sub(d.claimed_capacity))
                .sum(),
            open_jobs: self.open_jobs.len() as u64,
            required_approvals: approvals(
                self.members.len() as u64,
                self.settings.approval_percent,
            ),
            rounds_opened: self.rounds_opened,
            rounds_lost: self.rounds_lost,
            last_round: self.last_opened_round,
        }
    }
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
