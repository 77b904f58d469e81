//! What validators may do that do not play by the rules, and how many of them a network bears.

/// What a validator does that does not play by the rules. Those of one scenario that do the same do it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValidatorMisdeed {
    /// It holds its seat, shows its role, and does nothing.
    Silent,
    /// It votes for the first proposal of each round, unseen.
    Lazy,
    /// It proposes capacity for an account that has done nothing, and votes for its accomplices' proposals only.
    Colluding,
    /// It leaves a worker out of its proposals.
    Censoring,
    /// It proposes to remove an honest validator.
    Expelling,
    /// It proposes an update whose total is not the sum of the capacities in it.
    WrongTotal,
    /// It proposes a hash whose payload it shows nobody.
    Withholding,
    /// It proposes a true payload, and shows it late.
    Late,
    /// It shows others another payload than the one that it has proposed, and tries to propose and to vote twice.
    Equivocating,
    /// It issues receipts for work that nobody has done, and proposes to pay for it.
    Forging,
    /// It moves rounds on the moment it may, sets a proposal of nothing beside the first that has votes, and never votes.
    Griefing,
    /// It issues two receipts for each work, and proposes the one that the others do not: true, and not the same.
    Duplicating,
    /// It proposes the truth, and tries to execute it with half of the total, so that each share is twice what it should be.
    Understating,
    /// It refuses users' jobs for no reason or admits them and has nothing done, and tells of results that nobody has.
    Stonewalling,
    /// It proposes the truth, and tries to execute it with a total so much larger that no share is worth anything.
    Overstating,
    /// It proposes capacity for an account that has done nothing and votes for it; then it leaves the set, joins it again and
    /// votes once more, until there are votes enough.
    Returning,
    /// It moves a round on only where that gets it a proposer's place.
    Grinding,
    /// It proposes what two workers have earned with their places changed, or a worker's under another account.
    Swapping,
    /// It proposes to complete jobs twice, jobs that nobody has done, and jobs that there are not.
    Padding,
    /// It votes and proposes as it should, and tries to execute whatever has the votes before all have voted and before its
    /// creator: fewer would share, and what the division leaves over might be the executor's.
    DustGreedy,
}

impl ValidatorMisdeed {
    /// All, with their names in files.
    pub const ALL: [(&str, ValidatorMisdeed); 20] = [
        ("silent", ValidatorMisdeed::Silent),
        ("lazy", ValidatorMisdeed::Lazy),
        ("colluding", ValidatorMisdeed::Colluding),
        ("censoring", ValidatorMisdeed::Censoring),
        ("expelling", ValidatorMisdeed::Expelling),
        ("wrong-total", ValidatorMisdeed::WrongTotal),
        ("withholding", ValidatorMisdeed::Withholding),
        ("late", ValidatorMisdeed::Late),
        ("equivocating", ValidatorMisdeed::Equivocating),
        ("forging", ValidatorMisdeed::Forging),
        ("griefing", ValidatorMisdeed::Griefing),
        ("duplicating", ValidatorMisdeed::Duplicating),
        ("understating", ValidatorMisdeed::Understating),
        ("stonewalling", ValidatorMisdeed::Stonewalling),
        ("overstating", ValidatorMisdeed::Overstating),
        ("returning", ValidatorMisdeed::Returning),
        ("grinding", ValidatorMisdeed::Grinding),
        ("swapping", ValidatorMisdeed::Swapping),
        ("padding", ValidatorMisdeed::Padding),
        ("dust-greedy", ValidatorMisdeed::DustGreedy),
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, misdeed)| *misdeed == self);
        named.map_or("", |(name, _)| name)
    }
}

/// How many validators that do the same misdeed a network bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What they do.
    pub behaviour: ValidatorMisdeed,
    /// With so many everything holds.
    pub holds: usize,
    /// With so many one of `invariants` does not.
    pub fails: usize,
    /// What is then seen not to hold.
    pub invariants: Vec<String>,
    /// Whether a run with so many goes on when that has been seen, to show what follows.
    pub goes_on: bool,
}

/// On which side of its limit a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// With no more than the network bears.
    Near,
    /// With so many that it must be seen to fail.
    Far,
}

impl Side {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Side::Near => "near",
            Side::Far => "far",
        }
    }
}

/// Why a scenario cannot be run with so many adversaries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// There is no line to be on one side of.
    #[error("`{0}` says nothing of how many it bears: add a [limit], or leave --adversaries out")]
    None(String),
    /// Nothing is said of what must happen.
    #[error(
        "{found} {behaviour} validators are on neither side of the limit: at most {holds}, or at least {fails}"
    )]
    Between {
        /// What they do.
        behaviour: &'static str,
        /// How many are asked for.
        found: usize,
        /// How many the network bears.
        holds: usize,
        /// With how many it fails.
        fails: usize,
    },
    /// There are not so many validators.
    #[error("{found} {behaviour} validators: the scenario has {available} that could be")]
    TooMany {
        /// What they do.
        behaviour: &'static str,
        /// How many are asked for.
        found: usize,
        /// How many there are that are honest, or do this already.
        available: usize,
    },
}
