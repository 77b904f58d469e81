//! How a scenario file is varied before it is run: the other side of its limit, a swarm of faults, adversaries that the
//! seed draws. What comes out is the text of a scenario again, so that a case file can keep it.

use std::time::Duration;

use smartnodes_scenarios::{Fault, Moment, PeerMisdeed, Scenario, ValidatorMisdeed, WorkerMisdeed};
use toml::{Table, Value};

use crate::case::{CaseError, parse, text_of};
use crate::draw;
use crate::vocabulary::vocabulary;

/// Most faults that strike a scenario which has no swarm of its own.
const FAULTS_MOST: i64 = 4;
/// The longest that one of them lasts.
const FAULT_LONGEST: Duration = Duration::from_secs(300);
/// Most hosts that cheat which are added where nobody does.
const ADVERSARIES_MOST: i64 = 1;
/// The fewest validators of which one may.
const VALIDATORS_MIN: usize = 3;
/// Before this time none begins.
const FAULTS_FROM: Duration = Duration::from_secs(30);

/// What is other than the file has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variant {
    /// How many validators do the misdeed that the limit is about, where it is not as many as the file has.
    pub adversaries: Option<usize>,
    /// Whether a swarm of faults strikes, also where the file has none.
    pub swarm: bool,
}

impl Variant {
    /// The arguments of `run` that ask for it.
    pub fn args(self) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(count) = self.adversaries {
            args.extend(["--adversaries".to_owned(), count.to_string()]);
        }
        if self.swarm {
            args.push("--swarm".to_owned());
        }
        args
    }

    /// The scenario that is run with this seed, and its text; errors in the file call it `origin`.
    pub fn of(self, origin: &str, text: &str, seed: u64) -> Result<(String, Scenario), CaseError> {
        let scenario = Scenario::parse(origin, text)?;
        vocabulary().check(origin, text)?;
        let mut table = parse(text)?;
        if let Some(count) = self.adversaries {
            scenario.with_adversaries(count)?;
            let limit = table.get_mut("limit").and_then(Value::as_table_mut);
            if let (Some(limit), Ok(count)) = (limit, i64::try_from(count)) {
                limit.insert("adversaries".to_owned(), count.into());
            }
        }
        if self.swarm && scenario.swarm.is_none() {
            strike(&mut table, &scenario);
        }
        populate(&mut table, &scenario.name, seed);
        if table == parse(text)? {
            return Ok((text.to_owned(), scenario));
        }
        let text = text_of(&table)?;
        let scenario = Scenario::parse(origin, &text)?;
        Ok((text, scenario))
    }
}

/// Adds a swarm in the first two rounds, or as many as the scenario has, and leaves two thirds of the time that there is to
/// come to rest. The scenario's own faults may then miss: a host that is down cannot be struck again. So
/// may its acts: a claim that nobody could make cannot be made twice. Nor need what it expects be seen.
fn strike(table: &mut Table, scenario: &Scenario) {
    let rounds = u32::try_from(scenario.updates.max(2)).unwrap_or(u32::MAX);
    let rounds = scenario.chain.update_interval.saturating_mul(rounds);
    let to = rounds.min(scenario.deadline / 3);
    let longest = FAULT_LONGEST.min(to.saturating_sub(FAULTS_FROM));
    let seconds = |span: Duration| Value::from(format!("{}s", span.as_secs()));
    let mut swarm = Table::from_iter([
        ("most".to_owned(), FAULTS_MOST.into()),
        ("from".to_owned(), seconds(FAULTS_FROM)),
        ("to".to_owned(), seconds(to)),
        ("longest".to_owned(), seconds(longest)),
    ]);
    // Where nobody cheats, somebody may; but the few of a network that bears nobody.
    let all_honest = scenario.misdeeds.is_empty() && scenario.validator_misdeeds.is_empty();
    // Nor one that has lost somebody for good.
    let for_good = |fault: &Fault| fault.lasts == Moment::FOREVER;
    let loses = scenario.faults.iter().any(for_good);
    if all_honest && !loses && scenario.validators >= VALIDATORS_MIN {
        swarm.insert("adversaries".to_owned(), ADVERSARIES_MOST.into());
    }
    table.insert("swarm".to_owned(), swarm.into());
    // What the scenario's own faults bring about, and cost, says nothing of these.
    table.remove("expect");
    for planned in ["fault", "act"] {
        let planned = table.get_mut(planned).and_then(Value::as_array_mut);
        for entry in planned.into_iter().flatten() {
            if let Some(entry) = entry.as_table_mut() {
                entry.insert("may_miss".to_owned(), true.into());
            }
        }
    }
}

