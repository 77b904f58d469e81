//! Our chain beside `anvil`: one list of transactions, made as it goes, in which every function of every contract
//! succeeds and fails. Results, logs, revert data, gas, blocks' roots, balances and all views must be the same.
//!
//! Only the hashes of blocks differ, because our headers have no state root; and a round's proposers are drawn from
//! one. The list therefore repeats the drawing block with another transaction in it until both chains draw alike.

#[path = "../contracts_support/mod.rs"]
mod contracts_support;
#[path = "../tools_support/mod.rs"]
mod tools_support;

mod authority;
mod both;
mod compare;
mod governance;
mod rounds;
mod token;
mod views;

use std::io::Write;

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    sol_types::{SolCall, SolValue},
};
use both::{Both, Sender, Tx};
use contracts_support::{DEPLOYER, FIRST_WORKER, SNO, USER, key_hash, signer, sno};
use smartnodes_evm::{
    bindings::{SmartnodesCoordinator as Coordinator, SmartnodesCore as Core},
    chain::ChainConfig,
    deployment::{DeployParams, DeploymentPlan, GenesisValidator, TestnetSnapshot},
    reward_tree::RewardTree,
};
use tools_support::anvil::Anvil;
use views::Subjects;

/// A node that becomes a validator later.
const NEWCOMER: u32 = 3;
/// Somebody without any role.
const STRANGER: u32 = 4;
/// The second worker.
const SECOND_WORKER: u32 = FIRST_WORKER + 1;

/// What can only ever fail, or only ever happen inside another call: (contract, function, why).
const NEVER_SUCCEED: &[(&str, &str, &str)] = &[
    (
        "SmartnodesDAO",
        "onERC721Received",
        "the governor takes no deposits",
    ),
    (
        "SmartnodesDAO",
        "onERC1155Received",
        "the governor takes no deposits",
    ),
    (
        "SmartnodesDAO",
        "onERC1155BatchReceived",
        "the governor takes no deposits",
    ),
];

/// The whole story's state, beside the chains.
struct Story {
    both: Both,
    subjects: Subjects,
    /// Rewards of the testnet before.
    testnet: [(u32, U256); 2],
    /// Trees of the distributions, from 1.
    trees: Vec<RewardTree>,
}

fn testnet_leaf(account: Address, amount: U256) -> B256 {
    keccak256(keccak256((account, amount).abi_encode()))
}

impl Story {
    /// Deploys everything to both chains; `None` where there is no anvil.
    fn deploy() -> Option<Self> {
        let deployer = signer(DEPLOYER).address();
        let testnet = [(FIRST_WORKER, sno(70)), (SECOND_WORKER, sno(40))];
        let [a, b] = testnet.map(|(n, amount)| testnet_leaf(signer(n).address(), amount));
        let params = DeployParams {
            genesis: (0..3)
                .map(|n| GenesisValidator {
                    wallet: signer(n).address(),
                    public_key_hash: key_hash(n),
                })
                .collect(),
            testnet: Some(TestnetSnapshot {
                root: keccak256([a.min(b), a.max(b)].concat()),
                total: sno(110),
            }),
            ..DeployParams::default()
        };
        let mut config = ChainConfig::default();
        let plan =
            DeploymentPlan::new(&params, deployer, 0, config.chain_id).expect("good parameters");
        let d = plan.deployment.clone();
        let ether = U256::from(SNO) * U256::from(1_000);
        let people = (0..=STRANGER)
            .chain(FIRST_WORKER..=SECOND_WORKER)
            .chain([USER, DEPLOYER])
            .map(|n| signer(n).address());
        // Contracts that act pay for their gas.
        let contracts = [d.core, d.coordinator, d.dao, d.timelock];
        config.balances = people
            .chain(contracts)
            .map(|account| (account, ether))
            .collect();
        let anvil = match Anvil::start(&config) {
            Ok(anvil) => anvil,
            Err(missing) => {
                missing.report("the comparison with anvil");
                return None;
            }
        };

        let mut both = Both::new(config, d.clone(), anvil);
        for init_code in &plan.transactions {
            both.ok(Tx::raw(
                Sender::Signer(DEPLOYER),
                TxKind::Create,
                init_code.clone(),
            ));
        }
        // The proxies' constructors initialise what is behind them.
        both.ran_inside(d.core, &Core::initializeCall::SELECTOR);
        both.ran_inside(d.coordinator, &Coordinator::initializeCall::SELECTOR);
        let accounts = [0, NEWCOMER, STRANGER, USER, FIRST_WORKER]
            .map(|n| signer(n).address())
            .into_iter()
            .chain([d.timelock, Address::ZERO])
            .collect();
        let mut story = Self {
            both,
            subjects: Subjects {
                accounts,
                hashes: vec![
                    B256::ZERO,
                    key_hash(0),
                    key_hash(USER),
                    keccak256("PROPOSER_ROLE"),
                ],
                proposals: vec![U256::from(7)],
                ..Subjects::default()
            },
            testnet,
            trees: Vec::new(),
        };
        story.subjects.calls = governance::calls_of_lists(&story.both);
        // Only what is behind a proxy tells where its own address is kept.
        let ask = Bytes::from(Core::proxiableUUIDCall {}.abi_encode());
        for (proxy, place) in [(d.core, 3), (d.coordinator, 4)] {
            let implementation = deployer.create(place);
            story.both.stands_for(proxy, implementation);
            story
                .subjects
                .calls
                .insert(implementation, vec![ask.clone()]);
        }
        Some(story)
    }

