//! Finds DAGs and versions that no worker offers any more, and attempts that no worker claims.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// A run whose DAG version no worker offers, although a worker offers the newest version of the DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrandedRun {
    pub run: Uuid,
    pub dag_id: String,
    pub run_id: String,
    /// Id of the newest version of the DAG.
    pub newest: i32,
}

/// Marks DAGs that no worker has offered for `after` as stale, so that they get no scheduled runs. Returns their
/// number.
#[boxed]
pub async fn mark_stale_dags(db: &mut PgConnection, after: Duration) -> StoreResult<u64> {
    let done = sqlx::query!(
        "update dag set is_stale = true where dag_id = any(array(select d.dag_id from dag d where not d.is_stale
          and d.registered_at < now() - $1::float8 * interval '1 second' and not exists (select from worker w
            where d.version = any(w.versions) and w.heartbeat_at > now() - $1::float8 * interval '1 second')
          order by d.dag_id for no key update of d))",
        after.as_secs_f64()
    );
    Ok(done.execute(db).await?.rows_affected())
}

/// Returns runs whose DAG version no worker has offered for `after`.
#[boxed]
pub async fn stranded_runs(db: &mut PgConnection, after: Duration, most: i64) -> StoreResult<Vec<StrandedRun>> {
    let runs = sqlx::query_as!(
        StrandedRun,
        "select r.id as run, r.dag_id, r.run_id, d.version as newest from dag_run r join dag d on d.dag_id = r.dag_id
        where r.state = 'running' and r.version <> d.version and r.created_at < now() - $1::float8 * interval '1 second'
          and not exists (select from worker w where r.version = any(w.versions)
            and w.heartbeat_at > now() - $1::float8 * interval '1 second')
          and exists (select from worker w where d.version = any(w.versions) and w.state = 'running'
            and w.expires_at > now())
        order by r.id limit $2",
        after.as_secs_f64(),
        most
    );
    Ok(runs.fetch_all(db).await?)
}

/// Returns the number of claimable attempts that no worker has claimed for `after`, and the time since which the oldest
/// one waits. `None` if there are none.
#[boxed]
pub async fn queued_too_long(db: &mut PgConnection, after: Duration) -> StoreResult<Option<(i64, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"select count(*) as "count!", min(queued_at) as oldest from ready
        where queue > 0 and queued_at < now() - $1::float8 * interval '1 second'"#,
        after.as_secs_f64()
    );
    let row = row.fetch_one(db).await?;
    Ok(row.oldest.map(|oldest| (row.count, oldest)))
}
