//! What colluders get out of an update that they have had executed: the account that did nothing claims.

use alloy::primitives::U256;
use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::SmartnodesERC20 as Token;
use smartnodes_node::chain::RoundStatus;
use smartnodes_node::round::driver::RoundError;
use smartnodes_node::round::settle::distribution_payload;
use tracing::info;

use super::{Cheat, ValidatorMisdeed};

/// ETH wei that the account is given to pay its gas with.
const GAS_MONEY: u64 = 100_000_000_000_000_000;

impl Cheat {
    /// Claims what the last update gives to the group's account. One of the group is enough.
    pub(super) async fn collect_loot(&self, status: &RoundStatus) -> Result<(), RoundError> {
        let ctx = &self.validator.ctx;
        let ([Some(key), _], Some(hand)) = (self.keys(), &self.hand) else {
            return Ok(());
        };
        if self.misdeed != ValidatorMisdeed::Colluding
            || self.group.members.first() != Some(&ctx.address())
        {
            return Ok(());
        }
        let distribution = status.next_distribution_id.saturating_sub(1);
        let Some(update) = distribution_payload(&ctx.store, distribution)? else {
            return Ok(());
        };
        let (payload, account) = (update.body.payload, key.address());
        let share = payload.workers.iter().find(|(who, _)| *who == account);
        let (Some((_, capacity)), Some(tree)) = (share, payload.tree()?) else {
            return Ok(());
        };
        let token = ctx.chain.deployment().token;
        let id = U256::from(distribution);
        let claimed = Token::s_claimedCall {
            distributionId: id,
            account,
        };
        if hand.view(token, &claimed).await != Some(false) {
            return Ok(());
        }
        let claim = Token::claimMerkleRewardsCall {
            distributionId: id,
            capacity: U256::from(*capacity),
            proof: tree.proof(account).unwrap_or_default(),
        };
        let loot = hand.of(key);
        let given = hand.give(account, U256::from(GAS_MONEY)).await;
        if given.is_ok() && loot.call(token, claim.abi_encode()).await.is_ok() {
            info!(act = "loot-claimed", distribution, "misdeed");
        }
        Ok(())
    }
}
