//! Every view of the contracts, with many arguments, asked of both chains.

use std::collections::BTreeMap;

use alloy::{
    json_abi::{Function, JsonAbi, Param, StateMutability},
    primitives::{Address, B256, Bytes, U256},
};
use serde_json::{Value, json};

use crate::{both::Both, compare::assert_same};

/// Calls in one batch; both servers take at least so many.
const BATCH: usize = 200;

/// A contract's interface as it was compiled.
pub struct Interface {
    pub name: &'static str,
    pub address: Address,
    pub abi: JsonAbi,
}

impl Interface {
    fn new(name: &'static str, address: Address, artifact: &str) -> Self {
        let artifact: Value = serde_json::from_str(artifact).expect("an artifact is JSON");
        let abi = serde_json::from_value(artifact["abi"].clone()).expect("it has an ABI");
        Self { name, address, abi }
    }

    /// Its functions that change something, or those that do not.
    pub fn functions(&self, views: bool) -> impl Iterator<Item = &Function> {
        self.abi.functions().filter(move |function| {
            let view = matches!(
                function.state_mutability,
                StateMutability::View | StateMutability::Pure
            );
            view == views
        })
    }
}

/// The contracts of a deployment.
pub fn interfaces(both: &Both) -> [Interface; 5] {
    let d = &both.deployment;
    [
        Interface::new(
            "SmartnodesERC20",
            d.token,
            include_str!("../../artifacts/SmartnodesERC20.json"),
        ),
        Interface::new(
            "SmartnodesCore",
            d.core,
            include_str!("../../artifacts/SmartnodesCore.json"),
        ),
        Interface::new(
            "SmartnodesCoordinator",
            d.coordinator,
            include_str!("../../artifacts/SmartnodesCoordinator.json"),
        ),
        Interface::new(
            "SmartnodesDAO",
            d.dao,
            include_str!("../../artifacts/SmartnodesDAO.json"),
        ),
        Interface::new(
            "SmartnodesTimelock",
            d.timelock,
            include_str!("../../artifacts/SmartnodesTimelock.json"),
        ),
    ]
}

/// What views are asked about.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    pub accounts: Vec<Address>,
    /// Keys, jobs, roles, operations.
    pub hashes: Vec<B256>,
    /// Proposals of governance.
    pub proposals: Vec<U256>,
    /// Calls whose arguments are not single words, by contract.
    pub calls: BTreeMap<Address, Vec<Bytes>>,
}

impl Subjects {
    /// Words that a parameter may be.
    fn words(&self, param: &Param, now: u64) -> Option<Vec<U256>> {
        let numbers = |values: &[u64]| values.iter().map(|value| U256::from(*value)).collect();
        Some(match param.ty.as_str() {
            "address" => self
                .accounts
                .iter()
                .map(|account| U256::from_be_slice(account.as_slice()))
                .collect(),
            "bool" => numbers(&[0, 1]),
            "bytes32" => self.hashes.iter().map(|hash| (*hash).into()).collect(),
            // ERC-165 itself, IERC1155Receiver, IAccessControl, nothing.
            "bytes4" => [0x01ff_c9a7_u32, 0x4e23_12e0, 0x7965_db0b, 0xffff_ffff]
                .map(|id| U256::from(id) << 224)
                .to_vec(),
            "uint256" => match param.name.as_str() {
                "timepoint" => numbers(&[0, now - 1, now, now + 60]),
                "proposalId" => self.proposals.clone(),
                _ => numbers(&[0, 1, 2, 5]),
            },
            "uint8" | "uint16" | "uint32" | "uint64" => numbers(&[0, 1, 2, 5]),
            _ => return None,
        })
    }

    /// Calls of one view with every combination of its arguments; none if an argument is not a single word.
    fn combinations(&self, function: &Function, now: u64) -> Vec<Bytes> {
        let mut calls = vec![function.selector().to_vec()];
        for param in &function.inputs {
            let Some(words) = self.words(param, now) else {
                return Vec::new();
            };
            calls = calls
                .iter()
                .flat_map(|call| {
                    words
                        .iter()
                        .map(move |word| [call.as_slice(), &word.to_be_bytes::<32>()].concat())
                })
                .collect();
        }
        calls.into_iter().map(Bytes::from).collect()
    }
}

/// Asks everything of both and compares each answer, outputs and reverts alike.
pub fn compare(both: &mut Both, subjects: &Subjects) {
    let now = both.ours.timestamp();
    let mut calls: Vec<(Address, Bytes)> = Vec::new();
    for interface in interfaces(both) {
        for function in interface.functions(true) {
            let made = subjects.combinations(function, now);
            calls.extend(made.into_iter().map(|data| (interface.address, data)));
        }
    }
    for (contract, data) in &subjects.calls {
        calls.extend(data.iter().map(|data| (*contract, data.clone())));
    }
    for calls in calls.chunks(BATCH) {
        let batch: Vec<Value> = calls
            .iter()
            .enumerate()
            .map(|(id, (to, data))| {
                let call = json!({"to": to, "input": data});
                json!({"jsonrpc": "2.0", "id": id, "method": "eth_call", "params": [call, "latest"]})
            })
            .collect();
        let (ours, theirs) = both.exchange(&Value::from(batch));
        let list = |answers: &Value| answers.as_array().expect("a batch").clone();
        for ((left, right), (to, data)) in list(&ours).iter().zip(&list(&theirs)).zip(calls) {
            assert_same(&format!("eth_call {to} {data}"), left, right);
            both.note_viewed(*to, data, left.get("result").is_some());
        }
        assert_eq!(list(&theirs).len(), calls.len());
    }
}
