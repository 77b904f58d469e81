//! A sweep of the simulator: its Parquet parts as one table.
//!
//! A sweep that is cut in shards leaves a part for each. They are read as one lazy scan: a query reads only the columns
//! that it names. All parts must be of one build, for runs of different programs cannot be compared.

#![allow(
    clippy::disallowed_methods,
    reason = "a report reads files of the real disk; it never runs in the simulator"
)]

mod evaluate;
mod parts;
mod store;

use std::path::{Path, PathBuf};

use polars::{
    error::PolarsError,
    prelude::{DataFrame, LazyFrame, col, len},
};
use tempfile::TempDir;
use thiserror::Error;

pub(crate) use evaluate::share;
pub use evaluate::{FaultKind, Scenario, Violation};
pub(crate) use parts::CASES;
pub use store::StoreError;

use self::{parts::Part, store::Store};
use crate::picture::PictureError;

/// Why a sweep cannot be read.
#[derive(Debug, Error)]
pub enum SweepError {
    /// An object store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing to read there.
    #[error("{dir:?} cannot be read as a sweep's directory: {source}")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No parts.
    #[error("{0:?} has no part-*.parquet: give the directory that `sweep --out` wrote")]
    NoParts(PathBuf),
    /// A part that cannot be read.
    #[error(
        "{part:?} cannot be read as a part of a sweep: {source}: was its shard interrupted? run it again"
    )]
    Part {
        /// The part.
        part: PathBuf,
        /// Why.
        source: PolarsError,
    },
    /// A part without a column, or with one of another type.
    #[error(
        "{part:?} has no column {column} of type {wanted}: is it of this version of the simulator?"
    )]
    Column {
        /// The part.
        part: PathBuf,
        /// The column.
        column: &'static str,
        /// Its type.
        wanted: String,
    },
    /// A part whose name says that there are others, which are not there.
    #[error(
        "{dir:?} lacks part {shard} of {shards}: run the shards that are missing, or copy their parts here"
    )]
    MissingPart {
        /// The directory.
        dir: PathBuf,
        /// The first part that is missing, from 1.
        shard: u64,
        /// How many there are.
        shards: u64,
    },
    /// Parts that say that there are different numbers of them.
    #[error(
        "{dir:?} has parts of a sweep in {one} shards and of one in {other}: give each a directory of its own"
    )]
    MixedShards {
        /// The directory.
        dir: PathBuf,
        /// A number of shards.
        one: u64,
        /// Another.
        other: u64,
    },
    /// Runs of different programs.
    #[error(
        "the sweep has runs of build {one} and of build {other}: they cannot be compared; run all shards with one"
    )]
    MixedBuilds {
        /// A build.
        one: String,
        /// Another.
        other: String,
    },
    /// The same run twice.
    #[error(
        "the sweep has seed {seed} of scenario {scenario} with {adversaries} adversaries twice: was one shard run twice into \
         this directory?"
    )]
    Twice {
        /// The scenario.
        scenario: String,
        /// The seed.
        seed: u64,
        /// How many do not play by the rules.
        adversaries: u64,
    },
    /// No runs.
    #[error("{0:?} has parts, but no runs in them: there is nothing to report")]
    Empty(PathBuf),
    /// A value that no run has.
    #[error(
        "the sweep has {value:?} as {column} of seed {seed} of scenario {scenario}: use {wanted}"
    )]
    Value {
        /// The column.
        column: &'static str,
        /// The value.
        value: String,
        /// The scenario.
        scenario: String,
        /// The seed.
        seed: u64,
        /// What it should be.
        wanted: &'static str,
    },
    /// A query failed.
    #[error("the sweep cannot be evaluated: {0}")]
    Query(#[from] PolarsError),
    /// A picture cannot be drawn.
    #[error("picture: {0}")]
    Picture(#[from] PictureError),
}

/// A side of the number of adversaries that a network bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// No more than it bears: everything must hold.
    Near,
    /// More than it bears: something must be seen not to hold.
    Far,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its scenario.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// Hash of its trace.
    pub trace_hash: String,
    /// Whether everything held; beyond a limit, whether all that had to break did, and nothing else.
    pub held: bool,
    /// How many do not play by the rules: of a scenario with a limit, those that it is about.
    pub adversaries: u64,
    /// On which side of its scenario's limit it is; `None` where there is no limit.
    pub side: Option<Side>,
    /// Virtual time that it lived through, in seconds.
    pub virtual_seconds: f64,
    /// Time that it took, in seconds.
    pub wall_seconds: f64,
    /// Hosts.
    pub hosts: u64,
    /// Messages on the wire.
    pub messages: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// State updates executed.
    pub state_updates: u64,
    /// Rounds opened.
    pub rounds_opened: u64,
    /// Jobs submitted.
    pub jobs_submitted: u64,
    /// Jobs completed.
    pub jobs_completed: u64,
    /// Jobs failed.
    pub jobs_failed: u64,
    /// Claims paid.
    pub claims: u64,
    /// What did not hold.
    pub violations: Vec<String>,
    /// Kinds of the faults that it met, each once, in order.
    pub faults: Vec<String>,
}

