//! Lists of named objects, with filters, orders and pages.

use super::{Record, Table};
use crate::list::{List, ListPage, Search};
use crate::{StoreResult, boxed};
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgConnection;

/// Returns a page of named objects, by default ordered by name.
#[boxed]
pub async fn find(db: &mut PgConnection, table: &'static Table, search: &Search) -> StoreResult<ListPage<Record>> {
    let list: List<Value> = List {
        select: "to_jsonb(r)",
        from: table.from,
        joins: &[],
        columns: &[],
        key: table.key,
        order: &[],
        read: |row| Ok(row.try_get(0)?),
    };
    let ListPage { rows, total } = list.find(db, search).await?;
    let rows = rows.into_iter().map(|row| Record::of(table, row)).collect::<StoreResult<_>>()?;
    Ok(ListPage { rows, total })
}
