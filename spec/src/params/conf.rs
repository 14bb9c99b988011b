//! Validates a conf where it enters the system (CLI, API, UI), with the same rules and messages everywhere.

use super::{Violation, violations, with_own_defaults};
use serde_json::Value;
use std::fmt;

/// Maximum size of a conf. Data belongs in a file or table that the conf names.
pub const MAX_CONF_BYTES: usize = 1 << 20;

/// Maximum number of violations in a message. More would add no information.
const MOST_VIOLATIONS: usize = 20;

#[derive(Debug, Clone, PartialEq)]
pub enum BadConf {
    TooLarge {
        bytes: usize,
    },
    NotJson {
        reason: String,
    },
    NotAnObject {
        found: &'static str,
    },
    Nul {
        path: String,
    },
    /// The conf does not fit the params of the DAG.
    Params(Vec<Violation>),
}

impl BadConf {
    pub fn hint(&self) -> String {
        match self {
            BadConf::TooLarge { .. } => "put the data into a file or a table and name that in the conf".into(),
            BadConf::NotJson { reason } if ["surrogate", "hex escape"].iter().any(|word| reason.contains(word)) => {
                "write characters beyond U+FFFF as they are, or as a pair of two `\\u` escapes".into()
            }
            BadConf::NotJson { .. } | BadConf::NotAnObject { .. } => {
                r#"write a JSON object, for example '{"table": "orders"}'"#.into()
            }
            BadConf::Nul { .. } => "remove it: Postgres stores no NUL".into(),
            BadConf::Params(wrong) => match wrong.iter().find_map(|violation| violation.hint.clone()) {
                Some(hint) => hint,
                None => "the params of a dag are shown by `orch dags details`".into(),
            },
        }
    }
}

impl fmt::Display for BadConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadConf::TooLarge { bytes } => {
                write!(f, "the conf has {bytes} bytes, more than the limit of {MAX_CONF_BYTES} (1 MB)")
            }
            BadConf::NotJson { reason } => write!(f, "the conf is not JSON: {reason}"),
            BadConf::NotAnObject { found } => write!(f, "the conf is {found}, not an object"),
            BadConf::Nul { path } => write!(f, "`{path}` of the conf has a NUL character"),
            BadConf::Params(wrong) => {
                f.write_str("the conf does not fit the params of the dag: ")?;
                for (place, violation) in wrong.iter().take(MOST_VIOLATIONS).enumerate() {
                    write!(f, "{}{violation}", if place > 0 { "; " } else { "" })?;
                }
                match wrong.len().saturating_sub(MOST_VIOLATIONS) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

impl std::error::Error for BadConf {}

/// Parses a conf, which must be an object within the size limit and without NUL.
pub fn parse_conf(text: &str) -> Result<Value, BadConf> {
    if text.len() > MAX_CONF_BYTES {
        return Err(BadConf::TooLarge { bytes: text.len() });
    }
    let conf: Value = serde_json::from_str(text).map_err(|error| BadConf::NotJson { reason: error.to_string() })?;
    if !conf.is_object() {
        return Err(BadConf::NotAnObject { found: super::schema::kind(&conf) });
    }
    match path_of_nul(&conf) {
        Some(path) => Err(BadConf::Nul { path }),
        None => Ok(conf),
    }
}

/// Validates a conf against the params of its DAG, with their defaults. Without params, every conf is valid.
pub fn check_conf(schema: Option<&Value>, conf: &Value) -> Result<(), BadConf> {
    let Some(schema) = schema else { return Ok(()) };
    let wrong = violations(schema, &with_own_defaults(schema, conf));
    if wrong.is_empty() { Ok(()) } else { Err(BadConf::Params(wrong)) }
}

fn path_of_nul(value: &Value) -> Option<String> {
    let below = |name: &str, inner: Option<String>| {
        inner.map(|rest| [name, rest.as_str()].join(if rest.is_empty() { "" } else { "." }))
    };
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| below(&index.to_string(), path_of_nul(item)))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            if name.contains('\0') {
                return Some(name.escape_default().to_string());
            }
            below(name, path_of_nul(field))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(text: &str) -> String {
        let bad = parse_conf(text).expect_err("it is refused");
        format!("{bad} / {}", bad.hint())
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_way_out() {
        assert_eq!(parse_conf(r#"{"a": 1}"#), Ok(json!({ "a": 1 })));
        assert_eq!(
            refused("[1]"),
            r#"the conf is a list, not an object / write a JSON object, for example '{"table": "orders"}'"#
        );
        assert!(refused("{table: 1}").starts_with("the conf is not JSON: key must be a string at line 1 column 2 / "));
        assert!(refused("").starts_with("the conf is not JSON: EOF while parsing a value"));
        let large = refused(&format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_CONF_BYTES)));
        assert!(large.starts_with("the conf has 1048585 bytes, more than the limit of 1048576 (1 MB)"), "{large}");
        assert!(refused(&"[".repeat(100_000)).contains("recursion limit"));
    }

    #[test]
    fn characters_that_postgres_does_not_store_are_named_by_their_place() {
        assert_eq!(
            refused(r#"{"a": {"b": ["x", "y\u0000"]}}"#),
            "`a.b.1` of the conf has a NUL character / remove it: Postgres stores no NUL"
        );
        assert!(refused(r#"{"a\u0000": 1}"#).contains("has a NUL character"));
        for lone in [r#"{"a": "\ud800"}"#, r#"{"a": "\udc00x"}"#, r#"{"a": "\ud800\ud800"}"#] {
            assert!(refused(lone).ends_with("as a pair of two `\\u` escapes"), "{}", refused(lone));
        }
        assert!(parse_conf(r#"{"a": "\ud83d\ude00"}"#).is_ok());
    }

    #[test]
    fn a_conf_is_judged_with_the_defaults_of_its_params() {
        let schema = json!({
            "type": "object", "required": ["table", "limit"],
            "properties": { "table": { "type": "string" }, "limit": { "type": "integer", "default": 10 } },
        });
        assert_eq!(check_conf(Some(&schema), &json!({ "table": "orders" })), Ok(()));
        let bad = check_conf(Some(&schema), &json!({ "limit": "many" })).expect_err("both are wrong");
        assert_eq!(
            bad.to_string(),
            "the conf does not fit the params of the dag: `table` is missing; `limit` is a string, not an integer"
        );
        assert_eq!(check_conf(None, &json!({ "anything": true })), Ok(()));
    }
}
