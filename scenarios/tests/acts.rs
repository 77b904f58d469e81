//! Acts and endpoints: what is read, and the mistakes that are pointed out.

use std::time::Duration;

use smartnodes_scenarios::{
    ActKind, ActTime, Change, Endpoints, FaultKind, Scenario, ScenarioError,
};

const GOOD: &str = r#"
name = "good"
summary = "Nothing wrong"
updates = 2
deadline = "20h"

[chain]
starts_at = "364d"
endpoints = 3

[[validator]]
count = 4
[[worker]]
count = 2
[[user]]
count = 1

[[act]]
kind = "join"
by = "validator-4"
at = "2m"
[[act]]
kind = "govern"
by = "validator-1"
change = "approval"
to = "75%"
votes = ["validator-1"]
[[act]]
kind = "claim-foreign"
by = "user-1"
of = "worker-2"
distribution = 1
after_update = 1
reverts = "Token__InvalidMerkleProof"
[[act]]
kind = "refund-in-eth"
by = "worker-1"
amount = "0.5 ETH"
round = 2
after = "30s"

[[fault]]
kind = "rpc-lies"
endpoint = 2
at = "1m"
lasts = "1m"
[[fault]]
kind = "clock-skew"
host = "any"
by = "3m"
behind = true
at = "1m"
lasts = "1m"
"#;

fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse("good.toml", text)
}

#[test]
fn acts_are_read_with_their_times() {
    let scenario = parse(GOOD).expect("the scenario is good");
    assert_eq!(
        scenario.chain.starts_at,
        Duration::from_secs(364 * 24 * 3_600)
    );
    assert_eq!(scenario.chain.endpoints, Endpoints::Shared(3));
    let times: Vec<ActTime> = scenario.acts.iter().map(|act| act.when).collect();
    let expected = [
        ActTime::At(Duration::from_secs(120)),
        ActTime::Next,
        ActTime::AfterUpdate(1),
        ActTime::Round {
            number: 2,
            after: Duration::from_secs(30),
        },
    ];
    assert_eq!(times, expected);
    let later: Vec<bool> = scenario
        .hosts()
        .map(|host| scenario.joins_later(host))
        .collect();
    assert_eq!(later, [false, false, false, true, false, false, false]);
    assert!(matches!(
        &scenario.acts[1].kind,
        ActKind::Govern { change: Change::Approval(share), votes, hasty: false } if share.whole() == Some(75) && votes.len() == 1
    ));
    assert!(matches!(
        scenario.acts[3].kind,
        ActKind::RefundInEth { payment } if payment.wei() == 5 * 10u128.pow(17)
    ));
    assert_eq!(scenario.faults[0].endpoint, Some(2));
    assert_eq!(
        scenario.faults[1].kind,
        FaultKind::ClockSkew {
            by: Duration::from_secs(180),
            behind: true
        }
    );
    let each = parse(
        &GOOD
            .replace("endpoints = 3", "endpoints = \"each\"")
            .replace("endpoint = 2", "endpoint = 7"),
    );
    assert_eq!(each.map(|s| s.endpoint_count()).ok(), Some(7));
}

#[test]
fn mistakes_are_pointed_out() {
    let cases = [
        ("kind = \"join\"", "kind = \"jump\"", "no such act"),
        (
            "by = \"validator-4\"",
            "by = \"worker-1\"",
            "only a validator",
        ),
        ("at = \"2m\"\n", "", "when does it begin?"),
        ("at = \"2m\"", "at = \"20h\"", "beyond the deadline"),
        (
            "at = \"2m\"",
            "at = \"2m\"\nround = 1",
            "an act begins once",
        ),
        (
            "at = \"2m\"",
            "at = \"2m\"\namount = \"1 ETH\"",
            "has no `amount`",
        ),
        ("at = \"2m\"", "after = \"2m\"", "goes with `round`"),
        (
            "change = \"approval\"",
            "change = \"logo\"",
            "there is update-interval",
        ),
        ("to = \"75%\"", "to = \"7.5%\"", "whole per cent"),
        ("to = \"75%\"", "to = \"3h\"", "invalid share"),
        (
            "votes = [\"validator-1\"]",
            "votes = [\"validator-1\", \"validator-1\"]",
            "votes once",
        ),
        ("of = \"worker-2\"", "of = \"user-1\"", "another host's"),
        ("of = \"worker-2\"\n", "", "missing field `of`"),
        ("distribution = 1", "distribution = 3", "1 to 2 here"),
        ("after_update = 1", "after_update = 2", "ends with update 2"),
        (
            "\"Token__InvalidMerkleProof\"",
            "\"InvalidMerkleProof()\"",
            "without arguments",
        ),
        ("\"0.5 ETH\"", "\"0 ETH\"", "above zero"),
        ("\"0.5 ETH\"", "\"51 ETH\"", "gas to pay"),
        ("\"0.5 ETH\"", "\"1 SNO\"", "invalid amount"),
        ("round = 2", "round = 0", "numbered from 1"),
        ("endpoints = 3", "endpoints = 0", "1 to 7 endpoints"),
        ("endpoints = 3", "endpoints = \"all\"", "\"each\""),
        ("endpoint = 2", "endpoint = 4", "numbered from 1 to 3"),
        (
            "starts_at = \"364d\"",
            "starts_at = \"1500ms\"",
            "whole seconds",
        ),
        ("by = \"3m\"", "by = \"1500ms\"", "whole seconds"),
        (
            "kind = \"clock-skew\"",
            "kind = \"clock-skew\"\nendpoint = 1",
            "has no `endpoint`",
        ),
    ];
    for (from, to, message) in cases {
        assert!(GOOD.contains(from), "{from:?} is not in the text");
        match parse(&GOOD.replacen(from, to, 1)) {
            Err(error) => assert!(error.to_string().contains(message), "{to:?}: {error}"),
            Ok(_) => panic!("{to:?} was accepted"),
        }
    }
    let twice = GOOD.replace("kind = \"govern\"\nby = \"validator-1\"\nchange = \"approval\"\nto = \"75%\"\nvotes = [\"validator-1\"]", "kind = \"join\"\nby = \"validator-4\"");
    assert!(parse(&twice).is_err_and(|e| e.to_string().contains("joins twice")));
    let alone = GOOD
        .replace("count = 4", "count = 1")
        .replace("validator-4", "validator-1");
    assert!(parse(&alone).is_err_and(|e| e.to_string().contains("seat from the start")));
}
