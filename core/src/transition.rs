//! Computes what happens next: from a run and its events, the new run and the effects to carry out.
//!
//! Total and pure. Workers call it when a task ends, schedulers when they fold (apply) the outcomes of lost workers,
//! tests and audits in replays. Decisions flow only downstream and tasks are in topological order, so one pass over the
//! affected tasks is enough.

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
    /// A task instance has ended permanently. `index` is −1 if the task is not mapped.
    Finished { task: TaskIdx, index: i32, outcome: Outcome },
    /// An instance that was cleared while it ran has stopped.
    Restarted { task: TaskIdx, index: i32 },
    /// A user marked an instance. The instance has left the queue, wait or limit that it stood in.
    Marked { task: TaskIdx, index: i32, state: TaskState, stood: Stood },
    /// The window of the run grows, because all elements in flight run and workers have free slots.
    Widen { window: i32 },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Success {
        /// Length of the returned list, if a task is mapped over it.
        list_len: Option<i32>,
        /// Tasks to skip: a branch that is not followed, a condition that is not met.
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
    /// The instance was held by a limit.
    Held,
    /// Queued, running, or waiting for a retry or an event.
    InFlight,
}

/// A task that must not run. `index` selects one element of a mapped task; `None` selects all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    pub task: TaskIdx,
    pub index: Option<i32>,
}

/// Effects of a transition. Indexes are −1 if the task is not mapped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Instances that may run now.
    pub ready: Vec<(TaskIdx, i32)>,
    /// Instances that could run if a limit did not hold them back.
    pub hold: Vec<(TaskIdx, i32)>,
    /// Number of held elements per task that may run now, lowest index first.
    pub admit: Vec<(TaskIdx, i32)>,
    /// Instances that end without running.
    pub decided: Vec<(TaskIdx, i32, TaskState)>,
    /// Reasons why tasks in `decided` failed as a whole.
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

/// Starts a run of some tasks. The others are removed, and tasks do not wait for them.
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

/// Applies events to a run. `elements` holds what earlier calls reported missing: load it and call again. A mark in a
/// finished run changes only the state of the marked instance: the run keeps its state, and no task runs. Other events
/// have no effect on it.
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
    // The loaded rows may already contain these ends, but the instances were not finished before these events.
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
    /// The run before the events. Decisions that it contains are not made again.
    before: &'a Run,
    past: Elements,
    run: Run,
    elements: Elements,
    effects: Effects,
    /// Tasks to check again, in topological order: the whole task or some of its elements.
    concerned: BTreeMap<TaskIdx, Concern>,
    /// Expanded mapped tasks that may be able to start more elements. `admit` checks their window and limits, and
    /// starts what fits.
    refill: BTreeSet<TaskIdx>,
}

#[derive(Default)]
struct Concern {
    whole: bool,
    elements: BTreeSet<i32>,
    /// Cleared elements. Earlier decisions about them do not count.
    anew: BTreeSet<i32>,
    /// All elements, because the task has just been expanded.
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

    /// Schedules a new check of all tasks that depend on this instance.
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

    /// Returns true if no task after this one is part of the run, so its failure fails the run.
    fn ends_a_part(&self, task: &crate::plan::PlanTask) -> bool {
        let mut work = task.down.iter().map(|edge| edge.task).filter(|&t| !self.plan.task(t).is_teardown).peekable();
        !task.is_teardown && work.peek().is_some() && work.all(|t| self.run.task(t) == TaskState::Removed)
    }
}
