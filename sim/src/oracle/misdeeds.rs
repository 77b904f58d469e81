//! What those who do not play by the rules have done, as they tell of it themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::truth::Truth;
use crate::trace::Seen;

/// The modules that tell, and the words in which they do.
const ACTORS_TARGET: &str = "smartnodes_actors::";
const ACT_MESSAGE: &str = "misdeed";
/// The act that announces a proposal for which nobody honest may vote.
const FALSE_PROPOSAL: &str = "false-proposal";

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

    /// Whether this host has done anything against the rules.
    pub fn has_acted(&self, host: &str) -> bool {
        self.lock().contains_key(host)
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
        assert!(!truth.is_made_up(hash) && !misdeeds.has_acted("validator-4"));
        tell("smartnodes_actors::validator::round", "proposal");
        assert!(!truth.is_made_up(hash) && misdeeds.has_acted("validator-4"));
        tell("smartnodes_actors::validator::round", FALSE_PROPOSAL);
        tell("smartnodes_actors::validator::round", FALSE_PROPOSAL);
        assert!(truth.is_made_up(hash));
        assert_eq!(misdeeds.counts()["validator-4"][FALSE_PROPOSAL], 2);
    }
}
