//! `PATCH /api/v2/pools`: many pools by one request.

use super::{Sent, add, remove, update};
use crate::api::bulk::{BulkResponse, Entity, Kind, actions, carry_out};
use crate::extract::{Actor, JsonBody};
use crate::guard::MayDelete;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_store::hint::Hint;
use orch_store::pool::get_pool;
use sqlx::PgConnection;

pub(crate) async fn bulk(
    State(app): State<App>,
    actor: Actor,
    Extension(may_delete): Extension<MayDelete>,
    body: JsonBody,
) -> Result<Json<BulkResponse>, Refusal> {
    let actions = actions(body.fields(), "name", |fields, kind, mask| match kind {
        Kind::Delete => Sent::read_named(fields),
        Kind::Create | Kind::Update => Sent::read(fields, mask),
    })?;
    let answer = carry_out(&app, &actor, may_delete, &actions).await?;
    app.hints.give(Hint::Due);
    Ok(Json(answer))
}

impl Entity for Sent {
    fn name(&self) -> &str {
        &self.name
    }

    async fn exists(&self, tx: &mut PgConnection) -> Result<bool, Refusal> {
        Ok(get_pool(tx, &self.name).await?.is_some())
    }

    async fn add(&self, _app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        add(tx, actor, self).await.map(|_| ())
    }

    async fn update(&self, _app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        update(tx, actor, self).await.map(|_| ())
    }

    async fn remove(&self, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        remove(tx, actor, &self.name).await
    }
}
