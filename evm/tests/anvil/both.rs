//! Our chain and an anvil side by side: whatever is done to one is done to the other, and every answer is compared.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    consensus::{SignableTransaction, Signed, TxEip1559, TxEip2930, TxEnvelope, TxLegacy},
    eips::{BlockId, eip2718::Encodable2718, eip2930::AccessList},
    primitives::{Address, B256, Bytes, Signature, TxKind, U256},
    rpc::types::TransactionReceipt,
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolError},
};
use serde_json::{Value, json};
use smartnodes_evm::{
    chain::{Chain, ChainConfig, FEE_RECIPIENT},
    deployment::Deployment,
    rpc::{self, DevMethods, RpcConfig},
};

use crate::{
    compare::{assert_same, drop_custom_messages, without},
    contracts_support::signer,
    tools_support::anvil::Anvil,
};

/// Gas limit of every transaction: more than the largest deployment needs.
const GAS: u64 = 15_000_000;
/// Both fees of every transaction, in wei for each unit of gas; [`Chain::impersonate`] uses the same.
const TIP: u128 = 1_000_000;
/// Seconds from block to block, where nobody waits.
const BLOCK_TIME: u64 = 2;
/// Two estimates of the same gas may differ by this fraction: both searches stop at a tolerance of 1/64.
const ESTIMATE_DIVISOR: u64 = 32;

/// What differs by design in a block: everything that follows from the state root, which ours has not.
const BLOCK_DIFFERS: &[&str] = &[
    "hash",
    "parentHash",
    "stateRoot",
    "mixHash",
    "size",
    "totalDifficulty",
];
/// What differs in a transaction, its receipt and its logs: where they are, and fields that only one side gives.
const PLACE_DIFFERS: &[&str] = &["blockHash", "blockTimestamp", "blobGasPrice"];
/// What differs when nobody signed: the filler where the signature would be, and what hashes it.
const UNSIGNED_DIFFERS: &[&str] = &["transactionHash", "hash", "r", "s", "v", "yParity"];

/// Who sends a transaction.
#[derive(Clone, Copy, Debug)]
pub enum Sender {
    /// The signer with this number.
    Signer(u32),
    /// A contract, which nobody can sign for.
    Contract(Address),
}

impl Sender {
    fn address(self) -> Address {
        match self {
            Self::Signer(number) => signer(number).address(),
            Self::Contract(address) => address,
        }
    }
}

/// A transaction to be sent to both.
#[derive(Clone, Debug)]
pub struct Tx {
    from: Sender,
    to: TxKind,
    data: Bytes,
    value: U256,
}

impl Tx {
    /// A signer's call.
    pub fn new<C: SolCall>(from: u32, to: Address, call: C) -> Self {
        Self::raw(
            Sender::Signer(from),
            TxKind::Call(to),
            call.abi_encode().into(),
        )
    }

    /// A contract's call.
    pub fn by<C: SolCall>(from: Address, to: Address, call: C) -> Self {
        Self::raw(
            Sender::Contract(from),
            TxKind::Call(to),
            call.abi_encode().into(),
        )
    }

    /// Anything.
    pub fn raw(from: Sender, to: TxKind, data: Bytes) -> Self {
        Self {
            from,
            to,
            data,
            value: U256::ZERO,
        }
    }

    /// With ETH (wei).
    pub fn paying(self, value: U256) -> Self {
        Self { value, ..self }
    }
}

/// How often functions were called, and how it ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    pub succeeded: u32,
    pub reverted: u32,
}

/// By contract address and selector.
pub type Coverage = BTreeMap<(Address, [u8; 4]), Calls>;

/// Both chains.
pub struct Both {
    pub ours: Chain,
    anvil: Anvil,
    pub deployment: Deployment,
    /// Calls that transactions made.
    pub sent: Coverage,
    /// Calls that views answered.
    pub viewed: Coverage,
    /// Errors that transactions met, by selector.
    pub errors: BTreeSet<Vec<u8>>,
    impersonated: BTreeSet<Address>,
    /// The proxies that stand for implementations.
    proxies: BTreeMap<Address, Address>,
    pub transactions: usize,
}

