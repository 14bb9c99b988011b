//! Adopts databases from before the squash, which replaced the early migrations by one, `create_schema`. The last
//! release before the squash created the same schema, column for column. Only its record of migrations differs, and is
//! replaced by the one row of `create_schema`. Older databases must first be migrated by that release.

use crate::{MIGRATOR, StoreError, StoreResult};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Schema version of the last release before the squash (commit f467ca96).
pub(super) const LAST: i32 = 24;
/// Schema version that `create_schema` gives the same schema.
const FIRST: i32 = 25;
/// SHA-256 of the 24 versions and checksums that the last release before the squash wrote into `_sqlx_migrations`.
const RECORD: &str = "d5e52740441ce6af40da7e08ac2b33dac39a9bb9b75c9c6c529cf81500d30ea1";

pub(super) const TOO_OLD: &str =
    "bring the database up with the orch of commit f467ca96 first: its `orch db migrate`, then that of this binary";

/// Replaces the record of migrations that the last release before the squash wrote. Returns an error if the record
/// differs from the expected one.
pub(super) async fn adopt(db: &mut PgConnection) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    // This query is not checked at compile time, because sqlx creates the table, not a migration.
    let record: Option<String> = sqlx::query_scalar(
        "select encode(sha256(convert_to(string_agg(version || ':' || success || ':' || encode(checksum, 'hex'), ','
            order by version), 'UTF8')), 'hex')
        from _sqlx_migrations",
    )
    .fetch_one(&mut *tx)
    .await?;
    if record.as_deref() != Some(RECORD) {
        return Err(StoreError::corrupt(format!(
            "the record of migrations: the schema says version {LAST}, `_sqlx_migrations` says something else"
        )));
    }
    let first = MIGRATOR.iter().find(|migration| migration.migration_type.is_up_migration());
    let first = first.ok_or_else(|| StoreError::corrupt("this binary has no migrations"))?;
    sqlx::query("delete from _sqlx_migrations").execute(&mut *tx).await?;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values ($1, $2, true, $3, -1)",
    )
    .bind(first.version)
    .bind(&*first.description)
    .bind(&*first.checksum)
    .execute(&mut *tx)
    .await?;
    // Sets the same values as `create_schema`, because binaries of the last release may still run beside this one.
    sqlx::query("update schema_guard set version = $1, min_binary = $2")
        .bind(FIRST)
        .bind(LAST)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}
