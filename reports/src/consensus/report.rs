//! The consensus report as a document.

use std::path::Path;

use super::{
    ConsensusError, Options, attack,
    contract::{Draws, LAUNCH_PERCENT, Recovery, Truth, Voters},
    exact::{self, Binomials, Case, N_MAX, Phase, required},
    limits::points,
    pictures::{self, SHOWN},
    simulated,
};
use crate::{
    document::{Document, files},
    stats::chi_square_p,
    table::{Kind, Table, column},
    units::{grouped, real},
};

/// Names of all tables, in files.
const TABLES: [&str; 11] = [
    "consensus-figures",
    "consensus-exact",
    "consensus-frontier",
    "consensus-grid",
    "consensus-byzantine",
    "consensus-recovery",
    "consensus-fairness",
    "consensus-attack",
    "consensus-limits",
    "consensus-simulated",
    "consensus-time",
];
/// Up to so many validators every draw is looked at and every vote cast on the contract.
const EXHAUSTIVE: u32 = 12;
/// Sizes of network in the table of probabilities.
const GRID_N: [u32; 6] = [4, 10, 31, 50, 100, 200];
/// Shares of adversaries and of validators offline in it, in per cent.
const GRID_SHARES: [u32; 9] = [0, 5, 10, 20, 30, 33, 40, 50, 66];
/// Snapshots on which exactly 66 % is tried.
const EXACT_N: [u32; 3] = [3, 50, 100];
/// Validators in the recovery table.
const RECOVERY_N: u32 = 10;
/// Sizes of network whose proposers are counted.
const FAIRNESS_N: [u32; 3] = [4, 9, 10];
/// Below this probability a test says that draws are not even.
const SIGNIFICANCE: f64 = 0.01;
/// Years of the cost of attack.
const YEARS: u64 = 20;

/// All files that a consensus report may consist of.
#[must_use]
pub fn report_files() -> Vec<String> {
    files("consensus", &TABLES, &pictures::PICTURES)
}

/// A report, and whether its three ways agree.
#[derive(Debug)]
pub struct Report {
    /// The report.
    pub document: Document,
    /// Cells in which enumeration, contract and formula were compared.
    pub cells: u64,
    /// The first of them in which they differ.
    pub disagreement: Option<Case>,
}

