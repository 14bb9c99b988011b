//! SQL queries of users: start and cancel.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::query_history::{begin_query, cancel_query};
use serde_json::json;
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// Records a query before it runs. `most` is its time limit. Returns `false` if the id is taken.
#[boxed]
pub async fn begin(tx: &mut PgConnection, actor: &Actor, id: Uuid, sql: &str, most: Duration) -> StoreResult<bool> {
    let is_new = begin_query(tx, id, &actor.name, sql, most).await?;
    if is_new {
        let extra = Some(json!({ "query_id": id, "sql": sql }));
        actor.did(tx, Deed { event: "run_sql", extra, ..Deed::default() }).await?;
    }
    Ok(is_new)
}

/// Cancels a query of the user `of`, or of any user if `of` is `None`. Returns `false` if no such query is running.
#[boxed]
pub async fn cancel(tx: &mut PgConnection, actor: &Actor, id: Uuid, of: Option<&str>) -> StoreResult<bool> {
    let runs = cancel_query(tx, id, of).await?;
    if runs {
        let extra = Some(json!({ "query_id": id }));
        actor.did(tx, Deed { event: "cancel_sql", extra, ..Deed::default() }).await?;
    }
    Ok(runs)
}
