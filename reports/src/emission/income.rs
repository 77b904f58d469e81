//! What a validator and a worker earn, and the price of SNO at which that pays their costs.

use super::{
    params::{Key, Params},
    tables::YearRecord,
};
use crate::table::{Kind, Table, column};

/// A year of one validator and one worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Income {
    /// The year, from 1.
    pub year: u64,
    /// What a validator earns, in SNO.
    pub validator_sno: f64,
    /// What a worker earns, in SNO.
    pub worker_sno: f64,
    /// The price at which a validator neither gains nor loses, in US dollars.
    pub validator_price_usd: f64,
    /// The price at which a worker neither gains nor loses, in US dollars.
    pub worker_price_usd: f64,
    /// How many workers the workers' income pays at the given price.
    pub workers_paid: f64,
    /// What a validator gains at the given price, in US dollars.
    pub validator_gain_usd: f64,
    /// What a worker gains at the given price, in US dollars.
    pub worker_gain_usd: f64,
}

/// The income of each year, when every update is executed and everything claimed.
#[must_use]
pub fn incomes(years: &[YearRecord], params: &Params) -> Vec<Income> {
    let (validators, workers) = (params.real(Key::Validators), params.real(Key::Workers));
    let (validator_cost, worker_cost) = (
        params.real(Key::ValidatorCost),
        params.real(Key::WorkerCost),
    );
    let price = params.real(Key::Price);
    let incomes = years.iter().map(|year| {
        let validator_sno = year.validators as f64 / 1e18 / validators;
        let all_workers_sno = year.workers as f64 / 1e18;
        let worker_sno = all_workers_sno / workers;
        Income {
            year: year.year,
            validator_sno,
            worker_sno,
            validator_price_usd: validator_cost / validator_sno,
            worker_price_usd: worker_cost / worker_sno,
            workers_paid: all_workers_sno * price / worker_cost,
            validator_gain_usd: validator_sno * price - validator_cost,
            worker_gain_usd: worker_sno * price - worker_cost,
        }
    });
    incomes.collect()
}

/// One row for each year.
#[must_use]
pub fn table(incomes: &[Income], params: &Params) -> Table {
    let (price, whole) = (Kind::Real { decimals: 5 }, Kind::Real { decimals: 0 });
    let title = format!(
        "Income and break-even: {} validators at {} USD a year each, {} workers at {} USD a year each, 1 SNO = {} USD",
        params.show(Key::Validators),
        params.show(Key::ValidatorCost),
        params.show(Key::Workers),
        params.show(Key::WorkerCost),
        params.show(Key::Price)
    );
    let mut table = Table::new(
        "emission-income",
        title,
        vec![
            column("year", "year", Kind::Ordinal),
            column("validator_sno", "a validator earns (SNO)", whole),
            column("worker_sno", "a worker earns (SNO)", whole),
            column(
                "validator_price_usd",
                "a validator breaks even at (USD for 1 SNO)",
                price,
            ),
            column(
                "worker_price_usd",
                "a worker breaks even at (USD for 1 SNO)",
                price,
            ),
            column(
                "validator_gain_usd",
                "a validator gains at the price (USD)",
                whole,
            ),
            column(
                "worker_gain_usd",
                "a worker gains at the price (USD)",
                whole,
            ),
            column("workers_paid", "workers that the price pays", whole),
        ],
    );
    for income in incomes {
        table.push([
            income.year.into(),
            income.validator_sno.into(),
            income.worker_sno.into(),
            income.validator_price_usd.into(),
            income.worker_price_usd.into(),
            income.validator_gain_usd.into(),
            income.worker_gain_usd.into(),
            income.workers_paid.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_break_even_price_nothing_is_gained_or_lost() {
        let sno = 10_i128.pow(18);
        let year = YearRecord {
            year: 1,
            workers: 1_000_000 * sno,
            validators: 30_000 * sno,
            ..YearRecord::default()
        };
        let params = Params::parse([
            "validators=3",
            "workers=100",
            "validator-cost-usd=500",
            "worker-cost-usd=200",
            "price-usd=0.05",
        ])
        .expect("good");
        let income = incomes(&[year], &params)[0];
        assert_eq!(income.validator_sno, 10_000.0);
        assert_eq!(income.worker_sno, 10_000.0);
        assert!((income.validator_price_usd - 0.05).abs() < 1e-12);
        assert!(income.validator_gain_usd.abs() < 1e-9);
        assert!((income.worker_price_usd - 0.02).abs() < 1e-12);
        assert!((income.workers_paid - 250.0).abs() < 1e-9);
    }
}
