//! Numbers in their ranges.

use super::Checked;
use crate::{Concurrency, OnLost, Options, TaskSpec, ids};

/// Tasks a DAG may have: a ledger's index is 16 bits, and a run row of this many is still a quick update.
pub const MAX_TASKS: usize = 10_000;
/// More tries are a loop, not a retry.
pub const MAX_RETRIES: u32 = 1_000;
/// `MAX_TASKS` of it, summed up by the weight rule, still fit an i32.
pub const MAX_PRIORITY: i32 = 100_000;
/// Who was let in is remembered as long as it counts.
pub(super) const MAX_RATE: u32 = 100_000;
/// Ten years: added to any date it stays a date.
pub const MAX_DURATION_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

/// False when the DAG is too large to look further.
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
            let message = format!("it limits its runs by `{key}`, which is none of its params");
            dag.about_dag(message, "name a param; dots lead into objects");
        }
    }
    if let Some(message) = duration("run_timeout", spec.run_timeout_ms, Zero::Refused) {
        dag.about_dag(message, "give a time between 1 ms and ten years, or leave it out");
    }
    for task in &spec.tasks {
        for (message, hint) in options(&task.options) {
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

fn options(options: &Options) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    if let Some(retries) = options.retries.filter(|retries| *retries > MAX_RETRIES) {
        found.push((format!("retries is {retries}, more than {MAX_RETRIES}"), "wait with a sensor instead"));
    }
    if let Some(OnLost::Retry(times)) =
        options.on_lost.filter(|lost| matches!(lost, OnLost::Retry(n) if u32::from(*n) > MAX_RETRIES))
    {
        found.push((format!("on_lost tries {times} times again, more than {MAX_RETRIES}"), "a few times are enough"));
    }
    if let Some(factor) = options.retry_backoff.filter(|factor| !factor.is_finite() || *factor < 0.0) {
        found.push((format!("retry_backoff is {factor}"), "give a factor such as 2.0, or 0 for no growth"));
    }
    let durations = [
        ("retry_delay", options.retry_delay_ms, Zero::Allowed),
        ("max_retry_delay", options.max_retry_delay_ms, Zero::Allowed),
        ("timeout", options.timeout_ms, Zero::Refused),
        ("poll_every", options.poll_every_ms, Zero::Refused),
    ];
    for (name, given, zero) in durations {
        found.extend(
            duration(name, given, zero).map(|message| (message, "give a time of at most ten years, or leave it out")),
        );
    }
    for (name, count) in [
        ("pool_slots", options.pool_slots),
        ("max_active", options.max_active),
        ("memory_mb", options.memory_mb),
        ("max_active_over_runs", options.max_active_over_runs),
    ] {
        if count == Some(0) {
            found.push((format!("{name} is 0: it would never run"), "give at least 1"));
        }
    }
    if let Some(priority) = options.priority.filter(|priority| !(-MAX_PRIORITY..=MAX_PRIORITY).contains(priority)) {
        let message = format!("priority is {priority}, outside -{MAX_PRIORITY} to {MAX_PRIORITY}");
        found.push((message, "the order is what counts: choose smaller numbers"));
    }
    for (name, text) in [("pool", &options.pool), ("queue", &options.queue)] {
        if text.as_deref() == Some("") {
            found.push((format!("{name} is an empty name"), "leave it out for the default"));
        }
    }
    found.extend(shared(options));
    found
}

/// Limits that tasks of several DAGs share.
fn shared(options: &Options) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let limits = options.limits.as_deref().unwrap_or_default();
    for (place, limit) in limits.iter().enumerate() {
        let name = &limit.name;
        if ids::check("limit", name, "_.-").is_err() {
            found.push((
                format!("limit `{name}` has a name that cannot be used"),
                "letters, digits, `_`, `.` and `-`, at most 250",
            ));
        }
        if limits[..place].iter().any(|other| other.name == *name && other.per_ms.is_some() == limit.per_ms.is_some()) {
            found.push((format!("limit `{name}` is named twice"), "name it once: it would wait for itself"));
        }
        if limit.most == 0 {
            found.push((format!("limit `{name}` lets nobody in: it would never run"), "give at least 1"));
        }
        if limit.per_ms.is_some() && limit.most > MAX_RATE {
            let message = format!("limit `{name}` lets {} in, more than {MAX_RATE}", limit.most);
            found.push((message, "choose a shorter time with a smaller number"));
        }
        if limit.key.as_deref().is_some_and(|path| path.split('.').any(str::is_empty)) {
            found.push((
                format!("limit `{name}` has an empty key"),
                "name a field of the params, such as `customer` or `order.region`",
            ));
        }
        if let Some(message) = duration(&format!("the time of limit `{name}`"), limit.per_ms, Zero::Refused) {
            found.push((message, "give a time between 1 ms and ten years"));
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq)]
enum Zero {
    Allowed,
    Refused,
}

fn duration(name: &str, given: Option<u64>, zero: Zero) -> Option<String> {
    match given? {
        0 if zero == Zero::Refused => Some(format!("{name} is 0")),
        ms if ms > MAX_DURATION_MS => Some(format!("{name} is more than ten years")),
        _ => None,
    }
}
