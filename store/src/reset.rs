//! Everything goes: for somebody who begins anew and has been asked twice.

use crate::{
    MIGRATOR, StoreError, StoreResult,
    guard::{self, Schema},
};
use sqlx::postgres::PgConnection;

/// Undoes all migrations and applies them again. Whoever works on this database finds nothing of its own afterwards.
pub async fn reset(db: &mut PgConnection) -> StoreResult<()> {
    if let Schema::Old { .. } = guard::read_schema(db).await? {
        // What is undone are the migrations of this binary.
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
