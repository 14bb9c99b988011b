//! Ends a run before its tasks have finished: it is cancelled, marked by a user, or exceeds its timeout.

use super::finish::worst;
use crate::plan::{Plan, TaskIdx};
use crate::run::{
    FAILED, FLIGHT, HELD, LEN, NEXT, REMOVED, RUN_FLIGHT, RUN_OPEN, Run, SKIPPED, SUCCESS, UPSTREAM_FAILED,
};
use orch_spec::state::{RunState, TaskState};
use std::collections::HashMap;

/// Early end of a run, by a user or by its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// A user cancelled the run or marked it as failed. Running instances fail.
    Failed,
    /// A user marked the run as successful. Running instances succeed.
    Success,
    /// The run exceeded its timeout and fails. Running instances are skipped.
    TimedOut,
}

impl RunEnd {
    pub const fn run_state(self) -> RunState {
        match self {
            RunEnd::Success => RunState::Success,
            RunEnd::Failed | RunEnd::TimedOut => RunState::Failed,
        }
    }

    /// Returns the state that running instances get. All other unfinished instances are skipped.
    pub const fn running_state(self) -> TaskState {
        match self {
            RunEnd::Failed => TaskState::Failed,
            RunEnd::Success => TaskState::Success,
            RunEnd::TimedOut => TaskState::Skipped,
        }
    }
}

/// Ends a run early. `running` contains the running instances; all other unfinished instances are skipped.
pub fn end_run(plan: &Plan, run: &Run, running: &[(TaskIdx, i32)], end: RunEnd) -> Run {
    let mut ended = run.clone();
    let mut many: HashMap<TaskIdx, i32> = HashMap::new();
    for (task, _) in running {
        *many.entry(*task).or_default() += 1;
    }
    for (task, t) in (0..).zip(&plan.tasks) {
        if run.task(task).is_finished() {
            continue;
        }
        let running = many.get(&task).copied().unwrap_or(0);
        let state = match t.map.filter(|_| run.len(t).is_some()) {
            Some(map) => end_elements(&mut ended.counters[map.slot..], running, end),
            None if running > 0 => end.running_state(),
            None => TaskState::Skipped,
        };
        ended.ledger[usize::from(task)] = state.code();
    }
    (ended.counters[RUN_OPEN], ended.counters[RUN_FLIGHT]) = (0, 0);
    ended.state = end.run_state();
    ended
}

fn end_elements(counters: &mut [i32], running: i32, end: RunEnd) -> TaskState {
    let counter = match end.running_state() {
        TaskState::Failed => FAILED,
        TaskState::Success => SUCCESS,
        _ => SKIPPED,
    };
    counters[counter] += running;
    let finished: i32 = [SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED, REMOVED].iter().map(|&c| counters[c]).sum();
    counters[SKIPPED] += counters[LEN] - finished;
    counters[NEXT] = counters[LEN];
    (counters[FLIGHT], counters[HELD]) = (0, 0);
    worst(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::transition::Outcome;
    use serde_json::json;
    use std::sync::Arc;

    fn model() -> Model {
        let spec = json!({ "dag_id": "d", "tasks": [
            { "task_id": "list", "kind": "rust" },
            { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
            { "task_id": "side", "kind": "rust" },
            { "task_id": "end", "kind": "rust", "after": ["each", "side"] },
        ] });
        Model::start(Arc::new(Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan")))
    }

    fn states(run: &Run) -> Vec<&'static str> {
        (0..run.ledger.len()).map(|t| run.task(t as TaskIdx).as_str()).collect()
    }

    #[test]
    fn what_runs_ends_as_told_and_the_rest_is_skipped() {
        let mut model = model();
        model.finish(0, -1, Outcome::Success { list_len: Some(5), skip: Vec::new() });
        model.finish(1, 2, Outcome::Success { list_len: None, skip: Vec::new() });
        let (plan, run) = (model.plan.clone(), model.run.clone());
        for (end, expected, counts) in [
            (RunEnd::Failed, ["success", "failed", "skipped", "skipped"], [1, 2, 2]),
            (RunEnd::Success, ["success", "success", "skipped", "skipped"], [3, 0, 2]),
            (RunEnd::TimedOut, ["success", "success", "skipped", "skipped"], [1, 0, 4]),
        ] {
            let ended = end_run(&plan, &run, &[(1, 0), (1, 4)], end);
            assert_eq!((states(&ended), ended.state), (expected.to_vec(), end.run_state()), "{end:?}");
            let elements = ended.element_counts(plan.task(1)).expect("it is expanded");
            assert_eq!([elements[0].1, elements[1].1, elements[2].1], counts, "{end:?}");
            assert_eq!((ended.in_flight(), elements[6].1), (0, 0));
        }
    }

    #[test]
    fn a_run_that_has_not_begun_is_skipped_as_a_whole() {
        let plan = model().plan;
        let ended = end_run(&plan, &Run::new(&plan), &[], RunEnd::Failed);
        assert_eq!(states(&ended), ["skipped"; 4]);
        assert_eq!(ended.state, RunState::Failed);
    }
}
