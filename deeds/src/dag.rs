//! DAGs: whether they are paused.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::dag::{pause, unpause};
use orch_store::hint::Hint;
use orch_store::run::start_queued_runs;
use orch_store::version::Versions;
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
