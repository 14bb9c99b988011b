//! The elements of a value that a task is mapped over: the items of a list, or the pairs `[key, value]` of an object,
//! as in Airflow. The pairs are in the order of the keys.

use serde_json::{Value, json};

/// Returns the number of elements, or `None` if nothing can be mapped over the value.
pub fn element_count(value: &Value) -> Option<usize> {
    match value {
        Value::Array(list) => Some(list.len()),
        Value::Object(fields) => Some(fields.len()),
        _ => None,
    }
}

/// Returns the elements as a list. A value that is neither a list nor an object is returned unchanged.
pub fn as_elements(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(key, value)| json!([key, value])).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_pair_for_each_key() {
        let object = json!({ "us": { "rows": 2 }, "eu": 1 });
        assert_eq!(element_count(&object), Some(2));
        assert_eq!(as_elements(object), json!([["eu", 1], ["us", { "rows": 2 }]]));
        assert_eq!((element_count(&json!({})), as_elements(json!({}))), (Some(0), json!([])));
        assert_eq!((element_count(&json!([1, 2, 3])), as_elements(json!([1]))), (Some(3), json!([1])));
        assert_eq!([json!(null), json!("ab"), json!(5)].map(|value| element_count(&value)), [None; 3]);
    }
}
