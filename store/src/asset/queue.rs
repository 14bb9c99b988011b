//! Queued asset events of DAGs, and the assets that each DAG still waits for.

use super::heads::{Head, for_each_key};
use crate::{StoreResult, boxed, version::Versions};
use chrono::{DateTime, Utc};
use orch_core::asset::{Waiting, waiting_for};
use sqlx::postgres::PgConnection;

/// Maximum number of rows in a response.
const MOST_LISTED: i64 = 1_000;

/// Filter for queued events. A field that is `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct QueueFilter {
    pub dag_id: Option<String>,
    pub asset: Option<i32>,
    pub before: Option<DateTime<Utc>>,
}

/// The queued events of one asset for one DAG. Airflow also counts them as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRow {
    pub dag_id: String,
    pub asset: i32,
    /// Time when the last of the events was queued.
    pub created_at: DateTime<Utc>,
    pub events: i64,
}

#[boxed]
pub async fn list_queued(db: &mut PgConnection, filter: &QueueFilter) -> StoreResult<Vec<QueuedRow>> {
    let queued = sqlx::query_as!(
        QueuedRow,
        r#"select q.dag_id, e.asset as "asset!", max(q.created_at) as "created_at!", count(*) as "events!"
        from asset_queue q join asset_event e on e.id = q.event
        where ($1::text is null or q.dag_id = $1) and ($2::integer is null or e.asset = $2)
          and ($3::timestamptz is null or q.created_at < $3)
        group by q.dag_id, e.asset order by q.dag_id, e.asset limit $4"#,
        filter.dag_id,
        filter.asset,
        filter.before,
        MOST_LISTED
    );
    Ok(queued.fetch_all(db).await?)
}

/// Deletes the queued events that match the filter, and returns their number.
#[boxed]
pub async fn delete_queued(db: &mut PgConnection, filter: &QueueFilter) -> StoreResult<u64> {
    let done = sqlx::query!(
        "delete from asset_queue q using asset_event e where e.id = q.event and ($1::text is null or q.dag_id = $1)
          and ($2::integer is null or e.asset = $2) and ($3::timestamptz is null or q.created_at < $3)",
        filter.dag_id,
        filter.asset,
        filter.before
    );
    Ok(done.execute(db).await?.rows_affected())
}

/// Returns the assets that a DAG waits for. The list is empty if the DAG is not started by assets or does not exist.
#[boxed]
pub async fn what_dag_waits_for(
    db: &mut PgConnection,
    versions: &mut Versions,
    dag_id: &str,
) -> StoreResult<Vec<Waiting>> {
    let version = sqlx::query_scalar!("select version from dag where dag_id = $1", dag_id);
    let Some(version) = version.fetch_optional(&mut *db).await? else { return Ok(Vec::new()) };
    let version = versions.get(db, version).await?;
    let schedule = &version.plan.spec.schedule;
    if schedule.assets().is_none() {
        return Ok(Vec::new());
    }
    let updated = |waits: &[Waiting]| waits.iter().filter(|one| one.updated).count();
    let mut furthest = waiting_for(schedule, &[]);
    for_each_key(db, dag_id, schedule.by_partition(), |heads| {
        let waits = waiting_for(schedule, &heads.iter().map(Head::queued).collect::<Vec<_>>());
        if updated(&waits) > updated(&furthest) {
            furthest = waits;
        }
        updated(&furthest) < furthest.len()
    })
    .await?;
    Ok(furthest)
}
