//! One run: a scenario and a seed in, a record out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use madsim::runtime::Runtime;
use serde::{Deserialize, Serialize};
use smartnodes_evm::deployment::Replacement;
use smartnodes_scenarios::{Scenario, Side};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::acts::Done;
use crate::disk::DiskUsage;
use crate::faults::Struck;
use crate::guard::{self, GuardError};
use crate::limit;
use crate::oracle::draws::Drawn;
use crate::oracle::hostile::Acted;
use crate::oracle::misdeeds::Counts;
use crate::points::Passings;
use crate::story::JobCounts;
use crate::trace::{Recorded, TARGET_PREFIX, Trace};
use crate::verdict::Verdict;
use crate::violation::{Violation, Violations};
use crate::world::{self, Ending, Status};

/// Stack of the thread that a run has for itself, in bytes: the EVM's calls nest deeply.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// The outcome of a run, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// SHA-256 over the run's trace: equal for equal runs.
    pub trace_hash: String,
    /// Lines of the trace.
    pub trace_lines: u64,
    /// Virtual time from start to end, in seconds.
    pub virtual_seconds: f64,
    /// Time that the run took on this machine, in seconds.
    pub wall_seconds: f64,
    /// Simulated hosts, the chain's included.
    pub hosts: u64,
    /// Messages sent on the simulated wire.
    pub messages: u64,
    /// Bytes sent on the simulated wire.
    pub bytes: u64,
    /// State updates executed.
    pub state_updates: u64,
    /// Rounds opened.
    pub rounds_opened: u64,
    /// Jobs by how they ended.
    pub jobs: JobCounts,
    /// Rewards claimed.
    pub claims: u64,
    /// SNO wei at the end, as decimal numbers: by host, of the treasury and of the token contract, and the supply.
    pub balances: BTreeMap<String, String>,
    /// What each host's disk did.
    pub disks: BTreeMap<String, DiskUsage>,
    /// What the faults did.
    pub faults: Vec<Struck>,
    /// What people did on chain besides what their nodes do.
    pub acts: Vec<Done>,
    /// What those did who did not play by the rules.
    pub acted: Vec<Acted>,
    /// How often each fail point was passed, by host.
    pub points: Passings,
    /// How often nodes came to each state that they name (`smartnodes_node::failpoint::SOMETIMES`).
    pub states: BTreeMap<String, u64>,
    /// How often the contracts emitted each of their events.
    pub events: BTreeMap<String, u64>,
    /// How often each of the oracle's invariants was checked.
    pub checks: BTreeMap<String, u64>,
    /// How often each validator was drawn to propose.
    #[serde(default)]
    pub draws: BTreeMap<String, Drawn>,
    /// What those did who do not play by the rules: by host, then by act, how often.
    #[serde(default)]
    pub misdeeds: Counts,
    /// Which of the validators do not play by the rules, and how.
    #[serde(default)]
    pub behaviours: BTreeMap<String, String>,
    /// How many of them there are: of a scenario with a limit, those that it is about.
    #[serde(default)]
    pub adversaries: u32,
    /// On which side of its limit the scenario ran: "near", "far", or nothing where it has none.
    #[serde(default)]
    pub limit: String,
    /// What did not hold, and was to be seen not to hold: beyond the limit only.
    #[serde(default)]
    pub expected: Vec<Violation>,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// Where the run has not come to its end in time: whether it could have.
    pub verdict: Option<Verdict>,
    /// What kinds of things it lacked then.
    #[serde(default)]
    pub lacking: BTreeSet<String>,
    /// Whether all held.
    pub outcome: Outcome,
}

/// Whether all invariants held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// They did.
    Held,
    /// At least one did not.
    Violated,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its outcome.
    pub record: Record,
    /// Its trace.
    pub recorded: Recorded,
}

