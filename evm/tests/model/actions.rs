//! What actors do, in the abstract: it means something in every state, so that a shorter list of it still does.

use proptest::{collection::vec, prelude::*};

/// One thing done: how long to wait, who, what.
#[derive(Clone, Debug)]
pub struct Step {
    pub wait: Wait,
    pub who: Who,
    pub action: Action,
}

/// Time that passes before.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    Seconds(u32),
    /// Until one of the next moments at which a rule changes its answer, give or take a second.
    Moment {
        nth: u8,
        offset: i8,
    },
    /// Parts of the update interval, in 32nds.
    Parts(u8),
    Hours(u32),
    Blocks(u16),
}

/// The sender.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// From this actor on, the first whom the rule book lets do it.
    Entitled(u8),
    /// From this actor on, the one against whom the fewest rules speak, but one at least.
    Excluded(u8),
    /// This actor, come what may.
    Anyone(u8),
}

/// An amount, by what the sender has.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Percent(u8),
    OneTooMany,
    Zero,
    Huge,
}

/// A state update in the abstract.
#[derive(Clone, Debug)]
pub struct PlanShape {
    /// Workers and capacities.
    pub leaves: Vec<(u8, u32)>,
    pub total: Total,
    /// Validators, or from 12 on any actor.
    pub remove: Vec<u8>,
    /// How many of the open jobs it completes, and whether it names one that is none.
    pub jobs: u8,
    pub stray_job: bool,
    pub reputation: Vec<(u8, i16)>,
}

/// What a proposal says of the sum of its capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    Exact,
    Half,
    Twice,
    /// None, though there are leaves.
    Zero,
    /// Some, though there are no leaves.
    WithoutRoot,
    /// 2^112.
    TooLarge,
}

/// What is wrong with something that carries a proof, a hash or a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Number,
    Hash,
    Zero,
    Huge,
    Late,
    Other,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Whatever brings the network on to its next update.
    GoOn(PlanShape),
    OpenRound,
    Propose(PlanShape),
    ProposeHash(Flaw),
    Vote {
        proposal: u8,
        flaw: Flaw,
    },
    Execute {
        proposal: u8,
        flaw: Flaw,
    },
    Join,
    Leave,
    Reactivate,
    Register {
        validator: bool,
        flaw: Flaw,
    },
    Unlock {
        validator: bool,
    },
    TopUp {
        validator: bool,
    },
    SetKey {
        flaw: Flaw,
    },
    RequestJob {
        name: u8,
        in_eth: bool,
        amount: Amount,
        flaw: Flaw,
    },
    CancelJob {
        job: u8,
    },
    Claim {
        which: u8,
        flaw: Flaw,
    },
    ClaimBatch {
        entries: Vec<(u8, Flaw)>,
        ragged: bool,
    },
    ClaimTestnet {
        flaw: Flaw,
    },
    Transfer {
        to: u8,
        amount: Amount,
    },
    TransferFrom {
        owner: u8,
        to: u8,
        amount: Amount,
    },
    Approve {
        spender: u8,
        amount: Amount,
    },
    Permit {
        spender: u8,
        amount: Amount,
        flaw: Flaw,
    },
    Delegate {
        to: u8,
    },
    DelegateBySignature {
        to: u8,
        flaw: Flaw,
    },
    WithdrawEth {
        to: u8,
    },
    WithdrawSno,
    SweepDonations,
    Donate {
        milliether: u16,
    },
    Slash {
        validator: u8,
        amount: Amount,
    },
    SetCollateral {
        validator: bool,
        percent: u16,
    },
    SetCollateralTo(bool, Flaw),
    SetInterval {
        seconds: u32,
    },
    ScaleInterval {
        halve: bool,
    },
    SetPercent(u8),
    AddNetwork(u8),
    RemoveNetwork(u8),
    Upgrade {
        core: bool,
        flaw: Flaw,
    },
    /// One of the functions that only another contract may call.
    Internal(u8),
}

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![
        30 => (1..10u32).prop_map(Wait::Seconds),
        30 => (10..120u32).prop_map(Wait::Seconds),
        20 => (0..4u8, -1..=1i8).prop_map(|(nth, offset)| Wait::Moment { nth, offset }),
        8 => (1..40u8).prop_map(Wait::Parts),
        3 => (1..120u32).prop_map(Wait::Hours),
        1 => (120..1_500u32).prop_map(Wait::Hours),
        1 => (1_500..25_000u32).prop_map(Wait::Hours),
        4 => (1..6u16).prop_map(Wait::Blocks),
        1 => (245..260u16).prop_map(Wait::Blocks),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        8 => (0..13u8).prop_map(Who::Entitled),
        2 => (0..13u8).prop_map(Who::Excluded),
        1 => (0..13u8).prop_map(Who::Anyone),
    ]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        10 => (1..=100u8).prop_map(Amount::Percent),
        1 => Just(Amount::OneTooMany),
        1 => Just(Amount::Zero),
        1 => Just(Amount::Huge),
    ]
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        8 => Just(Flaw::None),
        1 => Just(Flaw::Number),
        1 => Just(Flaw::Hash),
        1 => Just(Flaw::Zero),
        1 => Just(Flaw::Huge),
        1 => Just(Flaw::Late),
        1 => Just(Flaw::Other),
    ]
}

