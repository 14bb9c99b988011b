//! Alerts: one that failed is tried again at once, and a test alert shows whether a connection works.

use crate::{Actor, boxed};
use orch_spec::Notifier;
use orch_store::StoreResult;
use orch_store::alert::{Retry, add_test_alert, retry_alert};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use serde_json::json;
use sqlx::PgConnection;

/// For the worker that sends it.
pub const DUE: Hint = Hint::Alert;

/// Makes one due that waits or was given up.
#[boxed]
pub async fn retry(tx: &mut PgConnection, actor: &Actor, id: i64) -> StoreResult<Retry> {
    let retried = retry_alert(tx, id).await?;
    if retried == Retry::Due {
        let extra = Some(json!({ "alert": id }));
        actor.did(tx, Deed { event: "retry_alert", extra, ..Deed::default() }).await?;
    }
    Ok(retried)
}

/// Adds one that tells of nothing. Its id.
#[boxed]
pub async fn test(tx: &mut PgConnection, actor: &Actor, notifier: Notifier) -> StoreResult<i64> {
    let extra = Some(json!({ "connection": notifier.connection }));
    let id = add_test_alert(tx, notifier, &actor.name).await?;
    actor.did(tx, Deed { event: "test_alert", extra, ..Deed::default() }).await?;
    Ok(id)
}
