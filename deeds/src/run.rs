//! Runs: how they end before their tasks do, and in which version of their DAG they go on.

use crate::Actor;
use orch_core::transition::RunEnd;
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::dag::get_dag;
use orch_store::hint::Hint;
use orch_store::run::{EndRun, MoveRun, RunDetails, cancel_run, move_run, set_run_state, start_queued_runs};
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;

/// For those who run its tasks, who wait for its end, and who claim what begins in its place.
pub const ENDED: [Hint; 3] = [Hint::Stop, Hint::Run, Hint::Ready];

/// For those who claim: what waits is offered again, by the workers of the new version.
pub const MOVED: [Hint; 1] = [Hint::Ready];

/// Stops a run: what it runs is stopped, what has not begun never will, and it has failed.
pub async fn stop(tx: &mut PgConnection, versions: &Versions, actor: &Actor, run: &RunDetails) -> StoreResult<EndRun> {
    let mut versions = versions.clone();
    let ended = cancel_run(tx, &mut versions, run.id).await?;
    finish(tx, versions, actor, run, (ended, "cancel_run")).await
}

/// Says how a run ended, whether it is over or not.
pub async fn mark(
    tx: &mut PgConnection,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
    to: RunEnd,
) -> StoreResult<EndRun> {
    let mut versions = versions.clone();
    let ended = set_run_state(tx, &mut versions, run.id, to).await?;
    finish(tx, versions, actor, run, (ended, "mark_dag_run")).await
}

/// Runs of its DAG that waited for its place begin. What was over already is not written down.
async fn finish(
    tx: &mut PgConnection,
    mut versions: Versions,
    actor: &Actor,
    run: &RunDetails,
    (ended, event): (EndRun, &str),
) -> StoreResult<EndRun> {
    if let EndRun::Ended(state) = ended {
        start_queued_runs(tx, &mut versions, &run.dag_id).await?;
        let deed = Deed {
            event,
            dag_id: Some(&run.dag_id),
            run_id: Some(&run.run_id),
            extra: Some(json!({ "state": state, "was": run.state })),
            ..Deed::default()
        };
        actor.did(tx, deed).await?;
    }
    Ok(ended)
}

/// Moves a run to the newest version of its DAG.
pub async fn move_to_newest(
    tx: &mut PgConnection,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
) -> StoreResult<MoveRun> {
    let Some(dag) = get_dag(tx, &run.dag_id).await? else { return Ok(MoveRun::NoSuchRun) };
    let moved = move_run(tx, &mut versions.clone(), run.id, dag.version).await?;
    if moved == MoveRun::Moved {
        let deed = Deed {
            event: "move_dag_run",
            dag_id: Some(&run.dag_id),
            run_id: Some(&run.run_id),
            extra: Some(json!({ "version": dag.version_number, "was": run.version_number })),
            ..Deed::default()
        };
        actor.did(tx, deed).await?;
    }
    Ok(moved)
}
