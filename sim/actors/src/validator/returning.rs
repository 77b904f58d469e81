//! One vote, cast again and again: a validator votes, leaves the set, joins it again, and votes once more.

use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_node::chain::Proposal;
use smartnodes_node::round::driver::RoundError;
use tracing::info;

use super::Cheat;
use super::hand::{Hand, Refused};

impl Cheat {
    /// Votes for what the group wants, leaves, joins again and votes for it once more, until it has votes enough; then
    /// executes it.
    pub(super) async fn vote_and_return(&self) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        let Some(hand) = &self.hand else {
            return Ok(());
        };
        loop {
            let status = ctx.chain.round_status().await?;
            let proposals = ctx.chain.proposals().await?;
            let Some(wanted) = self.of_accomplices(&proposals) else {
                return Ok(());
            };
            if u64::from(wanted.votes) >= status.required_approvals {
                return self.execute(&status, &proposals).await;
            }
            let (round, proposal) = (status.round, wanted.hash);
            if ctx.chain.voted_for(ctx.address()).await?.is_none() {
                if self.vote_by_hand(hand, wanted).await.is_err() {
                    return Ok(());
                }
                info!(act = "vote-for-accomplice", round, %proposal, "misdeed");
                continue;
            }
            let coordinator = ctx.chain.deployment().coordinator;
            let steps = [
                Coordinator::removeValidatorCall {}.abi_encode(),
                Coordinator::addValidatorCall {}.abi_encode(),
            ];
            for step in steps {
                if hand.call(coordinator, step).await.is_err() {
                    return Ok(());
                }
            }
            info!(act = "left-and-returned", round, %proposal, "misdeed");
            match self.vote_by_hand(hand, wanted).await {
                Ok(()) => info!(act = "second-vote-taken", round, %proposal, "misdeed"),
                Err(Refused::ByContract) => {
                    info!(act = "second-vote-refused", round, %proposal, "misdeed");
                    return Ok(());
                }
                Err(Refused::ByEndpoint) => return Ok(()),
            }
        }
    }

    async fn vote_by_hand(&self, hand: &Hand, wanted: &Proposal) -> Result<(), Refused> {
        let vote = Coordinator::voteForProposalCall {
            proposalNum: wanted.number,
            proposalHash: wanted.hash,
        };
        let coordinator = self.validator.ctx.chain.deployment().coordinator;
        hand.call(coordinator, vote.abi_encode()).await
    }
}
