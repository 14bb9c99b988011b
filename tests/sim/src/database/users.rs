//! Changes that users make to a run: ending it (`store::run::end`), clearing instances (`store::clear`) and moving it
//! to another version of its DAG (`store::run::relocate`). This module contains the writes of the commits;
//! `store::users` contains the statements before them.

use super::locks::Lock;
use super::tables::{Instance, Key, Order, PendingTry, PendingTryKey, Waiting};
use super::{Snapshot, State};
use crate::check::renumber;
use crate::faults::Mutant;
use orch_core::plan::TaskIdx;
use orch_core::run::{Missing, Run};
use orch_core::transition::{Effects, Event, RunEnd, Selected, places};
use orch_spec::state::{RunState, TaskState};
use orch_store::StoreResult;
use orch_store::step::WorkerStep;
use orch_store::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

/// A row in which an instance waited; the time is set for rows of `waiting`.
pub(crate) type Waited = (PendingTryKey, PendingTry, Option<Instant>);

/// A run at rest: all rows of its waiting and unfinished instances are locked (`store::run::quiet`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Quiet {
    pub(crate) waited: Vec<Waited>,
    /// Locked rows of unfinished instances.
    pub(crate) open: Vec<(Key, Instance)>,
}

impl Quiet {
    pub(crate) fn running(&self) -> Vec<(TaskIdx, i32)> {
        let runs = |i: &Instance| matches!(i.state, TaskState::Running | TaskState::Restarting);
        self.open.iter().filter(|(_, i)| runs(i)).map(|(key, _)| (key.1, key.2)).collect()
    }
}

/// A clear that is about to be committed.
#[derive(Debug)]
pub(crate) struct Clearing {
    pub(crate) over: Vec<(TaskIdx, i32)>,
    pub(crate) running: Vec<(TaskIdx, i32)>,
    pub(crate) selected: Vec<Selected>,
}

impl State {
    /// Returns the rows in which instances of a run wait, except those already taken, and their locks.
    pub(crate) fn waits(&self, run: Uuid, taken: &[PendingTryKey]) -> (Vec<Lock>, Vec<(PendingTryKey, PendingTry)>) {
        let found: Vec<_> =
            self.tables.places_of(run).into_iter().filter(|(place, _)| !taken.contains(place)).collect();
        (found.iter().map(|(place, _)| Lock::Place(*place)).collect(), found)
    }

    /// Returns the rows that have not changed since they were found.
    pub(crate) fn still_waits(&self, found: Vec<(PendingTryKey, PendingTry)>) -> Vec<Waited> {
        let t = &self.tables;
        let still = |(place, was): (PendingTryKey, PendingTry)| {
            let (now, wake_at) = match place {
                PendingTryKey::Ready(seq) => (&t.ready.get(&seq)?.1, None),
                PendingTryKey::Waiting(key) => (&t.waiting.get(&key)?.of, Some(t.waiting[&key].wake_at)),
                PendingTryKey::Held(key) => (t.held.get(&key)?, None),
            };
            (*now == was).then_some((place, was, wake_at))
        };
        found.into_iter().filter_map(still).collect()
    }

    /// Returns the rows of unfinished instances.
    pub(crate) fn open_rows(&self, run: Uuid) -> Vec<(Key, Instance)> {
        self.tables.instances_of(run).filter(|(_, i)| !i.state.is_finished()).map(|(k, i)| (*k, i.clone())).collect()
    }

    fn take_places(&mut self, waited: &[Waited]) {
        for (place, _, _) in waited {
            match place {
                PendingTryKey::Ready(seq) => drop(self.tables.ready.remove(seq)),
                PendingTryKey::Waiting(key) => drop(self.tables.waiting.remove(key)),
                PendingTryKey::Held(key) => drop(self.tables.held.remove(key)),
            }
        }
    }

