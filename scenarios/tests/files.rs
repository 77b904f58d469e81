//! Files that are accepted, and the mistakes that are pointed out.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use smartnodes_scenarios::{
    HostName, Moment, Role, Scenario, ScenarioError, Side, ValidatorMisdeed, Victim, When, library,
};

const GOOD: &str = r#"
name = "good"
summary = "Nothing wrong"
updates = 2
deadline = "20h"

[[validator]]
count = 2
[[validator]]
count = 1

[[worker]]
count = 1

[[user]]
count = 2
[[user.job]]
network = "hash-chain"
steps = 10
[[user.job]]
network = "hash-chain"
steps = 10
payment = "50 SNO"
after_update = 1

[[transfer]]
from = "worker-1"
to = "user-1"
amount = "150 SNO"
after_update = 1
[[transfer]]
from = "worker-1"
to = "user-2"
amount = "150 SNO"
after_update = 1

[[fault]]
kind = "crash"
host = "any"
at = { from = "1h", to = "2h" }
down_for = "10m"
"#;

fn good() -> Scenario {
    Scenario::parse("good.toml", GOOD).expect("the scenario is good")
}

/// The error that one replacement in the good file causes: line, field and message.
fn mistake(from: &str, to: &str) -> (usize, String, String) {
    assert!(GOOD.contains(from), "{from:?} is not in the text");
    match Scenario::parse("bad.toml", &GOOD.replacen(from, to, 1)) {
        Err(ScenarioError::Invalid(e)) => (e.line, e.field.unwrap_or_default(), e.message),
        other => panic!("{to:?} instead of {from:?} gave {other:?}"),
    }
}

#[test]
fn the_library_can_be_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = library(root).expect("the folder is there");
    let chain = library(&root.join("chain")).expect("a folder of files");
    assert!(chain.len() > 5 && chain.len() < entries.len());
    let none = library(&root.join("src/file")).expect_err("no scenario there");
    assert!(none.to_string().contains("give a scenario file"), "{none}");
    assert!(entries.len() >= 2);
    for entry in entries {
        let scenario = entry.scenario.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            entry.path.file_stem().and_then(|s| s.to_str()),
            Some(scenario.name.as_str())
        );
    }
}

#[test]
fn groups_of_one_role_are_numbered_on() {
    let scenario = good();
    let names: Vec<String> = scenario.hosts().map(|h| h.to_string()).collect();
    assert_eq!(
        names,
        [
            "validator-1",
            "validator-2",
            "validator-3",
            "worker-1",
            "user-1",
            "user-2"
        ]
    );
    assert_eq!(scenario.job_count(), 4);
    assert_eq!(scenario.faults[0].hosts, [Victim::Any(None)]);
    assert_eq!(
        scenario.faults[0].when,
        When::At(Moment::Within(
            Duration::from_secs(3600),
            Duration::from_secs(7200)
        ))
    );
    assert_eq!(scenario.chain.update_interval, Duration::from_secs(28_800));
    assert_eq!(
        scenario.transfers[1].to,
        HostName {
            role: Role::User,
            number: 2
        }
    );
}

#[test]
fn the_links_of_regions_are_those_of_their_hosts() {
    let network = r#"
[network]
regions = ["here", "there"]
[[network.link]]
between = ["here", "there"]
latency = "80ms"
bandwidth = "500 kB/s"
[[network.link]]
between = ["there", "there"]
loss = "1%"

[[validator]]
count = 2
region = "here"
[[validator]]
count = 1
region = "there"

[[worker]]
count = 1
region = "there"
"#;
    let groups = "[[validator]]\ncount = 2\n[[validator]]\ncount = 1\n\n[[worker]]\ncount = 1\n";
    assert!(GOOD.contains(groups));
    let with = |network: &str| Scenario::parse("regions.toml", &GOOD.replace(groups, network));
    let scenario = with(network).expect("it is good");
    let [between, within] = scenario.network.links.as_slice() else {
        panic!("two links: {:?}", scenario.network.links)
    };
    let names = |hosts: &BTreeSet<HostName>| -> Vec<String> {
        hosts.iter().map(HostName::to_string).collect()
    };
    assert_eq!(names(&between.these), ["validator-1", "validator-2"]);
    assert_eq!(names(&between.those), ["validator-3", "worker-1"]);
    let latency = between.latency.expect("it has one");
    assert_eq!(latency.min, Duration::from_millis(80));
    assert_eq!((between.bandwidth, between.loss), (Some(500_000), None));
    assert_eq!(within.these, within.those);
    assert_eq!(names(&within.these), ["validator-3", "worker-1"]);
    assert_eq!(within.loss.map(|loss| loss.probability()), Some(0.01));

    let mistakes = [
        (
            "region = \"here\"",
            "region = \"hier\"",
            "the network's regions are here, there",
        ),
        (
            "[\"here\", \"there\"]\n[[",
            "[]\n[[",
            "there are no regions: add",
        ),
        (
            "between = [\"there\", ",
            "between = [\"where\", ",
            "the network's regions are",
        ),
        ("loss = \"1%\"", "", "what is otherwise there?"),
        ("loss = \"1%\"", "loss = \"95%\"", "more than 90% loss"),
        (
            "latency = \"80ms\"",
            "latency = \"2m\"",
            "between 1ms and 1m",
        ),
    ];
    for (from, to, expected) in mistakes {
        assert!(network.contains(from), "{from}");
        match with(&network.replacen(from, to, 1)) {
            Err(ScenarioError::Invalid(e)) => {
                assert!(e.message.contains(expected), "{from} {to}: {}", e.message);
            }
            other => panic!("{to:?} instead of {from:?} gave {other:?}"),
        }
    }
}

