//! Backfills: create, pause, resume and cancel.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::backfill::{
    BackfillRow, CancelBackfill, CreateBackfill, NewBackfill, cancel_backfill, create_backfill, pause_backfill,
};
use orch_store::hint::Hint;
use orch_store::locks::{Dags, Locks};
use orch_store::version::Versions;
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Hint for the schedulers that create the runs.
pub const CREATED: Hint = Hint::Due;

/// Hints for the schedulers that create the runs, and for clients that follow the backfill.
pub const PAUSED: [Hint; 2] = [Hint::Due, Hint::Run];

/// Hints for the workers that run its tasks, and for clients that follow its runs.
pub const CANCELLED: [Hint; 2] = [Hint::Stop, Hint::Run];

/// Creates a backfill and returns its id, or the reason why it was rejected.
#[boxed]
pub async fn create(
    tx: &mut PgConnection,
    versions: &Versions,
    actor: &Actor,
    new: &NewBackfill,
) -> StoreResult<CreateBackfill<i32>> {
    let created = create_backfill(tx, &mut versions.clone(), new).await?;
    if let CreateBackfill::Done(id) = created {
        let extra = json!({ "backfill": id, "reprocess": new.wish.reprocess, "max_active_runs": new.max_active_runs });
        actor.did(tx, about("create_backfill", &new.dag_id, extra)).await?;
    }
    Ok(created)
}

/// Pauses or resumes the creation of runs. Returns `false` if the backfill has finished.
#[boxed]
pub async fn set_paused(tx: &mut PgConnection, actor: &Actor, of: &BackfillRow, paused: bool) -> StoreResult<bool> {
    let goes_on = pause_backfill(tx, of.id, paused).await?;
    if goes_on {
        let event = if paused { "pause_backfill" } else { "unpause_backfill" };
        actor.did(tx, about(event, &of.dag_id, json!({ "backfill": of.id }))).await?;
    }
    Ok(goes_on)
}

/// Drops the dates that have no run yet. Also stops the active runs if `stop_running` is set.
#[boxed]
pub async fn cancel(
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &Versions,
    actor: &Actor,
    of: &BackfillRow,
    stop_running: bool,
) -> StoreResult<CancelBackfill> {
    let cancelled = cancel_backfill(tx, locks, &mut versions.clone(), of.id, stop_running).await?;
    if let CancelBackfill::Cancelled { dropped, ended } = cancelled {
        let extra = json!({ "backfill": of.id, "dates": dropped, "runs": ended });
        actor.did(tx, about("cancel_backfill", &of.dag_id, extra)).await?;
    }
    Ok(cancelled)
}

fn about<'a>(event: &'a str, dag_id: &'a str, extra: Value) -> Deed<'a> {
    Deed { event, dag_id: Some(dag_id), extra: Some(extra), ..Deed::default() }
}
