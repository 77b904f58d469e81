//! Answers JSON-RPC 2.0 requests from a [`Chain`]: bytes in, bytes out.
//!
//! ```
//! use smartnodes_evm::{chain::{Chain, ChainConfig}, rpc::{self, RpcConfig}};
//!
//! let mut chain = Chain::new(ChainConfig::default())?;
//! let body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}"#;
//! assert_eq!(rpc::handle(&mut chain, &RpcConfig::default(), body), br#"{"jsonrpc":"2.0","id":1,"result":"0x0"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A host carries the bytes (HTTP, a simulated wire) and owns the time: it calls [`Chain::advance_to`] or
//! [`Chain::mine`]. Nothing here mines, except the time-travel methods, and those only if the host allows them. The methods
//! are what alloy, web3.py and cast use; shapes are alloy's, error codes and texts geth's. Any input gets an answer:
//! what is not JSON, not a request, too large, too many or unknown is an error response, never a panic.
//!
//! # Methods
//! `eth_`: `accounts` (none), `blobBaseFee`, `blockNumber`, `call`, `chainId`, `estimateGas`, `feeHistory`, `gasPrice`,
//! `getBalance`, `getBlockByHash`, `getBlockByNumber`, `getBlockReceipts`, `getCode`, `getLogs`, `getStorageAt`,
//! `getTransactionByHash`, `getTransactionCount`, `getTransactionReceipt`, `maxPriorityFeePerGas`, `sendRawTransaction`,
//! `syncing`; `net_listening`, `net_version`, `web3_clientVersion`. With [`DevMethods::Enabled`]: `evm_increaseTime`,
//! `evm_mine`, `evm_revert`, `evm_setNextBlockTimestamp`, `evm_snapshot`.

mod dev;
mod error;
mod methods;
mod params;

pub use error::RpcError;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::chain::Chain;

/// Whether clients may move time and history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DevMethods {
    /// `evm_*` methods are unknown, as on a real chain.
    #[default]
    Disabled,
    /// `evm_*` methods work. For test networks only.
    Enabled,
}

/// What a server offers, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcConfig {
    /// Whether clients may move time and history.
    pub dev_methods: DevMethods,
    /// Longest request, in bytes.
    pub body_bytes_max: usize,
    /// Most requests in one batch.
    pub batch_items_max: usize,
    /// Longest response, in bytes; in a batch, items beyond it are answered by an error.
    pub response_bytes_max: usize,
    /// Most logs in one answer.
    pub logs_max: usize,
}

impl Default for RpcConfig {
    /// Geth's limits, and the usual 10,000 logs.
    fn default() -> Self {
        Self {
            dev_methods: DevMethods::Disabled,
            body_bytes_max: 5 * 1024 * 1024,
            batch_items_max: 1_000,
            response_bytes_max: 25 * 1_000 * 1_000,
            logs_max: 10_000,
        }
    }
}

/// Answers a request body, single or batch. The answer is empty when the body holds only notifications.
pub fn handle(chain: &mut Chain, config: &RpcConfig, body: &[u8]) -> Vec<u8> {
    if body.len() > config.body_bytes_max {
        let message = format!(
            "request too large: {} bytes, the limit is {}",
            body.len(),
            config.body_bytes_max
        );
        return failure(&Value::Null, RpcError::invalid_request(message));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Array(requests)) => batch(chain, config, requests),
        Ok(request) => {
            single(chain, config, request, config.response_bytes_max).unwrap_or_default()
        }
        Err(error) => failure(&Value::Null, RpcError::parse(error)),
    }
}

fn batch(chain: &mut Chain, config: &RpcConfig, requests: Vec<Value>) -> Vec<u8> {
    if requests.is_empty() {
        return failure(&Value::Null, RpcError::invalid_request("empty batch"));
    }
    if requests.len() > config.batch_items_max {
        let message = format!(
            "batch too large: {} requests, the limit is {}",
            requests.len(),
            config.batch_items_max
        );
        return failure(&Value::Null, RpcError::invalid_request(message));
    }
    let mut answer = vec![b'['];
    for request in requests {
        let left = config.response_bytes_max.saturating_sub(answer.len());
        if let Some(response) = single(chain, config, request, left) {
            if answer.len() > 1 {
                answer.push(b',');
            }
            answer.extend(response);
        }
    }
    if answer.len() == 1 {
        return Vec::new();
    }
    answer.push(b']');
    answer
}

/// Answers one request; `None` for a notification.
fn single(
    chain: &mut Chain,
    config: &RpcConfig,
    request: Value,
    bytes_max: usize,
) -> Option<Vec<u8>> {
    let Value::Object(mut fields) = request else {
        return Some(failure(
            &Value::Null,
            RpcError::invalid_request("invalid request: expected an object"),
        ));
    };
    let id = fields.remove("id");
    let id_or_null = match &id {
        None => Value::Null,
        Some(id @ (Value::Null | Value::Number(_) | Value::String(_))) => id.clone(),
        Some(_) => {
            let error =
                RpcError::invalid_request("invalid request: id must be a string, a number or null");
            return Some(failure(&Value::Null, error));
        }
    };
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        let error = RpcError::invalid_request("invalid request: jsonrpc must be \"2.0\"");
        return Some(failure(&id_or_null, error));
    }
    let Some(Value::String(method)) = fields.remove("method") else {
        let error = RpcError::invalid_request("invalid request: method must be a string");
        return Some(failure(&id_or_null, error));
    };
    let answer = params::Params::new(fields.remove("params"))
        .and_then(|params| methods::dispatch(chain, config, &method, params));
    id?;
    Some(match answer {
        Ok(result) if result.get().len() > bytes_max => {
            failure(&id_or_null, RpcError::too_large(config.response_bytes_max))
        }
        Ok(result) => encode(&Response {
            jsonrpc: "2.0",
            id: &id_or_null,
            result: Some(&result),
            error: None,
        }),
        Err(error) => failure(&id_or_null, error),
    })
}

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    id: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
}

fn failure(id: &Value, error: RpcError) -> Vec<u8> {
    encode(&Response {
        jsonrpc: "2.0",
        id,
        result: None,
        error: Some(error),
    })
}

fn encode(response: &Response<'_>) -> Vec<u8> {
    serde_json::to_vec(response).expect("strings, numbers and raw JSON always serialise")
}