#[test]
fn mistakes_are_pointed_out_where_they_are() {
    let cases = [
        (
            "deadline = \"20h\"",
            "deadlin = \"20h\"",
            "deadlin",
            "unknown field `deadlin`",
        ),
        (
            "deadline = \"20h\"",
            "deadline = \"20 parsecs\"",
            "deadline",
            "invalid duration `20 parsecs`",
        ),
        (
            "deadline = \"20h\"",
            "deadline = 20",
            "deadline",
            "a duration such as",
        ),
        (
            "deadline = \"20h\"",
            "deadline = \"16h\"",
            "deadline",
            "leaves no time",
        ),
        (
            "name = \"good\"",
            "name = \"Good one\"",
            "name",
            "lower-case",
        ),
        ("updates = 2", "updates = 100_001", "updates", "at most"),
        ("count = 2", "count = 0", "count", "1 to 500"),
        ("count = 2", "count = -1", "count", "invalid value"),
        ("steps = 10", "steps = 0", "steps", "1 to"),
        (
            "steps = 10",
            "replication = 8\nsteps = 10",
            "replication",
            "1 to 7 workers",
        ),
        (
            "steps = 10",
            "then = [\"summary\"]\nsteps = 10",
            "then",
            "only a job of wasm",
        ),
        (
            "count = 1\n\n[[user]]",
            "behaviour = \"lazy\"\ncount = 1\n\n[[user]]",
            "behaviour",
            "there is false-result, stall,",
        ),
        (
            "count = 2\n[[user.job]]",
            "behaviour = \"stingy\"\ncount = 2\n[[user.job]]",
            "behaviour",
            "there is underpaying, vanishing,",
        ),
        ("\"hash-chain\"", "\"chess\"", "network", "no such network"),
        (
            "\"hash-chain\"",
            "\"matmul\"",
            "network",
            "one of matmul `size`",
        ),
        (
            "network = \"hash-chain\"\nsteps = 10",
            "network = \"hash-chain\"\nsize = 10",
            "network",
            "of hash-chain has `steps`",
        ),
        (
            "network = \"hash-chain\"\nsteps = 10",
            "size = 513\nnetwork = \"matmul\"",
            "size",
            "1 to 512 rows",
        ),
        (
            "network = \"hash-chain\"\nsteps = 10",
            "guest = \"doom\"\nnumbers = []\nnetwork = \"wasm\"",
            "guest",
            "there is primes, summary",
        ),
        (
            "payment = \"50 SNO\"",
            "payment = \"50 ETH\"",
            "payment",
            "invalid amount `50 ETH`",
        ),
        (
            "payment = \"50 SNO\"",
            "payment = \"51 SNO\"",
            "payment",
            "user-1 cannot pay",
        ),
        (
            "after_update = 1",
            "after_update = 2",
            "after_update",
            "ends with update 2",
        ),
        (
            "from = \"worker-1\"",
            "from = \"worker-2\"",
            "from",
            "worker up to worker-1",
        ),
        (
            "from = \"worker-1\"",
            "from = \"miner\"",
            "from",
            "names no host",
        ),
        ("to = \"user-1\"", "to = \"worker-1\"", "to", "another host"),
        (
            "kind = \"crash\"",
            "kind = \"crush\"",
            "kind",
            "no such fault",
        ),
        ("to = \"2h\"", "to = \"30m\"", "at", "ends before it begins"),
        ("to = \"2h\"", "til = \"2h\"", "at", "unknown field `til`"),
        ("to = \"2h\"", "to = \"20h\"", "at", "beyond the deadline"),
        (
            "[[fault]]\nkind = \"crash\"\nhost = \"any\"\n",
            "[[fault]]\nkind = \"crash\"\n",
            "",
            "missing field `host`",
        ),
    ];
    for (from, to, field, message) in cases {
        let line = GOOD[..GOOD.find(from).expect("the text has it")]
            .matches('\n')
            .count()
            + 1;
        let (got_line, got_field, got_message) = mistake(from, to);
        assert_eq!(
            (got_line, got_field.as_str()),
            (line, field),
            "{from:?} -> {to:?}: {got_message}"
        );
        assert!(
            got_message.contains(message),
            "{from:?} -> {to:?}: {got_message}"
        );
    }
}

