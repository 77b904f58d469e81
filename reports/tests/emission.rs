//! Runs the binary for some years of state updates and reads what it writes.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts the binary and reads its files"
)]

mod support;

use std::{fs, path::Path};

use support::{assert_same, assert_whole, made, names, refused, rows, text};
use tempfile::TempDir;

#[test]
fn a_year_is_exact_to_the_wei_and_repeatable() {
    let place = TempDir::new().expect("a directory");
    let out = place.path().join("missing/emission");
    let first = made(&["emission", "--years", "1"], &out);
    assert_whole(&out, "emission");
    let (header, updates) = rows(&text(&out, "emission-updates.csv"));
    assert_eq!(
        header.join(","),
        "update,year,elapsed_seconds,era,minted_wei,closed_form_wei,difference_wei,supply_wei,workers_wei,\
         validators_wei,treasury_wei"
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
    assert_eq!(
        text(&out, "emission-years.csv"),
        "year,updates,minted_sno,closed_form_sno,difference_sno,workers_sno,validators_sno,treasury_sno,\
         supply_sno,inflation_percent\n\
         1,1095,49275000,49275000,0,41883750,4927500,2463750,52275000,1642.5\n"
    );
    let svg = text(&out, "emission.svg");
    for part in [
        "Emission of SNO over 1 year",
        "years since deployment",
        "million SNO",
        "closed form",
    ] {
        assert!(svg.contains(part), "{part}");
    }

    // Again, in place of the first.
    let before = place.path().join("before");
    fs::rename(&out, &before).expect("a move");
    fs::create_dir(&out).expect("a directory");
    let second = made(&["emission", "--years", "1"], &out);
    assert_eq!(first.stdout, second.stdout);
    assert_same(&before, &out);
    assert_eq!(
        names(&place.path().join("missing")),
        ["emission"],
        "nothing temporary is left"
    );
}

/// The 20 years of the rule book, in periods of 73 hours instead of 8: an hour is worth the same.
#[test]
fn twenty_years_are_the_exact_integers_and_the_claims_are_judged() {
    let place = TempDir::new().expect("a directory");
    let out = place.path().join("emission");
    let interval = if std::env::var_os("SMARTNODES_LONG").is_some() {
        "8"
    } else {
        "73"
    };
    let param = format!("interval-hours={interval}");
    made(&["emission", "--years", "20", "--param", &param], &out);
    assert_whole(&out, "emission");
    let (_, years) = rows(&text(&out, "emission-years.csv"));
    let minted: Vec<&str> = years.iter().map(|year| year[2].as_str()).collect();
    assert_eq!(
        minted[..6],
        [
            "49275000", "29565000", "17739000", "10643400", "6386040", "3831624"
        ]
    );
    assert!(
        minted[6..].iter().all(|year| *year == "3679200"),
        "{minted:?}"
    );
    assert!(years.iter().all(|year| year[4] == "0"), "the closed form");
    assert_eq!(years[5][8], "120440064", "supply after year 6");
    assert!(
        years[6][9].starts_with("3.05") && years[19][9].starts_with("2.1864"),
        "{years:?}"
    );

    let claims = text(&out, "emission-claims.csv");
    let verdict = |claim: &str| {
        let line = claims
            .lines()
            .find(|line| line.starts_with(claim))
            .unwrap_or_default();
        line.rsplit(',').next().unwrap_or_default().to_owned()
    };
    for held in [
        "first emission",
        "reduction",
        "\"tail emission\"",
        "genesis",
        "split",
        "supply after year 6",
        "inflation falls",
        "nothing circulates",
    ] {
        assert_eq!(verdict(held.trim_matches('"')), "held", "{held}: {claims}");
    }
    for not_held in ["tail inflation,", "emission falls"] {
        let name = not_held.trim_end_matches(',');
        let line = claims
            .lines()
            .find(|line| line.starts_with(&format!("{name},")));
        assert!(
            line.is_some_and(|line| line.ends_with(",not held")),
            "{not_held}: {claims}"
        );
    }
    let (_, books) = rows(&text(&out, "emission-books.csv"));
    assert_eq!(books[0][1..5], ["3000000", "0", "3000000", "0"], "genesis");
    let page = text(&out, "emission.html");
    assert!(
        page.contains("3.05 % in year 7"),
        "the tail does not start at 2 %"
    );
}

#[test]
fn trials_are_the_contracts_arithmetic_and_reports_are_repeatable() {
    let place = TempDir::new().expect("a directory");
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let args = [
        "emission",
        "--years",
        "3",
        "--trials",
        "20",
        "--seed",
        "9",
        "--param",
        "interval-hours=73",
        "--param",
        "reduction-percent=30",
        "--param",
        "slashings-per-year=2",
    ];
    made(&args, &one);
    made(&args, &other);
    assert_same(&one, &other);
    assert_whole(&one, "emission");
    let (_, replayed) = rows(&text(&one, "emission-replay.csv"));
    let trials: Vec<&str> = replayed.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(trials, ["0", "10", "19"]);
    assert!(
        replayed.iter().all(|row| row[7] == "none" && row[6] != "0"),
        "{replayed:?}"
    );
    let (_, all) = rows(&text(&one, "emission-trials.csv"));
    assert_eq!(all.len(), 60);
    let (_, what_if) = rows(&text(&one, "emission-what-if.csv"));
    // 30 % less each year instead of 40 %.
    assert_eq!(what_if[1][1..3], ["29565000", "34492500"]);

    // Another seed has other trials.
    let third = place.path().join("third");
    let mut args = args;
    args[6] = "10";
    made(&args, &third);
    assert_ne!(
        text(&one, "emission-trials.csv"),
        text(&third, "emission-trials.csv")
    );
    assert_eq!(
        text(&one, "emission-years.csv"),
        text(&third, "emission-years.csv")
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

    let cases: [(&[&str], Option<&Path>, &str); 19] = [
        (&["--years", "0"], Some(&fresh), "--years"),
        (&["--years", "101"], Some(&fresh), "--years"),
        (&["--years", "-1"], Some(&fresh), "-1"),
        (&["--years", "x"], Some(&fresh), "--years"),
        (&["--years", "1.5"], Some(&fresh), "--years"),
        (&[], Some(&fresh), "--years"),
        (&["--years", "1"], None, "--out"),
        (&["--years", "1", "--fast"], Some(&fresh), "--fast"),
        (
            &["--years", "1", "--trials", "10001"],
            Some(&fresh),
            "--trials",
        ),
        (&["--years", "1", "--trials", "-3"], Some(&fresh), "-3"),
        (&["--years", "1", "--seed", "x"], Some(&fresh), "--seed"),
        (
            &["--years", "1", "--param", "validators"],
            Some(&fresh),
            "KEY=VALUE",
        ),
        (
            &["--years", "1", "--param", "speed=1"],
            Some(&fresh),
            "no such parameter",
        ),
        (
            &["--years", "1", "--param", "validators=0"],
            Some(&fresh),
            "use 1 to 100",
        ),
        (
            &["--years", "1", "--param", "interval-hours=7"],
            Some(&fresh),
            "whole number of periods",
        ),
        (&["--years", "1"], Some(&file), "--out"),
        (&["--years", "1"], Some(&below_file), "--out"),
        (&["--years", "1"], Some(&full), "notes.txt"),
        (&["--years", "1"], Some(Path::new("/")), "--out"),
    ];
    for (args, out, named) in cases {
        let args: Vec<&str> = std::iter::once("emission")
            .chain(args.iter().copied())
            .collect();
        refused(&args, out, named);
    }
    assert_eq!(names(place.path()), ["file", "full"]);
    assert_eq!(names(&full), ["notes.txt"]);
    assert_eq!(fs::read(&file).expect("still there"), b"mine");
}
