//! The deployed contracts beside their model: each call goes to both, and both must say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol_types::SolEvent,
};
use smartnodes_evm::{
    bindings::{
        SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
    },
    chain::{CallError, Chain, ChainConfig},
    deployment::{DeployParams, DeploymentPlan, GenesisValidator, TestnetSnapshot},
    reward_tree::RewardTree,
    state_update::{StateUpdate, proposal_hash},
};

use super::{
    book::{Account, Book, Note, Place, sno},
    calls::{Call, Sent, error_name},
    contracts_support::Variant,
    coverage::Coverage,
    rewards::testnet_leaf,
    rounds::Stage,
    views::{Expectation, Expectations},
};

/// Accounts that act, the last of which is a contract that takes no ETH.
pub const ACTORS: usize = 12;
/// Of these, the first may be genesis validators.
pub const GENESIS: usize = 5;
/// Gas limit of each call.
const GAS: u64 = 100_000_000;

/// Runs many view calls in one: of (address, length as two bytes, call data) each, it returns a word (the answer's
/// length; the highest bit says success) and the answer.
const MANY_VIEWS: &str = "60478060095f395ff35f5f5b3681101560435780358060601c9060501c61ffff169160160191808385375f5f8286855afa60ff1b3d\
1784523d5f856020013e905001903d01602001906002565b505ff3";
/// Creates a contract that reverts whatever it is sent.
const REFUSER: &str = "625f5ffd5f526003601df3";

/// The n-th actor's key. The contract among the actors cannot sign.
pub fn signer(n: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256((n as u64).to_be_bytes()))
        .expect("a hash is a valid key")
}

/// The hash of an actor's network key.
pub fn key_hash(account: Address) -> B256 {
    keccak256(account)
}

/// A proposal's content, for who executes it and for who claims.
#[derive(Debug)]
pub struct Plan {
    pub update: StateUpdate,
    pub leaves: Vec<(Address, U256)>,
    pub tree: Option<RewardTree>,
}

/// What the actors keep beside the chain: proposals' contents, and those of executed ones by distribution.
#[derive(Clone, Debug, Default)]
pub struct Notebook {
    pub plans: BTreeMap<B256, Rc<Plan>>,
    pub executed: BTreeMap<u64, Rc<Plan>>,
}

/// How much is compared after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The verdict, the notes and the round.
    Brief,
    /// Everything.
    Full,
}

/// The contracts and their model.
pub struct World {
    pub chain: Chain,
    pub book: Book,
    pub notes: Notebook,
    pub actors: Vec<Address>,
    /// Genesis validators beyond the actors.
    pub crowd: Vec<Address>,
    pub testnet: Vec<TestnetReward>,
    views: Address,
    depth: Depth,
    log: Vec<String>,
    pub coverage: Coverage,
}

/// A moment of a world to return to.
pub struct Moment {
    snapshot: u64,
    book: Book,
    notes: Notebook,
}

/// What came of a call that both sides agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused(String),
}

/// Rewards that an account earned on a testnet and can claim once.
pub struct TestnetReward {
    pub account: Address,
    pub amount: U256,
    pub proof: Vec<B256>,
}

/// The root of the testnet's rewards, the most that they may mint, and the rewards.
fn testnet_rewards(actors: &[Address]) -> (B256, U256, Vec<TestnetReward>) {
    // Together more than the total: the last one to come gets nothing.
    let amounts = [sno(3_000_000), sno(2_500_000), sno(2_000_000), sno(50_000)];
    let accounts = [actors[5], actors[ACTORS - 1], actors[8], actors[9]];
    let leaves: Vec<B256> = (accounts.iter().zip(amounts))
        .map(|(account, amount)| testnet_leaf(*account, amount))
        .collect();
    let pair = |a: B256, b: B256| keccak256([a.min(b), a.max(b)].concat());
    let nodes = [pair(leaves[0], leaves[1]), pair(leaves[2], leaves[3])];
    let rewards = (0..4).map(|i| TestnetReward {
        account: accounts[i],
        amount: amounts[i],
        proof: vec![leaves[i ^ 1], nodes[1 - i / 2]],
    });
    (pair(nodes[0], nodes[1]), sno(7_000_000), rewards.collect())
}