/// Makes the report. `progress` hears what is being done, how far it is, and of how much.
pub fn report(
    options: &Options,
    mut progress: impl FnMut(&str, u64, u64),
) -> Result<Report, ConsensusError> {
    let binomials = Binomials::new();
    let mut truth = Truth::default();
    if let Some((sweep, limits)) = &options.simulated {
        // Before the work, so that a library of other scenarios is told at once.
        points(sweep, limits, &truth)?;
    }
    let rounds = u64::from(EXHAUSTIVE) * 50;
    for n in 1..=EXHAUSTIVE {
        let mut voters = Voters::new(n)?;
        for percent in 51..=100 {
            voters.vote_through(percent, &mut truth)?;
            progress(
                "round of votes",
                u64::from((n - 1) * 50 + percent - 50),
                rounds,
            );
        }
    }
    let (cells, disagreement) = compare(&binomials, &truth);
    for n in EXACT_N.into_iter().filter(|n| *n > EXHAUSTIVE) {
        Voters::new(n)?.vote_through(LAUNCH_PERCENT, &mut truth)?;
    }
    let mut views = Vec::new();
    let mut asked = Voters::new(1)?;
    for percent in 51..=100 {
        views.push((percent, asked.required_for(percent, 1..=N_MAX)?));
        progress("threshold", u64::from(percent - 50), 50);
    }
    let mut recoveries = Vec::new();
    for offline in 0..RECOVERY_N {
        recoveries.push((offline, Voters::new(RECOVERY_N)?.recover(offline as usize)?));
        progress("outage", u64::from(offline + 1), RECOVERY_N.into());
    }
    let mut draws = Vec::new();
    for n in FAIRNESS_N {
        let counted = Voters::new(n)?.count_draws(options.rounds, |round| {
            progress("draw", round, options.rounds)
        })?;
        draws.push((n, counted));
    }

    let mut document = Document::new(
        "consensus",
        "The threshold of a state update",
        command(options),
    );
    let mut figures = Figures::new();
    figures.add("cells compared", grouped(&cells.to_string()));
    figures.add("executions tried", grouped(&truth.attempts().to_string()));
    figures.add("exhaustive up to", EXHAUSTIVE.to_string());
    figures.add("largest network", N_MAX.to_string());
    figures.add("threshold at launch (%)", LAUNCH_PERCENT.to_string());
    document.prose(
        "A state update is executed when strictly more than {consensus-figures|threshold at launch (%)|value} % of the validators \
         that count approve it. Adversaries who reach the threshold alone execute what they like; validators who are silent, out of \
         malice or misfortune, hold true updates back when the others do not reach it. Here both are answered in three ways: by \
         exact combinatorics, by looking at every draw of those offline, and by votes on the bytecode of the contract.",
    );
    document.prose(match disagreement {
        None => "For up to {consensus-figures|exhaustive up to|value} validators, every threshold from the lowest to the highest \
                 that the contract allows, and every number of adversaries and of validators offline, the three agree on all \
                 {consensus-figures|cells compared|value} cells; {consensus-figures|executions tried|value} executions were tried on \
                 the contract for that."
            .to_owned(),
        Some(_) => "The three ways do not agree on every cell: the command that made this report names the first that differs.".to_owned(),
    });
    threshold(&mut document, &mut figures, &truth, &views)?;
    probabilities(&mut document, &binomials, &truth)?;
    recovery(&mut document, &recoveries);
    fairness(&mut document, &mut figures, &draws)?;
    document.heading("Cost of an attack");
    document.prose(
        "An attacker needs validators, and each locks its collateral. It cannot lock more than there is outside of others' \
         collateral. Beside three honest validators, false updates cost {consensus-attack|3 honest, execute false updates|cost_sno} \
         SNO, which the emission has brought into the world by the end of year \
         {consensus-attack|3 honest, execute false updates|first_year}; what protects the network is that more honest validators \
         join in time.",
    );
    document.picture(pictures::attack(YEARS)?);
    document.table(attack::table(YEARS));
    if let Some((sweep, limits)) = &options.simulated {
        simulated::add(&mut document, sweep, limits, &truth)?;
    }
    document.heading("Figures of the text");
    document.table(figures.table);
    Ok(Report {
        document,
        cells,
        disagreement,
    })
}

fn command(options: &Options) -> String {
    let mut command = "cargo reports consensus".to_owned();
    if options.rounds != super::ROUNDS {
        command += &format!(" --rounds {}", options.rounds);
    }
    if let Some((sweep, limits)) = &options.simulated {
        command += &format!(" --sweep {}", sweep.source);
        if limits.folder() != Path::new(super::SCENARIOS) {
            command += &format!(" --scenarios {}", limits.folder().display());
        }
    }
    command
}

/// Figures of the text.
struct Figures {
    table: Table,
}

impl Figures {
    fn new() -> Self {
        let columns = vec![
            column("figure", "figure", Kind::Text),
            column("value", "value", Kind::Text),
        ];
        Self {
            table: Table::new("consensus-figures", "Figures of the text", columns),
        }
    }

    fn add(&mut self, figure: &str, value: String) {
        self.table.push([figure.into(), value.into()]);
    }
}

/// Compares the three ways on every cell; returns how many there are and the first that differs.
fn compare(binomials: &Binomials, truth: &Truth) -> (u64, Option<Case>) {
    let (mut cells, mut disagreement) = (0, None);
    for n in 1..=EXHAUSTIVE {
        for adversaries in 0..=n {
            for offline in 0..n {
                let ways = exact::enumerate(n, adversaries, offline);
                for percent in 51..=100 {
                    for phase in [Phase::Fresh, Phase::Settled] {
                        let case = Case {
                            n,
                            percent,
                            adversaries,
                            offline,
                            phase,
                        };
                        let formula = binomials.answer(case);
                        let enumerated = exact::answer_of(&ways, case, |snapshot, votes| {
                            exact::is_enough(snapshot, percent, votes)
                        });
                        let contract = exact::answer_of(&ways, case, |snapshot, votes| {
                            truth.executes(snapshot, percent, votes) == Some(true)
                        });
                        cells += 1;
                        if formula != enumerated || formula != contract {
                            disagreement.get_or_insert(case);
                        }
                    }
                }
            }
        }
    }
    (cells, disagreement)
}

