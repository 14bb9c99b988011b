//! Where the time of runs went. Each function is one statement.

use crate::StoreResult;
use chrono::{DateTime, TimeDelta, Utc};
use orch_core::plan::TaskIdx;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// When the instances of a task of a run waited and worked: their current tries, those that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpan {
    pub task: TaskIdx,
    pub instances: i64,
    pub first_queued: Option<DateTime<Utc>>,
    pub first_started: DateTime<Utc>,
    /// None: one of them goes on.
    pub last_ended: Option<DateTime<Utc>>,
}

/// Of a wide map so many elements are looked at from each end: they begin in order, so these are the first and the last.
const ENDS: i32 = 1_000;

/// Of these tasks, given with the length of their maps, in the order of the DAG.
pub async fn spans(db: &mut PgConnection, run: Uuid, tasks: &[(TaskIdx, Option<i32>)]) -> StoreResult<Vec<TaskSpan>> {
    let (places, lens): (Vec<i16>, Vec<i32>) = tasks.iter().map(|(task, len)| (*task as i16, len.unwrap_or(0))).unzip();
    let rows = sqlx::query!(
        r#"select w.task as "task!", case when w.len > 2 * $4 then w.len else count(*) end as "instances!",
          min(i.queued_at) as first_queued, min(i.started_at) as "first_started!",
          case when bool_and(i.ended_at is not null) then max(i.ended_at) end as last_ended
        from unnest($2::smallint[], $3::integer[]) as w (task, len), lateral (
          select queued_at, started_at, ended_at from task_instance where task_instance.run = $1
            and task_instance.task = w.task and map_index < $4 and started_at is not null
          union all
          select queued_at, started_at, ended_at from task_instance where task_instance.run = $1
            and task_instance.task = w.task and map_index >= greatest($4, w.len - $4) and started_at is not null) i
        group by w.task, w.len order by w.task"#,
        run,
        &places,
        &lens,
        ENDS
    );
    let rows = rows.fetch_all(db).await?.into_iter().map(|row| TaskSpan {
        task: row.task as TaskIdx,
        instances: row.instances,
        first_queued: row.first_queued,
        first_started: row.first_started,
        last_ended: row.last_ended,
    });
    Ok(rows.collect())
}

/// How long these tasks took in these runs of one version, in the middle; of mapped tasks their first elements are asked.
pub async fn usual_durations(
    db: &mut PgConnection,
    runs: &[Uuid],
    tasks: &[TaskIdx],
) -> StoreResult<Vec<(TaskIdx, TimeDelta)>> {
    let tasks: Vec<i16> = tasks.iter().map(|task| *task as i16).collect();
    let rows = sqlx::query!(
        r#"select t.task as "task!", percentile_disc(0.5) within group (
            order by (extract(epoch from i.ended_at - i.started_at) * 1000)::bigint) as "millis!"
        from unnest($2::smallint[]) as t (task), unnest($1::uuid[]) as r (run),
        lateral (select started_at, ended_at from task_instance where task_instance.run = r.run
          and task_instance.task = t.task and map_index in (-1, 0) and state = 'success' and started_at is not null
          limit 1) i
        group by t.task order by t.task"#,
        runs,
        &tasks
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    Ok(rows.map(|row| (row.task as TaskIdx, TimeDelta::milliseconds(row.millis))).collect())
}
