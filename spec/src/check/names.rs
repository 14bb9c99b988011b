//! Checks ids (valid characters, unique, existing groups) and text that Postgres would reject.

use super::Checked;
use crate::names::closest;
use crate::text::{MOST_DEPTH, is_too_deep};
use crate::{GroupSpec, Location, TaskSpec, ids};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    let rename = "rename it: letters, digits, `_`, `.` and `-`, at most 250";
    if let Err(error) = ids::check("dag id", &spec.dag_id, "_.-") {
        dag.about_dag(error.to_string(), rename);
    }
    for (place, alias) in spec.aliases.iter().enumerate() {
        if let Err(error) = ids::check("alias", alias, "_.-") {
            dag.about_dag(error.to_string(), rename);
        }
        if *alias == spec.dag_id || spec.aliases[..place].contains(alias) {
            dag.about_dag(format!("alias `{alias}` names the dag a second time"), "leave it out");
        }
    }
    let mut groups: HashMap<&str, &GroupSpec> = HashMap::new();
    for group in &spec.groups {
        if let Err(error) = ids::check("group id", &group.group_id, "_.-") {
            dag.about_group(group, error.to_string(), rename);
        }
        if let Some(first) = groups.get(group.group_id.as_str()) {
            let message = format!("group `{}` exists already{}", group.group_id, at(&first.location));
            dag.about_group(group, message, "give it another name");
        }
        groups.entry(&group.group_id).or_insert(group);
    }
    for (place, task) in spec.tasks.iter().enumerate() {
        task_names(dag, place, task, &groups, rename);
    }
    if let Some((message, hint)) = unstorable(spec, Some("tasks")) {
        dag.about_dag(message, hint);
    }
}

fn task_names(dag: &mut Checked<'_>, place: usize, task: &TaskSpec, groups: &HashMap<&str, &GroupSpec>, rename: &str) {
    if let Err(error) = ids::check("task id", &task.task_id, "_.-") {
        dag.about_task(task, error.to_string(), rename);
    }
    let first = dag.index[task.task_id.as_str()];
    if first != place {
        let message = format!("task id is used already{}", at(&dag.spec.tasks[first].added));
        dag.about_task(task, message, "name this one with `.id(\"…\")`");
    }
    if let Some(group) = groups.get(task.task_id.as_str()) {
        let message = format!("it has the name of a group{}", at(&group.location));
        dag.about_task(task, message, "name one of the two differently");
    }
    if let Some(group_id) = task.group_id.as_deref().filter(|id| !groups.contains_key(id)) {
        let hint = closest(group_id, groups.keys().copied())
            .map_or_else(|| "declare the group".into(), |near| format!("did you mean `{near}`?"));
        dag.about_task(task, format!("it is in group `{group_id}`, which does not exist"), hint);
    }
    if task.kind.is_empty() {
        dag.about_task(task, "it has no kind", "say who runs it, for example `kind: shell`");
    }
    if let Some((message, hint)) = unstorable(task, None) {
        dag.about_task(task, message, hint);
    }
}

/// Returns the first field that Postgres rejects or that is nested too deeply to be read again, with a hint.
fn unstorable(of: &impl Serialize, but: Option<&str>) -> Option<(String, &'static str)> {
    let Ok(Value::Object(fields)) = serde_json::to_value(of) else { return None };
    fields.iter().filter(|(name, _)| Some(name.as_str()) != but).find_map(|(name, value)| {
        if is_too_deep(value) {
            let message = format!("`{name}` is nested more than {MOST_DEPTH} deep");
            return Some((message, "put it into a file or a table and name that"));
        }
        has_nul(value).then(|| (format!("`{name}` has a NUL character"), "remove it: Postgres stores no NUL"))
    })
}

/// Returns ` at file:line`, or an empty text if the location is unknown.
pub fn at(location: &Location) -> String {
    if location.file.is_empty() { String::new() } else { format!(" at {location}") }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
