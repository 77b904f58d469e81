//! State updates as they should be: every validator votes, and the only worker claims at once.

use std::num::NonZeroU64;

use alloy::{
    primitives::{Address, U256},
    rpc::types::TransactionReceipt,
    sol_types::SolEvent,
};
use smartnodes_evm::{
    bindings::{SmartnodesCoordinator as Coordinator, SmartnodesERC20 as Token},
    emission::{self, ERA_SECONDS},
};

use super::{Executed, Params, UpdateRecord, params::Key};
use crate::network::{Network, NetworkError};

/// Executes every state update of `years`, in order. `progress` hears the number of each after it is done.
pub fn execute(
    years: NonZeroU64,
    params: &Params,
    mut progress: impl FnMut(u64),
) -> Result<Executed, NetworkError> {
    let validators = params.get(Key::Validators);
    let mut network = Network::deploy(params.interval_hours() * 3_600, validators)?;
    let mut executed = Executed {
        genesis: network.books()?,
        records: Vec::new(),
        years: Vec::new(),
    };
    let mut supply = executed.genesis.supply;
    for _ in 0..years.get() {
        for _ in 0..params.updates_per_year() {
            let record = network.update(&mut supply)?;
            progress(record.update);
            executed.records.push(record);
        }
        executed.years.push(network.books()?);
    }
    Ok(executed)
}

impl Network {
    /// Executes the next state update: waits until it is due, opens the round, proposes, votes, executes, claims. `supply` is
    /// that before it (SNO wei), and then that after it.
    pub fn update(&mut self, supply: &mut U256) -> Result<UpdateRecord, NetworkError> {
        let update = self.updates + 1;
        let (coordinator, token) = (self.deployment.coordinator, self.deployment.token);
        let due = self
            .deployment
            .start_time
            .saturating_add(update.saturating_mul(self.interval_seconds));
        let opened = self.open_round(self.validators[0], due)?;
        // It is the only worker, so any capacity earns the whole share; without any, it would not be minted.
        let (tree, content) = self.content(vec![(self.worker, U256::from(1))], Vec::new())?;
        let proposal = self.propose(&opened, &content)?;
        for validator in self.validators.clone() {
            self.vote(validator, proposal)?;
        }
        // All have voted by then, so the voting window does not matter.
        let execute = Coordinator::executeProposalCall {
            proposalNum: 1,
            update: content,
        };
        let execution = self.send("executing", opened.proposer(), coordinator, &execute)?;
        let claiming = self.claim(&tree, U256::from(1))?;
        // One block holds all of these, in the order in which they were sent.
        self.mine_next("executing")?;
        let executed = self.receipt("executing", execution)?;
        let claimed = self.receipt("claiming", claiming)?;

        let before = *supply;
        *supply = self.read_supply()?;
        self.updates = update;
        let elapsed_seconds = self.chain.timestamp() - self.deployment.start_time;
        let era = emission::paid_era(elapsed_seconds, self.interval_seconds);
        let received = |receipt, of: &dyn Fn(&Address) -> bool| received(receipt, token, of);
        Ok(UpdateRecord {
            update,
            year: (update - 1) * self.interval_seconds / ERA_SECONDS + 1,
            elapsed_seconds,
            era,
            minted: supply.saturating_sub(before),
            closed_form: emission::per_update(era, self.interval_seconds),
            supply: *supply,
            workers: received(&claimed, &|to| *to == self.worker),
            validators: received(&executed, &|to| self.validators.contains(to)),
            treasury: received(&executed, &|to| *to == self.deployment.timelock),
        })
    }
}

/// How much SNO (wei) the accounts `of` received in a transaction.
fn received(receipt: &TransactionReceipt, token: Address, of: &dyn Fn(&Address) -> bool) -> U256 {
    receipt
        .inner
        .logs()
        .iter()
        .filter(|log| log.address() == token)
        .filter_map(|log| Token::Transfer::decode_log(&log.inner).ok())
        .filter(|transfer| of(&transfer.to))
        .fold(U256::ZERO, |sum, transfer| {
            sum.saturating_add(transfer.value)
        })
}
