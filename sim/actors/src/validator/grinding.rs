//! Rounds moved on where it pays: sealed on top of a block by which it would be drawn, opened where it is drawn. All else is
//! left to others, in the hope that they come later.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::{SolCall, SolValue};
use smartnodes_evm::bindings::SmartnodesCoordinator as Coordinator;
use smartnodes_node::chain::{RoundPhase, RoundStatus};
use smartnodes_node::round::driver::RoundError;
use tracing::info;

use super::Cheat;
use super::hand::Hand;

impl Cheat {
    /// Moves the round on if that gets it a proposer's place.
    pub(super) async fn move_on_where_it_pays(
        &self,
        status: &RoundStatus,
    ) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        let Some(hand) = &self.hand else {
            return Ok(());
        };
        let coordinator = ctx.chain.deployment().coordinator;
        let round = status.round;
        let block = match status.phase {
            // What it could know, were the draw made of blocks that are there.
            RoundPhase::Due => Some(ctx.chain.head().await?.number),
            _ => hand.draw_block(coordinator, round).await,
        };
        let Some(block) = block else {
            return Ok(());
        };
        let Some(hash) = ctx.chain.block_hash(block).await? else {
            return Ok(());
        };
        if !self.would_be_drawn(hand, round, hash).await? {
            if self
                .left_in
                .swap(round, std::sync::atomic::Ordering::Relaxed)
                != round
            {
                info!(act = "round-left-to-others", round, phase = ?status.phase, "misdeed");
            }
            return Ok(());
        }
        let step = Coordinator::openRoundCall {}.abi_encode();
        if hand.call(coordinator, step).await.is_ok() {
            info!(act = "round-moved-on", round, phase = ?status.phase, "misdeed");
        }
        Ok(())
    }

    /// Whether a draw from this block's hash would choose it.
    async fn would_be_drawn(
        &self,
        hand: &Hand,
        round: u64,
        hash: B256,
    ) -> Result<bool, RoundError> {
        let ctx = &self.validator.ctx;
        let coordinator = ctx.chain.deployment().coordinator;
        let seed = keccak256((hash, coordinator, U256::from(round)).abi_encode_params());
        let mut ranked: Vec<(bool, B256, Address)> = Vec::new();
        for validator in ctx.chain.validators().await? {
            let voted = Coordinator::validatorLastActiveRoundCall { validator };
            let voted: u64 = match hand.view(coordinator, &voted).await {
                Some(voted) => voted.saturating_to(),
                None => return Ok(false),
            };
            let rank = keccak256((seed, validator).abi_encode_params());
            ranked.push((voted + 1 != round, rank, validator));
        }
        ranked.sort();
        let seats = match ranked.len() {
            count @ ..=1 => count,
            2..=4 => 2,
            5..=9 => 3,
            _ => 5,
        };
        let me = ctx.address();
        Ok(ranked.iter().take(seats).any(|(.., who)| *who == me))
    }
}
