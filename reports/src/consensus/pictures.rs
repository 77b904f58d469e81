//! The pictures of the consensus report.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ConsensusError,
    attack::{self, Goal, HONEST},
    contract::{Draws, LAUNCH_PERCENT, Truth},
    exact::{Binomials, Case, Phase, required},
    limits::{Point, on_contract},
};
use crate::{
    document::Picture,
    picture::{
        AMBER, Axes, BLUE, GREEN, GREY, INK, Layer, Legend, RED, Tile, VIOLET, chart, charts, map,
    },
    stats::wilson,
};

/// Names of all pictures, in files.
pub const PICTURES: [&str; 7] = [
    "consensus-frontier",
    "consensus-liveness",
    "consensus-safety",
    "consensus-attack",
    "consensus-draws",
    "consensus-limits",
    "consensus-time",
];

/// The size of network that pictures show.
pub const SHOWN: u32 = 100;
/// Up to so many of them are adversaries in the picture of the frontier.
const REACH: u32 = 80;

/// Safe, live, both or neither: by threshold and by share of adversaries.
pub fn frontier() -> Result<Picture, ConsensusError> {
    let mut tiles: Vec<Tile> = Vec::new();
    for percent in 51..=100 {
        let needed = required(SHOWN, percent);
        for adversaries in 0..=REACH {
            let (safe, live) = (adversaries < needed, SHOWN - adversaries >= needed);
            let color = match (safe, live) {
                (true, true) => GREEN,
                (true, false) => AMBER,
                (false, _) => RED,
            };
            let (x, y) = (f64::from(adversaries), f64::from(percent));
            match tiles.last_mut() {
                // One tile for all neighbours of a row that are alike; the row above covers its upper edge, so that no
                // seam is left.
                Some((low, high, same)) if *same == color && low.1 == y - 0.5 => high.0 = x + 0.5,
                _ => tiles.push(((x - 0.5, y - 0.5), (x + 0.5, y + 0.65), color)),
            }
        }
    }
    let line = |label, color, points: Vec<(f64, f64)>| Layer::Line {
        label,
        color,
        width: 3,
        points,
    };
    let launch = f64::from(LAUNCH_PERCENT);
    let layers = [
        line(
            "the threshold at launch",
            BLUE,
            vec![(0.0, launch), (REACH.into(), launch)],
        ),
        line(
            "a third of the validators",
            VIOLET,
            vec![(100.0 / 3.0, 51.0), (100.0 / 3.0, 100.0)],
        ),
    ];
    let title = format!("Who can do what among {SHOWN} validators");
    let axes = Axes {
        title: &title,
        x: "adversaries, or validators that are silent (% of all)",
        y: "threshold (% that must be exceeded)",
        x_range: (0.0, REACH.into()),
        y_range: Some((51.0, 100.0)),
        y_decimals: 0,
        legend: Legend::UpperRight,
    };
    let names = [
        ("false updates impossible, true ones possible", GREEN),
        ("no updates at all", AMBER),
        ("false updates possible", RED),
    ];
    Ok(Picture {
        name: "consensus-frontier",
        svg: map(&axes, &tiles, &names, &layers)?,
        title,
        caption: "The higher the threshold, the more adversaries it takes to execute a false update, and the fewer silent \
                  validators it takes to hold all updates back. At the launch threshold both need about a third or two thirds."
            .to_owned(),
    })
}

/// The thresholds that curves compare.
const COMPARED: [(u32, &str, plotters::style::RGBColor); 4] = [
    (51, "threshold 51 %", AMBER),
    (LAUNCH_PERCENT, "threshold 66 %", BLUE),
    (80, "threshold 80 %", VIOLET),
    (95, "threshold 95 %", RED),
];

/// Probability of a true update, by share offline; with the contract's executions as points.
pub fn liveness(
    binomials: &Binomials,
    by_contract: &[(f64, f64)],
) -> Result<Picture, ConsensusError> {
    let mut layers: Vec<Layer<'_>> = COMPARED
        .iter()
        .map(|(percent, label, color)| Layer::Line {
            label,
            color: *color,
            width: 3,
            points: (0..=SHOWN)
                .map(|offline| {
                    let case = Case {
                        n: SHOWN,
                        percent: *percent,
                        adversaries: SHOWN / 10,
                        offline,
                        phase: Phase::Fresh,
                    };
                    (
                        f64::from(offline),
                        binomials.answer(case).live_probability(),
                    )
                })
                .collect(),
        })
        .collect();
    layers.push(Layer::Points {
        label: "66 % on the contract",
        color: GREY,
        points: by_contract.iter().map(|(x, y)| (*x, *y, *y, *y)).collect(),
    });
    let title = format!("True updates, a tenth of {SHOWN} validators hostile");
    let axes = Axes {
        title: &title,
        x: "validators offline, drawn at random (% of all)",
        y: "probability of an update",
        x_range: (0.0, f64::from(SHOWN)),
        y_range: Some((0.0, 1.05)),
        y_decimals: 1,
        legend: Legend::UpperRight,
    };
    Ok(Picture {
        name: "consensus-liveness",
        svg: chart(&axes, &layers)?,
        title,
        caption: "Before those offline fall out of the snapshot. A low threshold survives larger outages; how much each can bear \
                  is nearly a step, because who is hostile hardly varies in so large a draw."
            .to_owned(),
    })
}

