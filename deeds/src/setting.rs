//! Settings of the server, as administrators read them.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use serde_json::json;
use sqlx::PgConnection;

/// Records that settings were read: one, or all if `option` is `None`.
#[boxed]
pub async fn note_read(tx: &mut PgConnection, actor: &Actor, option: Option<&str>) -> StoreResult<()> {
    let extra = option.map(|option| json!({ "option": option }));
    actor.did(tx, Deed { event: "read_settings", extra, ..Deed::default() }).await
}
