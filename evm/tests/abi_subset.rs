//! Upstream's external interface is a subset of ours, so that clients of the one work with the other: every function,
//! event and error is there as it was, or in the table of differences of `evm/contracts/README.md`.

use std::collections::{BTreeMap, BTreeSet};

use alloy::json_abi::{JsonAbi, Param, StateMutability};
use serde_json::Value;

const UPSTREAM: &str = include_str!("fixtures/upstream_abi.tsv");
const README: &str = include_str!("../contracts/README.md");
const ARTIFACTS: [(&str, &str); 4] = [
    (
        "SmartnodesERC20",
        include_str!("../artifacts/SmartnodesERC20.json"),
    ),
    (
        "SmartnodesCore",
        include_str!("../artifacts/SmartnodesCore.json"),
    ),
    (
        "SmartnodesCoordinator",
        include_str!("../artifacts/SmartnodesCoordinator.json"),
    ),
    (
        "SmartnodesDAO",
        include_str!("../artifacts/SmartnodesDAO.json"),
    ),
];

/// One entry of an interface, as it is compared.
type Entry = (String, &'static str, String);

/// Splits at the commas that are in no brackets.
fn split(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for character in list.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("never empty").push(character);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// The types of a list of named or unnamed values.
fn types(list: &str) -> String {
    let types: Vec<String> = split(list)
        .iter()
        .map(|value| {
            // A tuple has spaces in no upstream row, so the name is what follows the first one.
            value.split(' ').next().expect("a type").to_owned()
        })
        .collect();
    types.join(",")
}

fn mutability(text: &str) -> &str {
    // No caller can tell one from the other.
    if text == "pure" { "view" } else { text }
}

/// Upstream's interface: entry and name.
fn upstream() -> Vec<(Entry, String)> {
    UPSTREAM
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let (kind, text) = match fields[..] {
                [_, "function", signature, how, returns] => (
                    "function",
                    format!("{signature} {} ({})", mutability(how), types(returns)),
                ),
                [_, "event", signature] => ("event", signature.to_owned()),
                [_, "error", signature] => {
                    let (name, list) = signature.split_once('(').expect("a signature");
                    let list = list.strip_suffix(')').expect("a signature");
                    ("error", format!("{name}({})", types(list)))
                }
                _ => panic!("not a row: {line}"),
            };
            let name = fields[2].split('(').next().expect("a name");
            ((fields[0].to_owned(), kind, text), name.to_owned())
        })
        .collect()
}

fn tuple(params: &[Param]) -> String {
    let types: Vec<_> = params.iter().map(|param| param.selector_type()).collect();
    types.join(",")
}

/// Our interface.
fn ours() -> BTreeSet<Entry> {
    let mut entries = BTreeSet::new();
    for (contract, artifact) in ARTIFACTS {
        let artifact: Value = serde_json::from_str(artifact).expect("JSON");
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).expect("an ABI");
        for function in abi.functions() {
            let how = match function.state_mutability {
                StateMutability::Pure | StateMutability::View => "view",
                StateMutability::NonPayable => "nonpayable",
                StateMutability::Payable => "payable",
            };
            let text = format!(
                "{} {how} ({})",
                function.signature(),
                tuple(&function.outputs)
            );
            entries.insert((contract.to_owned(), "function", text));
        }
        for event in abi.events() {
            let inputs: Vec<String> = event
                .inputs
                .iter()
                .map(|input| {
                    let indexed = if input.indexed { " indexed" } else { "" };
                    format!("{}{indexed} {}", input.selector_type(), input.name)
                })
                .collect();
            let text = format!("{}({})", event.name, inputs.join(", "));
            entries.insert((contract.to_owned(), "event", text));
        }
        for error in abi.errors() {
            let text = format!("{}({})", error.name, tuple(&error.inputs));
            entries.insert((contract.to_owned(), "error", text));
        }
    }
    entries
}

/// The names in the first column of the README's table of differences.
fn named_differences() -> BTreeSet<String> {
    let table = README
        .split("## Differences from upstream's interface")
        .nth(1)
        .expect("the README has the table");
    table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(2)
        .flat_map(|row| {
            let first = row.split('|').nth(1).expect("a cell");
            first
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|name| name.split('(').next().expect("a name").to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn upstreams_interface_is_a_subset_of_ours_but_for_the_differences_that_the_readme_names() {
    let (ours, named) = (ours(), named_differences());
    let unnamed: Vec<_> = upstream()
        .into_iter()
        .filter(|(entry, name)| !ours.contains(entry) && !named.contains(name))
        .map(|(entry, _)| entry)
        .collect();
    assert!(
        unnamed.is_empty(),
        "missing or changed, and not in the README's table:\n{unnamed:#?}"
    );
}

#[test]
fn every_difference_that_the_readme_names_is_of_something_upstream_has() {
    let upstream: BTreeMap<String, Entry> = upstream()
        .into_iter()
        .map(|(entry, name)| (name, entry))
        .collect();
    let named = named_differences();
    assert!(named.len() > 10, "the table was read: {named:?}");
    for name in named {
        assert!(upstream.contains_key(&name), "{name}");
    }
}

#[test]
fn the_whole_of_upstreams_interface_is_compared() {
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for ((contract, kind, _), _) in upstream() {
        *counts.entry((contract, kind)).or_default() += 1;
    }
    let expected = [
        ("SmartnodesCoordinator", [17, 6, 27]),
        ("SmartnodesCore", [9, 2, 16]),
        ("SmartnodesDAO", [24, 9, 46]),
        ("SmartnodesERC20", [41, 28, 67]),
    ];
    for (contract, numbers) in expected {
        for (kind, number) in ["error", "event", "function"].into_iter().zip(numbers) {
            assert_eq!(
                counts.get(&(contract.to_owned(), kind)),
                Some(&number),
                "{kind}s of {contract}"
            );
        }
    }
}

#[test]
fn the_token_and_the_dao_take_plain_ether_as_upstreams_do() {
    for (contract, artifact) in ARTIFACTS {
        let artifact: Value = serde_json::from_str(artifact).expect("JSON");
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).expect("an ABI");
        let takes = matches!(contract, "SmartnodesERC20" | "SmartnodesDAO");
        assert_eq!(abi.receive.is_some(), takes, "{contract}");
    }
}
