//! The emission model: what the contracts do to the books in a period, in whole numbers.
//!
//! Decades of periods run in milliseconds, so thousands of trials are possible. That it is the contracts' arithmetic, to
//! the wei, is shown by playing trials on the contracts themselves ([`super::replay`]).

use std::collections::VecDeque;

use alloy::primitives::U256;
use rand_pcg::{Pcg64, rand_core::Rng};
use smartnodes_evm::emission::ERA_SECONDS;

use super::params::{Key, Params};

/// Wei in one SNO.
const SNO: u128 = 1_000_000_000_000_000_000;
/// A validator's collateral, in wei.
pub const COLLATERAL: u128 = 1_000_000 * SNO;
/// A user's collateral, in wei.
pub const USER_COLLATERAL: u128 = 100 * SNO;
/// Later distributions after which an unclaimed one expires.
const CLAIMABLE_UPDATES: u64 = 500;
/// Seconds from a slashing until the rest of the collateral is paid out.
const UNLOCK_SECONDS: u64 = 30 * 24 * 3_600;
/// The approval percentage at launch.
const APPROVAL_PERCENT: u32 = 66;
/// Parts of a distribution's capacity: so finely is told who claims.
pub const CAPACITY: u32 = 10_000;
/// Which of the generator's sequences: the one that its author proposes.
const STREAM: u128 = 0x0a02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96;
/// One, as probabilities count.
const CERTAIN: u64 = 1 << 32;

/// Emission of an update, era by era.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Seconds between two state updates.
    pub interval_seconds: u64,
    /// Emission of an update in each era, in wei; the last entry holds for all later ones.
    per_update: Vec<u128>,
}

impl Schedule {
    /// The schedule with these parameters, as far as it changes.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        let per_hour = |per_8h: u64| u128::from(per_8h) * SNO / 8;
        let tail = per_hour(params.get(Key::TailPer8h));
        let kept = 100 - u128::from(params.get(Key::Reduction));
        let hours = u128::from(params.interval_hours());
        let mut rate = per_hour(params.get(Key::EmissionPer8h));
        let mut per_update = vec![rate * hours];
        // Whole numbers that only fall come to rest, at the latest at nothing.
        loop {
            let next = (rate * kept / 100).max(tail);
            if next == rate {
                break;
            }
            rate = next;
            per_update.push(rate * hours);
        }
        Self {
            interval_seconds: params.interval_hours() * 3_600,
            per_update,
        }
    }

    /// Emission of an update that is executed so long after deployment, in wei.
    #[must_use]
    pub fn at(&self, elapsed_seconds: u64) -> u128 {
        self.of_era(elapsed_seconds.saturating_sub(self.interval_seconds) / ERA_SECONDS)
    }

    /// Emission of an update of an era, in wei.
    #[must_use]
    pub fn of_era(&self, era: u64) -> u128 {
        let last = self.per_update.len() - 1;
        let place = usize::try_from(era).unwrap_or(last).min(last);
        self.per_update[place]
    }
}

/// How often what happens, in parts of 2^32.
#[derive(Clone, Debug)]
struct Rates {
    missed: u64,
    idle: u64,
    absent: u64,
    slashing: u64,
    /// Of each distribution's [`CAPACITY`], what is never claimed.
    forgotten: u32,
    /// Mean payments in a period, in wei.
    payment: u128,
}

/// What happens in a period, from one execution to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Remainders of collateral that are paid out to validators slashed long ago.
    pub withdrawals: u32,
    /// What is burned of a validator's collateral, in wei.
    pub slashed: Option<u128>,
    /// Validators that lock their collateral and join.
    pub joined: u32,
    /// Whether the user locks its collateral now.
    pub user_joins: bool,
    /// What is escrowed for a job, which the next update completes, in wei.
    pub payment: u128,
    /// Periods that pass without a round.
    pub missed: u32,
    /// Rounds that end without enough approvals: how many approved in each.
    pub failed_votes: Vec<u32>,
    /// Validators that approve the update.
    pub approvals: u32,
    /// Whether anybody worked.
    pub worked: bool,
}

