//! Runs: create, cancel, mark, move to the newest version of the DAG, annotate and delete.

use crate::{Actor, boxed};
use orch_core::transition::RunEnd;
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::dag::get_dag;
use orch_store::hint::Hint;
use orch_store::locks::{DagLock, Dags, Locks, Runs, lock_dag};
use orch_store::run::{
    DeleteRun, EndRun, MoveRun, NewRun, RunDetails, cancel_run, delete_run, move_run, set_note, set_run_state,
    start_queued_runs_of,
};
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;

/// Returns a new run that this user requests. The statement that creates the run writes the audit record.
pub fn asked_by(actor: &Actor, new: NewRun) -> NewRun {
    NewRun { user: Some(actor.name.to_string()), triggered_by: actor.through, deed: Some(actor.extra()), ..new }
}

/// Hints for the workers that run its tasks, for clients that wait for its end, and for workers that can claim tasks of
/// runs that start in its place.
pub const ENDED: [Hint; 3] = [Hint::Stop, Hint::Run, Hint::Ready];

/// Hints for the workers: the waiting tasks are offered to the workers of the new version.
pub const MOVED: [Hint; 1] = [Hint::Ready];

/// Cancels a run: running tasks are stopped, the others are skipped, and the run fails.
#[boxed]
pub async fn stop(
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
) -> StoreResult<EndRun> {
    let mut versions = versions.clone();
    let dag = lock_dag(tx, locks, &run.dag_id).await?;
    let ended = cancel_run(tx, dag.runs(), &mut versions, run.id).await?;
    finish(tx, &dag, versions, actor, run, (ended, "cancel_run")).await
}

/// Marks a run as succeeded or failed, whether it has finished or not.
#[boxed]
pub async fn mark(
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
    to: RunEnd,
) -> StoreResult<EndRun> {
    let mut versions = versions.clone();
    let dag = lock_dag(tx, locks, &run.dag_id).await?;
    let ended = set_run_state(tx, dag.runs(), &mut versions, run.id, to).await?;
    finish(tx, &dag, versions, actor, run, (ended, "mark_dag_run")).await
}

/// Starts queued runs of the DAG and writes the audit record, unless the run had finished before.
async fn finish(
    tx: &mut PgConnection,
    dag: &DagLock,
    mut versions: Versions,
    actor: &Actor,
    run: &RunDetails,
    (ended, event): (EndRun, &str),
) -> StoreResult<EndRun> {
    if let EndRun::Ended(state) = ended {
        start_queued_runs_of(tx, dag, &mut versions).await?;
        let extra = Some(json!({ "state": state, "was": run.state }));
        actor.did(tx, Deed { extra, ..about(event, run) }).await?;
    }
    Ok(ended)
}

/// Moves a run to the newest version of its DAG.
#[boxed]
pub async fn move_to_newest(
    tx: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
) -> StoreResult<MoveRun> {
    let Some(dag) = get_dag(tx, &run.dag_id).await? else { return Ok(MoveRun::NoSuchRun) };
    let moved = move_run(tx, locks, &mut versions.clone(), run.id, dag.version).await?;
    if moved == MoveRun::Moved {
        let extra = Some(json!({ "version": dag.version_number, "was": run.version_number }));
        actor.did(tx, Deed { extra, ..about("move_dag_run", run) }).await?;
    }
    Ok(moved)
}

/// Hints for the workers: a queued run may start in place of the deleted one.
pub const DELETED: [Hint; 1] = [Hint::Ready];

/// Deletes a run that is not running.
#[boxed]
pub async fn delete(
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
) -> StoreResult<DeleteRun> {
    let dag = lock_dag(tx, locks, &run.dag_id).await?;
    let deleted = delete_run(tx, dag.runs(), &run.dag_id, &run.run_id).await?;
    if deleted == DeleteRun::Deleted {
        start_queued_runs_of(tx, &dag, &mut versions.clone()).await?;
        actor.did(tx, about("delete_dag_run", run)).await?;
    }
    Ok(deleted)
}

/// Sets the note of a run. `None` removes it.
#[boxed]
pub async fn note(tx: &mut PgConnection, actor: &Actor, run: &RunDetails, note: Option<&str>) -> StoreResult<()> {
    set_note(tx, run.id, note).await?;
    actor.did(tx, about("note_dag_run", run)).await
}

pub(crate) fn about<'a>(event: &'a str, run: &'a RunDetails) -> Deed<'a> {
    Deed { event, dag_id: Some(&run.dag_id), run_id: Some(&run.run_id), ..Deed::default() }
}
