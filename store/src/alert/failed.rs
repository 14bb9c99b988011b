//! Adds the failed tasks of a run to its alert.

use super::Claimed;
use crate::{StoreResult, step::json};
use orch_core::alert::{FailedTask, FailedTasks, MAX_NAMED_FAILURES};
use sqlx::postgres::PgConnection;

/// Adds the failed tasks of the run to the facts of a claimed alert, and stores the facts. Pages show them. If the
/// alert must be sent again, its message stays the same even if the run was cleared meanwhile.
pub(super) async fn add_failed_tasks(db: &mut PgConnection, claimed: &mut Claimed) -> StoreResult<()> {
    claimed.facts.add_failures(failed_tasks(db, claimed.id).await?);
    sqlx::query("update alert set facts = $3::text::json where id = $1 and tries = $2 and state = 'waiting'")
        .bind(claimed.id)
        .bind(claimed.tries)
        .bind(json(&claimed.facts))
        .execute(db)
        .await?;
    Ok(())
}

/// The number of failed instances, and the task id, map index, attempt and causes of one of these instances.
type FailedRow = (i64, Option<String>, i32, i16, Option<Vec<String>>);

async fn failed_tasks(db: &mut PgConnection, alert: i64) -> StoreResult<FailedTasks> {
    let rows: Vec<FailedRow> = sqlx::query_as(
        "with this as (select r.id as run, r.version from alert a join dag_run r on r.id = a.run where a.id = $1)
        select t.many, v.spec -> 'tasks' -> t.task::integer ->> 'task_id', t.map_index, t.try_no,
          (select causes from failure f where f.run = t.run and f.attempt = t.attempt order by lease_no desc limit 1)
        from (select count(*) over () as many, * from task_instance where run = (select run from this) and state = 'failed'
          order by ended_at, task, map_index limit $2) t
        cross join this join dag_version v on v.id = this.version
        order by t.ended_at, t.task, t.map_index",
    )
    .bind(alert)
    .bind(MAX_NAMED_FAILURES as i64)
    .fetch_all(db)
    .await?;
    let count = rows.first().map_or(0, |row| row.0);
    let first = rows.into_iter().map(|(_, task_id, map_index, try_no, causes)| {
        FailedTask::new(task_id.unwrap_or_default(), map_index, try_no, &causes.unwrap_or_default())
    });
    Ok(FailedTasks { count, first: first.collect() })
}
