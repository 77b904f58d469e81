//! What an attack costs in SNO, and from when on there is so much.

use smartnodes_evm::emission::{ERA_SECONDS, per_update};

use super::{contract::LAUNCH_PERCENT, exact::required};
use crate::{
    table::{Cell, Kind, Table, column},
    units::WEI_PER_SNO,
};

/// Collateral of a validator, in SNO.
const COLLATERAL_SNO: i128 = 1_000_000;
/// SNO at genesis, all of it locked.
const GENESIS_SNO: i128 = 3_000_000;
/// Seconds between two state updates at launch.
const INTERVAL_SECONDS: u64 = 8 * 3_600;
/// Numbers of honest validators that are looked at.
pub const HONEST: [u32; 6] = [3, 5, 10, 20, 34, 50];

/// What attackers want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// To execute false updates.
    Execute,
    /// To hold back every update.
    Block,
}

impl Goal {
    /// The goal in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Execute => "execute false updates",
            Self::Block => "hold back every update",
        }
    }
}

/// The fewest validators that reach a goal beside so many honest ones, all of which vote.
#[must_use]
pub fn attackers(honest: u32, percent: u32, goal: Goal) -> u32 {
    let reached = |attackers: u32| {
        let needed = required(honest + attackers, percent);
        match goal {
            Goal::Execute => attackers >= needed,
            Goal::Block => honest < needed,
        }
    };
    // At 100 % all must approve, so nobody can outvote a single honest validator; with so many that no collateral
    // would be enough the search ends.
    (1..=100 * honest.max(1))
        .find(|attackers| reached(*attackers))
        .unwrap_or(u32::MAX)
}

/// SNO that are not locked as genesis collateral at the end of a year, from 1, by the closed form.
#[must_use]
pub fn free_sno(year: u64) -> i128 {
    let updates = ERA_SECONDS / INTERVAL_SECONDS;
    let minted: u128 = (0..year)
        .map(|era| per_update(era, INTERVAL_SECONDS).saturating_to::<u128>() * u128::from(updates))
        .sum();
    minted.cast_signed() / WEI_PER_SNO
}

/// One row for each number of honest validators and goal.
#[must_use]
pub fn table(years: u64) -> Table {
    let sno = Kind::Sno { decimals: 0 };
    let share = Kind::Real { decimals: 1 };
    let mut table = Table::new(
        "consensus-attack",
        "What an attack costs (collateral of 1,000,000 SNO for each validator, threshold as at launch)",
        vec![
            column("attack", "attack", Kind::Text),
            column("honest", "honest validators", Kind::Count),
            column("goal", "to", Kind::Text),
            column("attackers", "validators needed", Kind::Count),
            column("cost_sno", "collateral (SNO)", sno),
            column("first_year", "affordable at the end of year", Kind::Ordinal),
            column("percent_year_1", "of what is free after year 1 (%)", share),
            column(
                "percent_last",
                format!("of what is free after year {years} (%)"),
                share,
            ),
        ],
    );
    for honest in HONEST {
        for goal in [Goal::Block, Goal::Execute] {
            let attackers = attackers(honest, LAUNCH_PERCENT, goal);
            let cost = i128::from(attackers) * COLLATERAL_SNO;
            // What honest newcomers have locked is not for sale either.
            let locked = (i128::from(honest) * COLLATERAL_SNO - GENESIS_SNO).max(0);
            let free = |year| free_sno(year) - locked;
            let first = (1..=years).find(|year| free(*year) >= cost);
            let percent = |year| {
                let free = free(year);
                (free > 0).then(|| 100.0 * cost as f64 / free as f64)
            };
            table.push([
                format!("{honest} honest, {}", goal.words()).into(),
                u64::from(honest).into(),
                goal.words().into(),
                u64::from(attackers).into(),
                Cell::Wei(cost * WEI_PER_SNO),
                first.into(),
                percent(1).into(),
                percent(years).into(),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_attackers_are_the_fewest() {
        for honest in 1..=100 {
            for goal in [Goal::Execute, Goal::Block] {
                let few = attackers(honest, 66, goal);
                let wins = |attackers: u32| {
                    let (all, honest) = (honest + attackers, honest);
                    // Strictly more than 66 % of all.
                    let enough = |votes: u32| 100 * votes > 66 * all;
                    match goal {
                        Goal::Execute => enough(attackers),
                        Goal::Block => !enough(honest),
                    }
                };
                assert!(
                    wins(few) && (1..few).all(|fewer| !wins(fewer)),
                    "{honest} {goal:?} {few}"
                );
            }
        }
        assert_eq!(attackers(3, 66, Goal::Execute), 6);
        assert_eq!(attackers(3, 100, Goal::Block), 1);
    }

    #[test]
    fn what_is_free_is_what_was_minted() {
        assert_eq!(free_sno(1), 49_275_000);
        assert_eq!(free_sno(6), 117_440_064);
        assert_eq!(free_sno(7) - free_sno(6), 3_679_200);
    }
}
