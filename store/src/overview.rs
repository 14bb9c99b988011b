//! Summaries of all DAGs, for the home page and the header of every page. Each function is a single SQL statement with
//! a bounded cost, regardless of the size of the installation.

use crate::{StoreResult, boxed, run};
use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::state::{RunState, RunType, TaskState};
use sqlx::postgres::PgConnection;
use std::collections::HashSet;
use uuid::Uuid;

/// Key metrics of the whole installation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    pub dags: i64,
    pub running_runs: i64,
    pub schedulers: i64,
    pub workers: i64,
    pub slots: i64,
    pub busy_slots: i64,
    /// Number of instances that workers could claim now, counted up to `MOST_READY`.
    pub ready: i64,
    /// Number of questions that wait for a user's answer, counted up to `MOST_READY`.
    pub asked: i64,
}

pub const MOST_READY: i64 = 10_000;

/// Maximum age of a scheduler's last heartbeat, in seconds. Schedulers with an older heartbeat are not counted as live.
const SILENT_SECS: f64 = 30.0;

#[boxed]
pub async fn pulse(db: &mut PgConnection) -> StoreResult<Pulse> {
    let pulse = sqlx::query_as!(
        Pulse,
        r#"select (select count(*) from dag where not is_stale) as "dags!",
          (select count(*) from dag_run where state = 'running') as "running_runs!",
          (select count(*) from process where role = 'scheduler' and heartbeat_at > now() - make_interval(secs => $1))
            as "schedulers!",
          w.workers as "workers!", w.slots as "slots!", w.busy as "busy_slots!",
          (select count(*) from (select from ready where queue > 0 limit $2) r) as "ready!",
          (select count(*) from (select from waiting where kind = 'answer' limit $2) q) as "asked!"
        from (select count(*) as workers, coalesce(sum(slots), 0) as slots, coalesce(sum(running), 0) as busy
          from worker where state = 'running' and expires_at > now()) w"#,
        SILENT_SECS,
        MOST_READY
    );
    Ok(pulse.fetch_one(db).await?)
}

/// A run, with the fields that a timeline shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMark {
    pub id: Uuid,
    pub dag_id: String,
    pub run_id: String,
    pub state: RunState,
    pub run_type: RunType,
    pub run_after: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Total time between the run's active periods: after it had ended and before a user cleared it.
    pub idle: TimeDelta,
}

impl RunMark {
    /// Returns the total active time of the run until `now`, or `None` if the run has not started (see
    /// [`run::active_time`]).
    pub fn active_time(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        run::active_time(self.started_at, self.ended_at, self.idle, now)
    }
}

/// Maximum number of runs that one query returns for timelines.
pub const MOST_MARKS: i64 = 5_000;

macro_rules! marks {
    ($db:expr, $rest:literal $(, $value:expr)* $(,)?) => {{
        let rows = sqlx::query!(
            r#"select r.id as "id!", r.dag_id as "dag_id!", r.run_id as "run_id!", r.state::text as "state!",
              r.run_type::text as "run_type!", r.run_after as "run_after!", r.created_at as "created_at!", r.started_at,
              r.ended_at, r.idle_micros as "idle_micros!" "# + $rest
            $(, $value)*
        )
        .fetch_all($db)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(RunMark {
                    id: row.id,
                    dag_id: row.dag_id,
                    run_id: row.run_id,
                    state: run::word(&row.state)?,
                    run_type: run::word(&row.run_type)?,
                    run_after: row.run_after,
                    created_at: row.created_at,
                    started_at: row.started_at,
                    ended_at: row.ended_at,
                    idle: TimeDelta::microseconds(row.idle_micros),
                })
            })
            .collect::<StoreResult<Vec<_>>>()
    }};
}

/// Summary of the runs created since a given time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentRuns {
    /// Number of runs, counted up to `MOST_RECENT`. The other counts in this summary cover the same runs.
    pub runs: i64,
    pub failed: i64,
    pub succeeded: i64,
    pub dags: i64,
    /// Creation time of the oldest counted run.
    pub first: Option<DateTime<Utc>>,
    /// Ids of the DAGs to show. DAGs with failed runs come first, then those with the newest runs.
    pub shown: Vec<String>,
}

pub const MOST_RECENT: i64 = 20_000;

