//! The report's tables: one row for each update, and what a query makes of them for each year.

use alloy::primitives::U256;
use polars::prelude::{Column, DataFrame, IntoLazy, NamedFrom, Series, col, len};
use polars_io::{SerWriter, csv::write::CsvWriter};

use super::{EmissionError, UpdateRecord};

/// Wei in one SNO.
const WEI_PER_SNO: i128 = 1_000_000_000_000_000_000;
/// Decimals of inflation in per cent.
const PERCENT_DECIMALS: u32 = 4;

/// One year of updates. Amounts are in SNO wei.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// The report's tables.
#[derive(Clone, Debug)]
pub struct Tables {
    updates: DataFrame,
    years: Vec<YearRecord>,
}

impl Tables {
    /// Makes the tables from the updates, in their order.
    pub fn new(records: &[UpdateRecord]) -> Result<Self, EmissionError> {
        let updates = updates_frame(records)?;
        let years = years(&updates)?;
        Ok(Self { updates, years })
    }

    /// The years, in order.
    #[must_use]
    pub fn years(&self) -> &[YearRecord] {
        &self.years
    }

    /// The years and the whole in a few lines of text.
    #[must_use]
    pub fn summary(&self) -> String {
        let sum = |amount: fn(&YearRecord) -> i128| sno(self.years.iter().map(amount).sum());
        let updates: u64 = self.years.iter().map(|year| year.updates).sum();
        let mut lines = vec![format!(
            "{:>4} {:>14} {:>16} {:>12}",
            "year", "minted (SNO)", "supply", "inflation %"
        )];
        lines.extend(self.years.iter().map(|year| {
            format!(
                "{:>4} {:>14} {:>16} {:>12}",
                year.year,
                sno(year.minted),
                sno(year.supply),
                inflation_percent(year)
            )
        }));
        lines.push(format!(
            "{updates} state updates executed: {} SNO minted, {} SNO by the closed form, difference {}",
            sum(|year| year.minted),
            sum(|year| year.closed_form),
            sum(|year| year.minted - year.closed_form),
        ));
        lines.join("\n")
    }

    /// The table of updates as CSV.
    pub fn updates_csv(&mut self) -> Result<Vec<u8>, EmissionError> {
        csv(&mut self.updates)
    }

    /// The table of years as CSV, with exact amounts in SNO.
    pub fn years_csv(&self) -> Result<Vec<u8>, EmissionError> {
        let sno = |name: &str, amount: fn(&YearRecord) -> i128| {
            let texts: Vec<String> = self.years.iter().map(|year| sno(amount(year))).collect();
            Column::from(Series::new(name.into(), texts))
        };
        let number = |name: &str, number: fn(&YearRecord) -> u64| {
            let numbers: Vec<u64> = self.years.iter().map(number).collect();
            Column::from(Series::new(name.into(), numbers))
        };
        let inflation: Vec<String> = self.years.iter().map(inflation_percent).collect();
        let mut frame = DataFrame::new_infer_height(vec![
            number("year", |year| year.year),
            number("updates", |year| year.updates),
            sno("minted_sno", |year| year.minted),
            sno("closed_form_sno", |year| year.closed_form),
            sno("difference_sno", |year| year.minted - year.closed_form),
            sno("workers_sno", |year| year.workers),
            sno("validators_sno", |year| year.validators),
            sno("treasury_sno", |year| year.treasury),
            sno("supply_sno", |year| year.supply),
            Column::from(Series::new("inflation_percent".into(), inflation)),
        ])?;
        csv(&mut frame)
    }
}

fn csv(frame: &mut DataFrame) -> Result<Vec<u8>, EmissionError> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(frame)?;
    Ok(bytes)
}

