//! Monte-Carlo trials: many networks whose periods go wrong in their own ways, and the bands that they stay in.

use rayon::prelude::*;
use smartnodes_evm::emission::ERA_SECONDS;

use super::{
    model::{Model, Schedule},
    params::{Key, Params},
};
use crate::table::{Cell, Kind, Table, column};

/// Trials between two words of progress.
const CHUNK: usize = 50;
/// Shares of the trials below the band's edges, in per cent.
const PERCENTILES: [f64; 5] = [5.0, 25.0, 50.0, 75.0, 95.0];

/// A trial's year. Amounts are in SNO wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Year {
    /// Supply at its end.
    pub supply: u128,
    /// What circulates at its end.
    pub circulating: u128,
    /// Workers' rewards that are not claimed at its end.
    pub unclaimed: u128,
    /// What the treasury holds at its end.
    pub treasury: u128,
    /// Burned until its end.
    pub burned: u128,
    /// What a validator's seat earned in it.
    pub seat_income: u128,
    /// What all workers claimed in it.
    pub workers_income: u128,
    /// State updates executed in it.
    pub updates: u64,
}

/// Lives through a trial.
#[must_use]
pub fn trial(
    params: &Params,
    schedule: &Schedule,
    years: u64,
    seed: u64,
    trial: u64,
    spread: bool,
) -> Vec<Year> {
    let mut model = Model::new(params, schedule, seed, trial, spread);
    let seats = u128::from(params.get(Key::Validators));
    let mut outcomes = Vec::new();
    let (mut validators, mut workers, mut updates) = (0, 0, 0);
    for year in 1..=years {
        while model.due() <= year * ERA_SECONDS {
            model.step();
        }
        let books = model.books;
        outcomes.push(Year {
            supply: books.supply,
            circulating: books.circulating(),
            unclaimed: books.unclaimed,
            treasury: books.treasury,
            burned: books.burned,
            seat_income: (model.validators_earned - validators) / seats,
            workers_income: model.workers_earned - workers,
            updates: model.updates() - updates,
        });
        (validators, workers, updates) = (
            model.validators_earned,
            model.workers_earned,
            model.updates(),
        );
    }
    outcomes
}

/// Lives through `trials` trials on all cores; `progress` hears how many are done.
#[must_use]
pub fn run(
    params: &Params,
    years: u64,
    trials: u64,
    seed: u64,
    mut progress: impl FnMut(u64),
) -> Vec<Vec<Year>> {
    let schedule = Schedule::new(params);
    let numbers: Vec<u64> = (0..trials).collect();
    let mut outcomes = Vec::with_capacity(numbers.len());
    for chunk in numbers.chunks(CHUNK) {
        let done = chunk
            .par_iter()
            .map(|number| trial(params, &schedule, years, seed, *number, true));
        // In the order of the trials, whichever core was faster.
        outcomes.extend(done.collect::<Vec<_>>());
        progress(outcomes.len() as u64);
    }
    outcomes
}

/// Something that trials tell of each year.
#[derive(Clone, Copy)]
pub struct Quantity {
    /// Its name, with its unit last.
    pub name: &'static str,
    /// Its name for people, with its unit.
    pub heading: &'static str,
    /// Its value, in that unit.
    pub of: fn(&Year) -> f64,
}

/// All that trials tell.
pub const QUANTITIES: [Quantity; 8] = [
    Quantity {
        name: "supply_sno",
        heading: "supply (SNO)",
        of: |year| sno(year.supply),
    },
    Quantity {
        name: "circulating_sno",
        heading: "circulating (SNO)",
        of: |year| sno(year.circulating),
    },
    Quantity {
        name: "unclaimed_sno",
        heading: "unclaimed (SNO)",
        of: |year| sno(year.unclaimed),
    },
    Quantity {
        name: "treasury_sno",
        heading: "treasury (SNO)",
        of: |year| sno(year.treasury),
    },
    Quantity {
        name: "burned_sno",
        heading: "burned (SNO)",
        of: |year| sno(year.burned),
    },
    Quantity {
        name: "seat_income_sno",
        heading: "income of a validator's seat in the year (SNO)",
        of: |year| sno(year.seat_income),
    },
    Quantity {
        name: "workers_income_sno",
        heading: "claimed by all workers in the year (SNO)",
        of: |year| sno(year.workers_income),
    },
    Quantity {
        name: "updates",
        heading: "state updates in the year",
        of: |year| year.updates as f64,
    },
];

/// An amount in SNO, as exact as a statistic needs.
pub(super) fn sno(wei: u128) -> f64 {
    wei as f64 / 1e18
}

/// The band of a quantity in a year: its percentiles.
#[must_use]
pub fn band(trials: &[Vec<Year>], year: usize, of: fn(&Year) -> f64) -> [f64; 5] {
    let mut values: Vec<f64> = trials
        .iter()
        .filter_map(|trial| trial.get(year))
        .map(of)
        .collect();
    values.sort_by(f64::total_cmp);
    PERCENTILES.map(|percent| percentile(&values, percent))
}

/// The value below which `percent` of the sorted values are, between neighbours in proportion.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = percent / 100.0 * last as f64;
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

