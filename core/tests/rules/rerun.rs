//! Tests of clears and marks against Airflow's documented behavior (`clear` and `set_task_instance_state`). Each case
//! has two lines.
//!
//! A running instance that is cleared is stopped before it restarts (`restarting`), so in these tables it is ready
//! again.

use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::select::{Selection, relatives};
use orch_core::transition::{Event, Outcome, Selected};
use orch_spec::state::TaskState;
use serde_json::{Value, json};
use std::sync::Arc;

/// Parses tasks: `a`, `b:a` (`b` runs after `a`), `c:b all_done`, `setup s`, `teardown t:x`.
fn plan(tasks: &str) -> Arc<Plan> {
    let task = |text: &str| {
        let mut words = text.split_whitespace().peekable();
        let role = words.next_if(|word| ["setup", "teardown"].contains(word)).unwrap_or("work");
        let (id, after) = words
            .next()
            .expect("a task")
            .split_once(':')
            .unwrap_or((text.split_whitespace().last().expect("an id"), ""));
        let after: Vec<&str> = after.split('+').filter(|id| !id.is_empty()).collect();
        let mut task = json!({ "task_id": id, "kind": "rust", "role": role, "after": after });
        if let Some(rule) = words.next() {
            task["trigger_rule"] = json!(rule);
        }
        task
    };
    let tasks: Vec<Value> = tasks.split(", ").map(task).collect();
    let spec = json!({ "dag_id": "d", "tasks": tasks });
    Arc::new(Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan"))
}

/// Returns the run after the outcomes `ends` (`a ok, b bad`) are applied in order. Ready tasks count as running.
fn after(plan: &Arc<Plan>, ends: &str) -> Model {
    let mut model = Model::start(plan.clone());
    for end in ends.split(", ").filter(|end| !end.is_empty()) {
        let (id, how) = end.split_once(' ').expect("a task and how it ended");
        let outcome = match how {
            "ok" => Outcome::Success { list_len: None, skip: Vec::new() },
            "skip" => Outcome::Skipped { skip: Vec::new() },
            _ => Outcome::Failed,
        };
        model.finish(plan.index_of(id).expect("a task"), -1, outcome);
    }
    model
}

/// Formats a run as `running: a success, b runs, c none`.
fn said(model: &Model) -> String {
    let word = |task: TaskIdx| match model.run.task(task) {
        TaskState::Queued => "runs".to_string(),
        state => state.to_string(),
    };
    let tasks =
        (0..model.plan.tasks.len() as TaskIdx).map(|task| format!("{} {}", model.plan.task_id(task), word(task)));
    format!("{}: {}", model.run.state, tasks.collect::<Vec<_>>().join(", "))
}

#[derive(Clone, Copy, Default)]
struct With {
    upstream: bool,
    downstream: bool,
    /// Marks only tasks in these states. If empty, marks all finished or running tasks.
    only: &'static [TaskState],
}

const ALONE: With = With { upstream: false, downstream: false, only: &[] };
const DOWN: With = With { downstream: true, ..ALONE };
const UP: With = With { upstream: true, ..ALONE };
const FAILED: &[TaskState] = &[TaskState::Failed, TaskState::UpstreamFailed];
const RUNNING: &[TaskState] = &[TaskState::Queued];

#[track_caller]
fn clear(tasks: &str, ends: &str, (id, with): (&str, With), expected: &str) {
    let plan = plan(tasks);
    let mut model = after(&plan, ends);
    let named = match id {
        "all" => (0..plan.tasks.len() as TaskIdx).collect(),
        id => vec![plan.index_of(id).expect("a task")],
    };
    let named = named.into_iter().map(|task| Selected { task, index: None }).collect();
    let selection = Selection { tasks: named, upstream: with.upstream, downstream: with.downstream };
    let meant = |s: &Selected| {
        let state = model.run.task(s.task);
        (state.is_finished() || state == TaskState::Queued) && (with.only.is_empty() || with.only.contains(&state))
    };
    let (over, runs): (Vec<_>, Vec<_>) =
        selection.resolve(&plan).into_iter().filter(meant).partition(|s| model.run.task(s.task).is_finished());
    model.clear(&over);
    for stopped in runs {
        model.note_stop(stopped.task, -1);
        model.apply(&[Event::Restarted { task: stopped.task, index: -1 }]);
    }
    assert_eq!(said(&model), expected);
}

/// Marks a task like `store::mark`: if it is marked as successful, failed tasks downstream restart.
#[track_caller]
fn mark(tasks: &str, ends: &str, (id, to): (&str, TaskState), expected: &str) {
    let plan = plan(tasks);
    let mut model = after(&plan, ends);
    let task = plan.index_of(id).expect("a task");
    model.mark(task, -1, to);
    if to != TaskState::Failed {
        let failed = |task: &TaskIdx| model.run.task(*task).is_failed();
        let below: Vec<_> = relatives(&plan, &[task], false, true).into_iter().filter(failed).collect();
        let again: Vec<_> = below.into_iter().map(|task| Selected { task, index: None }).collect();
        if !again.is_empty() {
            model.clear(&again);
        }
    }
    assert_eq!(said(&model), expected);
}

const CHAIN: &str = "a, b:a, c:b";

#[test]
fn a_cleared_task_begins_anew_and_its_run_with_it() {
    clear(CHAIN, "a ok, b ok, c ok", ("c", ALONE), "running: a success, b success, c runs");
    clear(CHAIN, "a ok, b bad", ("b", ALONE), "running: a success, b runs, c upstream_failed");
    clear(CHAIN, "a ok, b bad", ("b", DOWN), "running: a success, b runs, c none");
    clear(CHAIN, "a ok, b ok, c ok", ("all", ALONE), "running: a runs, b none, c none");
}

#[test]
fn what_stands_above_or_below_is_cleared_with_it() {
    clear(CHAIN, "a ok, b ok, c ok", ("b", DOWN), "running: a success, b runs, c none");
    clear(CHAIN, "a ok, b ok, c ok", ("b", UP), "running: a runs, b none, c success");
    clear("a, b:a, c:a, d:b+c", "a ok, b ok, c ok, d ok", ("b", DOWN), "running: a success, b runs, c success, d none");
}

#[test]
fn only_what_failed_or_only_what_runs() {
    let failed = With { only: FAILED, ..ALONE };
    clear(CHAIN, "a ok, b bad", ("all", failed), "running: a success, b runs, c none");
    clear("a, b", "a ok", ("all", With { only: RUNNING, ..ALONE }), "running: a success, b runs");
    clear(
        CHAIN,
        "a ok, b ok, c ok",
        ("all", failed),
        "running: a success, b success, c success".replace("running", "success").as_str(),
    );
}

#[test]
fn what_runs_is_stopped_and_begins_anew() {
    clear(CHAIN, "a ok", ("b", ALONE), "running: a success, b runs, c none");
    // The trigger rule of `b` is applied again, because its upstream is no longer finished.
    clear(CHAIN, "a ok", ("b", UP), "running: a runs, b none, c none");
}

#[test]
fn what_was_not_decided_stays_so() {
    clear(CHAIN, "a ok", ("c", ALONE), "running: a success, b runs, c none");
    clear(CHAIN, "", ("all", ALONE), "running: a runs, b none, c none");
}

#[test]
fn skipped_tasks_are_cleared_too() {
    clear(CHAIN, "a skip", ("b", DOWN), "success: a skipped, b skipped, c skipped");
    clear(CHAIN, "a skip", ("a", DOWN), "running: a runs, b none, c none");
}

#[test]
fn a_setup_and_its_teardown_are_cleared_with_their_work() {
    let tasks = "setup s, w:s, teardown t:s+w, z:w";
    clear(tasks, "s ok, w bad, t ok", ("w", ALONE), "running: s runs, w none, t none, z upstream_failed");
    clear(tasks, "s ok, w ok, t ok, z ok", ("z", ALONE), "running: s success, w success, t success, z runs");
}

#[test]
fn a_setup_brings_its_teardown_and_a_teardown_comes_alone() {
    let tasks = "setup s, w:s, teardown t:s+w, z:w";
    let ends = "s ok, w ok, t ok, z ok";
    clear(tasks, ends, ("s", ALONE), "running: s runs, w success, t none, z success");
    clear(tasks, ends, ("t", ALONE), "running: s success, w success, t runs, z success");
    clear(tasks, ends, ("t", UP), "running: s runs, w none, t none, z success");
    clear(tasks, ends, ("w", DOWN), "running: s runs, w none, t none, z none");
}

#[test]
fn upstream_and_downstream_also_select_what_is_downstream_of_the_upstream_tasks() {
    let both = With { upstream: true, downstream: true, only: &[] };
    clear("a, b:a, c:a, d", "a ok, b ok, c ok, d ok", ("b", both), "running: a runs, b none, c none, d success");
}

#[test]
fn a_mark_in_a_finished_run_leaves_the_run_as_it_is() {
    mark("a, b:a, c:a", "a ok, b ok, c bad", ("c", TaskState::Success), "failed: a success, b success, c success");
    mark("a, b:a, c:a", "a ok, b ok, c ok", ("c", TaskState::Failed), "success: a success, b success, c failed");
    mark(CHAIN, "a ok, b ok, c ok", ("a", TaskState::Skipped), "success: a skipped, b success, c success");
}

#[test]
fn marked_as_success_what_failed_below_runs_again() {
    mark(CHAIN, "a ok, b bad", ("b", TaskState::Success), "running: a success, b success, c runs");
    mark(CHAIN, "a bad", ("a", TaskState::Success), "running: a success, b runs, c none");
    mark(CHAIN, "a bad", ("b", TaskState::Success), "running: a failed, b success, c runs");
}

#[test]
fn marked_as_failed_what_follows_fails_with_it_and_what_is_over_stays() {
    mark(CHAIN, "a ok", ("b", TaskState::Failed), "failed: a success, b failed, c upstream_failed");
    mark(CHAIN, "a ok, b ok, c ok", ("b", TaskState::Failed), "success: a success, b failed, c success");
    mark(CHAIN, "a ok, b ok, c ok", ("c", TaskState::Failed), "success: a success, b success, c failed");
}

#[test]
fn marked_as_skipped_what_follows_is_skipped() {
    mark(CHAIN, "a ok", ("b", TaskState::Skipped), "success: a success, b skipped, c skipped");
    mark(CHAIN, "a ok, b bad", ("b", TaskState::Skipped), "success: a success, b skipped, c skipped");
    mark("a, b:a, c:b none_failed", "a ok", ("b", TaskState::Skipped), "running: a success, b skipped, c runs");
}

#[test]
fn a_task_that_has_not_begun_may_be_marked() {
    mark(CHAIN, "", ("b", TaskState::Success), "running: a runs, b success, c runs");
    mark(CHAIN, "", ("c", TaskState::Failed), "running: a runs, b none, c failed");
}