/// Adds the hosts that cheat which the seed draws, and takes the wish for them away.
fn populate(table: &mut Table, scenario: &str, seed: u64) {
    let Some(swarm) = table.get_mut("swarm").and_then(Value::as_table_mut) else {
        return;
    };
    let Some(most) = swarm.remove("adversaries").and_then(|n| n.as_integer()) else {
        return;
    };
    let below = |what: &str, count: usize| {
        let label = format!("swarm of {scenario} adversary {what}");
        draw::below(seed, &label, count as u64) as usize
    };
    let count = below("count", usize::try_from(most).unwrap_or_default() + 1);
    // One validator at most: a small network bears no more.
    let mut roles = vec!["worker", "user", "peer", "validator"];
    for number in 0..count {
        let place = below(&format!("{number} role"), roles.len());
        let role = roles[place];
        if role == "validator" {
            roles.remove(place);
        }
        let names = behaviours(role);
        let name = names[below(&format!("{number} behaviour"), names.len())];
        let mut group = Table::from_iter([
            ("count".to_owned(), Value::from(1)),
            ("behaviour".to_owned(), name.into()),
            ("may_idle".to_owned(), true.into()),
        ]);
        if role == "user" {
            group.insert("job".to_owned(), Value::Array(vec![job(name).into()]));
        }
        let groups = table
            .entry(role)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(groups) = groups.as_array_mut() {
            groups.push(group.into());
        }
    }
}

/// What can be drawn for a role. Farming takes a worker and a user who are in it together.
fn behaviours(role: &str) -> Vec<&'static str> {
    fn names<T>(all: &[(&'static str, T)]) -> Vec<&'static str> {
        all.iter().map(|(name, _)| *name).collect()
    }
    let mut names = match role {
        "validator" => names(&ValidatorMisdeed::ALL),
        "worker" => names(&WorkerMisdeed::ALL),
        "user" => vec!["underpaying", "spamming"],
        _ => names(&PeerMisdeed::ALL),
    };
    names.retain(|name| *name != "farming");
    names
}

/// The pattern of a cheating user's jobs.
fn job(behaviour: &str) -> Table {
    let mut job = Table::from_iter([
        ("network".to_owned(), Value::from("hash-chain")),
        ("steps".to_owned(), Value::from(20_000)),
    ]);
    if behaviour == "underpaying" {
        job.insert("payment".to_owned(), "50 SNO".into());
    }
    job
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TEXT: &str = r#"
name = "a"
summary = "b"
updates = 1
deadline = "9h"
worker = [{ count = 1 }]
validator = [{ count = 3 }]
[[user]]
count = 1
[[user.job]]
network = "hash-chain"
steps = 20_000
[[fault]]
kind = "pause"
host = "any"
at = "1m"
lasts = "1m"
"#;

    fn varied(text: &str, swarm: bool, seed: u64) -> Scenario {
        let variant = Variant {
            swarm,
            adversaries: None,
        };
        let (text, scenario) = variant.of("a.toml", text, seed).expect("a good scenario");
        // What is drawn is in the text.
        let again = Scenario::parse("again", &text).expect("a good scenario");
        assert_eq!(again, scenario);
        scenario
    }

    #[test]
    fn a_file_is_left_alone_unless_a_swarm_is_asked_for() {
        let (text, scenario) = Variant::default()
            .of("a.toml", TEXT, 7)
            .expect("a good scenario");
        assert_eq!(text, TEXT);
        assert!(scenario.swarm.is_none() && !scenario.faults[0].may_miss);
        let struck = varied(TEXT, true, 7);
        assert!(
            struck
                .swarm
                .is_some_and(|swarm| swarm.to <= struck.deadline / 3)
        );
        assert!(struck.faults[0].may_miss);
    }

    #[test]
    fn the_seed_draws_adversaries_of_every_kind_and_never_two_validators() {
        let text = format!(
            "{TEXT}[swarm]\nmost = 2\nfrom = \"1m\"\nto = \"1h\"\nlongest = \"5m\"\nadversaries = 3\n"
        );
        let (mut kinds, mut counts) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..800 {
            let scenario = varied(&text, false, seed);
            assert!(scenario.validator_misdeeds.len() <= 1);
            let count = scenario.validator_misdeeds.len() + scenario.misdeeds.len();
            assert_eq!(scenario.may_idle.len(), count);
            counts.insert(count);
            kinds.extend(scenario.misdeeds.values().map(ToString::to_string));
            let validators = scenario.validator_misdeeds.values();
            kinds.extend(validators.map(|misdeed| misdeed.name().to_owned()));
        }
        assert_eq!(counts, BTreeSet::from([0, 1, 2, 3]));
        let all = ["validator", "worker", "user", "peer"].map(behaviours);
        let all: BTreeSet<String> = all.concat().into_iter().map(ToOwned::to_owned).collect();
        assert_eq!(kinds, all);
    }

    #[test]
    fn nobody_cheats_besides_where_somebody_is_lost_for_good() {
        let five = TEXT.replace("count = 3", "count = 5");
        let lost = five.replace("\"pause\"", "\"partition\"");
        let lost = lost.replace("lasts = \"1m\"", "lasts = \"forever\"");
        let cheats = |text: &str| {
            let seeds = 0..100;
            let drawn = seeds.map(|seed| varied(text, true, seed));
            let some = |s: &Scenario| !s.misdeeds.is_empty() || !s.validator_misdeeds.is_empty();
            drawn.filter(some).count()
        };
        assert_eq!(cheats(&lost), 0);
        assert!(cheats(&five) > 0);
    }
}