impl Both {
    pub fn new(config: ChainConfig, deployment: Deployment, anvil: Anvil) -> Self {
        Self {
            ours: Chain::new(config).expect("a valid configuration"),
            anvil,
            deployment,
            sent: Coverage::new(),
            viewed: Coverage::new(),
            errors: BTreeSet::new(),
            impersonated: BTreeSet::new(),
            proxies: BTreeMap::new(),
            transactions: 0,
        }
    }

    // ---- asking

    /// The answers of both to one request or a batch.
    pub fn exchange(&mut self, body: &Value) -> (Value, Value) {
        let config = RpcConfig {
            dev_methods: DevMethods::Enabled,
            ..RpcConfig::default()
        };
        let bytes = serde_json::to_vec(body).expect("JSON");
        let ours = rpc::handle(&mut self.ours, &config, &bytes);
        let mut ours = serde_json::from_slice(&ours).expect("JSON");
        let mut theirs = self.anvil.exchange(body);
        drop_custom_messages(&mut ours);
        drop_custom_messages(&mut theirs);
        (ours, theirs)
    }

    /// Asks both and compares the whole answers, errors included.
    #[track_caller]
    pub fn same(&mut self, method: &str, params: Value) -> Value {
        let (mut ours, theirs) = self.exchange(&request(method, &params));
        assert_same(&format!("{method} {params}"), &ours, &theirs);
        ours["result"].take()
    }

    /// Asks both for an object and compares it without the keys that may differ.
    #[track_caller]
    fn same_object(&mut self, method: &str, params: [&Value; 2], differs: &[&str]) -> Value {
        let mut answers = params.map(|params| {
            let (ours, theirs) = self.exchange(&request(method, params));
            [ours, theirs]
        });
        let (ours, theirs) = (
            answers[0][0]["result"].take(),
            answers[1][1]["result"].take(),
        );
        let (mut left, mut right) = (ours.clone(), theirs);
        for object in [&mut left, &mut right] {
            without(object, differs);
        }
        assert_same(&format!("{method} {}", params[0]), &left, &right);
        ours
    }

    /// A view of a contract, on our chain.
    pub fn read<C: SolCall>(&self, contract: Address, call: &C) -> C::Return {
        self.ours.read(contract, call).expect("a view")
    }

    // ---- acting

    /// Sends and mines a transaction that succeeds.
    #[track_caller]
    pub fn ok(&mut self, tx: Tx) -> TransactionReceipt {
        let mut receipts = self.mine(vec![(tx, None)]);
        receipts.remove(0)
    }

    /// Sends and mines transactions that succeed, all in one block.
    #[track_caller]
    pub fn together(&mut self, txs: Vec<Tx>) {
        self.mine(txs.into_iter().map(|tx| (tx, None)).collect());
    }

    /// Sends and mines a transaction that fails with the error `E`.
    #[track_caller]
    pub fn fails<E: SolError>(&mut self, tx: Tx) {
        self.mine(vec![(tx, Some(&E::SELECTOR))]);
    }

    /// Sends and mines a transaction that fails without a word, as the compiler has it for ETH that a function does not
    /// take.
    #[track_caller]
    pub fn refuses_eth(&mut self, tx: Tx) {
        self.mine(vec![(tx.paying(U256::ONE), Some(&[]))]);
    }

    /// Lets time pass, in an empty block.
    #[track_caller]
    pub fn wait(&mut self, seconds: u64) {
        self.mine_at(self.ours.timestamp() + seconds);
    }

    /// Lets time pass until `time` (chain seconds).
    #[track_caller]
    pub fn wait_until(&mut self, time: u64) {
        if time > self.ours.timestamp() {
            self.mine_at(time);
        }
    }

