//! The ways data took, as tasks recorded them.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// So many rows went from one asset into another, in one task instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from_uri: String,
    pub to_uri: String,
    pub rows: Option<i64>,
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
    pub at: DateTime<Utc>,
}

/// Those into and out of an asset, newest first; of each way its last.
#[boxed]
pub async fn edges_of_asset(db: &mut PgConnection, uri: &str, most: i64) -> StoreResult<Vec<Edge>> {
    let edges = sqlx::query_as!(
        Edge,
        r#"select from_uri as "from_uri!", to_uri as "to_uri!", rows, dag_id as "dag_id!", run_id as "run_id!",
          task_id as "task_id!", map_index as "map_index!", at as "at!"
        from (select distinct on (from_uri, to_uri, dag_id, task_id) * from (
            (select * from lineage where from_uri = $1 order by at desc limit 1000) union all
            (select * from lineage where to_uri = $1 and from_uri <> $1 order by at desc limit 1000)) near
          order by from_uri, to_uri, dag_id, task_id, at desc) l
        order by at desc limit $2"#,
        uri,
        most
    );
    Ok(edges.fetch_all(db).await?)
}

/// Those of one task of a run, or of all of them.
#[boxed]
pub async fn edges_of_task(
    db: &mut PgConnection,
    run: Uuid,
    task_id: Option<&str>,
    most: i64,
) -> StoreResult<Vec<Edge>> {
    let edges = sqlx::query_as!(
        Edge,
        "select from_uri, to_uri, rows, dag_id, run_id, task_id, map_index, at from lineage
        where run = $1 and ($2::text is null or task_id = $2) order by task_id, map_index, from_uri, to_uri limit $3",
        run,
        task_id,
        most
    );
    Ok(edges.fetch_all(db).await?)
}
