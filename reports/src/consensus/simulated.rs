//! Full simulations beside what combinatorics and the contract say.

use super::ConsensusError;
use crate::{
    document::Document,
    sweep::{Sweep, share},
    table::{Kind, Table, column},
};

/// What full simulations add: whether what must hold held, and how long an update takes.
pub(super) fn add(document: &mut Document, sweep: &Sweep) -> Result<(), ConsensusError> {
    document.heading("Full simulations");
    document.prose(
        "In a sweep of the simulator whole networks live through faults, with the production node and these contracts. A violation \
         is an invariant that did not hold. Combinatorics and votes know no latency, no lost message and no crash: where \
         simulations execute less often than they, that is why.",
    );
    let percent = Kind::Real { decimals: 2 };
    let mut table = Table::new(
        "consensus-simulated",
        "Simulated networks in which everything held, with 95 % intervals",
        vec![
            column("scenario", "scenario", Kind::Text),
            column("runs", "runs", Kind::Count),
            column("held", "held", Kind::Count),
            column("held_percent", "held (%)", percent),
            column("low_percent", "from (%)", percent),
            column("high_percent", "to (%)", percent),
            column("rounds", "rounds opened", Kind::Count),
            column("executed", "state updates executed", Kind::Count),
            column("executed_percent", "of the rounds (%)", percent),
            column("executed_low_percent", "from (%)", percent),
            column("executed_high_percent", "to (%)", percent),
        ],
    );
    for scenario in sweep.by_scenario() {
        let [held, low, high] = share(scenario.held, scenario.runs);
        let rounds = scenario.rounds_opened;
        let [executed, least, most] = share(scenario.state_updates.min(rounds), rounds);
        table.push([
            scenario.name.clone().into(),
            scenario.runs.into(),
            scenario.held.into(),
            held,
            low,
            high,
            rounds.into(),
            scenario.state_updates.into(),
            executed,
            least,
            most,
        ]);
    }
    document.table(table);
    let (table, picture) = sweep.time_to_update()?;
    document.picture(picture);
    document.table(table);
    Ok(())
}
