//! The versions of DAGs as people see them, without or with their structure.

use crate::StoreResult;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    pub id: i32,
    pub dag_id: String,
    pub number: i32,
    pub bundle: String,
    pub created_at: DateTime<Utc>,
}

/// Which versions; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct VersionFilter {
    pub dag_id: Option<String>,
    pub number: Option<i32>,
    pub bundle: Option<String>,
    pub newest_first: bool,
}

/// The most versions in one answer.
const MOST_LISTED: i64 = 1_000;

/// In the order in which they came to be.
pub async fn list_versions(
    db: &mut PgConnection,
    filter: &VersionFilter,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<VersionRow>> {
    let rows = sqlx::query_as!(
        VersionRow,
        "select id, dag_id, number, bundle, created_at from dag_version
        where ($1::text is null or dag_id = $1) and ($2::integer is null or number = $2)
          and ($3::text is null or bundle = $3)
        order by case when $4::boolean then -id else id end offset $5 limit $6",
        filter.dag_id,
        filter.number,
        filter.bundle,
        filter.newest_first,
        skip.max(0),
        most.clamp(0, MOST_LISTED)
    );
    Ok(rows.fetch_all(db).await?)
}

/// How many there are in all.
pub async fn count_versions(db: &mut PgConnection, filter: &VersionFilter) -> StoreResult<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from dag_version where ($1::text is null or dag_id = $1)
          and ($2::integer is null or number = $2) and ($3::text is null or bundle = $3)"#,
        filter.dag_id,
        filter.number,
        filter.bundle
    );
    Ok(count.fetch_one(db).await?)
}

/// The structure of one version of a DAG, as it was registered.
pub async fn structure(db: &mut PgConnection, dag_id: &str, number: i32) -> StoreResult<Option<Value>> {
    let spec = sqlx::query_scalar!("select spec from dag_version where dag_id = $1 and number = $2", dag_id, number);
    Ok(spec.fetch_optional(db).await?)
}
