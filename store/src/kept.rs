//! Named objects of users: pools, variables, connections, topics. A [`Table`] describes the columns of each kind.
//! Secrets are encrypted (sealed) here when they are written, and decrypted only where a caller requests it.

mod record;
mod rotate;
mod search;
mod tables;
mod write;

pub use record::Record;
pub use rotate::{Rotated, count_locked, rotate};
pub use search::find;
pub use tables::{CONNECTION, POOL, TOPIC, VARIABLE};
pub use write::{Columns, delete, insert, update};

use crate::bounded::Collected;
use crate::{StoreError, StoreResult, boxed};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// A table of named objects. Its fields are inserted into SQL without escaping, so they must never come from a caller.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// The column that contains the name of an object.
    pub key: &'static str,
    /// SQL source of reads, with the alias `r`: the table itself, or a query that adds counts.
    pub from: &'static str,
    /// Columns whose values are sealed (encrypted).
    pub sealed: &'static [&'static str],
    /// True if the table has the columns `created_at` and `updated_at`.
    pub has_moments: bool,
}

/// Maximum number of rows in a page.
const MAX_PAGE: i64 = 10_000;

/// Maximum total size of the rows that are read together, as JSON.
const MAX_EXPORT_BYTES: usize = 64 << 20;

#[boxed]
pub async fn get(db: &mut PgConnection, table: &'static Table, name: &str) -> StoreResult<Option<Record>> {
    let sql = format!("select to_jsonb(r) from {} where r.{} = $1", table.from, table.key);
    one(db, table, sql, name).await
}

/// Like [`get`], but locks the row until the end of the transaction, and does not read counts.
#[boxed]
pub async fn lock(db: &mut PgConnection, table: &'static Table, name: &str) -> StoreResult<Option<Record>> {
    let sql = format!("select to_jsonb(r) from {} r where r.{} = $1 for update", table.name, table.key);
    one(db, table, sql, name).await
}

async fn one(db: &mut PgConnection, table: &'static Table, sql: String, name: &str) -> StoreResult<Option<Record>> {
    let found: Option<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(name).fetch_optional(db).await?;
    found.map(|row| Record::of(table, row)).transpose()
}

/// Returns the rows whose names follow `after`, ordered by name.
#[boxed]
pub async fn list(
    db: &mut PgConnection,
    table: &'static Table,
    after: Option<&str>,
    most: i64,
) -> StoreResult<Vec<Record>> {
    let Table { from, key, .. } = table;
    let sql = format!(
        "select to_jsonb(r)::text from {from} where r.{key} > coalesce($1::text, '') order by r.{key} limit $2"
    );
    let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(after).bind(most.clamp(0, MAX_PAGE));
    collect(rows.fetch(db), table).await
}

/// Returns all rows, ordered by name.
///
/// # Errors
/// Returns `StoreError::TooManyBytes` if the rows together are larger than `MAX_EXPORT_BYTES`.
#[boxed]
pub async fn list_all(db: &mut PgConnection, table: &'static Table) -> StoreResult<Vec<Record>> {
    let Table { from, key, .. } = table;
    let sql = format!("select to_jsonb(r)::text from {from} order by r.{key}");
    collect(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch(db), table).await
}

async fn collect(
    mut rows: BoxStream<'_, Result<String, sqlx::Error>>,
    table: &'static Table,
) -> StoreResult<Vec<Record>> {
    let mut records = Collected::new(MAX_EXPORT_BYTES);
    while let Some(row) = rows.try_next().await? {
        let record = serde_json::from_str(&row).map_err(|error| StoreError::corrupt(error.to_string()))?;
        records.push(Record::of(table, record)?, row.len())?;
    }
    Ok(records.into_vec())
}
