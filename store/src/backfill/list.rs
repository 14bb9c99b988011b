//! Backfills as people see them, with how far they are.

use crate::{StoreResult, boxed, run::word};
use chrono::{DateTime, Utc};
use orch_core::backfill::Reprocess;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// A backfill, and how many of its dates are where.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its author")]
pub struct BackfillRow {
    pub id: i32,
    pub dag_id: String,
    pub from_date: DateTime<Utc>,
    pub to_date: DateTime<Utc>,
    pub run_backwards: bool,
    pub reprocess: Reprocess,
    pub max_active_runs: i32,
    pub latest: bool,
    pub conf: Option<Value>,
    pub task_regex: Option<String>,
    pub with_upstream: bool,
    pub is_paused: bool,
    pub is_cancelled: bool,
    pub created_by: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    /// Its DAG is paused: nothing begins.
    pub dag_is_paused: bool,
    /// Not yet begun.
    pub planned: i64,
    pub queued: i64,
    pub running: i64,
    pub success: i64,
    pub failed: i64,
    /// Nothing was done for them.
    pub skipped: i64,
    /// It was cancelled, or their runs were deleted.
    pub dropped: i64,
}

impl BackfillRow {
    pub fn total(&self) -> i64 {
        self.planned + self.queued + self.running + self.over()
    }

    /// Dates of which nothing more is to come.
    pub fn over(&self) -> i64 {
        self.success + self.failed + self.skipped + self.dropped
    }
}

/// Which backfills.
#[derive(Debug, Clone, Default)]
pub struct BackfillFilter {
    pub dag_id: Option<String>,
    pub id: Option<i32>,
    /// Only those that are not over.
    pub active: bool,
    /// The oldest first.
    pub ascending: bool,
}

/// Newest first, unless it is said otherwise.
#[boxed]
pub async fn list_backfills(
    db: &mut PgConnection,
    filter: &BackfillFilter,
    most: i64,
    skip: i64,
) -> StoreResult<Vec<BackfillRow>> {
    let rows = sqlx::query_file!(
        "queries/backfill/list.sql",
        filter.dag_id,
        filter.id,
        filter.active,
        filter.ascending,
        most.clamp(0, 1_000),
        skip.max(0)
    );
    let rows = rows.fetch_all(db).await?;
    rows.into_iter()
        .map(|row| {
            Ok(BackfillRow {
                id: row.id,
                dag_id: row.dag_id,
                from_date: row.from_date,
                to_date: row.to_date,
                run_backwards: row.run_backwards,
                reprocess: word(&row.reprocess)?,
                max_active_runs: row.max_active_runs,
                latest: row.latest,
                conf: row.conf,
                task_regex: row.task_regex,
                with_upstream: row.with_upstream,
                is_paused: row.is_paused,
                is_cancelled: row.is_cancelled,
                created_by: row.created_by,
                created_at: row.created_at,
                updated_at: row.updated_at,
                completed_at: row.completed_at,
                dag_is_paused: row.dag_is_paused,
                planned: row.planned,
                queued: row.queued,
                running: row.running,
                success: row.success,
                failed: row.failed,
                skipped: row.skipped,
                dropped: row.dropped,
            })
        })
        .collect()
}

#[boxed]
pub async fn count_backfills(db: &mut PgConnection, filter: &BackfillFilter) -> StoreResult<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from backfill b where ($1::text is null or b.dag_id = $1)
          and ($2::integer is null or b.id = $2) and (not $3 or b.completed_at is null)"#,
        filter.dag_id,
        filter.id,
        filter.active
    );
    Ok(count.fetch_one(db).await?)
}

#[boxed]
pub async fn get_backfill(db: &mut PgConnection, id: i32) -> StoreResult<Option<BackfillRow>> {
    let filter = BackfillFilter { id: Some(id), ..BackfillFilter::default() };
    Ok(list_backfills(db, &filter, 1, 0).await?.pop())
}

/// A date of a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillDate {
    pub ordinal: i32,
    pub logical_date: DateTime<Utc>,
    /// `planned`, `skipped`, `dropped`, or the state of its run.
    pub state: String,
    pub why: Option<String>,
    pub run: Option<Uuid>,
    pub run_id: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// The dates of a backfill behind an ordinal, in the order in which they are run.
#[boxed]
pub async fn list_dates(db: &mut PgConnection, id: i32, after: i32, most: i64) -> StoreResult<Vec<BackfillDate>> {
    let dates = sqlx::query_as!(
        BackfillDate,
        r#"select x.ordinal, x.logical_date, case x.state when 'active' then coalesce(r.state::text, 'dropped')
            else x.state end as "state!", x.why, r.id as "run?", r.run_id as "run_id?", r.started_at, r.ended_at
        from backfill_run x left join dag_run r on r.id = x.run
        where x.backfill = $1 and x.ordinal > $2 order by x.ordinal limit $3"#,
        id,
        after,
        most.clamp(0, 10_000)
    );
    Ok(dates.fetch_all(db).await?)
}
