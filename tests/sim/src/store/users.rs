//! Changes that users make to a run, statement by statement: `store::run::{end, relocate}` and `store::clear`.

use super::{LockedRun, MemStore, decide, lock_run};
use crate::database::locks::Lock;
use crate::database::tables::{Instance, Key};
use crate::database::users::{Clearing, Quiet};
use crate::database::{Session, Transaction, try_again};
use crate::faults::Mutant;
use orch_core::plan::TaskIdx;
use orch_core::run::{Elements, Run};
use orch_core::select::Selection;
use orch_core::transition::{
    Effects, RunEnd, Selected, can_move, clear, end_run as end_ledger, move_run as move_ledger, places,
};
use orch_spec::state::{RunState, RunType, TaskState};
use orch_store::hot::Hot;
use orch_store::refold::{Keep, carry_out};
use orch_store::step::{Mode, RunAt, WorkerStep};
use orch_store::version::Version;
use orch_store::{StoreError, StoreResult};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Number of attempts; the store uses the same number.
const TRIES: usize = 5;
const MOST_ROUNDS: usize = 50;

impl Session {
    /// `store::run::set_run_state`; with other arguments also cancellation and run timeouts. Returns false if the run
    /// had already finished.
    pub(crate) async fn end_run(&self, run: Uuid, end: RunEnd, why: &'static str) -> StoreResult<bool> {
        for _ in 1..TRIES {
            match self.try_end(run, end, why).await {
                Err(StoreError::TryAgain(_)) => {}
                done => return done,
            }
        }
        self.try_end(run, end, why).await
    }

    async fn try_end(&self, run: Uuid, end: RunEnd, why: &'static str) -> StoreResult<bool> {
        let mut tx = self.begin();
        let Some(locked) = lock_run(&mut tx, run, Some(Mutant::EndWithoutLock)).await? else { return Ok(false) };
        let LockedRun { version, ledger, taken, mut events, .. } = locked;
        if ledger.state.is_finished() {
            return Ok(false);
        }
        tx.pause_at(20).await;
        let at_rest = quiet(&mut tx, run).await?;
        let heard = taken.clone();
        let (late, more, fold_xmin) = tx
            .read(move |s, _| {
                let (late, more) = s.unheard_of(run, &heard);
                let (.., fold_xmin) = s.unfolded_of(run);
                let deaf = s.is_mutant(Mutant::EndUnheard);
                if deaf { (Vec::new(), Vec::new(), fold_xmin) } else { (late, more, fold_xmin) }
            })
            .await?;
        events.extend(more);
        let all: Vec<u64> = taken.into_iter().chain(late).collect();
        let (ledger, effects) = if events.is_empty() {
            (ledger, Effects::default())
        } else {
            decide(&mut tx, &version, run, &ledger, &events, &all).await?
        };
        let over = ledger.state.is_finished();
        let to = if over { ledger.clone() } else { end_ledger(&version.plan, &ledger, &at_rest.running(), end) };
        let ended = tx.commit(move |s, _| {
            s.delete_unfolded(&all);
            if let Some(row) = s.tables.runs.get_mut(&run) {
                row.fold_xmin = row.fold_xmin.max(fold_xmin);
            }
            s.end_run(run, &at_rest, &events, (&ledger, &effects), (end, &to, why));
            Ok(!over)
        });
        ended.await
    }

    /// `store::run::set_run_state` for a finished run.
    pub(crate) async fn mark_over(&self, run: Uuid, state: RunState) -> StoreResult<()> {
        let marked = self.statement(vec![Lock::Run(run)], move |s, _| {
            s.mark_run(run, state);
            Ok(())
        });
        marked.await
    }

