//! Mistakes on the command line end with exit code 2 and words that name what to change.
#![cfg(not(madsim))]
#![allow(
    clippy::disallowed_methods,
    reason = "starts the program on real files"
)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

struct Place(tempfile::TempDir);

impl Place {
    /// A directory with a deployment, a password, and a worker made by `init`.
    fn with_node() -> Place {
        let place = Place::empty();
        let zero = "0x0000000000000000000000000000000000000000";
        let deployment = json!({
            "chain_id": 1, "token": zero, "core": zero, "coordinator": zero, "dao": zero, "timelock": zero,
        });
        place.write("deployment.json", &deployment.to_string());
        let made = place.run(&[
            "init",
            "--role",
            "worker",
            "--rpc",
            "http://127.0.0.1:1",
            "--deployment",
            "deployment.json",
            "--password-file",
            "password",
            "--json",
        ]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let shown: Value = serde_json::from_slice(&made.stdout).unwrap();
        assert_eq!(shown["config"], "./node.toml");
        place
    }

    fn empty() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("password", "secret\n");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let path = self.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_smartnode"))
            .args(arguments)
            .current_dir(self.path())
            .env_remove("SMARTNODE_PASSWORD")
            .env_remove("SMARTNODE_CONFIG")
            .output()
            .unwrap()
    }

    /// Runs a command that must be refused, for a reason that names all of `words`.
    fn refused(&self, arguments: &[&str], words: &[&str]) {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        for word in words {
            assert!(
                said.contains(word),
                "{arguments:?} should say {word:?}: {said}"
            );
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn keys_are_made_once_and_shown_with_the_password_only() {
    let place = Place::with_node();
    let show = ["keys", "show", "--json"];
    let shown = place.run(&show);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let keys: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(keys["peer_id"].as_str().unwrap().starts_with("12D3Koo"));

    place.refused(
        &["keys", "new", "--password-file", "password"],
        &["wallet.json", "not replaced"],
    );
    place.refused(
        &["keys", "new", "--dir", "other"],
        &["no password", "SMARTNODE_PASSWORD"],
    );
    place.write("password", "another");
    place.refused(
        &show,
        &["wrong password", "wallet.json", "keys.password_file"],
    );
    place.write("password", "");
    place.refused(&show, &["the password has 0 bytes"]);
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let place = Place::with_node();
    place.refused(&["run", "--config", "none.toml"], &["none.toml"]);
    for (from, to, words) in [
        (
            "role = ",
            "colour = \"red\"\nrole = ",
            ["colour", "unknown field"],
        ),
        ("\"worker\"", "\"miner\"", ["role", "miner"]),
        (
            "listen = [\"/ip4",
            "listen = [\"ip4",
            ["p2p.listen[0]", "/ip4/127.0.0.1/tcp/4001"],
        ),
        ("http://127.0.0.1:1", "127.0.0.1:1", ["chain.rpc", "http"]),
        (
            "wallet = \"wallet.json\"",
            "wallet = \"gone.json\"",
            ["gone.json", "check the path"],
        ),
    ] {
        let good = fs::read_to_string(place.path().join("node.toml")).unwrap();
        place.replace("node.toml", from, to);
        place.refused(&["run"], &words);
        place.write("node.toml", &good);
    }
    place.write("deployment.json", "{\"chain\": 1}");
    place.refused(&["run"], &["deployment.json", "chain_id"]);
}

#[test]
fn an_endpoint_that_is_not_there_is_an_error_and_not_a_hang() {
    let place = Place::with_node();
    // Quick retries.
    place.replace("node.toml", "[chain]\n", "[chain]\npoll_interval_ms = 10\n");
    place.refused(
        &["run"],
        &[
            "the chain did not answer",
            "check that chain.rpc is reachable",
        ],
    );
    place.refused(&["status"], &["chain.rpc"]);
    let output = place.run(&["status", "--json"]);
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        error["error"].as_str().unwrap().contains("chain.rpc"),
        "{error}"
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let place = Place::with_node();
    place.refused(&["dance"], &["dance"]);
    place.refused(
        &["transfer", "--to", "0x12", "--amount", "1 SNO"],
        &["--to"],
    );
    let nobody = "0x0000000000000000000000000000000000000001";
    place.refused(
        &["transfer", "--to", nobody, "--amount", "one SNO"],
        &["--amount", "50 SNO"],
    );
    place.refused(&["job", "submit", "--steps", "many"], &["--steps"]);
    place.refused(
        &["job", "submit", "--steps", "5"],
        &["role", "worker cannot submit jobs"],
    );
    place.replace("node.toml", "\"worker\"", "\"user\"");
    place.refused(&["job", "submit", "--steps", "0"], &["steps is 0"]);
    place.refused(&["job", "submit"], &["--wasm", "--matmul", "--steps"]);
    place.refused(
        &["job", "submit", "--steps", "5", "--matmul", "5"],
        &["cannot be used with"],
    );
    place.refused(&["job", "submit", "--matmul", "513"], &["size is 513"]);
    place.refused(
        &["job", "submit", "--matmul", "2", "--input", "password"],
        &["the input has 7 bytes", "32"],
    );
    place.refused(&["job", "submit", "--wasm", "none.wasm"], &["none.wasm"]);
    place.refused(
        &["job", "submit", "--wasm", "password"],
        &["task.wasm", "module"],
    );
    place.refused(
        &["job", "submit", "--steps", "5", "--tasks", "0"],
        &["tasks"],
    );
    place.refused(
        &[
            "init",
            "--role",
            "user",
            "--rpc",
            "http://x",
            "--deployment",
            "none.json",
            "--dir",
            "d",
        ],
        &["none.json"],
    );
    assert!(!place.path().join("d").exists(), "nothing half-written");
    place.refused(
        &[
            "init",
            "--role",
            "user",
            "--rpc",
            "http://x",
            "--deployment",
            "deployment.json",
            "--password-file",
            "password",
        ],
        &["node.toml", "exists already"],
    );
}
