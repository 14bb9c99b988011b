//! Old rows go: whole weeks as partitions, the rest a few rows at a time. Nothing that runs is touched, nobody who claims
//! waits, and a cleaning that is killed has lost nothing: each row is where it was, or archived, and the next one goes on.
//!
//! What is archived stays in the database at first, in tables `archived__…`: a week by being cut off, the rest by one
//! statement that moves it. `archived.rs` knows them; `retire.rs` is what schedulers do.

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

use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgConnection;

/// Of whoever cleans: one at a time.
const CLEAN_LOCK: i64 = 0x6f72_6368_636c;
/// Whoever cannot have a lock at once makes others wait behind it: it gives up soon, and asks again.
pub(crate) const LOCK_TIMEOUT: &str = "set local lock_timeout = '250ms'";

/// What is to go.
#[derive(Debug, Clone)]
pub struct CleanRequest {
    pub before: DateTime<Utc>,
    pub tables: Vec<Table>,
    /// Only of these DAGs; empty: of all.
    pub only: Vec<String>,
    /// Not of these.
    pub except: Vec<String>,
    /// Runs, or rows, that go in one transaction.
    pub batch: i64,
    pub goes: Goes,
    /// Who wishes it.
    pub actor: String,
}

/// What becomes of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// Into tables beside the others.
    Archived,
    /// For good.
    Dropped,
}

impl CleanRequest {
    pub fn of(tables: &[Table], before: DateTime<Utc>, goes: Goes, actor: &str) -> CleanRequest {
        let (only, except) = (Vec::new(), Vec::new());
        CleanRequest { before, tables: tables.to_vec(), only, except, batch: 1_000, goes, actor: actor.into() }
    }

    /// Rows of all DAGs: weeks can go as a whole.
    pub fn is_of_all(&self) -> bool {
        self.only.is_empty() && self.except.is_empty()
    }
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    pub table: String,
    pub week: Option<NaiveDate>,
    pub how: &'static str,
    /// Of whole weeks, as many as Postgres guesses.
    pub rows: Option<i64>,
    pub place: Option<String>,
}

/// Carries a wish out, and tells each thing when it is done.
///
/// # Errors
/// Somebody else cleans; a partition could not be locked for a long time. What was done stays done.
#[boxed]
pub async fn clean(db: &mut PgConnection, wish: &CleanRequest, tell: &mut Tell<'_>) -> StoreResult<()> {
    begin(db).await?;
    let cleaned = carry_out(db, wish, tell).await;
    end(db).await?;
    cleaned
}

/// Hears of each thing that was done.
pub type Tell<'a> = dyn FnMut(&Cleaned) + Send + 'a;

async fn carry_out(db: &mut PgConnection, wish: &CleanRequest, tell: &mut Tell<'_>) -> StoreResult<()> {
    let stamp = now(db).await?.format("%Y%m%d%H%M%S%3f").to_string();
    // One for all: rows of a log go with their run, and with old logs, into the same archived table.
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

/// One at a time; whoever dies has let go. Statements of a cleaning may take longer than others.
pub(crate) async fn begin(db: &mut PgConnection) -> StoreResult<()> {
    let mine: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(CLEAN_LOCK).fetch_one(&mut *db).await?;
    if !mine {
        return Err(StoreError::CleaningElsewhere);
    }
    take_time(db).await
}

/// Statements of this session may take as long as reading a large table does.
#[boxed]
pub async fn take_time(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("set statement_timeout = '30min'").execute(&mut *db).await?;
    // Rows of a table always come in the same order, so that what is exported twice is the same objects.
    sqlx::query("set synchronize_seqscans = off").execute(db).await?;
    Ok(())
}

pub(crate) async fn end(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("reset statement_timeout").execute(&mut *db).await?;
    sqlx::query("reset synchronize_seqscans").execute(&mut *db).await?;
    sqlx::query("select pg_advisory_unlock($1)").bind(CLEAN_LOCK).execute(db).await?;
    Ok(())
}

/// By the database's clock.
pub(crate) async fn now(db: &mut PgConnection) -> StoreResult<DateTime<Utc>> {
    Ok(sqlx::query_scalar("select now()").fetch_one(db).await?)
}
