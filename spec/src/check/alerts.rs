//! Checks notifiers and deadlines: valid connection ids, templates with known fields, deadlines in range.

use super::{Checked, MAX_DURATION_MS};
use crate::ids::ConnectionId;
use crate::template::{FIELDS, check_template};
use crate::{Callbacks, Notifier};

/// Maximum number of deadlines of a DAG, and of notifiers in one list. Each end of a run or attempt creates one alert
/// per notifier.
const MOST: usize = 16;

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    let of = &spec.callbacks;
    if !of.on_retry.is_empty() || !of.on_skipped.is_empty() {
        dag.about_dag("a run is neither tried again nor skipped", "say on_retry and on_skipped of its tasks");
    }
    if !of.on_awaiting_input.is_empty() {
        dag.about_dag("a run asks no one", "say on_awaiting_input of the task that asks");
    }
    for (message, hint) in of_callbacks(&spec.callbacks) {
        dag.about_dag(message, hint);
    }
    if spec.deadlines.len() > MOST {
        dag.about_dag(format!("it has more than {MOST} deadlines"), "leave some of them out");
    }
    for deadline in &spec.deadlines {
        if !(1..=MAX_DURATION_MS).contains(&deadline.after_ms) {
            let message = format!("a deadline is {} ms after `{}`", deadline.after_ms, deadline.from);
            dag.about_dag(message, "give a time between 1 ms and ten years");
        }
        for (message, hint) in of_list(&deadline.notify) {
            dag.about_dag(message, hint);
        }
    }
    for task in &spec.tasks {
        let of = &task.callbacks;
        if !of.on_stale.is_empty() || !of.on_failed_check.is_empty() {
            let message = "a task is not told of its assets";
            dag.about_task(task, message, "say on_stale and on_failed_check of the dag");
        }
        for (message, hint) in of_callbacks(of) {
            dag.about_task(task, message, hint);
        }
    }
}

fn of_callbacks(of: &Callbacks) -> Vec<(String, String)> {
    of.lists().into_iter().flat_map(of_list).collect()
}

fn of_list(notifiers: &[Notifier]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if notifiers.len() > MOST {
        found.push((format!("it tells more than {MOST} of the same"), "tell one address that many read".into()));
    }
    for notifier in notifiers {
        if let Err(error) = ConnectionId::new(&notifier.connection) {
            let hint = "name the connection that leads there: `notify(\"team_chat\")`";
            found.push((format!("a notifier names no connection: {error}"), hint.into()));
        }
        for template in notifier.subject.iter().chain(&notifier.message) {
            if let Err(problem) = check_template(template) {
                found
                    .push((format!("the words of a notifier: {problem}"), format!("fields are {}", FIELDS.join(", "))));
            }
        }
    }
    found
}
