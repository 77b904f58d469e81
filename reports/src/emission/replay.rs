//! Trials of the model played on the contracts: after every update the books of both must be the same, to the wei.

use std::collections::{BTreeMap, VecDeque};

use alloy::primitives::{Address, B256, U256, keccak256};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
    },
    emission::ERA_SECONDS,
    reward_tree::RewardTree,
    state_update::{StateUpdate, job_id},
};
use thiserror::Error;

use super::{
    model::{CAPACITY, COLLATERAL, Model, Period, Schedule, USER_COLLATERAL},
    params::{Key, Params},
};
use crate::network::{Network, NetworkError, Opened, account};

/// The name of the network that is there from the start, for which jobs are paid.
const NETWORK: &str = "hash-chain";
/// Chain seconds after which a validator that has not voted is told to say that it is there. The contract gives it
/// three days.
const SILENCE_SECONDS: u64 = 2 * 24 * 3_600;

/// The books of model and contracts differ.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "trial {trial}, update {update}: {quantity} is {model} wei in the model and {contracts} wei on the contracts"
)]
pub struct Difference {
    /// The trial, from 0.
    pub trial: u64,
    /// The state update, from 1.
    pub update: u64,
    /// What differs.
    pub quantity: &'static str,
    /// In the model.
    pub model: U256,
    /// On the contracts.
    pub contracts: U256,
}

/// What a replay compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// The trial, from 0.
    pub trial: u64,
    /// State updates executed on the contracts.
    pub updates: u64,
    /// Amounts compared.
    pub amounts: u64,
    /// Rounds that ended without enough approvals.
    pub failed_rounds: u64,
    /// Periods without a state update.
    pub missed: u64,
    /// Slashings.
    pub slashings: u64,
    /// Jobs paid.
    pub jobs: u64,
}

/// Plays a trial for `years` on the contracts. `progress` hears of each update.
pub fn replay(
    params: &Params,
    seed: u64,
    trial: u64,
    years: u64,
    mut progress: impl FnMut(u64),
) -> Result<Result<Compared, Difference>, NetworkError> {
    let params = params.with_deployed_schedule();
    let schedule = Schedule::new(&params);
    let mut model = Model::new(&params, &schedule, seed, trial, true);
    let validators = params.get(Key::Validators);
    let mut stage = Stage::new(Network::deploy(schedule.interval_seconds, validators)?);
    let mut compared = Compared {
        trial,
        ..Compared::default()
    };
    while model.due() <= years.saturating_mul(ERA_SECONDS) {
        let due = model.due();
        let period = model.step();
        stage.play(&period, due, model.claiming())?;
        compared.updates += 1;
        compared.failed_rounds += period.failed_votes.len() as u64;
        compared.missed += u64::from(period.missed);
        compared.slashings += u64::from(period.slashed.is_some());
        compared.jobs += u64::from(period.payment > 0);
        for (quantity, of_model, of_contracts) in stage.quantities(&model)? {
            compared.amounts += 1;
            let of_model = U256::from(of_model);
            if of_model != of_contracts {
                return Ok(Err(Difference {
                    trial,
                    update: compared.updates,
                    quantity,
                    model: of_model,
                    contracts: of_contracts,
                }));
            }
        }
        progress(compared.updates);
    }
    Ok(Ok(compared))
}

/// The contracts, and what those who act on them remember.
struct Stage {
    network: Network,
    user: Address,
    /// A worker that never claims.
    forgetful: Address,
    /// When each validator was seen last, in chain seconds.
    seen: BTreeMap<Address, u64>,
    /// Who was slashed, in order, with something left to withdraw.
    slashed: VecDeque<Address>,
    newcomers: u64,
    jobs: u64,
}

impl Stage {
    fn new(network: Network) -> Self {
        let start = network.deployment.start_time;
        let seen = network
            .validators
            .iter()
            .map(|validator| (*validator, start))
            .collect();
        Self {
            network,
            user: account("user", 0),
            forgetful: account("forgetful worker", 0),
            seen,
            slashed: VecDeque::new(),
            newcomers: 0,
            jobs: 0,
        }
    }

    /// Does what happened in a period whose update was due `due` seconds after deployment.
    fn play(&mut self, period: &Period, due: u64, claiming: u32) -> Result<(), NetworkError> {
        let jobs = self.before_round(period)?;
        let interval = self.network.interval_seconds;
        let mut at = self.network.deployment.start_time + due + u64::from(period.missed) * interval;
        for approvals in &period.failed_votes {
            let opened = self.open(at)?;
            self.attempt(&opened, *approvals, period, &jobs, claiming)?;
            self.network.mine_next("a vote that fails")?;
            at = opened.at + interval * 3 / 4;
        }
        let opened = self.open(at)?;
        let content = self.attempt(&opened, period.approvals, period, &jobs, claiming)?;
        self.network.mine_next("voting")?;
        self.execute(&opened, period, content, claiming)
    }

