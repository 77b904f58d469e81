//! Measures the calls of `evm/gas.snap`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, TxKind, U256, keccak256};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolCall;
use smartnodes_evm::bindings::{
    SmartnodesCoordinator as Coordinator, SmartnodesCore as Core, SmartnodesERC20 as Token,
};
use smartnodes_evm::reward_tree::RewardTree;
use smartnodes_evm::state_update::StateUpdate;

use crate::contracts_support::governance::Decision;
use crate::contracts_support::shorthand::*;
use crate::contracts_support::*;

/// Where the table is checked in.
pub fn snapshot_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("gas.snap")
}

/// Named gas figures, in the order in which they were measured.
#[derive(Debug, Default)]
pub struct Meter {
    rows: Vec<(String, u64)>,
}

impl Meter {
    /// Adds a figure; its name must be new.
    pub fn row(&mut self, name: impl Into<String>, gas: u64) {
        let name = name.into();
        assert!(
            self.rows.iter().all(|(other, _)| *other != name),
            "{name} twice"
        );
        self.rows.push((name, gas));
    }

    /// Adds what a transaction cost.
    fn add<E: std::fmt::Display>(
        &mut self,
        name: impl Into<String>,
        result: Result<TransactionReceipt, E>,
    ) -> TransactionReceipt {
        let name = name.into();
        let receipt = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.row(name, receipt.gas_used);
        receipt
    }

    /// The figures whose names begin so.
    pub fn rows_of(&self, prefix: &str) -> Vec<(&str, u64)> {
        self.rows
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, gas)| (name.as_str(), *gas))
            .collect()
    }

    /// The table as it is checked in.
    pub fn table(&self) -> String {
        let mut table = String::from(
            "# Gas of the contracts' calls. Written by SMARTNODES_BLESS=1 cargo test -p smartnodes-evm --test gas\n",
        );
        for (name, gas) in &self.rows {
            table.push_str(&format!("{gas:>10}  {name}\n"));
        }
        table
    }

    /// What differs from a table that was checked in, a line each.
    pub fn differences(&self, recorded: &str) -> Vec<String> {
        let mut recorded: BTreeMap<&str, u64> = recorded
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (gas, name) = line.trim_start().split_once("  ")?;
                Some((name, gas.parse().ok()?))
            })
            .collect();
        let mut differences: Vec<String> = self
            .rows
            .iter()
            .filter_map(|(name, now)| match recorded.remove(name.as_str()) {
                Some(old) if old == *now => None,
                Some(old) => Some(format!(
                    "{name}: recorded {old}, now {now} ({:+})",
                    i128::from(*now) - i128::from(old)
                )),
                None => Some(format!("{name}: not recorded, now {now}")),
            })
            .collect();
        differences.extend(
            recorded
                .keys()
                .map(|name| format!("{name}: recorded, not measured")),
        );
        differences
    }
}

/// Measures everything.
pub fn measure_all() -> Meter {
    let mut meter = Meter::default();
    deployment(&mut meter);
    for count in [3, 100, 300] {
        rounds(&mut meter, count);
    }
    claims(&mut meter);
    users_and_jobs(&mut meter);
    collateral(&mut meter);
    governance(&mut meter);
    meter
}

fn deployment(meter: &mut Meter) {
    let world = World::new(3);
    let names = [
        "SmartnodesERC20",
        "SmartnodesTimelock",
        "SmartnodesDAO",
        "SmartnodesCore",
        "SmartnodesCoordinator",
        "Core's proxy",
        "the Coordinator's proxy",
    ];
    for (block, name) in (world.deployment.deployed_at..).zip(names) {
        let receipts = world
            .chain
            .block_receipts(BlockId::number(block))
            .expect("one block for each transaction");
        assert_eq!(receipts.len(), 1);
        meter.row(format!("deploy {name}: 3 validators"), receipts[0].gas_used);
    }
}

