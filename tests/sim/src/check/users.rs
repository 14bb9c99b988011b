//! Records what users do to a run. The model applies the same changes with the core.

use super::Books;
use crate::database::tables::Key;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::Run;
use orch_core::transition::{Event, RunEnd, Selected, places};
use orch_spec::state::RunState;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

impl Books {
    /// Records that a user ended a run, after the run had folded `events`.
    pub(crate) fn run_ended(
        &mut self,
        (id, plan): (Uuid, &Arc<Plan>),
        events: &[Event],
        (open, running): (&[Key], &[(TaskIdx, i32)]),
        end: RunEnd,
        to: &Run,
    ) {
        self.progress = Instant::now();
        self.touched.insert(id);
        for key in open {
            self.grants.remove(key);
            self.set.insert(*key);
            self.bodies.ended(*key);
        }
        let model = self.models.entry(id).or_insert_with(|| Model {
            plan: plan.clone(),
            run: Run::new(plan),
            states: BTreeMap::new(),
            ready: BTreeSet::new(),
            held: BTreeSet::new(),
        });
        if let Err(what) = super::follow(model, events) {
            return self.fail(format!("run {id}: {what}"));
        }
        model.end(running, end);
        if model.run != *to {
            let wanted = model.run.clone();
            self.fail(format!("run {id} ended as {to:?}, not as {wanted:?}"));
        }
        self.said.insert(id, end.run_state());
    }

    /// Records that a user set the final state of a finished run.
    pub(crate) fn run_marked(&mut self, id: Uuid, state: RunState) {
        self.touched.insert(id);
        self.said.insert(id, state);
        if let Some(model) = self.models.get_mut(&id) {
            model.run.state = state;
        }
    }

    /// Records a clear: the instances in `over` restart immediately, those in `running` restart when they have
    /// stopped.
    pub(crate) fn cleared(
        &mut self,
        id: Uuid,
        over: &[(TaskIdx, i32)],
        selected: &[Selected],
        running: &[(TaskIdx, i32)],
    ) {
        self.progress = Instant::now();
        self.touched.insert(id);
        self.said.remove(&id);
        for (task, index) in over {
            self.outcomes.remove(&(id, *task, *index));
            self.set.insert((id, *task, *index));
        }
        for (task, index) in running {
            self.grants.remove(&(id, *task, *index));
            self.set.insert((id, *task, *index));
        }
        let Some(model) = self.models.get_mut(&id) else {
            return self.fail(format!("run {id} was cleared before it began"));
        };
        if catch_unwind(AssertUnwindSafe(|| model.clear(selected))).is_err() {
            self.fail(format!("run {id}: the core cannot clear {selected:?}"));
        }
    }

    /// Records that the run moved to another version of its DAG.
    pub(crate) fn relocated(&mut self, id: Uuid, from: &Plan, to: &Arc<Plan>) {
        self.progress = Instant::now();
        self.touched.insert(id);
        let places = places(from, to);
        if let Some((key, grant)) = self.grants.iter().find(|(key, _)| key.0 == id) {
            return self.fail(format!("{key:?} of {grant:?} runs while its run is moved"));
        }
        self.outcomes = renumber(std::mem::take(&mut self.outcomes), id, &places);
        let tries: BTreeMap<Key, i16> = std::mem::take(&mut self.tries).into_iter().collect();
        self.tries = renumber(tries, id, &places).into_iter().collect();
        self.set = renumber(std::mem::take(&mut self.set).into_iter().map(|k| (k, ())).collect(), id, &places)
            .into_keys()
            .collect();
        self.bodies.renumber(id, &places);
        let to = to.clone();
        if let Some(model) = self.models.get_mut(&id)
            && catch_unwind(AssertUnwindSafe(|| model.move_to(to))).is_err()
        {
            self.fail(format!("run {id}: the core cannot move it"));
        }
    }

    pub(crate) fn is_touched(&self, id: Uuid) -> bool {
        self.touched.contains(&id)
    }

    pub(crate) fn was_set(&self, key: &Key) -> bool {
        self.set.contains(key)
    }

    /// Returns a message if the run does not have the state that a user set.
    pub(super) fn unsaid(&self, id: Uuid, run: &Run) -> Option<String> {
        let said = self.said.get(&id)?;
        (run.state != *said).then(|| format!("it is {} although somebody said {said}", run.state))
    }
}

/// Renumbers the rows of a run by the new task indices, and drops rows of tasks that no longer exist.
pub(crate) fn renumber<T>(rows: BTreeMap<Key, T>, run: Uuid, places: &[Option<TaskIdx>]) -> BTreeMap<Key, T> {
    let moved = |(key, row): (Key, T)| {
        if key.0 == run { Some(((run, places[usize::from(key.1)]?, key.2), row)) } else { Some((key, row)) }
    };
    rows.into_iter().filter_map(moved).collect()
}