fn updates_frame(records: &[UpdateRecord]) -> Result<DataFrame, EmissionError> {
    let number = |name: &str, number: fn(&UpdateRecord) -> u64| {
        let numbers: Vec<u64> = records.iter().map(number).collect();
        Column::from(Series::new(name.into(), numbers))
    };
    let wei = |name: &str, amount: fn(&UpdateRecord) -> U256| {
        let amounts = records.iter().map(|record| signed(amount(record)));
        let amounts = amounts.collect::<Result<Vec<i128>, EmissionError>>()?;
        Ok::<_, EmissionError>(Column::from(Series::new(name.into(), amounts)))
    };
    let frame = DataFrame::new_infer_height(vec![
        number("update", |record| record.update),
        number("year", UpdateRecord::year),
        number("elapsed_seconds", |record| record.elapsed_seconds),
        number("era", |record| record.era),
        wei("minted_wei", |record| record.minted)?,
        wei("closed_form_wei", |record| record.closed_form)?,
        wei("supply_wei", |record| record.supply)?,
        wei("workers_wei", |record| record.workers)?,
        wei("validators_wei", |record| record.validators)?,
        wei("treasury_wei", |record| record.treasury)?,
    ])?;
    let difference = (col("minted_wei") - col("closed_form_wei")).alias("difference_wei");
    let columns = [
        col("update"),
        col("year"),
        col("elapsed_seconds"),
        col("era"),
        col("minted_wei"),
        col("closed_form_wei"),
        difference,
        col("supply_wei"),
        col("workers_wei"),
        col("validators_wei"),
        col("treasury_wei"),
    ];
    Ok(frame.lazy().select(columns).collect()?)
}

fn years(updates: &DataFrame) -> Result<Vec<YearRecord>, EmissionError> {
    let frame = updates
        .clone()
        .lazy()
        .group_by_stable([col("year")])
        .agg([
            len().alias("updates"),
            col("minted_wei").sum(),
            col("closed_form_wei").sum(),
            col("workers_wei").sum(),
            col("validators_wei").sum(),
            col("treasury_wei").sum(),
            col("supply_wei").last(),
        ])
        .collect()?;
    let column = |name| frame.column(name).and_then(|column| column.i128().cloned());
    let (minted, closed_form) = (column("minted_wei")?, column("closed_form_wei")?);
    let (workers, validators) = (column("workers_wei")?, column("validators_wei")?);
    let (treasury, supply) = (column("treasury_wei")?, column("supply_wei")?);
    let (year, updates) = (
        frame.column("year")?.u64()?,
        frame.column("updates")?.u32()?,
    );
    let mut years = Vec::with_capacity(frame.height());
    for row in 0..frame.height() {
        // No column has a null: each row is a sum, a last value or a count of at least one update.
        let amount = |column: &polars::prelude::Int128Chunked| column.get(row).unwrap_or_default();
        let year = year.get(row).unwrap_or_default();
        years.push(YearRecord {
            year,
            updates: updates.get(row).unwrap_or_default().into(),
            minted: amount(&minted),
            closed_form: amount(&closed_form),
            workers: amount(&workers),
            validators: amount(&validators),
            treasury: amount(&treasury),
            supply: amount(&supply),
        });
    }
    Ok(years)
}

fn signed(amount: U256) -> Result<i128, EmissionError> {
    i128::try_from(amount).map_err(|_| EmissionError::Amount(amount))
}

/// An amount in SNO, exact, without needless zeros.
fn sno(wei: i128) -> String {
    let sign = if wei < 0 { "-" } else { "" };
    let wei = wei.unsigned_abs();
    let unit = WEI_PER_SNO.unsigned_abs();
    let (whole, fraction) = (wei / unit, wei % unit);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:018}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

/// What a year minted, in per cent of the supply before it, rounded down.
fn inflation_percent(year: &YearRecord) -> String {
    let unit = 10_i128.pow(PERCENT_DECIMALS);
    let before = year.supply - year.minted;
    match year
        .minted
        .checked_mul(100 * unit)
        .and_then(|scaled| scaled.checked_div(before))
    {
        Some(percent) => {
            format!(
                "{}.{:0width$}",
                percent / unit,
                percent % unit,
                width = PERCENT_DECIMALS as usize
            )
        }
        // Nothing can grow from nothing.
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sno_is_exact_and_short() {
        let cases = [
            (0, "0"),
            (1, "0.000000000000000001"),
            (-1_500_000_000_000_000_000, "-1.5"),
            (49_275_000 * WEI_PER_SNO, "49275000"),
            (38_314_848 * WEI_PER_SNO / 10, "3831484.8"),
        ];
        for (wei, text) in cases {
            assert_eq!(sno(wei), text);
        }
    }
}
