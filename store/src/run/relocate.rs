//! Moves a run to another version of its DAG, on request of a user or because no worker offers the run's current
//! version any more.

use super::quiet::{QueuePlace, Waited, quiet};
use crate::{
    StoreError, StoreResult, boxed,
    locks::{Locks, Runs},
    narrow,
    refold::{Keep, carry_out, fold_run},
    run_lock,
    step::{Mode, RunAt, Stepper, WorkerStep},
    version::{Version, Versions},
};
use orch_core::plan::TaskIdx;
use orch_core::run::{Elements, Run};
use orch_core::transition::{CannotMove, can_move, move_run as move_ledger, places};
use orch_spec::state::RunState;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveRun {
    Moved,
    /// The run already uses the requested version.
    Same,
    Over(RunState),
    /// The run cannot be moved while some of its tasks are running in the old version.
    Running,
    CannotMove(CannotMove),
    /// The requested version belongs to another DAG.
    OtherDag,
    NoSuchRun,
}

/// Maximum number of attempts to move a run. An attempt fails if outcomes are recorded during it.
const LOOKS: usize = 5;

/// Moves a run to the version with the id `to`. Afterwards, the caller sends `Hint::Ready`.
#[boxed]
pub async fn move_run(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    run: Uuid,
    to: i32,
) -> StoreResult<MoveRun> {
    let to = versions.get(db, to).await?;
    for _ in 0..LOOKS {
        // Apply (fold) all recorded outcomes first, because they refer to task numbers of the old version.
        if fold_run(db, locks, &mut Stepper::default(), versions, run, 0, Keep::NOTHING).await?.is_none() {
            return Ok(MoveRun::NoSuchRun);
        }
        match try_move(db, locks, versions, run, &to).await {
            Ok(Some(done)) => return Ok(done),
            // Another transaction recorded outcomes, or a claim held a lock that this transaction needs, so try again.
            Ok(None) | Err(StoreError::TryAgain(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::TryAgain(sqlx::Error::RowNotFound))
}

async fn try_move(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    run: Uuid,
    to: &Arc<Version>,
) -> StoreResult<Option<MoveRun>> {
    let mut tx = db.begin().await?;
    let Some(mut locked) = run_lock::lock(&mut tx, locks, run).await? else { return Ok(Some(MoveRun::NoSuchRun)) };
    let from = versions.get(&mut tx, locked.version).await?;
    locked.readable(&from.plan)?;
    let refusal = if from.id == to.id {
        Some(MoveRun::Same)
    } else if from.dag_id != to.dag_id {
        Some(MoveRun::OtherDag)
    } else if locked.is_over() {
        Some(MoveRun::Over(locked.ledger.state))
    } else {
        can_move(&from.plan, &to.plan, &locked.ledger).err().map(MoveRun::CannotMove)
    };
    if refusal.is_some() {
        tx.rollback().await?;
        return Ok(refusal);
    }
    if locked.ledger.state == RunState::Queued {
        set_version(&mut tx, run, to.id, &Run::new(&to.plan)).await?;
        tx.commit().await?;
        return Ok(Some(MoveRun::Moved));
    }
    let at_rest = quiet(&mut tx, &locked.lock).await?;
    if at_rest.open.iter().any(|o| o.running) {
        tx.rollback().await?;
        return Ok(Some(MoveRun::Running));
    }
    let (late, _) = run_lock::take_unfolded(&mut tx, run).await?;
    if !locked.events.is_empty() || !late.is_empty() {
        tx.rollback().await?;
        return Ok(None);
    }
    let at = locked.at();
    let new_place = places(&from.plan, &to.plan);
    renumber(&mut tx, run, &new_place).await?;
    // Release the slots, because waiting attempts have to be admitted again under the pools and limits of the new
    // version.
    sqlx::query!("delete from slot where run = $1", run).execute(&mut *tx).await?;
    put_back(&mut tx, at, &at_rest.waited, to, &new_place).await?;
    locked.ledger.set_changed();
    let decide = |elements: &Elements| move_ledger(&from.plan, &to.plan, &locked.ledger, elements);
    let (moved, effects) = run_lock::deciding(&mut tx, &to.plan, run, &locked.ledger, decide).await?;
    set_version(&mut tx, run, to.id, &moved).await?;
    let mut step =
        WorkerStep { mode: Mode::Locked { fold_xmin: 0 }, cleared: locked.clear_number > 0, ..WorkerStep::default() };
    carry_out(&mut step, to, at, moved, effects, Keep::NOTHING);
    Stepper::default().send(&mut tx, &step, 0).await?;
    tx.commit().await?;
    Ok(Some(MoveRun::Moved))
}

async fn set_version(db: &mut PgConnection, run: Uuid, version: i32, ledger: &Run) -> StoreResult<()> {
    sqlx::query!(
        "update dag_run set version = $2, ledger = $3, counters = $4 where id = $1",
        run,
        version,
        &ledger.ledger,
        &ledger.counters
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Replaces task numbers of the old version by those of the new version, and deletes the rows of tasks that the new
/// version lacks. Uses two statements, so that a renumbered row never collides with one that still has its old number.
async fn renumber(db: &mut PgConnection, run: Uuid, places: &[Option<TaskIdx>]) -> StoreResult<()> {
    let same = |(old, new): (usize, &Option<TaskIdx>)| *new == Some(narrow::task(old));
    if places.iter().enumerate().all(same) {
        return Ok(());
    }
    let new: Vec<i16> = places.iter().map(|place| place.map_or(-1, |task| task as i16)).collect();
    sqlx::query_file!("queries/run/renumber_away.sql", run, &new).execute(&mut *db).await?;
    sqlx::query_file!("queries/run/renumber_back.sql", run).execute(db).await?;
    Ok(())
}

/// Inserts the waiting attempts into the queue tables again, with the new version.
async fn put_back(
    db: &mut PgConnection,
    RunAt { run, run_type, .. }: RunAt,
    waited: &[Waited],
    to: &Version,
    places: &[Option<TaskIdx>],
) -> StoreResult<()> {
    for place in [QueuePlace::Ready, QueuePlace::Waiting, QueuePlace::Held] {
        let rows: Vec<(&Waited, TaskIdx)> = waited
            .iter()
            .filter(|w| w.place == place)
            .filter_map(|w| Some((w, places[usize::from(w.task)]?)))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let task: Vec<i16> = rows.iter().map(|r| r.1 as i16).collect();
        let map_index: Vec<i32> = rows.iter().map(|r| r.0.map_index).collect();
        let attempt: Vec<Uuid> = rows.iter().map(|r| r.0.attempt).collect();
        let rev_ready: Vec<Option<i32>> = rows.iter().map(|r| r.0.rev_ready).collect();
        let queue: Vec<i32> = rows.iter().map(|r| to.place(r.1)).collect();
        let priority: Vec<i32> = rows.iter().map(|r| run_type.priority(to.plan.task(r.1).priority)).collect();
        let max_tries: Vec<i16> = rows.iter().map(|r| r.0.max_tries).collect();
        if place == QueuePlace::Held {
            sqlx::query!(
                "insert into held (run, version, task, map_index, attempt, rev_ready, queue, priority, max_tries)
                select $1, $2, h.* from unnest($3::smallint[], $4::integer[], $5::uuid[], $6::integer[], $7::integer[],
                  $8::integer[], $9::smallint[]) h",
                run,
                to.id,
                &task,
                &map_index,
                &attempt,
                &rev_ready as &[Option<i32>],
                &queue,
                &priority,
                &max_tries
            )
            .execute(&mut *db)
            .await?;
            continue;
        }
        sqlx::query_file!(
            "queries/run/put_back.sql",
            run,
            to.id,
            &task,
            &map_index,
            &attempt,
            &rev_ready as &[Option<i32>],
            &queue,
            &priority,
            &max_tries,
            &rows.iter().map(|r| r.0.try_no).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.0.lease_no).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.0.lost_no).collect::<Vec<_>>(),
            &rows.iter().map(|r| r.0.state.clone()).collect::<Vec<_>>() as &[Option<String>],
            &rows.iter().map(|r| r.0.wake_at).collect::<Vec<_>>() as &[Option<chrono::DateTime<chrono::Utc>>],
            &rows.iter().map(|r| r.0.queued_at).collect::<Vec<_>>() as &[Option<chrono::DateTime<chrono::Utc>>],
            &rows.iter().map(|r| r.0.wait.clone()).collect::<Vec<_>>() as &[Option<String>]
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
