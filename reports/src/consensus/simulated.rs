//! Full simulations beside what combinatorics and the contract say.

use super::{
    ConsensusError, Limits,
    contract::Truth,
    limits::{Point, points},
    pictures,
};
use crate::{
    document::Document,
    sweep::{Sweep, share},
    table::{Kind, Table, column},
};

/// What full simulations add: what adversaries achieve beside what they should, whether what must hold held, and how long
/// an update takes.
pub(super) fn add(
    document: &mut Document,
    sweep: &Sweep,
    limits: &Limits,
    truth: &Truth,
) -> Result<(), ConsensusError> {
    document.heading("Full simulations");
    document.prose(
        "In a sweep of the simulator whole networks live through faults and cheats, with the production node and these contracts. \
         Combinatorics and votes know no latency, no lost message, no crash, and no proposer who must be there before anybody can \
         vote.",
    );
    let points = points(sweep, limits, truth)?;
    if !points.is_empty() {
        beside_the_formula(document, &points, truth)?;
    }
    executions(document, sweep);
    let (table, picture) = sweep.time_to_update()?;
    document.picture(picture);
    document.table(table);
    Ok(())
}

/// Whether adversaries reach their goal, by the formula, by the contract and in simulated networks.
fn beside_the_formula(
    document: &mut Document,
    points: &[Point],
    truth: &Truth,
) -> Result<(), ConsensusError> {
    let percent = Kind::Real { decimals: 1 };
    let mut table = Table::new(
        "consensus-limits",
        "What adversaries achieve by the formula, on the contract alone and in simulated networks, with 95 % intervals",
        vec![
            column("scenario", "scenario", Kind::Text),
            column("goal", "they want to", Kind::Text),
            column("validators", "validators", Kind::Count),
            column("percent", "threshold (%)", Kind::Ordinal),
            column("required", "approvals needed", Kind::Count),
            column("adversaries", "adversaries", Kind::Count),
            column("needed", "it takes", Kind::Count),
            column("formula", "by the formula they", Kind::Text),
            column("contract", "on the contract they", Kind::Text),
            column("runs", "simulated runs", Kind::Count),
            column("reached", "they did in", Kind::Count),
            column("reached_percent", "these are (%)", percent),
            column("low_percent", "from (%)", percent),
            column("high_percent", "to (%)", percent),
            column("verdict", "formula and simulation", Kind::Text),
            column(
                "instead",
                "what the first run tells that differs",
                Kind::Text,
            ),
        ],
    );
    let words = |reached| if reached { "can" } else { "cannot" };
    for point in points {
        let [reached, low, high] = share(point.reached, point.runs);
        table.push([
            point.label.clone().into(),
            point.goal.words().into(),
            u64::from(point.validators).into(),
            u64::from(point.percent).into(),
            u64::from(point.required()).into(),
            u64::from(point.adversaries).into(),
            u64::from(point.needed()).into(),
            words(point.formula()).into(),
            point.contract.map_or("not tried", words).into(),
            point.runs.into(),
            point.reached.into(),
            reached,
            low,
            high,
            if point.agrees() { "agree" } else { "differ" }.into(),
            point.instead.clone().unwrap_or_default().into(),
        ]);
    }
    let differing: Vec<&Point> = points.iter().filter(|point| !point.agrees()).collect();
    document.prose(
        "Some scenarios of the sweep have validators that cheat or are silent, once as many as the network should bear, once as \
         many as it should not. The picture puts the share of runs in which they reached their goal on the line of the formula.",
    );
    if differing.is_empty() {
        document.prose("No simulated network does anything else than the formula says.");
    } else {
        document.prose(
            "Not everywhere do simulations do what the formula says. The first run of each that does not tells what happened instead:",
        );
        let told = differing.iter().map(|point| {
            let cell = |column: &str| format!("{{consensus-limits|{}|{column}}}", point.label);
            format!(
                "{}: by the formula they {}, and they did in {} of {} runs: {}.",
                cell("scenario"),
                cell("formula"),
                cell("reached"),
                cell("runs"),
                cell("instead")
            )
        });
        document.list(told.collect());
    }
    document.picture(pictures::limits(points, truth)?);
    document.table(table);
    Ok(())
}

/// How many of the rounds that were opened came to an execution.
fn executions(document: &mut Document, sweep: &Sweep) {
    document.prose(
        "As long as enough validators vote, the formula has every round executed. In simulations a round may end without: its \
         proposers are silent or cheat and the next round is due, it opened just before the run ended, or a fault struck. How \
         often, the table says for each scenario; what held, too.",
    );
    let percent = Kind::Real { decimals: 2 };
    let mut table = Table::new(
        "consensus-simulated",
        "Rounds of simulated networks that came to an execution, and runs in which everything held, with 95 % intervals",
        vec![
            column("scenario", "scenario", Kind::Text),
            column("runs", "runs", Kind::Count),
            column("with_updates", "runs with updates", Kind::Count),
            column("with_updates_percent", "these are (%)", percent),
            column("with_updates_low_percent", "from (%)", percent),
            column("with_updates_high_percent", "to (%)", percent),
            column("rounds", "rounds opened", Kind::Count),
            column("executed", "state updates executed", Kind::Count),
            column("executed_percent", "of the rounds (%)", percent),
            column("executed_low_percent", "from (%)", percent),
            column("executed_high_percent", "to (%)", percent),
            column("held", "runs that held", Kind::Count),
            column("held_percent", "these are (%)", percent),
            column("low_percent", "from (%)", percent),
            column("high_percent", "to (%)", percent),
        ],
    );
    for scenario in sweep.by_scenario() {
        let [held, low, high] = share(scenario.held, scenario.runs);
        let [with, with_low, with_high] = share(scenario.with_updates, scenario.runs);
        let rounds = scenario.rounds_opened;
        let [executed, least, most] = share(scenario.state_updates.min(rounds), rounds);
        table.push([
            scenario.label().into(),
            scenario.runs.into(),
            scenario.with_updates.into(),
            with,
            with_low,
            with_high,
            rounds.into(),
            scenario.state_updates.into(),
            executed,
            least,
            most,
            scenario.held.into(),
            held,
            low,
            high,
        ]);
    }
    document.table(table);
}
