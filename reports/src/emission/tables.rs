//! What the contracts did, update by update and year by year.

use alloy::primitives::U256;

use super::{EmissionError, Executed, UpdateRecord};
use crate::table::{Kind, Table, column};

/// One year of updates. Amounts are in SNO wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct YearRecord {
    /// The year, from 1.
    pub year: u64,
    /// Updates of it.
    pub updates: u64,
    /// What they minted.
    pub minted: i128,
    /// What the closed form says of them.
    pub closed_form: i128,
    /// Part of the workers.
    pub workers: i128,
    /// Part of the validators.
    pub validators: i128,
    /// Part of the treasury.
    pub treasury: i128,
    /// Supply after the year's last update.
    pub supply: i128,
    /// What circulates then.
    pub circulating: i128,
    /// Collateral then.
    pub locked: i128,
    /// Workers' rewards that are not claimed then.
    pub unclaimed: i128,
    /// Payments of open jobs then.
    pub escrowed: i128,
    /// Burned until then.
    pub burned: i128,
}

impl YearRecord {
    /// What the year minted, in per cent of the supply before it.
    #[must_use]
    pub fn inflation_percent(&self) -> f64 {
        100.0 * self.minted as f64 / (self.supply - self.minted) as f64
    }
}

/// The years of an execution, in order.
pub fn years(executed: &Executed) -> Result<Vec<YearRecord>, EmissionError> {
    let mut years: Vec<YearRecord> = Vec::new();
    for record in &executed.records {
        if years.last().is_none_or(|year| year.year != record.year) {
            years.push(YearRecord {
                year: record.year,
                ..YearRecord::default()
            });
        }
        let Some(year) = years.last_mut() else {
            continue;
        };
        year.updates += 1;
        year.minted += signed(record.minted)?;
        year.closed_form += signed(record.closed_form)?;
        year.workers += signed(record.workers)?;
        year.validators += signed(record.validators)?;
        year.treasury += signed(record.treasury)?;
        year.supply = signed(record.supply)?;
    }
    for (year, books) in years.iter_mut().zip(&executed.years) {
        year.circulating = signed(books.circulating)?;
        year.locked = signed(books.locked)?;
        year.unclaimed = signed(books.unclaimed)?;
        year.escrowed = signed(books.escrowed)?;
        year.burned = signed(books.burned)?;
    }
    Ok(years)
}

/// One row for each update.
pub fn updates_table(records: &[UpdateRecord]) -> Result<Table, EmissionError> {
    let mut table = Table::new(
        "emission-updates",
        "Every state update, in wei",
        vec![
            column("update", "update", Kind::Ordinal),
            column("year", "year", Kind::Ordinal),
            column("elapsed_seconds", "executed after (s)", Kind::Count),
            column("era", "era", Kind::Ordinal),
            column("minted_wei", "minted (wei)", Kind::Wei),
            column("closed_form_wei", "closed form (wei)", Kind::Wei),
            column("difference_wei", "difference (wei)", Kind::Wei),
            column("supply_wei", "supply (wei)", Kind::Wei),
            column("workers_wei", "workers (wei)", Kind::Wei),
            column("validators_wei", "validators (wei)", Kind::Wei),
            column("treasury_wei", "treasury (wei)", Kind::Wei),
        ],
    );
    for record in records {
        let (minted, closed_form) = (signed(record.minted)?, signed(record.closed_form)?);
        table.push([
            record.update.into(),
            record.year.into(),
            record.elapsed_seconds.into(),
            record.era.into(),
            minted.into(),
            closed_form.into(),
            (minted - closed_form).into(),
            signed(record.supply)?.into(),
            signed(record.workers)?.into(),
            signed(record.validators)?.into(),
            signed(record.treasury)?.into(),
        ]);
    }
    Ok(table)
}

/// One row for each year: what was minted, beside the closed form, and for whom.
#[must_use]
pub fn years_table(years: &[YearRecord]) -> Table {
    let sno = Kind::Sno { decimals: 1 };
    let mut table = Table::new(
        "emission-years",
        "What the contracts minted, beside the closed form",
        vec![
            column("year", "year", Kind::Ordinal),
            column("updates", "updates", Kind::Count),
            column("minted_sno", "minted (SNO)", sno),
            column("closed_form_sno", "closed form (SNO)", sno),
            column("difference_sno", "difference (SNO)", sno),
            column("workers_sno", "to workers (SNO)", sno),
            column("validators_sno", "to validators (SNO)", sno),
            column("treasury_sno", "to the treasury (SNO)", sno),
            column("supply_sno", "supply at the end (SNO)", sno),
            column(
                "inflation_percent",
                "inflation (%)",
                Kind::Real { decimals: 2 },
            ),
        ],
    );
    for year in years {
        table.push([
            year.year.into(),
            year.updates.into(),
            year.minted.into(),
            year.closed_form.into(),
            (year.minted - year.closed_form).into(),
            year.workers.into(),
            year.validators.into(),
            year.treasury.into(),
            year.supply.into(),
            year.inflation_percent().into(),
        ]);
    }
    table
}

/// One row for genesis and for each year: where the supply is.
pub fn books_table(executed: &Executed, years: &[YearRecord]) -> Result<Table, EmissionError> {
    let sno = Kind::Sno { decimals: 0 };
    let mut table = Table::new(
        "emission-books",
        "Where the supply is at the end of each year, as the contracts tell (year 0: genesis)",
        vec![
            column("year", "year", Kind::Ordinal),
            column("supply_sno", "supply (SNO)", sno),
            column("circulating_sno", "circulating (SNO)", sno),
            column("locked_sno", "locked (SNO)", sno),
            column("unclaimed_sno", "unclaimed (SNO)", sno),
            column("escrowed_sno", "escrowed (SNO)", sno),
            column("burned_sno", "burned (SNO)", sno),
            column(
                "locked_percent",
                "locked (% of supply)",
                Kind::Real { decimals: 2 },
            ),
        ],
    );
    let genesis = &executed.genesis;
    let genesis = YearRecord {
        supply: signed(genesis.supply)?,
        circulating: signed(genesis.circulating)?,
        locked: signed(genesis.locked)?,
        unclaimed: signed(genesis.unclaimed)?,
        escrowed: signed(genesis.escrowed)?,
        burned: signed(genesis.burned)?,
        ..YearRecord::default()
    };
    for year in std::iter::once(&genesis).chain(years) {
        table.push([
            year.year.into(),
            year.supply.into(),
            year.circulating.into(),
            year.locked.into(),
            year.unclaimed.into(),
            year.escrowed.into(),
            year.burned.into(),
            (100.0 * year.locked as f64 / year.supply as f64).into(),
        ]);
    }
    Ok(table)
}

pub(super) fn signed(amount: U256) -> Result<i128, EmissionError> {
    i128::try_from(amount).map_err(|_| EmissionError::Amount(amount))
}