fn plan() -> impl Strategy<Value = PlanShape> {
    let total = prop_oneof![
        40 => Just(Total::Exact),
        3 => Just(Total::Half),
        3 => Just(Total::Twice),
        1 => Just(Total::Zero),
        1 => Just(Total::WithoutRoot),
        1 => Just(Total::TooLarge),
    ];
    let remove = prop_oneof![4 => Just(vec![]), 1 => vec(0..24u8, 1..4)];
    let leaves = prop_oneof![4 => vec((0..12u8, 1..1_000u32), 1..5), 1 => Just(vec![])];
    let reputation = vec((0..12u8, -150..150i16), 0..3);
    (
        leaves,
        total,
        remove,
        0..4u8,
        proptest::bool::weighted(0.1),
        reputation,
    )
        .prop_map(
            |(leaves, total, remove, jobs, stray_job, reputation)| PlanShape {
                leaves,
                total,
                remove,
                jobs,
                stray_job,
                reputation,
            },
        )
}

fn action() -> impl Strategy<Value = Action> {
    let rounds = prop_oneof![
        60 => plan().prop_map(Action::GoOn),
        2 => Just(Action::OpenRound),
        4 => plan().prop_map(Action::Propose),
        3 => flaw().prop_map(Action::ProposeHash),
        6 => (0..4u8, flaw()).prop_map(|(proposal, flaw)| Action::Vote { proposal, flaw }),
        6 => (0..4u8, flaw()).prop_map(|(proposal, flaw)| Action::Execute { proposal, flaw }),
        5 => Just(Action::Join),
        2 => Just(Action::Leave),
        2 => Just(Action::Reactivate),
    ];
    let nodes = prop_oneof![
        6 => (any::<bool>(), flaw()).prop_map(|(validator, flaw)| Action::Register { validator, flaw }),
        3 => any::<bool>().prop_map(|validator| Action::Unlock { validator }),
        3 => any::<bool>().prop_map(|validator| Action::TopUp { validator }),
        1 => flaw().prop_map(|flaw| Action::SetKey { flaw }),
        16 => (0..20u8, any::<bool>(), amount(), flaw())
            .prop_map(|(name, in_eth, amount, flaw)| Action::RequestJob { name, in_eth, amount, flaw }),
        3 => (0..8u8).prop_map(|job| Action::CancelJob { job }),
    ];
    let money = prop_oneof![
        12 => (any::<u8>(), flaw()).prop_map(|(which, flaw)| Action::Claim { which, flaw }),
        4 => (vec((any::<u8>(), flaw()), 0..5), proptest::bool::weighted(0.05))
            .prop_map(|(entries, ragged)| Action::ClaimBatch { entries, ragged }),
        4 => flaw().prop_map(|flaw| Action::ClaimTestnet { flaw }),
        4 => (0..15u8, amount()).prop_map(|(to, amount)| Action::Transfer { to, amount }),
        3 => (0..13u8, 0..15u8, amount())
            .prop_map(|(owner, to, amount)| Action::TransferFrom { owner, to, amount }),
        3 => (0..15u8, amount()).prop_map(|(spender, amount)| Action::Approve { spender, amount }),
        2 => (0..15u8, amount(), flaw())
            .prop_map(|(spender, amount, flaw)| Action::Permit { spender, amount, flaw }),
        2 => (0..15u8).prop_map(|to| Action::Delegate { to }),
        1 => (0..15u8, flaw()).prop_map(|(to, flaw)| Action::DelegateBySignature { to, flaw }),
        4 => (0..15u8).prop_map(|to| Action::WithdrawEth { to }),
        3 => Just(Action::WithdrawSno),
        1 => Just(Action::SweepDonations),
        2 => (1..1_000u16).prop_map(|milliether| Action::Donate { milliether }),
    ];
    let governance = prop_oneof![
        2 => (0..12u8, amount()).prop_map(|(validator, amount)| Action::Slash { validator, amount }),
        4 => (any::<bool>(), 20..180u16)
            .prop_map(|(validator, percent)| Action::SetCollateral { validator, percent }),
        1 => (any::<bool>(), flaw()).prop_map(|(validator, flaw)| Action::SetCollateralTo(validator, flaw)),
        1 => (1_800..40_000u32).prop_map(|seconds| Action::SetInterval { seconds }),
        1 => (40_000..1_000_000u32).prop_map(|seconds| Action::SetInterval { seconds }),
        2 => any::<bool>().prop_map(|halve| Action::ScaleInterval { halve }),
        2 => (48..104u8).prop_map(Action::SetPercent),
        1 => (0..5u8).prop_map(Action::AddNetwork),
        1 => (0..5u8).prop_map(Action::RemoveNetwork),
        1 => (any::<bool>(), flaw()).prop_map(|(core, flaw)| Action::Upgrade { core, flaw }),
        1 => (0..16u8).prop_map(Action::Internal),
    ];
    prop_oneof![50 => rounds, 20 => nodes, 24 => money, 6 => governance]
}

/// Steps of one sequence.
pub fn steps(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let step = (wait(), who(), action()).prop_map(|(wait, who, action)| Step { wait, who, action });
    vec(step, length)
}