/// The threshold itself: exactly 66 %, the frontier, and Byzantine two thirds.
fn threshold(
    document: &mut Document,
    figures: &mut Figures,
    truth: &Truth,
    views: &[(u32, Vec<u32>)],
) -> Result<(), ConsensusError> {
    document.heading("Exactly at the threshold");
    let mut table = Table::new(
        "consensus-exact",
        "Votes on the contract with a threshold of 66 %",
        vec![
            column("validators", "validators", Kind::Count),
            column("at_percent", "66 % of them", Kind::Real { decimals: 2 }),
            column("refused_votes", "most votes that are refused", Kind::Count),
            column(
                "refused_percent",
                "these are (%)",
                Kind::Real { decimals: 2 },
            ),
            column("executed_votes", "fewest votes that execute", Kind::Count),
            column(
                "executed_percent",
                "these are (%)",
                Kind::Real { decimals: 2 },
            ),
        ],
    );
    for n in EXACT_N {
        let Some(lowest) = truth.lowest(n, LAUNCH_PERCENT) else {
            continue;
        };
        let share = |votes: u32| 100.0 * f64::from(votes) / f64::from(n);
        table.push([
            u64::from(n).into(),
            (f64::from(LAUNCH_PERCENT * n) / 100.0).into(),
            u64::from(lowest - 1).into(),
            share(lowest - 1).into(),
            u64::from(lowest).into(),
            share(lowest).into(),
        ]);
    }
    document.prose(
        "Exactly {consensus-figures|threshold at launch (%)|value} % is not enough: of {consensus-exact|50|validators} validators, \
         {consensus-exact|50|refused_votes} votes are refused and {consensus-exact|50|executed_votes} execute; of \
         {consensus-exact|100|validators}, {consensus-exact|100|refused_votes} are refused and {consensus-exact|100|executed_votes} \
         execute.",
    );
    document.table(table);

    document.heading("The frontier between safety and liveness");
    let mut frontier = Table::new(
        "consensus-frontier",
        format!("Every threshold for 1 to {N_MAX} validators"),
        vec![
            column("case", "threshold % / validators", Kind::Text),
            column("percent", "threshold (%)", Kind::Ordinal),
            column("validators", "validators", Kind::Count),
            column("required", "approvals needed", Kind::Count),
            column(
                "required_contract",
                "approvals needed, says the contract",
                Kind::Count,
            ),
            column(
                "adversaries_safe",
                "most adversaries without false updates",
                Kind::Count,
            ),
            column(
                "silent_live",
                "most silent validators with updates",
                Kind::Count,
            ),
        ],
    );
    let mut differing = 0_u64;
    for (percent, required_by_contract) in views {
        for (n, by_contract) in (1..=N_MAX).zip(required_by_contract) {
            let needed = required(n, *percent);
            differing += u64::from(needed != *by_contract);
            frontier.push([
                format!("{percent} / {n}").into(),
                u64::from(*percent).into(),
                u64::from(n).into(),
                u64::from(needed).into(),
                u64::from(*by_contract).into(),
                u64::from(needed - 1).into(),
                u64::from(n - needed).into(),
            ]);
        }
    }
    figures.add(
        "thresholds compared",
        grouped(&frontier.rows().len().to_string()),
    );
    figures.add("thresholds that differ", differing.to_string());
    document.prose(
        "The more approvals an update needs, the more adversaries are harmless, and the fewer silent validators. The contract was \
         asked for all {consensus-figures|thresholds compared|value} thresholds; {consensus-figures|thresholds that differ|value} \
         differ from the formula.",
    );
    document.picture(pictures::frontier()?);
    document.table_in_files(frontier);
    byzantine(document, figures);
    Ok(())
}

