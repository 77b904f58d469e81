//! The threshold by the contract itself: validators that do nothing but vote, on the bytecode.

use std::collections::BTreeMap;

use alloy::{
    eips::BlockId,
    primitives::{Bytes, TxKind, U256},
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use smartnodes_evm::{bindings::SmartnodesCoordinator as Coordinator, state_update::StateUpdate};

use crate::network::{Network, NetworkError, Opened};

/// Seconds between two state updates, as at launch.
const INTERVAL_SECONDS: u64 = 8 * 3_600;
/// The approval percentage at launch.
pub const LAUNCH_PERCENT: u32 = 66;
/// How long a validator may be silent before it does not count, in seconds.
const SILENCE_SECONDS: u64 = 3 * 24 * 3_600;

/// With how many votes the contract executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// By snapshot and percentage: for each number of votes from none, whether an execution succeeded.
    executed: BTreeMap<(u32, u32), Vec<bool>>,
}

impl Truth {
    /// Whether the contract executed with so many votes; `None` where that was not tried.
    #[must_use]
    pub fn executes(&self, snapshot: u32, percent: u32, votes: u32) -> Option<bool> {
        self.executed
            .get(&(snapshot, percent))?
            .get(votes as usize)
            .copied()
    }

    /// The fewest votes with which the contract executed.
    #[must_use]
    pub fn lowest(&self, snapshot: u32, percent: u32) -> Option<u32> {
        let votes = self.executed.get(&(snapshot, percent))?;
        let lowest = votes.iter().position(|executed| *executed)?;
        u32::try_from(lowest).ok()
    }

    /// All snapshots and percentages that were tried.
    pub fn tried(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.executed.keys().copied()
    }

    /// Executions tried.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.executed.values().map(Vec::len).sum()
    }
}

/// Validators on the contract alone: no node, no network, no work.
#[derive(Debug)]
pub struct Voters {
    network: Network,
    percent: u32,
    /// When the next round can be opened, in chain seconds.
    next: u64,
}

impl Voters {
    /// Deploys the contracts with `n` validators, 1 to 100.
    pub fn new(n: u32) -> Result<Self, NetworkError> {
        let network = Network::deploy(INTERVAL_SECONDS, n.into())?;
        Ok(Self {
            next: network.deployment.start_time + INTERVAL_SECONDS,
            network,
            percent: LAUNCH_PERCENT,
        })
    }

    /// Has governance set the percentage, 51 to 100.
    fn set_percent(&mut self, percent: u32) -> Result<(), NetworkError> {
        if percent == self.percent {
            return Ok(());
        }
        let step = "setting the approval percentage";
        let (timelock, coordinator) = (
            self.network.deployment.timelock,
            self.network.deployment.coordinator,
        );
        // A percentage is at most 100.
        let call = Coordinator::setApprovalPercentageCall {
            newPercent: percent.min(100) as u8,
        };
        let sent = self.network.send(step, timelock, coordinator, &call)?;
        self.network.mine_next(step)?;
        self.network.receipt(step, sent)?;
        self.percent = percent;
        Ok(())
    }

    /// Lets the validators vote one after another and tries to execute before the first vote and after each, with this
    /// percentage. Every attempt is a call of the contract; the first that succeeds is made a transaction at the end.
    pub fn vote_through(&mut self, percent: u32, truth: &mut Truth) -> Result<(), NetworkError> {
        self.set_percent(percent)?;
        let opened = self
            .network
            .open_round(self.network.validators[0], self.next)?;
        let (_, content) = self.content()?;
        let hash = self.network.propose(&opened, &content)?;
        self.network.mine_next("proposing")?;
        // Past the voting window, so that nothing but the number of votes decides.
        let window = self.network.chain.timestamp() + INTERVAL_SECONDS / 32;
        self.network
            .mine_at("waiting for the end of the voting window", window)?;
        let mut executed = vec![self.can_execute(&opened, &content)];
        for validator in self.network.validators.clone() {
            let vote = self.network.vote(validator, hash)?;
            self.network.mine_next("voting")?;
            self.network.receipt("voting", vote)?;
            executed.push(self.can_execute(&opened, &content));
        }
        self.execute(&opened, content)?;
        let n = u32::try_from(self.network.validators.len()).unwrap_or(u32::MAX);
        truth.executed.insert((n, percent), executed);
        Ok(())
    }

