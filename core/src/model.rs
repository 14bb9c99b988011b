//! In-memory model of a run: the pure transition function and the instance rows that a database would store.
//!
//! It does in plain code what the store does in SQL. Tests compare the store and recorded Airflow runs with the model,
//! and `orch::testing` runs whole DAGs on it.

use crate::plan::{Plan, TaskIdx};
use crate::run::{Elements, Missing, Run};
use crate::transition::{
    Effects, Event, Outcome, RunEnd, Selected, Stood, clear, end_run, fold, move_run, places, start, start_some,
};
use orch_spec::state::TaskState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Model {
    pub plan: Arc<Plan>,
    pub run: Run,
    /// States of finished instances.
    pub states: BTreeMap<(TaskIdx, i32), TaskState>,
    /// Instances that may run now.
    pub ready: BTreeSet<(TaskIdx, i32)>,
    /// Instances that a concurrency limit holds back.
    pub held: BTreeSet<(TaskIdx, i32)>,
}

impl Model {
    pub fn start(plan: Arc<Plan>) -> Model {
        let begun = start(&plan);
        Model::begun(plan, begun)
    }

    /// Starts a run of only the chosen tasks of the DAG.
    pub fn start_some(plan: Arc<Plan>, chosen: &BTreeSet<TaskIdx>) -> Model {
        let begun = start_some(&plan, chosen);
        Model::begun(plan, begun)
    }

    fn begun(plan: Arc<Plan>, (run, effects): (Run, Effects)) -> Model {
        let mut model = Model { plan, run, states: BTreeMap::new(), ready: BTreeSet::new(), held: BTreeSet::new() };
        model.carry_out(effects);
        model
    }

    /// Ends a ready instance with this outcome and applies the event.
    pub fn finish(&mut self, task: TaskIdx, index: i32, outcome: Outcome) {
        self.finish_all(&[(task, index, outcome)]);
    }

    /// Ends several ready instances together.
    pub fn finish_all(&mut self, ended: &[(TaskIdx, i32, Outcome)]) {
        let mut events = Vec::new();
        for (task, index, outcome) in ended {
            self.note_end(*task, *index, outcome);
            events.push(Event::Finished { task: *task, index: *index, outcome: outcome.clone() });
        }
        self.apply(&events);
    }

    /// Records the end of a ready instance in the model. The caller must then apply the event.
    pub fn note_end(&mut self, task: TaskIdx, index: i32, outcome: &Outcome) {
        self.note_stop(task, index);
        let state = match outcome {
            Outcome::Success { .. } => TaskState::Success,
            Outcome::Failed => TaskState::Failed,
            Outcome::Skipped { .. } => TaskState::Skipped,
        };
        self.states.insert((task, index), state);
    }

    /// Records that a running instance, which a user cleared, has stopped. The caller must then apply the event.
    pub fn note_stop(&mut self, task: TaskIdx, index: i32) {
        assert!(self.ready.remove(&(task, index)), "{} [{index}] is not ready", self.plan.task_id(task));
    }

    /// Marks an instance in any state, as a user would.
    pub fn mark(&mut self, task: TaskIdx, index: i32, state: TaskState) {
        let at = (task, index);
        let stood = match (self.ready.remove(&at), self.held.remove(&at)) {
            (true, _) => Stood::InFlight,
            (_, true) => Stood::Held,
            _ => Stood::Nowhere,
        };
        let effects = self.fold(&[Event::Marked { task, index, state, stood }]);
        self.states.insert(at, state);
        self.carry_out(effects);
    }

    pub fn apply(&mut self, events: &[Event]) {
        let effects = self.fold(events);
        self.carry_out(effects);
    }

    fn fold(&mut self, events: &[Event]) -> Effects {
        let decide = |elements: &Elements| fold(&self.plan, &self.run, events, elements);
        let (run, effects) = Elements::deciding(decide, |missing| self.look_up(missing));
        self.run = run;
        effects
    }

