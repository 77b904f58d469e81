//! Sweeps in an object store, behind a real S3 server. Where none can be installed, the test says that it is skipped.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts a server and the binary"
)]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use support::{
    assert_same, assert_whole, made, names,
    parts::{RUNS, frame, sweep, write},
    s3::Server,
    text,
};
use tempfile::TempDir;

const CREDENTIALS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
];

/// Runs `smartnodes-report` with a store's address and these credentials, and nothing else of AWS in the environment.
fn report(endpoint: &str, credentials: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smartnodes-report"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_ENDPOINT_URL", endpoint);
    command.envs(credentials.iter().copied());
    command.args(args).output().expect("the binary starts")
}

#[test]
fn a_sweep_in_a_store_is_the_same_as_in_a_directory() {
    let place = TempDir::new().expect("a directory");
    let buckets = place.path().join("buckets");
    let folder = buckets.join("sweeps/nightly/one");
    sweep(&folder);
    // The server's lists have three names on a page: the parts are on later ones.
    for number in 0..5 {
        let case = format!("cases/first-update-{number}.json");
        fs::write(folder.join(case), "{}").expect("a file");
    }
    fs::create_dir_all(buckets.join("sweeps/none")).expect("a directory");
    fs::write(buckets.join("sweeps/none/notes.txt"), "mine").expect("a file");
    fs::create_dir(buckets.join("closed")).expect("a directory");
    let missing = buckets.join("sweeps/missing");
    fs::create_dir(&missing).expect("a directory");
    for closed in [&buckets.join("closed"), &missing] {
        write(
            &closed.join("part-00001-of-00002.parquet"),
            frame(&RUNS[..4], "0.1.0"),
        );
    }
    let broken = buckets.join("sweeps/broken");
    fs::create_dir(&broken).expect("a directory");
    fs::write(
        broken.join("part-00001-of-00001.parquet"),
        "PAR1 not really",
    )
    .expect("a file");
    fs::copy(
        missing.join("part-00001-of-00002.parquet"),
        buckets.join("closed/part-00002-of-00002.parquet"),
    )
    .expect("a copy");
    let server = match Server::start(&buckets) {
        Ok(server) => server,
        Err(missing) => return missing.report("reports on sweeps in an object store"),
    };

    let near = place.path().join("near");
    made(&["run", folder.to_str().expect("plain")], &near);
    let address = "s3://sweeps/nightly/one";
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    for out in [&one, &other] {
        let out = out.to_str().expect("plain");
        let output = report(
            &server.endpoint,
            &CREDENTIALS,
            &["run", address, "--out", out],
        );
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && message.is_empty(), "{message}");
    }
    assert_same(&one, &other);
    assert_whole(&one, "run");
    assert_eq!(names(&one), names(&near));
    for table in names(&near) {
        // Those name the source in commands.
        let told = ["run-violations", "run.html", "run.md"];
        if table.ends_with(".csv") && !told.iter().any(|name| table.starts_with(name)) {
            assert_eq!(text(&near, &table), text(&one, &table), "{table}");
        }
    }
    let page = text(&one, "run.html");
    assert!(page.contains("href=\"s3://sweeps/nightly/one/cases/partition-2.html\""));
    assert!(page.contains("cargo reports run s3://sweeps/nightly/one"));

    refusals(&server, &place.path().join("out"));
}

fn refusals(server: &Server, out: &Path) {
    let nobody: &[(&str, &str)] = &[];
    let endpoint = server.endpoint.as_str();
    for (endpoint, credentials, address, named) in [
        (
            endpoint,
            &CREDENTIALS[..],
            "s3://nowhere/x",
            "has no bucket \"nowhere\"",
        ),
        (
            endpoint,
            &CREDENTIALS,
            "s3://sweeps/none",
            "no part-*.parquet",
        ),
        (
            endpoint,
            &CREDENTIALS,
            "s3://sweeps/nightly",
            "no part-*.parquet",
        ),
        (
            endpoint,
            &CREDENTIALS,
            "s3://sweeps/missing",
            "lacks part 2 of 2",
        ),
        (
            endpoint,
            &CREDENTIALS,
            "s3://sweeps/broken",
            "\"s3://sweeps/broken/part-00001-of-00001.parquet\" cannot be read as a part",
        ),
        (
            endpoint,
            &CREDENTIALS,
            "s3://closed",
            "refuses \"closed\" (403",
        ),
        (
            endpoint,
            nobody,
            "s3://sweeps/nightly/one",
            "check AWS_ACCESS_KEY_ID",
        ),
        (
            endpoint,
            &CREDENTIALS,
            "gs://sweeps/x",
            "s3://BUCKET/PREFIX",
        ),
        (
            "http://127.0.0.1:1",
            &CREDENTIALS,
            "s3://sweeps/x",
            "does not answer",
        ),
        (
            "nonsense",
            &CREDENTIALS,
            "s3://sweeps/x",
            "AWS_ENDPOINT_URL is \"nonsense\"",
        ),
    ] {
        let path = out.to_str().expect("plain");
        for args in [
            ["run", address, "--out", path].as_slice(),
            &["consensus", "--sweep", address, "--out", path],
        ] {
            let output = report(endpoint, credentials, args);
            let message = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
            assert!(message.contains(named), "{args:?}: {message}");
            assert!(
                !message.contains("X-Amz-"),
                "a signed address is no one's to read: {message}"
            );
            assert!(!out.exists(), "no half-written report");
        }
    }
}
