//! Determines the tasks that a branch, a short circuit or a condition skips, like Airflow's `skip_all_except`.

use crate::plan::{Plan, TaskIdx};
use crate::transition::Skip;
use orch_spec::{Condition, Source, TaskSpec, approval};
use serde_json::Value;
use std::collections::BTreeSet;

/// Returns the tasks directly downstream of a branch that the branch does not follow. Tasks that are also downstream of
/// a followed task are not skipped.
pub fn not_followed(plan: &Plan, task: TaskIdx, index: i32, followed: &[TaskIdx]) -> Vec<Skip> {
    let reached: BTreeSet<TaskIdx> =
        followed.iter().flat_map(|&t| below(plan, t)).chain(followed.iter().copied()).collect();
    direct(plan, task).filter(|t| !reached.contains(t)).map(|t| skip(plan, task, index, t)).collect()
}

/// Returns the tasks to skip when a short circuit stops: all downstream tasks, except teardowns.
pub fn everything_below(plan: &Plan, task: TaskIdx, index: i32) -> Vec<Skip> {
    let below = below(plan, task).into_iter().filter(|&t| !plan.task(t).is_teardown);
    below.map(|t| skip(plan, task, index, t)).collect()
}

/// Returns the tasks to skip when a short circuit stops but respects trigger rules: only the tasks directly downstream.
pub fn directly_below(plan: &Plan, task: TaskIdx, index: i32) -> Vec<Skip> {
    direct(plan, task).map(|t| skip(plan, task, index, t)).collect()
}

/// Returns the tasks that have a condition on this task's output which the output does not meet.
pub fn unmet(plan: &Plan, task: TaskIdx, index: i32, output: &Value) -> Vec<Skip> {
    let asked = plan.task_id(task);
    let holds = |c: &Condition| match &c.source {
        Source::Output(id) if id == asked => c.equals.contains(output),
        _ => true,
    };
    let asking = plan.task(task).asked_by.iter().copied();
    asking
        .filter(|&t| !plan.spec.tasks[usize::from(t)].when.iter().all(holds))
        .map(|t| skip(plan, task, index, t))
        .collect()
}

/// Returns the tasks that this output of a task skips, because of a condition, a branch or a short circuit. Fails if a
/// branch names neither a task nor a task group.
pub fn skips(plan: &Plan, task: TaskIdx, index: i32, output: &Value) -> Result<Vec<Skip>, String> {
    let spec = &plan.spec.tasks[usize::from(task)];
    let mut skips = unmet(plan, task, index, output);
    match (spec.kind.as_str(), output) {
        ("branch", output) => {
            let ids = match output {
                Value::String(id) => vec![id.as_str()],
                Value::Array(ids) => ids.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            skips.extend(not_followed(plan, task, index, &named(plan, spec, ids)?));
        }
        ("input", output) => {
            if let Some(ids) = approval::followed(&spec.config, output) {
                skips.extend(not_followed(plan, task, index, &named(plan, spec, ids.iter().map(String::as_str))?));
            }
        }
        ("approval", output) if approval::is_rejected(output) => {
            let all = spec.config["ignore_downstream_trigger_rules"] == true;
            skips.extend(if all { everything_below(plan, task, index) } else { directly_below(plan, task, index) });
        }
        ("short_circuit", Value::Bool(false)) if spec.config["respect_trigger_rules"] == true => {
            skips.extend(directly_below(plan, task, index));
        }
        ("short_circuit", Value::Bool(false)) => skips.extend(everything_below(plan, task, index)),
        _ => {}
    }
    Ok(skips)
}

/// Returns the tasks with these ids. The id of a task group stands for the first tasks of the group. A branch inside a
/// group may omit the group's prefix.
fn named<'a>(plan: &Plan, spec: &TaskSpec, ids: impl IntoIterator<Item = &'a str>) -> Result<Vec<TaskIdx>, String> {
    let mut found = Vec::new();
    for id in ids {
        let prefixed = spec.group_id.as_ref().map(|group| format!("{group}.{id}"));
        let tasks = std::iter::once(id).chain(prefixed.as_deref()).find_map(|id| match plan.index_of(id) {
            Some(task) => Some(vec![task]),
            None => roots(plan, id),
        });
        let missing = || {
            let branch = &spec.task_id;
            format!("the branch `{branch}` returned `{id}`, which is neither a task nor a task group of this DAG")
        };
        found.extend(tasks.ok_or_else(missing)?);
    }
    Ok(found)
}

