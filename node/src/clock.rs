//! Chain time. All protocol timing follows the chain's timestamps; a host's own clock only measures how long ago the
//! last head was seen, so that a skewed clock cannot mislead a node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Estimate of chain time in seconds since the Unix epoch. Cheap to clone; clones share the estimate.
#[derive(Clone, Debug)]
pub struct ChainClock(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    timestamp: u64,
    at: Instant,
}

impl ChainClock {
    /// A clock that has seen a head with this timestamp now.
    pub fn new(timestamp: u64) -> Self {
        Self(Arc::new(Mutex::new(Seen {
            timestamp,
            at: Instant::now(),
        })))
    }

    /// Takes a head's timestamp in. An endpoint that lags cannot set the clock back.
    pub fn observe(&self, timestamp: u64) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timestamp > seen.timestamp {
            *seen = Seen {
                timestamp,
                at: Instant::now(),
            };
        }
    }

    /// Chain time now: the last timestamp seen plus the time since.
    pub fn now(&self) -> u64 {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An endpoint may have told any number.
        seen.timestamp.saturating_add(seen.at.elapsed().as_secs())
    }

    /// How long until chain time reaches `timestamp`; zero if it has.
    pub fn until(&self, timestamp: u64) -> Duration {
        Duration::from_secs(timestamp.saturating_sub(self.now()))
    }
}
