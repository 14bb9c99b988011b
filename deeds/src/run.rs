//! Runs: how they end before their tasks do.

use crate::Actor;
use orch_core::transition::RunEnd;
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::run::{EndRun, RunDetails, cancel_run, set_run_state, start_queued_runs};
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;

/// For those who run its tasks, who wait for its end, and who claim what begins in its place.
pub const ENDED: [Hint; 3] = [Hint::Stop, Hint::Run, Hint::Ready];

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
