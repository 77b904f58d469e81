//! The emission report: what the deployed contracts mint, update by update, beside the closed form and the whitepaper's
//! claims, and what assumptions make of it.
//!
//! ```text
//!   Network ── an UpdateRecord for each state update ──► tables ── claims, income ─┐
//!   (the contracts on revm)                                                        │
//!      ▲ replay: the same books after every update, to the wei                     ├──► a Document
//!   Model ── a Period after another, in whole numbers ──► trials, sensitivity ─────┘
//! ```
//!
//! A **year** is 365 days and is said of the period that an update covers: year 1 has the updates 1 to 1,095. The
//! contracts pay an update at the rate of the **era** in which its period began, so a year of updates is paid at one rate.

mod claims;
mod execute;
mod income;
pub mod model;
pub mod params;
mod pictures;
mod record;
mod replay;
mod report;
mod sensitivity;
mod tables;
pub mod trials;

use std::num::NonZeroU64;

use thiserror::Error;

pub use execute::execute;
pub use params::{ParamError, Params};
pub use record::{Discrepancy, UpdateRecord, discrepancy};
pub use replay::{Compared, Difference, replay};
pub use report::{Report, report, report_files};

use crate::{
    document::DocumentError,
    network::{ContractBooks, NetworkError},
    picture::PictureError,
};

/// The seed of the trials if none is given.
pub const SEED: u64 = 1;

/// What an emission report is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Years of 365 days from deployment.
    pub years: NonZeroU64,
    /// What is assumed.
    pub params: Params,
    /// Monte-Carlo trials, 0 for none.
    pub trials: u64,
    /// Seed of their random numbers.
    pub seed: u64,
}

/// Why there is no emission report.
#[derive(Debug, Error)]
pub enum EmissionError {
    /// The contracts could not be driven.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An amount that no honest contract reaches.
    #[error("{0} wei do not fit into 127 bits")]
    Amount(alloy::primitives::U256),
    /// A picture cannot be drawn.
    #[error("picture: {0}")]
    Picture(#[from] PictureError),
    /// The report cannot be put together.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// What the contracts did.
#[derive(Clone, Debug)]
pub struct Executed {
    /// Where the supply is at genesis.
    pub genesis: ContractBooks,
    /// Every update, in order.
    pub records: Vec<UpdateRecord>,
    /// Where the supply is at the end of each year.
    pub years: Vec<ContractBooks>,
}
