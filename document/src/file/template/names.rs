//! What templates can name, as one try knows it.

use super::variable;
use serde_json::{Map, Value};

/// `run.…`
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

/// `task.…`
pub const TASK_FIELDS: [&str; 4] = ["id", "try_number", "max_tries", "attempt"];

/// The values of one try.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub run: Value,
    pub task: Value,
    pub params: Value,
    pub conf: Value,
    /// By task id.
    pub upstream: Map<String, Value>,
    pub element: Option<Value>,
    pub map_index: Option<u32>,
    /// Those that the templates name.
    pub variables: Map<String, Value>,
}

impl Names {
    /// `None`: it is not there.
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

/// The task id and what of its output is asked for: ids of tasks in groups have dots.
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
