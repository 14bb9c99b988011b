//! Dashboards that bundles declare. Their content is stored as data, so that pages do not need the code of a bundle.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone, PartialEq)]
pub struct NewDashboard {
    pub name: String,
    /// File that declares the dashboard.
    pub file: String,
    pub spec: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DashboardRow {
    pub name: String,
    pub bundle: String,
    pub file: String,
    pub spec: Value,
    pub updated_at: DateTime<Utc>,
}

/// Replaces the dashboards of a bundle. A dashboard whose name another bundle already uses is not stored. Such names
/// are returned, each with the other bundle.
#[boxed]
pub async fn set_dashboards(
    db: &mut PgConnection,
    bundle: &str,
    dashboards: &[NewDashboard],
) -> StoreResult<Vec<(String, String)>> {
    let names: Vec<String> = dashboards.iter().map(|one| one.name.clone()).collect();
    let files: Vec<String> = dashboards.iter().map(|one| one.file.clone()).collect();
    let specs: Vec<Value> = dashboards.iter().map(|one| one.spec.clone()).collect();
    let mut tx = db.begin().await?;
    sqlx::query!("delete from dashboard where bundle = $1 and name <> all($2)", bundle, &names)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "insert into dashboard as d (name, bundle, file, spec)
        select n.name, $1, n.file, n.spec from unnest($2::text[], $3::text[], $4::json[]) as n (name, file, spec) order by n.name
        on conflict (name) do update set file = excluded.file, spec = excluded.spec, updated_at = now()
        where d.bundle = $1 and (d.file, d.spec::text) is distinct from (excluded.file, excluded.spec::text)",
        bundle,
        &names,
        &files,
        &specs
    )
    .execute(&mut *tx)
    .await?;
    let taken =
        sqlx::query!("select name, bundle from dashboard where name = any($1) and bundle <> $2", &names, bundle);
    let taken = taken.fetch_all(&mut *tx).await?;
    tx.commit().await?;
    Ok(taken.into_iter().map(|row| (row.name, row.bundle)).collect())
}

/// Returns all dashboards, sorted by name.
#[boxed]
pub async fn list_dashboards(db: &mut PgConnection) -> StoreResult<Vec<DashboardRow>> {
    let rows = sqlx::query_as!(
        DashboardRow,
        r#"select name, bundle, file, spec as "spec!: Value", updated_at from dashboard order by name limit 1000"#
    );
    Ok(rows.fetch_all(db).await?)
}

#[boxed]
pub async fn get_dashboard(db: &mut PgConnection, name: &str) -> StoreResult<Option<DashboardRow>> {
    let row = sqlx::query_as!(
        DashboardRow,
        r#"select name, bundle, file, spec as "spec!: Value", updated_at from dashboard where name = $1"#,
        name
    );
    Ok(row.fetch_optional(db).await?)
}
