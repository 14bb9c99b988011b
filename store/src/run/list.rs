//! Details of runs, as lists and pages show them.

use super::{NewRun, RunRow, active_time, word};
use crate::{StoreResult, boxed};
use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::state::{RunState, RunType};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// All fields of a run except its ledger (stored scheduling state).
#[derive(Debug, Clone, PartialEq)]
pub struct RunDetails {
    pub id: Uuid,
    pub dag_id: String,
    pub run_id: String,
    pub rev: i32,
    pub version: i32,
    pub version_number: i32,
    pub version_created_at: DateTime<Utc>,
    pub bundle: String,
    pub clear_number: i16,
    pub state: RunState,
    pub run_type: RunType,
    pub logical_date: Option<DateTime<Utc>>,
    pub interval_start: Option<DateTime<Utc>>,
    pub interval_end: Option<DateTime<Utc>>,
    pub run_after: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub triggered_by: String,
    pub triggered_by_user: Option<String>,
    pub conf: Option<Value>,
    pub note: Option<String>,
    pub partition_key: Option<String>,
    /// Total time between the run's active periods: after it had ended and before a user cleared it.
    pub idle: TimeDelta,
}

impl RunDetails {
    /// Returns the total active time of the run until `now`, or `None` if the run has not started (see
    /// [`active_time`]).
    pub fn active_time(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        active_time(self.started_at, self.ended_at, self.idle, now)
    }

    /// Builds the details of a run that was just created from its request and result, which saves a query.
    pub fn created(run: RunRow, new: NewRun) -> RunDetails {
        RunDetails {
            id: run.id,
            dag_id: run.dag_id,
            run_id: run.run_id,
            rev: 0,
            version: run.version,
            version_number: run.version_number,
            version_created_at: run.version_created_at,
            bundle: run.bundle,
            clear_number: 0,
            state: run.state,
            run_type: new.run_type,
            logical_date: new.logical_date,
            interval_start: run.interval.map(|interval| interval.start),
            interval_end: run.interval.map(|interval| interval.end),
            run_after: run.run_after,
            created_at: run.created_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            triggered_by: new.triggered_by.to_string(),
            triggered_by_user: new.user,
            conf: new.conf,
            note: new.note,
            partition_key: new.partition_key,
            idle: TimeDelta::zero(),
        }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    dag_id: String,
    run_id: String,
    rev: i32,
    version: i32,
    version_number: i32,
    version_created_at: DateTime<Utc>,
    bundle: String,
    clear_number: i16,
    state: String,
    run_type: String,
    logical_date: Option<DateTime<Utc>>,
    interval_start: Option<DateTime<Utc>>,
    interval_end: Option<DateTime<Utc>>,
    run_after: DateTime<Utc>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    triggered_by: String,
    triggered_by_user: Option<String>,
    conf: Option<Value>,
    note: Option<String>,
    partition_key: Option<String>,
    idle_micros: i64,
}

/// Queries runs. `$rest` is the SQL after the select list; it can refer to `dag_run r` and `dag_version v`.
macro_rules! run_rows {
    ($rest:literal $(, $value:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select r.id, r.dag_id, r.run_id, r.rev, r.version, v.number as version_number,
              v.created_at as version_created_at, v.bundle, r.clear_number, r.state::text as "state!",
              r.run_type::text as "run_type!", r.logical_date, r.interval_start, r.interval_end, r.run_after,
              r.created_at, r.started_at, r.ended_at, r.triggered_by, r.triggered_by_user, m.conf as "conf?", m.note as "note?",
              r.partition_key, r.idle_micros
            from dag_run r join dag_version v on v.id = r.version left join dag_run_detail m on m.run = r.id "# + $rest
            $(, $value)*
        )
    };
}

impl Row {
    pub(super) fn details(self) -> StoreResult<RunDetails> {
        Ok(RunDetails {
            id: self.id,
            dag_id: self.dag_id,
            run_id: self.run_id,
            rev: self.rev,
            version: self.version,
            version_number: self.version_number,
            version_created_at: self.version_created_at,
            bundle: self.bundle,
            clear_number: self.clear_number,
            state: word(&self.state)?,
            run_type: word::<RunType>(&self.run_type)?,
            logical_date: self.logical_date,
            interval_start: self.interval_start,
            interval_end: self.interval_end,
            run_after: self.run_after,
            created_at: self.created_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            triggered_by: self.triggered_by,
            triggered_by_user: self.triggered_by_user,
            conf: self.conf,
            note: self.note,
            partition_key: self.partition_key,
            idle: TimeDelta::microseconds(self.idle_micros),
        })
    }
}

#[boxed]
pub async fn get_run(db: &mut PgConnection, dag_id: &str, run_id: &str) -> StoreResult<Option<RunDetails>> {
    let row = run_rows!("where r.dag_id = $1 and r.run_id = $2", dag_id, run_id).fetch_optional(db).await?;
    row.map(Row::details).transpose()
}

#[boxed]
pub async fn run_by_uuid(db: &mut PgConnection, id: Uuid) -> StoreResult<Option<RunDetails>> {
    let row = run_rows!("where r.id = $1", id).fetch_optional(db).await?;
    row.map(Row::details).transpose()
}

/// Returns those of the given runs that have not finished.
#[boxed]
pub async fn still_open(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<Vec<Uuid>> {
    let open =
        sqlx::query_scalar!("select id from dag_run where id = any($1) and state in ('queued', 'running')", runs);
    Ok(open.fetch_all(db).await?)
}

/// Returns the last `of_each` runs of each of these DAGs, grouped by DAG and newest first.
#[boxed]
pub async fn recent_runs(db: &mut PgConnection, dag_ids: &[String], of_each: i64) -> StoreResult<Vec<RunDetails>> {
    let rows = run_rows!(
        "where r.id = any(array(select l.id from unnest($1::text[]) as w (dag_id), lateral (select id from dag_run
            where dag_run.dag_id = w.dag_id order by run_after desc, id desc limit $2) l))
        order by r.dag_id, r.run_after desc, r.id desc",
        dag_ids,
        of_each.clamp(0, 100)
    );
    rows.fetch_all(db).await?.into_iter().map(Row::details).collect()
}

/// Sets the user's note on a run. `None` deletes the note.
#[boxed]
pub async fn set_note(db: &mut PgConnection, run: Uuid, note: Option<&str>) -> StoreResult<()> {
    sqlx::query!(
        "insert into dag_run_detail (run, note) values ($1, $2) on conflict (run) do update set note = excluded.note",
        run,
        note
    )
    .execute(db)
    .await?;
    Ok(())
}
