//! The consensus report: what the threshold of a state update protects from, and what it costs.
//!
//! ```text
//!   exact (hypergeometric) ──┐
//!   enumeration of all draws ─┼─► the same on every cell ──► a Document
//!   Voters (votes on revm) ───┘                                 ▲
//!   Sweep (full simulations) ── with intervals ─────────────────┘
//! ```

mod attack;
mod contract;
pub mod exact;
mod limits;
mod pictures;
mod report;
mod simulated;

use thiserror::Error;

pub use contract::{Draws, Recovery, Truth, Voters};
pub use limits::{Limits, LimitsError};
pub use report::{Report, report, report_files};

use crate::{
    document::DocumentError,
    network::NetworkError,
    picture::PictureError,
    sweep::{Sweep, SweepError},
};

/// Rounds of which the proposers are counted, if none are given.
pub const ROUNDS: u64 = 500;

/// The library of scenarios, if none is given.
pub const SCENARIOS: &str = "scenarios";

/// What a consensus report is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds of which the proposers are counted.
    pub rounds: u64,
    /// Full simulations to put beside it, and what their scenarios say of how many adversaries a network bears.
    pub simulated: Option<(Sweep, Limits)>,
}

/// Why there is no consensus report.
#[derive(Debug, Error)]
pub enum ConsensusError {
    /// The contracts could not be driven.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The sweep cannot be evaluated.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The sweep's scenarios are not those of the library.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A picture cannot be drawn.
    #[error("picture: {0}")]
    Picture(#[from] PictureError),
    /// The report cannot be put together.
    #[error(transparent)]
    Document(#[from] DocumentError),
}
