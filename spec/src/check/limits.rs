//! Checks that numbers are in range.

use super::Checked;
use crate::form::duration;
use crate::{Concurrency, TaskSpec};

/// Maximum number of tasks of a DAG. Indexes in a ledger have 16 bits, and updating a run row of this size is still
/// fast.
pub const MAX_TASKS: usize = 10_000;
/// Maximum number of retries. More would be a loop, not a retry.
pub const MAX_RETRIES: u32 = 1_000;
/// Maximum priority. The sum of `MAX_TASKS` priorities by the weight rule still fits into an `i32`.
pub const MAX_PRIORITY: i32 = 100_000;
/// Maximum of a rate limit. Each admission is stored as long as it counts.
pub(crate) const MAX_RATE: u32 = 100_000;
/// Ten years. Any date plus this duration is still a valid date.
pub const MAX_DURATION_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

/// Returns false if the DAG is too large for further checks.
pub(super) fn size(dag: &mut Checked<'_>) -> bool {
    let (tasks, groups) = (dag.spec.tasks.len(), dag.spec.groups.len());
    let too_large = tasks.max(groups) > MAX_TASKS;
    if too_large {
        let message = format!("it has {tasks} tasks and {groups} groups, more than {MAX_TASKS}");
        dag.about_dag(message, "map one task over a list (`d.map`), which has no such limit, or split the dag");
    }
    !too_large
}

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    let counts = [("max_active_runs", spec.max_active_runs), ("max_active_tasks", spec.max_active_tasks)];
    for (name, count) in counts {
        if count == Some(0) {
            dag.about_dag(format!("{name} is 0: nothing would ever run"), "pause the dag instead, or give at least 1");
        }
    }
    for Concurrency { key, most } in &spec.concurrency {
        if *most == 0 {
            let message = format!("at most 0 runs for each `{key}`: nothing would ever run");
            dag.about_dag(message, "give at least 1");
        }
        let known = spec.params_schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
        let first = key.split('.').next().unwrap_or_default();
        if first.is_empty() || known.is_some_and(|known| !known.contains_key(first)) {
            let message = format!("it limits its runs by `{key}`, which is not one of its params");
            dag.about_dag(message, "name a param; dots lead into objects");
        }
    }
    if let Some(message) = spec.run_timeout_ms.and_then(|ms| duration("run_timeout", ms)) {
        dag.about_dag(message, "give a time between 1 ms and ten years, or leave it out");
    }
    for task in &spec.tasks {
        for (message, hint) in task.options.problems() {
            dag.about_task(task, message, hint);
        }
        sensor(dag, task);
    }
}

fn sensor(dag: &mut Checked<'_>, task: &TaskSpec) {
    if let (Some(pause), Some(limit)) = (task.options.poll_every_ms, task.options.timeout_ms)
        && task.kind == "sensor"
        && pause > limit
    {
        let message = format!("it looks every {pause} ms but ends after {limit} ms: it would look once");
        dag.about_task(task, message, "give a longer timeout, or look more often");
    }
}