/// Summarizes the runs created since `since`. Run ids contain the creation time, so the query reads no older runs.
#[boxed]
pub async fn recent_runs(db: &mut PgConnection, since: DateTime<Utc>, most_shown: i64) -> StoreResult<RecentRuns> {
    let recent = sqlx::query_as!(
        RecentRuns,
        r#"with dags as materialized (
          select dag_id, count(*) as runs, count(*) filter (where state = 'failed') as failed,
            count(*) filter (where state = 'success') as succeeded, min(created_at) as first, max(created_at) as last
          from (select dag_id, state, created_at from dag_run where id >= uuid_of_moment($1) order by id desc limit $2) r
          group by dag_id)
        select coalesce(sum(runs), 0)::bigint as "runs!", coalesce(sum(failed), 0)::bigint as "failed!",
          coalesce(sum(succeeded), 0)::bigint as "succeeded!", count(*) as "dags!", min(first) as first,
          array(select dag_id from dags order by failed = 0, last desc, dag_id limit $3) as "shown!"
        from dags"#,
        since,
        MOST_RECENT,
        most_shown
    );
    Ok(recent.fetch_one(db).await?)
}

/// Returns the runs of these DAGs created since `since`, at most `MOST_MARKS`. The newest run of each DAG comes first,
/// then the second newest of each, and so on, so that the limit treats all DAGs equally.
#[boxed]
pub async fn runs_since(db: &mut PgConnection, dag_ids: &[String], since: DateTime<Utc>) -> StoreResult<Vec<RunMark>> {
    marks!(
        db,
        "from (select *, row_number() over (partition by dag_id order by id desc) as nth from dag_run
            where id >= uuid_of_moment($1) and dag_id = any($2)) r
        order by r.nth, r.id desc limit $3",
        since,
        dag_ids,
        MOST_MARKS
    )
}

/// Returns the active runs. The run with the longest active time comes first.
#[boxed]
pub async fn running_runs(db: &mut PgConnection, most: i64) -> StoreResult<Vec<RunMark>> {
    marks!(
        db,
        "from dag_run r where r.state = 'running'
        order by r.started_at + r.idle_micros * interval '1 microsecond' nulls last, r.id limit $1",
        most.clamp(0, MOST_MARKS)
    )
}

/// Statistics of runs that are due but have not started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct WaitingRuns {
    /// Number of runs that wait, counted up to `MOST_WAITING`.
    pub runs: i64,
    /// Number of runs whose DAG is paused. The remaining runs wait for a free slot, because their DAG has reached its
    /// limit of active runs.
    pub paused: i64,
    /// Time since which the longest-waiting run has been due, or `None` if no run waits.
    pub since: Option<DateTime<Utc>>,
}

pub const MOST_WAITING: i64 = 10_000;

/// Summarizes the queued runs that were due at `due_by`. A run that is requested for a date in the past becomes due
/// when it is created.
#[boxed]
pub async fn waiting_runs(db: &mut PgConnection, due_by: DateTime<Utc>) -> StoreResult<WaitingRuns> {
    let waiting: WaitingRuns = sqlx::query_as(
        "select count(*) as runs, count(*) filter (where w.is_paused) as paused, min(w.due_at) as since
        from (select d.is_paused, greatest(r.run_after, r.created_at) as due_at
            from dag_run r join dag d on d.dag_id = r.dag_id
            where r.state = 'queued' and r.run_after <= $1 and r.created_at <= $1 limit $2) w",
    )
    .bind(due_by)
    .bind(MOST_WAITING)
    .fetch_one(db)
    .await?;
    Ok(waiting)
}

/// Returns the last `of_each` runs of each of these DAGs, grouped by DAG and newest first. Large columns are not read.
#[boxed]
pub async fn last_runs(db: &mut PgConnection, dag_ids: &[String], of_each: i64) -> StoreResult<Vec<RunMark>> {
    marks!(
        db,
        "from unnest($1::text[]) as w (dag_id), lateral (select * from dag_run where dag_run.dag_id = w.dag_id
            order by run_after desc, id desc limit $2) r
        order by r.dag_id, r.run_after desc, r.id desc",
        dag_ids,
        of_each.clamp(0, 100)
    )
}

/// Returns the last finished run of each DAG whose last finished run failed, newest first. Paused and stale DAGs are
/// omitted.
#[boxed]
pub async fn failing(db: &mut PgConnection, most: i64) -> StoreResult<Vec<RunMark>> {
    marks!(
        db,
        "from dag d, lateral (select * from dag_run where dag_run.dag_id = d.dag_id and state in ('success', 'failed')
            order by run_after desc, id desc limit 1) r
        where r.state = 'failed' and not d.is_paused and not d.is_stale
        order by r.ended_at desc nulls last, r.dag_id limit $1",
        most.clamp(0, MOST_MARKS)
    )
}

/// Returns the ids of those runs that succeeded although one of their tasks failed.
#[boxed]
pub async fn successes_with_failed_tasks(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<HashSet<Uuid>> {
    let found: Vec<Uuid> = sqlx::query_scalar(
        "select id from dag_run where id = any($1) and state = 'success' and $2 = any(ledger) limit $3",
    )
    .bind(runs)
    .bind(TaskState::Failed.code())
    .bind(runs.len() as i64)
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().collect())
}

