//! The chain's time: what the caller says, moved by what a test asked for.

use super::{Chain, error::MineError, mine::BlockSummary};

/// How the caller's time becomes the chain's. Without the time-travel functions they are the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// The latest time that the caller gave, in seconds.
    caller_s: u64,
    /// What is added to it, in seconds.
    offset_s: i64,
    /// Overrides the time of the next block, and of what follows it.
    next_s: Option<u64>,
}

/// A reading of the clock: the chain's time, and the clock to keep if it is used.
pub(super) struct Reading {
    pub(super) chain_s: u64,
    pub(super) clock: Clock,
}

impl Clock {
    pub(super) fn starting_at(start_s: u64) -> Self {
        Self {
            caller_s: start_s,
            ..Self::default()
        }
    }

    /// Whether the time of the next block is set already.
    pub(super) fn overrides_next(&self) -> bool {
        self.next_s.is_some()
    }

    /// The chain's time when the caller's is `caller_s`.
    pub(super) fn read(&self, caller_s: u64) -> Result<Reading, MineError> {
        let chain_s = match self.next_s {
            Some(next) => next,
            None => caller_s
                .checked_add_signed(self.offset_s)
                .ok_or(MineError::TimestampOverflow)?,
        };
        Self::fixed(caller_s, chain_s)
    }

    /// A reading where the caller's time and the chain's are both given.
    fn fixed(caller_s: u64, chain_s: u64) -> Result<Reading, MineError> {
        let offset_s = i64::try_from(i128::from(chain_s) - i128::from(caller_s))
            .map_err(|_| MineError::TimestampOverflow)?;
        Ok(Reading {
            chain_s,
            clock: Self {
                caller_s,
                offset_s,
                next_s: None,
            },
        })
    }
}

impl Chain {
    /// Moves the time of all later blocks ahead by `seconds` (as `evm_increaseTime` does; for tests). Returns the whole
    /// distance from the caller's time to the chain's, in seconds.
    pub fn increase_time(&mut self, seconds: u64) -> Result<i64, MineError> {
        let by = i64::try_from(seconds).map_err(|_| MineError::TimestampOverflow)?;
        let offset_s = self
            .clock
            .offset_s
            .checked_add(by)
            .ok_or(MineError::TimestampOverflow)?;
        self.clock.offset_s = offset_s;
        Ok(offset_s)
    }

    /// Sets the time of the next block; later blocks go on from there (as `evm_setNextBlockTimestamp` does; for tests).
    pub fn set_next_timestamp(&mut self, timestamp: u64) -> Result<(), MineError> {
        let parent = self.blocks.latest().timestamp;
        if timestamp <= parent {
            return Err(MineError::Timestamp { timestamp, parent });
        }
        self.clock.next_s = Some(timestamp);
        Ok(())
    }

    /// The chain's time as last known, in seconds: the caller's latest time and what was added to it.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.clock
            .caller_s
            .saturating_add_signed(self.clock.offset_s)
    }

    /// Mines a block without a time from the caller: at the chain's time as last known if that is later than the latest
    /// block, else [`block_time_seconds`](super::ChainConfig::block_time_seconds) after it.
    pub fn mine_next(&mut self) -> Result<BlockSummary, MineError> {
        let latest = self.blocks.latest().timestamp;
        if let Some(next) = self.clock.next_s {
            // A reorganisation never makes this fail: it only takes the latest timestamp back.
            self.clock = Clock::fixed(self.clock.caller_s, next)?.clock;
            return Ok(self.produce(next));
        }
        let due = if self.time() > latest {
            self.time()
        } else {
            latest
                .checked_add(self.config.block_time_seconds)
                .ok_or(MineError::TimestampOverflow)?
        };
        Ok(self.produce(due))
    }
}
