//! Applies changes by users: cleared instances run again, and marked instances get the state that the user chose.
//!
//! Clearing never changes an instance in flight. The store stops a running instance, which it then reports as
//! `Restarted`.

use super::{Effects, Fold, Stood};
use crate::plan::{Plan, TaskIdx};
use crate::run::{
    Elements, FAILED, FLIGHT, HELD, LEN, Missing, NEXT, REMOVED, RUN_FLIGHT, RUN_OPEN, Run, SKIPPED, SUCCESS, UNKNOWN,
    UPSTREAM_FAILED,
};
use orch_spec::state::{RunState, TaskState};

/// A task instance, or all elements of a mapped task (`None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selected {
    pub task: TaskIdx,
    pub index: Option<i32>,
}

/// Resets finished instances so that they run again, and sets the run to running. The caller must also select the tasks
/// whose decisions depended on these instances.
pub fn clear(plan: &Plan, run: &Run, selected: &[Selected], elements: &Elements) -> Result<(Run, Effects), Missing> {
    let mut cleared = run.clone();
    cleared.state = RunState::Running;
    cleared.set_changed();
    let mut kept = elements.clone();
    let (mut whole, mut single) = (Vec::new(), Vec::new());
    for s in selected {
        let t = plan.task(s.task);
        let Some(map) = t.map.filter(|_| run.len(t).is_some_and(|len| len > 0)) else {
            if reset_whole(&mut cleared, plan, s.task) {
                whole.push(s.task);
            }
            continue;
        };
        if s.index.is_none() && run.counters[map.slot + FLIGHT] == 0 && run.counters[map.slot + HELD] == 0 {
            elements.ask_all(map.domain)?;
            (0..run.counters[map.slot + LEN]).for_each(|i| kept.forget(s.task, i));
            reset_expanded(&mut cleared, s.task, map.slot);
            whole.push(s.task);
            continue;
        }
        elements.ask_all(map.domain)?;
        let wanted = |i: &i32| s.index.is_none_or(|index| index == *i);
        for index in (0..run.counters[map.slot + LEN]).filter(wanted) {
            if let Some(state) = elements.get(s.task, index) {
                reset_element(&mut cleared, s.task, map.slot, state);
                kept.forget(s.task, index);
                single.push((s.task, index));
            }
        }
    }
    follow_again(&mut cleared, plan, &mut whole, &mut single);
    let mut fold = Fold::new(plan, &cleared, &kept);
    whole.iter().for_each(|&task| fold.concern(task, None));
    single.iter().for_each(|&(task, index)| fold.ask_again(task, index));
    fold.settle()?;
    Ok(fold.end())
}

/// Expands each cleared task that is mapped over a task whose elements still exist, and lists its elements to be
/// decided again.
fn follow_again(run: &mut Run, plan: &Plan, whole: &mut Vec<TaskIdx>, single: &mut Vec<(TaskIdx, i32)>) {
    whole.sort_unstable();
    whole.retain(|&task| {
        let t = plan.task(task);
        let same = t.up.iter().chain(&t.setups).chain(&t.scope).filter(|e| e.same);
        let len = same.filter_map(|e| run.len(plan.task(e.task))).find(|&len| len > 0);
        let (Some(map), Some(len)) = (t.map, len) else { return true };
        run.counters[map.slot + LEN] = len;
        run.counters[map.slot + NEXT] = len;
        run.ledger[usize::from(task)] = TaskState::Queued.code();
        single.extend((0..len).map(|index| (task, index)));
        false
    });
}

impl Fold<'_> {
    /// Applies the trigger rule again to an instance that was stopped in order to restart.
    pub(super) fn restarted(&mut self, task: TaskIdx, index: i32) -> Result<(), Missing> {
        self.run.counters[RUN_FLIGHT] -= 1;
        let Some(map) = self.plan.task(task).map.filter(|_| index >= 0) else {
            self.run.ledger[usize::from(task)] = TaskState::None.code();
            self.concern(task, None);
            return Ok(());
        };
        self.run.counters[map.slot + FLIGHT] -= 1;
        self.elements.ask_all(map.domain)?;
        self.refill.insert(task);
        self.ask_again(task, index);
        Ok(())
    }

    /// Schedules another application of the trigger rule to an element, which ignores earlier decisions.
    fn ask_again(&mut self, task: TaskIdx, index: i32) {
        self.concerned.entry(task).or_default().anew.insert(index);
    }

    /// Sets an instance to the state that a user chose. The instance is then finished, even if it was in flight, held
    /// or undecided. Has no effect if the instance does not exist.
    pub(super) fn marked(&mut self, task: TaskIdx, index: i32, state: TaskState, stood: Stood) -> Result<(), Missing> {
        let t = self.plan.task(task);
        let len = self.run.len(t).filter(|&len| len > 0);
        if index < -1 || index >= len.unwrap_or(0) || (index < 0 && len.is_some()) {
            return Ok(());
        }
        self.run.set_changed();
        if stood == Stood::InFlight {
            self.run.counters[RUN_FLIGHT] -= 1;
        }
        let Some(map) = t.map.filter(|_| index >= 0) else {
            if self.run.task(task).is_finished() {
                self.run.counters[RUN_OPEN] += 1;
            }
            self.end_whole(task, state);
            return Ok(());
        };
        self.elements.ask_all(map.domain)?;
        match stood {
            Stood::InFlight => self.run.counters[map.slot + FLIGHT] -= 1,
            Stood::Held => self.run.counters[map.slot + HELD] -= 1,
            Stood::Nowhere => {}
        }
        self.refill.insert(task);
        if let Some(old) = self.elements.get(task, index) {
            reset_element(&mut self.run, task, map.slot, old);
        }
        self.end_element(task, index, state);
        Ok(())
    }
}

