//! DAGs that a bundle loads from a folder of files: which DAGs exist, which are stale, and which versions are still
//! needed.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleDagRow {
    pub dag_id: String,
    pub file: String,
    pub version: i32,
}

/// Returns the DAGs of a bundle that are not stale.
#[boxed]
pub async fn dags_of_bundle(db: &mut PgConnection, bundle: &str) -> StoreResult<Vec<BundleDagRow>> {
    let rows = sqlx::query_as!(
        BundleDagRow,
        "select dag_id, file, version from dag where bundle = $1 and not is_stale order by dag_id",
        bundle
    );
    Ok(rows.fetch_all(db).await?)
}

/// Returns which of these DAG ids belong to another bundle, each with that bundle.
#[boxed]
pub async fn taken_by_others(
    db: &mut PgConnection,
    bundle: &str,
    dag_ids: &[String],
) -> StoreResult<Vec<(String, String)>> {
    let rows = sqlx::query!(
        "select dag_id, bundle from dag where dag_id = any($1) and bundle <> $2 and not is_stale",
        dag_ids,
        bundle
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.dag_id, row.bundle)).collect())
}

/// Marks DAGs whose files no longer exist as stale. They get no scheduled runs and are not listed, but their running
/// runs continue.
#[boxed]
pub async fn set_stale(db: &mut PgConnection, bundle: &str, dag_ids: &[String]) -> StoreResult<u64> {
    let done = sqlx::query!(
        "update dag set is_stale = true where dag_id = any(array(select dag_id from dag
          where bundle = $1 and dag_id = any($2) order by dag_id for no key update))",
        bundle,
        dag_ids
    );
    Ok(done.execute(db).await?.rows_affected())
}

/// Returns the DAG versions of a bundle that unfinished runs need.
#[boxed]
pub async fn versions_in_use(db: &mut PgConnection, bundle: &str) -> StoreResult<Vec<i32>> {
    let versions = sqlx::query_scalar!(
        "select distinct r.version from dag_run r join dag_version v on v.id = r.version
        where r.state in ('queued', 'running') and v.bundle = $1",
        bundle
    );
    Ok(versions.fetch_all(db).await?)
}
