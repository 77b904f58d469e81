//! Why a run has not come to its end in time: because the network cannot, or because it should and does not.
//!
//! Progress is promised while more validators than the threshold asks for are honest, run, and reach each other and the
//! chain, and a job is promised its result while as many workers as its replication are honest: a *core*. At the deadline
//! a core is healed, if there are enough honest hosts for one; faults that do not concern it stay as they are. If the story
//! then comes to its end, the faults were the reason. If it does not, nothing but a defect is left. A job that has failed
//! stays failed, so that the rest of the story is what must come true then.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smartnodes_scenarios::{HostName, Role, Scenario};
use tokio::time::{Instant, sleep};

use crate::faults::{Faults, Place};
use crate::story::{JobId, Progress, Story};

/// How often a healed network is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Update intervals that a healed network has to come to the end of the story.
const INTERVALS: u32 = 4;

/// Whether a run that has not ended in time could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Too few are honest, so that nothing can be executed, or a job not be done: as designed.
    CannotByDesign {
        /// Of whom there are too few.
        few: Few,
        /// Honest ones.
        honest: u64,
        /// How many it takes: validators that must approve, or workers of one task.
        required: u64,
    },
    /// Without faults on a core, the network came to the end of the story: they were the reason, as designed.
    ConvergesWhenHealed {
        /// Faults that were ended for it.
        healed: u64,
        /// Virtual seconds from then on.
        after_seconds: u64,
    },
    /// Jobs have failed, which is final; all else came to its end.
    JobsFailed {
        /// How many.
        failed: u64,
        /// Faults that were ended. Without any it was not for a lasting fault that they failed.
        healed: u64,
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

/// Of whom there can be too few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Few {
    /// Those that approve.
    Validators,
    /// Those that do the tasks of one job.
    Workers,
}

