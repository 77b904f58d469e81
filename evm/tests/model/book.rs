//! The rule book as a state machine: what is known of every account, and where the network stands.
//!
//! The rules themselves are in the modules of their subjects, which extend [`Book`]: `token`, `rewards`, `collateral`,
//! `nodes`, `rounds`.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolError,
};

use super::rounds::{Member, Schedule, Stage};

/// SNO and ETH, in wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pay {
    pub sno: U256,
    pub eth: U256,
}

/// Why a call is refused: every reason that holds, as revert data. Which of them a contract names is its own choice.
#[derive(Clone, Debug)]
pub struct Refused(pub Vec<Bytes>);

/// What the rule book says of a call.
pub type Verdict<T = ()> = Result<T, Refused>;

/// Collects the reasons against a call.
#[derive(Debug, Default)]
pub struct Reasons(Vec<Bytes>);

impl Reasons {
    pub fn when<E: SolError>(&mut self, holds: bool, error: E) -> &mut Self {
        if holds {
            self.0.push(error.abi_encode().into());
        }
        self
    }

    pub fn also(&mut self, verdict: Verdict) -> &mut Self {
        if let Err(Refused(reasons)) = verdict {
            self.0.extend(reasons);
        }
        self
    }

    pub fn verdict(&mut self) -> Verdict {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Refused(std::mem::take(&mut self.0)))
        }
    }
}

/// A refusal for one reason.
pub fn refuse<E: SolError>(error: E) -> Refused {
    Refused(vec![error.abi_encode().into()])
}

/// What happened beside the change of state, and is told by events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// An entry of a batch of claims failed, for one of these reasons.
    ClaimFailed(U256, Vec<&'static str>),
    /// An update named a job that was not open.
    JobSkipped(B256),
    /// An update named a validator that the threshold needs.
    RemovalSkipped(Address),
    /// A distribution came to its end.
    Expired(u64),
    /// Executed, as that distribution.
    Executed(u64),
}

/// Collateral of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    pub amount: U256,
    pub unlock_at: Option<u64>,
}

/// What collateral of one kind is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Requirement {
    pub amount: U256,
    /// Was enforced before the last change, and is still enough until the time given.
    pub before: (U256, u64),
}

/// A score, and the round that changed it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reputation {
    pub score: i64,
    pub changed_in: Option<u64>,
}

/// All that is known of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub sno: U256,
    pub eth: U256,
    pub delegate: Address,
    pub nonce: u64,
    pub credit: Pay,
    /// Whether it ever locked a validator's collateral.
    pub was_validator: bool,
    /// As a user, as a validator.
    pub locks: [Option<Lock>; 2],
    pub keys: [Option<B256>; 2],
    pub reputation: Reputation,
    pub testnet_claimed: bool,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            sno: U256::ZERO,
            eth: U256::ZERO,
            delegate: Address::ZERO,
            nonce: 0,
            credit: Pay::default(),
            was_validator: false,
            locks: [None; 2],
            keys: [None; 2],
            reputation: Reputation {
                score: 500,
                changed_in: None,
            },
            testnet_claimed: false,
        }
    }
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Open = 1,
    Complete = 2,
    Cancelled = 3,
}

/// A job with its escrow.
#[derive(Clone, Debug)]
pub struct Job {
    pub owner: Address,
    pub network: usize,
    pub state: JobState,
    pub in_sno: bool,
    pub payment: U256,
    pub created_at: u64,
    pub cancellable_at: u64,
}

/// One state update's rewards for workers.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub root: B256,
    pub total_capacity: U256,
    pub pool: Pay,
    /// The part of the pool's SNO that came from payments.
    pub payments: U256,
    pub left: Pay,
    pub claimed: Rc<BTreeSet<Address>>,
    pub made_at: u64,
}

/// What never changes.
#[derive(Debug)]
pub struct Place {
    pub chain_id: u64,
    pub token: Address,
    pub core: Address,
    pub coordinator: Address,
    pub timelock: Address,
    /// Implementations of Core and the Coordinator.
    pub implementations: [Address; 2],
    pub start: u64,
    /// Contracts that take no ETH.
    pub refusing: BTreeSet<Address>,
    pub testnet_root: B256,
    pub testnet_total: U256,
}

/// Everything that the rule book speaks of.
#[derive(Clone, Debug)]
pub struct Book {
    pub place: Rc<Place>,
    /// Time and number of the latest block.
    pub now: u64,
    pub block: u64,

    pub accounts: BTreeMap<Address, Account>,
    pub allowances: BTreeMap<(Address, Address), U256>,
    pub eth_deposited: U256,
    pub supply: U256,
    pub genesis: U256,
    pub minted_by_updates: U256,
    pub minted_by_claims: U256,
    pub testnet_minted: U256,
    pub burned: U256,
    /// When the total of the votes was recorded last, that total, and the one before.
    pub votes_recorded: (u64, U256, U256),
    /// A user's, a validator's.
    pub requirements: [Requirement; 2],
    pub released: Pay,
    /// The first has id 1.
    pub distributions: Vec<Distribution>,

    pub networks: Vec<(String, bool)>,
    pub jobs: BTreeMap<B256, Job>,

    pub schedule: Schedule,
    pub round: u64,
    pub stage: Stage,
    /// Hash of the sealed block, once it is there: what the rule book cannot know.
    pub draw_hash: B256,
    pub members: BTreeMap<Address, Member>,
    pub banned_through: BTreeMap<Address, u64>,
    /// The last round in which each voted.
    pub voted_in: BTreeMap<Address, u64>,
}