fn byzantine(document: &mut Document, figures: &mut Figures) {
    let mut table = Table::new(
        "consensus-byzantine",
        "66 % beside Byzantine quorums of more than two thirds",
        vec![
            column("validators", "validators", Kind::Ordinal),
            column("required", "approvals at 66 %", Kind::Count),
            column(
                "byzantine_required",
                "approvals of more than two thirds",
                Kind::Count,
            ),
            column("fewer", "fewer by", Kind::Count),
            column(
                "adversaries_safe",
                "adversaries that are harmless on the contract",
                Kind::Count,
            ),
            column(
                "byzantine_adversaries",
                "adversaries that Byzantine agreement bears",
                Kind::Count,
            ),
        ],
    );
    let (mut fewer_in, mut smallest) = (0_u64, 0);
    for n in 1..=N_MAX {
        let needed = required(n, LAUNCH_PERCENT);
        let byzantine = 2 * n / 3 + 1;
        if needed < byzantine {
            fewer_in += 1;
            smallest = if smallest == 0 { n } else { smallest };
        }
        table.push([
            u64::from(n).into(),
            u64::from(needed).into(),
            u64::from(byzantine).into(),
            u64::from(byzantine.saturating_sub(needed)).into(),
            u64::from(needed - 1).into(),
            u64::from((n - 1) / 3).into(),
        ]);
    }
    figures.add("networks in which 66 % needs fewer", fewer_in.to_string());
    figures.add("smallest of them", smallest.to_string());
    document.heading("Beside Byzantine two thirds");
    document.prose(
        "Sixty-six per cent is not two thirds. In {consensus-figures|networks in which 66 % needs fewer|value} of \
         {consensus-figures|largest network|value} sizes of network it takes fewer approvals than a Byzantine quorum, the first \
         with {consensus-figures|smallest of them|value} validators. That would matter if validators could vote twice: two quorums \
         of more than two thirds have an honest validator in common, and these may not. On the contract nobody votes twice in a \
         round, and the chain orders all votes, so what protects the network is only that adversaries alone do not reach the \
         threshold, and that takes about twice as many as Byzantine agreement bears.",
    );
    document.table_in_files(table);
}

/// Probabilities by shares of adversaries and of validators offline.
fn probabilities(
    document: &mut Document,
    binomials: &Binomials,
    truth: &Truth,
) -> Result<(), ConsensusError> {
    document.heading("How likely true and false updates are");
    let probability = Kind::Real { decimals: 6 };
    let mut grid = Table::new(
        "consensus-grid",
        "Probability of true and false updates by threshold, size, adversaries and validators offline, fresh (those offline still \
         count) and settled (they do not)",
        vec![
            column("validators", "validators", Kind::Count),
            column("percent", "threshold (%)", Kind::Ordinal),
            column("adversaries", "adversaries", Kind::Count),
            column("offline", "offline", Kind::Count),
            column("false_fresh", "false update, fresh", probability),
            column("true_fresh", "true update, fresh", probability),
            column("false_settled", "false update, settled", probability),
            column("true_settled", "true update, settled", probability),
        ],
    );
    for n in GRID_N {
        for percent in 51..=100 {
            for adversaries in GRID_SHARES.map(|share| n * share / 100) {
                for offline in GRID_SHARES.map(|share| n * share / 100) {
                    let of = |phase| {
                        binomials.answer(Case {
                            n,
                            percent,
                            adversaries,
                            offline,
                            phase,
                        })
                    };
                    let (fresh, settled) = (of(Phase::Fresh), of(Phase::Settled));
                    grid.push([
                        u64::from(n).into(),
                        u64::from(percent).into(),
                        u64::from(adversaries).into(),
                        u64::from(offline).into(),
                        fresh.unsafe_probability().into(),
                        fresh.live_probability().into(),
                        settled.unsafe_probability().into(),
                        settled.live_probability().into(),
                    ]);
                }
            }
        }
    }
    let by_contract: Vec<(f64, f64)> = (0..SHOWN)
        .step_by(3)
        .map(|offline| {
            let case = Case {
                n: SHOWN,
                percent: LAUNCH_PERCENT,
                adversaries: SHOWN / 10,
                offline,
                phase: Phase::Fresh,
            };
            (f64::from(offline), by_votes(binomials, truth, case))
        })
        .collect();
    document.picture(pictures::liveness(binomials, &by_contract)?);
    document.picture(pictures::safety(binomials)?);
    document.table_in_files(grid);
    Ok(())
}

