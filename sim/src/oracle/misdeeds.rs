//! What those who do not play by the rules have done, as they tell of it themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smartnodes_scenarios::ValidatorMisdeed;

use super::truth::Truth;
use crate::trace::Seen;

/// The modules that tell, and the words in which they do.
const ACTORS_TARGET: &str = "smartnodes_actors::";
const ACT_MESSAGE: &str = "misdeed";
/// The act that announces a proposal for which nobody honest may vote.
const FALSE_PROPOSAL: &str = "false-proposal";

/// What makes a misdeed's attack, all of it, of each any of the acts: what only prepares it proves nothing.
pub fn attack(misdeed: ValidatorMisdeed) -> &'static [&'static [&'static str]] {
    match misdeed {
        ValidatorMisdeed::Silent => &[&["silence"]],
        ValidatorMisdeed::Lazy => &[&["blind-vote"]],
        ValidatorMisdeed::Colluding
        | ValidatorMisdeed::Censoring
        | ValidatorMisdeed::Expelling
        | ValidatorMisdeed::WrongTotal
        | ValidatorMisdeed::Withholding
        | ValidatorMisdeed::Swapping
        | ValidatorMisdeed::Padding => &[&["proposal"]],
        // Whoever has the same receipts makes the same payload, and shows it first.
        ValidatorMisdeed::Late => &[&["proposal-before-payload"]],
        ValidatorMisdeed::Equivocating => &[
            &["other-payload"],
            &["second-proposal-refused", "second-proposal-taken"],
        ],
        ValidatorMisdeed::Forging => &[&["forged-receipt"], &["proposal"]],
        ValidatorMisdeed::Griefing => &[&["round-moved-on"]],
        ValidatorMisdeed::Duplicating => &[&["second-receipt"], &["rival-proposal"]],
        ValidatorMisdeed::Understating => &[&["understated-total"]],
        ValidatorMisdeed::Stonewalling => &[&["job-refused", "job-kept"]],
        ValidatorMisdeed::Overstating => &[&["overstated-total"]],
        ValidatorMisdeed::Returning => &[
            &["left-and-returned"],
            &["second-vote-refused", "second-vote-taken"],
        ],
        ValidatorMisdeed::Grinding => &[&["round-moved-on"]],
        ValidatorMisdeed::DustGreedy => &[&["early-execution-refused", "execution-snatched"]],
    }
}

/// All that validators do who do not play by the rules.
pub fn acts() -> impl Iterator<Item = &'static str> {
    let all = ValidatorMisdeed::ALL.into_iter();
    all.flat_map(|(_, misdeed)| attack(misdeed).iter().copied().flatten().copied())
        .chain(["proposal", "share-denied"])
}

/// How often each host did what: by host, then by act.
pub type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// The misdeeds of a run. Clones share them.
#[derive(Debug, Clone)]
pub struct Misdeeds {
    truth: Truth,
    counts: Arc<Mutex<Counts>>,
}

impl Misdeeds {
    /// None yet. What is said to be made up goes into `truth`.
    pub fn new(truth: Truth) -> Misdeeds {
        Misdeeds {
            truth,
            counts: Arc::default(),
        }
    }

    /// Takes in an event of the trace, if it tells of a misdeed.
    pub fn watch(&self, event: &Seen<'_>) {
        if !event.target.starts_with(ACTORS_TARGET) || event.message != ACT_MESSAGE {
            return;
        }
        let text = |name: &str| event.fields.get(name).and_then(|value| value.as_str());
        let Some(act) = text("act") else {
            return;
        };
        if act == FALSE_PROPOSAL
            && let Some(proposal) = text("proposal").and_then(|text| text.parse().ok())
        {
            self.truth.made_up(proposal);
        }
        let mut counts = self.lock();
        let host = counts.entry(event.host.to_owned()).or_default();
        *host.entry(act.to_owned()).or_default() += 1;
    }

    /// Whether this host has done any of these.
    pub fn did(&self, host: &str, acts: &[&str]) -> bool {
        let counts = self.lock();
        let done = counts.get(host);
        done.is_some_and(|done| acts.iter().any(|act| done.contains_key(*act)))
    }

    /// How often what was done, by whomever.
    pub fn by_act(&self) -> BTreeMap<String, u64> {
        let mut acts = BTreeMap::new();
        for (act, times) in self.lock().values().flatten() {
            *acts.entry(act.clone()).or_default() += times;
        }
        acts
    }

    /// All of them.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;
    use serde_json::json;

    use super::*;

    #[test]
    fn acts_are_counted_by_host_and_false_proposals_noted() {
        let (truth, hash) = (Truth::default(), B256::repeat_byte(3));
        let misdeeds = Misdeeds::new(truth.clone());
        let tell = |target: &str, act: &str| {
            let fields = json!({ "act": act, "proposal": hash.to_string() });
            misdeeds.watch(&Seen {
                host: "validator-4",
                target,
                message: ACT_MESSAGE,
                fields: fields.as_object().expect("an object"),
            });
        };
        // What a node says is no confession.
        tell("smartnodes_node::round::driver", FALSE_PROPOSAL);
        assert!(!truth.is_made_up(hash) && !misdeeds.did("validator-4", &["proposal"]));
        tell("smartnodes_actors::validator::round", "proposal");
        assert!(!truth.is_made_up(hash) && misdeeds.did("validator-4", &["silence", "proposal"]));
        assert!(
            !misdeeds.did("validator-4", &["silence"])
                && !misdeeds.did("validator-1", &["proposal"])
        );
        tell("smartnodes_actors::validator::round", FALSE_PROPOSAL);
        tell("smartnodes_actors::validator::round", FALSE_PROPOSAL);
        assert!(truth.is_made_up(hash));
        assert_eq!(misdeeds.counts()["validator-4"][FALSE_PROPOSAL], 2);
    }
}
