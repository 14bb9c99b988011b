//! Moves a run to another version of its DAG: finished tasks stay finished, and unfinished tasks continue with the new
//! structure. Tasks of both versions are matched by id.

use super::{Effects, Fold};
use crate::plan::{Plan, TaskIdx};
use crate::run::{Elements, Missing, RUN_FLIGHT, RUN_OPEN, RUN_WINDOW, Run, TASK_COUNTERS};
use orch_spec::state::TaskState;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotMove {
    #[error("task `{task}` is not finished and not in the other version")]
    Gone { task: String },
    #[error("task `{task}` is not finished and of another kind in the other version")]
    Kind { task: String },
    #[error("task `{task}` is not finished and mapped over something else in the other version")]
    Map { task: String },
}

/// Checks that every unfinished task exists in the version `to`, with the same kind and the same map.
pub fn can_move(from: &Plan, to: &Plan, run: &Run) -> Result<(), CannotMove> {
    for (place, spec) in from.spec.tasks.iter().enumerate() {
        if run.task(place as TaskIdx).is_finished() {
            continue;
        }
        let task = spec.task_id.clone();
        let Some(other) = to.spec.task(&task) else { return Err(CannotMove::Gone { task }) };
        if other.kind != spec.kind {
            return Err(CannotMove::Kind { task });
        }
        if from.spec.map_of(spec) != to.spec.map_of(other) {
            return Err(CannotMove::Map { task });
        }
    }
    Ok(())
}

/// Returns, for each task of `from`, its index in `to`. `None` if `to` has no task with this id.
pub fn places(from: &Plan, to: &Plan) -> Vec<Option<TaskIdx>> {
    from.spec.tasks.iter().map(|task| to.index_of(&task.task_id)).collect()
}

