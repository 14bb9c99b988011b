//! Deletes all data, for a user who starts over and has confirmed it twice.

use crate::{
    MIGRATOR, StoreError, StoreResult,
    guard::{self, Schema},
};
use sqlx::postgres::PgConnection;

/// Reverts all migrations and applies them again. Processes that use this database lose all their rows.
pub async fn reset(db: &mut PgConnection) -> StoreResult<()> {
    if let Schema::Old { .. } = guard::read_schema(db).await? {
        // Only the migrations of this binary can be reverted.
        guard::migrate(db).await?;
    }
    sqlx::query("set statement_timeout = 0").execute(&mut *db).await?;
    let undone = MIGRATOR.undo(&mut *db, 0).await;
    undone.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => error.into(),
        other => StoreError::corrupt(format!("the record of migrations: {other}")),
    })?;
    sqlx::query("reset statement_timeout").execute(&mut *db).await?;
    guard::migrate(db).await
}