    /// What happens between two rounds, in one block. Returns the jobs that the update completes.
    fn before_round(&mut self, period: &Period) -> Result<Vec<B256>, NetworkError> {
        let (token, core) = (self.network.deployment.token, self.network.deployment.core);
        let timelock = self.network.deployment.timelock;
        let worker = self.network.worker;
        let mut sent = Vec::new();
        for _ in 0..period.withdrawals {
            let Some(validator) = self.slashed.pop_front() else {
                break;
            };
            let call = Core::unlockValidatorCall {};
            sent.push(self.network.send("withdrawing", validator, core, &call)?);
        }
        if let Some(amount) = period.slashed {
            let validator = self.network.validators.remove(0);
            self.seen.remove(&validator);
            let amount_wei = U256::from(amount);
            let call = Token::slashAndUnlockValidatorCall {
                validator,
                amount: amount_wei,
            };
            sent.push(self.network.send("slashing", timelock, token, &call)?);
            if amount < COLLATERAL {
                self.slashed.push_back(validator);
            }
        }
        for _ in 0..period.joined {
            let newcomer = account("newcomer", self.newcomers);
            self.newcomers += 1;
            sent.push(self.network.fund(newcomer)?);
            sent.push(self.give(newcomer, COLLATERAL)?);
            // A block of its own: the ETH must be there before it can pay for gas.
            self.settle(&mut sent)?;
            let call = Core::createValidatorCall {
                publicKeyHash: keccak256(newcomer),
            };
            sent.push(self.network.send("joining", newcomer, core, &call)?);
            self.network.validators.push(newcomer);
            self.seen.insert(newcomer, self.network.chain.timestamp());
        }
        let user_hash = keccak256(self.user);
        if period.user_joins {
            sent.push(self.give(self.user, USER_COLLATERAL)?);
            let call = Core::createUserCall {
                publicKeyHash: user_hash,
            };
            sent.push(
                self.network
                    .send("registering the user", self.user, core, &call)?,
            );
        }
        let mut jobs = Vec::new();
        if period.payment > 0 {
            self.jobs += 1;
            let job_hash = keccak256(self.jobs.to_be_bytes());
            sent.push(self.network.send(
                "paying the user",
                worker,
                token,
                &Token::transferCall {
                    to: self.user,
                    value: U256::from(period.payment),
                },
            )?);
            let call = Core::requestJobCall {
                userHash: user_hash,
                jobHash: job_hash,
                network: NETWORK.to_owned(),
                capacities: Vec::new(),
                payment: period.payment,
            };
            sent.push(
                self.network
                    .send("requesting a job", self.user, core, &call)?,
            );
            jobs.push(job_id(
                self.network.deployment.chain_id,
                core,
                self.user,
                job_hash,
            ));
        }
        self.settle(&mut sent)?;
        Ok(jobs)
    }

    /// Transfers SNO (wei) from the worker, with the next block.
    fn give(&mut self, to: Address, value: u128) -> Result<B256, NetworkError> {
        let call = Token::transferCall {
            to,
            value: U256::from(value),
        };
        let (worker, token) = (self.network.worker, self.network.deployment.token);
        self.network.send("giving SNO", worker, token, &call)
    }

    /// Mines a block for what was sent, all of which must succeed.
    fn settle(&mut self, sent: &mut Vec<B256>) -> Result<(), NetworkError> {
        if sent.is_empty() {
            return Ok(());
        }
        self.network.mine_next("what happens between two rounds")?;
        for hash in sent.drain(..) {
            self.network
                .receipt("what happens between two rounds", hash)?;
        }
        Ok(())
    }

    /// Opens a round at a time (chain seconds); who has been silent for long says first that it is there.
    fn open(&mut self, at: u64) -> Result<Opened, NetworkError> {
        let silent: Vec<Address> = self
            .seen
            .iter()
            .filter(|(_, seen)| at.saturating_sub(**seen) > SILENCE_SECONDS)
            .map(|(validator, _)| *validator)
            .collect();
        let call = Coordinator::reactivateCall {};
        let coordinator = self.network.deployment.coordinator;
        for validator in silent {
            self.network
                .send("reactivating", validator, coordinator, &call)?;
            self.seen.insert(validator, at);
        }
        let opener = self.network.validators[0];
        self.network.open_round(opener, at)
    }

    /// Proposes, and lets so many validators vote; another comes first in each round, so that none is silent for long.
    fn attempt(
        &mut self,
        opened: &Opened,
        approvals: u32,
        period: &Period,
        jobs: &[B256],
        claiming: u32,
    ) -> Result<StateUpdate, NetworkError> {
        let (_, content) = self.content(period, jobs, claiming)?;
        let hash = self.network.propose(opened, &content)?;
        let validators = self.network.validators.clone();
        let first = usize::try_from(opened.round).unwrap_or_default() % validators.len();
        let voters = validators
            .iter()
            .cycle()
            .skip(first)
            .take(approvals as usize);
        for voter in voters {
            self.network.vote(*voter, hash)?;
            self.seen.insert(*voter, self.network.chain.timestamp());
        }
        Ok(content)
    }

