//! Comparing two answers: what may differ, and where they do.

use std::collections::BTreeSet;

use serde_json::Value;

/// Fails with every place where two answers differ.
#[track_caller]
pub fn assert_same(what: &str, ours: &Value, theirs: &Value) {
    let mut found = Vec::new();
    differences("", ours, theirs, &mut found);
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                // A missing key differs from a null.
                match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) => {
                        differences(&format!("{path}/{key}"), left, right, found);
                    }
                    (left, right) => {
                        found.push(format!("{path}/{key}: ours {left:?}, anvil's {right:?}"));
                    }
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (place, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}/{place}"), left, right, found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => found.push(format!("{path}: ours {left}, anvil's {right}")),
    }
}

/// Takes away the message of a revert with a custom error: the data says all, and anvil makes a text of whatever data
/// happens to be printable.
pub fn drop_custom_messages(answer: &mut Value) {
    if let Value::Array(answers) = answer {
        answers.iter_mut().for_each(drop_custom_messages);
    } else if let Some(Value::Object(error)) = answer.get_mut("error") {
        let data = error.get("data").and_then(Value::as_str).unwrap_or("0x");
        let told = ["0x08c379a0", "0x4e487b71"]; // Error(string), Panic(uint256)
        if data != "0x" && !told.iter().any(|selector| data.starts_with(selector)) {
            error.remove("message");
        }
    }
}

/// Takes keys out of an object, and out of the objects in it.
pub fn without(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(fields) => {
            for key in keys {
                fields.remove(*key);
            }
            fields.values_mut().for_each(|value| without(value, keys));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, keys)),
        _ => {}
    }
}
