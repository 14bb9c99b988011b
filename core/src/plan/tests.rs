//! Tests that priorities equal Airflow's: the task's own weight plus the weights of all descendants or ancestors, each
//! counted once.

use super::Plan;
use serde_json::{Value, json};
use std::sync::Arc;

/// Checks the priorities of tasks in order. A task is written as `id after after …`, with additional fields as JSON.
fn check(tasks: &[(&str, Value)], expected: &[i32]) {
    let task = |(words, fields): &(&str, Value)| {
        let mut words = words.split_whitespace();
        let mut task = json!({ "task_id": words.next(), "kind": "rust", "after": words.collect::<Vec<_>>() });
        task.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        task
    };
    let spec = json!({ "dag_id": "d", "tasks": tasks.iter().map(task).collect::<Vec<_>>() });
    let plan = Plan::new(Arc::new(serde_json::from_value(spec).unwrap())).unwrap();
    assert_eq!(plan.tasks.iter().map(|task| task.priority).collect::<Vec<_>>(), expected);
}

fn rule(rule: &str, priority: i32) -> Value {
    json!({ "weight_rule": rule, "priority": priority })
}

#[test]
fn downstream_adds_all_that_follow() {
    check(&[("a", json!({})), ("b a", json!({})), ("c b", json!({}))], &[3, 2, 1]);
    check(
        &[("a", rule("downstream", 10)), ("b a", rule("downstream", 5)), ("c b", rule("downstream", 1))],
        &[16, 6, 1],
    );
}

#[test]
fn upstream_adds_all_that_came_before() {
    check(&[("a", rule("upstream", 1)), ("b a", rule("upstream", 1)), ("c b", rule("upstream", 1))], &[1, 2, 3]);
}

#[test]
fn absolute_is_what_was_said() {
    check(&[("a", rule("absolute", 7)), ("b a", rule("absolute", -2)), ("c b", json!({}))], &[7, -2, 1]);
}

#[test]
fn each_relative_counts_once() {
    let diamond = |r: &str| [("a", rule(r, 1)), ("b a", rule(r, 2)), ("c a", rule(r, 4)), ("d b c", rule(r, 8))];
    check(&diamond("downstream"), &[15, 10, 12, 8]);
    check(&diamond("upstream"), &[1, 3, 5, 15]);
}

#[test]
fn each_task_goes_by_its_own_rule() {
    check(
        &[("a", rule("downstream", 1)), ("b a", rule("absolute", 100)), ("c b", rule("upstream", 1))],
        &[102, 100, 102],
    );
}
