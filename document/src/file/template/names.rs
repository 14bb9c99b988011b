//! The values that templates can use in one attempt.

use super::variable;
use serde_json::{Map, Value};

/// Fields of `run.…`.
pub const RUN_FIELDS: [&str; 10] = [
    "dag_id",
    "run_id",
    "run_type",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "run_after",
    "partition_key",
    "version",
    "clear_number",
];

/// Fields of `task.…`.
pub const TASK_FIELDS: [&str; 4] = ["id", "try_number", "max_tries", "attempt"];

#[derive(Debug, Clone, Default)]
pub struct Names {
    pub run: Value,
    pub task: Value,
    pub params: Value,
    pub conf: Value,
    /// Outputs by task id.
    pub upstream: Map<String, Value>,
    pub element: Option<Value>,
    pub map_index: Option<u32>,
    /// The variables that the templates name.
    pub variables: Map<String, Value>,
}

impl Names {
    /// Returns the value at a path. `None` if it does not exist.
    pub(super) fn find(&self, path: &[String]) -> Option<Value> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "run" => at(&self.run, rest),
            "task" => at(&self.task, rest),
            "params" => at(&self.params, rest),
            "conf" => at(&self.conf, rest),
            "element" => at(self.element.as_ref()?, rest),
            "map_index" if rest.is_empty() => Some(Value::from(self.map_index?)),
            "upstream" => {
                let (task, rest) = upstream(rest)?;
                at(self.upstream.get(&task)?, rest)
            }
            "var" => {
                let (name, rest, is_json) = variable(path)?;
                let value = self.variables.get(name)?;
                if !is_json {
                    return Some(value.clone());
                }
                at(&serde_json::from_str(value.as_str()?).ok()?, rest)
            }
            _ => None,
        }
    }
}

/// Splits a path after `upstream` into the task id and the path inside the output. Ids of tasks in groups contain dots.
pub fn upstream(path: &[String]) -> Option<(String, &[String])> {
    let end = path.iter().position(|part| part == "output").filter(|end| *end > 0)?;
    Some((path[..end].join("."), &path[end + 1..]))
}

fn at(value: &Value, path: &[String]) -> Option<Value> {
    let mut value = value;
    for name in path {
        value = match value {
            Value::Object(fields) => fields.get(name)?,
            Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value.clone())
}