    /// Notes that a transaction ran this call too, inside: a decision of governance, or a proxy's initialisation.
    pub fn ran_inside(&mut self, contract: Address, data: &[u8]) {
        self.note_sent(contract, data, true);
    }

    /// Counts calls of `implementation` as calls of the proxy in front of it.
    pub fn stands_for(&mut self, proxy: Address, implementation: Address) {
        self.proxies.insert(implementation, proxy);
    }

    /// Runs `attempt` on both until it gives the same on both, taking back what was different.
    pub fn until_equal<T: PartialEq>(
        &mut self,
        mut attempt: impl FnMut(&mut Self, u64) -> (T, T),
    ) -> T {
        for count in 0..1_000 {
            let (ours, theirs) = self.exchange(&request("evm_snapshot", &json!([])));
            let (left, right) = attempt(self, count);
            if left == right {
                return left;
            }
            let back = |answer: Value| request("evm_revert", &json!([answer["result"]]));
            let (ours, theirs) = (back(ours), back(theirs));
            assert_eq!(
                self.exchange_apart(&ours, &theirs),
                (json!(true), json!(true))
            );
        }
        panic!("a thousand attempts never gave the same on both chains");
    }

    /// The hashes of the latest block, ours and anvil's.
    pub fn latest_hashes(&mut self) -> (B256, B256) {
        let (ours, theirs) =
            self.exchange(&request("eth_getBlockByNumber", &json!(["latest", false])));
        let hash = |answer: Value| {
            serde_json::from_value(answer["result"]["hash"].clone()).expect("a block has a hash")
        };
        (hash(ours), hash(theirs))
    }

    // ---- inside

    /// Asks each a request of its own.
    fn exchange_apart(&mut self, ours: &Value, theirs: &Value) -> (Value, Value) {
        let config = RpcConfig {
            dev_methods: DevMethods::Enabled,
            ..RpcConfig::default()
        };
        let answer = rpc::handle(&mut self.ours, &config, ours.to_string().as_bytes());
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        (
            answer["result"].clone(),
            self.anvil.exchange(theirs)["result"].clone(),
        )
    }

    /// Sends transactions, mines them in one block, and compares all that can be seen of them.
    #[track_caller]
    fn mine(&mut self, txs: Vec<(Tx, Option<&[u8]>)>) -> Vec<TransactionReceipt> {
        let mut hashes = Vec::new();
        for (tx, _) in &txs {
            // In company, a call on the state before the block need not end as the transaction does.
            self.compare_call(tx);
            hashes.push(self.send(tx));
        }
        self.mine_at(self.ours.timestamp() + BLOCK_TIME);
        self.transactions += txs.len();
        let mut receipts = Vec::new();
        for ((tx, error), hashes) in txs.iter().zip(hashes) {
            receipts.push(self.compare_outcome(tx, *error, hashes));
        }
        receipts
    }

    /// What the call gives without being sent, and what it is said to cost.
    #[track_caller]
    fn compare_call(&mut self, tx: &Tx) {
        let call = json!({
            "from": tx.from.address(), "to": tx.to, "input": tx.data, "value": tx.value,
        });
        self.same("eth_call", json!([call, "latest"]));
        let (ours, theirs) = self.exchange(&request("eth_estimateGas", &json!([call, "latest"])));
        match (gas(&ours), gas(&theirs)) {
            (Some(left), Some(right)) => assert!(
                left.abs_diff(right) <= left.max(right) / ESTIMATE_DIVISOR,
                "eth_estimateGas {call}: ours {left}, anvil's {right}"
            ),
            _ => assert_same(&format!("eth_estimateGas {call}"), &ours, &theirs),
        }
    }

