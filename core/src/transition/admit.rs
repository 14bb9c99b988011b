//! Starts tasks and elements within the windows of maps and the concurrency limits of the run and of its tasks.

use super::Fold;
use crate::plan::{PlanTask, TaskIdx};
use crate::run::{FLIGHT, HELD, LEN, Missing, NEXT, RUN_FLIGHT};
use orch_spec::state::TaskState;
use std::cmp::Reverse;

impl Fold<'_> {
    /// Starts a task that is not mapped, or schedules it if the run has a concurrency limit.
    pub(super) fn begin(&mut self, task: TaskIdx) {
        if self.plan.spec.max_active_tasks.is_some() {
            self.run.ledger[usize::from(task)] = TaskState::Scheduled.code();
        } else {
            self.start_whole(task);
        }
    }

    /// Starts an element of a mapped task, or holds it if there is a concurrency limit.
    pub(super) fn begin_element(&mut self, task: TaskIdx, index: i32) {
        let t = self.plan.task(task);
        let slot = t.map.expect("only a mapped task has elements").slot;
        if index >= self.run.counters[slot + NEXT] {
            return; // `start_elements` starts it in order
        }
        if self.plan.spec.max_active_tasks.is_some() || t.max_active.is_some() {
            self.run.counters[slot + HELD] += 1;
            self.effects.hold.push((task, index));
            self.refill.insert(task);
        } else {
            self.start_element(task, index);
        }
    }

    /// Starts as many instances as the limits allow, in order of descending priority.
    pub(super) fn admit(&mut self) -> Result<(), Missing> {
        let Some(limit) = self.plan.spec.max_active_tasks else {
            for task in std::mem::take(&mut self.refill) {
                self.start_elements(task, i32::MAX)?;
            }
            return Ok(());
        };
        let mut left = (limit as i32).saturating_sub(self.run.in_flight());
        if left <= 0 {
            return Ok(());
        }
        let waits = |&t: &TaskIdx| self.run.task(t) == TaskState::Scheduled || self.waiting(self.plan.task(t)) > 0;
        let mut waiting: Vec<TaskIdx> = (0..self.plan.tasks.len() as TaskIdx).filter(waits).collect();
        waiting.sort_by_key(|&t| (Reverse(self.plan.task(t).priority), t));
        for task in waiting {
            if left <= 0 {
                break;
            }
            if self.run.task(task) == TaskState::Scheduled {
                self.start_whole(task);
                left -= 1;
            } else {
                left -= self.start_elements(task, left)?;
            }
        }
        Ok(())
    }

    /// Returns the number of elements of an expanded task that could start but have not.
    fn waiting(&self, t: &PlanTask) -> i32 {
        let Some(map) = t.map.filter(|_| self.run.len(t).is_some()) else { return 0 };
        let c = &self.run.counters[map.slot..];
        c[LEN] - c[NEXT] + c[HELD]
    }

    fn start_elements(&mut self, task: TaskIdx, most: i32) -> Result<i32, Missing> {
        let t = self.plan.task(task);
        let Some(map) = t.map.filter(|_| self.run.len(t).is_some()) else { return Ok(0) };
        let c = |fold: &Self, at: usize| fold.run.counters[map.slot + at];
        let window = t.max_active.unwrap_or(i32::MAX);
        let mut started = 0;
        while c(self, HELD) > 0 && started < most && c(self, FLIGHT) < window {
            self.run.counters[map.slot + HELD] -= 1;
            self.admit_one(task);
            started += 1;
        }
        let window = window.min(self.run.window());
        while c(self, NEXT) < c(self, LEN) && started < most && c(self, FLIGHT) < window {
            let index = c(self, NEXT);
            if self.run.was_changed() {
                self.elements.ask(map.domain, index)?; // it may have finished before its turn
            }
            self.run.counters[map.slot + NEXT] += 1;
            if self.elements.get(task, index).is_none() {
                self.start_element(task, index);
                started += 1;
            }
        }
        Ok(started)
    }

    /// Starts one held element of a task: one that this transition would hold if there is one, otherwise one that was
    /// already held.
    fn admit_one(&mut self, task: TaskIdx) {
        if let Some(at) = self.effects.hold.iter().position(|&(t, _)| t == task) {
            let (_, index) = self.effects.hold.remove(at);
            self.start_element(task, index);
            return;
        }
        let slot = self.plan.task(task).map.expect("only elements are held").slot;
        self.run.counters[slot + FLIGHT] += 1;
        self.run.counters[RUN_FLIGHT] += 1;
        match self.effects.admit.iter_mut().find(|(t, _)| *t == task) {
            Some((_, many)) => *many += 1,
            None => self.effects.admit.push((task, 1)),
        }
    }

    fn start_whole(&mut self, task: TaskIdx) {
        self.run.ledger[usize::from(task)] = TaskState::Queued.code();
        self.run.counters[RUN_FLIGHT] += 1;
        self.effects.ready.push((task, -1));
    }

    fn start_element(&mut self, task: TaskIdx, index: i32) {
        let slot = self.plan.task(task).map.expect("only a mapped task has elements").slot;
        self.run.counters[slot + FLIGHT] += 1;
        self.run.counters[RUN_FLIGHT] += 1;
        self.effects.ready.push((task, index));
    }
}