    /// A state update in which nobody worked: the vote is what matters.
    fn content(
        &self,
    ) -> Result<(smartnodes_evm::reward_tree::RewardTree, StateUpdate), NetworkError> {
        self.network
            .content(vec![(self.network.worker, U256::from(1))], Vec::new())
    }

    fn call(&self, content: &StateUpdate) -> Coordinator::executeProposalCall {
        Coordinator::executeProposalCall {
            proposalNum: 1,
            update: content.clone(),
        }
    }

    /// Whether the contract would execute now.
    fn can_execute(&self, opened: &Opened, content: &StateUpdate) -> bool {
        let request = TransactionRequest {
            from: Some(opened.proposer()),
            to: Some(TxKind::Call(self.network.deployment.coordinator)),
            input: Bytes::from(self.call(content).abi_encode()).into(),
            ..TransactionRequest::default()
        };
        self.network.chain.call(&request, BlockId::latest()).is_ok()
    }

    fn execute(&mut self, opened: &Opened, content: StateUpdate) -> Result<(), NetworkError> {
        let coordinator = self.network.deployment.coordinator;
        let call = self.call(&content);
        let sent = self
            .network
            .send("executing", opened.proposer(), coordinator, &call)?;
        self.network.mine_next("executing")?;
        self.network.receipt("executing", sent)?;
        self.network.updates += 1;
        self.next =
            self.network.deployment.start_time + (self.network.updates + 1) * INTERVAL_SECONDS;
        Ok(())
    }

    /// The approvals that the contract says a snapshot needs, for each of these numbers of validators, with this
    /// percentage.
    pub fn required_for(
        &mut self,
        percent: u32,
        counts: impl Iterator<Item = u32>,
    ) -> Result<Vec<u32>, NetworkError> {
        self.set_percent(percent)?;
        let coordinator = self.network.deployment.coordinator;
        let required = counts.map(|count| {
            let call = Coordinator::requiredApprovalsForCall {
                count: U256::from(count),
            };
            let required = self
                .network
                .read("asking for the threshold", coordinator, &call)?;
            Ok(required.saturating_to())
        });
        required.collect()
    }

    /// Lets `rounds` rounds pass in which everybody votes, and counts how often each validator is drawn as a proposer.
    /// `progress` hears of each round.
    pub fn count_draws(
        &mut self,
        rounds: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<Draws, NetworkError> {
        let mut drawn: BTreeMap<_, u64> = self
            .network
            .validators
            .iter()
            .map(|validator| (*validator, 0))
            .collect();
        let mut each = 0;
        for round in 1..=rounds {
            let opened = self
                .network
                .open_round(self.network.validators[0], self.next)?;
            each = opened.proposers.len() as u64;
            for proposer in &opened.proposers {
                *drawn.entry(*proposer).or_default() += 1;
            }
            let (_, content) = self.content()?;
            let hash = self.network.propose(&opened, &content)?;
            for validator in self.network.validators.clone() {
                self.network.vote(validator, hash)?;
            }
            self.execute(&opened, content)?;
            progress(round);
        }
        // In the order of the validators, which is that of their joining.
        let counts = self
            .network
            .validators
            .iter()
            .map(|validator| drawn[validator]);
        Ok(Draws {
            rounds,
            each,
            counts: counts.collect(),
        })
    }

    /// Lets `offline` validators be silent from the start, the others vote in every round, and sees when the contract
    /// executes again.
    pub fn recover(&mut self, offline: usize) -> Result<Recovery, NetworkError> {
        let voters: Vec<_> = self
            .network
            .validators
            .iter()
            .skip(offline)
            .copied()
            .collect();
        let Some(opener) = voters.first().copied() else {
            return Ok(Recovery::default());
        };
        let start = self.next;
        let mut first = None;
        loop {
            let opened = self.network.open_round(opener, self.next)?;
            let (snapshot, required) = (opened.snapshot, opened.required);
            first.get_or_insert(required);
            let (_, content) = self.content()?;
            // A drawn proposer may be silent: after a quarter of the interval anybody may propose.
            let proposing = Opened {
                proposers: vec![opener],
                ..opened.clone()
            };
            let quarter = opened.at + INTERVAL_SECONDS / 4;
            self.network.mine_at("waiting for the proposer", quarter)?;
            let hash = self.network.propose(&proposing, &content)?;
            for voter in &voters {
                self.network.vote(*voter, hash)?;
            }
            self.network.mine_next("voting")?;
            let window = self.network.chain.timestamp() + INTERVAL_SECONDS / 32;
            self.network
                .mine_at("waiting for the end of the voting window", window)?;
            let executes = self.can_execute(&proposing, &content);
            let elapsed = self.network.chain.timestamp() - start;
            if executes {
                return Ok(Recovery {
                    required_at_first: first,
                    snapshot_at_last: Some(snapshot),
                    required_at_last: Some(required),
                    hours: Some(elapsed as f64 / 3_600.0),
                });
            }
            if elapsed > 2 * SILENCE_SECONDS {
                return Ok(Recovery {
                    required_at_first: first,
                    snapshot_at_last: Some(snapshot),
                    required_at_last: Some(required),
                    hours: None,
                });
            }
            self.next = opened.at + INTERVAL_SECONDS * 3 / 4;
        }
    }
}

/// How often validators were drawn as proposers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draws {
    /// Rounds drawn.
    pub rounds: u64,
    /// Proposers drawn in each.
    pub each: u64,
    /// How often each validator was.
    pub counts: Vec<u64>,
}

