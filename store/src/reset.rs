//! Deletes all data of the installation. Users must confirm this twice.

use crate::{
    MIGRATOR, StoreError, StoreResult,
    connect::{first_error, restore_statement_timeout},
    guard::{self, Schema},
};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnection;

/// Reverts all migrations and applies them again. All processes that use this database lose their rows.
pub async fn reset(db: &mut PgConnection) -> StoreResult<()> {
    if let Schema::Old { .. } = guard::read_schema(db).await? {
        // Migrate first, because only the migrations that this binary contains can be reverted.
        guard::migrate(db).await?;
    }
    sqlx::query("set statement_timeout = 0").execute(&mut *db).await?;
    let undone = MIGRATOR.undo(&mut *db, 0).await;
    let undone = undone.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::from(error),
        other => StoreError::corrupt(format!("the record of migrations: {other}")),
    });
    first_error(undone, restore_statement_timeout(db).await)?;
    guard::migrate(db).await
}
