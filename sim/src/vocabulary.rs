//! The names that scenarios may use: the node's, the contracts' and the simulator's own.

use std::sync::OnceLock;

use smartnodes_evm::names;
use smartnodes_node::failpoint;
use smartnodes_scenarios::Vocabulary;

use crate::oracle::misdeeds;

/// What a violation can name, in the order of the alphabet.
pub const INVARIANTS: [&str; 50] = [
    "act-has-effect",
    "approved",
    "attack-gains-nothing",
    "attack-takes-place",
    "attacker-banned",
    "can-be-built",
    "chain-readable",
    "chain-runs",
    "claim-is-the-share",
    "claims-within-pool",
    "determinism",
    "distribution-ids-without-gaps",
    "draws-are-fair",
    "emission",
    "ends-in-time",
    "escrow",
    "eth",
    "executed-is-true",
    "expires-in-time",
    "fault-has-effect",
    "free-share-capped",
    "honest-not-banned",
    "honest-vote-is-true",
    "isolated-casts-no-vote",
    "isolation-is-noticed",
    "job-id-used-once",
    "job-settled-once",
    "leaves-a-record",
    "liar-loses-reputation",
    "limit",
    "lost-rounds",
    "newcomers-are-served",
    "no-impostor-verified",
    "no-panic",
    "no-storm-of-reverts",
    "node-runs",
    "node-starts",
    "one-claim-each",
    "one-execution-a-round",
    "proposals-stay",
    "result-is-true",
    "spam-is-refused",
    "supply",
    "transaction-once",
    "transfer-once",
    "unclaimed",
    "voters-paid-alike",
    "votes-are-counted",
    "votes-of-the-snapshot",
    "work-is-paid",
];

/// Those that are judged of runs as a whole, by whoever starts them: no run can count how often.
pub const OUTSIDE_OF_RUNS: [&str; 3] = ["determinism", "leaves-a-record", "limit"];

/// All of them.
pub fn vocabulary() -> &'static Vocabulary {
    static ALL: OnceLock<Vocabulary> = OnceLock::new();
    ALL.get_or_init(|| Vocabulary {
        points: failpoint::points().into_iter().collect(),
        states: failpoint::SOMETIMES.map(str::to_owned).into(),
        acts: misdeeds::acts().map(str::to_owned).collect(),
        events: names::events().into_iter().collect(),
        errors: names::errors().into_iter().map(str::to_owned).collect(),
        invariants: INVARIANTS.map(str::to_owned).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_refused_with_the_place_and_the_name_that_was_meant() {
        const TEXT: &str = r#"
name = "a"
summary = "b"
updates = 1
deadline = "9h"
validator = [{ count = 3 }, { count = 1, behaviour = "colluding" }]
worker = [{ count = 1 }]
[expect]
states = ["settle/undone"]
events = ["SmartnodesCore.JobSkipped"]
[[act]]
kind = "donate"
by = "worker-1"
amount = "1 ETH"
at = "1h"
reverts = "Coordinator__CoolDown"
[[fault]]
kind = "crash"
host = "any"
point = "vote/sent"
down_for = "1m"
[limit]
behaviour = "colluding"
holds = 1
fails = 3
invariants = ["executed-is-true"]
"#;
        vocabulary().check("a", TEXT).expect("names that there are");
        let misspelt = [
            ("settle/undone", "settle/undonne"),
            ("SmartnodesCore.JobSkipped", "SmartnodesCore.JobSkiped"),
            ("Coordinator__CoolDown", "Coordinator__Cooldown"),
            ("vote/sent", "vote/send"),
            ("executed-is-true", "execution-is-true"),
        ];
        for (name, wrong) in misspelt {
            let text = TEXT.replace(name, wrong);
            let error = vocabulary().check("a", &text).expect_err(wrong).to_string();
            let line = text.lines().position(|line| line.contains(wrong));
            let place = format!("a:{}:", line.expect("it is in the text") + 1);
            assert!(error.contains(&place), "{error}");
            assert!(error.contains(&format!("was {name:?} meant?")), "{error}");
        }
    }
}
