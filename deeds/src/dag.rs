//! DAGs: whether they are paused, and their end.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::dag::{DeleteDag, delete_dag, pause, unpause};
use orch_store::hint::Hint;
use orch_store::run::start_queued_runs;
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;

/// For those who claim, who create runs and who wait for them: runs that waited begin.
pub const UNPAUSED: [Hint; 3] = [Hint::Ready, Hint::Due, Hint::Run];

/// Pauses DAGs, or lets them go on. Gives those that were not so before; only they are written down.
#[boxed]
pub async fn set_paused(
    tx: &mut PgConnection,
    versions: &Versions,
    actor: &Actor,
    ids: &[String],
    paused: bool,
) -> StoreResult<Vec<String>> {
    let changed = if paused { pause(tx, ids).await? } else { unpause(tx, ids).await? };
    let mut versions = versions.clone();
    for dag_id in &changed {
        if !paused {
            start_queued_runs(tx, &mut versions, dag_id).await?;
        }
        let event = if paused { "pause_dag" } else { "unpause_dag" };
        actor.did(tx, Deed { event, dag_id: Some(dag_id), ..Deed::default() }).await?;
    }
    Ok(changed)
}

/// Deletes a DAG with all its runs, unless something of it runs.
#[boxed]
pub async fn delete(tx: &mut PgConnection, actor: &Actor, dag_id: &str) -> StoreResult<DeleteDag> {
    let deleted = delete_dag(tx, dag_id).await?;
    if let DeleteDag::Deleted { runs } = deleted {
        let extra = Some(json!({ "runs": runs }));
        actor.did(tx, Deed { event: "delete_dag", dag_id: Some(dag_id), extra, ..Deed::default() }).await?;
    }
    Ok(deleted)
}
