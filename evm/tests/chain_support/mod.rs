//! A funded chain and contracts of a few bytes, for the tests of the chain and its JSON-RPC.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use alloy::{
    consensus::{SignableTransaction, Signed, TxEip1559, TxEnvelope},
    eips::{BlockId, eip2718::Encodable2718},
    primitives::{Address, Bytes, Signature, TxKind, U256},
    signers::{SignerSync, local::PrivateKeySigner},
};
use smartnodes_evm::chain::{Chain, ChainConfig};

/// The state after the latest block.
pub const LATEST: BlockId = BlockId::latest();

/// Base fee of the test chain, in wei.
pub const BASE_FEE: u64 = 1_000;

/// What each of the first ten signers owns at genesis, in wei.
pub const FUNDS: u128 = 1_000_000_000_000_000_000;

/// Reverts with its input.
pub const REVERTER: &str = "365f5f37365ffd";
/// Writes the first word of its input into slot 0.
pub const STORE: &str = "5f355f5500";
/// Logs the third word of its input under the topics in the first two.
pub const LOGGER: &str = "6040355f526020355f3560205fa200";
/// Returns the hash of the block whose number is its input.
pub const BLOCK_HASH: &str = "5f35405f5260205ff3";
/// Returns the block's randomness.
pub const PREVRANDAO: &str = "445f5260205ff3";
/// Never ends.
pub const LOOP: &str = "5b5f56";
/// As init code: ends the contract under construction, its balance to address 0xaa.
pub const SELF_DESTRUCT_INIT: &str = "60aaff";

/// The n-th test key.
pub fn signer(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[n + 1; 32]).expect("a small number is a valid key")
}

/// A configuration with ten funded signers.
pub fn config() -> ChainConfig {
    ChainConfig {
        base_fee: BASE_FEE,
        balances: (0..10)
            .map(|n| (signer(n).address(), U256::from(FUNDS)))
            .collect(),
        ..ChainConfig::default()
    }
}

/// A chain with ten funded signers.
pub fn chain() -> Chain {
    Chain::new(config()).expect("the test configuration is valid")
}

/// Init code that deploys `runtime`.
pub fn init_code(runtime: &str) -> Bytes {
    let runtime = alloy::hex::decode(runtime).expect("test contracts are hex");
    let length = u8::try_from(runtime.len()).expect("test contracts are short");
    // PUSH1 length, DUP1, PUSH1 9, PUSH0, CODECOPY, PUSH0, RETURN
    let mut code = vec![0x60, length, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3];
    code.extend(runtime);
    code.into()
}

/// Deploys `runtime` from signer 9.
pub fn deploy(chain: &mut Chain, runtime: &str) -> Address {
    chain
        .transact(&signer(9), TxKind::Create, init_code(runtime), U256::ZERO)
        .expect("the deployment succeeds")
        .contract_address
        .expect("a deployment has an address")
}

/// A word of input.
pub fn word(value: u64) -> Bytes {
    U256::from(value).to_be_bytes::<32>().into()
}

/// Words of input.
pub fn words(values: &[u64]) -> Bytes {
    values
        .iter()
        .flat_map(|value| U256::from(*value).to_be_bytes::<32>())
        .collect::<Vec<_>>()
        .into()
}

/// A transfer of one wei to 0xaa, with everything that tests vary.
pub fn transfer(nonce: u64, max_fee: u128, tip: u128) -> TxEip1559 {
    TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: max_fee,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(Address::with_last_byte(0xaa)),
        value: U256::ONE,
        access_list: Default::default(),
        input: Bytes::new(),
    }
}

/// Signs and encodes.
pub fn signed<T>(signer: &PrivateKeySigner, tx: T) -> Vec<u8>
where
    T: SignableTransaction<Signature>,
    TxEnvelope: From<Signed<T>>,
{
    let signature = signer
        .sign_hash_sync(&tx.signature_hash())
        .expect("a local key signs");
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}
