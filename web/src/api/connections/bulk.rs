//! `PATCH /api/v2/connections`: many connections by one request.

use super::{Sent, add, remove, update};
use crate::api::bulk::{BulkResponse, Existing, Kind, actions, each_alone};
use crate::extract::{Actor, JsonBody};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::connection::get_connection;

pub(crate) async fn bulk(State(app): State<App>, actor: Actor, body: JsonBody) -> Result<Json<BulkResponse>, Refusal> {
    let actions = actions(body.secret_fields(), "connection_id", |fields, kind, mask| match kind {
        Kind::Delete => Sent::read_named(fields, mask),
        Kind::Create | Kind::Update => Sent::read(fields, mask),
    })?;
    let done = each_alone(&app, &actions, async |tx, action, sent: &Sent| {
        let id = sent.id.as_str();
        match (action.kind, action.existing) {
            (Kind::Delete, _) => remove(tx, &actor, id).await?,
            (Kind::Create, Existing::Fail) => _ = add(&app, tx, &actor, &sent.clone().whole()).await?,
            (Kind::Create, _) if get_connection(tx, id).await?.is_none() => {
                _ = add(&app, tx, &actor, &sent.clone().whole()).await?;
            }
            (Kind::Create, Existing::Skip) => return Ok(None),
            (Kind::Update, _) | (Kind::Create, Existing::Overwrite) => {
                _ = update(&app, tx, &actor, id, sent.change.clone()).await?;
            }
        }
        Ok(Some(id.to_string()))
    });
    Ok(Json(done.await?))
}
