//! Types of query parameters and their JSON Schemas. A schema accepts exactly what the readers of `extract::Query`
//! accept.

use crate::parts::count;
use orch_wire::timestamp::query_moment_schema;
use serde_json::{Value, json};
use std::borrow::Cow;

#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: QueryParamType,
    pub(crate) about: &'static str,
    pub(crate) required: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum QueryParamType {
    Flag,
    Number,
    /// A positive number of seconds.
    Seconds,
    /// A number of seconds from 0 to this maximum.
    UpTo(u32),
    /// A non-negative integer with a default and a maximum. Larger values are reduced to the maximum.
    Count {
        usual: i64,
        most: i64,
    },
    /// A non-negative integer.
    OptionalCount,
    Index,
    /// A 32-bit integer.
    Small,
    /// A path on this server.
    Address,
    Wholes,
    Moment,
    Text,
    Texts,
    Word(&'static [&'static str]),
    Words(Cow<'static, [&'static str]>),
    /// Names to sort by, each with an optional minus.
    Orders(Cow<'static, [&'static str]>),
    Order(&'static [&'static str]),
    /// A cursor from a response, or empty.
    Cursor,
    Token,
}

pub(crate) fn param(name: impl Into<Cow<'static, str>>, kind: QueryParamType, about: &'static str) -> Param {
    Param { name: name.into(), kind, about, required: false }
}

impl Param {
    /// Returns the parameter with a kind that is narrower than its type.
    pub(crate) fn narrowed(self, kind: QueryParamType) -> Param {
        Param { kind, ..self }
    }

    pub(crate) fn described(&self) -> Value {
        let about = match self.kind {
            QueryParamType::Count { most, .. } if most < i64::MAX => {
                format!("{}; no more than {}", self.about, count(most.unsigned_abs()))
            }
            _ => self.about.into(),
        };
        json!({ "name": self.name, "in": "query", "required": self.required, "description": about,
            "schema": self.kind.schema() })
    }
}

impl QueryParamType {
    /// Returns a description of the accepted values if the text is not one of them. An empty text is accepted, because
    /// forms send empty fields.
    pub(crate) fn unless_right(&self, text: &str) -> Option<String> {
        match self {
            _ if text.is_empty() => None,
            QueryParamType::Words(words) if !words.contains(&text) => Some(words.join(", ")),
            QueryParamType::Index if text.parse::<i64>().is_err() => Some("a whole number".into()),
            _ => None,
        }
    }

    fn schema(&self) -> Value {
        let list = |items: Value| json!({ "type": "array", "items": items });
        match self {
            QueryParamType::Flag => json!({ "type": "boolean" }),
            QueryParamType::Number => json!({ "type": "number" }),
            QueryParamType::Seconds => json!({ "type": "number", "exclusiveMinimum": 0 }),
            QueryParamType::UpTo(most) => json!({ "type": "number", "minimum": 0, "maximum": most }),
            QueryParamType::Count { usual, .. } => {
                json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX, "default": usual })
            }
            QueryParamType::OptionalCount => json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
            QueryParamType::Index => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
            QueryParamType::Small => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
            QueryParamType::Address => json!({ "type": "string", "pattern": ADDRESS }),
            QueryParamType::Wholes => list(json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX })),
            QueryParamType::Moment => query_moment_schema().to_value(),
            QueryParamType::Text => json!({ "type": "string" }),
            QueryParamType::Texts => list(json!({ "type": "string" })),
            QueryParamType::Word(words) => json!({ "type": "string", "enum": words }),
            QueryParamType::Words(words) => list(json!({ "type": "string", "enum": words })),
            QueryParamType::Orders(names) => {
                let mut schema = list(json!({ "type": "string", "enum": both_ways(names) }));
                schema["maxItems"] = json!(10);
                schema
            }
            QueryParamType::Order(names) => json!({ "type": "string", "enum": both_ways(names) }),
            QueryParamType::Cursor => json!({ "type": "string", "enum": [""] }),
            QueryParamType::Token => json!({ "type": "string", "enum": [""] }),
        }
    }
}

/// Pattern of a path on this server.
const ADDRESS: &str = "^(/([A-Za-z0-9_.~%?=&+:-][A-Za-z0-9_.~%?=&+:/-]*)?)?$";

/// Returns each name with and without a leading minus.
pub(crate) fn both_ways(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| [(*name).to_string(), format!("-{name}")]).collect()
}
