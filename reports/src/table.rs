//! Tables: where every number of a report is kept.
//!
//! A table is shown in the document (rounded as its columns say) and written as CSV and Parquet (exact). Prose names
//! cells instead of numbers ([`crate::document`]), so what is written cannot differ from what is in the table.

use polars::{
    error::PolarsError,
    prelude::{
        Column as PolarsColumn, DataFrame, Int128Chunked, IntoSeries, NamedFrom, NewChunkedArray,
        Series,
    },
};
use polars_io::{
    SerWriter,
    csv::write::CsvWriter,
    parquet::write::{ParquetCompression, ParquetWriter},
};
use thiserror::Error;

use crate::units::{self, grouped, sno_exact, sno_rounded};

/// What a column holds, and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A whole number that is counted.
    Count,
    /// A whole number that names something, such as a year or a seed: shown without separators.
    Ordinal,
    /// SNO wei, shown and written in SNO.
    Sno {
        /// Places that are shown; files have all 18.
        decimals: u32,
    },
    /// SNO wei, shown and written in wei.
    Wei,
    /// A measured or calculated number.
    Real {
        /// Places that are shown; files have all that the number has.
        decimals: usize,
    },
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in files and in references, with the unit last: `minted_sno`.
    pub name: &'static str,
    /// Its heading for people, with the unit.
    pub heading: String,
    /// What it holds.
    pub kind: Kind,
}