/// Two rounds of `count` validators that all vote; the second removes one. Then others come and go.
fn rounds(meter: &mut Meter, count: u32) {
    let mut world = World::new(count);
    let coordinator = world.deployment.coordinator;
    let open = Coordinator::openRoundCall {};
    let name = |call: &str| format!("{call}, {count} validators");
    for round in 1..=2 {
        world.wait_until(world.status().dueTime);
        let sealed = world.send(0, coordinator, open.clone());
        world.mine_blocks(3);
        let opened = world.send(0, coordinator, open.clone());
        assert_eq!(world.status().snapshotCount, u64::from(count));
        let proposers = world.coordinator(Coordinator::getCurrentRoundValidatorsCall {});
        let first = (0..count)
            .find(|n| address(*n) == proposers[0])
            .expect("a genesis node");
        let mut update = empty_update();
        if round == 2 {
            update.validatorsToRemove = vec![address(count - 1)];
        }
        let hash = world.hash(&update);
        let created = world.propose(first, hash);
        let votes: Vec<_> = (0..count).map(|n| world.vote(n, 1, hash)).collect();
        let executed = world.execute(first, 1, &update);
        if round == 2 {
            meter.add(
                format!("executeProposal: {count} validators, all voted, one removed"),
                executed,
            );
            continue;
        }
        meter.add(name("openRound: seal"), sealed);
        meter.add(name("openRound: draw"), opened);
        meter.add(name("createProposal"), created);
        let mut votes = votes.into_iter();
        meter.add(
            name("voteForProposal: first"),
            votes.next().expect("a vote"),
        );
        meter.add(
            name("voteForProposal: last"),
            votes.next_back().expect("a vote"),
        );
        votes.for_each(|vote| assert!(vote.is_ok()));
        meter.add(
            format!("executeProposal: {count} validators, all voted"),
            executed,
        );
    }
    assert!(!is_validator(&world, count - 1));
    assert_eq!(
        world.coordinator(Coordinator::getValidatorCountCall {}),
        U256::from(count - 1)
    );
    assert_reverts::<Coordinator::Coordinator__CoolDown>(world.send(
        count - 1,
        coordinator,
        Coordinator::addValidatorCall {},
    ));
    meter.add(
        name("removeValidator"),
        world.send(1, coordinator, Coordinator::removeValidatorCall {}),
    );
    meter.add(
        name("addValidator"),
        world.send(1, coordinator, Coordinator::addValidatorCall {}),
    );
    world.assert_books();
}

/// Claims among 10,000 workers, from pools of emission alone, with payments in SNO, and with ETH as well; each a
/// worker's very first one and a later one.
fn claims(meter: &mut Meter) {
    const CAPACITY: u64 = 1_000_000_000;
    let pools = ["emission", "emission and SNO", "emission, SNO and ETH"];
    let mut world = world_with_user();
    let core = world.deployment.core;
    let pay = |world: &mut World, what: &str, value: u128| {
        let hash = keccak256(what);
        world
            .pay(USER, core, request(hash, SNO), U256::from(value))
            .expect("requested");
        job_id(world, hash)
    };
    let mut id = world.status().nextDistributionId;
    // Rewards that nobody has claimed are the usual state of the books.
    let (_, update) = work(id, &[(504, 1)]);
    world.run_round(&VOTERS, &update);
    id += 1;
    for count in [1, 100] {
        let capacities: Vec<_> = (0..count).map(|n| (1_000 + n, CAPACITY)).collect();
        let (_, update) = work(id, &capacities);
        let receipt = world.run_round(&VOTERS, &update);
        let name = format!("executeProposal: 3 voters, emission, workers: {count}");
        meter.row(name, receipt.gas_used);
        id += 1;
    }
    let leaves: Vec<_> = (0..10_000u64)
        .map(|n| {
            (
                Address::from_word(keccak256(n.to_be_bytes())),
                U256::from(CAPACITY + n),
            )
        })
        .chain((501..504).map(|n| (address(n), U256::from(CAPACITY))))
        .collect();
    let total = leaves.iter().map(|leaf| leaf.1).sum();
    for first in [true, false] {
        for (place, worker) in (0..).zip(501..504) {
            let mut update = StateUpdate {
                totalCapacity: total,
                workersHash: keccak256("workers"),
                capacitiesHash: keccak256("capacities"),
                ..empty_update()
            };
            for (currency, value) in [("sno", 0), ("eth", SNO)].into_iter().take(place) {
                let job = pay(&mut world, &format!("{currency} {id}"), value);
                update.jobIds.push(job);
            }
            let tree = RewardTree::new(id, leaves.clone()).expect("distinct");
            update.merkleRoot = tree.root();
            let executed = world.run_round(&VOTERS, &update);
            let pool = pools[place];
            if first {
                meter.row(
                    format!("executeProposal: 3 voters, {pool}, workers: 10003"),
                    executed.gas_used,
                );
            }
            let which = if first { "first" } else { "later" };
            meter.add(
                format!("claimMerkleRewards: {which}, of {pool}"),
                claim(&mut world, worker, id, CAPACITY, &tree),
            );
            id += 1;
        }
    }
    batch(meter, &mut world, id);
    world.assert_books();
}

/// Ten distributions claimed in one call.
fn batch(meter: &mut Meter, world: &mut World, first_id: u64) {
    let token = world.deployment.token;
    let mut call = Token::batchClaimMerkleRewardsCall {
        distributionIds: vec![],
        capacities: vec![],
        proofs: vec![],
    };
    for id in first_id..first_id + 10 {
        let (tree, update) = work(id, &[(505, 1), (506, 2)]);
        world.run_round(&VOTERS, &update);
        call.distributionIds.push(U256::from(id));
        call.capacities.push(U256::from(1));
        call.proofs.push(tree.proof(address(505)).expect("a leaf"));
    }
    let receipt = meter.add(
        "batchClaimMerkleRewards: 10 distributions, 2 workers each",
        world.send(505, token, call),
    );
    assert_eq!(events::<Token::TokenRewardsClaimed>(&receipt).len(), 10);
}