    fn content(
        &self,
        period: &Period,
        jobs: &[B256],
        claiming: u32,
    ) -> Result<(RewardTree, StateUpdate), NetworkError> {
        let parts = [
            (self.network.worker, claiming),
            (self.forgetful, CAPACITY - claiming),
        ];
        let leaves = parts
            .into_iter()
            .filter(|(_, capacity)| *capacity > 0)
            .map(|(account, capacity)| (account, U256::from(capacity)))
            .collect();
        let (tree, mut content) = self.network.content(leaves, jobs.to_vec())?;
        if !period.worked {
            content.merkleRoot = B256::ZERO;
            content.totalCapacity = U256::ZERO;
        }
        Ok((tree, content))
    }

    fn execute(
        &mut self,
        opened: &Opened,
        period: &Period,
        content: StateUpdate,
        claiming: u32,
    ) -> Result<(), NetworkError> {
        let coordinator = self.network.deployment.coordinator;
        let (tree, _) = self.content(period, &content.jobIds, claiming)?;
        let call = Coordinator::executeProposalCall {
            proposalNum: 1,
            update: content,
        };
        let step = "executing";
        let execution = self
            .network
            .send(step, opened.proposer(), coordinator, &call)?;
        let claims = period.worked && claiming > 0;
        let claim = claims.then(|| self.network.claim(&tree, U256::from(claiming)));
        let claim = claim.transpose()?;
        // Past the voting window, for not all may have voted.
        let window = self.network.interval_seconds / 32;
        let at = self.network.chain.timestamp() + window;
        self.network.mine_at(step, at)?;
        self.network.receipt(step, execution)?;
        if let Some(claim) = claim {
            self.network.receipt("claiming", claim)?;
        }
        self.network.updates += 1;
        Ok(())
    }

    /// What is compared: its name, in the model, on the contracts.
    fn quantities(&self, model: &Model) -> Result<[(&'static str, u128, U256); 8], NetworkError> {
        let contracts = self.network.books()?;
        let books = &model.books;
        Ok([
            ("the supply", books.supply, contracts.supply),
            (
                "what circulates",
                books.circulating(),
                contracts.circulating,
            ),
            ("what is locked", books.locked, contracts.locked),
            ("what is unclaimed", books.unclaimed, contracts.unclaimed),
            ("what is in escrow", books.escrowed, contracts.escrowed),
            ("what was burned", books.burned, contracts.burned),
            (
                "what the treasury holds",
                books.treasury,
                contracts.treasury,
            ),
            (
                "what workers hold",
                books.workers,
                self.network.balance(self.network.worker)?,
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that can happen happens within two eras, past the first expiries.
    #[test]
    fn rough_trials_are_the_same_on_the_contracts_to_the_wei() {
        let pairs = [
            "interval-hours=73",
            "validators=5",
            "missed-percent=10",
            "idle-percent=10",
            "absent-percent=20",
            "slashings-per-year=12",
            "paid-jobs-sno=20000",
            "unclaimed-percent=20",
        ];
        let params = Params::parse(pairs).expect("good");
        let years = if std::env::var_os("SMARTNODES_LONG").is_some() {
            20
        } else {
            6
        };
        let mut total = Compared::default();
        for trial in 0..2 {
            let compared = replay(&params, 11, trial, years, |_| {}).expect("the contracts run");
            let compared = compared.unwrap_or_else(|difference| panic!("{difference}"));
            total.updates += compared.updates;
            total.failed_rounds += compared.failed_rounds;
            total.missed += compared.missed;
            total.slashings += compared.slashings;
            total.jobs += compared.jobs;
        }
        let seen = [
            total.updates,
            total.failed_rounds,
            total.missed,
            total.slashings,
            total.jobs,
        ];
        assert!(seen.iter().all(|count| *count > 0), "{total:?}");
    }

    #[test]
    fn an_update_that_is_late_beyond_the_last_year_is_paid_at_the_next_eras_rate() {
        let pairs = ["interval-hours=73", "slashings-per-year=2"];
        let params = Params::parse(pairs).expect("good");
        // The last update of this trial's second year comes in its third.
        let mut model = Model::new(&params, &Schedule::new(&params), 10, 10, true);
        while model.due() <= 2 * ERA_SECONDS {
            model.step();
        }
        assert!(model.now() >= 2 * ERA_SECONDS + params.interval_hours() * 3_600);
        let compared = replay(&params, 10, 10, 2, |_| {}).expect("the contracts run");
        assert!(compared.is_ok(), "{compared:?}");
    }

    #[test]
    fn unclaimed_rewards_expire_on_the_contracts_as_in_the_model() {
        // A year has 730 periods, so the first rewards expire in it, after 500 later updates.
        let pairs = [
            "interval-hours=12",
            "unclaimed-percent=40",
            "paid-jobs-sno=3000",
        ];
        let params = Params::parse(pairs).expect("good");
        let compared = replay(&params, 5, 0, 1, |_| {}).expect("the contracts run");
        let compared = compared.unwrap_or_else(|difference| panic!("{difference}"));
        assert!(compared.updates > 510, "{compared:?}");
    }
}
