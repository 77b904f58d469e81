//! What the whitepaper says of the token, beside what the contracts do.

use super::{
    EmissionError, Executed,
    tables::{YearRecord, signed},
};
use crate::{
    table::{Cell, Kind, Table, column},
    units::{WEI_PER_SNO, grouped, real, sno_rounded},
};

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Held,
    /// It does not.
    NotHeld,
    /// The report is too short to tell.
    NotTold,
}

impl Verdict {
    /// The verdict in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::NotTold => "more years needed",
        }
    }
}

/// A claim with its figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// A short name.
    pub name: &'static str,
    /// What is claimed.
    pub claimed: String,
    /// What the contracts do.
    pub figure: String,
    /// Whether the claim holds.
    pub verdict: Verdict,
}

/// Emission for eight hours in each of the first years, in thousandths of SNO.
const EMISSION_PER_8H: [i128; 7] = [
    45_000_000, 27_000_000, 16_200_000, 9_720_000, 5_832_000, 3_499_200, 3_360_000,
];
/// What the supply is after year 6 with three genesis validators, in SNO.
const SUPPLY_AFTER_6: i128 = 120_440_064;

/// Every claim, with what the contracts did in `executed`.
pub fn claims(
    executed: &Executed,
    years: &[YearRecord],
    interval_hours: u64,
    validators: u64,
) -> Result<Vec<Claim>, EmissionError> {
    let year = |number: u64| years.iter().find(|year| year.year == number);
    let per_8h = |year: &YearRecord| {
        year.minted * 8 / (i128::from(interval_hours) * i128::from(year.updates.max(1)))
    };
    let held = |holds: Option<bool>| match holds {
        Some(true) => Verdict::Held,
        Some(false) => Verdict::NotHeld,
        None => Verdict::NotTold,
    };
    let told = |figure: Option<String>| figure.unwrap_or_else(|| "–".to_owned());
    let expected = |place: usize| EMISSION_PER_8H[place] * WEI_PER_SNO / 1_000;
    let mut claims = Vec::new();
    let mut claim = |name, claimed: &str, figure, verdict| {
        claims.push(Claim {
            name,
            claimed: claimed.to_owned(),
            figure,
            verdict,
        });
    };

    let first = year(1);
    claim(
        "first emission",
        "45,000 SNO for every 8 hours in the first year",
        told(first.map(|year| format!("{} SNO", sno_rounded(per_8h(year), 1)))),
        held(first.map(|year| per_8h(year) == expected(0))),
    );
    let falls: Vec<_> = (2..=6)
        .filter_map(|number| year(number).zip(year(number - 1)))
        .collect();
    let fall = |(now, before): &(&YearRecord, &YearRecord)| {
        100.0 * (1.0 - now.minted as f64 / before.minted as f64)
    };
    claim(
        "reduction",
        "40 % less each year until the tail",
        told((!falls.is_empty()).then(|| {
            let falls = falls
                .iter()
                .map(|pair| format!("{} %", real(fall(pair), 2)));
            format!(
                "years 2 to {}: {}",
                falls.len() + 1,
                falls.collect::<Vec<_>>().join(", ")
            )
        })),
        held((falls.len() == 5).then(|| {
            (1..6).all(|place| {
                year(place as u64 + 1).is_some_and(|year| per_8h(year) == expected(place))
            })
        })),
    );
    let tail = year(7);
    let tail_years: Vec<_> = years.iter().filter(|year| year.year >= 7).collect();
    claim(
        "tail emission",
        "3,360 SNO for every 8 hours from year 7 on",
        told(tail.map(|year| format!("{} SNO", sno_rounded(per_8h(year), 1)))),
        held(tail.map(|_| tail_years.iter().all(|year| per_8h(year) == expected(6)))),
    );
    let genesis = signed(executed.genesis.supply)?;
    let promised = i128::from(validators) * 1_000_000 * WEI_PER_SNO;
    claim(
        "genesis",
        "1,000,000 SNO for each genesis validator (3 at launch)",
        format!("{} SNO for {validators}", sno_rounded(genesis, 0)),
        held(Some(genesis == promised)),
    );
    claim(
        "split",
        "85 % to workers, 10 % to validators, 5 % to the treasury",
        told(first.map(|year| {
            let part = |amount: i128| real(100.0 * amount as f64 / year.minted as f64, 2);
            format!(
                "{} %, {} %, {} %",
                part(year.workers),
                part(year.validators),
                part(year.treasury)
            )
        })),
        held(first.map(|_| {
            years.iter().all(|year| {
                // What three validators cannot share equally goes to the treasury: less than a wei for each of them
                // and update.
                let dust = i128::from(year.updates * validators);
                year.workers * 100 == year.minted * 85
                    && (year.minted / 10 - year.validators).abs() <= dust
            })
        })),
    );
    let sixth = year(6);
    let follows = SUPPLY_AFTER_6 + (i128::from(validators) - 3) * 1_000_000;
    claim(
        "supply after year 6",
        "120,440,064 SNO with 3 genesis validators, by the whitepaper's numbers",
        told(sixth.map(|year| format!("{} SNO", sno_rounded(year.supply, 1)))),
        held(sixth.map(|year| year.supply == follows * WEI_PER_SNO)),
    );
    claim(
        "tail inflation",
        "about 2 % a year when the tail starts",
        told(tail.map(|year| format!("{} % in year 7", real(year.inflation_percent(), 2)))),
        held(tail.map(|year| (1.5..2.5).contains(&year.inflation_percent()))),
    );
    let near = years
        .iter()
        .find(|year| year.year >= 7 && year.inflation_percent() < 2.5);
    claim(
        "tail inflation, later",
        "about 2 % a year at some time (rounded: below 2.5 %)",
        told(near.or(years.last()).map(|year| {
            let from = if near.is_some() { "from" } else { "not yet in" };
            format!(
                "{from} year {}: {} %",
                year.year,
                real(year.inflation_percent(), 2)
            )
        })),
        match near {
            Some(_) => Verdict::Held,
            None => Verdict::NotTold,
        },
    );
    let rates: Vec<f64> = years.iter().map(YearRecord::inflation_percent).collect();
    claim(
        "inflation falls",
        "inflation perpetually decreasing, as a rate",
        told(rates.first().zip(rates.last()).map(|(first, last)| {
            format!(
                "{} % in year 1, {} % in year {}",
                real(*first, 0),
                real(*last, 2),
                years.len()
            )
        })),
        held((rates.len() > 1).then(|| rates.windows(2).all(|pair| pair[1] < pair[0]))),
    );
    claim(
        "emission falls",
        "emission perpetually decreasing, as an amount",
        told(tail.map(|year| {
            format!(
                "{} SNO in year 7 and every year after",
                sno_rounded(year.minted, 0)
            )
        })),
        held((tail_years.len() > 1).then(|| {
            tail_years
                .windows(2)
                .all(|pair| pair[1].minted < pair[0].minted)
        })),
    );
    claim(
        "nothing circulates at genesis",
        "follows: all genesis tokens are locked as collateral",
        format!(
            "{} SNO circulate, {} SNO are locked",
            sno_rounded(signed(executed.genesis.circulating)?, 0),
            sno_rounded(signed(executed.genesis.locked)?, 0)
        ),
        held(Some(
            executed.genesis.circulating.is_zero()
                && executed.genesis.locked == executed.genesis.supply,
        )),
    );
    Ok(claims)
}

