//! DAGs: pause, unpause and delete.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::dag::{DeleteDag, delete_dag, pause, unpause};
use orch_store::hint::Hint;
use orch_store::locks::{Dags, Locks};
use orch_store::run::start_queued_runs_of;
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;

/// Hints for workers, schedulers and clients that wait for runs: queued runs start.
pub const UNPAUSED: [Hint; 3] = [Hint::Ready, Hint::Due, Hint::Run];

/// Pauses or unpauses DAGs and returns the ids of those that changed. Unpausing also starts queued runs.
#[boxed]
pub async fn set_paused(
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &Versions,
    actor: &Actor,
    ids: &[String],
    paused: bool,
) -> StoreResult<Vec<String>> {
    if paused {
        let changed = pause(tx, &locks, ids).await?;
        actor.did_all(tx, changed.iter().map(|dag_id| about("pause_dag", dag_id)).collect()).await?;
        return Ok(changed);
    }
    let (mut versions, mut changed) = (versions.clone(), Vec::new());
    for dag in unpause(tx, locks, ids).await? {
        start_queued_runs_of(tx, &dag, &mut versions).await?;
        actor.did(tx, about("unpause_dag", dag.dag_id())).await?;
        changed.push(dag.dag_id().into());
    }
    Ok(changed)
}

/// Deletes a DAG with all its runs, unless one of them is running.
#[boxed]
pub async fn delete(tx: &mut PgConnection, locks: Locks<Dags>, actor: &Actor, dag_id: &str) -> StoreResult<DeleteDag> {
    let deleted = delete_dag(tx, locks, dag_id).await?;
    if let DeleteDag::Deleted { runs } = deleted {
        let extra = Some(json!({ "runs": runs }));
        actor.did(tx, Deed { extra, ..about("delete_dag", dag_id) }).await?;
    }
    Ok(deleted)
}

fn about<'a>(event: &'a str, dag_id: &'a str) -> Deed<'a> {
    Deed { event, dag_id: Some(dag_id), ..Deed::default() }
}