/// Resets a task without elements. Returns `false` if the task is in flight or undecided.
fn reset_whole(run: &mut Run, plan: &Plan, task: TaskIdx) -> bool {
    if !run.task(task).is_finished() {
        return false;
    }
    run.ledger[usize::from(task)] = TaskState::None.code();
    run.counters[RUN_OPEN] += 1;
    if let Some(map) = plan.task(task).map {
        run.counters[map.slot + LEN] = UNKNOWN;
    }
    true
}

/// Resets a mapped task that has no elements in flight. The task will be expanded again, possibly to another length.
fn reset_expanded(run: &mut Run, task: TaskIdx, slot: usize) {
    if run.task(task).is_finished() {
        run.counters[RUN_OPEN] += 1;
    }
    run.ledger[usize::from(task)] = TaskState::None.code();
    for counter in [NEXT, SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED, REMOVED] {
        run.counters[slot + counter] = 0;
    }
    run.counters[slot + LEN] = UNKNOWN;
}

fn reset_element(run: &mut Run, task: TaskIdx, slot: usize, state: TaskState) {
    if run.task(task).is_finished() {
        run.counters[RUN_OPEN] += 1;
        run.ledger[usize::from(task)] = TaskState::Queued.code();
    }
    let counter = match state {
        TaskState::Success => SUCCESS,
        TaskState::Failed => FAILED,
        TaskState::UpstreamFailed => UPSTREAM_FAILED,
        TaskState::Removed => REMOVED,
        _ => SKIPPED,
    };
    run.counters[slot + counter] -= 1;
}

#[cfg(test)]
mod tests {
    use crate::model::Model;
    use crate::plan::Plan;
    use crate::transition::{Outcome, Selected};
    use orch_spec::state::{RunState, TaskState};
    use serde_json::json;
    use std::sync::Arc;

    fn done() -> Outcome {
        Outcome::Success { list_len: None, skip: Vec::new() }
    }

    fn model(most: Option<u32>) -> Model {
        let spec = json!({ "dag_id": "d", "groups": [{ "group_id": "g", "map": { "each": { "value": [1, 2] } } }], "tasks": [
            { "task_id": "g.a", "kind": "rust", "group_id": "g", "max_active": most },
            { "task_id": "g.b", "kind": "rust", "group_id": "g", "after": ["g.a"] },
        ] });
        Model::start(Arc::new(Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan")))
    }

    #[test]
    fn an_element_marked_before_it_was_decided_is_not_decided_again() {
        let mut model = model(None);
        model.mark(1, 0, TaskState::Success);
        model.finish(0, 0, done());
        assert_eq!(model.ready.iter().copied().collect::<Vec<_>>(), [(0, 1)]);
        model.finish(0, 1, done());
        model.finish(1, 1, done());
        assert_eq!(model.run.state, RunState::Success);
    }

    #[test]
    fn an_element_marked_before_its_turn_has_no_turn() {
        let mut model = model(Some(1));
        model.mark(0, 1, TaskState::Failed);
        assert_eq!(model.states.get(&(1, 1)), Some(&TaskState::UpstreamFailed));
        model.finish(0, 0, done());
        assert_eq!(model.ready.iter().copied().collect::<Vec<_>>(), [(1, 0)]);
        model.finish(1, 0, done());
        assert_eq!(model.run.state, RunState::Failed);
    }

    /// Returns a model in which the elements of `each` run as soon as `a` or `c` succeeds.
    fn eager() -> Model {
        let spec = json!({ "dag_id": "d", "tasks": [
            { "task_id": "a", "kind": "rust" },
            { "task_id": "c", "kind": "rust" },
            { "task_id": "each", "kind": "rust", "after": ["a", "c"], "map": { "each": { "value": [1, 2] } },
              "trigger_rule": "one_success" },
        ] });
        let plan = Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan");
        let mut model = Model::start(Arc::new(plan));
        model.finish(0, -1, done());
        assert_eq!(model.ready.len(), 3);
        model
    }

    #[test]
    fn an_element_that_runs_is_not_begun_anew_when_what_let_it_begin_is_cleared() {
        let mut model = model(None);
        model.finish(0, 0, done());
        model.clear(&[Selected { task: 0, index: Some(0) }]);
        model.finish(0, 0, done());
        assert_eq!(model.ready.iter().copied().collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    }

    #[test]
    fn an_element_that_runs_is_not_begun_anew_when_what_let_it_begin_is_marked() {
        let mut model = eager();
        model.mark(0, -1, TaskState::Failed);
        model.finish(1, -1, done());
        assert_eq!(model.ready.iter().copied().collect::<Vec<_>>(), [(2, 0), (2, 1)]);
        model.mark(2, 0, TaskState::Skipped);
        model.finish(2, 1, done());
        assert_eq!(model.run.state, RunState::Success);
    }
}