/// The claims as a table.
#[must_use]
pub fn table(claims: &[Claim]) -> Table {
    let mut table = Table::new(
        "emission-claims",
        "Claims of the whitepaper and what follows from them",
        vec![
            column("claim", "claim", Kind::Text),
            column("claimed", "what is claimed", Kind::Text),
            column("figure", "what the contracts do", Kind::Text),
            column("verdict", "verdict", Kind::Text),
        ],
    );
    for claim in claims {
        table.push([
            claim.name.into(),
            claim.claimed.clone().into(),
            claim.figure.clone().into(),
            claim.verdict.words().into(),
        ]);
    }
    table
}

/// When one more validator can first afford its collateral: by whom the SNO are saved, after which update, and when.
pub fn collateral_table(
    executed: &Executed,
    interval_hours: u64,
    validators: u64,
    workers: u64,
) -> Result<Table, EmissionError> {
    let mut table = Table::new(
        "emission-collateral",
        "When one more validator can first afford its 1,000,000 SNO of collateral",
        vec![
            column("who", "who saves", Kind::Text),
            column("update", "after update", Kind::Count),
            column("days", "after (days)", Kind::Real { decimals: 1 }),
            column(
                "saved_sno",
                "saved by then (SNO)",
                Kind::Sno { decimals: 0 },
            ),
        ],
    );
    let collateral = 1_000_000 * WEI_PER_SNO;
    type Income = fn(&super::UpdateRecord) -> alloy::primitives::U256;
    let whole: Income = |record| record.workers + record.validators + record.treasury;
    let savers: [(&str, Income, i128); 5] = [
        ("everybody, the treasury too", whole, 1),
        (
            "all workers and validators",
            |record| record.workers + record.validators,
            1,
        ),
        ("all workers", |record| record.workers, 1),
        (
            "one of the workers",
            |record| record.workers,
            i128::from(workers),
        ),
        (
            "one of the validators",
            |record| record.validators,
            i128::from(validators),
        ),
    ];
    for (who, income, heads) in savers {
        let (mut saved, mut at) = (0, None);
        for record in &executed.records {
            saved += signed(income(record))? / heads;
            if saved >= collateral {
                at = Some(record.update);
                break;
            }
        }
        table.push([
            who.into(),
            at.into(),
            at.map(|update| (update * interval_hours) as f64 / 24.0)
                .into(),
            if at.is_some() {
                Cell::Wei(saved)
            } else {
                Cell::Empty
            },
        ]);
    }
    table.title += &format!(
        " (one of the workers: {} share equally; one of the validators: {validators} do)",
        grouped(&workers.to_string())
    );
    Ok(table)
}
