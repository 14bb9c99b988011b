//! Begins runs that wait: for other runs to end, for their DAG to be unpaused, for their time.

use super::create::{Decided, Tries};
use crate::StoreResult;
use crate::version::{Version, Versions};
use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_core::transition::start;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// Runs begun in one transaction.
const MOST_STARTS: i64 = 256;

/// Begins as many queued runs of a DAG as its limit leaves, oldest first, in its newest version. Whoever ends a run or
/// unpauses a DAG calls it, and schedulers for those that died before. The caller tells workers.
pub async fn start_queued_runs(db: &mut PgConnection, versions: &mut Versions, dag_id: &str) -> StoreResult<Vec<Uuid>> {
    let waiting = sqlx::query_scalar!(
        r#"select exists (select from dag_run where dag_id = $1 and state = 'queued' and run_after <= now()) as "waiting!""#,
        dag_id
    );
    if !waiting.fetch_one(&mut *db).await? {
        return Ok(Vec::new());
    }
    let mut tx = db.begin().await?;
    let dag =
        sqlx::query!("select version, is_paused, max_active_runs from dag where dag_id = $1 for no key update", dag_id);
    let Some(dag) = dag.fetch_optional(&mut *tx).await?.filter(|d| !d.is_paused) else {
        tx.rollback().await?;
        return Ok(Vec::new());
    };
    let runs = sqlx::query_scalar!(
        "select id from dag_run where dag_id = $1 and state = 'queued' and run_after <= now() and clear_number = 0
        order by run_after, id limit greatest(0, least($2 - running_runs($1), $3)) for no key update",
        dag_id,
        i64::from(dag.max_active_runs),
        MOST_STARTS
    )
    .fetch_all(&mut *tx)
    .await?;
    if runs.is_empty() {
        tx.rollback().await?;
        return Ok(runs);
    }
    let version = versions.get(&mut tx, dag.version).await?;
    begin(&mut tx, &version, &runs).await?;
    tx.commit().await?;
    Ok(runs)
}

/// All begin alike, for a run's beginning follows from its version alone.
async fn begin(db: &mut PgConnection, version: &Arc<Version>, runs: &[Uuid]) -> StoreResult<()> {
    let (run, effects) = start(&version.plan);
    move_on(db, version, runs, &run).await?;
    put(db, version, runs, &effects.ready, Table::Ready).await?;
    put(db, version, runs, &effects.hold, Table::Held).await?;
    decide(db, runs, &Decided::new(&effects.decided)).await
}

async fn move_on(db: &mut PgConnection, version: &Version, runs: &[Uuid], to: &Run) -> StoreResult<()> {
    sqlx::query!(
        "update dag_run set rev = rev + 1, version = $2, state = $3::text::run_state, ledger = $4, counters = $5,
          started_at = now(), ended_at = case when $3 in ('success', 'failed') then now() end,
          timeout_at = now() + $6::bigint * interval '1 millisecond'
        where id = any($1)",
        runs,
        version.id,
        to.state.as_str(),
        &to.ledger,
        &to.counters,
        version.plan.spec.run_timeout_ms.map(|ms| ms.min(i64::MAX as u64) as i64)
    )
    .execute(db)
    .await?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Table {
    Ready,
    Held,
}

/// The same instances in each of the runs.
async fn put(
    db: &mut PgConnection,
    version: &Version,
    runs: &[Uuid],
    instances: &[(TaskIdx, i32)],
    table: Table,
) -> StoreResult<()> {
    if instances.is_empty() {
        return Ok(());
    }
    let mut all = Tries::new(version, Uuid::nil(), &[]);
    let mut owners = Vec::with_capacity(runs.len() * instances.len());
    for &run in runs {
        all.extend(Tries::new(version, run, instances));
        owners.extend(std::iter::repeat_n(run, instances.len()));
    }
    let (Tries { task, map_index, attempt, queue, priority, retries }, version) = (&all, version.id);
    match table {
        Table::Ready => sqlx::query!(
            "insert into ready (run, task, map_index, attempt, queue, priority, max_tries, version, try_no, lease_no,
              lost_no, rev_ready)
            select q.*, $8, 1, 1, 0, 1
            from unnest($1::uuid[], $2::smallint[], $3::integer[], $4::uuid[], $5::integer[], $6::integer[], $7::smallint[]) q",
            &owners,
            task,
            map_index,
            attempt,
            queue,
            priority,
            retries,
            version
        ),
        Table::Held => sqlx::query!(
            "insert into held (run, task, map_index, attempt, queue, priority, max_tries, version, rev_ready)
            select q.*, $8, 1
            from unnest($1::uuid[], $2::smallint[], $3::integer[], $4::uuid[], $5::integer[], $6::integer[], $7::smallint[]) q",
            &owners,
            task,
            map_index,
            attempt,
            queue,
            priority,
            retries,
            version
        ),
    }
    .execute(db)
    .await?;
    Ok(())
}

async fn decide(db: &mut PgConnection, runs: &[Uuid], decided: &Decided) -> StoreResult<()> {
    if decided.task.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at)
        select r.run, d.task, d.map_index, gen_random_uuid(), 0, 0, 0, d.state::task_state, now()
        from unnest($1::uuid[]) as r (run), unnest($2::smallint[], $3::integer[], $4::text[]) as d (task, map_index, state)",
        runs,
        &decided.task,
        &decided.map_index,
        &decided.state
    )
    .execute(db)
    .await?;
    Ok(())
}
