//! Why a run has not come to its end in time: because the network cannot, or because it should and does not.
//!
//! Progress is promised while more validators than the threshold asks for are honest, run, and reach each other and the
//! chain: a *core*. At the deadline a core is healed, if there are enough honest validators for one; faults that do not
//! concern it stay as they are. If the story then comes to its end, the faults were the reason. If it does not, nothing
//! but a defect is left.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smartnodes_scenarios::{HostName, Role, Scenario};
use tokio::time::{Instant, sleep};

use crate::faults::{Faults, Place};

/// How often a healed network is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Update intervals that a healed network has to come to the end of the story.
const INTERVALS: u32 = 4;

/// Whether a run that has not ended in time could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Too few validators are honest, so that nothing can be executed: as designed.
    CannotByDesign {
        /// Honest validators.
        honest: u64,
        /// Validators that must approve.
        required: u64,
    },
    /// Without faults on a core, the network came to the end of the story: they were the reason, as designed.
    ConvergesWhenHealed {
        /// Faults that were ended for it.
        healed: u64,
        /// Virtual seconds from then on.
        after_seconds: u64,
    },
    /// Nothing kept it from the end of the story, and it came to it too late.
    Late {
        /// Virtual seconds after the deadline.
        after_seconds: u64,
    },
    /// A core was whole, and the network did not come to the end of the story: a defect.
    Defect {
        /// Faults that were ended for it, at last.
        healed: u64,
    },
}

impl Verdict {
    /// Whether the network did all that it promises.
    pub fn is_by_design(self) -> bool {
        matches!(
            self,
            Verdict::CannotByDesign { .. } | Verdict::ConvergesWhenHealed { .. }
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::CannotByDesign { honest, required } => write!(
                f,
                "it cannot, by design: {honest} validators are honest, and {required} must approve"
            ),
            Verdict::ConvergesWhenHealed {
                healed,
                after_seconds,
            } => write!(
                f,
                "it does so {after_seconds} s after {healed} lasting faults are healed: by design"
            ),
            Verdict::Late { after_seconds } => write!(f, "it does so {after_seconds} s later"),
            Verdict::Defect { healed: 0 } => f.write_str("nothing keeps it from that: a defect"),
            Verdict::Defect { healed } => write!(
                f,
                "{healed} lasting faults are healed, and it still does not: a defect"
            ),
        }
    }
}

/// Heals a core, sees what becomes of the story, and says why it has not come to its end before. `required` validators must
/// approve; `is_over` tells whether the story is.
pub(crate) async fn judge(
    scenario: &Scenario,
    faults: &Faults,
    required: u64,
    is_over: impl Fn() -> bool,
) -> Verdict {
    let honest: Vec<HostName> = scenario
        .hosts()
        .filter(|host| scenario.is_honest(*host))
        .collect();
    let validators = honest.iter().filter(|host| host.role == Role::Validator);
    let count = validators.clone().count() as u64;
    if count < required {
        return Verdict::CannotByDesign {
            honest: count,
            required,
        };
    }
    let lasting = faults.lasting();
    let struck = |host: HostName| {
        let mut all = lasting.iter().flat_map(|(_, strike)| &strike.places);
        all.any(|place| *place == Place::Node(host))
    };
    // Those first that need no healing.
    let mut seats: Vec<HostName> = validators.copied().collect();
    seats.sort_by_key(|host| (struck(*host), *host));
    seats.truncate(usize::try_from(required).unwrap_or(usize::MAX));
    let mut core: BTreeSet<Place> = seats.into_iter().map(Place::Node).collect();
    let others = honest.iter().filter(|host| host.role != Role::Validator);
    core.extend(others.copied().map(Place::Node));
    core.insert(Place::Chain);
    let mut healed = 0;
    for (number, strike) in &lasting {
        if strike.places.intersection(&core).next().is_some() {
            faults.heal(*number);
            healed += 1;
        }
    }
    let begun = Instant::now();
    let patience = scenario.chain.update_interval * INTERVALS;
    while begun.elapsed() < patience {
        sleep(LOOK).await;
        if is_over() {
            let after_seconds = begun.elapsed().as_secs();
            return match healed {
                0 => Verdict::Late { after_seconds },
                _ => Verdict::ConvergesWhenHealed {
                    healed,
                    after_seconds,
                },
            };
        }
    }
    Verdict::Defect { healed }
}
