//! What has been tried, and with which result: a test that only ever sees refusals tests nothing.

use std::collections::BTreeMap;

use super::{
    book::{Note, Verdict},
    world::Outcome,
};

/// What a run has to see of each function: `done`, errors, and what is told by events (hyphens for spaces).
const REQUIRED: [(&str, &str); 40] = [
    ("addNetwork", "done Core__InvalidNetworkName Core__NotDAO"),
    (
        "addValidator",
        "done Coordinator__CoolDown Coordinator__ValidatorAlreadyExists Coordinator__ValidatorNotRegistered",
    ),
    ("approve", "done ERC20InvalidSpender"),
    (
        "batchClaimMerkleRewards",
        "done Token__InvalidArrayLength claim-failed:-already-claimed claim-failed:-invalid-proof \
         claim-failed:-unknown-distribution",
    ),
    (
        "cancelJob",
        "done Core__JobNotOpen Core__NotJobOwner Core__TooEarlyToCancel",
    ),
    (
        "claimMerkleRewards",
        "done Token__DistributionExhausted Token__DistributionTooOld Token__InvalidMerkleProof \
         Token__RewardsAlreadyClaimed Token__UnknownDistribution",
    ),
    (
        "claimTestnetRewards",
        "done Token__DistributionExhausted Token__InvalidMerkleProof Token__RewardsAlreadyClaimed",
    ),
    (
        "createProposal",
        "done Coordinator__AlreadySubmittedProposal Coordinator__NotEligibleValidator \
         Coordinator__ProposalTooLate Coordinator__RoundNotOpen",
    ),
    (
        "createUser",
        "done Core__InvalidPublicKeyHash Token__AlreadyLocked Token__InsufficientBalance",
    ),
    (
        "createValidator",
        "done Core__InvalidPublicKeyHash Core__NodeExists Token__AlreadyLocked Token__InsufficientBalance",
    ),
    ("delegate", "done"),
    ("delegateBySig", "done VotesExpiredSignature"),
    ("donation", "done"),
    ("doubleDistributionInterval", "done Token__OnlyDAO"),
    (
        "executeProposal",
        "done Coordinator__MustBeProposalCreator Coordinator__NotEnoughVotes Coordinator__NotValidator \
         Coordinator__ProposalDataMismatch Coordinator__VotingWindowOpen Token__InvalidMerkleRoot \
         distribution-expired job-skipped removal-skipped",
    ),
    ("halveDistributionInterval", "done Token__OnlyDAO"),
    ("initialize", "InvalidInitialization"),
    ("lockTokens", "Token__OnlyCore"),
    (
        "openRound",
        "done Coordinator__NotValidator Coordinator__ProposalTooEarly",
    ),
    (
        "permit",
        "done ERC20InvalidSpender ERC2612ExpiredSignature ERC2612InvalidSigner",
    ),
    ("reactivate", "done Coordinator__NotValidator"),
    ("removeNetwork", "done Core__NotDAO Core__UnknownNetwork"),
    ("removeValidator", "done Coordinator__NotValidator"),
    (
        "requestJob",
        "done Core__InsufficientBalance Core__InvalidArrayLength Core__InvalidPayment Core__InvalidUser \
         Core__JobExists Core__UnknownNetwork Token__InsufficientBalance",
    ),
    (
        "setApprovalPercentage",
        "done Coordinator__InvalidApprovalPercentage Coordinator__NotDAO",
    ),
    ("setPublicKeyHash", "done Core__NodeDoesNotExist"),
    ("setUserLockAmount", "done Token__OnlyDAO"),
    ("setValidatorLockAmount", "done Token__OnlyDAO"),
    (
        "slashAndUnlockValidator",
        "done Token__NotValidator Token__OnlyDAO",
    ),
    ("sweepDonations", "done Token__InsufficientBalance"),
    (
        "topUpCollateral",
        "done Token__AlreadyLocked Token__NotLocked Token__UnlockPending",
    ),
    (
        "transfer",
        "done ERC20InsufficientBalance ERC20InvalidReceiver Token__InvalidAddress",
    ),
    (
        "transferFrom",
        "done ERC20InsufficientAllowance ERC20InvalidReceiver Token__InvalidAddress",
    ),
    ("unlockUser", "done Token__NotLocked"),
    (
        "unlockValidator",
        "done Token__NotLocked Token__UnlockPending",
    ),
    (
        "updateTiming",
        "done Coordinator__InvalidInterval Coordinator__NotDAO",
    ),
    (
        "upgradeToAndCall",
        "done Coordinator__NotDAO Core__NotDAO ERC1967InvalidImplementation",
    ),
    (
        "voteForProposal",
        "done Coordinator__AlreadyVoted Coordinator__InvalidProposalNumber Coordinator__NotEligibleValidator \
         Coordinator__ProposalDataMismatch Coordinator__RoundNotOpen",
    ),
    ("withdrawEth", "done Token__InsufficientBalance"),
    ("withdrawSno", "done Token__InsufficientBalance"),
];

/// How often each function came to each result.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    seen: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

impl Coverage {
    /// Counts a call that the chain and the book agree on.
    pub fn count(&mut self, name: &'static str, outcome: &Outcome, verdict: &Verdict<Vec<Note>>) {
        let result = match outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Refused(error) => error.clone(),
        };
        *self
            .seen
            .entry(name)
            .or_default()
            .entry(result)
            .or_default() += 1;
        for note in verdict.iter().flatten() {
            let text = match note {
                Note::ClaimFailed(_, reasons) => match reasons[..] {
                    [reason] => format!("claim failed: {reason}"),
                    _ => "claim failed for several reasons".to_owned(),
                },
                Note::JobSkipped(_) => "job skipped".to_owned(),
                Note::RemovalSkipped(_) => "removal skipped".to_owned(),
                Note::Expired(_) => "distribution expired".to_owned(),
                Note::Executed(_) => continue,
            };
            *self.seen.entry(name).or_default().entry(text).or_default() += 1;
        }
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        for (name, results) in &other.seen {
            for (result, count) in results {
                *self
                    .seen
                    .entry(name)
                    .or_default()
                    .entry(result.clone())
                    .or_default() += count;
            }
        }
    }

    /// How often a function came to a result.
    pub fn times(&self, name: &str, result: &str) -> u64 {
        self.seen
            .get(name)
            .and_then(|results| results.get(result))
            .copied()
            .unwrap_or_default()
    }

    /// Calls in all, and those that changed something.
    pub fn calls(&self) -> (u64, u64) {
        let done = self
            .seen
            .keys()
            .map(|name| self.times(name, "done"))
            .sum::<u64>();
        let results = self.seen.values().flatten();
        let refused = results
            .filter(|(result, _)| result.contains("__") || result.starts_with(char::is_uppercase));
        (done + refused.map(|(_, count)| count).sum::<u64>(), done)
    }

    /// What must be seen and was not: every function's success, and the refusals that are not rare.
    pub fn missing(&self) -> Vec<String> {
        let results = REQUIRED.iter().flat_map(|(name, results)| {
            let results = results.split_whitespace();
            results.map(move |result| (*name, result.replace('-', " ")))
        });
        results
            .filter(|(name, result)| self.times(name, result) == 0)
            .map(|(name, result)| format!("{name}: {result}"))
            .collect()
    }

    /// One line for each function.
    pub fn table(&self) -> String {
        let mut table = String::new();
        for (name, results) in &self.seen {
            let results: Vec<String> = results
                .iter()
                .map(|(result, count)| format!("{result} {count}"))
                .collect();
            table += &format!("{name}: {}\n", results.join(", "));
        }
        table
    }
}