    fn compare_views(&mut self) {
        views::compare(&mut self.both, &self.subjects);
    }
}

#[test]
fn every_function_gives_the_same_as_anvil() {
    let Some(mut story) = Story::deploy() else {
        return;
    };
    story.compare_views();
    story.first_round();
    story.compare_views();
    story.token();
    story.jobs();
    story.compare_views();
    story.membership();
    story.compare_views();
    story.governance();
    story.timelock();
    story.compare_views();
    story.authority();
    story.compare_views();
    assert_all_covered(&story.both);
    // Past the harness, which hides what passes.
    let _ = writeln!(
        std::io::stderr(),
        "the same as anvil: {} transactions, {} kinds of revert, {} answers of views",
        story.both.transactions,
        story.both.errors.len(),
        story
            .both
            .viewed
            .values()
            .map(|calls| calls.succeeded + calls.reverted)
            .sum::<u32>(),
    );
}

/// Every function was sent and succeeded, and was sent and failed; every view answered.
fn assert_all_covered(both: &Both) {
    let mut missing = Vec::new();
    for interface in views::interfaces(both) {
        let count = |coverage: &both::Coverage, selector: [u8; 4]| {
            coverage
                .get(&(interface.address, selector))
                .copied()
                .unwrap_or_default()
        };
        for function in interface.functions(false) {
            let calls = count(&both.sent, function.selector().0);
            let excused = NEVER_SUCCEED
                .iter()
                .any(|(contract, name, _)| (*contract, *name) == (interface.name, &function.name));
            assert!(
                !excused || calls.succeeded == 0,
                "{}.{} succeeds: it needs no excuse",
                interface.name,
                function.name
            );
            if calls.succeeded == 0 && !excused {
                missing.push(format!(
                    "{}.{} never succeeded",
                    interface.name, function.name
                ));
            }
            if calls.reverted == 0 {
                missing.push(format!("{}.{} never failed", interface.name, function.name));
            }
        }
        for function in interface.functions(true) {
            if count(&both.viewed, function.selector().0).succeeded == 0 {
                missing.push(format!(
                    "{}.{} never answered",
                    interface.name, function.name
                ));
            }
        }
    }
    assert!(missing.is_empty(), "not covered:\n{}", missing.join("\n"));
}

/// A word that is nobody's job, key or role.
fn unknown_hash() -> B256 {
    keccak256("nothing")
}

fn no_bytes() -> Bytes {
    Bytes::new()
}
