//! Problems of fields in requests, in pydantic's format, because clients that were written for Airflow parse it.

use serde::Serialize;
use serde_json::{Value, json};

/// Maximum length of an echoed input in characters.
const ECHO_CHARS: usize = 500;

/// A problem of one field in a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub loc: Box<[Value]>,
    pub msg: String,
    pub input: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub ctx: Value,
}

impl Problem {
    pub fn new(kind: &'static str, msg: impl Into<String>) -> Problem {
        Problem { kind, loc: Box::default(), msg: msg.into(), input: Value::Null, ctx: Value::Null }
    }

    /// Creates a problem for a violated rule of orch. pydantic would report it as a `ValueError`.
    pub fn value(why: impl Into<String>) -> Problem {
        let why = why.into();
        Problem { ctx: json!({ "error": why }), ..Problem::new("value_error", format!("Value error, {why}")) }
    }

    /// Sets the location of the problem: `query` or `body`, followed by the names and indexes that lead to the field.
    #[must_use]
    pub fn at<T: Into<Value>>(mut self, loc: impl IntoIterator<Item = T>) -> Problem {
        self.loc = loc.into_iter().map(Into::into).collect();
        self
    }

    /// Prepends a field name or list index to the location.
    #[must_use]
    pub fn below(self, place: impl Into<Value>) -> Problem {
        let loc = std::iter::once(place.into()).chain(self.loc.iter().cloned()).collect();
        Problem { loc, ..self }
    }

    #[must_use]
    pub fn with_input(mut self, input: &Value) -> Problem {
        self.input = echo(input);
        self
    }

    #[must_use]
    pub fn with_ctx(mut self, ctx: Value) -> Problem {
        self.ctx = ctx;
        self
    }
}

/// Returns the input for the response, with long strings truncated. Long lists and objects are replaced by null.
fn echo(input: &Value) -> Value {
    match input {
        Value::String(text) if text.chars().count() > ECHO_CHARS => {
            json!(text.chars().take(ECHO_CHARS).chain(['…']).collect::<String>())
        }
        Value::Array(_) | Value::Object(_) if !is_short(input) => Value::Null,
        _ => input.clone(),
    }
}

fn is_short(value: &Value) -> bool {
    fn count(value: &Value, left: &mut usize) -> bool {
        let size = match value {
            Value::String(text) => text.len(),
            Value::Array(list) => return list.iter().all(|v| count(v, left)),
            Value::Object(map) => return map.iter().all(|(k, v)| take(left, k.len()) && count(v, left)),
            _ => 1,
        };
        take(left, size)
    }
    fn take(left: &mut usize, size: usize) -> bool {
        *left = left.saturating_sub(size + 1);
        *left > 0
    }
    count(value, &mut ECHO_CHARS.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_input_is_not_sent_back() {
        let long = json!("x".repeat(2_000));
        let problem = Problem::new("string_type", "no").at(["body", "note"]).with_input(&long);
        assert!(problem.input.as_str().is_some_and(|s| s.chars().count() == ECHO_CHARS + 1));
        assert_eq!(Problem::new("x", "y").with_input(&json!({ "a": long })).input, Value::Null);
        let short = json!({ "a": [1, 2] });
        assert_eq!(Problem::new("x", "y").with_input(&short).input, short);
    }
}
