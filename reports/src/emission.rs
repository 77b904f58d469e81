//! The emission report: what the deployed contracts mint, update by update, beside the closed form.
//!
//! ```text
//!   Network ── an UpdateRecord for each state update ──► Tables (CSV) ─┐
//!   (the contracts on revm)        │                     picture ──────┼─► a directory
//!                                  └─► discrepancy: none, or the first ┘
//! ```
//!
//! A **year** is 365 days and is said of the period that an update covers: year 1 has the updates 1 to 1,095. The
//! contracts pay an update at the rate of the **era** in which it is executed, and the last update of a year is executed
//! when the next era has just begun. A year therefore mints a little less than its rate times its hours, until the tail.

mod network;
mod picture;
mod record;
mod tables;

use std::num::NonZeroU64;

use polars::error::PolarsError;
use smartnodes_evm::{
    chain::{ChainError, ConfigError},
    deployment::InProcessError,
    emission::ERA_SECONDS,
    reward_tree::RewardTreeError,
};
use thiserror::Error;

pub use network::Network;
pub use picture::PictureError;
pub use record::{Discrepancy, UpdateRecord, discrepancy};
pub use tables::{Tables, YearRecord};

use crate::output::{OutputError, Staging};

/// Seconds between two state updates: the launch value.
pub const INTERVAL_SECONDS: u64 = 8 * 3_600;
/// State updates in a year of 365 days.
pub const UPDATES_PER_YEAR: u64 = ERA_SECONDS / INTERVAL_SECONDS;

/// One row for each state update.
pub const UPDATES_CSV: &str = "emission-updates.csv";
/// One row for each year.
pub const YEARS_CSV: &str = "emission-years.csv";
/// The picture.
pub const PICTURE_SVG: &str = "emission.svg";
/// The same picture in pixels.
pub const PICTURE_PNG: &str = "emission.png";
/// All files of the report.
pub const FILES: [&str; 4] = [UPDATES_CSV, YEARS_CSV, PICTURE_SVG, PICTURE_PNG];

/// Why there is no emission report.
#[derive(Debug, Error)]
pub enum EmissionError {
    /// The chain in the process cannot be made.
    #[error("chain: {0}")]
    Chain(#[from] ConfigError),
    /// The contracts cannot be deployed.
    #[error("deployment: {0}")]
    Deployment(#[from] InProcessError),
    /// A state update could not be executed.
    #[error("state update {update}: {step}: {source}")]
    Update {
        /// Its number, from 1.
        update: u64,
        /// What was being done.
        step: &'static str,
        /// What the chain said.
        source: Box<ChainError>,
    },
    /// The contracts did not announce what they should have.
    #[error(
        "state update {update}: the contracts did not announce {event}: are artifacts and bindings of one make?"
    )]
    NoEvent {
        /// Its number, from 1.
        update: u64,
        /// The event.
        event: &'static str,
    },
    /// The worker's reward has no tree.
    #[error("state update {update}: {source}")]
    RewardTree {
        /// Its number, from 1.
        update: u64,
        /// Why.
        source: RewardTreeError,
    },
    /// An amount that no honest contract reaches.
    #[error("{0} wei do not fit into 127 bits")]
    Amount(alloy::primitives::U256),
    /// The tables cannot be made.
    #[error("tables: {0}")]
    Tables(#[from] PolarsError),
    /// The picture cannot be drawn.
    #[error("picture: {0}")]
    Picture(#[from] PictureError),
    /// The report cannot be put in its place.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Executes every state update of `years`, in order. `progress` hears the number of each after it is done.
pub fn execute(
    years: NonZeroU64,
    mut progress: impl FnMut(u64),
) -> Result<Vec<UpdateRecord>, EmissionError> {
    let mut network = Network::deploy()?;
    (1..=years.get().saturating_mul(UPDATES_PER_YEAR))
        .map(|_| {
            let record = network.update()?;
            progress(record.update);
            Ok(record)
        })
        .collect()
}

/// Writes the report's files.
pub fn write(
    staging: &Staging,
    records: &[UpdateRecord],
    tables: &mut Tables,
) -> Result<(), EmissionError> {
    staging.write(UPDATES_CSV, &tables.updates_csv()?)?;
    staging.write(YEARS_CSV, &tables.years_csv()?)?;
    let svg = picture::svg(records)?;
    staging.write(PICTURE_SVG, svg.as_bytes())?;
    staging.write(PICTURE_PNG, &picture::png(&svg)?)?;
    Ok(())
}
