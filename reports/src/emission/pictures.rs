//! The pictures of the emission report.

use alloy::primitives::U256;

use super::{
    EmissionError, Executed, UpdateRecord,
    income::Income,
    model::Schedule,
    params::Params,
    sensitivity::{self, Sensitivity},
    tables::YearRecord,
    trials::{self, Year},
};
use crate::{
    document::Picture,
    picture::{AMBER, Axes, BLUE, GREEN, GREY, Layer, Legend, RED, VIOLET, chart, charts, tornado},
    units::grouped,
};

/// Names of all pictures, in files.
pub const PICTURES: [&str; 8] = [
    "emission",
    "emission-inflation",
    "emission-break-even",
    "emission-what-if",
    "emission-sensitivity-supply",
    "emission-sensitivity-income",
    "emission-trials-supply",
    "emission-trials-income",
];

const YEARS: &str = "years since deployment";

fn axes<'a>(title: &'a str, x: &'a str, y: &'a str, last: f64, legend: Legend) -> Axes<'a> {
    Axes {
        title,
        x,
        y,
        x_range: (0.0, last),
        y_range: None,
        y_decimals: 0,
        legend,
    }
}

/// How the supply grows and to whom it goes, and what an update mints.
pub fn emission(executed: &Executed, interval_hours: u64) -> Result<Picture, EmissionError> {
    let records = &executed.records;
    let last = records.last().map_or(1, |record| record.year);
    let unit = if last == 1 { "year" } else { "years" };
    let title = format!("Emission of SNO over {last} {unit}");
    let what = format!(
        "{} state updates, each executed on the contracts",
        grouped(&records.len().to_string())
    );
    let years = |update: u64| (update * interval_hours) as f64 / 8_760.0;
    let genesis = millions(executed.genesis.supply);
    // Tops of the bands, from the bottom up: genesis, treasury, validators, workers.
    let mut tops = [genesis; 4];
    let mut points = vec![(0.0, tops)];
    for (place, record) in records.iter().enumerate() {
        for (band, share) in [record.treasury, record.validators, record.workers]
            .into_iter()
            .enumerate()
        {
            for top in &mut tops[band + 1..] {
                *top += millions(share);
            }
        }
        // The rate changes from year to year; within one the supply grows in a straight line.
        if records
            .get(place + 1)
            .is_none_or(|next| next.year != record.year)
        {
            points.push((years(record.update), tops));
        }
    }
    let band = |label, color, lower: Option<usize>, upper: usize| Layer::Band {
        label,
        color,
        opacity: 0.85,
        points: points
            .iter()
            .map(|(x, tops)| (*x, lower.map_or(0.0, |lower| tops[lower]), tops[upper]))
            .collect(),
    };
    let supply = vec![
        band("workers, 85 % of the emission", BLUE, Some(2), 3),
        band("validators, 10 %", GREEN, Some(1), 2),
        band("treasury, 5 %", AMBER, Some(0), 1),
        band("genesis collateral", GREY, None, 0),
    ];
    let line = |label, color, width, amount: fn(&UpdateRecord) -> U256| Layer::Line {
        label,
        color,
        width,
        points: steps(records, amount, years),
    };
    let minted = vec![
        line("minted by the contracts", BLUE, 7, |record| record.minted),
        line("closed form", GREY, 2, |record| record.closed_form),
    ];
    // The curve starts high on the left and is low on the right, except in a single year.
    let free = if last == 1 {
        Legend::LowerLeft
    } else {
        Legend::UpperRight
    };
    let panels = [
        (
            axes(
                &what,
                YEARS,
                "supply (million SNO)",
                last as f64,
                Legend::UpperLeft,
            ),
            supply,
        ),
        (
            axes(
                "Emission of one update",
                YEARS,
                "emission (SNO)",
                last as f64,
                free,
            ),
            minted,
        ),
    ];
    Ok(Picture {
        name: "emission",
        svg: charts(&title, &panels)?,
        title,
        caption: "The supply in bands of those who received it, and what one update mints. The contracts lie on the closed form: \
                  the thin line runs along the middle of the thick one."
            .to_owned(),
    })
}

