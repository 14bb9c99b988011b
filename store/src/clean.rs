//! Removes old rows: whole weeks as partitions, other rows in batches. Cleaning does not touch active runs and does not
//! block claims. If it is killed, nothing is lost: each row is either still in its table or archived, and the next
//! cleaning continues.
//!
//! Archived rows first stay in the database, in tables `archived__…`. A whole week is detached as a partition; other
//! rows are moved by the statement that deletes them. `archived.rs` manages these tables. `retire.rs` contains the
//! cleaning that schedulers do.

mod archived;
mod count;
mod passes;
mod record;
mod retire;
mod rows;
mod runs;
mod table;
mod weeks;

pub use archived::{Archived, drop_archived, list_archived};
pub use count::{Count, count_old};
pub use passes::{Failing, Passes, pass_begins, pass_due, pass_failed, pass_went_well, passes};
pub use record::{CleanupRow, list_cleanups};
pub use retire::{Report, retire, retire_each, retire_to};
pub use table::Table;

pub(crate) use archived::{columns, count_rows};
pub(crate) use record::{Mark, RowDisposal};
pub(crate) use weeks::{Change, leaf_is_there, patiently};

use crate::connect::{first_error, restore_statement_timeout};
use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgConnection;

/// Advisory lock: only one process cleans at a time.
const CLEAN_LOCK: i64 = 0x6f72_6368_636c;
/// A waiting lock request blocks all later statements on the table, so it times out soon and is retried.
pub(crate) const LOCK_TIMEOUT: &str = "set local lock_timeout = '250ms'";

#[derive(Debug, Clone)]
pub struct CleanRequest {
    pub before: DateTime<Utc>,
    pub tables: Vec<Table>,
    /// Removes only rows of these DAGs. Empty means all DAGs.
    pub only: Vec<String>,
    /// Keeps the rows of these DAGs.
    pub except: Vec<String>,
    /// Maximum number of runs removed per transaction, or of rows in tables that do not belong to runs.
    pub batch: i64,
    pub goes: Goes,
    /// The user or process that requested the cleaning.
    pub actor: String,
}

/// The treatment of removed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// The rows are moved into other tables of the database.
    Archived,
    /// The rows are deleted permanently.
    Dropped,
}

impl CleanRequest {
    pub fn of(tables: &[Table], before: DateTime<Utc>, goes: Goes, actor: &str) -> CleanRequest {
        let (only, except) = (Vec::new(), Vec::new());
        CleanRequest { before, tables: tables.to_vec(), only, except, batch: 1_000, goes, actor: actor.into() }
    }

    /// True if the request includes all DAGs, so that weeks can be removed as a whole.
    pub fn is_of_all(&self) -> bool {
        self.only.is_empty() && self.except.is_empty()
    }
}

/// A finished part of a cleaning: a table, or one week of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    pub table: String,
    pub week: Option<NaiveDate>,
    pub how: &'static str,
    /// An estimate by Postgres if the part is a whole week.
    pub rows: Option<i64>,
    pub place: Option<String>,
}

/// Removes the requested rows, and reports each part when it is finished.
///
/// # Errors
/// Returns an error if another process is cleaning, or if a partition was locked for a long time. Finished parts stay
/// removed.
#[boxed]
pub async fn clean(db: &mut PgConnection, wish: &CleanRequest, tell: &mut Tell<'_>) -> StoreResult<()> {
    begin(db).await?;
    let cleaned = carry_out(db, wish, tell).await;
    first_error(cleaned, end(db).await)
}

/// Callback that receives each finished part.
pub type Tell<'a> = dyn FnMut(&Cleaned) + Send + 'a;

async fn carry_out(db: &mut PgConnection, wish: &CleanRequest, tell: &mut Tell<'_>) -> StoreResult<()> {
    let stamp = now(db).await?.format("%Y%m%d%H%M%S%3f").to_string();
    // All tables share one mover, because log rows of removed runs and other old log rows go into the same archived
    // table.
    let mut mover = rows::Mover::new(wish, &stamp);
    for &table in &wish.tables {
        match table {
            Table::DagRun => runs::clean_runs(db, wish, &mut mover, tell).await?,
            Table::LogChunk => runs::clean_logs(db, wish, &mut mover, tell).await?,
            other => rows::clean_rows(db, wish, other, &mut mover).await?,
        }
        mover.tell_of_new(tell);
    }
    mover.tidy(db).await
}

/// Takes the cleaning lock, which Postgres releases when the session ends, and raises the statement timeout.
pub(crate) async fn begin(db: &mut PgConnection) -> StoreResult<()> {
    let mine: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(CLEAN_LOCK).fetch_one(&mut *db).await?;
    if !mine {
        return Err(StoreError::CleaningElsewhere);
    }
    take_time(db).await
}

/// Raises the statement timeout of this session, because reading a large table takes longer than other statements.
#[boxed]
pub async fn take_time(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("set statement_timeout = '30min'").execute(&mut *db).await?;
    // Makes scans read the rows of a table in the same order each time, so that a repeated export writes identical
    // objects.
    sqlx::query("set synchronize_seqscans = off").execute(db).await?;
    Ok(())
}

/// Restores the session settings that [`take_time`] changed.
async fn reset_time(db: &mut PgConnection) -> StoreResult<()> {
    restore_statement_timeout(db).await?;
    sqlx::query("reset synchronize_seqscans").execute(db).await?;
    Ok(())
}

/// Restores the session settings and releases the cleaning lock.
pub(crate) async fn end(db: &mut PgConnection) -> StoreResult<()> {
    reset_time(db).await?;
    sqlx::query("select pg_advisory_unlock($1)").bind(CLEAN_LOCK).execute(db).await?;
    Ok(())
}

/// Returns the time of the database.
pub(crate) async fn now(db: &mut PgConnection) -> StoreResult<DateTime<Utc>> {
    Ok(sqlx::query_scalar("select now()").fetch_one(db).await?)
}