    /// `store::clear::clear_instances`. Returns the number of cleared instances.
    pub(crate) async fn clear(
        &self,
        (run, meant): (Uuid, i32),
        selection: &Selection,
        states: &[TaskState],
    ) -> StoreResult<usize> {
        let mut tx = self.begin();
        let Some(locked) = lock_run(&mut tx, run, None).await? else { return Ok(0) };
        let LockedRun { version, mut rev, ledger: before, mut taken, mut events, fold_xmin, .. } = locked;
        if version.id != meant {
            return Err(StoreError::OtherVersion);
        }
        let revived = before.state.is_finished();
        let wanted = selection.resolve(&version.plan);
        // Outcomes recorded while the transaction waits for row locks are folded as well.
        let (mut ledger, effects, mut found) = loop {
            let (to, effects) = decide(&mut tx, &version, run, &before, &events, &taken).await?;
            let found = rows_to_clear(&mut tx, run, &wanted, &effects.decided).await?;
            let heard = taken.clone();
            let (late, more) = tx.read(move |s, _| s.unheard_of(run, &heard)).await?;
            if late.is_empty() {
                break (to, effects, found);
            }
            taken.extend(late);
            events.extend(more);
        };
        let empty = || WorkerStep { mode: Mode::Locked { fold_xmin }, cleared: true, ..WorkerStep::default() };
        // Rows that the fold writes exist before the clear reads them.
        let put_out: Vec<(TaskIdx, i32, TaskState)> = if revived { Vec::new() } else { put_out(&effects) };
        let mut fold = None;
        if !events.is_empty() && !revived {
            let mut step = empty();
            carry_out(
                &mut step,
                &version,
                RunAt { run, rev, run_type: RunType::Manual },
                ledger.clone(),
                effects,
                Keep::NOTHING,
            );
            fold = Some((step, events));
            rev += 1;
        }
        found.retain(|i| states.is_empty() || states.contains(&i.2));
        let over: Vec<(TaskIdx, i32)> = found.iter().filter(|i| i.2.is_finished()).map(|i| (i.0, i.1)).collect();
        let running: Vec<(TaskIdx, i32)> = found.iter().filter(|i| !i.2.is_finished()).map(|i| (i.0, i.1)).collect();
        let selected = selected(&version, &ledger, &over);
        ledger.set_changed();
        let mut elements = Elements::default();
        let (cleared, effects) = loop {
            match clear(&version.plan, &ledger, &selected, &elements) {
                Ok(done) => break done,
                Err(missing) => {
                    let (plan, taken, ledger) = (version.plan.clone(), taken.clone(), ledger.clone());
                    let found = tx.read(move |s, _| s.elements(&plan, run, &ledger, missing, &taken));
                    elements.load(missing, found.await?);
                    elements.load(missing, put_out.iter().copied());
                }
            }
        };
        let mut step = empty();
        carry_out(&mut step, &version, RunAt { run, rev, run_type: RunType::Manual }, cleared, effects, Keep::NOTHING);
        let many = found.len();
        let what = Clearing { over, running, selected };
        let done = tx.commit(move |s, seen| {
            s.delete_unfolded(&taken);
            if many > 0 {
                return s.clear(run, fold, &what, &step, seen).map(|()| many);
            }
            match fold {
                Some((step, events)) => s.step(&step, 0, &events, Vec::new(), seen).map(|_| 0),
                None => Ok(0),
            }
        });
        done.await
    }

