//! Lists of backfills, with their progress.

use crate::list::{List, Search};
use crate::run::{active_time, word};
use crate::{StoreResult, boxed};
use chrono::{DateTime, TimeDelta, Utc};
use orch_core::backfill::Reprocess;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// A backfill, with the number of its dates in each state.
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
    /// True if the DAG is paused, so that no run starts.
    pub dag_is_paused: bool,
    /// Number of dates that have no run yet.
    pub planned: i64,
    pub queued: i64,
    pub running: i64,
    pub success: i64,
    pub failed: i64,
    /// Number of dates that needed no run.
    pub skipped: i64,
    /// Number of dates without a run because the backfill was cancelled or the run was deleted.
    pub dropped: i64,
}

impl BackfillRow {
    pub fn total(&self) -> i64 {
        self.planned + self.queued + self.running + self.over()
    }

    /// Returns the number of finished dates.
    pub fn over(&self) -> i64 {
        self.success + self.failed + self.skipped + self.dropped
    }
}

/// Columns that users can filter backfills by.
pub mod by {
    use crate::list::Column;
    use crate::list::Filter::{Is, Must, Range, Switch};

    pub const ID: Column = Column::whole("id", "b.id").sorted();
    pub const DAG_ID: Column = Column::text("dag_id", "b.dag_id").by(&[Is]).about("Of that DAG");
    pub const ACTIVE: Column =
        Column::flag("active", "b.completed_at is null").by(&[Switch(false)]).about("Only those that are not over");

    pub(super) const ALL: &[Column] = &[
        ID,
        DAG_ID,
        ACTIVE,
        Column::moment("created_at", "b.created_at").by(&[Range]).sorted(),
        Column::moment("completed_at", "b.completed_at").by(&[Range]).nullable().sorted(),
    ];
    /// Columns of the list in Airflow's API, which requires a DAG id.
    pub const OF_DAG: &[Column] = &[ID, DAG_ID.by(&[Must])];
}

/// Backfills, by default newest first. A date that has a run counts under the state of that run.
pub static BACKFILLS: List<BackfillRow> = List {
    select: "b.id, b.dag_id, b.from_date, b.to_date, b.run_backwards, b.reprocess, b.max_active_runs, b.latest, b.conf,
        b.task_regex, b.with_upstream, b.is_paused, b.is_cancelled, b.created_by, b.created_at, b.updated_at, b.completed_at,
        d.is_paused as dag_is_paused, (
            select array[count(*) filter (where s.state = 'planned'), count(*) filter (where s.state = 'queued'),
                count(*) filter (where s.state = 'running'), count(*) filter (where s.state = 'success'),
                count(*) filter (where s.state = 'failed'), count(*) filter (where s.state = 'skipped'),
                count(*) filter (where s.state = 'dropped')]
            from (select case x.state when 'active' then coalesce(r.state::text, 'dropped') else x.state end as state
                from backfill_run x left join dag_run r on x.state = 'active' and r.id = x.run where x.backfill = b.id) s
        ) as counts",
    from: "backfill b join dag d on d.dag_id = b.dag_id",
    joins: &[],
    columns: by::ALL,
    key: "b.id",
    order: &[by::ID.descending()],
    read: |row| Columns::from_row(row)?.row(),
};

#[derive(FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its author")]
struct Columns {
    id: i32,
    dag_id: String,
    from_date: DateTime<Utc>,
    to_date: DateTime<Utc>,
    run_backwards: bool,
    reprocess: String,
    max_active_runs: i32,
    latest: bool,
    conf: Option<Value>,
    task_regex: Option<String>,
    with_upstream: bool,
    is_paused: bool,
    is_cancelled: bool,
    created_by: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    dag_is_paused: bool,
    counts: [i64; 7],
}

impl Columns {
    fn row(self) -> StoreResult<BackfillRow> {
        let [planned, queued, running, success, failed, skipped, dropped] = self.counts;
        Ok(BackfillRow {
            id: self.id,
            dag_id: self.dag_id,
            from_date: self.from_date,
            to_date: self.to_date,
            run_backwards: self.run_backwards,
            reprocess: word(&self.reprocess)?,
            max_active_runs: self.max_active_runs,
            latest: self.latest,
            conf: self.conf,
            task_regex: self.task_regex,
            with_upstream: self.with_upstream,
            is_paused: self.is_paused,
            is_cancelled: self.is_cancelled,
            created_by: self.created_by,
            created_at: self.created_at,
            updated_at: self.updated_at,
            completed_at: self.completed_at,
            dag_is_paused: self.dag_is_paused,
            planned,
            queued,
            running,
            success,
            failed,
            skipped,
            dropped,
        })
    }
}

#[boxed]
pub async fn get_backfill(db: &mut PgConnection, id: i32) -> StoreResult<Option<BackfillRow>> {
    BACKFILLS.first(db, &Search::default().and(by::ID.is(id))).await
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillDate {
    pub ordinal: i32,
    pub logical_date: DateTime<Utc>,
    /// State of the date: `planned`, `skipped`, `dropped`, or the state of its run.
    pub state: String,
    pub why: Option<String>,
    pub run: Option<Uuid>,
    pub run_id: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Total time for which the run had ended and was not cleared yet. It lies between the active periods of the run.
    pub idle: TimeDelta,
}

impl BackfillDate {
    /// Returns the sum of the active periods of the date's run until `now`, or `None` if the run has not started: see
    /// [`active_time`].
    pub fn active_time(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        active_time(self.started_at, self.ended_at, self.idle, now)
    }
}

/// Returns the dates of a backfill that follow the ordinal `after`, in the order of processing.
#[boxed]
pub async fn list_dates(db: &mut PgConnection, id: i32, after: i32, most: i64) -> StoreResult<Vec<BackfillDate>> {
    let rows = sqlx::query!(
        r#"select x.ordinal, x.logical_date, case x.state when 'active' then coalesce(r.state::text, 'dropped')
            else x.state end as "state!", x.why, r.id as "run?", r.run_id as "run_id?", r.started_at, r.ended_at,
          coalesce(r.idle_micros, 0) as "idle_micros!"
        from backfill_run x left join dag_run r on r.id = x.run
        where x.backfill = $1 and x.ordinal > $2 order by x.ordinal limit $3"#,
        id,
        after,
        most.clamp(0, 10_000)
    );
    let dates = rows.fetch_all(db).await?.into_iter().map(|row| BackfillDate {
        ordinal: row.ordinal,
        logical_date: row.logical_date,
        state: row.state,
        why: row.why,
        run: row.run,
        run_id: row.run_id,
        started_at: row.started_at,
        ended_at: row.ended_at,
        idle: TimeDelta::microseconds(row.idle_micros),
    });
    Ok(dates.collect())
}