fn users_and_jobs(meter: &mut Meter) {
    let mut world = world_with_user();
    let (core, token) = (world.deployment.core, world.deployment.token);
    let send = |to| Token::transferCall {
        to,
        value: sno(200),
    };
    meter.add(
        "transfer: to a new holder",
        world.send(FIRST_WORKER, token, send(address(501))),
    );
    let delegate = Token::delegateCall {
        delegatee: address(501),
    };
    meter.add("delegate", world.send(501, token, delegate));
    let user = Core::createUserCall {
        publicKeyHash: key_hash(501),
    };
    meter.add("createUser", world.send(501, core, user));
    let (first, second, third) = (keccak256("1"), keccak256("2"), keccak256("3"));
    meter.add(
        "requestJob: first, SNO",
        world.send(USER, core, request(first, SNO)),
    );
    meter.add(
        "requestJob: later, SNO",
        world.send(USER, core, request(second, SNO)),
    );
    meter.add(
        "requestJob: ETH",
        world.pay(USER, core, request(third, SNO), U256::from(SNO)),
    );
    let id = world.status().nextDistributionId;
    let (_, mut update) = work(id, &[(501, 1)]);
    update.jobIds = vec![job_id(&world, first), job_id(&world, third)];
    update.reputationChanges = vec![Coordinator::ReputationChange {
        account: address(501),
        delta: 10,
    }];
    let executed = world.run_round(&VOTERS, &update);
    assert_eq!(events::<Core::JobCompleted>(&executed).len(), 2);
    meter.row(
        "executeProposal: 3 voters, a job in SNO, one in ETH, a reputation",
        executed.gas_used,
    );
    let withdraw = Token::withdrawEthCall { to: address(0) };
    meter.add("withdrawEth", world.send(0, token, withdraw));
    world.wait(3 * INTERVAL);
    let cancel = Core::cancelJobCall {
        jobId: job_id(&world, second),
    };
    meter.add("cancelJob: SNO", world.send(USER, core, cancel));
    let unlock = Core::unlockUserCall {};
    meter.add("unlockUser: request", world.send(501, core, unlock.clone()));
    world.wait(30 * DAY);
    meter.add("unlockUser: pay out", world.send(501, core, unlock));
    let rotate = Core::setPublicKeyHashCall {
        publicKeyHash: B256::repeat_byte(7),
    };
    meter.add("setPublicKeyHash", world.send(0, core, rotate));
    world
        .chain
        .transact(
            &signer(0),
            TxKind::Call(token),
            Default::default(),
            U256::from(1_000),
        )
        .expect("donated");
    meter.add(
        "sweepDonations",
        world.send(0, token, Token::sweepDonationsCall {}),
    );
    world.assert_books();
}

fn collateral(meter: &mut Meter) {
    let mut world = world_with_user();
    let (core, token) = (world.deployment.core, world.deployment.token);
    let amount = Token::setValidatorLockAmountCall {
        newAmount: sno(500),
    };
    meter.add("setValidatorLockAmount", world.govern(token, amount));
    let create = Core::createValidatorCall {
        publicKeyHash: key_hash(USER),
    };
    meter.add("createValidator", world.send(USER, core, create));
    let unlock = Core::unlockValidatorCall {};
    meter.add(
        "unlockValidator: request",
        world.send(USER, core, unlock.clone()),
    );
    world.wait(30 * DAY);
    meter.add("unlockValidator: pay out", world.send(USER, core, unlock));
    let reactivate = Coordinator::reactivateCall {};
    let coordinator = world.deployment.coordinator;
    meter.add("reactivate", world.send(0, coordinator, reactivate));
    let slash = Token::slashAndUnlockValidatorCall {
        validator: address(2),
        amount: sno(1_000),
    };
    meter.add("slashAndUnlockValidator", world.govern(token, slash));
    world.assert_books();
}

fn governance(meter: &mut Meter) {
    let mut world = World::new(3);
    let coordinator = world.deployment.coordinator;
    let call = Coordinator::updateTimingCall {
        newInterval: U256::from(INTERVAL / 2),
    };
    let decision = Decision::new(
        vec![(coordinator, U256::ZERO, call.abi_encode().into())],
        "four hours",
    );
    world.mine_blocks(1);
    meter.add("DAO propose: one call", decision.propose(&mut world, 0));
    world.wait(DAY + 2);
    meter.add("DAO castVote", decision.vote(&mut world, 0, 1));
    meter.add("DAO castVote: later", decision.vote(&mut world, 1, 1));
    world.wait(7 * DAY);
    meter.add("DAO queue", decision.queue(&mut world, 0));
    world.wait(2 * DAY);
    meter.add("DAO execute: updateTiming", decision.execute(&mut world, 0));
}
