//! Outputs by their names, as people look at them.

use crate::StoreResult;
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// An output without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRow {
    pub task: TaskIdx,
    pub map_index: i32,
    pub key: String,
    pub created_at: DateTime<Utc>,
}

/// Which outputs of a run; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct OutputFilter {
    pub task: Option<TaskIdx>,
    pub map_index: Option<i32>,
    pub key: Option<String>,
}

/// The most in one answer.
const MOST_LISTED: i64 = 1_000;

/// In the order of the DAG, then by element and key.
pub async fn list_outputs(
    db: &mut PgConnection,
    run: Uuid,
    filter: &OutputFilter,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<OutputRow>> {
    let rows = sqlx::query!(
        "select task, map_index, key, created_at from output
        where run = $1 and ($2::smallint is null or task = $2) and ($3::integer is null or map_index = $3)
          and ($4::text is null or key = $4)
        order by task, map_index, key offset $5 limit $6",
        run,
        filter.task.map(|task| task as i16),
        filter.map_index,
        filter.key,
        skip.max(0),
        most.clamp(0, MOST_LISTED)
    );
    let rows = rows.fetch_all(db).await?.into_iter().map(|row| OutputRow {
        task: row.task as TaskIdx,
        map_index: row.map_index,
        key: row.key,
        created_at: row.created_at,
    });
    Ok(rows.collect())
}

/// How many there are in all.
pub async fn count_outputs(db: &mut PgConnection, run: Uuid, filter: &OutputFilter) -> StoreResult<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from output where run = $1 and ($2::smallint is null or task = $2)
          and ($3::integer is null or map_index = $3) and ($4::text is null or key = $4)"#,
        run,
        filter.task.map(|task| task as i16),
        filter.map_index,
        filter.key
    );
    Ok(count.fetch_one(db).await?)
}
