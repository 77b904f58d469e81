//! Positional parameters, taken one by one, with errors that name them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::RpcError;

/// The parameters of one request, in order.
pub(super) struct Params {
    values: std::vec::IntoIter<Value>,
    taken: usize,
}

impl Params {
    /// Accepts an array or nothing; names are no part of Ethereum's interface.
    pub(super) fn new(params: Option<Value>) -> Result<Self, RpcError> {
        let values = match params {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(_) => {
                return Err(RpcError::invalid_params(
                    "params: expected an array of positional parameters",
                ));
            }
        };
        Ok(Self {
            values: values.into_iter(),
            taken: 0,
        })
    }

    /// The next parameter, which must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, RpcError> {
        let index = self.taken;
        self.optional(name)?.ok_or_else(|| {
            RpcError::invalid_params(format!(
                "missing value for required argument {index} ({name})"
            ))
        })
    }

    /// The next parameter, if it is there and not null.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, RpcError> {
        let index = self.taken;
        self.taken += 1;
        match self.values.next() {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|error| {
                RpcError::invalid_params(format!("invalid argument {index} ({name}): {error}"))
            }),
        }
    }

    /// Refuses what was not asked for, so that a misplaced parameter is not silently ignored.
    pub(super) fn end(self) -> Result<(), RpcError> {
        if self.values.len() > 0 {
            let most = self.taken;
            return Err(RpcError::invalid_params(format!(
                "too many arguments, want at most {most}"
            )));
        }
        Ok(())
    }
}