/// The probability of a true update by the votes with which the contract executed.
fn by_votes(binomials: &Binomials, truth: &Truth, case: Case) -> f64 {
    let all = f64::from(binomials.choose(case.n, case.online()));
    let ways = (0..=case.adversaries.min(case.online())).filter(|hostile| {
        truth.executes(case.snapshot(), case.percent, case.online() - hostile) == Some(true)
    });
    ways.map(|hostile| {
        let honest = binomials.choose(case.n - case.adversaries, case.online() - hostile);
        f64::from(binomials.choose(case.adversaries, hostile) * honest) / all
    })
    .sum()
}

fn recovery(document: &mut Document, recoveries: &[(u32, Recovery)]) {
    document.heading("After an outage");
    document.prose(
        "Who has been silent for three days does not count any more, so a network that has lost too many validators for its \
         threshold goes on after that time with those it has. Here that happens on the contract, to \
         {consensus-recovery|0|validators} validators, some of which never vote.",
    );
    let mut table = Table::new(
        "consensus-recovery",
        "Time to the next execution when validators fall silent",
        vec![
            column("silent", "silent", Kind::Ordinal),
            column("validators", "validators", Kind::Count),
            column(
                "required_at_first",
                "approvals needed at first",
                Kind::Count,
            ),
            column(
                "snapshot_at_last",
                "validators that count at last",
                Kind::Count,
            ),
            column("required_at_last", "approvals needed at last", Kind::Count),
            column(
                "hours",
                "hours until an execution",
                Kind::Real { decimals: 1 },
            ),
        ],
    );
    for (silent, recovery) in recoveries {
        table.push([
            u64::from(*silent).into(),
            u64::from(RECOVERY_N).into(),
            recovery.required_at_first.into(),
            recovery.snapshot_at_last.into(),
            recovery.required_at_last.into(),
            recovery.hours.into(),
        ]);
    }
    document.table(table);
}

fn fairness(
    document: &mut Document,
    figures: &mut Figures,
    draws: &[(u32, Draws)],
) -> Result<(), ConsensusError> {
    document.heading("Whether proposers are drawn fairly");
    let mut table = Table::new(
        "consensus-fairness",
        "Proposers drawn by the contract, and the chi-square test that all are drawn equally often",
        vec![
            column("validators", "validators", Kind::Ordinal),
            column("each", "drawn in a round", Kind::Count),
            column("rounds", "rounds", Kind::Count),
            column("least", "least often drawn", Kind::Count),
            column("expected", "expected", Kind::Real { decimals: 1 }),
            column("most", "most often drawn", Kind::Count),
            column("chi_square", "chi-square", Kind::Real { decimals: 2 }),
            column("degrees", "degrees of freedom", Kind::Count),
            column(
                "p",
                "probability of so much by chance",
                Kind::Real { decimals: 3 },
            ),
            column("verdict", "verdict", Kind::Text),
        ],
    );
    for (n, draws) in draws {
        let degrees = u64::from(n - 1);
        let statistic = draws.chi_square();
        let p = chi_square_p(statistic, degrees);
        let verdict = match p {
            Some(p) if p >= SIGNIFICANCE => "even",
            Some(_) => "not even",
            None => "not told",
        };
        table.push([
            u64::from(*n).into(),
            draws.each.into(),
            draws.rounds.into(),
            draws.counts.iter().min().copied().into(),
            (draws.rounds as f64 * draws.each as f64 / f64::from(*n)).into(),
            draws.counts.iter().max().copied().into(),
            statistic.into(),
            degrees.into(),
            p.into(),
            verdict.into(),
        ]);
    }
    figures.add("significance", real(SIGNIFICANCE, 2));
    document.prose(
        "The contract draws a few proposers for each round. In every one of these rounds everybody votes, so none is preferred for \
         having voted. Draws are called not even if chance alone would give counts so uneven with a probability below \
         {consensus-figures|significance|value}.",
    );
    if let Some((_, last)) = draws.last() {
        document.picture(pictures::draws(last)?);
    }
    document.table(table);
    Ok(())
}
