//! What is queued for DAGs, and what each of them still waits for.

use super::heads::{Head, for_each_key};
use crate::{StoreResult, boxed, version::Versions};
use chrono::{DateTime, Utc};
use orch_core::asset::{Waiting, waiting_for};
use sqlx::postgres::PgConnection;

/// The most rows in one answer.
const MOST_LISTED: i64 = 1_000;

/// Which queued events; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct QueueFilter {
    pub dag_id: Option<String>,
    pub asset: Option<i32>,
    pub before: Option<DateTime<Utc>>,
}

/// As Airflow counts: one for each asset and DAG, however many events it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRow {
    pub dag_id: String,
    pub asset: i32,
    /// Of the last of its events.
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

/// Nobody will consume them; how many that were.
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

/// What a DAG that assets start waits for; empty when they do not, or there is no such DAG.
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
