//! Which tasks a branch, a short circuit or a condition tells not to run. Airflow's `skip_all_except` and friends.

use crate::plan::{Plan, TaskIdx};
use crate::transition::Skip;
use orch_spec::{Condition, Source, TaskSpec, approval};
use serde_json::Value;
use std::collections::BTreeSet;

/// A branch follows some of the tasks right below it: the others are skipped, unless a followed one leads to them.
pub fn not_followed(plan: &Plan, task: TaskIdx, index: i32, followed: &[TaskIdx]) -> Vec<Skip> {
    let reached: BTreeSet<TaskIdx> =
        followed.iter().flat_map(|&t| below(plan, t)).chain(followed.iter().copied()).collect();
    direct(plan, task).filter(|t| !reached.contains(t)).map(|t| skip(plan, task, index, t)).collect()
}

/// A short circuit that says no skips everything below it, but for teardowns.
pub fn everything_below(plan: &Plan, task: TaskIdx, index: i32) -> Vec<Skip> {
    let below = below(plan, task).into_iter().filter(|&t| !plan.task(t).is_teardown);
    below.map(|t| skip(plan, task, index, t)).collect()
}

/// A short circuit that respects trigger rules skips only what is right below it.
pub fn directly_below(plan: &Plan, task: TaskIdx, index: i32) -> Vec<Skip> {
    direct(plan, task).map(|t| skip(plan, task, index, t)).collect()
}

/// Tasks whose conditions on this task's output are not met.
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

/// Everybody whom this output of a task tells not to run: by a condition, a branch or a short circuit. `Err`: a branch
/// names a task that is not there.
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

/// The tasks of these ids. A branch may name a task of its own group without the group's prefix.
fn named<'a>(plan: &Plan, spec: &TaskSpec, ids: impl IntoIterator<Item = &'a str>) -> Result<Vec<TaskIdx>, String> {
    let find = |id: &str| plan.index_of(id).or_else(|| plan.index_of(&format!("{}.{id}", spec.group_id.as_ref()?)));
    let one =
        |id: &str| find(id).ok_or_else(|| format!("`{}` follows `{id}`, which is no task of this dag", spec.task_id));
    ids.into_iter().map(one).collect()
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
