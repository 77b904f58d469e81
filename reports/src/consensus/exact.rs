//! The threshold by exact combinatorics: how likely a false update is, and a true one.
//!
//! Of `n` validators, `adversaries` are hostile and online when the others are: `offline` of all, drawn at random, are
//! away. Adversaries vote for a false update and never for a true one. What the contract counts, the **snapshot**, is at
//! first all `n`; those who are silent for three days leave it ([`Phase`]).

use alloy::primitives::U256;

/// More validators than this are not counted: their binomials would not fit into 256 bits.
pub const N_MAX: u32 = 200;

/// Whether those offline still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They have just gone: the snapshot is all validators.
    Fresh,
    /// They have been silent for three days: the snapshot is those online.
    Settled,
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Validators, 1 to [`N_MAX`].
    pub n: u32,
    /// More than this share of the snapshot must approve, in per cent.
    pub percent: u32,
    /// Hostile validators.
    pub adversaries: u32,
    /// Validators offline, drawn at random.
    pub offline: u32,
    /// Whether they still count.
    pub phase: Phase,
}

impl Case {
    /// Validators online.
    #[must_use]
    pub fn online(&self) -> u32 {
        self.n.saturating_sub(self.offline)
    }

    /// Validators that count.
    #[must_use]
    pub fn snapshot(&self) -> u32 {
        match self.phase {
            Phase::Fresh => self.n,
            Phase::Settled => self.online(),
        }
    }
}

/// An answer: in how many of all equally likely cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Ways to draw who is offline.
    pub all: U256,
    /// Those in which adversaries can execute a false update.
    pub unsafe_ways: U256,
    /// Those in which the others can execute a true one without any adversary's help.
    pub live_ways: U256,
}

impl Answer {
    /// Probability of a false update.
    #[must_use]
    pub fn unsafe_probability(&self) -> f64 {
        f64::from(self.unsafe_ways) / f64::from(self.all)
    }

    /// Probability of a true update.
    #[must_use]
    pub fn live_probability(&self) -> f64 {
        f64::from(self.live_ways) / f64::from(self.all)
    }
}

/// Approvals that a snapshot needs: strictly more than `percent` of it, all of it at most.
#[must_use]
pub fn required(snapshot: u32, percent: u32) -> u32 {
    (percent * snapshot / 100 + 1).min(snapshot.max(1))
}

/// Binomial coefficients up to [`N_MAX`].
#[derive(Clone, Debug)]
pub struct Binomials {
    rows: Vec<Vec<U256>>,
}

impl Default for Binomials {
    fn default() -> Self {
        Self::new()
    }
}

impl Binomials {
    /// Pascal's triangle.
    #[must_use]
    pub fn new() -> Self {
        let mut rows: Vec<Vec<U256>> = vec![vec![U256::ONE]];
        for n in 1..=N_MAX as usize {
            let above = &rows[n - 1];
            let inner = above.windows(2).map(|pair| pair[0] + pair[1]);
            let row = std::iter::once(U256::ONE)
                .chain(inner)
                .chain([U256::ONE])
                .collect();
            rows.push(row);
        }
        Self { rows }
    }

    /// Ways to choose `k` of `n`.
    #[must_use]
    pub fn choose(&self, n: u32, k: u32) -> U256 {
        let row = self.rows.get(n as usize);
        row.and_then(|row| row.get(k as usize))
            .copied()
            .unwrap_or_default()
    }

    /// The answer by the hypergeometric distribution of adversaries among those online.
    #[must_use]
    pub fn answer(&self, case: Case) -> Answer {
        let online = case.online();
        let needed = required(case.snapshot(), case.percent);
        let mut answer = Answer {
            all: self.choose(case.n, online),
            unsafe_ways: U256::ZERO,
            live_ways: U256::ZERO,
        };
        for hostile in 0..=case.adversaries.min(online) {
            let honest = online - hostile;
            let ways = self.choose(case.adversaries, hostile)
                * self.choose(case.n - case.adversaries, honest);
            if hostile >= needed {
                answer.unsafe_ways += ways;
            }
            if honest >= needed {
                answer.live_ways += ways;
            }
        }
        answer
    }
}

/// For each number of hostile validators online, in how many draws of those offline it is so: every draw is looked at.
#[must_use]
pub fn enumerate(n: u32, adversaries: u32, offline: u32) -> Vec<u64> {
    let mut ways = vec![0; n as usize + 1];
    let hostile = (1_u32 << adversaries) - 1;
    for away in 0_u32..1 << n {
        if away.count_ones() == offline {
            ways[(hostile & !away).count_ones() as usize] += 1;
        }
    }
    ways
}

/// The answer that follows from looking at every draw, where `executes(snapshot, votes)` says whether so many votes are
/// enough.
pub fn answer_of(ways: &[u64], case: Case, executes: impl Fn(u32, u32) -> bool) -> Answer {
    let mut answer = Answer {
        all: U256::from(ways.iter().sum::<u64>()),
        unsafe_ways: U256::ZERO,
        live_ways: U256::ZERO,
    };
    for (hostile, ways) in (0_u32..).zip(ways) {
        if hostile > case.online() || *ways == 0 {
            continue;
        }
        if executes(case.snapshot(), hostile) {
            answer.unsafe_ways += U256::from(*ways);
        }
        if executes(case.snapshot(), case.online() - hostile) {
            answer.live_ways += U256::from(*ways);
        }
    }
    answer
}

/// The rule in words: strictly more than `percent` of the snapshot, or everybody.
#[must_use]
pub fn is_enough(snapshot: u32, percent: u32, votes: u32) -> bool {
    votes > 0 && (100 * votes > percent * snapshot || votes == snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomials_are_exact() {
        let binomials = Binomials::new();
        assert_eq!(binomials.choose(5, 2), U256::from(10));
        assert_eq!(binomials.choose(5, 6), U256::ZERO);
        let row: U256 = (0..=N_MAX).fold(U256::ZERO, |sum, k| sum + binomials.choose(N_MAX, k));
        assert_eq!(row, U256::ONE << N_MAX);
    }

    #[test]
    fn the_rule_books_examples_hold() {
        for (n, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (50, 34), (100, 67)] {
            assert_eq!(required(n, 66), needed, "{n}");
        }
        assert_eq!(required(7, 100), 7);
    }

    #[test]
    fn the_rule_in_words_is_the_formula() {
        for n in 1..=N_MAX {
            for percent in 51..=100 {
                let lowest = (0..=n).find(|votes| is_enough(n, percent, *votes));
                assert_eq!(lowest, Some(required(n, percent)), "{n} {percent}");
            }
        }
    }

    #[test]
    fn enumeration_and_formula_agree_on_every_cell() {
        let binomials = Binomials::new();
        let mut cells = 0;
        for n in 1..=12 {
            for (adversaries, offline) in pairs(n) {
                let ways = enumerate(n, adversaries, offline);
                for percent in 51..=100 {
                    for phase in [Phase::Fresh, Phase::Settled] {
                        let case = Case {
                            n,
                            percent,
                            adversaries,
                            offline,
                            phase,
                        };
                        let counted = answer_of(&ways, case, |snapshot, votes| {
                            is_enough(snapshot, percent, votes)
                        });
                        assert_eq!(counted, binomials.answer(case), "{case:?}");
                        cells += 1;
                    }
                }
            }
        }
        assert_eq!(cells, 81_800);
    }

    fn pairs(n: u32) -> impl Iterator<Item = (u32, u32)> {
        (0..=n).flat_map(move |adversaries| (0..=n).map(move |offline| (adversaries, offline)))
    }
}