    /// Clears finished instances. None of the selected instances may be in flight.
    pub fn clear(&mut self, selected: &[Selected]) {
        let decide = |elements: &Elements| clear(&self.plan, &self.run, selected, elements);
        let (run, effects) = Elements::deciding(decide, |missing| self.look_up(missing));
        let hit = |&(task, index): &(TaskIdx, i32)| {
            selected.iter().any(|s| s.task == task && s.index.is_none_or(|i| i == index))
        };
        self.states.retain(|instance, _| !hit(instance));
        self.run = run;
        self.carry_out(effects);
    }

    /// Moves the run to another version of its DAG. No instance may be running, and `can_move` must succeed.
    pub fn move_to(&mut self, to: Arc<Plan>) {
        let from = std::mem::replace(&mut self.plan, to);
        let places = places(&from, &self.plan);
        let at = |(task, index): (TaskIdx, i32)| Some((places[usize::from(task)]?, index));
        self.states = std::mem::take(&mut self.states).into_iter().filter_map(|(i, s)| Some((at(i)?, s))).collect();
        self.ready = std::mem::take(&mut self.ready).into_iter().filter_map(at).collect();
        self.held = std::mem::take(&mut self.held).into_iter().filter_map(at).collect();
        let decide = |elements: &Elements| move_run(&from, &self.plan, &self.run, elements);
        let (run, effects) = Elements::deciding(decide, |missing| self.look_up(missing));
        self.run = run;
        self.carry_out(effects);
    }

    /// Ends the run early, as a user would. `running` contains the instances that are running.
    pub fn end(&mut self, running: &[(TaskIdx, i32)], end: RunEnd) {
        let ended = end_run(&self.plan, &self.run, running, end);
        let before = std::mem::replace(&mut self.run, ended);
        for (task, planned) in (0..).zip(&self.plan.tasks) {
            if before.task(task).is_finished() {
                continue;
            }
            let indices = match before.len(planned).filter(|&len| len > 0) {
                Some(len) => 0..len,
                None => -1..0,
            };
            for index in indices {
                let runs = running.contains(&(task, index));
                let state = if runs { end.running_state() } else { TaskState::Skipped };
                self.states.entry((task, index)).or_insert(state);
            }
        }
        self.ready.clear();
        self.held.clear();
    }

    /// Selects a task and all tasks downstream of it.
    pub fn with_downstream(&self, task: TaskIdx) -> Vec<Selected> {
        let (mut seen, mut todo) = (BTreeSet::from([task]), vec![task]);
        while let Some(t) = todo.pop() {
            todo.extend(self.plan.task(t).down.iter().map(|e| e.task).filter(|&d| seen.insert(d)));
        }
        seen.into_iter().map(|task| Selected { task, index: None }).collect()
    }

    fn look_up(&self, missing: Missing) -> Vec<(TaskIdx, i32, TaskState)> {
        let members = &self.plan.domains[missing.domain].members;
        let wanted = |&((task, index), _): &((TaskIdx, i32), TaskState)| {
            members.contains(&task) && index >= 0 && missing.index.is_none_or(|i| i == index)
        };
        let over = self.states.iter().map(|(&at, &state)| (at, state));
        let open = self.ready.iter().chain(&self.held).map(|&at| (at, TaskState::Queued));
        over.chain(open).filter(wanted).map(|((task, index), state)| (task, index, state)).collect()
    }

    fn carry_out(&mut self, effects: Effects) {
        for (task, index) in effects.hold {
            assert!(self.held.insert((task, index)), "held twice");
        }
        for (task, many) in effects.admit {
            for _ in 0..many {
                let next = *self.held.range((task, 0)..=(task, i32::MAX)).next().expect("one is held");
                self.held.remove(&next);
                assert!(self.ready.insert(next), "ready twice");
            }
        }
        for next in effects.ready {
            assert!(!self.states.contains_key(&next), "{} {next:?} is over already", self.plan.task_id(next.0));
            assert!(self.ready.insert(next), "{} {next:?} is ready twice", self.plan.task_id(next.0));
        }
        for (task, index, state) in effects.decided {
            let before = self.states.insert((task, index), state);
            assert!(before.is_none(), "{} [{index}] is decided twice", self.plan.task_id(task));
            assert!(
                !self.ready.contains(&(task, index)),
                "{} [{index}] is decided while ready",
                self.plan.task_id(task)
            );
        }
    }
}