    /// Lets both take the transaction; its hashes.
    #[track_caller]
    fn send(&mut self, tx: &Tx) -> [B256; 2] {
        let from = tx.from.address();
        let nonce = self.ours.nonce(from, BlockId::pending()).expect("pending");
        match tx.from {
            Sender::Signer(number) => {
                let raw = self.sign(&signer(number), tx, nonce);
                let hash = self.same("eth_sendRawTransaction", json!([raw]));
                let hash: B256 = serde_json::from_value(hash).expect("a hash");
                [hash, hash]
            }
            Sender::Contract(address) => {
                if self.impersonated.insert(address) {
                    self.anvil.ask("anvil_impersonateAccount", json!([address]));
                }
                let ours = self
                    .ours
                    .impersonate(address, tx.to, tx.data.clone(), tx.value, GAS)
                    .expect("taken");
                let sent = self.ours.transaction(&ours).expect("it waits");
                let theirs = self.anvil.ask(
                    "eth_sendTransaction",
                    json!([{
                        "from": address, "to": tx.to, "input": tx.data, "value": tx.value,
                        "nonce": format!("{nonce:#x}"), "gas": format!("{GAS:#x}"),
                        "maxFeePerGas": format!("{:#x}", alloy::consensus::Transaction::max_fee_per_gas(&sent)),
                        "maxPriorityFeePerGas": format!("{TIP:#x}"),
                    }]),
                );
                [ours, serde_json::from_value(theirs).expect("a hash")]
            }
        }
    }

