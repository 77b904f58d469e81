//! Faults: drawn from the seed before the run, struck at their time, and accounted for.

use std::collections::BTreeMap;
use std::time::Duration;

use madsim::runtime::Handle;
use madsim::task::NodeId;
use serde::{Deserialize, Serialize};
use smartnodes_scenarios::{Fault, FaultKind, HostName, Moment, Scenario, Victim};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::disk::SimDisk;
use crate::draw;
use crate::violation::Violations;

/// A fault with nothing left to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// What happens.
    pub kind: FaultKind,
    /// To whom.
    pub host: HostName,
    /// When, from the start of the run.
    pub at: Duration,
    /// For how long.
    pub down_for: Duration,
}

/// What a fault did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Struck {
    /// What happened.
    pub kind: String,
    /// To whom.
    pub host: String,
    /// When, in virtual seconds from the start.
    pub at_seconds: f64,
    /// For how long, in virtual seconds.
    pub down_for_seconds: f64,
    /// Writes that the crash took back because they had not been synced.
    pub writes_lost: u64,
}

/// Draws what the scenario leaves to the seed, in the order of time.
pub fn schedule(scenario: &Scenario, seed: u64) -> Vec<Strike> {
    let hosts: Vec<HostName> = scenario.hosts().collect();
    let mut strikes: Vec<Strike> = Vec::new();
    for (
        index,
        Fault {
            kind,
            host,
            at,
            down_for,
        },
    ) in scenario.faults.iter().enumerate()
    {
        let moment = |moment: &Moment, what: &str| match moment {
            Moment::Fixed(at) => *at,
            Moment::Within(from, to) => {
                draw::between(seed, &format!("fault {index} {what}"), *from, *to)
            }
        };
        let host = match host {
            Victim::Named(host) => *host,
            Victim::Any => {
                hosts
                    [draw::below(seed, &format!("fault {index} host"), hosts.len() as u64) as usize]
            }
        };
        strikes.push(Strike {
            kind: *kind,
            host,
            at: moment(at, "at"),
            down_for: moment(down_for, "down for"),
        });
    }
    strikes.sort_by_key(|strike| strike.at);
    strikes
}

/// What a fault needs of its victim.
#[derive(Clone)]
pub struct Target {
    /// The victim in the runtime.
    pub node: NodeId,
    /// Its disk.
    pub disk: SimDisk,
}

/// Carries out all strikes, from now as the start of the run. Strikes on one host follow one another, on different hosts
/// they may overlap.
pub async fn carry_out(
    strikes: Vec<Strike>,
    targets: BTreeMap<HostName, Target>,
    violations: Violations,
) -> Vec<Struck> {
    let mut by_host: BTreeMap<HostName, Vec<Strike>> = BTreeMap::new();
    for strike in strikes {
        by_host.entry(strike.host).or_default().push(strike);
    }
    let start = Instant::now();
    let tasks = by_host.into_iter().map(|(host, strikes)| {
        let target = targets
            .get(&host)
            .cloned()
            .expect("a schedule names the scenario's hosts only");
        let violations = violations.clone();
        async move {
            let mut struck = Vec::new();
            for strike in strikes {
                sleep_until(start + strike.at).await;
                struck.push(crash(&strike, &target, &violations).await);
            }
            struck
        }
    });
    let mut struck: Vec<Struck> = futures::future::join_all(tasks)
        .await
        .into_iter()
        .flatten()
        .collect();
    struck.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
    struck
}

async fn crash(strike: &Strike, target: &Target, violations: &Violations) -> Struck {
    let handle = Handle::current();
    let at = crate::trace::Trace::now();
    // A fault without effect proves nothing.
    if handle.is_exit(target.node) {
        violations.add(
            "fault-has-effect",
            format!("{} was to crash and was not running", strike.host),
        );
    }
    handle.kill(target.node);
    // Before anything of the killed host runs again: what its process still does must not reach the disk.
    let writes_lost = target.disk.crash();
    info!(host = %strike.host, writes_lost, "crash");
    sleep(strike.down_for).await;
    info!(host = %strike.host, "restart");
    handle.restart(target.node);
    Struck {
        kind: "crash".to_owned(),
        host: strike.host.to_string(),
        at_seconds: at.as_secs_f64(),
        down_for_seconds: strike.down_for.as_secs_f64(),
        writes_lost,
    }
}