/// Inflation of each year.
pub fn inflation(years: &[YearRecord]) -> Result<Picture, EmissionError> {
    // The first years would press all others flat.
    let first = if years.len() >= 8 {
        7
    } else {
        2_u64.min(years.len() as u64)
    };
    let points: Vec<(f64, f64)> = years
        .iter()
        .filter(|year| year.year >= first)
        .map(|year| (year.year as f64, year.inflation_percent()))
        .collect();
    let (from, to) = (first as f64, years.len() as f64);
    let title = format!("Inflation from year {first} on");
    let layers = [
        Layer::Line {
            label: "the whitepaper's 2 %",
            color: AMBER,
            width: 2,
            points: vec![(from, 2.0), (to, 2.0)],
        },
        Layer::Line {
            label: "minted in the year, of the supply before it",
            color: BLUE,
            width: 3,
            points,
        },
    ];
    let axes = Axes {
        x_range: (from, to.max(from + 1.0)),
        y_decimals: 1,
        ..axes(
            &title,
            "year",
            "inflation (% a year)",
            to,
            Legend::UpperRight,
        )
    };
    Ok(Picture {
        name: "emission-inflation",
        svg: chart(&axes, &layers)?,
        title,
        caption: "A constant emission is an ever smaller part of an ever larger supply. The tail starts above the whitepaper's \
                  figure and falls towards it."
            .to_owned(),
    })
}

/// At which price of SNO validators and workers break even.
pub fn break_even(incomes: &[Income]) -> Result<Picture, EmissionError> {
    let line = |label, color, of: fn(&Income) -> f64| Layer::Line {
        label,
        color,
        width: 3,
        points: incomes
            .iter()
            .map(|income| (income.year as f64, of(income)))
            .collect(),
    };
    let layers = [
        line("a worker", BLUE, |income| income.worker_price_usd),
        line("a validator", GREEN, |income| income.validator_price_usd),
    ];
    let title = "Price of SNO that pays the costs";
    let last = incomes.len() as f64;
    let axes = Axes {
        x_range: (1.0, last.max(2.0)),
        y_decimals: 3,
        ..axes(
            title,
            "year",
            "price (USD for 1 SNO)",
            last,
            Legend::UpperLeft,
        )
    };
    Ok(Picture {
        name: "emission-break-even",
        title: title.to_owned(),
        svg: chart(&axes, &layers)?,
        caption: "Below its line, a validator or worker pays more than it earns, at the costs and numbers that are given. The \
                  lines rise as the emission falls and are level in the tail."
            .to_owned(),
    })
}

/// The supply with another schedule, beside the contracts'.
pub fn what_if(years: &[YearRecord], supplies: &[f64]) -> Result<Picture, EmissionError> {
    let deployed = years
        .iter()
        .map(|year| (year.year as f64, year.supply as f64 / 1e24));
    let other = years
        .iter()
        .zip(supplies)
        .map(|(year, supply)| (year.year as f64, supply / 1e6));
    let layers = [
        Layer::Line {
            label: "as deployed",
            color: BLUE,
            width: 3,
            points: deployed.collect(),
        },
        Layer::Line {
            label: "what if",
            color: RED,
            width: 3,
            points: other.collect(),
        },
    ];
    let title = "Supply as deployed, and what if";
    let last = years.len() as f64;
    let axes = Axes {
        x_range: (1.0, last.max(2.0)),
        ..axes(
            title,
            "end of year",
            "supply (million SNO)",
            last,
            Legend::LowerRight,
        )
    };
    Ok(Picture {
        name: "emission-what-if",
        title: title.to_owned(),
        svg: chart(&axes, &layers)?,
        caption: "The contracts cannot be told to follow the other schedule: it is arithmetic, not an execution.".to_owned(),
    })
}

/// What each parameter does to the supply, and to a validator's income.
pub fn sensitivities(sensitivity: &Sensitivity) -> Result<[Picture; 2], EmissionError> {
    let supply = tornado(
        "What moves the supply at the end",
        "supply (million SNO)",
        sensitivity.supply / 1e6,
        &sensitivity::bars(sensitivity, |effect| effect.supply),
    )?;
    let income = tornado(
        "What moves the income of a validator's seat",
        "income over all years (million SNO)",
        sensitivity.income / 1e6,
        &sensitivity::bars(sensitivity, |effect| effect.income),
    )?;
    let caption = "Each bar is one parameter, at its low (amber) and its high (blue) value, all others as given; the numbers at its \
                   ends are the parameter's values. The widest bar matters most.";
    Ok([
        Picture {
            name: "emission-sensitivity-supply",
            title: "What moves the supply at the end".to_owned(),
            caption: caption.to_owned(),
            svg: supply,
        },
        Picture {
            name: "emission-sensitivity-income",
            title: "What moves the income of a validator's seat".to_owned(),
            caption: caption.to_owned(),
            svg: income,
        },
    ])
}

