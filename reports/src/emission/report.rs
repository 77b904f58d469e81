//! The emission report as a document.

use super::{
    Compared, Difference, Discrepancy, EmissionError, Executed, Options, claims, discrepancy,
    income,
    model::Schedule,
    params::{Key, Params, SPECS},
    pictures, replay, sensitivity, tables,
    tables::YearRecord,
    trials,
};
use crate::{
    document::{Document, files},
    table::{Cell, Kind, Table, column},
    units::{grouped, sno_exact, sno_rounded},
};

/// Names of all tables, in files.
const TABLES: [&str; 14] = [
    "emission-figures",
    "emission-claims",
    "emission-years",
    "emission-updates",
    "emission-books",
    "emission-collateral",
    "emission-income",
    "emission-what-if",
    "emission-sensitivity",
    "emission-trials-end",
    "emission-trials-bands",
    "emission-trials",
    "emission-replay",
    "emission-parameters",
];
/// Which of the trials are played on the contracts: the first, the one in the middle, the last.
const REPLAYED_YEARS: u64 = 2;

/// All files that an emission report may consist of.
#[must_use]
pub fn report_files() -> Vec<String> {
    files("emission", &TABLES, &pictures::PICTURES)
}

/// A report, and what in it is not as it should be.
#[derive(Debug)]
pub struct Report {
    /// The report.
    pub document: Document,
    /// The years and the whole in a few lines of text.
    pub summary: String,
    /// The first update that minted what it should not have.
    pub discrepancy: Option<Discrepancy>,
    /// The first trial whose books differ from the contracts'.
    pub difference: Option<Difference>,
}

/// Makes the report. `progress` hears what is being done, how far it is, and of how much.
pub fn report(
    options: &Options,
    mut progress: impl FnMut(&str, u64, u64),
) -> Result<Report, EmissionError> {
    let params = &options.params;
    let years = options.years.get();
    let total = years.saturating_mul(params.updates_per_year());
    let executed = super::execute(options.years, params, |done| {
        progress("state update", done, total)
    })?;
    let yearly = tables::years(&executed)?;
    let ends = 2 * 10 + 1;
    let sensitivity = sensitivity::run(params, years, options.seed, |done| {
        progress("sensitivity", done, ends)
    });
    let trials = trials::run(params, years, options.trials, options.seed, |done| {
        progress("trial", done, options.trials);
    });
    let mut compared = Vec::new();
    let mut difference = None;
    for trial in sampled(options.trials) {
        let span = years.min(REPLAYED_YEARS);
        let outcome = replay::replay(params, options.seed, trial, span, |done| {
            progress(
                "trial on the contracts, update",
                done,
                span * params.updates_per_year(),
            );
        })?;
        match outcome {
            Ok(of_trial) => compared.push(of_trial),
            Err(found) => {
                difference.get_or_insert(found);
            }
        }
    }

    let mut document = Document::new(
        "emission",
        format!(
            "Emission of SNO over {years} {}",
            if years == 1 { "year" } else { "years" }
        ),
        command(options),
    );
    let mut figures = figures(&executed, &yearly, options);
    opening(&mut document, &executed, &yearly, params, &mut figures)?;
    schedule(&mut document, &executed, &yearly, params)?;
    if !params.is_deployed_schedule() {
        what_if(&mut document, &yearly, params)?;
    }
    document.heading("What matters most");
    let names = [
        sensitivity::widest(&sensitivity, |effect| effect.supply),
        sensitivity::widest(&sensitivity, |effect| effect.income),
    ];
    figures.push(["widest for supply".into(), names[0].unwrap_or("–").into()]);
    figures.push(["widest for income".into(), names[1].unwrap_or("–").into()]);
    document.prose(
        "Most for the supply matters {emission-figures|widest for supply|value}, most for a validator's income \
         {emission-figures|widest for income|value}, within the bounds of the table.",
    );
    for picture in pictures::sensitivities(&sensitivity)? {
        document.picture(picture);
    }
    document.table(sensitivity::table(&sensitivity, years));
    if options.trials > 0 {
        trial_part(
            &mut document,
            &trials,
            &yearly,
            options,
            &compared,
            difference.as_ref(),
        )?;
    }
    document.heading("Figures and assumptions");
    document.table(figures);
    document.table(parameters(params));
    Ok(Report {
        document,
        summary: summary(&yearly),
        discrepancy: discrepancy(&executed.records),
        difference,
    })
}

