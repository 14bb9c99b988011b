//! Computes what happens next in a run: takes a run and its events, returns the new run and the effects to execute.
//!
//! Total and pure. Workers call it when a task ends, schedulers when they apply the outcomes of lost workers, and tests
//! and audits when they replay a run. Decisions only affect downstream tasks, and tasks are in topological order, so
//! one pass over the affected tasks is enough.

mod admit;
mod clear;
mod decide;
mod end;
mod expand;
mod finish;
mod relocate;

pub use clear::{Selected, clear};
pub use end::{RunEnd, end_run};
pub(crate) use finish::worst;
pub use relocate::{CannotMove, can_move, move_run, places};

use crate::plan::{Plan, TaskIdx};
use crate::run::{Elements, Missing, RUN_FLIGHT, RUN_OPEN, Run};
use orch_spec::state::{RunState, TaskState};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A task instance has finished. `index` is −1 if the task is not mapped.
    Finished { task: TaskIdx, index: i32, outcome: Outcome },
    /// A running instance that a user cleared has stopped and can restart.
    Restarted { task: TaskIdx, index: i32 },
    /// A user marked an instance with a state. The instance is no longer queued, waiting or held by a limit.
    Marked { task: TaskIdx, index: i32, state: TaskState, stood: Stood },
    /// The number of elements that may be in flight increases, because all elements in flight are running and workers
    /// have free slots.
    Widen { window: i32 },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Success {
        /// Length of the list that the task returned, if another task is mapped over it.
        list_len: Option<i32>,
        /// Tasks to skip because of this outcome: a branch did not follow them, or their condition was not met.
        skip: Vec<Skip>,
    },
    Failed,
    Skipped {
        skip: Vec<Skip>,
    },
}

/// State of an instance when a user marked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stood {
    /// The instance was undecided or finished.
    Nowhere,
    /// A concurrency limit held the instance back.
    Held,
    /// The instance was queued, running, or waiting for a retry or an event.
    InFlight,
}

/// A task that must not run. `index` selects one element of a mapped task; `None` selects all elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    pub task: TaskIdx,
    pub index: Option<i32>,
}

/// Effects of a transition, to be executed by the caller. Indexes are −1 if the task is not mapped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Instances that may run now.
    pub ready: Vec<(TaskIdx, i32)>,
    /// Instances that are ready but that a concurrency limit holds back.
    pub hold: Vec<(TaskIdx, i32)>,
    /// Number of held elements per task that may start now, lowest index first.
    pub admit: Vec<(TaskIdx, i32)>,
    /// Instances that end without running, with their final states.
    pub decided: Vec<(TaskIdx, i32, TaskState)>,
    /// Reasons why tasks in `decided` failed before any of their elements started.
    pub reasons: Vec<(TaskIdx, String)>,
}

pub fn start(plan: &Plan) -> (Run, Effects) {
    let before = Run::new(plan);
    let mut fold = Fold::new(plan, &before, &Elements::default());
    fold.run.state = RunState::Running;
    (0..plan.tasks.len() as TaskIdx).for_each(|t| fold.concern(t, None));
    fold.settle().expect("a run that begins has no elements to miss");
    fold.end()
}

/// Starts a run of only some tasks of the DAG. The other tasks get the state `removed`, and no task waits for them.
pub fn start_some(plan: &Plan, chosen: &BTreeSet<TaskIdx>) -> (Run, Effects) {
    let before = Run::new(plan);
    let mut fold = Fold::new(plan, &before, &Elements::default());
    fold.run.state = RunState::Running;
    for task in 0..plan.tasks.len() as TaskIdx {
        if chosen.contains(&task) {
            fold.concern(task, None);
        } else {
            fold.decide_whole(task, TaskState::Removed);
        }
    }
    fold.settle().expect("a run that begins has no elements to miss");
    let (mut run, effects) = fold.end();
    if chosen.len() < plan.tasks.len() {
        run.set_changed(); // no rule explains why they are removed
    }
    (run, effects)
}

