//! The run report: what a sweep of the simulator did.

use thiserror::Error;

use crate::{
    document::{Block, Document, DocumentError, Picture, files},
    picture::{Axes, BLUE, Layer, Legend, PictureError, chart},
    sweep::{CASES, Side, Sweep, share},
    table::{Cell, Kind, Table, column},
    units::{grouped, real},
};

/// Names of all tables, in files.
const TABLES: [&str; 7] = [
    "run-figures",
    "run-scenarios",
    "run-rounds",
    "run-resources",
    "run-faults",
    "run-violations",
    "run-runs",
];
/// Names of all pictures, in files.
const PICTURES: [&str; 1] = ["run-held"];

/// Why there is no run report.
#[derive(Debug, Error)]
pub enum RunError {
    /// A picture cannot be drawn.
    #[error("picture: {0}")]
    Picture(#[from] PictureError),
    /// The report cannot be put together.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// All files that a run report may consist of.
#[must_use]
pub fn report_files() -> Vec<String> {
    files("run", &TABLES, &PICTURES)
}

/// Makes the report. `link` turns the name of a page beside the parts into an address as seen from the report.
pub fn report(sweep: &Sweep, link: impl Fn(&str) -> String) -> Result<Document, RunError> {
    let mut document = Document::new(
        "run",
        "What the simulator found",
        format!("cargo reports run {}", sweep.source),
    );
    let scenarios = sweep.by_scenario();
    let runs = sweep.runs();
    let violated = runs.iter().filter(|run| !run.held).count();
    let mut figures = Table::new(
        "run-figures",
        "Figures of the text",
        vec![
            column("figure", "figure", Kind::Text),
            column("value", "value", Kind::Text),
        ],
    );
    let mut figure = |name: &str, value: String| figures.push([name.into(), value.into()]);
    let count = |number: usize| grouped(&number.to_string());
    let sum = |of: fn(&crate::sweep::Run) -> f64| runs.iter().map(of).sum::<f64>();
    figure("runs", count(runs.len()));
    figure("scenarios", count(scenarios.len()));
    figure("parts", grouped(&sweep.parts.to_string()));
    figure("build", sweep.build.clone());
    figure("violated", count(violated));
    figure(
        "virtual hours",
        real(sum(|run| run.virtual_seconds) / 3_600.0, 1),
    );
    figure(
        "hours taken",
        real(sum(|run| run.wall_seconds) / 3_600.0, 2),
    );
    figure(
        "state updates",
        real(sum(|run| run.state_updates as f64), 0),
    );
    document.prose(
        "{run-figures|runs|value} runs of {run-figures|scenarios|value} scenarios, read from {run-figures|parts|value} parts, all of \
         build {run-figures|build|value}. They lived through {run-figures|virtual hours|value} virtual hours and executed \
         {run-figures|state updates|value} state updates. In {run-figures|violated|value} of them something did not hold.",
    );
    document.heading("Scenarios");
    if runs.iter().any(|run| run.side.is_some()) {
        document.prose(
            "A scenario with a limit is there twice: with as many adversaries as the network bears, and with so many that something \
             must be seen not to hold. Beyond the limit a run held if just that was seen.",
        );
    }
    document.picture(held_picture(&scenarios)?);
    document.table(scenario_table(&scenarios));
    document.heading("Rounds and jobs");
    document.table(round_table(&scenarios));
    document.heading("Traffic and time");
    document.table(resource_table(&scenarios));
    document.heading("Faults");
    document.prose(
        "For each kind of fault, the runs that met it, and in how many of them something did not hold: how often it is found out \
         that the network cannot bear it. Runs beyond a limit are not counted here.",
    );
    document.table(fault_table(sweep));
    document.heading("Violations");
    if violated == 0 {
        document.prose("Nothing to show: everything held in every run.");
    }
    document.table(violation_table(sweep));
    if !sweep.timelines.is_empty() {
        document.heading("Timelines");
        let pages = sweep
            .timelines
            .iter()
            .map(|page| (page.clone(), link(page)));
        document.blocks.push(Block::Links(pages.collect()));
    }
    document.heading("Files and figures");
    document.table_in_files(runs_table(sweep));
    document.table(figures);
    Ok(document)
}

fn held_picture(scenarios: &[crate::sweep::Scenario]) -> Result<Picture, PictureError> {
    let points = scenarios.iter().enumerate().map(|(place, scenario)| {
        let (low, high) = crate::stats::wilson(scenario.held, scenario.runs);
        let share = scenario.held as f64 / scenario.runs as f64;
        (place as f64 + 1.0, 100.0 * share, 100.0 * low, 100.0 * high)
    });
    let title = "Runs in which everything held";
    let axes = Axes {
        title,
        x: "scenario (row of the table)",
        y: "runs in which everything held (%)",
        x_range: (0.5, scenarios.len() as f64 + 0.5),
        y_range: Some((0.0, 105.0)),
        y_decimals: 0,
        legend: Legend::LowerRight,
    };
    let layers = [Layer::Points {
        label: "share with 95 % interval",
        color: BLUE,
        points: points.collect(),
    }];
    Ok(Picture {
        name: "run-held",
        title: title.to_owned(),
        caption: "Each point is a scenario, in the order of the table below. A long line means few runs: more seeds make it shorter."
            .to_owned(),
        svg: chart(&axes, &layers)?,
    })
}

fn percent() -> Kind {
    Kind::Real { decimals: 1 }
}

/// A side of a limit in words.
fn side(side: Option<Side>) -> &'static str {
    match side {
        None => "",
        Some(Side::Near) => "within",
        Some(Side::Far) => "beyond",
    }
}

fn scenario_table(scenarios: &[crate::sweep::Scenario]) -> Table {
    let mut table = Table::new(
        "run-scenarios",
        "Scenarios, with 95 % intervals",
        vec![
            column("scenario", "scenario", Kind::Text),
            column("runs", "runs", Kind::Count),
            column("held", "held", Kind::Count),
            column("held_percent", "held (%)", percent()),
            column("low_percent", "from (%)", percent()),
            column("high_percent", "to (%)", percent()),
            column("limit", "side of its limit", Kind::Text),
        ],
    );
    for scenario in scenarios {
        let [share, low, high] = share(scenario.held, scenario.runs);
        table.push([
            scenario.label().into(),
            scenario.runs.into(),
            scenario.held.into(),
            share,
            low,
            high,
            side(scenario.side).into(),
        ]);
    }
    table
}

fn round_table(scenarios: &[crate::sweep::Scenario]) -> Table {
    let mut table = Table::new(
        "run-rounds",
        "Rounds and jobs, with 95 % intervals of the jobs completed",
        vec![
            column("scenario", "scenario", Kind::Text),
            column("rounds_opened", "rounds opened", Kind::Count),
            column("state_updates", "state updates", Kind::Count),
            column("jobs_submitted", "jobs submitted", Kind::Count),
            column("jobs_completed", "completed", Kind::Count),
            column("jobs_failed", "failed", Kind::Count),
            column("completed_percent", "completed (%)", percent()),
            column("low_percent", "from (%)", percent()),
            column("high_percent", "to (%)", percent()),
            column("claims", "claims paid", Kind::Count),
        ],
    );
    for scenario in scenarios {
        let [submitted, completed, failed] = scenario.jobs;
        let [done, low, high] = share(completed.min(submitted), submitted);
        table.push([
            scenario.label().into(),
            scenario.rounds_opened.into(),
            scenario.state_updates.into(),
            submitted.into(),
            completed.into(),
            failed.into(),
            done,
            low,
            high,
            scenario.claims.into(),
        ]);
    }
    table
}

fn resource_table(scenarios: &[crate::sweep::Scenario]) -> Table {
    let one = Kind::Real { decimals: 1 };
    let mut table = Table::new(
        "run-resources",
        "Traffic, and what simulating it took",
        vec![
            column("scenario", "scenario", Kind::Text),
            column("hosts", "hosts in a run", one),
            column("messages", "messages in a run", Kind::Real { decimals: 0 }),
            column(
                "megabytes",
                "traffic of a run (MB)",
                Kind::Real { decimals: 2 },
            ),
            column(
                "bytes_per_host_second",
                "traffic of a host (bytes a virtual second)",
                one,
            ),
            column("virtual_hours", "virtual time of a run (h)", one),
            column(
                "wall_seconds",
                "time taken by a run (s)",
                Kind::Real { decimals: 2 },
            ),
            column(
                "speed",
                "virtual seconds in a second",
                Kind::Real { decimals: 0 },
            ),
        ],
    );
    for scenario in scenarios {
        let each = |sum: f64| sum / scenario.runs as f64;
        let host_seconds = each(scenario.hosts as f64) * scenario.virtual_seconds;
        let ratio = |part: f64, whole: f64| {
            if whole > 0.0 {
                Cell::from(part / whole)
            } else {
                Cell::Empty
            }
        };
        table.push([
            scenario.label().into(),
            each(scenario.hosts as f64).into(),
            each(scenario.messages as f64).into(),
            each(scenario.bytes as f64 / 1e6).into(),
            ratio(scenario.bytes as f64, host_seconds),
            each(scenario.virtual_seconds / 3_600.0).into(),
            each(scenario.wall_seconds).into(),
            ratio(scenario.virtual_seconds, scenario.wall_seconds),
        ]);
    }
    table
}

fn fault_table(sweep: &Sweep) -> Table {
    let mut table = Table::new(
        "run-faults",
        "Kinds of faults, with 95 % intervals",
        vec![
            column("fault", "kind of fault", Kind::Text),
            column("runs", "runs that met it", Kind::Count),
            column("violated", "something did not hold in", Kind::Count),
            column("violated_percent", "these are (%)", percent()),
            column("low_percent", "from (%)", percent()),
            column("high_percent", "to (%)", percent()),
        ],
    );
    for kind in sweep.by_fault() {
        let [violated, low, high] = share(kind.violated, kind.runs);
        table.push([
            kind.name.into(),
            kind.runs.into(),
            kind.violated.into(),
            violated,
            low,
            high,
        ]);
    }
    table
}

fn violation_table(sweep: &Sweep) -> Table {
    let mut table = Table::new(
        "run-violations",
        "What did not hold, and the command that shows it again",
        vec![
            column("run", "run", Kind::Text),
            column("what", "what did not hold", Kind::Text),
            column("command", "command", Kind::Text),
        ],
    );
    for violation in sweep.violations() {
        let (label, seed, case) = (violation.label, violation.seed, violation.case);
        table.push([
            format!("{label}, seed {seed}").into(),
            violation.what.into(),
            format!("cargo sim replay {}/{CASES}/{case}.json", sweep.source).into(),
        ]);
    }
    table
}

fn runs_table(sweep: &Sweep) -> Table {
    let seconds = Kind::Real { decimals: 2 };
    let mut table = Table::new(
        "run-runs",
        "Every run",
        vec![
            column("scenario", "scenario", Kind::Text),
            column("seed", "seed", Kind::Ordinal),
            column("adversaries", "adversaries", Kind::Count),
            column("limit", "side of its limit", Kind::Text),
            column("outcome", "outcome", Kind::Text),
            column("trace_hash", "trace", Kind::Text),
            column("virtual_seconds", "virtual time (s)", seconds),
            column("wall_seconds", "time taken (s)", seconds),
            column("hosts", "hosts", Kind::Count),
            column("messages", "messages", Kind::Count),
            column("bytes", "bytes", Kind::Count),
            column("rounds_opened", "rounds opened", Kind::Count),
            column("state_updates", "state updates", Kind::Count),
            column("jobs_submitted", "jobs submitted", Kind::Count),
            column("jobs_completed", "jobs completed", Kind::Count),
            column("jobs_failed", "jobs failed", Kind::Count),
            column("claims", "claims paid", Kind::Count),
            column("faults", "kinds of faults", Kind::Text),
        ],
    );
    for run in sweep.runs() {
        table.push([
            run.scenario.clone().into(),
            run.seed.into(),
            run.adversaries.into(),
            side(run.side).into(),
            (if run.held { "held" } else { "violated" }).into(),
            run.trace_hash.clone().into(),
            run.virtual_seconds.into(),
            run.wall_seconds.into(),
            run.hosts.into(),
            run.messages.into(),
            run.bytes.into(),
            run.rounds_opened.into(),
            run.state_updates.into(),
            run.jobs_submitted.into(),
            run.jobs_completed.into(),
            run.jobs_failed.into(),
            run.claims.into(),
            run.faults.join(", ").into(),
        ]);
    }
    table
}
