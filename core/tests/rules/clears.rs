//! Compares clears of finished runs with Airflow: which instances a clear selects, and which then run again.

use crate::oracle::plan_of;
use crate::recorded::{Played, RecordedCase, play_on, table};
use orch_core::model::Model;
use orch_core::plan::TaskIdx;
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::state::TaskState;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Clears {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    first: RecordedCase,
    clear: Wish,
    cleared: Vec<String>,
    /// The same run after the clear, replayed to its end. `None` if nothing was cleared.
    again: Option<Again>,
}

#[derive(Deserialize)]
struct Again {
    outcomes: BTreeMap<String, Value>,
    #[serde(flatten)]
    result: Played,
}

#[derive(Deserialize)]
struct Wish {
    tasks: Vec<Named>,
    upstream: bool,
    downstream: bool,
    only_failed: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Task(String),
    Element(String, i32),
}

/// Clears like `orch_store::clear`: resets only finished instances of the selection, and resets a task as a whole if
/// all its elements are selected and finished.
fn clear(model: &mut Model, wish: &Wish) -> Vec<String> {
    let plan = model.plan.clone();
    let find = |id: &str| plan.index_of(id).expect("a task of the case");
    let tasks = wish.tasks.iter().map(|named| match named {
        Named::Task(id) => Selected { task: find(id), index: None },
        Named::Element(id, index) => Selected { task: find(id), index: Some(*index) },
    });
    let selection =
        Selection { tasks: tasks.collect(), upstream: wish.upstream, downstream: wish.downstream }.resolve(&plan);
    let is_selected = |&(&(task, index), state): &(&(TaskIdx, i32), &TaskState)| {
        selection.iter().any(|s| s.task == task && s.index.is_none_or(|wanted| wanted == index))
            && (!wish.only_failed || state.is_failed())
    };
    let over: Vec<(TaskIdx, i32)> = model.states.iter().filter(is_selected).map(|(at, _)| *at).collect();
    let mut selected = BTreeSet::new();
    for &(task, index) in &over {
        let all = model
            .run
            .len(plan.task(task))
            .is_none_or(|len| over.iter().filter(|o| o.0 == task).count() == len as usize);
        selected.insert(Selected { task, index: Some(index).filter(|&index| !all && index >= 0) });
    }
    if !over.is_empty() {
        model.run.set_changed();
        model.clear(&selected.into_iter().collect::<Vec<_>>());
    }
    over.iter().map(|&(task, index)| format!("{}[{index}]", plan.task_id(task))).collect()
}

#[test]
fn clears_select_and_rerun_what_airflow_selects_and_reruns() {
    let clears: Clears = table("clears.json");
    let mut wrong = Vec::new();
    let (mut of_elements, mut around_setups, mut collapsed) = (0, 0, 0);
    for case in clears.cases {
        let plan = plan_of(&case.first);
        let mut model = Model::start(plan.clone());
        let (first, _) = play_on(&mut model, &case.first, case.first.order.iter().copied());
        let id = &case.first.id;
        if first != case.first.result {
            wrong.push(format!("{id}: the first play differs: {first:?}, airflow's {:?}", case.first.result));
            continue;
        }
        let mut cleared = clear(&mut model, &case.clear);
        cleared.sort_unstable();
        if cleared != case.cleared {
            wrong.push(format!("{id}: ours clears {cleared:?}, airflow's {:?}", case.cleared));
            continue;
        }
        of_elements += usize::from(cleared.iter().any(|name| !name.ends_with("[-1]")));
        around_setups += usize::from(case.first.tasks.iter().any(|task| task.role.is_some()));
        let Some(again) = case.again else { continue };
        let again_case = RecordedCase { outcomes: again.outcomes, result: again.result, ..case.first };
        let (second, _) = play_on(&mut model, &again_case, again_case.order.iter().copied());
        // A cleared mapped task forgets its length (docs/airflow-parity.md).
        let is_collapsed = |name: &String| {
            name.strip_suffix("[-1]").is_some_and(|id| again_case.result.states.contains_key(&format!("{id}[0]")))
        };
        if second.states.keys().any(is_collapsed) {
            collapsed += 1;
        } else if second != again_case.result {
            wrong.push(format!("{}: ours reruns {second:?}, airflow's {:?}", again_case.id, again_case.result));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert_eq!(collapsed, 2, "reruns that are not compared");
    assert!(of_elements >= 100 && around_setups >= 60, "{of_elements} with elements, {around_setups} with setups");
}
