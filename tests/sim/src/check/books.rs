//! Compares the rows of a run with the records of the checks.

use super::{Books, in_flight};
use crate::database::tables::{Key, Tables};
use orch_core::model::Model;
use orch_core::plan::TaskIdx;
use orch_spec::state::TaskState;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

impl Books {
    /// Checks all invariants of a run. Must be called between commits.
    pub(crate) fn check(&mut self, tables: &Tables, run: Uuid) {
        if self.violation.is_some() {
            return;
        }
        if let Some(what) = self.wrong(tables, run) {
            self.fail(format!("run {run}: {what}"));
        }
    }

    fn wrong(&self, tables: &Tables, run: Uuid) -> Option<String> {
        let row = tables.runs.get(&run)?;
        let Some(model) = self.models.get(&run) else {
            return in_flight(tables, run).first_key_value().map(|at| format!("{at:?} before it began"));
        };
        if model.run != row.run {
            return Some(format!("its ledger is {:?}, not {:?}", row.run, model.run));
        }
        if let Some(what) = self.unsaid(run, &row.run) {
            return Some(what);
        }
        let places = in_flight(tables, run);
        if let Some((at, twice)) = places.iter().find(|(_, places)| places.len() > 1) {
            return Some(format!("{at:?} is in {twice:?} at the same time"));
        }
        let flying: BTreeSet<(TaskIdx, i32)> = places.keys().copied().collect();
        if flying != model.ready {
            return Some(format!("in flight are {places:?}, but should be {:?}", model.ready));
        }
        let held: BTreeSet<(TaskIdx, i32)> =
            tables.held.range((run, 0, i32::MIN)..=(run, TaskIdx::MAX, i32::MAX)).map(|(k, _)| (k.1, k.2)).collect();
        if held != model.held {
            return Some(format!("held are {held:?}, but should be {:?}", model.held));
        }
        self.wrong_states(tables, run, model).or_else(|| wrong_counts(model))
    }

    /// Checks that finished rows equal the core's states, except rows with unfolded outcomes, and that exactly the
    /// running rows have a grant.
    fn wrong_states(&self, tables: &Tables, run: Uuid, model: &Model) -> Option<String> {
        let late: BTreeSet<Key> = tables.unfolded.iter().map(|u| u.key).collect();
        let mut finished: BTreeSet<(TaskIdx, i32)> = BTreeSet::new();
        for (key, instance) in tables.instances_of(run) {
            let at = (key.1, key.2);
            let granted = self.grants.get(key);
            if (instance.state == TaskState::Running) != granted.is_some() {
                return Some(format!("{at:?} is {}, given to {granted:?}", instance.state));
            }
            if !instance.state.is_finished() || late.contains(key) {
                continue;
            }
            finished.insert(at);
            let decided = model.states.get(&at);
            if decided != Some(&instance.state) {
                return Some(format!("{at:?} is {}, but should be {decided:?}", instance.state));
            }
        }
        let missing = model.states.iter().find(|(at, _)| !finished.contains(at));
        missing.map(|(at, state)| format!("{at:?} should be {state}, but is not finished"))
    }
}

/// Checks that the counters in the ledger equal the sums over the instances.
fn wrong_counts(model: &Model) -> Option<String> {
    let Model { plan, run, states, ready, .. } = model;
    if run.in_flight() as usize != ready.len() {
        return Some(format!("{} in flight, counted as {}", ready.len(), run.in_flight()));
    }
    if plan.spec.max_active_tasks.is_some_and(|limit| ready.len() > limit as usize) {
        return Some(format!("{} in flight, over the run's limit", ready.len()));
    }
    let mut sums: BTreeMap<(TaskIdx, TaskState), i32> = BTreeMap::new();
    for (&(task, index), &state) in states {
        if index >= 0 {
            *sums.entry((task, state)).or_default() += 1;
        }
    }
    for (me, task) in (0..).zip(&plan.tasks) {
        if let Some(counts) = run.element_counts(task).filter(|_| run.len(task) != Some(0)) {
            for (state, many) in counts.into_iter().filter(|(state, _)| state.is_finished()) {
                let rows = sums.get(&(me, state)).copied().unwrap_or(0);
                if many != rows {
                    return Some(format!("task {me}: {rows} are {state}, counted as {many}"));
                }
            }
            let active = ready.range((me, 0)..=(me, i32::MAX)).count() as i32;
            if counts[5].1 != active || task.max_active.is_some_and(|limit| active > limit) {
                return Some(format!("task {me}: {active} in flight, counted as {}", counts[5].1));
            }
        } else if states.get(&(me, -1)).copied() != Some(run.task(me)).filter(|s| s.is_finished()) {
            return Some(format!("task {me} is {:?}, in the ledger {}", states.get(&(me, -1)), run.task(me)));
        }
    }
    None
}