fn command(options: &Options) -> String {
    let mut command = format!("cargo reports emission --years {}", options.years);
    if options.trials > 0 {
        command += &format!(" --trials {}", options.trials);
    }
    if options.seed != super::SEED {
        command += &format!(" --seed {}", options.seed);
    }
    format!("{command}{}", options.params)
}

/// The first trial, the one in the middle and the last, each once.
fn sampled(trials: u64) -> Vec<u64> {
    let mut sampled = vec![0, trials / 2, trials.saturating_sub(1)];
    sampled.dedup();
    sampled.retain(|trial| *trial < trials);
    sampled
}

fn figures(executed: &Executed, yearly: &[YearRecord], options: &Options) -> Table {
    let mut table = Table::new(
        "emission-figures",
        "Figures of the text",
        vec![
            column("figure", "figure", Kind::Text),
            column("value", "value", Kind::Text),
        ],
    );
    let sum = |amount: fn(&YearRecord) -> i128| yearly.iter().map(amount).sum::<i128>();
    let difference = sum(|year| (year.minted - year.closed_form).abs());
    let supply = yearly.last().map_or(0, |year| year.supply);
    table.push(["years".into(), options.years.to_string().into()]);
    table.push([
        "state updates".into(),
        grouped(&executed.records.len().to_string()).into(),
    ]);
    table.push([
        "minted (SNO)".into(),
        sno_rounded(sum(|year| year.minted), 0).into(),
    ]);
    table.push([
        "difference from the closed form (wei)".into(),
        difference.to_string().into(),
    ]);
    table.push([
        "supply at the end (SNO)".into(),
        sno_rounded(supply, 0).into(),
    ]);
    table.push(["trials".into(), grouped(&options.trials.to_string()).into()]);
    table.push(["seed".into(), options.seed.to_string().into()]);
    table
}

fn opening(
    document: &mut Document,
    executed: &Executed,
    yearly: &[YearRecord],
    params: &Params,
    figures: &mut Table,
) -> Result<(), EmissionError> {
    document.prose(
        "{emission-figures|state updates|value} state updates, {emission-figures|years|value} years of them, were executed one by \
         one on the bytecode of the deployed contracts: opened, proposed, voted, executed and claimed. They minted \
         {emission-figures|minted (SNO)|value} SNO. The closed form says the same; the difference is \
         {emission-figures|difference from the closed form (wei)|value} wei. Then there are \
         {emission-figures|supply at the end (SNO)|value} SNO.",
    );
    document.heading("What the whitepaper says, and what is so");
    let interval = params.interval_hours();
    let claims = claims::claims(executed, yearly, interval, params.get(Key::Validators))?;
    let count = |verdict| {
        claims
            .iter()
            .filter(|claim| claim.verdict == verdict)
            .count()
    };
    let held = count(claims::Verdict::Held);
    let not_held = count(claims::Verdict::NotHeld);
    figures.push(["claims held".into(), held.to_string().into()]);
    figures.push(["claims not held".into(), not_held.to_string().into()]);
    document.prose(
        "Of the claims, {emission-figures|claims held|value} hold and {emission-figures|claims not held|value} do not. A year is of \
         three hundred and sixty-five days, and is said of the period that an update covers.",
    );
    if yearly.len() >= 7 {
        document.prose(
            "The tail does not start at the whitepaper's figure: {emission-claims|tail inflation|figure}, by its own numbers. \
             The rate then falls with every year, because the same amount is added to ever more.",
        );
    }
    document.table(claims::table(&claims));
    Ok(())
}