/// The bands of the trials: supply, and a seat's income.
pub fn trials(
    trials: &[Vec<Year>],
    years: &[YearRecord],
    params: &Params,
) -> Result<[Picture; 2], EmissionError> {
    let schedule = Schedule::new(params);
    let per_year = u128::from(params.updates_per_year());
    let seats = params.real(super::params::Key::Validators);
    let mut supply = 1e6 * seats;
    let mut undisturbed = (Vec::new(), Vec::new());
    for year in years {
        let minted = trials::sno(schedule.of_era(year.year - 1) * per_year);
        supply += minted;
        undisturbed.0.push((year.year as f64, supply / 1e6));
        undisturbed
            .1
            .push((year.year as f64, minted / 10.0 / seats / 1e3));
    }
    let fan = |title: &str, y: &str, scale: f64, of: fn(&Year) -> f64, undisturbed, legend| {
        let bands: Vec<[f64; 5]> = (0..years.len())
            .map(|year| trials::band(trials, year, of))
            .collect();
        let points = |low: usize, high: usize| {
            let points = bands.iter().zip(years);
            points
                .map(|(band, year)| (year.year as f64, band[low] / scale, band[high] / scale))
                .collect()
        };
        let median = bands
            .iter()
            .zip(years)
            .map(|(band, year)| (year.year as f64, band[2] / scale));
        let layers = [
            Layer::Band {
                label: "90 % of the trials",
                color: BLUE,
                opacity: 0.25,
                points: points(0, 4),
            },
            Layer::Band {
                label: "50 % of the trials",
                color: BLUE,
                opacity: 0.45,
                points: points(1, 3),
            },
            Layer::Line {
                label: "median",
                color: VIOLET,
                width: 2,
                points: median.collect(),
            },
            Layer::Line {
                label: "if nothing goes wrong",
                color: GREY,
                width: 2,
                points: undisturbed,
            },
        ];
        let last = years.len() as f64;
        let axes = Axes {
            x_range: (1.0, last.max(2.0)),
            ..axes(title, "end of year", y, last, legend)
        };
        chart(&axes, &layers)
    };
    let caption = "Each trial has its own rates of missed periods, idle updates, absent votes, slashings, paid jobs and forgotten \
                   claims, drawn between nothing and twice the given ones.";
    let titles = [
        "Supply in the trials",
        "Income of a validator's seat in the trials",
    ];
    Ok([
        Picture {
            name: "emission-trials-supply",
            title: titles[0].to_owned(),
            caption: caption.to_owned(),
            svg: fan(
                titles[0],
                "supply (million SNO)",
                1e6,
                |year| trials::sno(year.supply),
                undisturbed.0,
                Legend::LowerRight,
            )?,
        },
        Picture {
            name: "emission-trials-income",
            title: titles[1].to_owned(),
            caption: caption.to_owned(),
            svg: fan(
                titles[1],
                "income (thousand SNO a year)",
                1e3,
                |year| trials::sno(year.seat_income),
                undisturbed.1,
                Legend::UpperRight,
            )?,
        },
    ])
}

/// The corners of a curve that is level over each update's period.
fn steps(
    records: &[UpdateRecord],
    amount: fn(&UpdateRecord) -> U256,
    years: impl Fn(u64) -> f64,
) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for record in records {
        let start = years(record.update.saturating_sub(1));
        let y = millions(amount(record)) * 1e6;
        match corners.last() {
            Some((_, before)) if *before == y => {}
            Some((_, before)) => {
                let before = *before;
                corners.extend([(start, before), (start, y)]);
            }
            None => corners.push((start, y)),
        }
    }
    if let (Some(record), Some((_, y))) = (records.last(), corners.last().copied()) {
        corners.push((years(record.update), y));
    }
    corners
}

/// An amount in million SNO, as exact as a picture needs.
fn millions(wei: U256) -> f64 {
    f64::from(wei) / 1e24
}
