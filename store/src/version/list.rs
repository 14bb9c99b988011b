//! The versions of DAGs as people see them, without or with their structure.

use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_spec::DagSpec;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    pub id: i32,
    pub dag_id: String,
    pub number: i32,
    /// Of its structure.
    pub hash: String,
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
#[boxed]
pub async fn list_versions(
    db: &mut PgConnection,
    filter: &VersionFilter,
    (skip, most): (i64, i64),
) -> StoreResult<Vec<VersionRow>> {
    let rows = sqlx::query_as!(
        VersionRow,
        "select id, dag_id, number, hash, bundle, created_at from dag_version
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
#[boxed]
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
#[boxed]
pub async fn structure(db: &mut PgConnection, dag_id: &str, number: i32) -> StoreResult<Option<Value>> {
    let spec = sqlx::query_scalar!("select spec from dag_version where dag_id = $1 and number = $2", dag_id, number);
    Ok(spec.fetch_optional(db).await?)
}

/// The same, read.
#[boxed]
pub async fn spec_of(db: &mut PgConnection, dag_id: &str, number: i32) -> StoreResult<Option<DagSpec>> {
    let read = |spec| {
        serde_json::from_value(spec)
            .map_err(|error| StoreError::corrupt(format!("version {number} of dag `{dag_id}`: {error}")))
    };
    structure(db, dag_id, number).await?.map(read).transpose()
}

/// Of how many runs it is counted which version they have: a DAG may have had a million.
pub const MOST_COUNTED: i64 = 10_000;

/// How many of the newest runs of a DAG have each version, by the version's id.
#[boxed]
pub async fn runs_by_version(db: &mut PgConnection, dag_id: &str) -> StoreResult<HashMap<i32, i64>> {
    let rows = sqlx::query!(
        r#"select newest.version as "version!", count(*) as "runs!" from
          (select version from dag_run where dag_id = $1 order by run_after desc, id desc limit $2) newest
        group by newest.version"#,
        dag_id,
        MOST_COUNTED
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.version, row.runs)).collect())
}

/// Names of living workers that offer each of these versions, by the version's id.
#[boxed]
pub async fn workers_by_version(db: &mut PgConnection, versions: &[i32]) -> StoreResult<HashMap<i32, Vec<String>>> {
    let rows = sqlx::query!(
        r#"select v as "version!", array_agg(w.name order by w.id) as "workers!" from unnest($1::integer[]) as v
        join worker w on w.state in ('running', 'draining') and w.expires_at > now() and v = any(w.versions) group by v"#,
        versions
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.version, row.workers)).collect())
}
