//! `PATCH /api/v2/pools`: many pools by one request.

use super::{Sent, add, remove, update};
use crate::api::bulk::Entity;
use crate::extract::{Actor, Fields, JsonBody};
use crate::refusal::Refusal;
use crate::state::App;
use orch_store::hint::Hint;
use orch_store::pool::get_pool;
use sqlx::PgConnection;

impl Entity for Sent {
    const NAMED_BY: &'static str = "name";

    /// Nothing of it is secret.
    fn fields(body: JsonBody) -> Fields {
        body.fields()
    }

    fn read(fields: &mut Fields, masked: &[&str]) -> Sent {
        Sent::read(fields, masked)
    }

    fn read_named(fields: &mut Fields, _masked: &[&str]) -> Sent {
        Sent::read_named(fields)
    }

    /// There may be room: schedulers look.
    fn done(app: &App) {
        app.hints.give(Hint::Due);
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn exists(&self, tx: &mut PgConnection) -> Result<bool, Refusal> {
        Ok(get_pool(tx, &self.name).await?.is_some())
    }

    async fn add(&self, _app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        add(tx, actor, self).await.map(|_| ())
    }

    async fn update(&self, _app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<Vec<String>, Refusal> {
        update(tx, actor, self).await.map(|_| Vec::new())
    }

    async fn remove(&self, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        remove(tx, actor, &self.name).await
    }
}
