//! The methods, by name.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U64, U256},
    rpc::types::{Filter, TransactionRequest},
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{DevMethods, RpcConfig, dev, error::RpcError, params::Params};
use crate::chain::{BlockError, Chain, SUGGESTED_PRIORITY_FEE};

/// What the server calls itself.
const CLIENT_VERSION: &str = concat!("smartnodes-evm/v", env!("CARGO_PKG_VERSION"));

/// Tips that one fee history may ask for in each block; the same as geth's.
const PERCENTILES_MAX: usize = 100;

/// What a method gives.
pub(super) type Answer = Result<Box<RawValue>, RpcError>;

/// A result as JSON.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Answer {
    Ok(serde_json::value::to_raw_value(value)
        .expect("the types of results have no keys other than strings"))
}

/// Runs a method.
pub(super) fn dispatch(
    chain: &mut Chain,
    config: &RpcConfig,
    method: &str,
    params: Params,
) -> Answer {
    let dev = config.dev_methods == DevMethods::Enabled;
    match method {
        "eth_sendRawTransaction" => send_raw_transaction(chain, params),
        "eth_call" => call(chain, params),
        "eth_estimateGas" => estimate_gas(chain, params),
        "eth_getBlockByNumber" => block_by_number(chain, params),
        "eth_getBlockByHash" => block_by_hash(chain, params),
        "eth_getBlockReceipts" => block_receipts(chain, params),
        "eth_getTransactionByHash" => transaction_by_hash(chain, params),
        "eth_getTransactionReceipt" => transaction_receipt(chain, params),
        "eth_getLogs" => logs(chain, config, params),
        "eth_getBalance" => balance(chain, params),
        "eth_getTransactionCount" => transaction_count(chain, params),
        "eth_getCode" => code(chain, params),
        "eth_getStorageAt" => storage_at(chain, params),
        "eth_feeHistory" => fee_history(chain, params),
        "eth_chainId" => constant(params, &U64::from(chain.config().chain_id)),
        "eth_blockNumber" => constant(params, &U64::from(chain.block_number())),
        "eth_gasPrice" => constant(params, &U256::from(chain.gas_price())),
        "eth_maxPriorityFeePerGas" => constant(params, &U256::from(SUGGESTED_PRIORITY_FEE)),
        "eth_blobBaseFee" => constant(params, "0x1"),
        "eth_syncing" => constant(params, &false),
        "eth_accounts" => constant(params, &[(); 0]),
        "net_version" => constant(params, &chain.config().chain_id.to_string()),
        "net_listening" => constant(params, &true),
        "web3_clientVersion" => constant(params, CLIENT_VERSION),
        "evm_mine" if dev => dev::mine(chain, params),
        "evm_increaseTime" if dev => dev::increase_time(chain, params),
        "evm_setNextBlockTimestamp" if dev => dev::set_next_timestamp(chain, params),
        "evm_snapshot" if dev => dev::snapshot(chain, params),
        "evm_revert" if dev => dev::revert(chain, params),
        _ => Err(RpcError::method_not_found(method)),
    }
}

/// A method without parameters.
fn constant<T: Serialize + ?Sized>(params: Params, value: &T) -> Answer {
    params.end()?;
    json(value)
}

/// What does not exist is null.
fn found<T: Serialize>(result: Result<T, BlockError>) -> Answer {
    match result {
        Ok(value) => json(&value),
        Err(BlockError::Unknown) => json(&()),
        Err(error) => Err(error.into()),
    }
}

fn send_raw_transaction(chain: &mut Chain, mut params: Params) -> Answer {
    let raw: Bytes = params.required("transaction")?;
    params.end()?;
    json(&chain.submit_raw(&raw)?)
}

fn call(chain: &Chain, params: Params) -> Answer {
    let (request, at) = call_params(params)?;
    json(&chain.call(&request, at)?)
}

fn estimate_gas(chain: &Chain, params: Params) -> Answer {
    let (request, at) = call_params(params)?;
    json(&U64::from(chain.estimate_gas(&request, at)?))
}

