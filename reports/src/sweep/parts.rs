//! The files of a sweep, and the lazy scan of them all.

#![allow(
    clippy::disallowed_methods,
    reason = "a report reads files of the real disk; it never runs in the simulator"
)]

use std::{
    any::Any,
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use polars::{
    error::PolarsResult,
    prelude::{
        AnonymousScan, AnonymousScanArgs, DataFrame, DataType, Field, LazyFrame, ScanArgsAnonymous,
        Schema, SchemaRef, polars_err,
    },
};
use polars_io::{SerReader, parquet::read::ParquetReader};

use super::SweepError;

/// Where a sweep leaves the cases of runs that failed.
pub(crate) const CASES: &str = "cases";

/// What every part has.
pub(super) const COLUMNS: [(&str, DataType); 20] = [
    ("scenario", DataType::String),
    ("seed", DataType::UInt64),
    ("build", DataType::String),
    ("trace_hash", DataType::String),
    ("outcome", DataType::String),
    ("adversaries", DataType::UInt32),
    ("limit", DataType::String),
    ("virtual_seconds", DataType::Float64),
    ("wall_seconds", DataType::Float64),
    ("hosts", DataType::UInt32),
    ("messages", DataType::UInt64),
    ("bytes", DataType::UInt64),
    ("state_updates", DataType::UInt64),
    ("rounds_opened", DataType::UInt64),
    ("jobs_submitted", DataType::UInt64),
    ("jobs_completed", DataType::UInt64),
    ("jobs_failed", DataType::UInt64),
    ("claims", DataType::UInt64),
    ("violations", DataType::String),
    ("faults", DataType::String),
];

/// What lies in a sweep's directory, and among the cases of runs that failed, as seen from it.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, SweepError> {
    let mut all = names(dir)?;
    if dir.join(CASES).is_dir() {
        let cases = names(&dir.join(CASES))?;
        all.extend(cases.into_iter().map(|name| format!("{CASES}/{name}")));
    }
    Ok(all)
}

/// The parts among what lies in a directory, in the order of their names, none missing as far as names tell.
pub(super) fn find(dir: &Path, all: &[String]) -> Result<Vec<String>, SweepError> {
    let is_part = |name: &&String| {
        name.starts_with("part-") && name.ends_with(".parquet") && !name.contains('/')
    };
    let mut names: Vec<String> = all.iter().filter(is_part).cloned().collect();
    names.sort();
    if names.is_empty() {
        return Err(SweepError::NoParts(dir.to_owned()));
    }
    complete(dir, &names)?;
    Ok(names)
}

/// Pages of runs beside the parts, and beside the cases of those that failed.
pub(super) fn timelines(all: &[String]) -> Vec<String> {
    let folder = |name: &str| {
        name.rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_owned()
    };
    let is_page =
        |name: &&String| name.ends_with(".html") && ["", CASES].contains(&folder(name).as_str());
    let mut pages: Vec<String> = all.iter().filter(is_page).cloned().collect();
    pages.sort();
    pages
}

fn names(dir: &Path) -> Result<Vec<String>, SweepError> {
    let failed = |source| SweepError::Directory {
        dir: dir.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        // What has no plain name is not of a sweep.
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Shards are numbered `part-K-of-N.parquet`, K from 1: where one says how many there are, all of them must be there.
fn complete(dir: &Path, names: &[String]) -> Result<(), SweepError> {
    let numbered = names.iter().filter_map(|name| {
        let numbers = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
        let (shard, shards) = numbers.split_once("-of-")?;
        Some((shard.parse::<u64>().ok()?, shards.parse::<u64>().ok()?))
    });
    let mut present = BTreeSet::new();
    let mut of = None;
    for (shard, shards) in numbered {
        let one = *of.get_or_insert(shards);
        if one != shards {
            return Err(SweepError::MixedShards {
                dir: dir.to_owned(),
                one,
                other: shards,
            });
        }
        present.insert(shard);
    }
    let shards = of.unwrap_or_default();
    match (1..=shards).find(|shard| !present.contains(shard)) {
        None => Ok(()),
        Some(shard) => Err(SweepError::MissingPart {
            dir: dir.to_owned(),
            shard,
            shards,
        }),
    }
}

/// A part of a sweep.
pub(super) struct Part {
    /// What messages call it.
    pub(super) named: PathBuf,
    /// Where it is on this machine.
    pub(super) path: PathBuf,
}

/// All parts as one table that is read when it is asked, and only as far as it is asked.
pub(super) fn scan(parts: &[Part]) -> Result<LazyFrame, SweepError> {
    for part in parts {
        check(part)?;
    }
    let schema = COLUMNS.map(|(name, kind)| Field::new(name.into(), kind));
    let scan = Parts {
        parts: parts.iter().map(|part| part.path.clone()).collect(),
        schema: Arc::new(Schema::from_iter(schema)),
    };
    let args = ScanArgsAnonymous {
        schema: Some(scan.schema.clone()),
        name: "PARTS OF A SWEEP",
        ..ScanArgsAnonymous::default()
    };
    Ok(LazyFrame::anonymous_scan(Arc::new(scan), args)?)
}

/// Looks at a part's columns, not at its rows.
fn check(part: &Part) -> Result<(), SweepError> {
    let failed = |source| SweepError::Part {
        part: part.named.clone(),
        source,
    };
    let file = File::open(&part.path).map_err(|error| failed(error.into()))?;
    let schema = ParquetReader::new(file).schema().map_err(failed)?;
    for (name, kind) in COLUMNS {
        let field = schema.get(name).map(DataType::from_arrow_field);
        if field.as_ref() != Some(&kind) {
            return Err(SweepError::Column {
                part: part.named.clone(),
                column: name,
                wanted: kind.to_string(),
            });
        }
    }
    Ok(())
}

/// Polars' own scan of Parquet comes with its streaming engine and an HTTP client; this one reads files alone.
struct Parts {
    parts: Vec<PathBuf>,
    schema: SchemaRef,
}

impl AnonymousScan for Parts {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn scan(&self, options: AnonymousScanArgs) -> PolarsResult<DataFrame> {
        let columns: Vec<String> = match &options.with_columns {
            Some(columns) => columns.iter().map(|name| name.to_string()).collect(),
            None => self
                .schema
                .iter_names()
                .map(|name| name.to_string())
                .collect(),
        };
        let mut whole: Option<DataFrame> = None;
        for part in &self.parts {
            let frame = ParquetReader::new(File::open(part)?)
                .with_columns(Some(columns.clone()))
                .finish()?
                // A part may have its columns in another order.
                .select(columns.iter().map(String::as_str))?;
            match &mut whole {
                Some(whole) => {
                    whole.vstack_mut(&frame)?;
                }
                None => whole = Some(frame),
            }
        }
        whole.ok_or_else(|| polars_err!(NoData: "a sweep without parts"))
    }

    fn schema(&self, _infer_schema_length: Option<usize>) -> PolarsResult<SchemaRef> {
        Ok(self.schema.clone())
    }

    fn allows_projection_pushdown(&self) -> bool {
        true
    }
}
