//! `depends_on_past` and `wait_for_downstream`: what the run before must have done.

use crate::gates::PastDependency;
use crate::plan::{Plan, TaskIdx};
use crate::run::Run;
use crate::why::Reason;
use chrono::{DateTime, Utc};
use orch_spec::state::TaskState;

/// The run before: the scheduled one before of a DAG that catches up, else the one before of any kind.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    pub run_id: &'a str,
    pub logical_date: Option<DateTime<Utc>>,
    pub plan: &'a Plan,
    pub run: &'a Run,
}

/// What of the run before stands in the way of a task. The first run has none before it; a task that the run before did
/// not have begins its own past; and what was before a DAG's start does not count for one that catches up.
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
    /// The state of a task that it had and that did not end as success or skipped, all elements of it.
    fn not_well(&self, task_id: &str) -> Option<TaskState> {
        let task = self.plan.index_of(task_id)?;
        let well = |state: TaskState| matches!(state, TaskState::Success | TaskState::Skipped);
        let state = self.run.task(task);
        let elements =
            self.run.element_counts(self.plan.task(task)).filter(|_| self.run.len(self.plan.task(task)) != Some(0));
        let Some(elements) = elements else { return (!well(state)).then_some(state) };
        // Elements that are gone cannot end well any more.
        let bad = |(one, many): &&(TaskState, i32)| *many > 0 && !well(*one) && *one != TaskState::Removed;
        elements.iter().find(bad).map(|(one, _)| *one)
    }
}
