//! `PATCH /api/v2/connections`: many connections by one request.

use super::{Sent, add, remove, update};
use crate::api::bulk::{BulkResponse, Entity, Kind, actions, carry_out};
use crate::extract::{Actor, JsonBody};
use crate::guard::MayDelete;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_store::connection::get_connection;
use sqlx::PgConnection;

pub(crate) async fn bulk(
    State(app): State<App>,
    actor: Actor,
    Extension(may_delete): Extension<MayDelete>,
    body: JsonBody,
) -> Result<Json<BulkResponse>, Refusal> {
    let actions = actions(body.secret_fields(), "connection_id", |fields, kind, mask| match kind {
        Kind::Delete => Sent::read_named(fields, mask),
        Kind::Create | Kind::Update => Sent::read(fields, mask),
    })?;
    Ok(Json(carry_out(&app, &actor, may_delete, &actions).await?))
}

impl Entity for Sent {
    fn name(&self) -> &str {
        &self.id
    }

    async fn exists(&self, tx: &mut PgConnection) -> Result<bool, Refusal> {
        Ok(get_connection(tx, &self.id).await?.is_some())
    }

    async fn add(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        add(app, tx, actor, &self.clone().whole()).await.map(|_| ())
    }

    async fn update(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        update(app, tx, actor, &self.id, self.change.clone()).await.map(|_| ())
    }

    async fn remove(&self, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        remove(tx, actor, &self.id).await
    }
}
