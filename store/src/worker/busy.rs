//! Task instances that each worker is running, for display.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct RunningInstance {
    pub worker: i32,
    pub run: Uuid,
    pub dag_id: String,
    pub run_id: String,
    /// Id of the run's DAG version, which contains the name of the task.
    pub version: i32,
    pub task: i16,
    pub map_index: i32,
    pub started_at: Option<DateTime<Utc>>,
}

/// Returns running instances from at most 200 runs, starting with the instance that has been running for the longest
/// time.
#[boxed]
pub async fn running_instances(db: &mut PgConnection, most: i64) -> StoreResult<Vec<RunningInstance>> {
    let rows = sqlx::query_as!(
        RunningInstance,
        r#"select i.worker as "worker!", r.id as run, r.dag_id, r.run_id, r.version, i.task, i.map_index, i.started_at
        from (select id, dag_id, run_id, version from dag_run where state = 'running' order by id limit 200) r
        join task_instance i on i.run = r.id
        where i.state = 'running' and i.worker is not null
        order by i.started_at nulls last limit $1"#,
        most.clamp(0, 1_000)
    );
    Ok(rows.fetch_all(db).await?)
}
