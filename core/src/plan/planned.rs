//! Asserts that every DAG that passes validation can be planned.

use crate::plan::Plan;
use orch_spec::DagSpec;
use orch_spec::check::problems;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::Arc;

/// Generates small random DAGs, most of them invalid.
#[test]
fn a_dag_without_problems_can_be_planned() {
    // The kind of the source, and the index of the upstream task.
    let source = || (0..6u8, 0..6usize);
    let task = (source(), proptest::option::weighted(0.3, source()), proptest::bool::weighted(0.4));
    let dags = (proptest::collection::vec(task, 1..5), proptest::option::of(source()));
    let (planned, refused) = (Cell::new(0), Cell::new(0));
    proptest!(|((tasks, group) in dags)| {
        let id = |place: usize| if tasks[place].2 { format!("g.t{place}") } else { format!("t{place}") };
        let of = |(kind, up): (u8, usize), place: usize| match kind {
            _ if place == 0 => json!({ "value": [1, 2] }),
            0 | 1 => json!({ "output": id(up % place) }),
            2 => json!({ "outputs": id(up % place) }),
            3 => json!({ "collected": id(up % place) }),
            4 => json!({ "element": { "group": (up > 2).then_some("g"), "part": null } }),
            _ => json!({ "value": [1, 2] }),
        };
        let map = |source: Option<(u8, usize)>, place| source.map(|source| json!({ "each": of(source, place) }));
        let first = tasks.iter().position(|task| task.2).unwrap_or(0);
        let group_map = map(group, first);
        let tasks: Vec<Value> = tasks.iter().enumerate().map(|(place, (source, over, grouped))| json!({
            "task_id": id(place),
            "group_id": grouped.then_some("g"),
            "kind": "rust",
            "inputs": [{ "name": "x", "source": of(*source, place) }],
            "map": map(*over, place),
        })).collect();
        let groups = json!([{ "group_id": "g", "map": group_map }]);
        let spec = json!({ "dag_id": "d", "tasks": tasks, "groups": groups });
        let spec: DagSpec = serde_json::from_value(spec).expect("a spec");
        if problems(&spec).is_empty() {
            planned.set(planned.get() + 1);
            let plan = Plan::new(Arc::new(spec));
            prop_assert!(plan.is_ok(), "{:?}", plan.err());
        } else {
            refused.set(refused.get() + 1);
        }
    });
    assert!(planned.get() > 5 && refused.get() > 5, "{planned:?} planned, {refused:?} refused: this tested nothing");
}
