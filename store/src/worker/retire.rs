//! Determines which DAG versions a worker must keep offering when it retires.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// Returns the versions that unfinished runs need and that no other running worker offers. Retiring workers do not
/// count as running, so if two workers with the same version retire at the same time, both keep offering it.
#[boxed]
pub async fn needed_versions(db: &mut PgConnection, worker: i32, versions: &[i32]) -> StoreResult<Vec<i32>> {
    let needed = sqlx::query_scalar!(
        r#"select v as "version!" from unnest($2::integer[]) as v
        where exists (select from dag_run r where r.version = v and r.state in ('queued', 'running'))
          and not exists (select from worker w where w.id <> $1 and w.state = 'running' and w.expires_at > now()
            and v = any(w.versions))
        order by v"#,
        worker,
        versions
    );
    Ok(needed.fetch_all(db).await?)
}