/// Moves a run to another version of its DAG, for which `can_move` must succeed. The trigger rules of new tasks are
/// applied.
pub fn move_run(from: &Plan, to: &Plan, run: &Run, elements: &Elements) -> Result<(Run, Effects), Missing> {
    let mut moved = Run::new(to);
    moved.state = run.state;
    for counter in [RUN_WINDOW, RUN_FLIGHT] {
        moved.counters[counter] = run.counters[counter];
    }
    for (old, new) in places(from, to).into_iter().enumerate() {
        let (old, Some(new)) = (old as TaskIdx, new) else { continue };
        moved.ledger[usize::from(new)] = run.ledger[usize::from(old)];
        if let (Some(a), Some(b)) = (from.task(old).map, to.task(new).map) {
            let counters = &run.counters[a.slot..a.slot + TASK_COUNTERS];
            moved.counters[b.slot..b.slot + TASK_COUNTERS].copy_from_slice(counters);
        }
        if let (Some(&a), Some(&b)) = (from.list_slots.get(&old), to.list_slots.get(&new)) {
            moved.counters[b] = run.counters[a];
        }
    }
    moved.set_changed(); // its decisions were made by other rules
    let open = (0..moved.ledger.len()).filter(|&t| !moved.task(t as TaskIdx).is_finished());
    moved.counters[RUN_OPEN] = open.count() as i32;
    if run.state.is_finished() {
        return Ok((moved, Effects::default()));
    }
    let mut fold = Fold::new(to, &moved, elements);
    for task in 0..moved.ledger.len() as TaskIdx {
        if moved.task(task) == TaskState::None {
            fold.concern(task, None);
        }
    }
    fold.settle()?;
    Ok(fold.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::transition::Outcome;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn plan(tasks: &Value) -> Arc<Plan> {
        let spec = serde_json::from_value(json!({ "dag_id": "d", "tasks": tasks })).expect("a spec");
        Arc::new(Plan::new(Arc::new(spec)).expect("a plan"))
    }

    fn task(id: &str, after: &[&str]) -> Value {
        json!({ "task_id": id, "kind": "rust", "after": after })
    }

    fn done() -> Outcome {
        Outcome::Success { list_len: None, skip: Vec::new() }
    }

    #[test]
    fn what_is_done_stays_done_and_new_tasks_find_their_place() {
        let old = plan(&json!([task("a", &[]), task("gone", &[]), task("b", &["a"]), task("c", &["b"])]));
        let new = plan(&json!([task("new", &[]), task("a", &[]), task("b", &["a", "new"]), task("c", &["b"])]));
        let mut model = Model::start(old.clone());
        model.finish(1, -1, done());
        assert_eq!(can_move(&old, &new, &model.run), Ok(()));
        let (moved, effects) = move_run(&old, &new, &model.run, &Elements::default()).expect("nothing is missing");
        // `a` is still in flight, and `new` starts.
        assert_eq!(effects.ready, [(0, -1)]);
        assert_eq!(moved.in_flight(), 2);
        let states: Vec<_> = (0..4).map(|t| moved.task(t)).collect();
        assert_eq!(states, [TaskState::Queued, TaskState::Queued, TaskState::None, TaskState::None]);
    }

    #[test]
    fn elements_keep_their_counts() {
        let each = json!({ "task_id": "each", "kind": "rust", "map": { "each": { "value": [1, 2, 3] } } });
        let old = plan(&json!([task("a", &[]), each]));
        let new = plan(&json!([each, task("a", &[]), task("end", &["each"])]));
        let mut model = Model::start(old.clone());
        model.finish(1, 2, done());
        let (moved, effects) = move_run(&old, &new, &model.run, &Elements::default()).expect("nothing is missing");
        assert_eq!(effects, Effects::default());
        assert_eq!(moved.element_counts(new.task(0)), model.run.element_counts(old.task(1)));
        let finished = [(0, 0), (0, 1), (1, -1)].map(|(task, index)| crate::transition::Event::Finished {
            task,
            index,
            outcome: done(),
        });
        let (end, effects) =
            crate::transition::fold(&new, &moved, &finished, &Elements::default()).expect("nothing is missing");
        assert_eq!(effects.ready, [(2, -1)]);
        assert_eq!(end.task(0), TaskState::Success);
    }

    #[test]
    fn elements_that_run_are_not_begun_anew_when_they_wait_for_more_by_now() {
        let spec = |after: &[&str]| {
            let groups = json!([{ "group_id": "g", "map": { "each": { "value": [1, 2] } } }]);
            let member =
                |id: &str, after: &[&str]| json!({ "task_id": id, "kind": "rust", "group_id": "g", "after": after });
            let tasks = json!([member("g.a", &[]), member("g.b", after)]);
            let spec =
                serde_json::from_value(json!({ "dag_id": "d", "groups": groups, "tasks": tasks })).expect("a spec");
            Arc::new(Plan::new(Arc::new(spec)).expect("a plan"))
        };
        let mut model = Model::start(spec(&[]));
        model.move_to(spec(&["g.a"]));
        model.finish(0, 0, done());
        assert_eq!(model.ready.iter().copied().collect::<Vec<_>>(), [(0, 1), (1, 0), (1, 1)]);
    }

    #[test]
    fn a_run_stays_where_its_unfinished_tasks_are() {
        let old = plan(&json!([task("a", &[]), task("b", &[])]));
        let run = Model::start(old.clone()).run;
        let says = |tasks: &Value| can_move(&old, &plan(tasks), &run).expect_err("it cannot").to_string();
        assert_eq!(says(&json!([task("a", &[])])), "task `b` is not finished and not in the other version");
        let other = json!({ "task_id": "b", "kind": "shell" });
        assert!(says(&json!([task("a", &[]), other])).contains("another kind"));
        let mapped = json!({ "task_id": "b", "kind": "rust", "map": { "each": { "value": [1] } } });
        assert!(says(&json!([task("a", &[]), mapped])).contains("something else"));
    }
}