impl Verdict {
    /// Its kind, as records have it.
    pub fn kind(self) -> &'static str {
        match self {
            Verdict::CannotByDesign { .. } => "cannot-by-design",
            Verdict::ConvergesWhenHealed { .. } => "converges-when-healed",
            Verdict::JobsFailed { .. } => "jobs-failed",
            Verdict::Late { .. } => "late",
            Verdict::Defect { .. } => "defect",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::CannotByDesign {
                few: Few::Validators,
                honest,
                required,
            } => write!(
                f,
                "it cannot, by design: {honest} validators are honest, and {required} must approve"
            ),
            Verdict::CannotByDesign {
                few: Few::Workers,
                honest,
                required,
            } => write!(
                f,
                "it cannot, by design: {honest} workers are honest, and a job is for {required}"
            ),
            Verdict::ConvergesWhenHealed {
                healed,
                after_seconds,
            } => write!(
                f,
                "it does so {after_seconds} s after {healed} lasting faults are healed: by design"
            ),
            Verdict::JobsFailed { failed, healed: 0 } => write!(
                f,
                "{failed} jobs have failed, which is final, and no lasting fault keeps the network from anything"
            ),
            Verdict::JobsFailed { failed, healed } => write!(
                f,
                "{failed} jobs have failed, which is final; {healed} lasting faults are healed, and the rest comes to its end"
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

/// Jobs that will never be done, whatever is healed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// Those that take more honest workers than there are.
    pub(crate) impossible: BTreeSet<JobId>,
    /// Those that have failed besides.
    pub(crate) failed: BTreeSet<JobId>,
}

impl GivenUp {
    fn of(scenario: &Scenario, story: &Story, workers: u64) -> GivenUp {
        let mut given_up = GivenUp::default();
        for (id, progress) in story.jobs() {
            if progress == Progress::Done {
                continue;
            }
            if replication(scenario, id) > workers {
                given_up.impossible.insert(id);
            } else if progress == Progress::Failed {
                given_up.failed.insert(id);
            }
        }
        given_up
    }

    /// Whether it is this one.
    pub(crate) fn has(&self, id: JobId) -> bool {
        self.impossible.contains(&id) || self.failed.contains(&id)
    }

    /// How many of them are paid for.
    pub(crate) fn paid(&self, scenario: &Scenario) -> u64 {
        let all = self.impossible.iter().chain(&self.failed);
        all.filter(|id| job(scenario, **id).is_some_and(|job| job.payment.is_some()))
            .count() as u64
    }
}

fn job(scenario: &Scenario, (user, index): JobId) -> Option<&smartnodes_scenarios::Job> {
    scenario.users.get(user.number - 1)?.jobs.get(index)
}

/// How many workers do each task of a job.
fn replication(scenario: &Scenario, id: JobId) -> u64 {
    job(scenario, id).map_or(1, |job| u64::from(job.replication))
}

/// Heals a core, sees what becomes of the story, and says why it has not come to its end before. `required` validators must
/// approve; `is_over` tells whether the story is, but for some jobs.
pub(crate) async fn judge(
    scenario: &Scenario,
    faults: &Faults,
    required: u64,
    story: &Story,
    is_over: impl Fn(&GivenUp) -> bool,
) -> Verdict {
    let honest: Vec<HostName> = scenario
        .hosts()
        .filter(|host| scenario.is_honest(*host))
        .collect();
    let of = |role: Role| honest.iter().filter(move |host| host.role == role);
    let count = of(Role::Validator).count() as u64;
    if count < required {
        return Verdict::CannotByDesign {
            few: Few::Validators,
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
    let mut seats: Vec<HostName> = of(Role::Validator).copied().collect();
    seats.sort_by_key(|host| (struck(*host), *host));
    seats.truncate(usize::try_from(required).unwrap_or(usize::MAX));
    let mut core: BTreeSet<Place> = seats.into_iter().map(Place::Node).collect();
    let others = honest.iter().filter(|host| host.role != Role::Validator);
    core.extend(others.copied().map(Place::Node));
    core.insert(Place::Chain);
    let mut healed = 0;
    for (number, strike) in &lasting {
        // What strikes no place strikes the chain.
        if strike.places.is_empty() || !strike.places.is_disjoint(&core) {
            faults.heal(*number);
            healed += 1;
        }
    }
    let workers = of(Role::Worker).count() as u64;
    let begun = Instant::now();
    let patience = scenario.chain.update_interval * INTERVALS;
    while begun.elapsed() < patience {
        sleep(LOOK).await;
        let given_up = GivenUp::of(scenario, story, workers);
        if is_over(&given_up) {
            return concluded(scenario, &given_up, workers, healed, begun.elapsed());
        }
    }
    Verdict::Defect { healed }
}

/// The verdict on a story that has come to its end but for some jobs.
fn concluded(
    scenario: &Scenario,
    given_up: &GivenUp,
    workers: u64,
    healed: u64,
    after: Duration,
) -> Verdict {
    let needed = given_up.impossible.iter();
    if let Some(required) = needed.map(|id| replication(scenario, *id)).max() {
        return Verdict::CannotByDesign {
            few: Few::Workers,
            honest: workers,
            required,
        };
    }
    let (failed, after_seconds) = (given_up.failed.len() as u64, after.as_secs());
    match (failed, healed) {
        (0, 0) => Verdict::Late { after_seconds },
        (0, _) => Verdict::ConvergesWhenHealed {
            healed,
            after_seconds,
        },
        _ => Verdict::JobsFailed { failed, healed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "a"
summary = "b"
updates = 1
deadline = "9h"
validator = [{ count = 1 }]
worker = [{ count = 1 }, { count = 1, behaviour = "stall" }]
[[user]]
count = 1
[[user.job]]
network = "hash-chain"
steps = 1
[[user.job]]
network = "hash-chain"
steps = 1
replication = 2
"#;

    #[test]
    fn jobs_for_more_workers_than_are_honest_and_failed_ones_are_told_apart() {
        let scenario = Scenario::parse("a", TEXT).expect("a good scenario");
        let user = HostName {
            role: Role::User,
            number: 1,
        };
        let story = Story::new(&scenario);
        let conclusion = |healed| {
            let given_up = GivenUp::of(&scenario, &story, 1);
            concluded(&scenario, &given_up, 1, healed, Duration::from_secs(7))
        };
        let too_few = Verdict::CannotByDesign {
            few: Few::Workers,
            honest: 1,
            required: 2,
        };
        story.set_job(user, 0, Progress::Failed);
        assert_eq!(conclusion(0), too_few);
        story.set_job(user, 1, Progress::Failed);
        assert_eq!(conclusion(1), too_few);
        story.set_job(user, 1, Progress::Done);
        let (failed, healed) = (1, 2);
        assert_eq!(conclusion(2), Verdict::JobsFailed { failed, healed });
        story.set_job(user, 0, Progress::Done);
        let after_seconds = 7;
        assert_eq!(conclusion(0), Verdict::Late { after_seconds });
        assert_eq!(
            conclusion(2),
            Verdict::ConvergesWhenHealed {
                healed,
                after_seconds
            }
        );
    }
}
