//! Names of all DAGs and tasks, for searching.

use crate::{StoreResult, boxed};
use sqlx::FromRow;
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DagNames {
    pub dag_id: String,
    pub aliases: Vec<String>,
    /// Id of the newest version of the DAG.
    pub version: i32,
}

/// Returns the names of DAGs that are not stale, sorted by id.
#[boxed]
pub async fn dag_names(db: &mut PgConnection, most: i64) -> StoreResult<Vec<DagNames>> {
    let names: Vec<DagNames> =
        sqlx::query_as("select dag_id, aliases, version from dag where not is_stale order by dag_id limit $1")
            .bind(most)
            .fetch_all(db)
            .await?;
    Ok(names)
}

/// Returns the task ids of each of these DAG versions, in DAG order.
#[boxed]
pub async fn task_ids(db: &mut PgConnection, versions: &[i32]) -> StoreResult<Vec<(i32, Vec<String>)>> {
    let ids: Vec<(i32, Vec<String>)> = sqlx::query_as(
        "select v.id, array(select t.spec ->> 'task_id' from json_array_elements(v.spec -> 'tasks') with ordinality as t (spec, place)
            order by t.place)
        from dag_version v where v.id = any($1)",
    )
    .bind(versions)
    .fetch_all(db)
    .await?;
    Ok(ids)
}
