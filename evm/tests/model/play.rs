//! Plays sequences: where they start, how many, and what they must have reached.

use std::{
    cell::RefCell,
    collections::{BTreeMap, btree_map::Entry},
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};

use super::{
    actions::{Action, PlanShape, Step, Total, Wait, Who, steps},
    contracts_support::Variant,
    coverage::Coverage,
    world::{Depth, Moment, World},
};

/// Sequences where nobody says how many.
const SEQUENCES: u32 = 300;
/// The seed where nobody gives one, so that two runs are alike.
const SEED: u64 = 2_026;

/// Broken variants of the contracts that the comparison must notice.
const NOTICED: [&str; 12] = [
    "f01", "f02", "f04", "f05", "f06", "f11", "f13", "f14", "f15", "f17", "f28", "f46",
];

/// Where a sequence starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Start {
    /// Just deployed, with one validator.
    Alone,
    /// Just deployed, with five validators.
    Young,
    /// After 500 updates in 14 years, so that distributions expire.
    Old,
    /// After one update by 110 validators, who have to collect their SNO.
    Crowd,
}

fn any_start() -> BoxedStrategy<Start> {
    prop_oneof![
        3 => Just(Start::Alone),
        20 => Just(Start::Young),
        6 => Just(Start::Old),
        2 => Just(Start::Crowd),
    ]
    .boxed()
}

/// An update with work for two, as often as there are rounds.
fn go_on(number: u8) -> Step {
    Step {
        wait: Wait::Seconds(1),
        who: Who::Entitled(number),
        action: Action::GoOn(PlanShape {
            leaves: vec![(number, 3), (number / 2 + 1, 4)],
            total: Total::Exact,
            remove: Vec::new(),
            jobs: 3,
            stray_job: false,
            reputation: Vec::new(),
        }),
    }
}

impl Start {
    fn world(self, variant: Option<&Variant>) -> Result<(World, Moment), String> {
        let genesis = match self {
            Self::Alone => 1,
            Self::Young => 5,
            Self::Old => 2,
            Self::Crowd => 110,
        };
        let mut world = World::new(genesis, variant);
        world.compare_to(Depth::Brief);
        match self {
            Self::Alone | Self::Young => {}
            Self::Old => {
                let govern = Step {
                    wait: Wait::Seconds(1),
                    who: Who::Entitled(12),
                    action: Action::SetInterval {
                        seconds: 256 * 3_600,
                    },
                };
                world.take(&govern)?;
                world.run_updates(500)?;
            }
            Self::Crowd => world.run_updates(1)?,
        }
        world.compare_to(Depth::Full);
        world.compare_everything()?;
        let moment = world.remember();
        Ok((world, moment))
    }
}

impl World {
    fn run_updates(&mut self, count: usize) -> Result<(), String> {
        let mut number = 0u8;
        while self.book.distributions.len() < count {
            self.take(&go_on(number % 12))?;
            number = number.wrapping_add(1);
        }
        Ok(())
    }

    fn play(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            self.take(step)?;
        }
        self.compare_everything()
    }
}

fn config(cases: u32) -> Config {
    let config = Config::default();
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(SEED),
        given => given,
    };
    Config {
        cases,
        failure_persistence: None,
        rng_seed,
        max_shrink_iters: 4_000,
        ..config
    }
}

/// Plays sequences; an error is the shortest that shows a difference, with the difference.
fn run(
    config: Config,
    start: BoxedStrategy<Start>,
    variant: Option<&Variant>,
) -> Result<Coverage, String> {
    let worlds: RefCell<BTreeMap<Start, (World, Moment)>> = RefCell::default();
    let mut runner = TestRunner::new(config);
    let result = runner.run(&(start, steps(1..300)), |(start, steps)| {
        let mut worlds = worlds.borrow_mut();
        if let Entry::Vacant(entry) = worlds.entry(start) {
            entry.insert(start.world(variant).map_err(TestCaseError::fail)?);
        }
        let (world, moment) = worlds.get_mut(&start).expect("just made");
        let result = world.play(&steps);
        let log = world.log();
        world.return_to(moment);
        result.map_err(|difference| TestCaseError::fail(format!("{log}\n{difference}")))
    });
    let mut coverage = Coverage::default();
    for (world, _) in worlds.borrow().values() {
        coverage.add(&world.coverage);
    }
    match result {
        Ok(()) => Ok(coverage),
        Err(TestError::Fail(reason, (start, steps))) => {
            Err(format!("{start:?}, {} steps\n{reason}", steps.len()))
        }
        Err(TestError::Abort(reason)) => Err(reason.to_string()),
    }
}

#[test]
fn random_sequences_keep_to_the_rule_book() {
    let cases = std::env::var("SMARTNODES_SEQUENCES").map_or(SEQUENCES, |count| {
        count
            .parse()
            .expect("SMARTNODES_SEQUENCES is a number of sequences")
    });
    let coverage = run(config(cases), any_start(), None)
        .unwrap_or_else(|difference| panic!("contracts and rule book differ\n{difference}"));
    let (calls, done) = coverage.calls();
    println!(
        "{cases} sequences, {calls} calls, {done} of them not refused\n{}",
        coverage.table()
    );
    // A few sequences, played to look at something, need not reach everything.
    if cases >= SEQUENCES {
        assert_eq!(coverage.missing(), Vec::<String>::new(), "never seen");
    }
}

/// Each of these is noticed within a few sequences; what they break is in `evm/contracts/variants`.
#[test]
fn broken_contracts_are_noticed() {
    for name in NOTICED {
        let variant = Variant::load(name);
        let config = Config {
            max_shrink_iters: 0,
            ..config(60)
        };
        let difference = run(config, Just(Start::Young).boxed(), Some(&variant));
        match difference {
            Err(difference) => {
                println!("{name}: {}", difference.lines().last().unwrap_or_default())
            }
            Ok(_) => panic!("{name} is broken and nothing differs"),
        }
    }
}