/// Why a run could not take place.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Only one run can take place in a process: libp2p counts connections through the whole of it.
    #[error("a second run in one process would not repeat: start a process for each run")]
    SecondRun,
    /// An artifact that is to take a contract's place.
    #[error("chain.replaced: cannot use {}: {reason}", path.display())]
    Artifact {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refuses a thread.
    #[error("cannot start the run: {0}")]
    Thread(std::io::Error),
    /// The run cannot be kept apart from the machine.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// Runs a scenario. The trace's lines go to `sink` too, and `show` is told now and then where the run is.
pub fn run(
    scenario: Scenario,
    seed: u64,
    sink: Option<Box<dyn Write + Send>>,
    show: impl FnMut(Status) + Send + 'static,
) -> Result<Finished, RunError> {
    let replacements = replacements(&scenario)?;
    let trace = Trace::new(sink);
    subscribe(&trace)?;
    let started = wall_clock();
    // A thread that has made no hash map yet: the runtime seeds those of its thread only before the first is made.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one thread of a run, started before virtual time is"
    )]
    let thread = std::thread::Builder::new()
        .name("run".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || simulate(&scenario, seed, &replacements, &trace, show))
        .map_err(RunError::Thread)?;
    let mut finished = thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    finished.record.wall_seconds = started.elapsed().as_secs_f64();
    Ok(finished)
}

/// The artifacts that a scenario puts in the places of contracts.
fn replacements(scenario: &Scenario) -> Result<Vec<Replacement>, RunError> {
    let read = |path: &PathBuf| {
        #[allow(
            clippy::disallowed_methods,
            reason = "read before the run, from the real disk"
        )]
        let text = std::fs::read_to_string(path);
        let failed = |reason: String| RunError::Artifact {
            path: path.clone(),
            reason,
        };
        let text = text.map_err(|error| failed(error.to_string()))?;
        Replacement::parse(&text).map_err(|error| failed(error.to_string()))
    };
    scenario.chain.replaced.iter().map(read).collect()
}

fn simulate(
    scenario: &Scenario,
    seed: u64,
    replacements: &[Replacement],
    trace: &Trace,
    mut show: impl FnMut(Status),
) -> Result<Finished, RunError> {
    let violations = Violations::of(trace);
    for each in ["can-be-built", "no-panic"] {
        violations.checked(each);
    }
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    guard::seal()?;
    let (lived, recorded) = lived(
        runtime,
        trace,
        world::live(scenario, seed, replacements, trace, &violations, &mut show),
    );
    let ending = match lived {
        Ok(Ok(ending)) => Some(ending),
        Ok(Err(error)) => {
            violations.add_at(recorded.ended, "can-be-built", error.to_string());
            None
        }
        Err(words) => {
            violations.add_at(recorded.ended, "no-panic", words);
            None
        }
    };
    let record = record(scenario, seed, ending, &recorded, &violations);
    Ok(Finished { record, recorded })
}

/// Runs `future` as the whole of a run. A panic of any host ends it; its words are the error.
fn lived<T>(
    runtime: Runtime,
    trace: &Trace,
    future: impl Future<Output = T>,
) -> (Result<T, String>, Recorded) {
    let last_panic = note_panics(trace);
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            trace.start();
            let output = future.await;
            (output, trace.finish())
        })
    }));
    drop(std::panic::take_hook());
    // Hosts still hold sockets and databases, and their ends would only cost time: the process ends soon.
    std::mem::forget(runtime);
    match lived {
        Ok((output, recorded)) => (Ok(output), recorded),
        Err(_) => {
            let words = last_panic
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            (
                Err(words.unwrap_or_else(|| "a panic without words".to_owned())),
                trace.finish(),
            )
        }
    }
}