fn schedule(
    document: &mut Document,
    executed: &Executed,
    yearly: &[YearRecord],
    params: &Params,
) -> Result<(), EmissionError> {
    document.heading("The schedule");
    document.picture(pictures::emission(executed, params.interval_hours())?);
    document.table(tables::years_table(yearly));
    document.table_in_files(tables::updates_table(&executed.records)?);
    if yearly.len() > 1 {
        document.picture(pictures::inflation(yearly)?);
    }
    document.heading("Where the supply is");
    document.prose(
        "Nothing circulates at genesis: {emission-books|0|circulating_sno} of {emission-books|0|supply_sno} SNO, because all of it is \
         locked. In this execution everything is claimed at once, nobody is slashed and no job is paid, so nothing is unclaimed, \
         burned or in escrow; trials (`--trials`) are about what happens otherwise.",
    );
    document.table(tables::books_table(executed, yearly)?);
    document.prose(
        "All that follows must come out of circulation, collateral first. If everybody sells all they get to one newcomer, it can \
         lock its collateral after update {emission-collateral|everybody, the treasury too|update}, \
         {emission-collateral|everybody, the treasury too|days} days after deployment.",
    );
    let (validators, workers) = (params.get(Key::Validators), params.get(Key::Workers));
    document.table(claims::collateral_table(
        executed,
        params.interval_hours(),
        validators,
        workers,
    )?);
    document.heading("Income and break-even");
    let incomes = income::incomes(yearly, params);
    document.prose(
        "In the first year a validator earns {emission-income|1|validator_sno} SNO and a worker {emission-income|1|worker_sno} SNO. \
         At the costs given, a validator breaks even at {emission-income|1|validator_price_usd} USD for one SNO and a worker at \
         {emission-income|1|worker_price_usd} USD.",
    );
    document.picture(pictures::break_even(&incomes)?);
    document.table(income::table(&incomes, params));
    Ok(())
}

fn what_if(
    document: &mut Document,
    yearly: &[YearRecord],
    params: &Params,
) -> Result<(), EmissionError> {
    document.heading("What if the schedule were another");
    let sno = Kind::Sno { decimals: 0 };
    let mut table = Table::new(
        "emission-what-if",
        "The schedule as deployed, and with the parameters given",
        vec![
            column("year", "year", Kind::Ordinal),
            column("deployed_sno", "minted as deployed (SNO)", sno),
            column("what_if_sno", "minted if (SNO)", sno),
            column("deployed_supply_sno", "supply as deployed (SNO)", sno),
            column("what_if_supply_sno", "supply if (SNO)", sno),
            column(
                "what_if_inflation_percent",
                "inflation if (%)",
                Kind::Real { decimals: 2 },
            ),
        ],
    );
    let schedule = Schedule::new(params);
    let mut supply =
        i128::from(params.get(Key::Validators)) * 1_000_000 * crate::units::WEI_PER_SNO;
    let mut supplies = Vec::new();
    for year in yearly {
        let minted = schedule.of_era(year.year - 1) * u128::from(params.updates_per_year());
        let minted = minted.cast_signed();
        let inflation = 100.0 * minted as f64 / supply as f64;
        supply += minted;
        supplies.push(supply as f64 / 1e18);
        table.push([
            year.year.into(),
            year.minted.into(),
            minted.into(),
            year.supply.into(),
            supply.into(),
            inflation.into(),
        ]);
    }
    document.picture(pictures::what_if(yearly, &supplies)?);
    document.table(table);
    Ok(())
}