impl Draws {
    /// The chi-square statistic of the counts. Proposers of a round are drawn without putting back, which makes the
    /// counts more even than independent draws; the factor corrects for that.
    #[must_use]
    pub fn chi_square(&self) -> f64 {
        let n = self.counts.len() as f64;
        let each = self.each as f64;
        let expected = self.rounds as f64 * each / n;
        let sum: f64 = self
            .counts
            .iter()
            .map(|count| (*count as f64 - expected).powi(2) / expected)
            .sum();
        sum * (n - 1.0) / (n - each)
    }
}

/// How the contract came through an outage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recovery {
    /// Approvals that the first round needed.
    pub required_at_first: Option<u64>,
    /// Validators that counted in the last round.
    pub snapshot_at_last: Option<u64>,
    /// Approvals that the last round needed.
    pub required_at_last: Option<u64>,
    /// Hours from the first due time to an execution; `None` if there was none in twice the time after which the silent
    /// do not count.
    pub hours: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::exact;

    /// The report compares all of them for up to 12 validators, and its test sees that none differ.
    #[test]
    fn the_contract_executes_with_as_many_votes_as_the_rule_says_and_no_fewer() {
        let mut truth = Truth::default();
        for n in 1..=4 {
            let mut voters = Voters::new(n).expect("the contracts run");
            for percent in [51, 66, 67, 75, 100] {
                voters
                    .vote_through(percent, &mut truth)
                    .expect("the contracts run");
                for votes in 0..=n {
                    let executes = truth.executes(n, percent, votes);
                    assert_eq!(
                        executes,
                        Some(exact::is_enough(n, percent, votes)),
                        "{n} {percent} {votes}"
                    );
                }
                assert_eq!(truth.lowest(n, percent), Some(exact::required(n, percent)));
            }
        }
        assert_eq!(truth.executes(4, 80, 4), None, "not tried");
        assert_eq!((truth.tried().count(), truth.attempts()), (20, 70));
    }

    #[test]
    fn half_of_the_validators_gone_is_a_halt_of_three_days() {
        let recovery = Voters::new(4)
            .and_then(|mut voters| voters.recover(2))
            .expect("the contracts run");
        assert_eq!(recovery.required_at_first, Some(3));
        assert_eq!(
            (recovery.snapshot_at_last, recovery.required_at_last),
            (Some(2), Some(2))
        );
        let hours = recovery.hours.expect("executes again");
        assert!((72.0 - 8.0..72.0 + 16.0).contains(&hours), "{hours}");
        let at_once = Voters::new(4)
            .and_then(|mut voters| voters.recover(1))
            .expect("the contracts run");
        assert!(at_once.hours.expect("executes") < 8.0);
    }

    #[test]
    fn draws_are_even() {
        let mut voters = Voters::new(5).expect("the contracts run");
        let draws = voters.count_draws(60, |_| {}).expect("the contracts run");
        assert_eq!(draws.counts.iter().sum::<u64>(), 180);
        let p = crate::stats::chi_square_p(draws.chi_square(), 4).expect("defined");
        assert!(p > 0.001, "{draws:?}");
        let uneven = Draws {
            rounds: 60,
            each: 3,
            counts: vec![60, 60, 20, 20, 20],
        };
        assert!(crate::stats::chi_square_p(uneven.chi_square(), 4).expect("defined") < 1e-6);
    }
}
