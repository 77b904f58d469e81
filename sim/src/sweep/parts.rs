//! The part of a sweep as a Parquet table: one row a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::run::{Outcome, Record};

/// Why a part could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The file.
    #[error("cannot write {}: {source}; give --out a folder that can be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The table.
    #[error("cannot write {}: {source}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ParquetError,
    },
}

/// A column: its name and the value of each run.
struct Column(&'static str, Values);

enum Values {
    Text(Vec<String>),
    Count(Vec<u64>),
    Small(Vec<u32>),
    Seconds(Vec<f64>),
}

/// Writes one row for each run.
pub(super) fn write(path: &Path, build: &str, records: &[Record]) -> Result<(), PartError> {
    #[allow(
        clippy::disallowed_methods,
        reason = "a sweep's own files, on the real disk"
    )]
    let file = std::fs::File::create(path);
    let file = file.map_err(|source| PartError::File {
        path: path.to_owned(),
        source,
    })?;
    table(file, &columns(build, records)).map_err(|source| PartError::Table {
        path: path.to_owned(),
        source,
    })
}

fn columns(build: &str, records: &[Record]) -> Vec<Column> {
    let text = |value: fn(&Record) -> String| Values::Text(records.iter().map(value).collect());
    let count = |value: fn(&Record) -> u64| Values::Count(records.iter().map(value).collect());
    let seconds = |value: fn(&Record) -> f64| Values::Seconds(records.iter().map(value).collect());
    fn json<T: serde::Serialize>(value: &T) -> String {
        serde_json::to_string(value).unwrap_or_default()
    }
    let builds = vec![build.to_owned(); records.len()];
    let hosts = records.iter().map(|r| u32::try_from(r.hosts).unwrap_or(u32::MAX));
    vec![
        Column("scenario", text(|r| r.scenario.clone())),
        Column("seed", count(|r| r.seed)),
        Column("build", Values::Text(builds)),
        Column("trace_hash", text(|r| r.trace_hash.clone())),
        Column(
            "outcome",
            text(|r| {
                let outcome = match r.outcome {
                    Outcome::Held => "held",
                    Outcome::Violated => "violated",
                };
                outcome.to_owned()
            }),
        ),
        Column("virtual_seconds", seconds(|r| r.virtual_seconds)),
        Column("wall_seconds", seconds(|r| r.wall_seconds)),
        Column("hosts", Values::Small(hosts.collect())),
        Column("messages", count(|r| r.messages)),
        Column("bytes", count(|r| r.bytes)),
        Column("state_updates", count(|r| r.state_updates)),
        Column("rounds_opened", count(|r| r.rounds_opened)),
        Column("jobs_submitted", count(|r| r.jobs.submitted)),
        Column("jobs_completed", count(|r| r.jobs.completed)),
        Column("jobs_failed", count(|r| r.jobs.failed)),
        Column("claims", count(|r| r.claims)),
        Column("violations", text(|r| json(&r.violations))),
        Column("faults", text(|r| json(&r.faults))),
    ]
}

fn table(file: impl std::io::Write + Send, columns: &[Column]) -> Result<(), ParquetError> {
    let field = |Column(name, values): &Column| -> Result<Arc<Type>, ParquetError> {
        let (physical, converted) = match values {
            Values::Text(_) => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
            Values::Count(_) => (Physical::INT64, ConvertedType::UINT_64),
            Values::Small(_) => (Physical::INT32, ConvertedType::UINT_32),
            Values::Seconds(_) => (Physical::DOUBLE, ConvertedType::NONE),
        };
        let built = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_converted_type(converted)
            .build()?;
        Ok(Arc::new(built))
    };
    let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("run").with_fields(fields).build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for Column(name, values) in columns {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General(format!("the schema lacks {name}")));
        };
        match (column.untyped(), values) {
            (ColumnWriter::ByteArrayColumnWriter(writer), Values::Text(values)) => {
                let bytes: Vec<ByteArray> =
                    values.iter().map(|text| ByteArray::from(text.as_str())).collect();
                writer.write_batch(&bytes, None, None)?;
            }
            (ColumnWriter::Int64ColumnWriter(writer), Values::Count(values)) => {
                // The column is unsigned; its bits are the same.
                let bits: Vec<i64> = values.iter().map(|value| value.cast_signed()).collect();
                writer.write_batch(&bits, None, None)?;
            }
            (ColumnWriter::Int32ColumnWriter(writer), Values::Small(values)) => {
                let bits: Vec<i32> = values.iter().map(|value| value.cast_signed()).collect();
                writer.write_batch(&bits, None, None)?;
            }
            (ColumnWriter::DoubleColumnWriter(writer), Values::Seconds(values)) => {
                writer.write_batch(values, None, None)?;
            }
            _ => return Err(ParquetError::General(format!("{name} has another type"))),
        }
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "reads what it has written")]
    fn a_part_reads_back_row_by_row() {
        let record = |seed: u64| -> Record {
            serde_json::from_value(serde_json::json!({
                "scenario": "quick", "seed": seed, "trace_hash": "ab", "trace_lines": 1,
                "virtual_seconds": 1.5, "wall_seconds": 0.5, "hosts": 6, "messages": 7, "bytes": 8,
                "state_updates": 2, "rounds_opened": 3,
                "jobs": { "submitted": 2, "completed": 1, "failed": 1 }, "claims": 4,
                "balances": {}, "disks": {}, "faults": [], "points": {}, "violations": [],
                "outcome": "held"
            }))
            .expect("a record")
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("part.parquet");
        write(&path, "a build", &[record(1), record(u64::MAX)]).expect("written");
        let reader = SerializedFileReader::new(File::open(&path).expect("there")).expect("a part");
        let rows: Vec<_> = reader.get_row_iter(None).expect("rows").flatten().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].get_string(0).map(String::as_str), Ok("quick"));
        assert_eq!(rows[1].get_ulong(1), Ok(u64::MAX));
        assert_eq!(rows[0].get_string(4).map(String::as_str), Ok("held"));
        assert_eq!(rows[0].get_double(5), Ok(1.5));
        assert_eq!(rows[0].get_uint(7), Ok(6));
        assert_eq!(rows[0].get_string(17).map(String::as_str), Ok("[]"));
    }
}
