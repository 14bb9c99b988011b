//! `PATCH /api/v2/variables`: many variables by one request.

use super::{Sent, add, remove, update};
use crate::api::bulk::{BulkResponse, Entity, Kind, actions, carry_out};
use crate::extract::{Actor, JsonBody};
use crate::guard::MayDelete;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_store::variable::get_variable;
use sqlx::PgConnection;

pub(crate) async fn bulk(
    State(app): State<App>,
    actor: Actor,
    Extension(may_delete): Extension<MayDelete>,
    body: JsonBody,
) -> Result<Json<BulkResponse>, Refusal> {
    let actions = actions(body.secret_fields(), "key", |fields, kind, mask| match kind {
        Kind::Delete => Sent::read_named(fields, mask),
        Kind::Create | Kind::Update => Sent::read(fields, mask),
    })?;
    Ok(Json(carry_out(&app, &actor, may_delete, &actions).await?))
}

impl Entity for Sent {
    fn name(&self) -> &str {
        &self.key
    }

    async fn exists(&self, tx: &mut PgConnection) -> Result<bool, Refusal> {
        Ok(get_variable(tx, &self.key).await?.is_some())
    }

    async fn add(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        add(app, tx, actor, self.clone()).await.map(|_| ())
    }

    async fn update(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        update(app, tx, actor, &self.key, self.change.clone()).await.map(|_| ())
    }

    async fn remove(&self, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        remove(tx, actor, &self.key).await
    }
}
