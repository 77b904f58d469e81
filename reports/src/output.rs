//! A directory of files that appears as a whole or not at all.

#![allow(
    clippy::disallowed_methods,
    reason = "a report is files on the real disk; it never runs in the simulator"
)]

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use thiserror::Error;

/// Why a report cannot be put where it was asked for.
#[derive(Debug, Error)]
pub enum OutputError {
    /// A path that names no directory of its own, such as `/` or `missing/..`.
    #[error(
        "--out {0:?} does not end in a name: give the directory of the report a name of its own"
    )]
    NoName(PathBuf),
    /// Something else is there.
    #[error("--out {0:?} is not a directory: choose another path")]
    NotADirectory(PathBuf),
    /// The directory is in use for other things, which replacing it would remove.
    #[error(
        "--out {dir:?} has {entry:?} in it, which is not of this report: choose a new or an empty directory"
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// The first of its entries that a report does not have.
        entry: OsString,
    },
    /// The operating system refused.
    #[error("--out {dir:?}: cannot {action}: {source}")]
    Io {
        /// The directory of the report.
        dir: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A report in the making, in a temporary directory beside its place. Dropped before [`Staging::publish`], it leaves
/// nothing behind.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    /// Holds the new report, and the old one for the moment of the exchange.
    temporary: TempDir,
}

impl Staging {
    /// Prepares to publish a report that consists of `files` as the directory `target`. An earlier report there, or an
    /// empty directory, will be replaced.
    pub fn create(target: &Path, files: &[String]) -> Result<Self, OutputError> {
        let failed = |action| {
            move |source| OutputError::Io {
                dir: target.to_owned(),
                action,
                source,
            }
        };
        let resolved = match target.canonicalize() {
            Ok(existing) => {
                check_replaceable(target, &existing, files)?;
                existing
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = target
                    .file_name()
                    .ok_or_else(|| OutputError::NoName(target.to_owned()))?;
                let parent = match target.parent() {
                    Some(parent) if parent != Path::new("") => parent,
                    _ => Path::new("."),
                };
                fs::create_dir_all(parent).map_err(failed("create its parent directory"))?;
                parent
                    .canonicalize()
                    .map_err(failed("find its parent directory"))?
                    .join(name)
            }
            Err(error) => return Err(failed("look at it")(error)),
        };
        let parent = resolved
            .parent()
            .ok_or_else(|| OutputError::NoName(target.to_owned()))?;
        // A sibling is on the same file system, so that publishing is a rename.
        let temporary = tempfile::Builder::new()
            .prefix(".smartnodes-report-")
            .tempdir_in(parent)
            .map_err(failed("write beside it"))?;
        let staging = Self {
            temporary,
            target: resolved,
        };
        fs::create_dir(staging.new_dir()).map_err(failed("write beside it"))?;
        Ok(staging)
    }

    /// Writes one file of the report.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<(), OutputError> {
        fs::write(self.new_dir().join(name), contents).map_err(self.failed("write a file"))
    }

    /// Puts the report in its place and returns the path.
    pub fn publish(self) -> Result<PathBuf, OutputError> {
        let old = self.temporary.path().join("old");
        let replaces = match fs::rename(&self.target, &old) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(self.failed("replace it")(error)),
        };
        if let Err(error) = fs::rename(self.new_dir(), &self.target) {
            if replaces {
                // The first error is the one to tell; the earlier report stays in the temporary directory otherwise.
                let _ = fs::rename(&old, &self.target);
            }
            return Err(self.failed("put the report in its place")(error));
        }
        Ok(self.target)
    }

    fn new_dir(&self) -> PathBuf {
        self.temporary.path().join("new")
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> OutputError + use<> {
        let dir = self.target.clone();
        move |source| OutputError::Io {
            dir: dir.clone(),
            action,
            source,
        }
    }
}

fn check_replaceable(target: &Path, existing: &Path, files: &[String]) -> Result<(), OutputError> {
    let failed = |source| OutputError::Io {
        dir: target.to_owned(),
        action: "list it",
        source,
    };
    if !existing.is_dir() {
        return Err(OutputError::NotADirectory(target.to_owned()));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(existing).map_err(failed)? {
        entries.push(entry.map_err(failed)?.file_name());
    }
    entries.sort();
    let foreign = entries
        .into_iter()
        .find(|entry| !files.iter().any(|file| entry == file.as_str()));
    match foreign {
        Some(entry) => Err(OutputError::Foreign {
            dir: target.to_owned(),
            entry,
        }),
        None => Ok(()),
    }
}
