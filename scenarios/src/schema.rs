//! The JSON Schema of scenario files, for editors and for checks without this crate.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::file::File;

/// The schema, from the very types that read the files. It lies beside the scenarios as `schema.json`.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<File>().to_value()
}
