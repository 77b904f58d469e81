//! Names in a scenario file that others define.

use std::collections::BTreeSet;

use super::{Check, File};
use crate::spot::Spot;
use crate::vocabulary::{Vocabulary, nearest};
use crate::{Invalid, ScenarioError};

/// Refuses names that are in no list of the vocabulary.
pub(crate) fn check_names(
    origin: &str,
    text: &str,
    vocabulary: &Vocabulary,
) -> Result<(), ScenarioError> {
    let file: File = toml::from_str(text)
        .map_err(|e| Invalid::at(origin, text, e.span(), e.message().trim().to_owned()))?;
    let check = Check { origin, text };
    for fault in &file.fault {
        check.known(
            "fail point",
            &vocabulary.points,
            fault.as_ref().point.iter(),
        )?;
    }
    for act in &file.act {
        let errors = &vocabulary.errors;
        check.known(
            "error of the contracts",
            errors,
            act.as_ref().reverts.iter(),
        )?;
    }
    let expect = &file.expect;
    check.known("state", &vocabulary.states, expect.states.iter())?;
    check.known("act of a validator", &vocabulary.acts, expect.acts.iter())?;
    let events = &vocabulary.events;
    check.known("event of the contracts", events, expect.events.iter())?;
    if let Some(limit) = &file.limit {
        check.known_at("invariant", &vocabulary.invariants, &limit.invariants)?;
    }
    Ok(())
}

impl Check<'_> {
    fn known<'a>(
        &self,
        what: &str,
        names: &BTreeSet<String>,
        used: impl Iterator<Item = &'a Spot<String>>,
    ) -> Result<(), ScenarioError> {
        for spot in used {
            if !names.contains(spot.as_ref()) {
                return self.refuse(spot.span(), unknown(what, names, spot.as_ref()));
            }
        }
        Ok(())
    }

    /// The same of a list that has one place.
    fn known_at(
        &self,
        what: &str,
        names: &BTreeSet<String>,
        used: &Spot<Vec<String>>,
    ) -> Result<(), ScenarioError> {
        match used.as_ref().iter().find(|name| !names.contains(*name)) {
            Some(name) => self.refuse(used.span(), unknown(what, names, name)),
            None => Ok(()),
        }
    }
}

fn unknown(what: &str, names: &BTreeSet<String>, name: &str) -> String {
    match nearest(names, name) {
        Some(near) => format!("no such {what}: {name:?}; was {near:?} meant?"),
        None => {
            let all: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("no such {what}: {name:?}; there is {}", all.join(", "))
        }
    }
}