    /// `store::run::move_run`. Returns true if the run moved.
    pub(crate) async fn move_run(&self, run: Uuid, to: &Arc<Version>) -> StoreResult<bool> {
        let mut store = MemStore { session: self.clone() };
        for _ in 0..TRIES {
            if store.fold_run(run, 0, Keep::NOTHING).await?.is_none() {
                return Ok(false);
            }
            match self.try_move(run, to).await {
                Ok(Some(moved)) => return Ok(moved),
                Ok(None) | Err(StoreError::TryAgain(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(try_again())
    }

    async fn try_move(&self, run: Uuid, to: &Arc<Version>) -> StoreResult<Option<bool>> {
        let mut tx = self.begin();
        let Some(locked) = lock_run(&mut tx, run, None).await? else { return Ok(Some(false)) };
        let LockedRun { version: from, rev, clear_number, ledger, events, .. } = locked;
        let same = from.id == to.id || from.dag_id != to.dag_id;
        if same || ledger.state.is_finished() || can_move(&from.plan, &to.plan, &ledger).is_err() {
            return Ok(Some(false));
        }
        let to = to.clone();
        if ledger.state == RunState::Queued {
            let waits = tx.commit(move |s, _| {
                s.set_version(run, &to, Run::new(&to.plan));
                Ok(Some(true))
            });
            return waits.await;
        }
        let at_rest = quiet(&mut tx, run).await?;
        let free = tx.read(|s, _| s.is_mutant(Mutant::MoveWhileRunning)).await?;
        if !at_rest.running().is_empty() && !free {
            return Ok(Some(false));
        }
        let (late, _, _) = tx.read(move |s, _| s.unfolded_of(run)).await?;
        if !events.is_empty() || !late.is_empty() {
            return Ok(None);
        }
        let new_places = places(&from.plan, &to.plan);
        let mut elements = Elements::default();
        let (moved, effects) = loop {
            match move_ledger(&from.plan, &to.plan, &ledger, &elements) {
                Ok(done) => break done,
                Err(missing) => {
                    let (to, places, waited) = (to.clone(), new_places.clone(), at_rest.waited.clone());
                    let found = tx.read(move |s, _| s.elements_at(&to, run, (&places, &waited), missing));
                    elements.load(missing, found.await?);
                }
            }
        };
        let mut step =
            WorkerStep { mode: Mode::Locked { fold_xmin: 0 }, cleared: clear_number > 0, ..WorkerStep::default() };
        carry_out(&mut step, &to, RunAt { run, rev, run_type: RunType::Manual }, moved, effects, Keep::NOTHING);
        tx.commit(move |s, seen| s.relocate(run, &to, &at_rest, &step, seen).map(|()| Some(true))).await
    }
}

/// Locks and returns the finished and running rows of the selected tasks.
async fn rows_to_clear(
    tx: &mut Transaction,
    run: Uuid,
    wanted: &[Selected],
    decided: &[(TaskIdx, i32, TaskState)],
) -> StoreResult<Vec<(TaskIdx, i32, TaskState)>> {
    let ((meant, late), (wanted, decided)) = ((wanted.to_vec(), decided.to_vec()), (wanted.to_vec(), decided.to_vec()));
    let found = tx.lock(
        move |s, _| {
            let found = s.to_clear(run, &meant, &late);
            (found.iter().map(|i| Lock::Instance((run, i.0, i.1))).collect(), found)
        },
        move |s, _, found| {
            let now = s.to_clear(run, &wanted, &decided);
            found.into_iter().filter_map(|was| now.iter().find(|i| (i.0, i.1) == (was.0, was.1)).copied()).collect()
        },
    );
    found.await
}

/// Returns the rows that the effects write.
fn put_out(effects: &Effects) -> Vec<(TaskIdx, i32, TaskState)> {
    let waits = effects.ready.iter().chain(&effects.hold).map(|(task, index)| (*task, *index, TaskState::Queued));
    effects.decided.iter().copied().chain(waits).collect()
}

/// Brings a run to rest, in rounds (`store::run::quiet`).
async fn quiet(tx: &mut Transaction, run: Uuid) -> StoreResult<Quiet> {
    let mut quiet = Quiet::default();
    for round in 0..MOST_ROUNDS {
        let taken: Vec<_> = quiet.waited.iter().map(|w| w.0).collect();
        let waits =
            tx.lock(move |s, _| s.waits(run, &taken), |s, _, found| (found.len(), s.still_waits(found))).await?;
        let (seen, took) = waits;
        quiet.waited.extend(took);
        tx.pause_at(20).await;
        let open = tx.lock(
            move |s, _| {
                let rows = s.open_rows(run);
                (rows.iter().map(|(key, _)| Lock::Instance(*key)).collect(), rows)
            },
            move |s, _, rows| {
                let now = s.open_rows(run);
                now.into_iter().filter(|(key, _)| rows.iter().any(|(was, _)| was == key)).collect::<Vec<_>>()
            },
        );
        let open = open.await?;
        let alike = |a: &[_], b: &[_]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_row(a, b));
        let same = round > 0 && alike(&open, &quiet.open);
        quiet.open = open;
        let hasty = tx.read(|s, _| s.is_mutant(Mutant::QuietInOneRound)).await?;
        if (seen == 0 && same) || hasty {
            return Ok(quiet);
        }
    }
    Err(try_again())
}

fn same_row(a: &(Key, Instance), b: &(Key, Instance)) -> bool {
    let runs = |s: TaskState| matches!(s, TaskState::Running | TaskState::Restarting);
    a.0 == b.0 && a.1.attempt == b.1.attempt && a.1.worker == b.1.worker && runs(a.1.state) == runs(b.1.state)
}

/// Selects a task as a whole if all its elements are cleared.
fn selected(version: &Version, ledger: &Run, over: &[(TaskIdx, i32)]) -> Vec<Selected> {
    let mut by_task: BTreeMap<TaskIdx, Vec<i32>> = BTreeMap::new();
    over.iter().for_each(|(task, index)| by_task.entry(*task).or_default().push(*index));
    let mut selected = Vec::new();
    for (task, indices) in by_task {
        let all = ledger.len(version.plan.task(task)).is_none_or(|len| len as usize == indices.len());
        if all {
            selected.push(Selected { task, index: None });
        } else {
            selected.extend(indices.into_iter().map(|i| Selected { task, index: (i >= 0).then_some(i) }));
        }
    }
    selected
}