/// All runs of a sweep, in the order of scenario and seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Where it was read from, as it was given.
    pub source: String,
    /// The build of all its runs.
    pub build: String,
    /// Parts read.
    pub parts: u64,
    /// Pages that show a run's story: their addresses relative to the directory.
    pub timelines: Vec<String>,
    runs: Vec<Run>,
}

impl Sweep {
    /// Whether this names an object store, not a directory.
    #[must_use]
    pub fn is_remote(source: &str) -> bool {
        source.contains("://")
    }

    /// Reads the sweep in a directory, or in a folder of an object store.
    pub fn read(source: &str) -> Result<Self, SweepError> {
        let dir = Path::new(source);
        if !Self::is_remote(source) {
            let all = parts::list(dir)?;
            return Self::of(source, &all, dir, &parts::find(dir, &all)?);
        }
        let store = Store::open(source)?;
        let all = store.names()?;
        let names = parts::find(dir, &all)?;
        let fetched = TempDir::new().map_err(StoreError::from)?;
        store.fetch(&names, fetched.path())?;
        Self::of(source, &all, fetched.path(), &names)
    }

    /// Reads the parts of these names, which are on this machine in `place`; `all` is what lies beside them in the source.
    fn of(
        source: &str,
        all: &[String],
        place: &Path,
        names: &[String],
    ) -> Result<Self, SweepError> {
        let dir = Path::new(source);
        let parts = names.iter().map(|name| Part {
            named: dir.join(name),
            path: place.join(name),
        });
        let parts: Vec<Part> = parts.collect();
        let lazy = parts::scan(&parts)?;
        let build = one_build(&lazy)?;
        let frame = lazy.collect()?;
        let Some(build) = build.filter(|_| frame.height() > 0) else {
            return Err(SweepError::Empty(dir.to_owned()));
        };
        let mut runs = evaluate::runs(&frame)?;
        runs.sort_by(|a, b| a.key().cmp(&b.key()));
        let twice = runs.windows(2).find(|pair| pair[0].key() == pair[1].key());
        if let Some([run, _]) = twice {
            return Err(SweepError::Twice {
                scenario: run.scenario.clone(),
                seed: run.seed,
                adversaries: run.adversaries,
            });
        }
        Ok(Self {
            source: source.to_owned(),
            build,
            parts: parts.len() as u64,
            timelines: parts::timelines(all),
            runs,
        })
    }

    /// All runs.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }
}

/// The build of all runs; `None` without runs. Reads that column alone.
fn one_build(lazy: &LazyFrame) -> Result<Option<String>, SweepError> {
    let builds: DataFrame = lazy
        .clone()
        .select([col("build")])
        .group_by([col("build")])
        .agg([len()])
        .collect()?;
    let mut builds: Vec<String> = builds
        .column("build")?
        .str()?
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    builds.sort();
    match builds.as_slice() {
        [one, other, ..] => Err(SweepError::MixedBuilds {
            one: one.clone(),
            other: other.clone(),
        }),
        [one] => Ok(Some(one.clone())),
        [] => Ok(None),
    }
}
