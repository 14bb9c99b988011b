//! Asset updates that are reported from outside orch, and queued updates that users discard.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::asset::{NewEvent, QueueFilter, add_event, delete_queued, get_asset};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use serde_json::json;
use sqlx::PgConnection;

/// Hint for the schedulers: DAGs that wait for the asset may be due.
pub const UPDATED: Hint = Hint::Asset;

/// Adds an update event and returns its id. `None` if no asset has this id.
#[boxed]
pub async fn add_update(tx: &mut PgConnection, actor: &Actor, new: &NewEvent) -> StoreResult<Option<i64>> {
    let Some(asset) = get_asset(tx, new.asset).await? else { return Ok(None) };
    let event = add_event(tx, new).await?;
    let extra = Some(json!({ "asset": asset.uri, "partition_key": new.partition_key }));
    actor.did(tx, Deed { event: "create_asset_event", extra, ..Deed::default() }).await?;
    Ok(event)
}

/// Discards updates that have not started a run yet, and returns their number.
#[boxed]
pub async fn drop_queued(tx: &mut PgConnection, actor: &Actor, filter: &QueueFilter) -> StoreResult<u64> {
    let events = delete_queued(tx, filter).await?;
    if events > 0 {
        let (dag_id, extra) = (filter.dag_id.as_deref(), Some(json!({ "asset_id": filter.asset, "events": events })));
        actor.did(tx, Deed { event: "delete_queued_asset_events", dag_id, extra, ..Deed::default() }).await?;
    }
    Ok(events)
}