/// The books after a period, in wei. What it says of holders and of the contract is all of the supply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// All SNO.
    pub supply: u128,
    /// Collateral.
    pub locked: u128,
    /// Workers' rewards that are not claimed; in the supply only as far as they came from payments.
    pub unclaimed: u128,
    /// The part of `unclaimed` that came from payments.
    pub unclaimed_payments: u128,
    /// Payments of jobs that are not completed.
    pub escrowed: u128,
    /// Payments of completed jobs that the next distribution pays.
    pub released: u128,
    /// Burned by slashing.
    pub burned: u128,
    /// What the treasury holds.
    pub treasury: u128,
    /// What workers hold.
    pub workers: u128,
    /// What validators hold or have spent.
    pub validators: u128,
}

impl Books {
    /// What the contracts do not hold.
    #[must_use]
    pub fn circulating(&self) -> u128 {
        self.supply - self.locked - self.escrowed - self.released - self.unclaimed_payments
    }
}

/// A distribution of which something is left.
#[derive(Clone, Copy, Debug)]
struct Distribution {
    id: u64,
    /// The workers' part at first.
    pool: u128,
    /// How much of it came from payments.
    payments: u128,
    left: u128,
}

/// A network whose periods are drawn at random.
#[derive(Clone, Debug)]
pub struct Model {
    schedule: Schedule,
    seats: u32,
    rates: Rates,
    slashed: u128,
    random: Pcg64,
    /// The books now.
    pub books: Books,
    /// What all validators have earned so far, in wei.
    pub validators_earned: u128,
    /// What all workers have claimed so far, in wei.
    pub workers_earned: u128,
    /// Validators in the set.
    active: u32,
    user: bool,
    distributions: VecDeque<Distribution>,
    updates: u64,
    /// When the next update is due, in seconds since deployment.
    due: u64,
    /// When the last one was executed, in seconds since deployment.
    now: u64,
    /// When remainders of slashed collateral can be withdrawn, and how much.
    unlocks: VecDeque<(u64, u128)>,
    /// The payment in escrow.
    open_payment: u128,
}

impl Model {
    /// A network at genesis. Each trial of a seed has random numbers of its own, and draws its own rates between
    /// nothing and twice the given ones, because nobody knows them; without `spread` it has the given ones.
    #[must_use]
    pub fn new(params: &Params, schedule: &Schedule, seed: u64, trial: u64, spread: bool) -> Self {
        let mut random = Pcg64::new(u128::from(seed) << 64 | u128::from(trial), STREAM);
        // The first numbers of neighbouring states resemble each other.
        for _ in 0..8 {
            random.next_u64();
        }
        let mut factor = || match random.next_u64() >> 32 {
            drawn if spread => 2 * drawn,
            _ => CERTAIN,
        };
        // Hundredths of a slashing in a year.
        let slashing = factor() * params.get(Key::Slashings) / (100 * params.updates_per_year());
        let mean_payment = u128::from(params.get(Key::PaidJobs)) * SNO;
        let payment = mean_payment * u128::from(factor()) / u128::from(CERTAIN);
        let mut share = |hundredths: u64| (factor() * hundredths / 10_000).min(CERTAIN);
        let rates = Rates {
            missed: share(params.get(Key::Missed)),
            idle: share(params.get(Key::Idle)),
            absent: share(params.get(Key::Absent)),
            slashing: slashing.min(CERTAIN),
            forgotten: u32::try_from(
                share(params.get(Key::Unclaimed)) * u64::from(CAPACITY) / CERTAIN,
            )
            .unwrap_or(CAPACITY),
            payment,
        };
        let seats = u32::try_from(params.get(Key::Validators)).unwrap_or(1);
        let genesis = u128::from(seats) * COLLATERAL;
        Self {
            due: schedule.interval_seconds,
            schedule: schedule.clone(),
            seats,
            rates,
            slashed: u128::from(params.get(Key::Slashed)) * SNO,
            random,
            books: Books {
                supply: genesis,
                locked: genesis,
                ..Books::default()
            },
            validators_earned: 0,
            workers_earned: 0,
            active: seats,
            user: false,
            distributions: VecDeque::new(),
            updates: 0,
            now: 0,
            unlocks: VecDeque::new(),
            open_payment: 0,
        }
    }

