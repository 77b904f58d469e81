//! Methods that move time and history, for test networks.

use alloy::primitives::U64;
use serde::Deserialize;

use super::{
    error::RpcError,
    methods::{Answer, json},
    params::Params,
};
use crate::chain::{Chain, RewindError};

/// Blocks that one `evm_mine` may ask for.
const MINE_BLOCKS_MAX: u64 = 100_000;

/// The parameter of `evm_mine`: a timestamp, or anvil's object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mine {
    Timestamp(U64),
    Options {
        timestamp: Option<U64>,
        blocks: Option<u64>,
    },
}

/// `evm_mine`: a block now, or at a timestamp, or several.
pub(super) fn mine(chain: &mut Chain, mut params: Params) -> Answer {
    let (timestamp, blocks) = match params.optional::<Mine>("timestamp")? {
        None => (None, 1),
        Some(Mine::Timestamp(timestamp)) => (Some(timestamp), 1),
        Some(Mine::Options { timestamp, blocks }) => (timestamp, blocks.unwrap_or(1)),
    };
    params.end()?;
    if blocks > MINE_BLOCKS_MAX {
        return Err(RpcError::invalid_params(format!(
            "invalid argument 0 (blocks): {blocks} is more than {MINE_BLOCKS_MAX} at once"
        )));
    }
    if let Some(timestamp) = timestamp {
        chain.set_next_timestamp(timestamp.to())?;
    }
    for _ in 0..blocks {
        chain.mine_next()?;
        // A host that goes on mining by its own clock must not find itself in the past.
        catch_up(chain)?;
    }
    json("0x0")
}

/// `evm_increaseTime`: moves all later blocks ahead.
pub(super) fn increase_time(chain: &mut Chain, mut params: Params) -> Answer {
    let seconds: U64 = params.required("seconds")?;
    params.end()?;
    // Clients count from the latest block, even if that was mined ahead of the host's clock.
    catch_up(chain)?;
    json(&chain.increase_time(seconds.to())?)
}

/// Moves the chain's time to the latest block's, if it is behind.
fn catch_up(chain: &mut Chain) -> Result<(), RpcError> {
    let ahead = chain.timestamp().saturating_sub(chain.time());
    chain.increase_time(ahead)?;
    Ok(())
}

/// `evm_setNextBlockTimestamp`: sets the time of the next block.
pub(super) fn set_next_timestamp(chain: &mut Chain, mut params: Params) -> Answer {
    let timestamp: U64 = params.required("timestamp")?;
    params.end()?;
    chain.set_next_timestamp(timestamp.to())?;
    json(&())
}

/// `evm_snapshot`: remembers this moment.
pub(super) fn snapshot(chain: &mut Chain, params: Params) -> Answer {
    params.end()?;
    json(&U64::from(chain.snapshot()?))
}

/// `evm_revert`: returns to a snapshot; false if there is no such one.
pub(super) fn revert(chain: &mut Chain, mut params: Params) -> Answer {
    let id: U64 = params.required("snapshot")?;
    params.end()?;
    match chain.revert(id.to()) {
        Ok(()) => json(&true),
        Err(RewindError::UnknownSnapshot(_)) => json(&false),
        Err(error) => Err(error.into()),
    }
}