    /// Ends a run. `ledger` and `effects` are the result of folding `events`.
    pub(crate) fn end_run(
        &mut self,
        run: Uuid,
        at_rest: &Quiet,
        events: &[Event],
        (ledger, effects): (&Run, &Effects),
        (end, to, why): (RunEnd, &Run, &'static str),
    ) {
        self.take_places(&at_rest.waited);
        let version = self.tables.runs[&run].version.clone();
        let over = ledger.state.is_finished();
        if !over {
            for (key, was) in &at_rest.open {
                let runs = matches!(was.state, TaskState::Running | TaskState::Restarting);
                // It was cleared and is not an instance of the task any more.
                if was.state == TaskState::None && !is_instance(&version, ledger, *key) {
                    continue;
                }
                let Some(row) = self.tables.instances.get_mut(key) else { continue };
                row.lease_no += 1;
                row.state = if runs { end.running_state() } else { TaskState::Skipped };
                if let Some(worker) = was.worker.filter(|_| runs) {
                    self.tables.orders.push(Order { worker, key: *key, attempt: was.attempt, why });
                }
            }
        }
        for key in effects.decided.iter().map(|d| (run, d.0, d.1)).filter(|_| !over) {
            // The loop above also marked decided instances as skipped. Their real state is written below.
            if let Some(row) = self.tables.instances.get_mut(&key) {
                row.state = TaskState::None;
            }
        }
        for &(task, index, state) in &effects.decided {
            self.decided((run, task, index), state);
        }
        if !over {
            for (task, planned) in (0..).zip(&version.plan.tasks).filter(|(task, _)| !ledger.task(*task).is_finished())
            {
                let len = ledger.len(planned).unwrap_or(0);
                let indices = if len > 0 { 0..len } else { -1..0 };
                for key in indices.map(|index| (run, task, index)) {
                    if !self.tables.instances.contains_key(&key) {
                        self.decided(key, TaskState::Skipped);
                    }
                }
            }
        }
        self.write_run(run, to.clone());
        if over {
            self.books.moved(run, events, to);
        } else {
            let open: Vec<Key> = at_rest.open.iter().map(|(key, _)| *key).collect();
            self.books.run_ended((run, &version.plan), events, (&open, &at_rest.running()), end, to);
        }
        self.trace.say(format_args!("     run {} is {why}: {}", run.as_u128() & 0xffff, to.state));
        self.books.check(&self.tables, run);
    }

    /// Sets the final state of a finished run.
    pub(crate) fn mark_run(&mut self, run: Uuid, state: RunState) {
        let Some(row) = self.tables.runs.get(&run).filter(|r| r.run.state.is_finished()) else { return };
        let to = Run { state, ..row.run.clone() };
        self.write_run(run, to);
        self.books.run_marked(run, state);
        self.trace.say(format_args!("     run {} is marked: {state}", run.as_u128() & 0xffff));
        self.books.check(&self.tables, run);
    }

    fn write_run(&mut self, run: Uuid, to: Run) {
        let commits = self.commits;
        if let Some(row) = self.tables.runs.get_mut(&run) {
            (row.rev, row.run) = (row.rev + 1, to);
            row.remember(commits);
        }
    }

    /// Returns finished and running rows of the selected tasks, as they will be once `decided` is written.
    pub(crate) fn to_clear(
        &self,
        run: Uuid,
        selected: &[Selected],
        decided: &[(TaskIdx, i32, TaskState)],
    ) -> Vec<(TaskIdx, i32, TaskState)> {
        let mut rows: BTreeMap<(TaskIdx, i32), TaskState> =
            self.tables.instances_of(run).map(|(key, i)| ((key.1, key.2), i.state)).collect();
        rows.extend(decided.iter().map(|(task, index, state)| ((*task, *index), *state)));
        let meant = |&(task, index): &(TaskIdx, i32)| {
            selected.iter().any(|s| s.task == task && s.index.is_none_or(|i| i == index))
        };
        let clearable = |s: TaskState| s == TaskState::Running || (s.is_finished() && s != TaskState::Removed);
        rows.into_iter().filter(|(at, s)| meant(at) && clearable(*s)).map(|((t, i), s)| (t, i, s)).collect()
    }

    /// Clears instances, after writing `fold`, the outcomes that the run had not folded yet.
    pub(crate) fn clear(
        &mut self,
        run: Uuid,
        fold: Option<(WorkerStep, Vec<Event>)>,
        what: &Clearing,
        step: &WorkerStep,
        seen: Snapshot,
    ) -> StoreResult<()> {
        for at in what.over.iter().chain(&what.running) {
            self.lease_can_grow(&(run, at.0, at.1), 1)?;
        }
        if let Some((step, events)) = fold {
            self.step(&step, 0, &events, Vec::new(), seen)?;
        }
        for key in what.over.iter().map(|at| (run, at.0, at.1)) {
            let Some(row) = self.tables.instances.get_mut(&key) else { continue };
            (row.state, row.worker, row.lease_no) = (TaskState::None, None, row.lease_no + 1);
            let attempt = row.attempt;
            if row.try_no > 0 {
                self.tables.history.insert((key, attempt));
            }
            self.free(attempt);
            self.tables.outputs.remove(&key);
        }
        for key in what.running.iter().map(|at| (run, at.0, at.1)) {
            let Some(row) = self.tables.instances.get_mut(&key) else { continue };
            (row.state, row.lease_no) = (TaskState::Restarting, row.lease_no + 1);
            if let Some(worker) = row.worker.filter(|_| self.mutant != Some(Mutant::ClearWithoutOrder)) {
                self.tables.orders.push(Order { worker, key, attempt: row.attempt, why: "restarted" });
            }
        }
        if let Some(row) = self.tables.runs.get_mut(&run) {
            row.run.state = RunState::Running;
            row.clear_number += i16::from(self.mutant != Some(Mutant::ClearUncounted));
        }
        self.books.cleared(run, &what.over, &what.selected, &what.running);
        let (over, running) = (what.over.len(), what.running.len());
        self.trace.say(format_args!("     run {} cleared: {over} over, {running} run", run.as_u128() & 0xffff));
        self.step(step, 0, &[], Vec::new(), seen).map(drop)
    }

    /// Returns true if this attempt was cleared while it ran (`store::clear::restarted`).
    pub(crate) fn is_restarting(&self, key: Key, attempt: Uuid) -> bool {
        let row = self.tables.instances.get(&key);
        row.is_some_and(|row| row.state == TaskState::Restarting && row.attempt == attempt)
    }

    /// `run_lock::elements` of a run at rest whose tasks are renumbered for another version.
    pub(crate) fn elements_at(
        &self,
        to: &Version,
        run: Uuid,
        (places, waited): (&[Option<TaskIdx>], &[Waited]),
        missing: Missing,
    ) -> Vec<(TaskIdx, i32, TaskState)> {
        let members = &to.plan.domains[missing.domain].members;
        let over = self.tables.instances_of(run).filter(|(_, i)| i.state.is_finished()).map(|(key, i)| (*key, i.state));
        let waits = waited.iter().map(|(_, t, _)| (t.key, TaskState::Queued));
        let all = over.chain(waits).filter(|(key, _)| key.2 >= 0);
        let moved = all.filter_map(|(key, state)| Some((places[usize::from(key.1)]?, key.2, state)));
        moved.filter(|(t, i, _)| members.contains(t) && missing.index.is_none_or(|index| index == *i)).collect()
    }

    /// Moves a queued run to another version.
    pub(crate) fn set_version(&mut self, run: Uuid, to: &Arc<Version>, ledger: Run) {
        if let Some(row) = self.tables.runs.get_mut(&run) {
            (row.version, row.run) = (to.clone(), ledger);
        }
        self.books.check(&self.tables, run);
    }

    /// Moves a run at rest to another version; `step` writes its ledger.
    pub(crate) fn relocate(
        &mut self,
        run: Uuid,
        to: &Arc<Version>,
        at_rest: &Quiet,
        step: &WorkerStep,
        seen: Snapshot,
    ) -> StoreResult<()> {
        let from = self.tables.runs[&run].version.clone();
        let places = places(&from.plan, &to.plan);
        self.take_places(&at_rest.waited);
        self.tables.slots.retain(|_, slot| slot.key.0 != run);
        self.tables.instances = renumber(std::mem::take(&mut self.tables.instances), run, &places);
        self.tables.outputs = renumber(std::mem::take(&mut self.tables.outputs), run, &places);
        let history: BTreeSet<(Key, Uuid)> = std::mem::take(&mut self.tables.history);
        let at = |key: Key| if key.0 == run { Some((run, places[usize::from(key.1)]?, key.2)) } else { Some(key) };
        self.tables.history = history.into_iter().filter_map(|(key, attempt)| Some((at(key)?, attempt))).collect();
        for (place, of, wake_at) in &at_rest.waited {
            let Some(key) = at(of.key) else { continue };
            let (version, queue) = (to.id, to.place(key.1));
            let again = PendingTry { key, version, queue, priority: to.plan.task(key.1).priority, ..of.clone() };
            if let Some(wake_at) = *wake_at {
                self.tables.waiting.insert(key, Waiting { of: again, wake_at });
            } else if matches!(place, PendingTryKey::Held(_)) {
                self.tables.held.insert(key, again);
            } else {
                self.enqueue(again);
            }
        }
        self.trace.say(format_args!("     run {} moves to version {}", run.as_u128() & 0xffff, to.id));
        self.books.relocated(run, &from.plan, &to.plan);
        if let Some(row) = self.tables.runs.get_mut(&run) {
            row.version = to.clone();
        }
        self.step(step, 0, &[], Vec::new(), seen).map(drop)
    }
}

/// Returns true if the ledger has this instance and its task is not finished.
fn is_instance(version: &Version, ledger: &Run, (_, task, index): Key) -> bool {
    let len = ledger.len(version.plan.task(task)).unwrap_or(0);
    !ledger.task(task).is_finished() && if len > 0 { (0..len).contains(&index) } else { index == -1 }
}
