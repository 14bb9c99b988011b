//! Records of cleanings. Users read them, and so does the next cleaning.

use super::{Cleaned, Goes};
use crate::{StoreResult, boxed};
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgConnection;

/// The operation by which rows were removed from their table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowDisposal {
    Dropped,
    Deleted,
    Archived,
    Exported,
    RolledOver,
}

impl RowDisposal {
    /// Returns the disposal of rows that are cleaned in batches.
    pub(super) const fn of(goes: Goes) -> RowDisposal {
        match goes {
            Goes::Archived => RowDisposal::Archived,
            Goes::Dropped => RowDisposal::Deleted,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            RowDisposal::Dropped => "dropped",
            RowDisposal::Deleted => "deleted",
            RowDisposal::Archived => "archived",
            RowDisposal::Exported => "exported",
            RowDisposal::RolledOver => "rolled over",
        }
    }
}

/// A record of removed rows that is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark<'a> {
    pub(crate) actor: &'a str,
    pub(crate) table: &'a str,
    pub(crate) week: Option<NaiveDate>,
    pub(crate) how: RowDisposal,
    pub(crate) rows: Option<i64>,
    pub(crate) place: Option<&'a str>,
}

impl Mark<'_> {
    pub(crate) fn cleaned(&self) -> Cleaned {
        Cleaned {
            table: self.table.into(),
            week: self.week,
            how: self.how.as_str(),
            rows: self.rows,
            place: self.place.map(String::from),
        }
    }
}

/// Writes a record and returns its id. Must run in the transaction that removes the rows.
pub(crate) async fn mark(db: &mut PgConnection, mark: &Mark<'_>) -> StoreResult<i64> {
    let id = sqlx::query_scalar!(
        "insert into cleanup (actor, table_name, week, how, rows, place) values ($1, $2, $3, $4, $5, $6) returning id",
        mark.actor,
        mark.table,
        mark.week,
        mark.how.as_str(),
        mark.rows,
        mark.place
    );
    Ok(id.fetch_one(db).await?)
}

/// Adds removed rows to the count in the record of a cleaning.
pub(super) async fn mark_more(db: &mut PgConnection, id: i64, rows: i64) -> StoreResult<()> {
    sqlx::query!("update cleanup set rows = rows + $2 where id = $1", id, rows).execute(db).await?;
    Ok(())
}

/// The record of a finished part of a cleaning.
#[derive(Debug, Clone)]
pub struct CleanupRow {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub table_name: String,
    pub week: Option<NaiveDate>,
    /// What happened to the rows: `dropped`, `deleted`, `archived`, `exported` or `rolled over`.
    pub how: String,
    pub rows: Option<i64>,
    pub place: Option<String>,
}

/// Returns records of cleanings, newest first.
#[boxed]
pub async fn list_cleanups(db: &mut PgConnection, most: i64) -> StoreResult<Vec<CleanupRow>> {
    let rows = sqlx::query_as!(
        CleanupRow,
        "select id, at, actor, table_name, week, how, rows, place from cleanup order by at desc, id desc limit $1",
        most.clamp(0, 1_000)
    );
    Ok(rows.fetch_all(db).await?)
}