/// Probability of a false update after those offline have fallen out.
pub fn safety(binomials: &Binomials) -> Result<Picture, ConsensusError> {
    let layers: Vec<Layer<'_>> = COMPARED
        .iter()
        .map(|(percent, label, color)| Layer::Line {
            label,
            color: *color,
            width: 3,
            points: (0..=SHOWN)
                .map(|adversaries| {
                    let case = Case {
                        n: SHOWN,
                        percent: *percent,
                        adversaries,
                        offline: SHOWN / 3,
                        phase: Phase::Settled,
                    };
                    (
                        f64::from(adversaries),
                        binomials.answer(case).unsafe_probability(),
                    )
                })
                .collect(),
        })
        .collect();
    let title = format!("False updates, a third of {SHOWN} validators gone");
    let axes = Axes {
        title: &title,
        x: "adversaries (% of all)",
        y: "probability of a false update",
        x_range: (0.0, f64::from(SHOWN)),
        y_range: Some((0.0, 1.05)),
        y_decimals: 1,
        legend: Legend::UpperLeft,
    };
    Ok(Picture {
        name: "consensus-safety",
        svg: chart(&axes, &layers)?,
        title,
        caption: "After three days only those online count, whoever they are. As the gone are drawn at random, the adversaries' \
                  share of the rest spreads around their share of all, and the curves are not steps."
            .to_owned(),
    })
}

/// What is free to buy, and what attacks cost.
pub fn attack(years: u64) -> Result<Picture, ConsensusError> {
    let free = (0..=years).map(|year| (year as f64, attack::free_sno(year) as f64 / 1e6));
    let mut layers = vec![Layer::Line {
        label: "SNO not locked at genesis",
        color: BLUE,
        width: 4,
        points: free.collect(),
    }];
    let labels: Vec<String> = HONEST
        .iter()
        .map(|honest| format!("false updates beside {honest} honest"))
        .collect();
    let colors = [RED, AMBER, VIOLET, GREEN, GREY, INK];
    // From the highest line to the lowest, as they are seen.
    for ((honest, label), color) in HONEST.iter().zip(&labels).zip(colors).rev() {
        let cost = f64::from(attack::attackers(*honest, LAUNCH_PERCENT, Goal::Execute));
        layers.push(Layer::Line {
            label,
            color,
            width: 2,
            points: vec![(0.0, cost), (years as f64, cost)],
        });
    }
    let title = "Collateral of an attack beside all there is";
    let axes = Axes {
        title,
        x: "years since deployment",
        y: "million SNO",
        x_range: (0.0, years as f64),
        // Room for the legend above all lines.
        y_range: Some((0.0, 2.0 * attack::free_sno(years) as f64 / 1e6)),
        y_decimals: 0,
        legend: Legend::UpperLeft,
    };
    Ok(Picture {
        name: "consensus-attack",
        title: title.to_owned(),
        svg: chart(&axes, &layers)?,
        caption: "An attack is out of reach as long as its line is above the curve: there are not enough SNO in the world. Few \
                  honest validators are no protection after the first months."
            .to_owned(),
    })
}

