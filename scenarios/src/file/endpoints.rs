//! Where and when the chain is, as a scenario file writes it: its endpoints, and how old the contracts are.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::Check;
use crate::spot::Spot;
use crate::units::Span;
use crate::{Endpoints, ScenarioError};

/// Most endpoints that every host knows.
const ENDPOINTS_MAX: usize = 7;
/// The longest that contracts can have been deployed before a run.
const AGE_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// `3` or `"each"`.
#[derive(Clone, Copy)]
pub(super) enum EndpointsValue {
    Shared(u64),
    Each,
}

impl JsonSchema for EndpointsValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoints".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "how many endpoints every host knows, or one of its own for each",
            "oneOf": [
                { "type": "integer", "minimum": 1, "maximum": ENDPOINTS_MAX },
                { "const": "each" }
            ]
        })
    }
}

impl<'de> Deserialize<'de> for EndpointsValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EndpointsValue, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = EndpointsValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 1 to {ENDPOINTS_MAX}, or \"each\"")
            }
            fn visit_i64<E: Error>(self, count: i64) -> Result<EndpointsValue, E> {
                let count = u64::try_from(count);
                count
                    .map(EndpointsValue::Shared)
                    .map_err(|_| E::custom(format!("there are 1 to {ENDPOINTS_MAX} endpoints")))
            }
            fn visit_u64<E: Error>(self, count: u64) -> Result<EndpointsValue, E> {
                Ok(EndpointsValue::Shared(count))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<EndpointsValue, E> {
                match text {
                    "each" => Ok(EndpointsValue::Each),
                    _ => Err(E::custom(
                        "write a number of endpoints, or \"each\" for one of its own for each host",
                    )),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Check<'_> {
    pub(super) fn endpoints(
        &self,
        value: &Option<Spot<EndpointsValue>>,
    ) -> Result<Endpoints, ScenarioError> {
        let Some(spot) = value else {
            return Ok(Endpoints::Shared(1));
        };
        match *spot.as_ref() {
            EndpointsValue::Each => Ok(Endpoints::Each),
            EndpointsValue::Shared(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                if !(1..=ENDPOINTS_MAX).contains(&count) {
                    let message = format!("there are 1 to {ENDPOINTS_MAX} endpoints");
                    return self.refuse(spot.span(), message);
                }
                Ok(Endpoints::Shared(count))
            }
        }
    }

    pub(super) fn starts_at(&self, value: &Option<Spot<Span>>) -> Result<Duration, ScenarioError> {
        match value {
            None => Ok(Duration::ZERO),
            Some(span) if span.as_ref().0.subsec_nanos() != 0 => {
                self.refuse(span.span(), "the chain counts in whole seconds")
            }
            Some(span) if span.as_ref().0 > AGE_MAX => self.refuse(
                span.span(),
                "the run starts within 36500d of the deployment",
            ),
            Some(span) => Ok(span.as_ref().0),
        }
    }
}
