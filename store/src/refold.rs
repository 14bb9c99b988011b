//! Folding under the run's lock: applies all recorded outcomes that are not in the ledger (stored state) of the run
//! yet, in a single write. It is used by workers that lost a race, by schedulers on behalf of dead workers, and before
//! each change by a user.

use crate::{
    StoreError, StoreResult, boxed, dag,
    locks::{Locks, Runs},
    parked,
    run_lock::{self, LockedRun},
    step::{Mode, Move, RunAt, Stepper, WorkerStep},
    version::{Version, Versions},
};
use orch_core::alert::of_run;
use orch_core::run::{Elements, Run};
use orch_core::transition::{Effects, Event, fold};
use orch_spec::state::RunState;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// Result of applying (folding) recorded outcomes to a run while holding its lock.
#[derive(Debug)]
pub struct Folded {
    pub version: Arc<Version>,
    pub rev: i32,
    pub clear_number: i16,
    pub ledger: Run,
    /// True if at least one outcome was applied. If false, there was none and the run is unchanged.
    pub moved: bool,
    /// Attempts that became ready and that the worker runs itself, at most as many as it requested.
    pub kept: Vec<crate::step::NewTry>,
    /// True if other workers can claim attempts that became ready.
    pub queued: bool,
}

/// Which attempts a worker starts itself when they become ready, instead of queueing them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keep<'a> {
    /// Maximum number of attempts that the worker keeps.
    pub room: usize,
    /// Ids of the queues from which the worker keeps attempts: its queues of task functions that run in its own
    /// process.
    pub queues: &'a [i32],
}

impl Keep<'_> {
    /// Keeps no attempts, so all of them are queued.
    pub const NOTHING: Keep<'static> = Keep { room: 0, queues: &[] };
}

/// Applies (folds) all recorded outcomes that `run` does not contain yet. `worker` may keep some of the attempts that
/// become ready. Returns `None` if the run does not exist, or if an outcome cannot be applied and the run was therefore
/// parked.
pub async fn fold_run(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    stepper: &mut Stepper,
    versions: &mut Versions,
    run: Uuid,
    worker: i32,
    keep: Keep<'_>,
) -> StoreResult<Option<Folded>> {
    match try_fold(db, locks, stepper, versions, run, worker, &keep).await {
        Err(error) if error.is_of_one_item() => {
            parked::park(db, run, &error.in_full()).await?;
            Ok(None)
        }
        done => done,
    }
}

#[boxed]
async fn try_fold(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    stepper: &mut Stepper,
    versions: &mut Versions,
    run: Uuid,
    worker: i32,
    keep: &Keep<'_>,
) -> StoreResult<Option<Folded>> {
    let mut tx = db.begin().await?;
    let Some(locked) = run_lock::lock(&mut tx, locks, run).await? else { return Ok(None) };
    let version = versions.get(&mut tx, locked.version).await?;
    locked.readable(&version.plan)?;
    if locked.events.is_empty() || locked.is_over() {
        // Without outcomes nothing was written, so a rollback is cheaper than a commit with its flush. The outcomes of
        // a finished run are deleted, which needs a commit.
        let dropped = !locked.events.is_empty();
        if dropped {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        let LockedRun { rev, clear_number, ledger, .. } = locked;
        return Ok(Some(Folded { version, rev, clear_number, ledger, moved: false, kept: Vec::new(), queued: false }));
    }
    let (ledger, effects) = fold_loading(&mut tx, &version, run, &locked.ledger, &locked.events).await?;
    let mut step = WorkerStep { mode: Mode::Locked { fold_xmin: locked.fold_xmin }, ..WorkerStep::default() };
    step.cleared = locked.clear_number > 0;
    let keep = if step.cleared { Keep::NOTHING } else { *keep };
    carry_out(&mut step, &version, locked.at(), ledger.clone(), effects, keep);
    let reply = stepper.send(&mut tx, &step, worker).await?;
    if reply.moved != [run] {
        return Err(StoreError::corrupt(format!("the locked run `{run}` did not move")));
    }
    if locked.parked {
        parked::unpark(&mut tx, run).await?;
    }
    if ledger.state == RunState::Failed {
        dag::pause_after_failures(&mut tx, &version.dag_id).await?;
    }
    tx.commit().await?;
    let queued = !step.queue.is_empty() || !step.admit.is_empty();
    let (rev, clear_number) = (locked.rev + 1, locked.clear_number);
    Ok(Some(Folded { version, rev, clear_number, ledger, moved: true, kept: step.keep, queued }))
}

/// Folds events into the state of a run. Loads the states of mapped elements that are needed for this.
#[boxed]
pub async fn fold_loading(
    db: &mut PgConnection,
    version: &Version,
    run: Uuid,
    ledger: &Run,
    events: &[Event],
) -> StoreResult<(Run, Effects)> {
    let decide = |elements: &Elements| fold(&version.plan, ledger, events, elements);
    run_lock::deciding(db, &version.plan, run, ledger, decide).await
}

/// Adds the effects of a run's transition to a worker step: the new ledger, the alerts, and the new attempts. An
/// attempt is queued if the worker does not keep it or if it needs admission first.
pub fn carry_out(step: &mut WorkerStep, version: &Version, at: RunAt, to: Run, effects: Effects, keep: Keep<'_>) {
    let RunAt { run, rev, .. } = at;
    let moved = RunAt { rev: rev + 1, ..at };
    for instance in effects.ready {
        let new = version.new_try(moved, instance);
        let keeps = step.keep.len() < keep.room && keep.queues.contains(&new.queue);
        if keeps { step.keep.push(new) } else { step.queue.push(new) }
    }
    step.hold.extend(effects.hold.into_iter().map(|instance| version.new_try(moved, instance)));
    step.admit.extend(effects.admit.into_iter().map(|(task, many)| (run, task, many)));
    step.decided.extend(effects.decided.into_iter().map(|(task, index, state)| (run, task, index, state)));
    step.reasons.extend(effects.reasons.into_iter().map(|(task, reason)| (run, task, reason)));
    if to.state.is_finished() {
        step.alerts.extend(of_run(&version.plan.spec, run, moved.rev, to.state).into_iter().map(|alert| (run, alert)));
    }
    step.moves.push(Move { run, rev, to });
}