    /// Signs in one of the three supported forms, in turns.
    fn sign(&self, signer: &PrivateKeySigner, tx: &Tx, nonce: u64) -> Bytes {
        let chain_id = self.ours.config().chain_id;
        let price = u128::from(self.ours.base_fee()) + TIP;
        let access_list = match tx.to {
            TxKind::Call(to) if nonce % 2 == 1 => {
                AccessList::from(vec![alloy::eips::eip2930::AccessListItem {
                    address: to,
                    storage_keys: vec![B256::with_last_byte(2)],
                }])
            }
            _ => AccessList::default(),
        };
        match nonce % 3 {
            0 => signed(
                signer,
                TxLegacy {
                    chain_id: Some(chain_id),
                    nonce,
                    gas_price: price,
                    gas_limit: GAS,
                    to: tx.to,
                    value: tx.value,
                    input: tx.data.clone(),
                },
            ),
            1 => signed(
                signer,
                TxEip2930 {
                    chain_id,
                    nonce,
                    gas_price: price,
                    gas_limit: GAS,
                    to: tx.to,
                    value: tx.value,
                    access_list,
                    input: tx.data.clone(),
                },
            ),
            _ => signed(
                signer,
                TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit: GAS,
                    max_fee_per_gas: 2 * price,
                    max_priority_fee_per_gas: TIP,
                    to: tx.to,
                    value: tx.value,
                    access_list,
                    input: tx.data.clone(),
                },
            ),
        }
    }

    /// Mines what waits and compares the block.
    #[track_caller]
    fn mine_at(&mut self, time: u64) {
        let base_fee = format!("{:#x}", self.ours.base_fee());
        self.anvil
            .ask("anvil_setNextBlockBaseFeePerGas", json!([base_fee]));
        self.same("evm_setNextBlockTimestamp", json!([time]));
        self.same("evm_mine", json!([]));
        let signed = self.latest_is_signed();
        let mut differs = BLOCK_DIFFERS.to_vec();
        if !signed {
            differs.extend(["transactions", "transactionsRoot"]);
        }
        let block = json!(["latest", false]);
        self.same_object("eth_getBlockByNumber", [&block, &block], &differs);
    }

    fn latest_is_signed(&self) -> bool {
        let block = self.ours.block(BlockId::latest(), true).expect("latest");
        block
            .transactions
            .txns()
            .all(|tx| !self.impersonated.contains(&tx.inner.signer()))
    }

    /// Compares the receipt, the transaction, its logs, its revert and the sender's account.
    #[track_caller]
    fn compare_outcome(
        &mut self,
        tx: &Tx,
        error: Option<&[u8]>,
        hashes: [B256; 2],
    ) -> TransactionReceipt {
        let mut differs = PLACE_DIFFERS.to_vec();
        if hashes[0] != hashes[1] {
            differs.extend(UNSIGNED_DIFFERS);
        }
        let params = hashes.map(|hash| json!([hash]));
        let params = [&params[0], &params[1]];
        self.same_object("eth_getTransactionByHash", params, &differs);
        let receipt = self.same_object("eth_getTransactionReceipt", params, &differs);
        let block =
            json!([{"fromBlock": receipt["blockNumber"], "toBlock": receipt["blockNumber"]}]);
        let logs = self.same_object("eth_getLogs", [&block, &block], &differs);
        let receipt: TransactionReceipt = serde_json::from_value(receipt).expect("a receipt");
        assert!(
            logs.as_array()
                .is_some_and(|logs| logs.len() >= receipt.inner.logs().len())
        );
        for account in [tx.from.address(), FEE_RECIPIENT] {
            self.same("eth_getBalance", json!([account, "latest"]));
            self.same("eth_getTransactionCount", json!([account, "latest"]));
        }
        if let Some(created) = receipt.contract_address {
            self.same("eth_getCode", json!([created, "latest"]));
        }

        let failure = self.ours.failure(&hashes[0]).cloned();
        match (error, &failure) {
            (None, None) => {}
            (Some(error), Some(failure)) => {
                let data = match failure {
                    smartnodes_evm::chain::CallError::Reverted(reverted) => &reverted.data,
                    other => panic!("{tx:?}: {other}"),
                };
                assert_eq!(
                    data.get(..4).unwrap_or_default(),
                    error,
                    "{tx:?}: {failure}"
                );
                self.errors.insert(error.to_vec());
                let trace = self.anvil.ask(
                    "debug_traceTransaction",
                    json!([hashes[1], {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": true}}]),
                );
                let theirs: Bytes = trace
                    .get("output")
                    .map(|output| serde_json::from_value(output.clone()).expect("bytes"))
                    .unwrap_or_default();
                assert_eq!(
                    *data, theirs,
                    "{tx:?}: the revert data of the mined transaction"
                );
            }
            (expected, failure) => panic!("{tx:?}: expected {expected:?}, but {failure:?}"),
        }
        if let TxKind::Call(to) = tx.to {
            self.note_sent(to, &tx.data, error.is_none());
        }
        receipt
    }

    fn note_sent(&mut self, contract: Address, data: &[u8], succeeded: bool) {
        let contract = self.proxies.get(&contract).copied().unwrap_or(contract);
        note(&mut self.sent, contract, data, succeeded);
    }

    /// Counts an answered call of a view.
    pub fn note_viewed(&mut self, contract: Address, data: &[u8], succeeded: bool) {
        let contract = self.proxies.get(&contract).copied().unwrap_or(contract);
        note(&mut self.viewed, contract, data, succeeded);
    }
}

/// Counts a call; without a selector it is none.
fn note(coverage: &mut Coverage, contract: Address, data: &[u8], succeeded: bool) {
    let Some(selector) = data.first_chunk::<4>() else {
        return;
    };
    let calls = coverage.entry((contract, *selector)).or_default();
    if succeeded {
        calls.succeeded += 1;
    } else {
        calls.reverted += 1;
    }
}

/// A JSON-RPC request.
pub fn request(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn gas(answer: &Value) -> Option<u64> {
    let gas: U256 = serde_json::from_value(answer["result"].clone()).ok()?;
    Some(gas.to())
}

fn signed<T>(signer: &PrivateKeySigner, tx: T) -> Bytes
where
    T: SignableTransaction<Signature>,
    TxEnvelope: From<Signed<T>>,
{
    let signature = signer
        .sign_hash_sync(&tx.signature_hash())
        .expect("a local key signs");
    TxEnvelope::from(tx.into_signed(signature))
        .encoded_2718()
        .into()
}
