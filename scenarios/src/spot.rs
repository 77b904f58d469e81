//! A value with its place in the file.

use std::ops::Range;

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
