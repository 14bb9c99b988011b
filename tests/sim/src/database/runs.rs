//! Creation and start of runs, outcomes that wait for their fold, and tries that wait for their time.

use super::locks::Lock;
use super::tables::{Instance, Key, PendingTry, PendingTryKey, RunRow};
use super::{Snapshot, State};
use crate::faults::Mutant;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::{Missing, Run};
use orch_core::transition::{Event, Outcome, start};
use orch_spec::state::{RunState, RunType, TaskState};
use orch_store::step::RunAt;
use orch_store::version::Version;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A UUID v7 with a timestamp in 2025.
const FIRST_RUN: u128 = 0x019a_9f60_8c00_7000_8000_0000_0000_0000;

impl State {
    /// `store::run::create_run`. The caller holds the lock of the DAG.
    pub(crate) fn create_run(&mut self, dag_id: &str) {
        let number = self.tables.runs.len() as u64 + 1;
        let id = Uuid::from_u128(FIRST_RUN + u128::from(number));
        let dag = &self.tables.dags[dag_id];
        let (version, starts) = (dag.version.clone(), self.tables.running_runs(dag_id) < dag.max_active_runs);
        let run = Run::new(&version.plan);
        let row = RunRow { number, version, rev: 0, clear_number: 0, run, fold_xmin: 0, past: Vec::new() };
        self.tables.runs.insert(id, row);
        self.trace.say(format_args!("     run {number} of {dag_id} created{}", if starts { "" } else { ", waits" }));
        if starts {
            self.begin_run(id);
        }
        self.books.check(&self.tables, id);
    }

    /// Returns the ids of the queued runs that may start now, oldest first.
    pub(crate) fn queued_runs(&self, dag_id: &str) -> Vec<Uuid> {
        let room = self.tables.dags[dag_id].max_active_runs.saturating_sub(self.tables.running_runs(dag_id));
        let queued = |r: &RunRow| r.version.dag_id == dag_id && r.run.state == RunState::Queued;
        self.tables.runs.iter().filter(|(_, r)| queued(r)).map(|(id, _)| *id).take(room).collect()
    }

    /// `store::run::start_queued_runs`. The caller holds the locks of the DAG and its runs.
    pub(crate) fn start_queued_runs(&mut self, dag_id: &str) -> usize {
        let begin = self.queued_runs(dag_id);
        for &id in &begin {
            let version = self.tables.dags[dag_id].version.clone();
            let row = self.tables.runs.get_mut(&id).expect("just found");
            row.rev += 1;
            row.version = version;
            self.trace.say(format_args!("     run {} begins", id.as_u128() & 0xffff));
            self.begin_run(id);
            self.books.check(&self.tables, id);
        }
        begin.len()
    }

    fn begin_run(&mut self, id: Uuid) {
        let commits = self.commits;
        let row = self.tables.runs.get_mut(&id).expect("its caller has it");
        let (version, rev) = (row.version.clone(), row.rev);
        let (run, effects) = start(&version.plan);
        row.run = run.clone();
        row.remember(commits);
        self.books.began(id, Model::start(version.plan.clone()), &run);
        for &instance in &effects.ready {
            let new = new_try(&version, id, rev, instance);
            self.enqueue(new);
        }
        for &instance in &effects.hold {
            let new = new_try(&version, id, rev, instance);
            self.tables.held.insert(new.key, new);
        }
        for (task, index, state) in effects.decided {
            self.decided((id, task, index), state);
        }
    }

    /// `run_lock::take_unfolded`: returns the rows that a fold takes, their events, and the transaction id below
    /// which everything is folded. The rows are deleted when the fold commits.
    pub(crate) fn unfolded_of(&mut self, run: Uuid) -> (Vec<u64>, Vec<Event>, u64) {
        let from = self.tables.runs.get(&run).map_or(0, |r| r.fold_xmin);
        let taken = self.tables.unfolded.iter().filter(|u| u.key.0 == run && u.xid >= from);
        let (mut ids, mut events) = (Vec::new(), Vec::new());
        for row in taken {
            let (task, index) = (row.key.1, row.key.2);
            let outcome = match row.state {
                TaskState::Restarting => {
                    ids.push(row.id);
                    events.push(Event::Restarted { task, index });
                    continue;
                }
                TaskState::Success => Outcome::Success { list_len: row.list_len, skip: row.skip.clone() },
                TaskState::Skipped => Outcome::Skipped { skip: row.skip.clone() },
                _ => Outcome::Failed,
            };
            ids.push(row.id);
            events.push(Event::Finished { task, index, outcome });
        }
        let high = self.is_mutant(Mutant::FoldHorizonTooHigh);
        (ids, events, if high { self.locks.xmax() } else { self.locks.xmin() })
    }