    /// When the next update is due, in seconds since deployment.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.due
    }

    /// When the last update was executed, in seconds since deployment.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// State updates executed so far: the last distribution's id.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Parts of a distribution's [`CAPACITY`] whose workers claim.
    #[must_use]
    pub fn claiming(&self) -> u32 {
        CAPACITY - self.rates.forgotten
    }

    /// Lives through a period: what is drawn, and what it does to the books.
    pub fn step(&mut self) -> Period {
        let period = self.draw();
        self.pay_job(&period);
        let quarters = 4 * u64::from(period.missed) + 3 * period.failed_votes.len() as u64;
        let interval = self.schedule.interval_seconds;
        let late = quarters * interval / 4;
        self.now = self.due + late;
        self.due += (late / interval + 1) * interval;
        self.distribute(&period);
        if period.worked {
            self.claim();
        }
        period
    }

    /// Draws what happens, and does what happens before the round.
    fn draw(&mut self) -> Period {
        let withdrawals = self.withdraw();
        let mut slashed = None;
        // The last validator is never slashed: nobody would be left to go on.
        if self.happens(self.rates.slashing) && self.active > 1 {
            slashed = Some(self.slashed);
            self.slash();
        }
        let mut joined = 0;
        while self.active < self.seats && self.books.workers >= COLLATERAL {
            self.books.workers -= COLLATERAL;
            self.books.locked += COLLATERAL;
            self.active += 1;
            joined += 1;
        }
        let user_joins = !self.user && self.books.workers >= USER_COLLATERAL;
        if user_joins {
            self.user = true;
            self.books.workers -= USER_COLLATERAL;
            self.books.locked += USER_COLLATERAL;
        }
        // Between nothing and twice the mean; nobody can pay more than there is.
        let factor = 2 * u128::from(self.random.next_u64() >> 32);
        let wanted = self.rates.payment * factor / u128::from(CERTAIN);
        let payment = if self.user {
            wanted.min(self.books.workers)
        } else {
            0
        };
        let mut missed = 0;
        while missed < 1_000 && self.happens(self.rates.missed) {
            missed += 1;
        }
        let required = (APPROVAL_PERCENT * self.active / 100 + 1).min(self.active);
        let mut failed_votes = Vec::new();
        let approvals = loop {
            let absent = (0..self.active)
                .filter(|_| self.happens(self.rates.absent))
                .count();
            let approvals = self.active - u32::try_from(absent).unwrap_or(self.active);
            if approvals >= required {
                break approvals;
            }
            failed_votes.push(approvals);
            // However unlikely, a trial ends.
            if failed_votes.len() == 1_000 {
                break self.active;
            }
        };
        Period {
            withdrawals,
            slashed,
            joined,
            user_joins,
            payment,
            missed,
            failed_votes,
            approvals,
            worked: !self.happens(self.rates.idle),
        }
    }

    fn happens(&mut self, rate: u64) -> bool {
        self.random.next_u64() >> 32 < rate
    }

    fn withdraw(&mut self) -> u32 {
        let mut count = 0;
        // A period later than the contract allows, so that the seconds that rounds take do not matter.
        while let Some((time, amount)) = self.unlocks.front().copied()
            && time + self.schedule.interval_seconds <= self.now
        {
            self.unlocks.pop_front();
            self.books.locked -= amount;
            self.books.validators += amount;
            count += 1;
        }
        count
    }

    fn slash(&mut self) {
        self.books.supply -= self.slashed;
        self.books.burned += self.slashed;
        self.books.locked -= self.slashed;
        self.active -= 1;
        if self.slashed < COLLATERAL {
            self.unlocks
                .push_back((self.now + UNLOCK_SECONDS, COLLATERAL - self.slashed));
        }
    }

    /// Escrows the payment of a job, which the update of this period completes.
    fn pay_job(&mut self, period: &Period) {
        self.books.workers -= period.payment;
        self.books.escrowed += period.payment;
        self.open_payment = period.payment;
    }

    /// `createMerkleDistribution`, with the completion of the job before it.
    fn distribute(&mut self, period: &Period) {
        let books = &mut self.books;
        let completed = std::mem::take(&mut self.open_payment);
        books.escrowed -= completed;
        books.released += completed;
        self.updates += 1;
        let emission = self.schedule.at(self.now);
        let payments = if period.worked {
            std::mem::take(&mut books.released)
        } else {
            0
        };
        let pool = emission + payments;
        let workers = pool * 85 / 100;
        let worker_payments = payments * 85 / 100;
        books.supply += emission - (workers - worker_payments);
        if period.worked {
            books.unclaimed += workers;
            books.unclaimed_payments += worker_payments;
            self.distributions.push_back(Distribution {
                id: self.updates,
                pool: workers,
                payments: worker_payments,
                left: workers,
            });
        }
        let approvals = u128::from(period.approvals.max(1));
        let paid = pool * 10 / 100 / approvals * approvals;
        books.validators += paid;
        self.validators_earned += paid;
        books.treasury += pool - workers - paid;
        while let Some(oldest) = self.distributions.front().copied()
            && oldest.id + CLAIMABLE_UPDATES < self.updates
        {
            self.distributions.pop_front();
            let rest = payments_in(oldest.left, oldest.payments, oldest.pool);
            books.unclaimed -= oldest.left;
            books.unclaimed_payments -= rest;
            books.treasury += rest;
        }
    }

    /// `claimMerkleRewards` of those who claim.
    fn claim(&mut self) {
        let claiming = u128::from(self.claiming());
        let Some(distribution) = self.distributions.back_mut() else {
            return;
        };
        let Distribution {
            pool,
            payments,
            left,
            ..
        } = *distribution;
        // Below 2^96 times below 2^14.
        let reward = pool * claiming / u128::from(CAPACITY);
        let rest = left - reward;
        let handed_on = payments_in(left, payments, pool) - payments_in(rest, payments, pool);
        distribution.left = rest;
        let books = &mut self.books;
        books.supply += reward - handed_on;
        books.workers += reward;
        self.workers_earned += reward;
        books.unclaimed -= reward;
        books.unclaimed_payments -= handed_on;
    }
}

