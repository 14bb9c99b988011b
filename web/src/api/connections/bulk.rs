//! `PATCH /api/v2/connections`: many connections by one request.

use super::{Sent, add, remove, update};
use crate::api::bulk::Entity;
use crate::extract::{Actor, Fields};
use crate::refusal::Refusal;
use crate::state::App;
use orch_store::connection::get_connection;
use sqlx::PgConnection;

impl Entity for Sent {
    const NAMED_BY: &'static str = "connection_id";

    fn read(fields: &mut Fields, masked: &[&str]) -> Sent {
        Sent::read(fields, masked)
    }

    fn read_named(fields: &mut Fields, masked: &[&str]) -> Sent {
        Sent::read_named(fields, masked)
    }

    fn name(&self) -> &str {
        &self.id
    }

    async fn exists(&self, tx: &mut PgConnection) -> Result<bool, Refusal> {
        Ok(get_connection(tx, &self.id).await?.is_some())
    }

    async fn add(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        add(app, tx, actor, &self.clone().whole()).await.map(|_| ())
    }

    async fn update(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<Vec<String>, Refusal> {
        Ok(update(app, tx, actor, &self.id, self.change.clone()).await?.1)
    }

    async fn remove(&self, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        remove(tx, actor, &self.id).await
    }
}
