//! Attempts of an instance, from the first to the current one, and why they failed.

use crate::{StoreResult, boxed, run};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use orch_spec::state::TaskState;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq)]
pub struct TryRow {
    pub attempt: Uuid,
    pub try_no: i16,
    pub max_tries: i16,
    pub lease_no: i32,
    pub lost_no: i16,
    pub state: TaskState,
    pub worker: Option<i32>,
    pub hostname: Option<String>,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Failure of the last failed lease of this attempt: `retryable`, `fatal`, `timeout`, `panic`, `lost` or `exit`.
    pub failure: Option<String>,
    /// Error messages of the failure, outermost first.
    pub causes: Vec<String>,
}

/// Returns the attempts in order. An attempt counts as `failed` if a retry followed it or if it was stopped by a clear,
/// as in Airflow. Instances without an attempt, such as skipped and `upstream_failed` ones, return an empty list.
#[boxed]
pub async fn tries(db: &mut PgConnection, run: Uuid, task: TaskIdx, map_index: i32) -> StoreResult<Vec<TryRow>> {
    let rows = sqlx::query!(
        r#"with every as (
            select attempt, try_no, max_tries, lease_no, lost_no, state::text as state, worker, queued_at, started_at, ended_at
            from attempt where run = $1 and task = $2 and map_index = $3
            union all
            select attempt, try_no, max_tries, lease_no, lost_no, state::text, worker, queued_at, started_at, ended_at
            from task_instance t where run = $1 and task = $2 and map_index = $3 and try_no > 0 and not exists (
              select from attempt a where a.run = t.run and a.task = t.task and a.map_index = t.map_index
                and a.attempt = t.attempt)
        )
        select e.attempt as "attempt!", e.try_no as "try_no!", e.max_tries as "max_tries!", e.lease_no as "lease_no!",
          e.lost_no as "lost_no!", e.state, e.worker, w.hostname as "hostname?", e.queued_at, e.started_at, e.ended_at,
          f.kind as "failure?", f.causes as "causes?"
        from every e left join worker w on w.id = e.worker
        left join lateral (select kind, causes from failure f where f.run = $1 and f.attempt = e.attempt
          order by f.lease_no desc limit 1) f on true
        order by e.try_no, e.queued_at limit 1000"#,
        run,
        task as i16,
        map_index
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(TryRow {
                attempt: row.attempt,
                try_no: row.try_no,
                max_tries: row.max_tries,
                lease_no: row.lease_no,
                lost_no: row.lost_no,
                state: ended_as(row.state.as_deref().map_or(Ok(TaskState::None), run::word)?, row.ended_at),
                worker: row.worker,
                hostname: row.hostname,
                queued_at: row.queued_at,
                started_at: row.started_at,
                ended_at: row.ended_at,
                failure: row.failure,
                causes: row.causes.unwrap_or_default(),
            })
        })
        .collect()
}

/// `up_for_retry` is a state of the instance until its next attempt starts. The failed attempt itself counts as
/// `failed`.
fn ended_as(state: TaskState, ended_at: Option<DateTime<Utc>>) -> TaskState {
    match state {
        TaskState::UpForRetry => TaskState::Failed,
        TaskState::Restarting if ended_at.is_some() => TaskState::Failed,
        other => other,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementFailure {
    pub map_index: i32,
    /// Error messages of the failure, outermost first.
    pub causes: Vec<String>,
}

/// Returns the element of a mapped task that failed first. `None` if no element failed by itself and elements were only
/// marked as failed.
#[boxed]
pub async fn first_element_failure(
    db: &mut PgConnection,
    run: Uuid,
    task: TaskIdx,
) -> StoreResult<Option<ElementFailure>> {
    let row = sqlx::query_as!(
        ElementFailure,
        r#"select t.map_index, f.causes from failure f
        join task_instance t on t.run = f.run and t.attempt = f.attempt and t.state = 'failed'
        where f.run = $1 and t.task = $2 and not exists (select from failure later
          where later.run = f.run and later.attempt = f.attempt and later.lease_no > f.lease_no)
        order by f.created_at, t.map_index limit 1"#,
        run,
        task as i16
    );
    Ok(row.fetch_optional(db).await?)
}

/// A superseded attempt, which is shown as a bar of a Gantt chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldTry {
    pub task: TaskIdx,
    pub map_index: i32,
    pub try_no: i16,
    pub lost_no: i16,
    pub state: TaskState,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// Returns the superseded attempts of a run that have started, in DAG order.
#[boxed]
pub async fn old_tries(db: &mut PgConnection, run: Uuid, most: i64) -> StoreResult<Vec<OldTry>> {
    let rows = sqlx::query!(
        r#"select task, map_index, try_no, lost_no, state::text as state, queued_at, started_at, ended_at from attempt
        where run = $1 and started_at is not null order by task, map_index, started_at limit $2"#,
        run,
        most.clamp(0, 10_000)
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(OldTry {
                task: row.task as TaskIdx,
                map_index: row.map_index,
                try_no: row.try_no,
                lost_no: row.lost_no,
                state: row.state.as_deref().map_or(Ok(TaskState::None), run::word)?,
                queued_at: row.queued_at,
                started_at: row.started_at,
                ended_at: row.ended_at,
            })
        })
        .collect()
}