/// How often each validator was drawn.
pub fn draws(draws: &Draws) -> Result<Picture, ConsensusError> {
    let n = draws.counts.len() as f64;
    let expected = draws.rounds as f64 * draws.each as f64 / n;
    let share = draws.each as f64 / n;
    // Two standard deviations of a count.
    let spread = 2.0 * (draws.rounds as f64 * share * (1.0 - share)).sqrt();
    let (low, high) = (expected - spread, expected + spread);
    let counts = draws.counts.iter().enumerate();
    let layers = [
        Layer::Band {
            label: "two standard deviations of chance",
            color: BLUE,
            opacity: 0.2,
            points: vec![(0.5, low, high), (n + 0.5, low, high)],
        },
        Layer::Line {
            label: "expected",
            color: BLUE,
            width: 2,
            points: vec![(0.5, expected), (n + 0.5, expected)],
        },
        Layer::Points {
            label: "drawn by the contract",
            color: RED,
            points: counts
                .map(|(place, count)| {
                    let y = *count as f64;
                    (place as f64 + 1.0, y, y, y)
                })
                .collect(),
        },
    ];
    let title = "How often each validator was drawn as a proposer";
    let axes = Axes {
        title,
        x: "validator",
        y: "rounds in which it was drawn",
        x_range: (0.5, n + 0.5),
        y_range: None,
        y_decimals: 0,
        legend: Legend::LowerRight,
    };
    Ok(Picture {
        name: "consensus-draws",
        title: title.to_owned(),
        svg: chart(&axes, &layers)?,
        caption: "If the draw is fair, about nineteen in twenty points lie within the band."
            .to_owned(),
    })
}

/// What adversaries achieve in simulated networks, on the lines of the formula: a panel for each goal, size and threshold.
pub fn limits(points: &[Point], truth: &Truth) -> Result<Picture, ConsensusError> {
    let mut networks: BTreeMap<(Goal, u32, u32), Vec<&Point>> = BTreeMap::new();
    for point in points {
        let network = (point.goal, point.validators, point.percent);
        networks.entry(network).or_default().push(point);
    }
    let titles: Vec<String> = networks
        .keys()
        .map(|(goal, n, percent)| {
            let goal = match goal {
                Goal::Execute => "execute false updates",
                Goal::Block => "hold updates back",
            };
            format!("To {goal}: {n} validators, threshold {percent} %")
        })
        .collect();
    let panels: Vec<(Axes<'_>, Vec<Layer<'_>>)> = networks
        .iter()
        .zip(&titles)
        .map(|((network, points), title)| {
            let (goal, n, percent) = *network;
            let axes = Axes {
                title,
                x: "adversaries",
                y: "they reach it (% of runs)",
                x_range: (-0.4, f64::from(n) + 0.4),
                y_range: Some((-4.0, 108.0)),
                y_decimals: 0,
                legend: match goal {
                    Goal::Execute => Legend::UpperLeft,
                    Goal::Block => Legend::LowerRight,
                },
            };
            (axes, limit_layers(goal, n, percent, points, truth))
        })
        .collect();
    let title = "Adversaries that reach their goal";
    Ok(Picture {
        name: "consensus-limits",
        title: title.to_owned(),
        svg: charts(title, &panels)?,
        caption: "Each point with its line is the share of simulated runs and its interval, over all scenarios of the sweep with \
                  such a network. Points on the line, where those of the contract are, say that whole networks stand and fall with \
                  the same number of adversaries as the formula."
            .to_owned(),
    })
}

fn limit_layers(
    goal: Goal,
    n: u32,
    percent: u32,
    points: &[&Point],
    truth: &Truth,
) -> Vec<Layer<'static>> {
    let needed = points.first().map_or(0, |point| point.needed());
    let edge = f64::from(needed) - 0.5;
    let by_contract = (0..=n).filter_map(|adversaries| {
        let reached = on_contract(truth, goal, n, percent, adversaries)?;
        let y = if reached { 100.0 } else { 0.0 };
        Some((f64::from(adversaries), y, y, y))
    });
    let numbers: BTreeSet<u32> = points.iter().map(|point| point.adversaries).collect();
    let simulated = numbers.into_iter().map(|adversaries| {
        let these = points
            .iter()
            .filter(|point| point.adversaries == adversaries);
        let (reached, runs) = these.fold((0, 0), |(reached, runs), point| {
            (reached + point.reached, runs + point.runs)
        });
        let (low, high) = wilson(reached, runs);
        // Beside the contract's point, so that both are seen.
        let x = f64::from(adversaries) + 0.12;
        let share = reached as f64 / runs as f64;
        (x, 100.0 * share, 100.0 * low, 100.0 * high)
    });
    vec![
        Layer::Line {
            label: "formula",
            color: BLUE,
            width: 3,
            points: vec![
                (-0.4, 0.0),
                (edge, 0.0),
                (edge, 100.0),
                (f64::from(n) + 0.4, 100.0),
            ],
        },
        Layer::Points {
            label: "contract alone",
            color: GREY,
            points: by_contract.collect(),
        },
        Layer::Points {
            label: "simulated networks",
            color: RED,
            points: simulated.collect(),
        },
    ]
}
