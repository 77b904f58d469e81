//! Bans across restarts: a peer that can make a node restart is not rid of its ban.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::score::Scores;
use crate::clock::ChainClock;
use crate::store::{Store, StoreError, Table};

/// Two ends of a ban that differ by less are the same one, in seconds: chain time is an estimate.
const SAME_END_SECONDS: u64 = 30;

/// The bans that are written down, and where.
pub(super) struct Bans {
    store: Store,
    clock: ChainClock,
    /// Chain time (seconds) at which each ban ends.
    written: BTreeMap<PeerId, u64>,
}

impl Bans {
    /// Reads the bans of the last run into `scores`, as far as they have not ended.
    pub(super) fn restore(
        store: Store,
        clock: ChainClock,
        scores: &mut Scores,
    ) -> Result<Self, StoreError> {
        let (now, chain_now) = (Instant::now(), clock.now());
        let mut written = BTreeMap::new();
        let mut unread = Vec::new();
        store.visit(Table::Bans, &[], |key, ends_at: u64| {
            let Ok(peer) = PeerId::from_bytes(key) else {
                unread.push(key.to_vec());
                return;
            };
            written.insert(peer, ends_at);
            if let Some(left) = ends_at.checked_sub(chain_now) {
                scores.ban_again(peer, Duration::from_secs(left), now);
            }
        })?;
        for key in unread {
            debug!("a ban of nobody is forgotten");
            store.delete(Table::Bans, &key)?;
        }
        Ok(Self {
            store,
            clock,
            written,
        })
    }

    /// Writes down what has changed. A ban that a crash comes before has to be earned again.
    pub(super) fn write_down(&mut self, scores: &Scores, now: Instant) {
        let chain_now = self.clock.now();
        let bans: BTreeMap<PeerId, u64> = scores
            .bans(now)
            .map(|(peer, left)| (peer, chain_now.saturating_add(left.as_secs())))
            .collect();
        let new: Vec<(PeerId, u64)> = bans
            .iter()
            .filter(|(peer, ends_at)| {
                let known = self.written.get(peer);
                known.is_none_or(|known| known.abs_diff(**ends_at) >= SAME_END_SECONDS)
            })
            .map(|(peer, ends_at)| (*peer, *ends_at))
            .collect();
        let ended: Vec<PeerId> = self
            .written
            .keys()
            .filter(|peer| !bans.contains_key(peer))
            .copied()
            .collect();
        if new.is_empty() && ended.is_empty() {
            return;
        }
        let result = self.store.write(|batch| {
            for (peer, ends_at) in &new {
                batch.put(Table::Bans, &peer.to_bytes(), ends_at)?;
            }
            for peer in &ended {
                batch.delete(Table::Bans, &peer.to_bytes())?;
            }
            Ok(())
        });
        match result {
            Ok(()) => {
                self.written.extend(new);
                self.written.retain(|peer, _| bans.contains_key(peer));
            }
            // Tried again with the next sweep.
            Err(error) => warn!(%error, "bans cannot be written down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::score::Offence;
    use super::*;
    use crate::store::rows::{config, damaged, damages, rows_of};

    fn ban(scores: &mut Scores, peer: PeerId) {
        let now = Instant::now();
        while !scores.hold(peer, Offence::BadRecord, now) {}
    }

    fn rows(store: &Store) -> usize {
        let rows = store.scan::<u64>(Table::Bans).expect("reads");
        rows.len()
    }

    #[test]
    fn a_ban_outlasts_a_restart_and_ends_when_it_would_have_ended() {
        let store = Store::in_memory().expect("opens");
        let peer = PeerId::random();
        let restart = |at: u64| {
            let mut scores = Scores::default();
            let bans = Bans::restore(store.clone(), ChainClock::new(at), &mut scores);
            (scores, bans.expect("reads"))
        };
        let (mut scores, mut bans) = restart(1_000);
        ban(&mut scores, peer);
        let now = Instant::now();
        bans.write_down(&scores, now);
        assert_eq!(rows(&store), 1);

        let (scores, mut bans) = restart(1_400);
        let now = Instant::now();
        assert!(scores.is_banned(&peer, now + Duration::from_secs(190)));
        assert!(!scores.is_banned(&peer, now + Duration::from_secs(210)));
        bans.write_down(&scores, now);
        assert_eq!(rows(&store), 1, "nothing has changed");

        let (mut scores, mut bans) = restart(1_601);
        let now = Instant::now();
        assert!(!scores.is_banned(&peer, now));
        bans.write_down(&scores, now);
        assert_eq!(rows(&store), 0, "what has ended is gone from the disk too");
        // And a clock that has gone wrong bans nobody for longer than any ban is.
        ban(&mut scores, peer);
        bans.write_down(&scores, now);
        let (scores, _) = restart(10);
        assert!(!scores.is_banned(&peer, Instant::now() + Duration::from_secs(601)));
    }

    #[test]
    fn a_row_that_names_nobody_is_dropped() {
        let store = Store::in_memory().expect("opens");
        store.put(Table::Bans, b"nobody", &5u64).expect("writes");
        let mut scores = Scores::default();
        Bans::restore(store.clone(), ChainClock::new(1), &mut scores).expect("reads");
        assert_eq!(rows(&store), 0);
    }

    #[test]
    fn damaged_bans_are_read_or_refused() {
        let store = Store::in_memory().expect("opens");
        for ends_at in [1_100u64, 1_200] {
            let peer = PeerId::random().to_bytes();
            store.put(Table::Bans, &peer, &ends_at).expect("writes");
        }
        let rows = rows_of(&store);
        proptest!(config(), |(damages in damages(), at in 0..2_000u64)| {
            let mut scores = Scores::default();
            let store = damaged(&rows, &damages);
            let restored = Bans::restore(store.clone(), ChainClock::new(at), &mut scores);
            if let Ok(mut bans) = restored {
                bans.write_down(&scores, Instant::now());
                prop_assert!(super::super::open_bans(store, ChainClock::new(at)).is_ok());
            }
        });
    }
}
