//! Immediate retries of failed alerts, and test alerts that show whether a connection works.

use crate::{Actor, boxed};
use orch_spec::Notifier;
use orch_store::StoreResult;
use orch_store::alert::{Retry, add_test_alert, retry_alert};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use serde_json::json;
use sqlx::PgConnection;

/// Hint for the worker that sends alerts.
pub const DUE: Hint = Hint::Alert;

/// Makes an alert due immediately that waits for its next attempt or was given up.
#[boxed]
pub async fn retry(tx: &mut PgConnection, actor: &Actor, id: i64) -> StoreResult<Retry> {
    let retried = retry_alert(tx, id).await?;
    if retried == Retry::Due {
        let extra = Some(json!({ "alert": id }));
        actor.did(tx, Deed { event: "retry_alert", extra, ..Deed::default() }).await?;
    }
    Ok(retried)
}

/// Adds an alert without an event behind it and returns its id.
#[boxed]
pub async fn test(tx: &mut PgConnection, actor: &Actor, notifier: Notifier) -> StoreResult<i64> {
    let extra = Some(json!({ "connection": notifier.connection }));
    let id = add_test_alert(tx, notifier, &actor.name).await?;
    actor.did(tx, Deed { event: "test_alert", extra, ..Deed::default() }).await?;
    Ok(id)
}