/// Applies events to a run. Returns `Missing` if it needs element states that `elements` does not contain: load them
/// and call the function again. In a finished run, a mark changes only the state of the marked instance, and all other
/// events are ignored.
pub fn fold(plan: &Plan, run: &Run, events: &[Event], elements: &Elements) -> Result<(Run, Effects), Missing> {
    let mut fold = Fold::new(plan, run, elements);
    if run.state.is_finished() {
        for event in events {
            if let Event::Marked { task, index, state, stood } = event {
                fold.marked(*task, *index, *state, *stood)?;
            }
        }
        return Ok((fold.run, Effects::default()));
    }
    // The loaded rows may already contain the ends of these instances. They must count as unfinished before the events.
    for event in events {
        if let Event::Finished { task, index, .. } = event {
            fold.past.forget(*task, *index);
            fold.elements.forget(*task, *index);
        }
    }
    for event in events {
        match event {
            Event::Finished { task, index, outcome } => fold.finished(*task, *index, outcome)?,
            Event::Restarted { task, index } => fold.restarted(*task, *index)?,
            Event::Marked { task, index, state, stood } => fold.marked(*task, *index, *state, *stood)?,
            Event::Widen { window } => {
                fold.run.set_window(fold.run.window().max(*window));
                fold.expanded_tasks().for_each(|t| {
                    fold.refill.insert(t);
                });
            }
        }
    }
    fold.settle()?;
    Ok(fold.end())
}

struct Fold<'a> {
    plan: &'a Plan,
    /// State of the run before the events. Decisions that this state already contains are not repeated.
    before: &'a Run,
    past: Elements,
    run: Run,
    elements: Elements,
    effects: Effects,
    /// Tasks whose trigger rules must be applied again, in topological order: the whole task or some of its elements.
    concerned: BTreeMap<TaskIdx, Concern>,
    /// Expanded mapped tasks that may be able to start more elements. `admit` starts as many as the window and the
    /// limits allow.
    refill: BTreeSet<TaskIdx>,
}

#[derive(Default)]
struct Concern {
    whole: bool,
    elements: BTreeSet<i32>,
    /// Cleared elements, whose earlier decisions are ignored.
    anew: BTreeSet<i32>,
    /// True if all elements must be checked, because the task has just been expanded.
    every: bool,
}

impl<'a> Fold<'a> {
    fn new(plan: &'a Plan, before: &'a Run, elements: &Elements) -> Self {
        Fold {
            plan,
            before,
            past: elements.clone(),
            run: before.clone(),
            elements: elements.clone(),
            effects: Effects::default(),
            concerned: BTreeMap::new(),
            refill: BTreeSet::new(),
        }
    }

    fn expanded_tasks(&self) -> impl Iterator<Item = TaskIdx> + use<> {
        let mapped = |t: &TaskIdx| self.run.len(self.plan.task(*t)).is_some() && !self.run.task(*t).is_finished();
        (0..self.plan.tasks.len() as TaskIdx).filter(mapped).collect::<Vec<_>>().into_iter()
    }

    fn concern(&mut self, task: TaskIdx, index: Option<i32>) {
        let concern = self.concerned.entry(task).or_default();
        match index {
            None => concern.whole = true,
            Some(index) => {
                concern.elements.insert(index);
            }
        }
    }

    /// Schedules a check of all tasks that depend on this instance.
    fn concern_downstream(&mut self, task: TaskIdx, index: i32) {
        let plan = self.plan;
        for edge in &plan.task(task).down {
            let element = edge.same && index >= 0 && self.run.len(plan.task(edge.task)).is_some();
            self.concern(edge.task, element.then_some(index));
        }
    }

    fn settle(&mut self) -> Result<(), Missing> {
        while let Some((task, concern)) = self.concerned.pop_first() {
            self.apply_rule(task, &concern)?;
        }
        self.admit()
    }

    fn end(mut self) -> (Run, Effects) {
        if self.run.counters[RUN_OPEN] == 0 {
            let bad = |(task, &state): (&crate::plan::PlanTask, &i16)| {
                TaskState::from_code(state).is_some_and(TaskState::is_failed) && (task.leaf || self.ends_a_part(task))
            };
            let failed = self.plan.tasks.iter().zip(&self.run.ledger).any(bad);
            self.run.state = if failed { RunState::Failed } else { RunState::Success };
        } else if self.run.counters[RUN_FLIGHT] == 0 {
            // Nothing runs and nothing can start. This is Airflow's "all tasks deadlocked".
            self.run.state = RunState::Failed;
        }
        (self.run, self.effects)
    }

    /// Returns true if a partial run (a run of only some tasks) has no task downstream of this one. The failure of such
    /// a task fails the run.
    fn ends_a_part(&self, task: &crate::plan::PlanTask) -> bool {
        let mut work = task.down.iter().map(|edge| edge.task).filter(|&t| !self.plan.task(t).is_teardown).peekable();
        !task.is_teardown && work.peek().is_some() && work.all(|t| self.run.task(t) == TaskState::Removed)
    }
}
