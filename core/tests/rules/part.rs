//! Tests of partial runs (runs of only some tasks of a DAG). Each case has two lines.

use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::select::part;
use orch_core::transition::Outcome;
use orch_spec::state::TaskState;
use serde_json::{Value, json};
use std::sync::Arc;

fn plan(tasks: &[Value]) -> Arc<Plan> {
    let spec = json!({ "dag_id": "d", "tasks": tasks });
    Arc::new(Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan"))
}

fn task(id: &str, after: &[&str]) -> Value {
    json!({ "task_id": id, "kind": "rust", "after": after })
}

fn with(id: &str, after: &[&str], extra: &Value) -> Value {
    let mut task = task(id, after);
    let fields = task.as_object_mut().expect("an object");
    fields.extend(extra.as_object().expect("an object").clone());
    Value::Object(fields.clone())
}

/// Returns a plan of the chain `a -> b -> c` and a task `side` without edges.
fn chain() -> Arc<Plan> {
    plan(&[task("a", &[]), task("b", &["a"]), task("c", &["b"]), task("side", &[])])
}

#[derive(Clone, Copy)]
enum Upstream {
    Too,
    Not,
}

/// Runs the chosen tasks until the run ends; all succeed except `fails`. Returns the state of the run and of the tasks
/// that are not removed.
fn said(plan: &Arc<Plan>, chosen: &[&str], upstream: Upstream, fails: &[&str]) -> String {
    let named: Vec<TaskIdx> = chosen.iter().map(|id| plan.index_of(id).expect("a task")).collect();
    let mut model = Model::start_some(plan.clone(), &part(plan, &named, matches!(upstream, Upstream::Too)));
    while let Some(&(task, index)) = model.ready.iter().next() {
        let success =
            || Outcome::Success { list_len: plan.list_slots.contains_key(&task).then_some(2), skip: Vec::new() };
        let outcome = if fails.contains(&plan.task_id(task)) { Outcome::Failed } else { success() };
        model.finish(task, index, outcome);
    }
    let states = (0..plan.tasks.len() as TaskIdx).map(|t| (plan.task_id(t), model.run.task(t)));
    let states = states.filter(|(_, state)| *state != TaskState::Removed).map(|(id, state)| format!("{id} {state}"));
    format!("{}: {}", model.run.state, states.collect::<Vec<_>>().join(", "))
}

#[track_caller]
fn check(plan: &Arc<Plan>, chosen: &[&str], upstream: Upstream, fails: &[&str], expected: &str) {
    assert_eq!(said(plan, chosen, upstream, fails), expected);
}

#[test]
fn only_what_is_chosen_runs() {
    check(&chain(), &["b"], Upstream::Not, &[], "success: b success");
    check(&chain(), &["b"], Upstream::Too, &[], "success: a success, b success");
    check(&chain(), &["a", "c"], Upstream::Not, &[], "success: a success, c success");
    check(&chain(), &["side", "c"], Upstream::Too, &[], "success: a success, b success, c success, side success");
}

#[test]
fn what_ends_the_part_ends_the_run() {
    check(&chain(), &["b"], Upstream::Not, &["b"], "failed: b failed");
    check(&chain(), &["b"], Upstream::Too, &["a"], "failed: a failed, b upstream_failed");
    let forked = plan(&[task("a", &[]), task("b", &["a"]), with("c", &["a"], &json!({ "trigger_rule": "all_done" }))]);
    check(&forked, &["a"], Upstream::Not, &["a"], "failed: a failed");
    check(&forked, &["c"], Upstream::Too, &["a"], "success: a failed, c success");
}

#[test]
fn a_setup_and_its_teardown_come_with_their_work() {
    let (up, down) = (json!({ "role": "setup" }), json!({ "role": "teardown" }));
    let plan = plan(&[
        with("up", &[], &up),
        task("work", &["up"]),
        with("down", &["up", "work"], &down),
        task("z", &["work"]),
    ]);
    check(&plan, &["work"], Upstream::Not, &[], "success: up success, work success, down success");
    check(&plan, &["work"], Upstream::Not, &["work"], "failed: up success, work failed, down success");
    check(&plan, &["up"], Upstream::Not, &[], "success: up success, down success");
    check(&plan, &["down"], Upstream::Not, &[], "success: up success, down success");
}

#[test]
fn elements_without_their_list_have_nothing_to_run_for() {
    let each = with("each", &[], &json!({ "map": { "each": { "output": "list" } } }));
    let plan = plan(&[task("list", &[]), each, task("end", &["each"])]);
    check(&plan, &["each"], Upstream::Not, &[], "failed: each upstream_failed");
    check(&plan, &["each"], Upstream::Too, &[], "success: list success, each success");
    check(&plan, &["end"], Upstream::Not, &[], "success: end success");
    check(&plan, &["each"], Upstream::Too, &["each"], "failed: list success, each failed");
}

#[test]
fn a_part_that_is_changed_goes_on_as_a_part() {
    let plan = chain();
    let mut model = Model::start_some(plan.clone(), &part(&plan, &[1], false));
    model.finish(1, -1, Outcome::Failed);
    model.clear(&[orch_core::transition::Selected { task: 1, index: None }]);
    model.finish(1, -1, Outcome::Success { list_len: None, skip: Vec::new() });
    assert_eq!(model.run.state, orch_spec::state::RunState::Success);
    assert_eq!([0, 2, 3].map(|task| model.run.task(task)), [TaskState::Removed; 3]);
}
