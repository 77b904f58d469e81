//! The library of scenarios: TOML files in folders by theme.

use std::path::{Path, PathBuf};

use crate::{Scenario, ScenarioError};

/// One file of the library.
#[derive(Debug)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// What it says, or why it cannot be run.
    pub scenario: Result<Scenario, ScenarioError>,
}

/// Reads every scenario in the theme folders of `folder`, or in `folder` itself if it is one, in the order of their paths.
pub fn library(folder: &Path) -> Result<Vec<Entry>, ScenarioError> {
    let is_file = |path: &PathBuf| path.extension().is_some_and(|e| e == "toml");
    let own = entries(folder)?;
    let mut paths = Vec::new();
    for theme in own.iter().filter(|path| path.is_dir()) {
        paths.extend(entries(theme)?.into_iter().filter(is_file));
    }
    if paths.is_empty() {
        paths.extend(own.into_iter().filter(is_file));
    }
    if paths.is_empty() {
        return Err(ScenarioError::NoScenarios(folder.to_owned()));
    }
    paths.sort();
    Ok(paths
        .into_iter()
        .map(|path| Entry {
            scenario: Scenario::load(&path),
            path,
        })
        .collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ScenarioError> {
    let failed = |source| ScenarioError::List {
        path: folder.to_owned(),
        source,
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "the library is listed before a run starts, from the real disk"
    )]
    let listed = std::fs::read_dir(folder).map_err(failed)?;
    listed
        .map(|entry| entry.map(|e| e.path()).map_err(failed))
        .collect()
}
