//! What can be wrong with a scenario file, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Why a scenario file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("cannot read the scenario {}: {source}", path.display())]
    Read {
        /// The file, as it was named.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The folder that should hold the library could not be read.
    #[error("cannot list the scenarios in {}: {source}; give the folder, or run in the repository's root", path.display())]
    List {
        /// The folder, as it was named.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The folder holds no scenario.
    #[error("no scenario in {}: give a scenario file, a folder of them, or a library of such folders", .0.display())]
    NoScenarios(PathBuf),
    /// The file was read and does not say something that can be run.
    #[error("{0}")]
    Invalid(Box<Invalid>),
}

/// A mistake inside a scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The file, or another name for the text.
    pub origin: String,
    /// Line of the mistake, from 1; 0 where it concerns the file as a whole.
    pub line: usize,
    /// Column of the mistake in characters, from 1; 0 where it concerns the file as a whole.
    pub column: usize,
    /// The key on that line, if it has one.
    pub field: Option<String>,
    /// The line itself.
    pub text: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Invalid {
    /// Places `message` at the byte range `span` of `text`.
    pub(crate) fn at(
        origin: &str,
        text: &str,
        span: Option<Range<usize>>,
        message: String,
    ) -> ScenarioError {
        let Some(start) = span
            .map(|s| s.start.min(text.len()))
            .filter(|s| text.is_char_boundary(*s))
        else {
            let (origin, field, text) = (origin.to_owned(), None, String::new());
            return ScenarioError::Invalid(Box::new(Invalid {
                origin,
                line: 0,
                column: 0,
                field,
                text,
                message,
            }));
        };
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_text = text[line_start..].lines().next().unwrap_or_default();
        let field = line_text
            .split_once('=')
            .map(|(key, _)| key.trim().to_owned())
            .filter(|key| !key.is_empty());
        ScenarioError::Invalid(Box::new(Invalid {
            origin: origin.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            field,
            text: line_text.trim_end().to_owned(),
            message,
        }))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.origin, self.message);
        }
        write!(f, "{}:{}:{}: ", self.origin, self.line, self.column)?;
        if let Some(field) = &self.field {
            write!(f, "field `{field}`: ")?;
        }
        let margin = " ".repeat(self.line.to_string().len());
        let indent = " ".repeat(self.column.saturating_sub(1));
        write!(
            f,
            "{}\n {margin} |\n {} | {}\n {margin} | {indent}^",
            self.message, self.line, self.text
        )
    }
}