fn call_params(mut params: Params) -> Result<(TransactionRequest, BlockId), RpcError> {
    let request = params.required("transaction")?;
    let at = params.optional("block")?.unwrap_or_default();
    for name in ["state overrides", "block overrides"] {
        match params.optional::<Value>(name)? {
            None => {}
            Some(Value::Object(overrides)) if overrides.is_empty() => {}
            Some(_) => {
                return Err(RpcError::invalid_params(format!(
                    "{name} are not supported: leave them out"
                )));
            }
        }
    }
    params.end()?;
    Ok((request, at))
}

fn block_by_number(chain: &Chain, mut params: Params) -> Answer {
    let number: BlockNumberOrTag = params.required("block")?;
    let full = params.optional("full transactions")?.unwrap_or(false);
    params.end()?;
    found(chain.block(BlockId::Number(number), full))
}

fn block_by_hash(chain: &Chain, mut params: Params) -> Answer {
    let hash: B256 = params.required("block hash")?;
    let full = params.optional("full transactions")?.unwrap_or(false);
    params.end()?;
    found(chain.block(BlockId::from(hash), full))
}

fn block_receipts(chain: &Chain, mut params: Params) -> Answer {
    let at = params.required("block")?;
    params.end()?;
    found(chain.block_receipts(at))
}

fn transaction_by_hash(chain: &Chain, mut params: Params) -> Answer {
    let hash = params.required("transaction hash")?;
    params.end()?;
    json(&chain.transaction(&hash))
}

fn transaction_receipt(chain: &Chain, mut params: Params) -> Answer {
    let hash = params.required("transaction hash")?;
    params.end()?;
    json(&chain.receipt(&hash))
}

fn logs(chain: &Chain, config: &RpcConfig, mut params: Params) -> Answer {
    let filter: Filter = params.required("filter")?;
    params.end()?;
    json(&chain.logs(&filter, config.logs_max)?)
}

fn balance(chain: &Chain, params: Params) -> Answer {
    let (address, at) = account_params(params)?;
    json(&chain.balance(address, at)?)
}

fn transaction_count(chain: &Chain, params: Params) -> Answer {
    let (address, at) = account_params(params)?;
    json(&U64::from(chain.nonce(address, at)?))
}

fn code(chain: &Chain, params: Params) -> Answer {
    let (address, at) = account_params(params)?;
    json(&chain.code(address, at)?)
}

fn account_params(mut params: Params) -> Result<(Address, BlockId), RpcError> {
    let address = params.required("address")?;
    let at = params.optional("block")?.unwrap_or_default();
    params.end()?;
    Ok((address, at))
}

fn storage_at(chain: &Chain, mut params: Params) -> Answer {
    let address = params.required("address")?;
    let slot: U256 = params.required("slot")?;
    let at = params.optional("block")?.unwrap_or_default();
    params.end()?;
    json(&B256::from(chain.storage(address, slot, at)?))
}

fn fee_history(chain: &Chain, mut params: Params) -> Answer {
    let blocks: U64 = params.required("block count")?;
    let newest: BlockNumberOrTag = params.required("newest block")?;
    let percentiles: Vec<f64> = params.optional("reward percentiles")?.unwrap_or_default();
    params.end()?;
    if percentiles.len() > PERCENTILES_MAX {
        return Err(RpcError::invalid_params(format!(
            "invalid argument 2 (reward percentiles): more than {PERCENTILES_MAX} values"
        )));
    }
    let ordered = percentiles
        .iter()
        .zip(percentiles.iter().skip(1))
        .all(|(low, high)| low <= high);
    if !ordered
        || percentiles
            .iter()
            .any(|percentile| !(0.0..=100.0).contains(percentile))
    {
        return Err(RpcError::invalid_params(
            "invalid argument 2 (reward percentiles): expected ascending values from 0 to 100",
        ));
    }
    json(&chain.fee_history(blocks.to(), BlockId::Number(newest), &percentiles)?)
}
