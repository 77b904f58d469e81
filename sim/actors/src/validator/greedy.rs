//! Execution by who has no turn, at a time that is not one for it.

use std::sync::atomic::Ordering;

use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_node::chain::{Proposal, RoundStatus};
use smartnodes_node::round::driver::RoundError;
use smartnodes_node::round::payloads::{Found, find_payload};
use tracing::info;

use super::Cheat;
use super::hand::Refused;

impl Cheat {
    /// Executes whatever has the votes, whosever it is, as soon as the contract takes it.
    pub(super) async fn snatch(
        &self,
        status: &RoundStatus,
        proposals: &[Proposal],
    ) -> Result<(), RoundError> {
        let Some(hand) = &self.hand else {
            return Ok(());
        };
        let round = status.round;
        let has_votes =
            |proposal: &&Proposal| u64::from(proposal.votes) >= status.required_approvals;
        for proposal in proposals.iter().filter(has_votes) {
            let found =
                find_payload(&self.validator, proposal.hash, proposal.creator, round).await?;
            let Found::Here(payload) = found else {
                continue;
            };
            let execute = Coordinator::executeProposalCall {
                proposalNum: proposal.number,
                update: payload.body.payload.state_update()?,
            };
            let coordinator = self.validator.ctx.chain.deployment().coordinator;
            match hand.call(coordinator, execute.abi_encode()).await {
                Ok(()) => {
                    info!(act = "execution-snatched", round, proposal = %proposal.hash, "misdeed")
                }
                // Told once in a round: it goes on trying.
                Err(Refused::ByContract)
                    if self.left_in.swap(round, Ordering::Relaxed) != round =>
                {
                    info!(act = "early-execution-refused", round, proposal = %proposal.hash, "misdeed");
                }
                Err(_) => {}
            }
        }
        Ok(())
    }
}
