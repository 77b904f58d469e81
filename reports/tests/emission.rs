//! Runs the binary for a year of state updates and reads what it writes.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts the binary and reads its files"
)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

const FILES: [&str; 4] = [
    "emission-updates.csv",
    "emission-years.csv",
    "emission.png",
    "emission.svg",
];

fn report(args: &[&str], out: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smartnodes-report"));
    command.arg("emission").args(args);
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    command.output().expect("the binary starts")
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a plain name")
        })
        .collect();
    names.sort();
    names
}

fn rows(text: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    (lines.next().expect("a header"), lines.collect())
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).expect("a file of the report")
}

#[test]
fn a_year_is_exact_to_the_wei_and_repeatable() {
    let place = TempDir::new().expect("a directory");
    let out = place.path().join("missing/emission");
    let first = report(&["--years", "1"], Some(&out));
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    assert!(
        first.stderr.is_empty(),
        "no progress where there is no terminal"
    );
    assert_eq!(names(&out), FILES);
    let before: Vec<Vec<u8>> = FILES.iter().map(|name| read(&out, name)).collect();

    let updates = String::from_utf8(before[0].clone()).expect("text");
    let (header, updates) = rows(&updates);
    assert_eq!(
        header,
        [
            "update",
            "year",
            "elapsed_seconds",
            "era",
            "minted_wei",
            "closed_form_wei",
            "difference_wei",
            "supply_wei",
            "workers_wei",
            "validators_wei",
            "treasury_wei"
        ]
    );
    assert_eq!(updates.len(), 1_095);
    let sno = 10_u128.pow(18);
    let mut supply = 3_000_000 * sno;
    for (number, row) in (1..).zip(&updates) {
        let wei = |column: usize| row[column].parse::<u128>().expect("a whole number");
        // The last one is executed seconds after the year, and pays for the year's last period.
        let (era, minted) = (0, 45_000 * sno);
        supply += minted;
        assert_eq!(
            (wei(0), wei(1), wei(3)),
            (number, 1, era),
            "update {number}"
        );
        assert!(
            (number * 28_800..number * 28_800 + 60).contains(&wei(2)),
            "update {number}"
        );
        assert_eq!(
            (wei(4), wei(5), wei(6), wei(7)),
            (minted, minted, 0, supply),
            "update {number}"
        );
        let shares = (minted * 85 / 100, minted * 10 / 100, minted * 5 / 100);
        assert_eq!((wei(8), wei(9), wei(10)), shares, "update {number}");
    }

    let years = String::from_utf8(before[1].clone()).expect("text");
    assert_eq!(
        years,
        "year,updates,minted_sno,closed_form_sno,difference_sno,workers_sno,validators_sno,treasury_sno,\
         supply_sno,inflation_percent\n\
         1,1095,49275000,49275000,0,41883750,4927500,2463750,52275000,1642.5000\n"
    );
    assert!(before[2].starts_with(b"\x89PNG\r\n\x1a\n"));
    let svg = String::from_utf8(before[3].clone()).expect("text");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    for text in [
        "Emission of SNO over 1 year",
        "years since deployment",
        "million SNO",
        "minted by the contracts",
        "closed form",
    ] {
        assert!(svg.contains(text), "{text}");
    }

    // Again, in place of the first.
    let second = report(&["--years", "1"], Some(&out));
    assert!(
        second.status.success(),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );
    assert_eq!(first.stdout, second.stdout);
    for (name, before) in FILES.iter().zip(&before) {
        assert!(&read(&out, name) == before, "{name} differs");
    }
    assert_eq!(
        names(&place.path().join("missing")),
        ["emission"],
        "nothing temporary is left"
    );
}

#[test]
fn bad_input_is_named_and_leaves_nothing() {
    let place = TempDir::new().expect("a directory");
    let file = place.path().join("file");
    fs::write(&file, "mine").expect("a file");
    let full = place.path().join("full");
    fs::create_dir(&full).expect("a directory");
    fs::write(full.join("notes.txt"), "mine").expect("a file");
    let fresh = place.path().join("fresh");
    let below_file = file.join("emission");

    let cases: [(&[&str], Option<&Path>, &str); 12] = [
        (&["--years", "0"], Some(&fresh), "--years"),
        (&["--years", "101"], Some(&fresh), "--years"),
        (&["--years", "-1"], Some(&fresh), "-1"),
        (&["--years", "x"], Some(&fresh), "--years"),
        (&["--years", "1.5"], Some(&fresh), "--years"),
        (&[], Some(&fresh), "--years"),
        (&["--years", "1"], None, "--out"),
        (&["--years", "1", "--fast"], Some(&fresh), "--fast"),
        (&["--years", "1"], Some(&file), "--out"),
        (&["--years", "1"], Some(&below_file), "--out"),
        (&["--years", "1"], Some(&full), "notes.txt"),
        (&["--years", "1"], Some(Path::new("/")), "--out"),
    ];
    for (args, out, named) in cases {
        let output = report(args, out);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?} {out:?}: {message}");
        assert!(message.contains(named), "{args:?} {out:?}: {message}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(names(place.path()), ["file", "full"]);
    assert_eq!(names(&full), ["notes.txt"]);
    assert_eq!(fs::read(&file).expect("still there"), b"mine");
}