    /// Like `unfolded_of`, without the rows that the transaction has already taken.
    pub(crate) fn unheard_of(&mut self, run: Uuid, taken: &[u64]) -> (Vec<u64>, Vec<Event>) {
        let (ids, events, _) = self.unfolded_of(run);
        ids.into_iter().zip(events).filter(|(id, _)| !taken.contains(id)).unzip()
    }

    pub(crate) fn delete_unfolded(&mut self, ids: &[u64]) {
        self.tables.unfolded.retain(|u| !ids.contains(&u.id));
    }

    /// `run_lock::elements`: instances that are finished and folded, or taken by the calling fold. In a run that a
    /// user changed, in-flight and held instances count too.
    pub(crate) fn elements(
        &self,
        plan: &Plan,
        run: Uuid,
        ledger: &Run,
        missing: Missing,
        taken: &[u64],
    ) -> Vec<(TaskIdx, i32, TaskState)> {
        let t = &self.tables;
        let members = &plan.domains[missing.domain].members;
        let asked = |key: &Key| {
            key.0 == run && members.contains(&key.1) && key.2 >= 0 && missing.index.is_none_or(|index| index == key.2)
        };
        let not_folded = t.unfolded.iter().filter(|u| !taken.contains(&u.id)).map(|u| u.key);
        let late: BTreeSet<Key> = not_folded.filter(|key| asked(key)).collect();
        let over = |(key, row): (&Key, &Instance)| {
            (row.state.is_finished() && !late.contains(key)).then_some((*key, row.state))
        };
        let mut found: Vec<(Key, TaskState)> = t.instances_of(run).filter_map(over).collect();
        if ledger.was_changed() {
            let runs = |s: TaskState| matches!(s, TaskState::Running | TaskState::Restarting);
            let waits = t.places_of(run).into_iter().map(|(_, t)| t.key);
            let works = t.instances_of(run).filter(|(_, row)| runs(row.state)).map(|(key, _)| *key);
            found.extend(waits.chain(works).chain(late.iter().copied()).map(|key| (key, TaskState::Queued)));
        }
        found.into_iter().filter(|(key, _)| asked(key)).map(|(key, state)| (key.1, key.2, state)).collect()
    }

    /// Returns runs with outcomes that stayed unfolded for longer than `older_than`.
    pub(crate) fn left_unfolded(&self, older_than: Duration, seen: Snapshot) -> Vec<Uuid> {
        let old = self.tables.unfolded.iter().filter(|u| seen.now.duration_since(u.recorded) > older_than);
        let runs: BTreeSet<Uuid> = old.map(|u| u.key.0).collect();
        runs.into_iter().collect()
    }

    /// Returns waiting rows whose time has come and that no other transaction has locked, and locks them.
    pub(crate) fn due(&mut self, seen: Snapshot) -> Vec<Key> {
        let due: Vec<Key> =
            self.tables.waiting.iter().filter(|(_, w)| w.wake_at <= seen.now).map(|(key, _)| *key).collect();
        due.into_iter()
            .filter(|key| self.locks.take_if_free(seen.txn, &Lock::Place(PendingTryKey::Waiting(*key))))
            .collect()
    }

    /// Makes these waiting instances claimable.
    pub(crate) fn wake(&mut self, due: &[Key]) -> usize {
        for key in due {
            if let Some(waiting) = self.tables.waiting.remove(key) {
                self.trace.say(format_args!("     {} [{}, {}] wakes", key.0.as_u128() & 0xffff, key.1, key.2));
                self.enqueue(waiting.of);
            }
            self.books.check(&self.tables, key.0);
        }
        due.len()
    }
}

fn new_try(version: &Arc<Version>, run: Uuid, rev: i32, instance: (TaskIdx, i32)) -> PendingTry {
    super::step::first_try(&version.new_try(RunAt { run, rev, run_type: RunType::Manual }, instance))
}
