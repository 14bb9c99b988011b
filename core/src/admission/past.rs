//! Gates `depends_on_past` and `wait_for_downstream`, which depend on how tasks of the previous run ended.

use crate::gates::PastDependency;
use crate::plan::{Plan, TaskIdx};
use crate::run::Run;
use crate::why::Reason;
use chrono::{DateTime, Utc};
use orch_spec::state::TaskState;

/// The previous run of the DAG. With `catchup` it is the previous scheduled run, otherwise the previous run of any
/// type.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    pub run_id: &'a str,
    pub logical_date: Option<DateTime<Utc>>,
    pub plan: &'a Plan,
    pub run: &'a Run,
}

/// Returns why the previous run blocks a task. The first run is never blocked, nor is a task that the previous run did
/// not have. With `catchup`, runs before the start of the DAG are ignored.
pub fn past(gate: PastDependency, plan: &Plan, task: TaskIdx, before: Option<Before<'_>>) -> Option<Reason> {
    let before = before?;
    let start = plan.spec.start.filter(|_| plan.spec.catchup);
    if start.zip(before.logical_date).is_some_and(|(start, date)| date < start) {
        return None;
    }
    let run_id = || before.run_id.to_string();
    let task_id = plan.task_id(task);
    if let Some(state) = before.not_well(task_id) {
        return Some(Reason::Past { run_id: run_id(), task_id: task_id.into(), state });
    }
    if gate == PastDependency::Task {
        return None;
    }
    let behind = (0..).zip(&plan.tasks).filter(|(_, other)| other.up.iter().any(|edge| edge.task == task));
    let mut behind = behind.map(|(other, _): (TaskIdx, _)| plan.task_id(other));
    behind.find_map(|task_id| {
        let state = before.not_well(task_id)?;
        Some(Reason::PastDownstream { run_id: run_id(), task_id: task_id.into(), state })
    })
}

impl Before<'_> {
    /// Returns the state of a task of the previous run that ended neither as success nor as skipped, if there is such a
    /// state. All elements of a mapped task are checked.
    fn not_well(&self, task_id: &str) -> Option<TaskState> {
        let task = self.plan.index_of(task_id)?;
        let well = |state: TaskState| matches!(state, TaskState::Success | TaskState::Skipped);
        let state = self.run.task(task);
        let elements =
            self.run.element_counts(self.plan.task(task)).filter(|_| self.run.len(self.plan.task(task)) != Some(0));
        let Some(elements) = elements else { return (!well(state)).then_some(state) };
        // Removed elements are ignored, because they can never succeed.
        let bad = |(one, many): &&(TaskState, i32)| *many > 0 && !well(*one) && *one != TaskState::Removed;
        elements.iter().find(bad).map(|(one, _)| *one)
    }
}
