//! Tables of archived rows that cleanings created: `archived__<table>__<time>`, or `archived__<table>_<week>__<time>`
//! for a detached week. Nothing writes to these tables.

use super::record::{Mark, RowDisposal};
use super::weeks::{Change, patiently};
use crate::{StoreResult, boxed};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    pub name: String,
    /// The table that the archived rows came from.
    pub of: String,
    pub bytes: i64,
}

/// Returns the tables of archived rows, sorted by name. If `tables` is not empty, returns only tables whose rows came
/// from one of `tables`. Skips tables that are dropped meanwhile.
#[boxed]
pub async fn list_archived(db: &mut PgConnection, tables: &[String]) -> StoreResult<Vec<Archived>> {
    let found = sqlx::query_as!(
        Archived,
        r#"select name as "name!", of as "of!", bytes as "bytes!"
        from (select relname as name, pg_total_relation_size(oid) as bytes,
            substring(relname from '^archived__([a-z_]+?)(?:_\d{4}w\d{2})?__\d+$') as of
          from pg_class
          where relkind = 'r' and relnamespace = current_schema()::regnamespace
            and relname ~ '^archived__[a-z_]+(_\d{4}w\d{2})?__\d+$') archived
        where bytes is not null and (cardinality($1::text[]) = 0 or of = any($1))
        order by name limit 10000"#,
        tables
    );
    Ok(found.fetch_all(db).await?)
}

/// Returns the tables of archived rows that cleanings of this actor created.
pub(super) async fn archived_by(db: &mut PgConnection, actor: &str) -> StoreResult<Vec<Archived>> {
    let mut found = list_archived(db, &[]).await?;
    let names: Vec<String> = found.iter().map(|archived| archived.name.clone()).collect();
    let own = sqlx::query_scalar!(
        r#"select distinct place as "place!" from cleanup where actor = $1 and how = 'archived' and place = any($2)"#,
        actor,
        &names
    );
    let own = own.fetch_all(db).await?;
    found.retain(|archived| own.contains(&archived.name));
    Ok(found)
}

/// Drops a table of archived rows permanently.
#[boxed]
pub async fn drop_archived(db: &mut PgConnection, actor: &str, archived: &Archived) -> StoreResult<()> {
    let note = Mark { actor, table: &archived.of, week: None, how: RowDisposal::Dropped, rows: None, place: None };
    patiently(db, &Change::drop(&archived.name), &note).await.map(drop)
}

pub(crate) async fn count_rows(db: &mut PgConnection, table: &str) -> StoreResult<u64> {
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}"))).fetch_one(db).await?;
    Ok(rows as u64)
}

/// Returns the names and types of the columns of a table.
pub(crate) async fn columns(db: &mut PgConnection, table: &str) -> StoreResult<Vec<(String, String)>> {
    let columns = sqlx::query_as(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum",
    );
    Ok(columns.bind(table).fetch_all(db).await?)
}