fn band_columns() -> [crate::table::Column; 5] {
    let real = Kind::Real { decimals: 0 };
    [
        column("p5", "5 % of trials below", real),
        column("p25", "25 % below", real),
        column("p50", "median", real),
        column("p75", "75 % below", real),
        column("p95", "95 % below", real),
    ]
}

/// The bands of every quantity in every year.
#[must_use]
pub fn bands_table(trials: &[Vec<Year>], years: u64) -> Table {
    let mut columns = vec![
        column("quantity", "quantity", Kind::Text),
        column("year", "year", Kind::Ordinal),
    ];
    columns.extend(band_columns());
    let mut table = Table::new(
        "emission-trials-bands",
        "Bands of all quantities in all years",
        columns,
    );
    for quantity in QUANTITIES {
        for (place, year) in (1..=years).enumerate() {
            let band = band(trials, place, quantity.of).map(Cell::from);
            let mut row = vec![quantity.name.into(), year.into()];
            row.extend(band);
            table.push_row(row);
        }
    }
    table
}

/// The bands of every quantity in the last year.
#[must_use]
pub fn end_table(trials: &[Vec<Year>], years: u64) -> Table {
    let mut columns = vec![column("quantity", "quantity", Kind::Text)];
    columns.extend(band_columns());
    let mut table = Table::new(
        "emission-trials-end",
        format!("Bands in year {years}"),
        columns,
    );
    for quantity in QUANTITIES {
        let mut row = vec![Cell::from(quantity.heading)];
        row.extend(band(trials, years.saturating_sub(1) as usize, quantity.of).map(Cell::from));
        table.push_row(row);
    }
    table
}

/// Every year of every trial.
#[must_use]
pub fn trials_table(trials: &[Vec<Year>]) -> Table {
    let exact = Kind::Sno { decimals: 0 };
    let mut table = Table::new(
        "emission-trials",
        "Every year of every trial",
        vec![
            column("trial", "trial", Kind::Ordinal),
            column("year", "year", Kind::Ordinal),
            column("supply_sno", "supply (SNO)", exact),
            column("circulating_sno", "circulating (SNO)", exact),
            column("unclaimed_sno", "unclaimed (SNO)", exact),
            column("treasury_sno", "treasury (SNO)", exact),
            column("burned_sno", "burned (SNO)", exact),
            column("seat_income_sno", "income of a seat (SNO)", exact),
            column("workers_income_sno", "claimed by workers (SNO)", exact),
            column("updates", "state updates", Kind::Count),
        ],
    );
    // Amounts stay far below 2^127: the whole supply has 88 bits.
    let wei = |amount: u128| Cell::Wei(amount.cast_signed());
    for (number, trial) in (0_u64..).zip(trials) {
        for (year, outcome) in (1_u64..).zip(trial) {
            table.push([
                number.into(),
                year.into(),
                wei(outcome.supply),
                wei(outcome.circulating),
                wei(outcome.unclaimed),
                wei(outcome.treasury),
                wei(outcome.burned),
                wei(outcome.seat_income),
                wei(outcome.workers_income),
                outcome.updates.into(),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_neighbours() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(percentile(&values, 50.0), 3.0);
        assert_eq!(percentile(&values, 0.0), 1.0);
        assert_eq!(percentile(&values, 100.0), 5.0);
        assert_eq!(percentile(&values, 25.0), 2.0);
        assert_eq!(percentile(&[7.0], 95.0), 7.0);
        assert!(percentile(&[], 5.0).is_nan());
    }

    #[test]
    fn a_trial_without_trouble_is_the_schedule_itself() {
        let quiet = [
            "missed-percent=0",
            "idle-percent=0",
            "absent-percent=0",
            "slashings-per-year=0",
            "unclaimed-percent=0",
            "paid-jobs-sno=0",
        ];
        let params = Params::parse(quiet).expect("good");
        let outcomes = run(&params, 7, 2, 1, |_| {});
        let sno = 10_u128.pow(18);
        for trial in outcomes {
            assert_eq!(trial[0].supply, 52_275_000 * sno);
            assert_eq!(trial[5].supply, 120_440_064 * sno);
            assert_eq!(trial[6].supply - trial[5].supply, 3_679_200 * sno);
            assert_eq!(trial[0].seat_income, 49_275_000 * sno / 30);
            assert!(
                trial
                    .iter()
                    .all(|year| year.updates == 1_095 && year.burned == 0)
            );
        }
    }

    #[test]
    fn trouble_makes_the_supply_smaller_and_the_order_of_trials_is_kept() {
        let params = Params::default();
        let outcomes = run(&params, 2, 60, 3, |_| {});
        assert_eq!(outcomes.len(), 60);
        let schedule = Schedule::new(&params);
        assert_eq!(outcomes[59], trial(&params, &schedule, 2, 3, 59, true));
        let quiet = 81_840_000.0;
        let band = band(&outcomes, 1, |year| sno(year.supply));
        assert!(band[4] < quiet && band[0] > 0.9 * quiet, "{band:?}");
        assert!(band.windows(2).all(|pair| pair[0] <= pair[1]));
    }
}
