//! Params of a run: the conf that it was started with, and the defaults of the schema.

mod conf;
mod equal;
mod python;
mod rewrite;
mod schema;
mod words;

pub use conf::{BadConf, MAX_CONF_BYTES, check_conf, parse_conf};
pub use rewrite::{embedded, extracted, of_rust_type};
pub use schema::{Violation, violations};
pub use words::{is_rule, unjudged};

use serde_json::{Map, Value};

/// Returns the conf with the schema's defaults, at every depth where the schema names properties.
pub fn with_defaults(schema: &Value, conf: &Value) -> Value {
    fill(schema, conf, true)
}

/// Returns the conf with the defaults of the params themselves. A conf is validated in this form, as in Airflow: a
/// default inside a param does not make a required field optional.
pub(crate) fn with_own_defaults(schema: &Value, conf: &Value) -> Value {
    fill(schema, conf, false)
}

fn fill(schema: &Value, conf: &Value, deep: bool) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return conf.clone() };
    let Value::Object(given) = conf else { return conf.clone() };
    let mut filled: Map<String, Value> = given.clone();
    for (name, property) in properties {
        match filled.get_mut(name) {
            Some(value) if deep => *value = fill(property, value, deep),
            Some(_) => {}
            None => {
                if let Some(default) = property.get("default") {
                    filled.insert(name.clone(), default.clone());
                }
            }
        }
    }
    Value::Object(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_said_comes_from_the_schema() {
        let schema = json!({ "properties": {
            "table": { "type": "string" },
            "limit": { "type": "integer", "default": 10 },
            "to": { "properties": { "path": { "default": "/" } } },
        } });
        let conf = json!({ "table": "orders", "to": {} });
        assert_eq!(with_defaults(&schema, &conf), json!({ "table": "orders", "limit": 10, "to": { "path": "/" } }));
        assert_eq!(with_defaults(&schema, &json!({ "limit": 3 })), json!({ "limit": 3 }));
    }
}
