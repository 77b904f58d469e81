//! A proposal's way through the DAO. The days between its steps are skipped: nothing happens in them that a run has to see.

use std::time::Duration;

use alloy::primitives::{Address, Bytes, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesDAO as Dao, SmartnodesERC20 as Token,
};
use smartnodes_scenarios::Change;
use tracing::info;

use super::error::ActError;
use super::person::{Person, Sent};

/// A vote in favour, as the DAO counts it.
const IN_FAVOUR: u8 = 1;

/// What goes through the DAO.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// What is to change.
    pub(super) change: Change,
    /// Account of the validator that it is about, if it is about one.
    pub(super) of: Address,
    /// Number of the act: it makes the proposal another one than all others.
    pub(super) index: usize,
    /// It is to be executed the moment it is queued.
    pub(super) hasty: bool,
}

/// Proposes, votes, queues and executes. Ends with the first transaction that fails.
pub(super) async fn cycle(
    person: &Person,
    proposer: &PrivateKeySigner,
    voters: &[&PrivateKeySigner],
    plan: Plan,
) -> Result<Vec<Sent>, ActError> {
    let deployment = person.deployment().clone();
    let Plan {
        change, of, index, ..
    } = plan;
    let (target, call) = call_of(change, of, deployment.coordinator, deployment.token);
    let (targets, values, calls) = (vec![target], vec![U256::ZERO], vec![call]);
    let description = format!("act {index}: {change:?}");
    let description_hash = keccak256(description.as_bytes());
    let mut steps = Steps {
        person,
        sent: Vec::new(),
    };
    for voter in voters {
        let account = voter.address();
        let delegate = person.read(deployment.token, &Token::delegatesCall { account })?;
        if delegate == Address::ZERO {
            let itself = Token::delegateCall { delegatee: account };
            if !steps.take(voter, deployment.token, &itself).await? {
                return Ok(steps.sent);
            }
        }
    }
    let propose = Dao::proposeCall {
        targets: targets.clone(),
        values: values.clone(),
        calldatas: calls.clone(),
        description,
    };
    if !steps.take(proposer, deployment.dao, &propose).await? {
        return Ok(steps.sent);
    }
    let proposal = person.read(
        deployment.dao,
        &Dao::hashProposalCall {
            targets: targets.clone(),
            values: values.clone(),
            calldatas: calls.clone(),
            descriptionHash: description_hash,
        },
    )?;
    let snapshot = Dao::proposalSnapshotCall {
        proposalId: proposal,
    };
    let opens = person.read(deployment.dao, &snapshot)?;
    skip_beyond(person, opens.saturating_to()).await;
    for voter in voters {
        let vote = Dao::castVoteCall {
            proposalId: proposal,
            support: IN_FAVOUR,
        };
        if !steps.take(voter, deployment.dao, &vote).await? {
            return Ok(steps.sent);
        }
    }
    let deadline = Dao::proposalDeadlineCall {
        proposalId: proposal,
    };
    let closes = person.read(deployment.dao, &deadline)?;
    skip_beyond(person, closes.saturating_to()).await;
    let queue = Dao::queueCall {
        targets: targets.clone(),
        values: values.clone(),
        calldatas: calls.clone(),
        descriptionHash: description_hash,
    };
    if !steps.take(proposer, deployment.dao, &queue).await? {
        return Ok(steps.sent);
    }
    let eta = person.read(
        deployment.dao,
        &Dao::proposalEtaCall {
            proposalId: proposal,
        },
    )?;
    if !plan.hasty {
        skip_beyond(person, eta.saturating_to()).await;
    }
    let execute = Dao::executeCall {
        targets,
        values,
        calldatas: calls,
        descriptionHash: description_hash,
    };
    steps.take(proposer, deployment.dao, &execute).await?;
    Ok(steps.sent)
}

/// The transactions so far.
struct Steps<'a> {
    person: &'a Person,
    sent: Vec<Sent>,
}

impl Steps<'_> {
    /// One transaction more; whether it succeeded.
    async fn take<C: SolCall>(
        &mut self,
        wallet: &PrivateKeySigner,
        contract: Address,
        call: &C,
    ) -> Result<bool, ActError> {
        let sent = self.person.call(wallet, contract, call).await?;
        let succeeded = sent.reverted.is_none();
        self.sent.push(sent);
        Ok(succeeded)
    }
}

/// The call that the DAO is to make.
fn call_of(change: Change, of: Address, coordinator: Address, token: Address) -> (Address, Bytes) {
    match change {
        Change::UpdateInterval(interval) => {
            let call = Coordinator::updateTimingCall {
                newInterval: U256::from(interval.as_secs()),
            };
            (coordinator, call.abi_encode().into())
        }
        Change::Approval(share) => {
            let call = Coordinator::setApprovalPercentageCall {
                newPercent: share.whole().unwrap_or_default(),
            };
            (coordinator, call.abi_encode().into())
        }
        Change::ValidatorCollateral(amount) => {
            let call = Token::setValidatorLockAmountCall {
                newAmount: U256::from(amount.wei()),
            };
            (token, call.abi_encode().into())
        }
        Change::Slash { amount, .. } => {
            let call = Token::slashAndUnlockValidatorCall {
                validator: of,
                amount: U256::from(amount.wei()),
            };
            (token, call.abi_encode().into())
        }
    }
}

/// Lets the chain's time jump so that its next block is later than `timestamp`.
async fn skip_beyond(person: &Person, timestamp: u64) {
    let now = person.chain().read(smartnodes_evm::chain::Chain::timestamp);
    let by = Duration::from_secs((timestamp + 1).saturating_sub(now));
    info!(days = by.as_secs() / 86_400, "days are skipped");
    person.chain().jump(by);
    person.until_time(timestamp + 1).await;
}
