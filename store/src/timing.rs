//! Durations of runs and tasks. Each function is a single SQL statement.

use crate::{StoreResult, boxed};
use chrono::{DateTime, TimeDelta, Utc};
use orch_core::plan::TaskIdx;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The time span in which the instances of one task in a run waited and ran. Only current attempts that have started
/// are included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpan {
    pub run: Uuid,
    pub task: TaskIdx,
    pub instances: i64,
    pub first_queued: Option<DateTime<Utc>>,
    pub first_started: DateTime<Utc>,
    /// Time at which the last instance ended, or `None` if any instance has not ended.
    pub last_ended: Option<DateTime<Utc>>,
    /// Highest number of lost workers of any of these instances.
    pub lost_no: i16,
    /// True if any instance has started but currently waits: for another worker, for a time or for a condition.
    pub waits: bool,
}

/// Number of elements that are read from each end of a large map. Elements start in order, so this includes the
/// elements that started first and last.
const ENDS: i32 = 1_000;

/// Returns the time spans of tasks, grouped by run and in DAG order. Each task is given as its run, task index and
/// number of mapped elements.
#[boxed]
pub async fn spans(db: &mut PgConnection, tasks: &[(Uuid, TaskIdx, Option<i32>)]) -> StoreResult<Vec<TaskSpan>> {
    let runs: Vec<Uuid> = tasks.iter().map(|(run, _, _)| *run).collect();
    let (places, lens): (Vec<i16>, Vec<i32>) =
        tasks.iter().map(|(_, task, len)| (*task as i16, len.unwrap_or(0))).unzip();
    let rows = sqlx::query!(
        r#"select w.run as "run!", w.task as "task!", case when w.len > 2 * $4 then w.len else count(*) end as "instances!",
          min(i.queued_at) as first_queued, min(i.started_at) as "first_started!",
          case when bool_and(i.ended_at is not null) then max(i.ended_at) end as last_ended, max(i.lost_no) as "lost_no!",
          coalesce(bool_or(i.state in ('queued', 'up_for_reschedule', 'deferred', 'awaiting_input')), false) as "waits!"
        from unnest($1::uuid[], $2::smallint[], $3::integer[]) as w (run, task, len), lateral (
          select queued_at, started_at, ended_at, lost_no, state from task_instance where task_instance.run = w.run
            and task_instance.task = w.task and map_index < $4 and started_at is not null
          union all
          select queued_at, started_at, ended_at, lost_no, state from task_instance where task_instance.run = w.run
            and task_instance.task = w.task and map_index >= greatest($4, w.len - $4) and started_at is not null) i
        group by w.run, w.task, w.len order by w.run, w.task"#,
        &runs,
        &places,
        &lens,
        ENDS
    );
    let rows = rows.fetch_all(db).await?.into_iter().map(|row| TaskSpan {
        run: row.run,
        task: row.task as TaskIdx,
        instances: row.instances,
        first_queued: row.first_queued,
        first_started: row.first_started,
        // If the attempt deferred itself or asked users, the attempt has ended but its instance has not.
        last_ended: row.last_ended.filter(|_| !row.waits),
        lost_no: row.lost_no,
        waits: row.waits,
    });
    Ok(rows.collect())
}

/// Number of most recent runs from which usual durations are computed. All pages use the functions in this module, so
/// that they show the same values.
const USUAL_OF: i64 = 20;

/// Returns the median duration of the successful runs among the last runs of each DAG. DAGs without a successful run
/// are omitted.
#[boxed]
pub async fn usual_runs(db: &mut PgConnection, dag_ids: &[String]) -> StoreResult<BTreeMap<String, TimeDelta>> {
    let rows = sqlx::query!(
        r#"select w.dag_id as "dag_id!", percentile_disc(0.5) within group (
            order by (active_seconds(r.started_at, r.ended_at, r.idle_micros) * 1000)::bigint) as "millis!"
        from unnest($1::text[]) as w (dag_id), lateral (select state, started_at, ended_at, idle_micros from dag_run
          where dag_run.dag_id = w.dag_id order by run_after desc, id desc limit $2) r
        where r.state = 'success' and r.started_at is not null and r.ended_at is not null group by w.dag_id"#,
        dag_ids,
        USUAL_OF
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    Ok(rows.map(|row| (row.dag_id, TimeDelta::milliseconds(row.millis))).collect())
}

/// Like `usual_runs`, for one DAG.
#[boxed]
pub async fn usual_run(db: &mut PgConnection, dag_id: &str) -> StoreResult<Option<TimeDelta>> {
    Ok(usual_runs(db, &[dag_id.to_string()]).await?.pop_first().map(|(_, usual)| usual))
}

/// Returns the median duration of each task in the last runs of the DAG, if the runs have this DAG version. For a
/// mapped task, only its first element is measured.
#[boxed]
pub async fn usual_durations(
    db: &mut PgConnection,
    dag_id: &str,
    version: i32,
    tasks: &[TaskIdx],
) -> StoreResult<Vec<(TaskIdx, TimeDelta)>> {
    let tasks: Vec<i16> = tasks.iter().map(|task| *task as i16).collect();
    let rows = sqlx::query!(
        r#"select t.task as "task!", percentile_disc(0.5) within group (
            order by (extract(epoch from i.ended_at - i.started_at) * 1000)::bigint) as "millis!"
        from unnest($3::smallint[]) as t (task), (select id, version from dag_run where dag_id = $1
          order by run_after desc, id desc limit $4) r,
        lateral (select started_at, ended_at from task_instance where task_instance.run = r.id
          and task_instance.task = t.task and map_index in (-1, 0) and state = 'success' and started_at is not null
          limit 1) i
        where r.version = $2 group by t.task order by t.task"#,
        dag_id,
        version,
        &tasks,
        USUAL_OF
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    Ok(rows.map(|row| (row.task as TaskIdx, TimeDelta::milliseconds(row.millis))).collect())
}
