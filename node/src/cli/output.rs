//! Results, for people or for programs.

use serde_json::Value;

use super::error::CliError;

/// Where results go.
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Output {
        Output { json }
    }

    /// Prints an object: one line of JSON, or one line for each field.
    pub(super) fn result(&self, object: &Value) {
        if self.json {
            println!("{object}");
            return;
        }
        let Value::Object(fields) = object else {
            println!("{}", plain(object));
            return;
        };
        let width = fields.keys().map(String::len).max().unwrap_or(0);
        for (name, value) in fields {
            println!("{name:width$}  {}", plain(value));
        }
    }

    /// Says what went wrong: to standard error, and with `--json` as an object too.
    pub(super) fn error(&self, error: &CliError) {
        eprintln!("error: {error}");
        if self.json {
            println!("{}", serde_json::json!({ "error": error.to_string() }));
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
