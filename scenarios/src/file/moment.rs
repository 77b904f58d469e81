//! Times that a scenario file gives, or leaves to the seed.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::Moment;
use crate::units::Span;

/// `"3h"` or `{ from = "1h", to = "3h" }`.
pub(super) struct MomentValue(pub(super) Moment);

impl JsonSchema for MomentValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DurationOrRange".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let span = generator.subschema_for::<Span>();
        json_schema!({
            "description": "a duration, or a range of which the seed draws one",
            "oneOf": [
                span,
                {
                    "type": "object",
                    "properties": { "from": span, "to": span },
                    "required": ["from", "to"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl<'de> Deserialize<'de> for MomentValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MomentValue, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Range {
            from: Span,
            to: Span,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = MomentValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration such as \"3h\", or a range such as { from = \"1h\", to = \"3h\" }",
                )
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<MomentValue, E> {
                let fixed = Span::deserialize(StrDeserializer::new(text))?;
                Ok(MomentValue(Moment::Fixed(fixed.0)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MomentValue, A::Error> {
                let Range { from, to } = Range::deserialize(MapAccessDeserializer::new(map))?;
                if from > to {
                    return Err(A::Error::custom(
                        "the range ends before it begins: `from` must not exceed `to`",
                    ));
                }
                Ok(MomentValue(Moment::Within(from.0, to.0)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A [`MomentValue`], or `"forever"`.
pub(super) struct LastsValue(pub(super) Moment);

impl JsonSchema for LastsValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DurationOrRangeOrForever".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let moment = generator.subschema_for::<MomentValue>();
        json_schema!({ "anyOf": [moment, { "const": "forever" }] })
    }
}

impl<'de> Deserialize<'de> for LastsValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LastsValue, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = LastsValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration such as \"3h\", a range such as { from = \"1h\", to = \"3h\" }, or \"forever\"",
                )
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<LastsValue, E> {
                if text == "forever" {
                    return Ok(LastsValue(Moment::FOREVER));
                }
                let fixed = MomentValue::deserialize(StrDeserializer::new(text))?;
                Ok(LastsValue(fixed.0))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LastsValue, A::Error> {
                let range = MomentValue::deserialize(MapAccessDeserializer::new(map))?;
                Ok(LastsValue(range.0))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