fn trial_part(
    document: &mut Document,
    trials: &[Vec<trials::Year>],
    yearly: &[YearRecord],
    options: &Options,
    compared: &[Compared],
    difference: Option<&Difference>,
) -> Result<(), EmissionError> {
    let years = options.years.get();
    document.heading("If things go wrong");
    document.prose(
        "{emission-figures|trials|value} trials, in each of which periods are missed, updates find that nobody worked, votes are not \
         cast, validators are slashed and replaced, jobs are paid and claims are never made, at rates that each trial draws for \
         itself. A round without enough approvals expires and is tried again for the same period; a period that is missed wholly \
         is not paid back.",
    );
    for picture in pictures::trials(trials, yearly, &options.params)? {
        document.picture(picture);
    }
    document.table(trials::end_table(trials, years));
    document.table_in_files(trials::bands_table(trials, years));
    document.table_in_files(trials::trials_table(trials));
    document.prose(match difference {
        None => "The trials are calculated, not executed. Some were played on the contracts, and after every update the supply, what \
                 circulates, is locked, unclaimed, in escrow and burned, and what the treasury and the workers hold were the same, \
                 to the wei."
            .to_owned(),
        Some(_) => "The trials are calculated, not executed. Some were played on the contracts, and the books of at least one of \
                    them differ: the model is wrong, and so may be everything in this section."
            .to_owned(),
    });
    document.table(replay_table(compared, difference));
    Ok(())
}

fn replay_table(compared: &[Compared], difference: Option<&Difference>) -> Table {
    let mut table = Table::new(
        "emission-replay",
        "Trials played on the contracts",
        vec![
            column("trial", "trial", Kind::Ordinal),
            column("updates", "state updates", Kind::Count),
            column("missed", "periods missed", Kind::Count),
            column(
                "failed_rounds",
                "rounds without enough approvals",
                Kind::Count,
            ),
            column("slashings", "slashings", Kind::Count),
            column("jobs", "jobs paid", Kind::Count),
            column("amounts", "amounts compared", Kind::Count),
            column("difference", "difference", Kind::Text),
        ],
    );
    for of in compared {
        table.push([
            of.trial.into(),
            of.updates.into(),
            of.missed.into(),
            of.failed_rounds.into(),
            of.slashings.into(),
            of.jobs.into(),
            of.amounts.into(),
            "none".into(),
        ]);
    }
    if let Some(difference) = difference {
        let mut row = vec![difference.trial.into(), difference.update.into()];
        row.extend(vec![Cell::Empty; 5]);
        row.push(difference.to_string().into());
        table.push_row(row);
    }
    table
}

fn parameters(params: &Params) -> Table {
    let mut table = Table::new(
        "emission-parameters",
        "Parameters (`--param NAME=VALUE`)",
        vec![
            column("name", "name", Kind::Text),
            column("value", "value", Kind::Text),
            column("bounds", "bounds", Kind::Text),
            column("meaning", "meaning", Kind::Text),
        ],
    );
    for spec in &SPECS {
        table.push([
            spec.name.into(),
            params.show(spec.key).into(),
            format!("{} to {}", spec.show(spec.min), spec.show(spec.max)).into(),
            spec.meaning.into(),
        ]);
    }
    table
}

fn summary(yearly: &[YearRecord]) -> String {
    let sum = |amount: fn(&YearRecord) -> i128| sno_exact(yearly.iter().map(amount).sum());
    let updates: u64 = yearly.iter().map(|year| year.updates).sum();
    let mut lines = vec![format!(
        "{:>4} {:>14} {:>16} {:>12}",
        "year", "minted (SNO)", "supply", "inflation %"
    )];
    lines.extend(yearly.iter().map(|year| {
        format!(
            "{:>4} {:>14} {:>16} {:>12.4}",
            year.year,
            sno_exact(year.minted),
            sno_exact(year.supply),
            year.inflation_percent()
        )
    }));
    lines.push(format!(
        "{updates} state updates executed: {} SNO minted, {} SNO by the closed form, difference {}",
        sum(|year| year.minted),
        sum(|year| year.closed_form),
        sum(|year| year.minted - year.closed_form),
    ));
    lines.join("\n")
}
