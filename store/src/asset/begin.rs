//! Asks the conditions of DAGs over what is queued for them and creates the runs that follow. The DAG's row is the lock.

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

/// DAGs whose conditions are to be asked and that may have a run more. Those that are paused or full keep what is queued
/// for them: one run takes it all when there is room again.
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

/// Creates the runs that a DAG's queued events trigger, up to its limit. Returns an empty list if another transaction holds the lock of the
/// DAG.
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
    // Before the queue is read: whoever queues more from now on waits for us, and asks again.
    sqlx::query!("delete from asset_due where dag_id = $1", dag_id).execute(&mut *tx).await?;
    let version = versions.get(&mut tx, dag.version).await?;
    let heads = heads(&mut tx, dag_id).await?;
    let queued: Vec<Queued<'_>> = heads.iter().map(Head::queued).collect();
    let due = triggers(&version.plan.spec.schedule, &queued);
    let more = due.len() > narrow::size(dag.room);
    let mut created = Vec::new();
    for trigger in due.iter().take(narrow::size(dag.room)) {
        created.push(begin(&mut tx, &lock, versions, trigger, &heads).await?);
    }
    if more {
        sqlx::query!("insert into asset_due (dag_id) values ($1) on conflict do nothing", dag_id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(created)
}

/// The first of the events of one asset, alias and key, with the time of the last.
struct Head {
    event: i64,
    uri: String,
    aliases: Vec<String>,
    partition_key: Option<String>,
    last_at: DateTime<Utc>,
}

impl Head {
    fn queued(&self) -> Queued<'_> {
        let partition_key = self.partition_key.as_deref();
        Queued { event: self.event, uri: &self.uri, aliases: &self.aliases, partition_key }
    }
}

/// However many events are queued, a condition asks only which assets, aliases and keys there are.
async fn heads(db: &mut PgConnection, dag_id: &str) -> StoreResult<Vec<Head>> {
    let heads = sqlx::query_as!(
        Head,
        r#"select min(e.id) as "event!", e.uri, array_remove(array[e.alias], null) as "aliases!", e.partition_key,
          max(e.at) as "last_at!"
        from asset_queue q join asset_event e on e.id = q.event where q.dag_id = $1
        group by e.uri, e.alias, e.partition_key order by 1"#,
        dag_id
    );
    Ok(heads.fetch_all(db).await?)
}

async fn begin(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    trigger: &Trigger,
    heads: &[Head],
) -> StoreResult<RunRow> {
    let dag_id = dag.dag_id();
    let consumed = heads.iter().filter(|head| trigger.events.contains(&head.event));
    let new = NewRun {
        run_after: consumed.map(|head| head.last_at).max(),
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

/// All that is queued (of a key) is the run's. What a DAG does not wait for is never queued for it.
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
