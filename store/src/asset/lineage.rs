//! Lineage: flows of data from one asset into another, as tasks recorded them.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// A flow of rows from one asset into another, in one task instance.
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

/// Returns the edges into and out of an asset, newest first. For each task and pair of assets, returns only the last
/// edge.
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

/// Returns the lineage edges that one task of a run recorded, or that all its tasks recorded.
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

/// A task that writes or reads an asset, as declared by its DAG or recorded by the task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub dag_id: String,
    /// Id of the task. Empty if updates of the asset start runs of the DAG.
    pub task_id: String,
    pub uri: String,
    pub is_made: bool,
}

/// Returns each flow once, in no particular order: all flows that DAGs declare, and those in the last `recent` recorded
/// edges.
#[boxed]
pub async fn flows(db: &mut PgConnection, recent: i64) -> StoreResult<Vec<Flow>> {
    let flows = sqlx::query_as!(
        Flow,
        r#"select distinct f.dag_id as "dag_id!", f.task_id as "task_id!", f.uri as "uri!", f.is_made as "is_made!"
        from (
          select u.dag_id, u.task_id, a.uri, u.role = 'outlet' as is_made from asset_use u
          left join asset_alias_asset l on l.alias = u.alias join asset a on a.id = coalesce(u.asset, l.asset)
          union all
          select w.dag_id, w.task_id, e.uri, e.is_made
          from (select dag_id, task_id, from_uri, to_uri from lineage order by at desc limit $1) w,
            lateral (values (w.from_uri, false), (w.to_uri, true)) e (uri, is_made)) f
        join dag d on d.dag_id = f.dag_id where not d.is_stale"#,
        recent
    );
    Ok(flows.fetch_all(db).await?)
}
