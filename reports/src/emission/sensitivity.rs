//! Which assumption matters most: one parameter at a time, low and high, all others as given.

use super::{
    model::Schedule,
    params::{Key, Params, SPECS},
    trials::{self, sno},
};
use crate::{
    picture::Bar,
    table::{Kind, Table, column},
};

/// Trials for each end of a bar; the same random numbers for all, so that they differ by the parameter alone.
const TRIALS: u64 = 8;

/// What one parameter does.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The parameter.
    pub key: Key,
    /// Its low and its high value, in units of its last place.
    pub values: (u64, u64),
    /// Supply at the end with the low and with the high value, in SNO.
    pub supply: (f64, f64),
    /// A seat's income over all years with the low and with the high value, in SNO.
    pub income: (f64, f64),
}

/// The middle and what each parameter does to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// Supply at the end with the given parameters, in SNO.
    pub supply: f64,
    /// A seat's income over all years with the given parameters, in SNO.
    pub income: f64,
    /// The parameters, in their order.
    pub effects: Vec<Effect>,
}

/// Low and high values around the given ones.
fn ends(params: &Params) -> Vec<(Key, u64, u64)> {
    let given = |key| params.get(key);
    let around = |key, low: u64, high: u64| (key, given(key) * low / 100, given(key) * high / 100);
    vec![
        around(Key::EmissionPer8h, 80, 120),
        (
            Key::Reduction,
            given(Key::Reduction).saturating_sub(10),
            given(Key::Reduction) + 10,
        ),
        around(Key::TailPer8h, 50, 150),
        (
            Key::Validators,
            given(Key::Validators).div_ceil(2),
            given(Key::Validators) * 2,
        ),
        (Key::Missed, 0, given(Key::Missed) + 900),
        (Key::Idle, 0, given(Key::Idle) + 900),
        (Key::Absent, 0, given(Key::Absent) + 1_500),
        (Key::Unclaimed, 0, given(Key::Unclaimed) + 800),
        (Key::PaidJobs, 0, given(Key::PaidJobs) + 4_500),
        (Key::Slashings, 0, given(Key::Slashings) + 250),
    ]
}

/// Tries every parameter; `progress` hears how many ends are done.
#[must_use]
pub fn run(params: &Params, years: u64, seed: u64, mut progress: impl FnMut(u64)) -> Sensitivity {
    let mut done = 0;
    let mut outcome = |params: &Params| {
        let schedule = Schedule::new(params);
        let (mut supply, mut income) = (0.0, 0.0);
        for number in 0..TRIALS {
            let years = trials::trial(params, &schedule, years, seed, number, false);
            supply += years.last().map_or(0.0, |year| sno(year.supply));
            income += years.iter().map(|year| sno(year.seat_income)).sum::<f64>();
        }
        done += 1;
        progress(done);
        (supply / TRIALS as f64, income / TRIALS as f64)
    };
    let (supply, income) = outcome(params);
    let effects = ends(params).into_iter().map(|(key, low, high)| {
        let with = [low, high].map(|value| params.with(key, value));
        // A tail is never above what it is the tail of.
        let with = with.map(|params| {
            let tail = params
                .get(Key::TailPer8h)
                .min(params.get(Key::EmissionPer8h));
            params.with(Key::TailPer8h, tail)
        });
        let (low, high) = (outcome(&with[0]), outcome(&with[1]));
        Effect {
            key,
            values: (with[0].get(key), with[1].get(key)),
            supply: (low.0, high.0),
            income: (low.1, high.1),
        }
    });
    let effects = effects.collect();
    Sensitivity {
        supply,
        income,
        effects,
    }
}

/// One row for each parameter.
#[must_use]
pub fn table(sensitivity: &Sensitivity, years: u64) -> Table {
    let whole = Kind::Real { decimals: 0 };
    let mut table = Table::new(
        "emission-sensitivity",
        format!(
            "One parameter at a time, over {years} years: supply at the end, and all that a validator's seat earns"
        ),
        vec![
            column("parameter", "parameter", Kind::Text),
            column("low", "low", Kind::Text),
            column("high", "high", Kind::Text),
            column("supply_low_sno", "supply if low (SNO)", whole),
            column("supply_high_sno", "supply if high (SNO)", whole),
            column("income_low_sno", "income if low (SNO)", whole),
            column("income_high_sno", "income if high (SNO)", whole),
        ],
    );
    let middle = [
        sensitivity.supply,
        sensitivity.supply,
        sensitivity.income,
        sensitivity.income,
    ];
    let mut row = vec!["as given".into(), "–".into(), "–".into()];
    row.extend(middle.map(Into::into));
    table.push_row(row);
    for effect in &sensitivity.effects {
        let spec = &SPECS[effect.key as usize];
        table.push([
            spec.name.into(),
            spec.show(effect.values.0).into(),
            spec.show(effect.values.1).into(),
            effect.supply.0.into(),
            effect.supply.1.into(),
            effect.income.0.into(),
            effect.income.1.into(),
        ]);
    }
    table
}

/// The bars of a tornado, the widest first, in million SNO.
#[must_use]
pub fn bars(sensitivity: &Sensitivity, of: fn(&Effect) -> (f64, f64)) -> Vec<Bar> {
    let mut effects: Vec<&Effect> = sensitivity.effects.iter().collect();
    let width = |effect: &Effect| (of(effect).1 - of(effect).0).abs();
    effects.sort_by(|a, b| width(b).total_cmp(&width(a)));
    let bars = effects.into_iter().map(|effect| {
        let spec = &SPECS[effect.key as usize];
        let (low, high) = of(effect);
        let said = |value| spec.show(value);
        Bar {
            label: spec.name.to_owned(),
            low: (low / 1e6, said(effect.values.0)),
            high: (high / 1e6, said(effect.values.1)),
        }
    });
    bars.collect()
}

/// The parameter whose bar is the widest.
#[must_use]
pub fn widest(sensitivity: &Sensitivity, of: fn(&Effect) -> (f64, f64)) -> Option<&'static str> {
    let width = |effect: &&Effect| (of(effect).1 - of(effect).0).abs();
    let widest = sensitivity
        .effects
        .iter()
        .max_by(|a, b| width(a).total_cmp(&width(b)));
    widest.map(|effect| SPECS[effect.key as usize].name)
}