/// Returns the tasks of a group, nested groups included, that have no upstream in the group. `None` if the group does
/// not exist.
fn roots(plan: &Plan, group: &str) -> Option<Vec<TaskIdx>> {
    plan.spec.groups.iter().find(|g| g.group_id == group)?;
    let is_in = |task: TaskIdx| {
        let of = plan.spec.tasks[usize::from(task)].group_id.as_deref();
        of.and_then(|of| of.strip_prefix(group)).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let is_root = |task: &TaskIdx| is_in(*task) && !plan.task(*task).up.iter().any(|edge| is_in(edge.task));
    Some((0..plan.tasks.len() as TaskIdx).filter(is_root).collect())
}

fn direct(plan: &Plan, task: TaskIdx) -> impl Iterator<Item = TaskIdx> + '_ {
    let named = move |t: &TaskIdx| plan.task(*t).up.iter().any(|e| e.task == task);
    let below: BTreeSet<TaskIdx> = plan.task(task).down.iter().map(|e| e.task).filter(named).collect();
    below.into_iter().filter(|&t| !plan.task(t).is_teardown)
}

fn below(plan: &Plan, task: TaskIdx) -> BTreeSet<TaskIdx> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![task]);
    while let Some(t) = todo.pop() {
        for edge in &plan.task(t).down {
            if plan.task(edge.task).up.iter().any(|e| e.task == t) && seen.insert(edge.task) {
                todo.push(edge.task);
            }
        }
    }
    seen
}

fn skip(plan: &Plan, from: TaskIdx, index: i32, task: TaskIdx) -> Skip {
    let domain = |t: TaskIdx| plan.task(t).map.map(|m| m.domain);
    let same = index >= 0 && domain(from).is_some() && domain(from) == domain(task);
    Skip { task, index: same.then_some(index) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    /// Plan in which `choose` is followed by the groups `one` (with a nested group) and `two` and by `other`, and
    /// `g.pick` by `g.h.a` and `g.b`.
    fn plan() -> Plan {
        let task = |id: &str, group: Option<&str>, after: &[&str]| {
            let kind = if id == "choose" || id == "g.pick" { "branch" } else { "rust" };
            json!({ "task_id": id, "kind": kind, "group_id": group, "after": after })
        };
        let groups = ["one", "one.inner", "two", "g", "g.h"].map(|id| json!({ "group_id": id }));
        let spec = json!({ "dag_id": "d", "groups": groups, "tasks": [
            task("choose", None, &[]),
            task("one.a", Some("one"), &["choose"]),
            task("one.inner.b", Some("one.inner"), &["choose"]),
            task("one.c", Some("one"), &["one.a", "one.inner.b"]),
            task("two.d", Some("two"), &["choose"]),
            task("other", None, &["choose"]),
            task("g.pick", Some("g"), &[]),
            task("g.h.a", Some("g.h"), &["g.pick"]),
            task("g.b", Some("g"), &["g.pick"]),
        ] });
        Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan")
    }

    fn skipped(branch: &str, output: &Value) -> Result<Vec<String>, String> {
        let plan = plan();
        let skips = skips(&plan, plan.index_of(branch).expect("a task"), -1, output)?;
        Ok(skips.into_iter().map(|skip| plan.task_id(skip.task).to_string()).collect())
    }

    #[test]
    fn a_branch_that_returns_a_task_group_follows_the_first_tasks_of_the_group() {
        assert_eq!(skipped("choose", &json!("one")).unwrap(), ["two.d", "other"]);
        assert_eq!(skipped("choose", &json!("one.inner")).unwrap(), ["one.a", "two.d", "other"]);
        assert_eq!(skipped("choose", &json!(["two", "one.a"])).unwrap(), ["one.inner.b", "other"]);
        assert_eq!(skipped("g.pick", &json!("h")).unwrap(), ["g.b"]);
        assert_eq!(
            skipped("choose", &json!("three")).unwrap_err(),
            "the branch `choose` returned `three`, which is neither a task nor a task group of this DAG"
        );
    }
}
