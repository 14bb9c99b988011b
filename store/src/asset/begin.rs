//! Evaluates the asset conditions of DAGs against their queued events, and creates the runs whose conditions are met.
//! The row of the DAG is the lock.

use super::heads::{Head, for_each_key};
use crate::{
    StoreError, StoreResult, boxed,
    locks::{DagLock, Dags, Locks},
    narrow,
    run::{CreateRun, NewRun, RunRow, create_run_of},
    version::Versions,
};
use chrono::{DateTime, Utc};
use orch_core::asset::{Queued, Trigger, triggers};
use orch_spec::state::{RunType, TriggeredBy};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Returns DAGs whose asset conditions must be evaluated and whose limit allows another run. A DAG that is paused or at
/// its limit keeps its queued events, and one run consumes all of them later.
#[boxed]
pub async fn dags_to_ask(db: &mut PgConnection, most: i64) -> StoreResult<Vec<String>> {
    let dags = sqlx::query_scalar!(
        "select a.dag_id from asset_due a where (select not d.is_paused and not d.is_stale
          and active_runs(d.dag_id, d.max_active_runs) < d.max_active_runs from dag d where d.dag_id = a.dag_id)
        order by a.dag_id limit $1",
        most
    );
    Ok(dags.fetch_all(db).await?)
}

/// Creates the runs that a DAG's queued events trigger, up to its limit. Returns an empty list if another transaction
/// holds the lock of the DAG.
#[boxed]
pub async fn begin_triggered_runs(
    db: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &mut Versions,
    dag_id: &str,
) -> StoreResult<Vec<RunRow>> {
    let mut tx = db.begin().await?;
    let dag = sqlx::query!(
        r#"select version, max_active_runs - active_runs(dag_id, max_active_runs) as "room!"
        from dag where dag_id = $1 and not is_paused and not is_stale for no key update skip locked"#,
        dag_id
    );
    let Some(dag) = dag.fetch_optional(&mut *tx).await?.filter(|dag| dag.room > 0) else {
        tx.rollback().await?;
        return Ok(Vec::new());
    };
    let lock = locks.dag(dag_id);
    // Must happen before the queue is read: a transaction that queues more events waits for this one, and then inserts
    // the row again.
    sqlx::query!("delete from asset_due where dag_id = $1", dag_id).execute(&mut *tx).await?;
    let version = versions.get(&mut tx, dag.version).await?;
    let (schedule, room) = (&version.plan.spec.schedule, narrow::size(dag.room));
    let mut due: Vec<(Trigger, Option<DateTime<Utc>>)> = Vec::new();
    for_each_key(&mut tx, dag_id, schedule.by_partition(), |heads| {
        let queued: Vec<Queued<'_>> = heads.iter().map(Head::queued).collect();
        due.extend(triggers(schedule, &queued).into_iter().map(|trigger| {
            let consumed = heads.iter().filter(|head| trigger.events.contains(&head.queued().event));
            let last_at = consumed.map(|head| head.last_at).max();
            (trigger, last_at)
        }));
        due.len() <= room
    })
    .await?;
    let more = due.len() > room;
    let mut created = Vec::new();
    for (trigger, last_at) in due.iter().take(room) {
        created.push(begin(&mut tx, &lock, versions, trigger, *last_at).await?);
    }
    if more {
        sqlx::query!("insert into asset_due (dag_id) values ($1) on conflict do nothing", dag_id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(created)
}

async fn begin(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    trigger: &Trigger,
    last_at: Option<DateTime<Utc>>,
) -> StoreResult<RunRow> {
    let dag_id = dag.dag_id();
    let new = NewRun {
        run_after: last_at,
        partition_key: trigger.partition_key.clone(),
        ..NewRun::of(dag_id, RunType::AssetTriggered, TriggeredBy::Asset)
    };
    match create_run_of(db, dag, versions, &new).await? {
        CreateRun::Created(run) => {
            consume(db, dag_id, run.id, trigger.partition_key.as_deref()).await?;
            Ok(run)
        }
        other => Err(StoreError::corrupt(format!("a run by assets of dag `{dag_id}` was not created: {other:?}"))),
    }
}

/// Moves the queued events of a DAG to a run: those with this partition key, or all of them without one. Events are
/// queued only for DAGs that wait for them.
async fn consume(db: &mut PgConnection, dag_id: &str, run: Uuid, partition_key: Option<&str>) -> StoreResult<()> {
    sqlx::query!(
        "with taken as (delete from asset_queue q using asset_event e
            where q.dag_id = $1 and e.id = q.event and ($3::text is null or e.partition_key = $3) returning q.event)
        insert into dag_run_event (run, event) select $2, event from taken",
        dag_id,
        run,
        partition_key
    )
    .execute(db)
    .await?;
    Ok(())
}