/// The part of what is left of a pool that came from payments.
fn payments_in(left: u128, payments: u128, pool: u128) -> u128 {
    if payments == 0 {
        return 0;
    }
    match left.checked_mul(payments) {
        Some(product) => product / pool,
        None => {
            let part = U256::from(left) * U256::from(payments) / U256::from(pool);
            // It is at most `payments`, because `left` is at most `pool`.
            part.saturating_to()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smartnodes_evm::emission;

    #[test]
    fn the_schedule_is_the_closed_form() {
        let schedule = Schedule::new(&Params::default());
        for era in 0..30 {
            assert_eq!(
                U256::from(schedule.of_era(era)),
                emission::per_update(era, 8 * 3_600),
                "era {era}"
            );
        }
    }

    #[test]
    fn books_add_up_in_every_period_of_rough_trials() {
        let params = Params::parse([
            "missed-percent=20",
            "idle-percent=20",
            "absent-percent=25",
            "slashings-per-year=20",
            "unclaimed-percent=30",
            "paid-jobs-sno=5000",
            "validators=6",
        ])
        .expect("good");
        let schedule = Schedule::new(&params);
        let (mut slashed, mut failed) = (0, 0);
        for trial in 0..5 {
            let mut model = Model::new(&params, &schedule, 7, trial, true);
            while model.due() <= 3 * ERA_SECONDS {
                let period = model.step();
                slashed += u32::from(period.slashed.is_some());
                failed += period.failed_votes.len();
                let books = model.books;
                let held = books.treasury + books.workers + books.validators;
                assert_eq!(
                    books.circulating(),
                    held,
                    "trial {trial}, update {}",
                    model.updates()
                );
            }
        }
        assert!(
            slashed > 0 && failed > 0,
            "rough enough: {slashed} {failed}"
        );
    }

    #[test]
    fn trials_are_repeatable_and_differ() {
        let params = Params::default();
        let schedule = Schedule::new(&params);
        let end = |seed, trial| {
            let mut model = Model::new(&params, &schedule, seed, trial, true);
            while model.due() <= ERA_SECONDS {
                model.step();
            }
            model.books
        };
        assert_eq!(end(1, 0), end(1, 0));
        assert_ne!(end(1, 0), end(1, 1));
        assert_ne!(end(1, 0), end(2, 0));
    }

    #[test]
    fn the_part_of_payments_is_exact_beyond_128_bits() {
        let big = 1_u128 << 90;
        assert_eq!(payments_in(big, big - 1, big), big - 1);
        assert_eq!(payments_in(big / 2, big - 1, big), (big - 1) / 2);
        assert_eq!(payments_in(7, 0, 10), 0);
    }
}