fn record(
    scenario: &Scenario,
    seed: u64,
    ending: Option<Ending>,
    recorded: &Recorded,
    told: &Violations,
) -> Record {
    let (expected, violations) = limit::verdict(scenario, told.all(), recorded.ended);
    let traffic = recorded.traffic.values();
    let (messages, bytes) = traffic.fold((0, 0), |(m, b), traffic| {
        (m + traffic.messages, b + traffic.bytes)
    });
    let reached = |of: fn(&Ending) -> &BTreeMap<String, u64>| {
        let ending = ending.as_ref();
        ending.map(|ending| of(ending).clone()).unwrap_or_default()
    };
    Record {
        scenario: scenario.name.clone(),
        seed,
        trace_hash: recorded.hash.clone(),
        trace_lines: recorded.lines,
        virtual_seconds: recorded.ended.as_secs_f64(),
        wall_seconds: 0.0,
        hosts: (scenario.hosts().count() + scenario.endpoint_count()) as u64,
        messages,
        bytes,
        state_updates: ending.as_ref().map_or(0, |e| e.tally.state_updates),
        rounds_opened: ending.as_ref().map_or(0, |e| e.tally.rounds_opened),
        jobs: ending.as_ref().map(|e| e.jobs).unwrap_or_default(),
        claims: ending.as_ref().map_or(0, |e| e.tally.claims),
        balances: ending
            .iter()
            .flat_map(|e| &e.balances)
            .map(|(name, wei)| (name.clone(), wei.to_string()))
            .collect(),
        disks: ending.as_ref().map(|e| e.disks.clone()).unwrap_or_default(),
        points: ending
            .as_ref()
            .map(|e| e.points.clone())
            .unwrap_or_default(),
        states: reached(|ending| &ending.states),
        events: reached(|ending| &ending.events),
        checks: {
            let mut checks = told.checks();
            for (name, times) in reached(|ending| &ending.checks) {
                *checks.entry(name).or_default() += times;
            }
            checks
        },
        draws: ending.as_ref().map(|e| e.draws.clone()).unwrap_or_default(),
        verdict: ending.as_ref().and_then(|e| e.verdict),
        lacking: ending
            .as_ref()
            .map(|e| e.lacking.clone())
            .unwrap_or_default(),
        acts: ending.as_ref().map(|e| e.acts.clone()).unwrap_or_default(),
        acted: ending.as_ref().map(|e| e.acted.clone()).unwrap_or_default(),
        misdeeds: ending
            .as_ref()
            .map(|e| e.misdeeds.clone())
            .unwrap_or_default(),
        behaviours: scenario
            .validator_misdeeds
            .iter()
            .map(|(host, misdeed)| (host.to_string(), misdeed.name().to_owned()))
            .collect(),
        adversaries: u32::try_from(scenario.adversaries()).unwrap_or(u32::MAX),
        limit: scenario.side().map_or("", Side::name).to_owned(),
        expected,
        faults: ending.map(|e| e.faults).unwrap_or_default(),
        outcome: if violations.is_empty() {
            Outcome::Held
        } else {
            Outcome::Violated
        },
        violations,
    }
}

/// Events go into the trace, and to standard error as `RUST_LOG` asks.
fn subscribe(trace: &Trace) -> Result<(), RunError> {
    let recorded = Targets::new().with_target(TARGET_PREFIX, LevelFilter::DEBUG);
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> =
        vec![Box::new(trace.layer().with_filter(recorded))];
    // Added only where it is asked for: an absent layer would still keep the spans of all crates alive.
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        let shown = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        layers.push(Box::new(shown.with_filter(EnvFilter::from_default_env())));
    }
    let subscriber = tracing_subscriber::registry().with(layers);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| RunError::SecondRun)
}

/// Keeps the words of the last panic, which the runtime's own report leaves out of its result.
fn note_panics(trace: &Trace) -> Arc<Mutex<Option<String>>> {
    let last = Arc::new(Mutex::new(None));
    let (noted, trace) = (last.clone(), trace.clone());
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.payload_as_str().unwrap_or("a panic without words");
        let place = panic
            .location()
            .map(|l| format!(" ({}:{})", l.file(), l.line()))
            .unwrap_or_default();
        let here = trace.here().map(|host| format!("{host}: "));
        let here = here.unwrap_or_default();
        let told = format!("{here}{words}{place}");
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        report(panic);
    }));
    last
}

/// The machine's clock, for how long a run took: read outside the runtime, where it is not the virtual one.
#[allow(
    clippy::disallowed_methods,
    reason = "tells how long a run took on this machine, which is no part of the run"
)]
fn wall_clock() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use madsim::runtime::Handle;

    use super::*;

    #[test]
    fn a_panic_of_a_host_ends_the_run_with_its_words() {
        let trace = Trace::new(None);
        let told = trace.clone();
        let (ended, recorded) = lived(
            Runtime::with_seed_and_config(1, madsim::Config::default()),
            &trace,
            async move {
                let node = Handle::current()
                    .create_node()
                    .name("worker-1")
                    .ip([10, 0, 0, 1].into())
                    .build();
                told.add_node(node.id(), "worker-1");
                node.spawn(async {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    panic!("no such {}", "luck");
                });
                tokio::time::sleep(Duration::from_secs(60)).await;
            },
        );
        let words = ended.expect_err("the host panics");
        assert!(
            words.starts_with("worker-1: no such luck (") && words.contains("run.rs:"),
            "{words}"
        );
        assert_eq!(recorded.lines, 0);
    }
}
