//! How often each validator is drawn to propose, and how often it should be: nobody, not even who moves rounds on, has
//! more of the draws than chance gives it.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};

/// Standard deviations between what is seen and what is due that chance does not explain: once in two million draws.
const CHANCE: f64 = 5.0;

/// The draws of one validator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// Rounds in whose draw it took part.
    pub rounds: u64,
    /// How often it was drawn.
    pub times: u64,
    /// How often it was to be expected.
    pub expected: f64,
    /// The variance of that.
    pub variance: f64,
}

impl Drawn {
    /// Whether chance explains how often it was drawn.
    pub fn is_fair(&self) -> bool {
        (self.times as f64 - self.expected).abs() <= CHANCE * self.variance.sqrt() + 1.0
    }
}

/// The draws of all.
#[derive(Debug, Clone, Default)]
pub(super) struct Draws {
    by: BTreeMap<Address, Drawn>,
    /// The last round in which each has voted.
    voted: BTreeMap<Address, u64>,
    /// Who has been drawn for the round that opens.
    proposers: Vec<Address>,
}

impl Draws {
    /// These are drawn for the round that opens now.
    pub(super) fn drawn(&mut self, proposers: Vec<Address>) {
        self.proposers = proposers;
    }

    /// A validator votes.
    pub(super) fn voted(&mut self, round: u64, validator: Address) {
        self.voted.insert(validator, round);
    }

    /// A validator leaves, and takes its vote along if the round is still open.
    pub(super) fn left(&mut self, open: Option<u64>, validator: Address) {
        self.voted
            .retain(|who, round| *who != validator || Some(*round) != open);
    }

    /// A round opens with all of these. Those who voted in the round before come first; among equals chance decides.
    pub(super) fn opened(&mut self, round: u64, members: &BTreeSet<Address>) {
        let proposers = std::mem::take(&mut self.proposers);
        let is_recent =
            |who: &Address| self.voted.get(who).copied().unwrap_or_default() + 1 == round;
        let recent = members.iter().filter(|who| is_recent(who)).count();
        let (seats, all) = (proposers.len(), members.len());
        let chance = |of: usize, among: usize| of.min(among) as f64 / among.max(1) as f64;
        let chances = [
            chance(seats.saturating_sub(recent), all - recent),
            chance(seats, recent),
        ];
        let shares: Vec<(Address, f64)> = members
            .iter()
            .map(|who| (*who, chances[usize::from(is_recent(who))]))
            .collect();
        for (who, share) in shares {
            let drawn = self.by.entry(who).or_default();
            drawn.rounds += 1;
            drawn.times += u64::from(proposers.contains(&who));
            drawn.expected += share;
            drawn.variance += share * (1.0 - share);
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<Address, Drawn> {
        self.by.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> BTreeSet<Address> {
        (1..=4).map(Address::repeat_byte).collect()
    }

    #[test]
    fn those_who_voted_come_first_and_the_rest_is_chance() {
        let [a, b, c] = [1, 2, 3].map(Address::repeat_byte);
        let mut draws = Draws::default();
        draws.drawn(vec![a, b]);
        draws.opened(1, &members());
        assert_eq!((draws.by[&a].times, draws.by[&a].expected), (1, 0.5));
        assert_eq!((draws.by[&c].times, draws.by[&c].variance), (0, 0.25));
        // Only one has voted: it is drawn for certain, and one of the other three beside it.
        draws.voted(1, a);
        draws.voted(1, b);
        draws.left(Some(1), b);
        draws.drawn(vec![a, c]);
        draws.opened(2, &members());
        assert_eq!((draws.by[&a].times, draws.by[&a].expected), (2, 1.5));
        assert_eq!(draws.by[&c].expected, 0.5 + 1.0 / 3.0);
        assert!(draws.by.values().all(Drawn::is_fair));
    }

    #[test]
    fn who_is_drawn_every_time_is_not_drawn_by_chance() {
        let mut draws = Draws::default();
        let ones: Vec<Address> = [1, 2].map(Address::repeat_byte).to_vec();
        for _ in 0..60 {
            draws.drawn(ones.clone());
            draws.opened(1, &members());
        }
        assert!(draws.by.values().all(|drawn| !drawn.is_fair()));
    }
}