/// Returns two lists of last finished runs, at most one per DAG: failed runs, and runs that succeeded although a task
/// failed. Each list is sorted newest first and has at most `most` runs. Paused and stale DAGs are omitted.
#[boxed]
pub async fn failing_and_partly_failed(db: &mut PgConnection, most: i64) -> StoreResult<(Vec<RunMark>, Vec<RunMark>)> {
    let found = marks!(
        db,
        "from (select r.*, row_number() over (partition by r.state order by r.ended_at desc nulls last, r.dag_id) as nth
            from dag d, lateral (select * from dag_run where dag_run.dag_id = d.dag_id and state in ('success', 'failed')
              order by run_after desc, id desc limit 1) r
            where (r.state = 'failed' or $2 = any(r.ledger)) and not d.is_paused and not d.is_stale) r
        where r.nth <= $1 order by r.nth, r.id",
        most.clamp(0, MOST_MARKS),
        TaskState::Failed.code()
    )?;
    Ok(found.into_iter().partition(|run| run.state == RunState::Failed))
}

/// The failed attempt that made its run fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFailure {
    pub dag_id: String,
    pub run_id: String,
    pub run: Uuid,
    /// Index of the failed task in the DAG version of the run.
    pub task: i16,
    pub version: i32,
    pub map_index: i32,
    pub kind: String,
    pub causes: Vec<String>,
}

/// Returns the first final failure of each run; a run is given by its DAG id and run id. Failures after which the
/// attempt continued, such as a lost worker, do not count. Instances that a user marked as failed have no failure.
#[boxed]
pub async fn first_failures(db: &mut PgConnection, runs: &[(String, String)]) -> StoreResult<Vec<RunFailure>> {
    let (dags, ids): (Vec<String>, Vec<String>) = runs.iter().cloned().unzip();
    let rows = sqlx::query_as!(
        RunFailure,
        r#"select r.dag_id as "dag_id!", r.run_id as "run_id!", r.id as "run!", f.task as "task!",
          r.version as "version!", f.map_index as "map_index!", f.kind as "kind!", f.causes as "causes!"
        from unnest($1::text[], $2::text[]) as w (dag_id, run_id)
        join dag_run r on r.dag_id = w.dag_id and r.run_id = w.run_id,
        lateral (select t.task, t.map_index, f.kind, f.causes from failure f
          join task_instance t on t.run = f.run and t.attempt = f.attempt and t.state = 'failed'
          where f.run = r.id and not exists (select from failure later where later.run = f.run
            and later.attempt = f.attempt and later.lease_no > f.lease_no)
          order by f.created_at limit 1) f"#,
        &dags,
        &ids
    );
    Ok(rows.fetch_all(db).await?)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextRun {
    pub dag_id: String,
    pub schedule_text: String,
    pub run_after: DateTime<Utc>,
}

/// Returns the next scheduled runs of all DAGs, soonest first.
#[boxed]
pub async fn next_runs(db: &mut PgConnection, most: i64) -> StoreResult<Vec<NextRun>> {
    let rows = sqlx::query_as!(
        NextRun,
        r#"select dag_id, schedule_text, next_run_after as "run_after!" from dag
        where next_run_after is not null and not is_paused and not is_stale order by next_run_after, dag_id limit $1"#,
        most.clamp(0, 1_000)
    );
    Ok(rows.fetch_all(db).await?)
}

/// Returns the revision of a run and whether it has finished, or `None` if the run does not exist.
#[boxed]
pub async fn how_far(db: &mut PgConnection, run: Uuid) -> StoreResult<Option<(i32, bool)>> {
    let row =
        sqlx::query!(r#"select rev, state in ('success', 'failed') as "is_over!" from dag_run where id = $1"#, run);
    Ok(row.fetch_optional(db).await?.map(|row| (row.rev, row.is_over)))
}

/// Numbers of a DAG's active runs, and of the workers that can execute the DAG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    pub running: i64,
    pub queued: i64,
    /// Number of live workers that offer the newest version of the DAG.
    pub workers: i64,
}

#[boxed]
pub async fn places(db: &mut PgConnection, dag_id: &str) -> StoreResult<Places> {
    let places = sqlx::query_as!(
        Places,
        r#"select running_runs($1) as "running!",
          (select count(*) from dag_run where dag_id = $1 and state = 'queued') as "queued!",
          (select count(*) from worker w join dag d on d.dag_id = $1 where d.version = any(w.versions)
            and w.state = 'running' and w.expires_at > now()) as "workers!""#,
        dag_id
    );
    Ok(places.fetch_one(db).await?)
}
