//! The list of DAG versions, and the structure of a DAG version, for users.

use crate::list::{List, Search};
use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_spec::DagSpec;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct VersionRow {
    pub id: i32,
    pub dag_id: String,
    pub number: i32,
    /// Hash of the DAG's structure, which identifies the version.
    pub hash: String,
    pub bundle: String,
    pub created_at: DateTime<Utc>,
}

/// Columns of versions that users may filter or sort by.
pub mod by {
    use crate::list::Filter::{AnyOf, Is};
    use crate::list::{Column, ListColumnType};

    pub const ID: Column = Column::whole("id", "id").sorted();
    pub const DAG_ID: Column = Column::text("dag_id", "dag_id");
    pub const NUMBER: Column = Column::whole("version_number", "number").by(&[AnyOf]).about("Of that number").sorted();

    pub(super) const ALL: &[Column] = &[
        ID,
        NUMBER,
        Column::text("bundle_name", "bundle").by(&[Is]).about("Of that bundle").sorted(),
        Column::absent("bundle_version", ListColumnType::Text).sorted(),
    ];
}

/// The list of DAG versions, in order of creation by default.
pub static VERSIONS: List<VersionRow> = List {
    select: "id, dag_id, number, hash, bundle, created_at",
    from: "dag_version",
    joins: &[],
    columns: by::ALL,
    key: "id",
    order: &[],
    read: |row| Ok(VersionRow::from_row(row)?),
};

#[boxed]
pub async fn version_of(db: &mut PgConnection, dag_id: &str, number: i32) -> StoreResult<Option<VersionRow>> {
    VERSIONS.first(db, &Search::default().and(by::DAG_ID.is(dag_id)).and(by::NUMBER.is(number))).await
}

/// Returns the structure of a DAG version as JSON, as it was registered.
#[boxed]
pub async fn structure(db: &mut PgConnection, dag_id: &str, number: i32) -> StoreResult<Option<Value>> {
    let spec = sqlx::query_scalar!("select spec from dag_version where dag_id = $1 and number = $2", dag_id, number);
    Ok(spec.fetch_optional(db).await?)
}

/// Returns the structure of a DAG version, parsed.
#[boxed]
pub async fn spec_of(db: &mut PgConnection, dag_id: &str, number: i32) -> StoreResult<Option<DagSpec>> {
    let read = |spec| {
        serde_json::from_value(spec)
            .map_err(|error| StoreError::corrupt(format!("version {number} of dag `{dag_id}`: {error}")))
    };
    structure(db, dag_id, number).await?.map(read).transpose()
}

/// Maximum number of runs that `runs_by_version` counts. A limit is needed because a DAG may have had a million runs.
pub const MOST_COUNTED: i64 = 10_000;

/// Returns the number of runs by version id, counting only the DAG's newest `MOST_COUNTED` runs.
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

/// Returns the names of the live workers that offer each of the given versions, by version id.
#[boxed]
pub async fn workers_by_version(db: &mut PgConnection, versions: &[i32]) -> StoreResult<HashMap<i32, Vec<String>>> {
    let rows = sqlx::query!(
        r#"select v as "version!", array_agg(w.name order by w.id) as "workers!" from unnest($1::integer[]) as v
        join worker w on w.state in ('running', 'draining') and w.expires_at > now() and v = any(w.versions) group by v"#,
        versions
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.version, row.workers)).collect())
}