/// A column with this name, heading and kind.
#[must_use]
pub fn column(name: &'static str, heading: impl Into<String>, kind: Kind) -> Column {
    Column {
        name,
        heading: heading.into(),
        kind,
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing to say.
    Empty,
    /// Of a [`Kind::Text`] column.
    Text(String),
    /// Of a [`Kind::Count`] or [`Kind::Ordinal`] column.
    Number(u64),
    /// Of a [`Kind::Sno`] or [`Kind::Wei`] column: SNO wei.
    Wei(i128),
    /// Of a [`Kind::Real`] column.
    Real(f64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<i128> for Cell {
    fn from(wei: i128) -> Self {
        Self::Wei(wei)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        if number.is_finite() {
            Self::Real(number)
        } else {
            Self::Empty
        }
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// Why a table cannot be written.
#[derive(Debug, Error)]
pub enum TableError {
    /// A row that does not fit the columns.
    #[error("table {table}, row {row}: {column} is not what the column holds")]
    Shape {
        /// The table.
        table: &'static str,
        /// The row, from 0.
        row: usize,
        /// The column that is missing, too many or of another kind.
        column: String,
    },
    /// Polars refused.
    #[error("table {table}: {source}")]
    Polars {
        /// The table.
        table: &'static str,
        /// What it said.
        source: PolarsError,
    },
}

/// A table of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its name in files and references.
    pub name: &'static str,
    /// What it shows, for people.
    pub title: String,
    /// Its columns; the first one names the row.
    pub columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(name: &'static str, title: impl Into<String>, columns: Vec<Column>) -> Self {
        Self {
            name,
            title: title.into(),
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row: a cell for each column, in order.
    pub fn push<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(row.into());
    }

    /// Adds a row of a width that is known only at run time.
    pub fn push_row(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The rows, in order.
    #[must_use]
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// A cell as it is shown.
    #[must_use]
    pub fn show(&self, row: usize, column: usize) -> String {
        let cell = self.rows.get(row).and_then(|row| row.get(column));
        let (Some(cell), Some(of)) = (cell, self.columns.get(column)) else {
            return String::new();
        };
        match (cell, of.kind) {
            (Cell::Text(text), _) => text.clone(),
            (Cell::Number(number), Kind::Ordinal) => number.to_string(),
            (Cell::Number(number), _) => grouped(&number.to_string()),
            (Cell::Wei(wei), Kind::Sno { decimals }) => sno_rounded(*wei, decimals),
            (Cell::Wei(wei), _) => wei.to_string(),
            (Cell::Real(number), Kind::Real { decimals }) => units::real(*number, decimals),
            (Cell::Real(number), _) => number.to_string(),
            (Cell::Empty, _) => "–".to_owned(),
        }
    }

    /// The cell of the row whose first column shows `key`, as it is shown.
    #[must_use]
    pub fn find(&self, key: &str, column: &str) -> Option<String> {
        let row = (0..self.rows.len()).find(|row| self.show(*row, 0) == key)?;
        let column = self.columns.iter().position(|of| of.name == column)?;
        Some(self.show(row, column))
    }

    /// The table as CSV: amounts in SNO exact and short.
    pub fn csv(&self) -> Result<Vec<u8>, TableError> {
        let mut bytes = Vec::new();
        CsvWriter::new(&mut bytes)
            .finish(&mut self.frame(false)?)
            .map_err(self.refused())?;
        Ok(bytes)
    }

    /// The table as Parquet: amounts as decimals of 18 places, wei as decimals of none.
    pub fn parquet(&self) -> Result<Vec<u8>, TableError> {
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes)
            .with_compression(ParquetCompression::Zstd(None))
            // Columns written one after another leave nothing to the order in which threads finish.
            .set_parallel(false)
            .finish(&mut self.frame(true)?)
            .map_err(self.refused())?;
        Ok(bytes)
    }

    /// The table as a data frame; amounts in SNO as decimals, or as exact text.
    fn frame(&self, decimals: bool) -> Result<DataFrame, TableError> {
        let width = self.columns.len();
        for (row, cells) in self.rows.iter().enumerate() {
            if cells.len() != width {
                let column = format!("its number of cells, {}", cells.len());
                return Err(self.shape(row, column));
            }
        }
        let columns = (0..width).map(|place| self.series(place, decimals));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        DataFrame::new(self.rows.len(), columns).map_err(self.refused())
    }

    fn series(&self, place: usize, decimals: bool) -> Result<PolarsColumn, TableError> {
        let of = &self.columns[place];
        let name = of.name.into();
        let series = match of.kind {
            Kind::Text => Series::new(
                name,
                self.values(place, |cell| match cell {
                    Cell::Text(text) => Some(text.as_str()),
                    _ => None,
                })?,
            ),
            Kind::Count | Kind::Ordinal => Series::new(
                name,
                self.values(place, |cell| match cell {
                    Cell::Number(number) => Some(*number),
                    _ => None,
                })?,
            ),
            Kind::Real { .. } => Series::new(
                name,
                self.values(place, |cell| match cell {
                    Cell::Real(number) => Some(*number),
                    _ => None,
                })?,
            ),
            Kind::Sno { .. } | Kind::Wei => {
                let wei = self.values(place, |cell| match cell {
                    Cell::Wei(wei) => Some(*wei),
                    _ => None,
                })?;
                let whole = of.kind == Kind::Wei;
                if decimals {
                    let places = if whole { 0 } else { 18 };
                    Int128Chunked::from_iter_options(name, wei.into_iter())
                        .into_decimal(38, places)
                        .map_err(self.refused())?
                        .into_series()
                } else if whole {
                    let text = wei.into_iter().map(|wei| wei.map(|wei| wei.to_string()));
                    Series::new(name, text.collect::<Vec<_>>())
                } else {
                    let text = wei.into_iter().map(|wei| wei.map(sno_exact));
                    Series::new(name, text.collect::<Vec<_>>())
                }
            }
        };
        Ok(series.into())
    }

    /// A column's values; every cell must be empty or have one.
    fn values<'a, T>(
        &'a self,
        place: usize,
        value: impl Fn(&'a Cell) -> Option<T>,
    ) -> Result<Vec<Option<T>>, TableError> {
        let cells = self.rows.iter().enumerate();
        let values = cells.map(|(row, cells)| match &cells[place] {
            Cell::Empty => Ok(None),
            cell => match value(cell) {
                Some(value) => Ok(Some(value)),
                None => Err(self.shape(row, self.columns[place].name.to_owned())),
            },
        });
        values.collect()
    }

    fn shape(&self, row: usize, column: String) -> TableError {
        TableError::Shape {
            table: self.name,
            row,
            column,
        }
    }

    fn refused(&self) -> impl Fn(PolarsError) -> TableError + use<> {
        let table = self.name;
        move |source| TableError::Polars { table, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(
            "fruit",
            "Fruit",
            vec![
                column("name", "name", Kind::Text),
                column("number", "number", Kind::Count),
                column("price_sno", "price (SNO)", Kind::Sno { decimals: 2 }),
                column("weight_kg", "weight (kg)", Kind::Real { decimals: 1 }),
            ],
        );
        let price = 12_345_678_900_000_000_000_000_i128;
        table.push([
            "apple, red".into(),
            1_200_u64.into(),
            price.into(),
            0.25.into(),
        ]);
        table.push(["pear".into(), Cell::Empty, Cell::Empty, f64::NAN.into()]);
        table
    }

    #[test]
    fn files_are_exact_and_what_is_shown_is_rounded() {
        let table = table();
        let csv = String::from_utf8(table.csv().expect("a table")).expect("text");
        assert_eq!(
            csv,
            "name,number,price_sno,weight_kg\n\"apple, red\",1200,12345.6789,0.25\npear,,,\n"
        );
        assert_eq!(
            table.find("apple, red", "price_sno").as_deref(),
            Some("12,345.68")
        );
        assert_eq!(table.find("apple, red", "number").as_deref(), Some("1,200"));
        assert_eq!(table.find("pear", "weight_kg").as_deref(), Some("–"));
        assert_eq!(table.find("plum", "number"), None);
        assert_eq!(table.find("pear", "colour"), None);
    }

    #[test]
    fn parquet_gives_back_what_was_written_and_is_repeatable() {
        use polars_io::{SerReader, parquet::read::ParquetReader};
        let table = table();
        let bytes = table.parquet().expect("a table");
        assert_eq!(bytes, table.parquet().expect("a table"));
        let frame = ParquetReader::new(std::io::Cursor::new(bytes))
            .finish()
            .expect("parquet");
        assert_eq!(frame.shape(), (2, 4));
        let price = frame
            .column("price_sno")
            .expect("a column")
            .get(0)
            .expect("a row");
        assert_eq!(price.to_string(), "12345.678900000000000000");
    }

    #[test]
    fn a_row_that_does_not_fit_is_named() {
        let mut narrow = table();
        narrow.push(["plum".into()]);
        let error = narrow.csv().expect_err("too few cells").to_string();
        assert!(
            error.starts_with("table fruit, row 2: its number of cells, 1"),
            "{error}"
        );
        let mut wrong = table();
        wrong.push(["plum".into(), "many".into(), Cell::Empty, Cell::Empty]);
        let error = wrong.parquet().expect_err("text for a number").to_string();
        assert!(
            error.starts_with("table fruit, row 2: number is not"),
            "{error}"
        );
    }
}