#[test]
fn a_missing_role_and_a_broken_file_are_errors_too() {
    let (_, _, message) = mistake("[[worker]]\ncount = 1", "");
    assert!(message.contains("there is no worker"), "{message}");
    let (line, _, _) = mistake("summary = \"Nothing wrong\"", "summary = \"Nothing");
    assert_eq!(line, 3);
    let missing = Scenario::load(Path::new("no/such/file.toml"));
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("no/such/file.toml")
    );
}

#[test]
fn an_error_shows_the_place() {
    let text = GOOD.replace("count = 2", "count = 0");
    let shown = Scenario::parse("bad.toml", &text)
        .expect_err("no hosts")
        .to_string();
    assert!(
        shown.starts_with("bad.toml:8:9: field `count`: a group has 1 to 500 hosts"),
        "{shown}"
    );
    assert!(shown.contains("8 | count = 0\n   |         ^"), "{shown}");
}

const LIMIT: &str = r#"
name = "limit"
summary = "A line"
updates = 0
deadline = "20h"
worker = [{ count = 1 }]
[[validator]]
count = 2
[[validator]]
count = 2
behaviour = "colluding"
[[validator]]
count = 1
behaviour = "lazy"
[limit]
behaviour = "colluding"
holds = 2
fails = 4
invariants = ["executed-is-true"]
"#;

#[test]
fn a_limit_has_two_sides_with_as_many_hosts() {
    let near = Scenario::parse("limit.toml", LIMIT).expect("the scenario is good");
    assert_eq!((near.adversaries(), near.side()), (2, Some(Side::Near)));
    let far = near.with_adversaries(4).expect("two honest ones join them");
    assert_eq!((far.adversaries(), far.side()), (4, Some(Side::Far)));
    assert_eq!(far.hosts().count(), near.hosts().count());
    let lazy = |scenario: &Scenario| {
        let misdeeds = scenario.validator_misdeeds.values();
        misdeeds.filter(|m| **m == ValidatorMisdeed::Lazy).count()
    };
    assert_eq!((lazy(&near), lazy(&far)), (1, 1));
    let none = near.with_adversaries(0).expect("all of them are honest");
    assert_eq!((none.adversaries(), none.side()), (0, Some(Side::Near)));
    let back = far.with_adversaries(2).expect("two are honest again");
    assert_eq!((back.adversaries(), back.side()), (2, Some(Side::Near)));
    let between = near.with_adversaries(3).expect_err("on neither side");
    assert!(between.to_string().contains("at most 2, or at least 4"));
    let many = near.with_adversaries(5).expect_err("one is lazy");
    assert!(many.to_string().contains("has 4 that could be"));
    assert!(good().with_adversaries(1).is_err() && good().side().is_none());
    let written = LIMIT.replace("fails = 4", "fails = 4\nadversaries = 4");
    let again = Scenario::parse("limit.toml", &written).expect("as a case has it");
    assert_eq!(again, far);
}

#[test]
fn a_limit_that_says_nothing_is_refused() {
    for (from, to, message) in [
        ("holds = 2", "holds = 1", "have 2 colluding"),
        ("fails = 4", "fails = 2", "more than it bears"),
        ("fails = 4", "fails = 5", "has 4 that could be"),
        ("[\"executed-is-true\"]", "[]", "name at least one"),
        (
            "behaviour = \"lazy\"",
            "behaviour = \"idle\"",
            "there is silent, lazy",
        ),
    ] {
        let text = LIMIT.replacen(from, to, 1);
        let shown = Scenario::parse("limit.toml", &text)
            .expect_err(to)
            .to_string();
        assert!(shown.contains(message), "{shown}");
    }
}