impl World {
    /// Deploys the contracts, one of them perhaps a broken variant, with so many genesis validators, and opens the book.
    pub fn new(genesis: usize, variant: Option<&Variant>) -> Self {
        let deployer = signer(1_000_000);
        let deployer_address = deployer.address();
        let refuser = deployer_address.create(7);
        let mut actors: Vec<Address> = (0..ACTORS - 1).map(|n| signer(n).address()).collect();
        actors.push(refuser);
        let validators: Vec<Address> = (0..genesis)
            .map(|n| {
                if n < GENESIS {
                    actors[n]
                } else {
                    signer(n + 1_000).address()
                }
            })
            .collect();
        let crowd = validators.iter().skip(GENESIS).copied().collect();
        let (testnet_root, testnet_total, testnet) = testnet_rewards(&actors);

        let params = DeployParams {
            genesis: (validators.iter())
                .map(|wallet| GenesisValidator {
                    wallet: *wallet,
                    public_key_hash: key_hash(*wallet),
                })
                .collect(),
            testnet: Some(TestnetSnapshot {
                root: testnet_root,
                total: testnet_total,
            }),
            ..DeployParams::default()
        };
        let config = ChainConfig::default();
        let mut plan = DeploymentPlan::new(&params, deployer.address(), 0, config.chain_id)
            .expect("good parameters");
        if let Some(variant) = variant {
            variant.replace_in(&mut plan);
        }
        let planned = plan.deployment.clone();
        let rich = validators
            .iter()
            .chain(&actors)
            .chain([&planned.timelock, &deployer_address]);
        let balances: BTreeMap<Address, U256> =
            rich.map(|account| (*account, sno(1_000))).collect();
        let mut chain = Chain::new(ChainConfig {
            balances: balances.clone(),
            gas_limit: 1_000_000_000,
            ..config
        })
        .expect("a valid configuration");

        let mut create = |init_code: Bytes| {
            let receipt = chain
                .transact(&deployer, TxKind::Create, init_code, U256::ZERO)
                .expect("created");
            receipt.contract_address.expect("a contract")
        };
        let mut created = Vec::new();
        for init_code in plan.transactions {
            created.push(create(init_code));
        }
        assert_eq!(create(REFUSER.parse().expect("hex")), refuser);
        let views = create(MANY_VIEWS.parse().expect("hex"));
        chain.set_base_fee(0);

        let (now, block) = (chain.timestamp(), chain.block_number());
        let start = chain
            .block(BlockId::number(1), false)
            .expect("the first block")
            .header
            .timestamp;
        let place = Place {
            chain_id: planned.chain_id,
            token: planned.token,
            core: planned.core,
            coordinator: planned.coordinator,
            timelock: planned.timelock,
            implementations: [created[3], created[4]],
            start,
            refusing: BTreeSet::from([refuser]),
            testnet_root,
            testnet_total,
        };
        let genesis: Vec<_> = validators.iter().map(|v| (*v, key_hash(*v))).collect();
        let mut book = Book::genesis(
            place,
            &genesis,
            &balances,
            params.update_interval_seconds,
            &params.networks,
            now,
            block,
        );
        // The Coordinator's proxy is the seventh transaction: validators joined then.
        let joined = start + 6 * chain.config().block_time_seconds;
        for member in book.members.values_mut() {
            member.seen_at = joined;
        }
        Self {
            chain,
            book,
            notes: Notebook::default(),
            actors,
            crowd,
            testnet,
            views,
            depth: Depth::Full,
            log: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    /// Remembers this moment.
    pub fn remember(&mut self) -> Moment {
        Moment {
            snapshot: self.chain.snapshot().expect("a snapshot"),
            book: self.book.clone(),
            notes: self.notes.clone(),
        }
    }

    /// Returns to a moment, and remembers it again.
    pub fn return_to(&mut self, moment: &mut Moment) {
        self.chain.revert(moment.snapshot).expect("a snapshot");
        moment.snapshot = self.chain.snapshot().expect("a snapshot");
        self.book = moment.book.clone();
        self.notes = moment.notes.clone();
        self.log.clear();
    }

    /// Sets how much is compared from now on; returns how much was.
    pub fn compare_to(&mut self, depth: Depth) -> Depth {
        std::mem::replace(&mut self.depth, depth)
    }

    /// The calls so far, one a line.
    pub fn log(&self) -> String {
        self.log.join("\n")
    }

    /// Mines empty blocks, a second apart.
    pub fn mine_blocks(&mut self, count: u64) {
        for _ in 0..count {
            let time = self.chain.timestamp() + 1;
            self.chain.mine(time).expect("time goes on");
        }
        self.book
            .advance(self.chain.timestamp(), self.chain.block_number());
    }

    /// Sends a call in a block at `time`, to the contracts and to the book. An error says where they differ.
    pub fn send(&mut self, sent: &Sent, time: u64) -> Result<Outcome, String> {
        let to = sent.call.to(&self.book.place);
        let hash = self
            .chain
            .impersonate(
                sent.from,
                TxKind::Call(to),
                sent.call.data(),
                sent.value,
                GAS,
            )
            .map_err(|error| format!("{}: not sent: {error}", sent.call.name()))?;
        self.chain.mine(time).expect("time goes on");
        let receipt = self.chain.receipt(&hash).ok_or("the call was not mined")?;
        let failure = self.chain.failure(&hash).cloned();

        self.book.advance(time, self.chain.block_number());
        let was_open = self.book.open().is_some();
        if let Stage::Sealed { draw_block } = self.book.stage
            && let Ok(block) = self.chain.block(BlockId::number(draw_block), false)
        {
            self.book.draw_hash = block.header.hash;
        }
        let before = self.book.accounts.clone();
        let expected = self.book.apply(sent);
        let gas = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
        self.book.account_mut(sent.from).eth -= gas;

        let described = format!(
            "{time} block {} {}: {:?} value {}",
            self.book.block,
            self.name_of(sent.from),
            sent.call,
            sent.value
        );
        let outcome = match (&expected, &failure) {
            (Ok(notes), None) => check_notes(notes, &receipt).map(|()| Outcome::Done),
            (Err(reasons), Some(CallError::Reverted(revert))) => {
                if reasons.0.contains(&revert.data) {
                    Ok(Outcome::Refused(error_name(&revert.data)))
                } else {
                    Err(format!(
                        "expected {reasons} ({:?}), the chain says {} ({})",
                        reasons.0,
                        error_name(&revert.data),
                        revert.data
                    ))
                }
            }
            (Ok(_), Some(CallError::Reverted(revert))) => Err(format!(
                "expected to succeed, the chain says {} ({})",
                error_name(&revert.data),
                revert.data
            )),
            (Ok(_), Some(error)) => Err(format!("expected to succeed, the chain says {error}")),
            (Err(reasons), None) => Err(format!("expected {reasons}, but it succeeded")),
            (Err(reasons), Some(error)) => {
                Err(format!("expected {reasons}, the chain says {error}"))
            }
        };
        self.log.push(match &outcome {
            Ok(outcome) => format!("{described} -> {outcome:?}"),
            Err(difference) => format!("{described} -> {difference}"),
        });
        let outcome = outcome?;
        self.coverage.count(sent.call.name(), &outcome, &expected);
        let mut changed = self.changed_since(&before);
        changed.insert(sent.from);
        if outcome == Outcome::Done {
            if !was_open && self.book.open().is_some() {
                // Who counts is news of everybody.
                changed.extend(&self.actors);
            }
            self.note_execution(sent);
        }
        self.compare(&outcome, &changed)?;
        Ok(outcome)
    }

    fn note_execution(&mut self, sent: &Sent) {
        if let Call::Coordinator(Coordinator::SmartnodesCoordinatorCalls::executeProposal(call)) =
            &sent.call
        {
            let hash = proposal_hash(
                self.book.place.chain_id,
                self.book.place.coordinator,
                self.book.round - 1,
                &call.update,
            );
            if let Some(plan) = self.notes.plans.get(&hash) {
                let id = self.book.distributions.len() as u64;
                self.notes.executed.insert(id, plan.clone());
            }
        }
    }

    /// The accounts of which the book says something new.
    fn changed_since(&self, before: &BTreeMap<Address, Account>) -> BTreeSet<Address> {
        let accounts = self.book.accounts.iter();
        accounts
            .filter(|(address, account)| before.get(*address) != Some(*account))
            .map(|(address, _)| *address)
            .collect()
    }

    /// Compares the round; if the last call did anything, also the totals, all balances, all that is known of the
    /// accounts that it changed, and of two others in their turn. At the end of a sequence all is compared.
    fn compare(&self, outcome: &Outcome, changed: &BTreeSet<Address>) -> Result<(), String> {
        let mut expectations = Expectations::new(&self.book).round();
        if self.depth == Depth::Brief || *outcome != Outcome::Done {
            return self.check_views(&expectations.list);
        }
        expectations = expectations.totals();
        let turn = self.book.block as usize;
        let watched = self.actors.iter().chain([&self.book.place.timelock]);
        for (place, account) in watched.enumerate() {
            let in_turn = place % (ACTORS / 2) == turn % (ACTORS / 2);
            expectations = if in_turn || changed.contains(account) {
                expectations.account(*account)
            } else {
                expectations.balance(*account)
            };
            let held = self.chain.balance(*account, BlockId::latest());
            let expected = self.book.account(*account).eth;
            if held != Ok(expected) {
                return Err(format!(
                    "ETH of {account}: expected {expected}, the chain says {held:?}"
                ));
            }
        }
        self.check_views(&expectations.list)?;
        self.book.check_invariants()
    }

    /// Compares all there is.
    pub fn compare_everything(&self) -> Result<(), String> {
        let mut accounts: BTreeSet<Address> = self.actors.iter().copied().collect();
        accounts.insert(self.book.place.timelock);
        accounts.extend(self.crowd.iter().take(3));
        self.check_views(&Expectations::new(&self.book).everything(&accounts).list)?;
        self.book.check_invariants()
    }

    fn check_views(&self, expectations: &[Expectation]) -> Result<(), String> {
        let mut request = Vec::new();
        for expectation in expectations {
            request.extend_from_slice(expectation.target.as_slice());
            let length = u16::try_from(expectation.call.len()).expect("views take few arguments");
            request.extend_from_slice(&length.to_be_bytes());
            request.extend_from_slice(&expectation.call);
        }
        let request = TransactionRequest {
            to: Some(TxKind::Call(self.views)),
            input: Bytes::from(request).into(),
            ..TransactionRequest::default()
        };
        let answers = (self.chain.call(&request, BlockId::latest()))
            .map_err(|error| format!("the views: {error}"))?;
        let mut rest = &answers[..];
        let mut differences = Vec::new();
        for expectation in expectations {
            let (head, tail) = rest.split_at_checked(32).ok_or("an answer is missing")?;
            let length = u32::from_be_bytes([head[28], head[29], head[30], head[31]]) as usize;
            let (answer, tail) = tail
                .split_at_checked(length)
                .ok_or("an answer is cut off")?;
            if head[0] != 0x80 || answer != expectation.answer {
                differences.push(expectation.difference(answer));
            }
            rest = tail;
        }
        if differences.is_empty() {
            Ok(())
        } else {
            Err(differences.join("\n"))
        }
    }

    fn name_of(&self, account: Address) -> String {
        match self.actors.iter().position(|actor| *actor == account) {
            Some(n) => format!("actor {n}"),
            None if account == self.book.place.timelock => "timelock".to_owned(),
            None => account.to_string(),
        }
    }
}

/// Compares what was to be told with the events.
fn check_notes(expected: &[Note], receipt: &TransactionReceipt) -> Result<(), String> {
    let mut told = Vec::new();
    let mut reasons = Vec::new();
    for log in receipt.inner.logs() {
        let log = &log.inner;
        if let Ok(event) = Token::ClaimFailed::decode_log(log) {
            reasons.push((event.distributionId, event.reason.clone()));
        } else if let Ok(event) = Core::JobSkipped::decode_log(log) {
            told.push(Note::JobSkipped(event.jobId));
        } else if let Ok(event) = Coordinator::RemovalSkipped::decode_log(log) {
            told.push(Note::RemovalSkipped(event.validator));
        } else if let Ok(event) = Token::DistributionExpired::decode_log(log) {
            told.push(Note::Expired(event.distributionId.to()));
        } else if let Ok(event) = Coordinator::StateUpdateExecuted::decode_log(log) {
            told.push(Note::Executed(event.distributionId));
        }
    }
    let (failed, others): (Vec<_>, Vec<_>) =
        (expected.iter().cloned()).partition(|note| matches!(note, Note::ClaimFailed(..)));
    let failures_agree = failed.len() == reasons.len()
        && failed.iter().zip(&reasons).all(|(note, (id, reason))| {
            matches!(note, Note::ClaimFailed(expected, allowed)
                if expected == id && allowed.contains(&reason.as_str()))
        });
    if told == others && failures_agree {
        Ok(())
    } else {
        Err(format!(
            "expected to be told {expected:?}, the events are {told:?} {reasons:?}"
        ))
    }
}
