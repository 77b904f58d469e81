//! JSON-RPC errors, with geth's codes and texts, because clients match on them.

use alloy::primitives::Bytes;
use serde::Serialize;

use crate::chain::{BlockError, CallError, LogsError, MineError, RewindError, TxError};

/// The `error` object of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RpcError {
    /// JSON-RPC's codes (-32700 to -32600), geth's -32000 for what the chain refuses, 3 for a revert.
    pub code: i64,
    /// What was wrong.
    pub message: String,
    /// The revert data, for code 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Bytes>,
}

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// The body is not JSON.
    pub(super) fn parse(message: impl std::fmt::Display) -> Self {
        Self::new(-32700, format!("parse error: {message}"))
    }

    /// The body is JSON, but not a request.
    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(-32600, message)
    }

    /// No such method, or one that this server does not offer.
    pub(super) fn method_not_found(method: &str) -> Self {
        Self::new(
            -32601,
            format!("the method {method} does not exist/is not available"),
        )
    }

    /// A parameter is missing, malformed or one too many.
    pub(super) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }

    /// The answer would be larger than the limit.
    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(
            -32003,
            format!("response too large: the limit is {limit} bytes; ask for less"),
        )
    }

    /// The chain refused.
    fn server(message: impl std::fmt::Display) -> Self {
        Self::new(-32000, message.to_string())
    }
}

impl From<TxError> for RpcError {
    fn from(error: TxError) -> Self {
        Self::server(error)
    }
}

impl From<MineError> for RpcError {
    fn from(error: MineError) -> Self {
        Self::server(error)
    }
}

impl From<RewindError> for RpcError {
    fn from(error: RewindError) -> Self {
        Self::server(error)
    }
}

impl From<BlockError> for RpcError {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Unknown => Self::server(error),
            BlockError::Pruned { .. } => Self::new(4444, error.to_string()),
        }
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Reverted(reverted) => Self {
                code: 3,
                message: reverted.to_string(),
                data: Some(reverted.data),
            },
            // Clients know the bare reason; the gas is the limit anyway.
            CallError::Halted { reason, .. } => Self::server(reason),
            CallError::Block(error) => error.into(),
            CallError::Invalid(_) | CallError::GasAllowance { .. } => Self::server(error),
        }
    }
}

impl From<LogsError> for RpcError {
    fn from(error: LogsError) -> Self {
        match error {
            LogsError::Block(error) => error.into(),
            LogsError::Range { .. } => Self::invalid_params(error.to_string()),
            LogsError::TooMany { .. } => Self::new(-32005, error.to_string()),
        }
    }
}
