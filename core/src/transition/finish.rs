//! Applies the end of an instance to the ledger and the counters, and checks the tasks that waited for it.

use super::{Fold, Outcome, Skip};
use crate::plan::TaskIdx;
use crate::run::{FAILED, FLIGHT, LEN, Missing, REMOVED, RUN_FLIGHT, RUN_OPEN, SKIPPED, SUCCESS, UPSTREAM_FAILED};
use orch_spec::state::TaskState;

impl Fold<'_> {
    pub(super) fn finished(&mut self, task: TaskIdx, index: i32, outcome: &Outcome) -> Result<(), Missing> {
        let (state, skip) = match outcome {
            Outcome::Success { list_len, skip } => {
                if let (Some(len), Some(&slot)) = (list_len, self.plan.list_slots.get(&task)) {
                    self.run.counters[slot] = *len;
                }
                (TaskState::Success, skip.as_slice())
            }
            Outcome::Failed => (TaskState::Failed, [].as_slice()),
            Outcome::Skipped { skip } => (TaskState::Skipped, skip.as_slice()),
        };
        self.run.counters[RUN_FLIGHT] -= 1;
        if index >= 0 {
            let map = self.plan.task(task).map.expect("only a mapped task has elements");
            self.run.counters[map.slot + FLIGHT] -= 1;
            self.refill.insert(task);
            self.end_element(task, index, state);
        } else {
            self.end_whole(task, state);
        }
        skip.iter().try_for_each(|&skip| self.skip(skip))
    }

    /// Skips a task that a branch did not follow, if it is undecided, regardless of its trigger rule. The branch may be
    /// outside the task's domain, so the states of the task's elements are loaded.
    fn skip(&mut self, skip: Skip) -> Result<(), Missing> {
        let task = self.plan.task(skip.task);
        if let (Some(map), Some(_)) = (task.map, self.before.len(task)) {
            match skip.index {
                Some(index) => self.elements.ask(map.domain, index)?,
                None => self.elements.ask_all(map.domain)?,
            }
        }
        match (self.run.len(task), skip.index) {
            (None, _) if self.run.task(skip.task) == TaskState::None => {
                self.end_unexpanded(skip.task, TaskState::Skipped);
            }
            (Some(_), Some(index)) if self.undecided(skip.task, index)? => {
                self.decide_element(skip.task, index, TaskState::Skipped);
            }
            (Some(len), None) => {
                for index in 0..len {
                    if self.undecided(skip.task, index)? {
                        self.decide_element(skip.task, index, TaskState::Skipped);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends a task that is not mapped, or is mapped but has not been expanded.
    pub(super) fn end_whole(&mut self, task: TaskIdx, state: TaskState) {
        self.run.ledger[usize::from(task)] = state.code();
        self.run.counters[RUN_OPEN] -= 1;
        self.concern_downstream(task, -1);
    }

    pub(super) fn decide_whole(&mut self, task: TaskIdx, state: TaskState) {
        self.effects.decided.push((task, -1, state));
        self.end_whole(task, state);
    }

    pub(super) fn end_element(&mut self, task: TaskIdx, index: i32, state: TaskState) {
        let slot = self.plan.task(task).map.expect("only a mapped task has elements").slot;
        let counter = match state {
            TaskState::Success => SUCCESS,
            TaskState::Failed => FAILED,
            TaskState::UpstreamFailed => UPSTREAM_FAILED,
            TaskState::Removed => REMOVED,
            _ => SKIPPED,
        };
        self.run.counters[slot + counter] += 1;
        self.elements.set(task, index, state);
        self.sum_up(task);
        self.concern_downstream(task, index);
    }

    pub(super) fn decide_element(&mut self, task: TaskIdx, index: i32, state: TaskState) {
        self.effects.decided.push((task, index, state));
        self.end_element(task, index, state);
    }

    /// Ends a mapped task when its last element has ended. The task gets the worst state of its elements. A worker that
    /// lost its lease may report an end again; the fencing token discards the report, so this function asserts nothing.
    fn sum_up(&mut self, task: TaskIdx) {
        let slot = self.plan.task(task).map.expect("only a mapped task has elements").slot;
        let c = &self.run.counters[slot..];
        if c[SUCCESS] + c[FAILED] + c[SKIPPED] + c[UPSTREAM_FAILED] + c[REMOVED] < c[LEN] {
            return;
        }
        let state = worst(c);
        self.run.ledger[usize::from(task)] = state.code();
        self.run.counters[RUN_OPEN] -= 1;
    }
}

/// Returns the state of a mapped task whose elements have all finished, from its counters.
pub(crate) fn worst(counters: &[i32]) -> TaskState {
    match counters {
        c if c[FAILED] > 0 => TaskState::Failed,
        c if c[UPSTREAM_FAILED] > 0 => TaskState::UpstreamFailed,
        c if c[SUCCESS] > 0 => TaskState::Success,
        c if c[SKIPPED] > 0 => TaskState::Skipped,
        _ => TaskState::Removed,
    }
}
