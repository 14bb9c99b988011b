//! Waiting for the result of a Postgres query.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A statement whose first cell must be truthy. Returns the first row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlWait {
    pub connection: String,
    pub statement: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Value>,
}

/// Waits until the first cell of the result is true: not null, false, 0 or empty.
pub fn sql(connection: impl Into<String>, statement: impl Into<String>) -> SqlWait {
    SqlWait { connection: connection.into(), statement: statement.into(), params: Vec::new() }
}

impl SqlWait {
    /// Adds the next parameter: `$1`, `$2`, …
    ///
    /// # Panics
    /// Panics if the value is not JSON.
    #[must_use]
    pub fn param(mut self, value: impl Serialize) -> Self {
        self.params.push(serde_json::to_value(value).expect("a param is JSON"));
        self
    }
}

/// Returns whether Airflow would treat a cell as true.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "0"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_true_as_in_airflow() {
        for no in [json!(null), json!(false), json!(0), json!(0.0), json!(""), json!("0"), json!([]), json!({})] {
            assert!(!is_truthy(&no), "{no}");
        }
        for yes in [json!(true), json!(-1), json!(0.1), json!("no"), json!([0]), json!({ "a": 0 })] {
            assert!(is_truthy(&yes), "{yes}");
        }
    }
}
