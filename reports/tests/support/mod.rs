//! Starts the binary and reads what it writes.

#![allow(
    clippy::disallowed_methods,
    reason = "the tests start the binary and read its files"
)]
#![allow(dead_code, reason = "no test uses all of it")]

pub mod parts;
pub mod s3;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Runs `smartnodes-report` with these arguments.
pub fn report(args: &[&str], out: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smartnodes-report"));
    command.args(args);
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    command.output().expect("the binary starts")
}

/// Runs it, and it must succeed.
pub fn made(args: &[&str], out: &Path) -> Output {
    let output = report(args, Some(out));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {message}");
    assert!(
        message.is_empty(),
        "no progress where there is no terminal: {message}"
    );
    output
}

/// Runs it, and it must refuse, naming this, and leave nothing.
pub fn refused(args: &[&str], out: Option<&Path>, named: &str) {
    let output = report(args, out);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?} {out:?}: {message}");
    assert!(message.contains(named), "{args:?} {out:?}: {message}");
    assert!(output.stdout.is_empty());
}

/// Names of all entries of a directory, in order.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut names: Vec<String> = names.map(|name| name.expect("a plain name")).collect();
    names.sort();
    names
}

/// A file of a report.
pub fn read(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of a report, as text.
pub fn text(dir: &Path, name: &str) -> String {
    String::from_utf8(read(dir, name)).expect("text")
}

/// The rows of a CSV file without quotes: its header, and what is below.
pub fn rows(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut lines = text
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    (lines.next().expect("a header"), lines.collect())
}

/// Both directories have the same files with the same bytes.
pub fn assert_same(one: &Path, other: &Path) {
    assert_eq!(names(one), names(other));
    for name in names(one) {
        assert!(read(one, &name) == read(other, &name), "{name} differs");
    }
}

/// Every picture and table of a page is there, in all its forms, and is what it says.
pub fn assert_whole(dir: &Path, document: &str) {
    let page = text(dir, &format!("{document}.html"));
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    for outside in ["http://", "https://", "<script", "<link", "<img", "@import"] {
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(outside), "{document}.html has {outside}");
    }
    let names = names(dir);
    let all = |end: &str| -> Vec<String> {
        let stems = names.iter().filter_map(|name| name.strip_suffix(end));
        stems.map(str::to_owned).collect()
    };
    assert_eq!(all(".csv"), all(".parquet"));
    assert_eq!(all(".svg"), all(".png"));
    let markdown = text(dir, &format!("{document}.md"));
    for picture in all(".svg") {
        assert!(
            page.contains(&format!("<figure id=\"{picture}\">")),
            "{picture}"
        );
        assert!(markdown.contains(&format!("({picture}.svg)")), "{picture}");
        assert!(read(dir, &format!("{picture}.png")).starts_with(b"\x89PNG\r\n\x1a\n"));
    }
    for table in all(".csv") {
        assert!(page.contains(&format!("href=\"{table}.csv\"")), "{table}");
        assert!(
            read(dir, &format!("{table}.parquet")).starts_with(b"PAR1"),
            "{table}"
        );
    }
}
