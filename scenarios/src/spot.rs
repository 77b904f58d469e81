//! A value with its place in the file.

use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

/// A value that knows where it was read, so that a mistake in it can be pointed out.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Spot<T>(Spanned<T>);

impl<T> Spot<T> {
    /// Where it was read, in bytes.
    pub(crate) fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

impl<T> AsRef<T> for Spot<T> {
    fn as_ref(&self) -> &T {
        self.0.get_ref()
    }
}

impl<T: JsonSchema> JsonSchema for Spot<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}
