//! The schema that is checked in is the one of this code, and speaks of what the files say.
#![allow(
    clippy::disallowed_methods,
    reason = "tests run outside of the simulation"
)]

use std::path::Path;

use serde_json::Value;
use smartnodes_scenarios::schema;

#[test]
fn the_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.json");
    let current = serde_json::to_string_pretty(&schema()).expect("a schema is JSON") + "\n";
    if std::env::var_os("SMARTNODES_BLESS").is_some() {
        std::fs::write(&path, &current).expect("the folder can be written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == current,
        "scenarios/schema.json is old: run `SMARTNODES_BLESS=1 cargo test -p smartnodes-scenarios --test schema` and look at \
         what changed"
    );
}

#[test]
fn every_field_of_every_scenario_is_in_the_schema() {
    let schema = schema();
    let library = smartnodes_scenarios::library(Path::new(env!("CARGO_MANIFEST_DIR")));
    for entry in library.expect("the folder is there") {
        let text = std::fs::read_to_string(&entry.path).expect("it was listed");
        let table: toml::Table = text.parse().expect("it is TOML");
        for (field, value) in &table {
            let described = resolve(&schema, &schema["properties"][field]);
            assert!(!described.is_null(), "{}: {field}", entry.path.display());
            let items = value.as_array().into_iter().flatten();
            for (inner, _) in items.filter_map(toml::Value::as_table).flatten() {
                let described = resolve(&schema, &described["items"]);
                assert!(
                    !described["properties"][inner].is_null(),
                    "{}: {field}.{inner}",
                    entry.path.display()
                );
            }
        }
    }
}

/// What a reference refers to.
fn resolve<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    match part["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        Some(pointer) => schema.pointer(pointer).unwrap_or(&Value::Null),
        None => part,
    }
}
