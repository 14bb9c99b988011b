//! `PATCH /api/v2/variables`: many variables by one request.

use super::{Sent, add, remove, update};
use crate::api::bulk::Entity;
use crate::extract::{Actor, Fields};
use crate::refusal::Refusal;
use crate::state::App;
use orch_store::variable::get_variable;
use sqlx::PgConnection;

impl Entity for Sent {
    const NAMED_BY: &'static str = "key";

    fn read(fields: &mut Fields, masked: &[&str]) -> Sent {
        Sent::read(fields, masked)
    }

    fn read_named(fields: &mut Fields, masked: &[&str]) -> Sent {
        Sent::read_named(fields, masked)
    }

    fn name(&self) -> &str {
        &self.key
    }

    async fn exists(&self, tx: &mut PgConnection) -> Result<bool, Refusal> {
        Ok(get_variable(tx, &self.key).await?.is_some())
    }

    async fn add(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        add(app, tx, actor, self.clone()).await.map(|_| ())
    }

    async fn update(&self, app: &App, tx: &mut PgConnection, actor: &Actor) -> Result<Vec<String>, Refusal> {
        update(app, tx, actor, &self.key, self.change.clone()).await.map(|_| Vec::new())
    }

    async fn remove(&self, tx: &mut PgConnection, actor: &Actor) -> Result<(), Refusal> {
        remove(tx, actor, &self.key).await
    }
}
