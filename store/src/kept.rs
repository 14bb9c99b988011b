//! Named things that people keep: pools, variables, connections, topics. One table of each says its columns; what is sealed is sealed here
//! on its way in, and opened only where a caller asks for it.

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

use crate::{StoreError, StoreResult, boxed};
use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// A table of named things. Its parts are written into SQL as they are: they never come from a caller.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// The column that names a row.
    pub key: &'static str,
    /// What is read, called `r`: the table, or a query that adds what is counted.
    pub from: &'static str,
    /// Columns with sealed values.
    pub sealed: &'static [&'static str],
    /// It has `created_at` and `updated_at`.
    pub has_moments: bool,
}

/// Maximum number of rows of a page.
const MAX_PAGE: i64 = 10_000;

/// Maximum size of all rows of a table, as JSON.
pub const MAX_EXPORT_BYTES: usize = 64 << 20;

#[boxed]
pub async fn get(db: &mut PgConnection, table: &'static Table, name: &str) -> StoreResult<Option<Record>> {
    let sql = format!("select to_jsonb(r) from {} where r.{} = $1", table.from, table.key);
    one(db, table, sql, name).await
}

/// The same, locked until the end of the transaction. Nothing is counted.
#[boxed]
pub async fn lock(db: &mut PgConnection, table: &'static Table, name: &str) -> StoreResult<Option<Record>> {
    let sql = format!("select to_jsonb(r) from {} r where r.{} = $1 for update", table.name, table.key);
    one(db, table, sql, name).await
}

async fn one(db: &mut PgConnection, table: &'static Table, sql: String, name: &str) -> StoreResult<Option<Record>> {
    let found: Option<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(name).fetch_optional(db).await?;
    found.map(|row| Record::of(table, row)).transpose()
}

/// By name, behind `after`.
#[boxed]
pub async fn list(
    db: &mut PgConnection,
    table: &'static Table,
    after: Option<&str>,
    most: i64,
) -> StoreResult<Vec<Record>> {
    let Table { from, key, .. } = table;
    let sql =
        format!("select to_jsonb(r) from {from} where r.{key} > coalesce($1::text, '') order by r.{key} limit $2");
    let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(after).bind(most.clamp(0, MAX_PAGE));
    rows.fetch_all(db).await?.into_iter().map(|row: Value| Record::of(table, row)).collect()
}

/// Returns all rows, by name. `None` if they are larger than [`MAX_EXPORT_BYTES`].
#[boxed]
pub async fn list_all(db: &mut PgConnection, table: &'static Table) -> StoreResult<Option<Vec<Record>>> {
    let Table { from, key, .. } = table;
    let sql = format!("select to_jsonb(r)::text from {from} order by r.{key}");
    let mut rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).fetch(db);
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        bytes += row.len();
        if bytes > MAX_EXPORT_BYTES {
            return Ok(None);
        }
        let row = serde_json::from_str(&row).map_err(|error| StoreError::corrupt(error.to_string()))?;
        records.push(Record::of(table, row)?);
    }
    Ok(Some(records))
}