/// One SNO in wei.
pub fn sno(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10).pow(U256::from(18))
}

impl Book {
    /// The network just after its deployment at `place.start`, in block `block`, at time `now`.
    pub fn genesis(
        place: Place,
        validators: &[(Address, B256)],
        balances: &BTreeMap<Address, U256>,
        interval: u64,
        networks: &[String],
        now: u64,
        block: u64,
    ) -> Self {
        let start = place.start;
        let requirement = |amount| Requirement {
            amount,
            before: (amount, 0),
        };
        let each = sno(1_000_000);
        let total = each * U256::from(validators.len());
        let mut book = Self {
            now,
            block,
            accounts: BTreeMap::new(),
            allowances: BTreeMap::new(),
            eth_deposited: U256::ZERO,
            supply: total,
            genesis: total,
            minted_by_updates: U256::ZERO,
            minted_by_claims: U256::ZERO,
            testnet_minted: U256::ZERO,
            burned: U256::ZERO,
            votes_recorded: (start, total, U256::ZERO),
            requirements: [requirement(sno(100)), requirement(each)],
            released: Pay::default(),
            distributions: Vec::new(),
            networks: networks.iter().map(|name| (name.clone(), true)).collect(),
            jobs: BTreeMap::new(),
            schedule: Schedule {
                due: start + interval,
                interval,
                next_interval: interval,
                percent: 66,
            },
            round: 1,
            stage: Stage::Idle,
            draw_hash: B256::ZERO,
            members: BTreeMap::new(),
            banned_through: BTreeMap::new(),
            voted_in: BTreeMap::new(),
            place: Rc::new(place),
        };
        for (address, balance) in balances {
            book.account_mut(*address).eth = *balance;
        }
        let token = book.place.token;
        book.account_mut(token).sno = total;
        for (address, key) in validators {
            let account = book.account_mut(*address);
            account.locks[1] = Some(Lock {
                amount: each,
                unlock_at: None,
            });
            account.keys[1] = Some(*key);
            account.was_validator = true;
            account.delegate = *address;
            book.members.insert(
                *address,
                Member {
                    eligible_from: 1,
                    seen_at: now,
                },
            );
        }
        book
    }

    pub fn account(&self, address: Address) -> Account {
        self.accounts.get(&address).cloned().unwrap_or_default()
    }

    pub fn account_mut(&mut self, address: Address) -> &mut Account {
        self.accounts.entry(address).or_default()
    }

    /// Sums over all open jobs: what is in escrow, of one owner or of all.
    pub fn escrow(&self, owner: Option<Address>) -> Pay {
        let mut sum = Pay::default();
        for job in self.jobs.values() {
            if job.state == JobState::Open && owner.is_none_or(|owner| owner == job.owner) {
                if job.in_sno {
                    sum.sno += job.payment;
                } else {
                    sum.eth += job.payment;
                }
            }
        }
        sum
    }

    pub fn unclaimed(&self) -> Pay {
        let mut sum = Pay::default();
        for distribution in self.live_distributions() {
            sum.sno += distribution.left.sno;
            sum.eth += distribution.left.eth;
        }
        sum
    }

    /// Those that can still be claimed.
    pub fn live_distributions(&self) -> &[Distribution] {
        let first = self.distributions.len().saturating_sub(501);
        &self.distributions[first..]
    }

    pub fn credits(&self) -> Pay {
        let mut sum = Pay::default();
        for account in self.accounts.values() {
            sum.sno += account.credit.sno;
            sum.eth += account.credit.eth;
        }
        sum
    }

    pub fn locked(&self) -> U256 {
        let locks = self.accounts.values().flat_map(|account| account.locks);
        locks.flatten().map(|lock| lock.amount).sum()
    }

    /// What must hold after every block, said of the books alone; that the chain has the same books is compared.
    pub fn check_invariants(&self) -> Result<(), String> {
        let token = self.account(self.place.token);
        let mut wrong = Vec::new();
        let mut equal = |what: &str, left: U256, right: U256| {
            if left != right {
                wrong.push(format!("{what}: {left} is not {right}"));
            }
        };
        equal(
            "supply = genesis + minted + testnet - burned",
            self.supply + self.burned,
            self.genesis + self.minted_by_updates + self.minted_by_claims + self.testnet_minted,
        );
        let balances = self.accounts.values().map(|account| account.sno).sum();
        equal("supply = sum of balances", self.supply, balances);
        let payments_unclaimed = (self.live_distributions().iter())
            .map(|d| super::rewards::payments_in(d, d.left.sno))
            .sum::<U256>();
        equal(
            "the token's SNO = locked + escrow + released + credits + unclaimed payments",
            token.sno,
            self.locked()
                + self.escrow(None).sno
                + self.released.sno
                + self.credits().sno
                + payments_unclaimed,
        );
        let owed_eth = self.owed_eth();
        if token.eth < owed_eth {
            wrong.push(format!(
                "the token's ETH: {} does not cover {owed_eth}",
                token.eth
            ));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }

    /// ETH that the token holds for somebody; the rest was donated.
    pub fn owed_eth(&self) -> U256 {
        self.unclaimed().eth + self.escrow(None).eth + self.released.eth + self.credits().eth
    }
}
