//! Starts queued runs. A run is queued until its start time has come, its DAG is unpaused and the DAG has a free run
//! slot.

use super::insert::{Decided, Tries, put_reasons};
use super::policy::{skip, there};
use super::word;
use crate::{
    StoreResult, boxed,
    locks::{DagLock, Dags, Locks},
    version::{Version, Versions},
};
use orch_core::overlap::{Begin, has_policy};
use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_spec::state::RunType;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of runs that one transaction starts.
const MOST_STARTS: i64 = 256;

/// Starts queued runs of a DAG in its newest version, oldest first, up to the DAG's limit of active runs. Called after
/// a run of the DAG has ended or the DAG was unpaused. Schedulers call it periodically as well, in case a process died
/// before it called this. Afterwards, the caller sends `Hint::Ready`.
#[boxed]
pub async fn start_queued_runs(
    db: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &mut Versions,
    dag_id: &str,
) -> StoreResult<Vec<Uuid>> {
    // This transaction locks no other row before the DAG's row.
    start_queued_runs_of(db, &locks.dag(dag_id), versions).await
}

/// Like [`start_queued_runs`], but for a transaction that has already locked the DAG.
#[boxed]
pub async fn start_queued_runs_of(
    db: &mut PgConnection,
    lock: &DagLock,
    versions: &mut Versions,
) -> StoreResult<Vec<Uuid>> {
    let dag_id = lock.dag_id();
    let waiting = sqlx::query_scalar!(
        r#"select exists (select from dag_run where dag_id = $1 and state = 'queued' and clear_number = 0
          and run_after <= now()) as "waiting!""#,
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
    let version = versions.get(&mut tx, dag.version).await?;
    if has_policy(&version.plan.spec) {
        let begun = by_policy(&mut tx, lock, versions, &version, dag.max_active_runs).await?;
        tx.commit().await?;
        return Ok(begun);
    }
    let queued = queued(&mut tx, dag_id, dag.max_active_runs).await?;
    if queued.is_empty() {
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    let mut alike: BTreeMap<&StartGroup, Vec<Uuid>> = BTreeMap::new();
    queued.iter().for_each(|(run, kind)| alike.entry(kind).or_default().push(*run));
    for (kind, runs) in alike {
        begin(&mut tx, &version, kind, &runs).await?;
    }
    tx.commit().await?;
    Ok(queued.into_iter().map(|(run, _)| run).collect())
}

/// Runs with equal values start in the same state, if they also have the same version: the run type, and the selected
/// tasks (`None` for all tasks).
type StartGroup = (RunType, Option<Vec<String>>);

/// Locks and returns queued runs, as many as may start under the DAG's limit of active runs.
async fn queued(db: &mut PgConnection, dag_id: &str, max_active_runs: i32) -> StoreResult<Vec<(Uuid, StartGroup)>> {
    let rows = sqlx::query_file!("queries/run/queued.sql", dag_id, i64::from(max_active_runs), MOST_STARTS);
    let rows = rows.fetch_all(db).await?;
    rows.into_iter().map(|row| Ok((row.id, (word(&row.run_type)?, row.tasks)))).collect()
}

/// Starts queued runs of a DAG that has an overlap policy, oldest first. The decision about each run takes into account
/// the runs that were started before it.
async fn by_policy(
    db: &mut PgConnection,
    lock: &DagLock,
    versions: &mut Versions,
    version: &Arc<Version>,
    max_active_runs: i32,
) -> StoreResult<Vec<Uuid>> {
    let (plan, dag_id) = (&version.plan, lock.dag_id());
    let mut there = there(db, plan, dag_id, max_active_runs).await?;
    let rows = sqlx::query!(
        r#"select r.id, r.run_id, r.run_type::text as "run_type!", d.tasks as "tasks?", d.conf as "conf?",
          d.note is not null as "has_note!"
        from dag_run r left join dag_run_detail d on d.run = r.id
        where r.dag_id = $1 and r.state = 'queued' and r.run_after <= now() and r.clear_number = 0
        order by r.run_after, r.id limit $2 for no key update of r"#,
        dag_id,
        MOST_STARTS
    );
    let mut begun = Vec::new();
    for row in rows.fetch_all(&mut *db).await? {
        let run_type = word(&row.run_type)?;
        match there.ask(plan, run_type, row.conf.as_ref()) {
            Begin::Wait => continue,
            Begin::Skip => {
                skip(db, lock, versions, (row.id, &row.run_id), row.has_note).await?;
                continue;
            }
            Begin::Cancel(places) => there.make_way(db, lock, versions, &places).await?,
            Begin::Now => {}
        }
        begin(db, version, &(run_type, row.tasks), &[row.id]).await?;
        there.begun(plan, (row.id, row.run_id), run_type, row.conf.as_ref());
        begun.push(row.id);
    }
    Ok(begun)
}

/// Starts all runs of a group in the same state.
async fn begin(
    db: &mut PgConnection,
    version: &Arc<Version>,
    (run_type, tasks): &StartGroup,
    runs: &[Uuid],
) -> StoreResult<()> {
    let (run, effects) = super::insert::begin(&version.plan, tasks.as_deref());
    move_on(db, version, runs, &run).await?;
    put(db, version, (runs, *run_type), &effects.ready, Table::Ready).await?;
    put(db, version, (runs, *run_type), &effects.hold, Table::Held).await?;
    decide(db, runs, &Decided::new(&effects.decided)).await?;
    put_reasons(db, runs, &effects.reasons).await
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

/// Inserts the same first instances for each of the runs.
async fn put(
    db: &mut PgConnection,
    version: &Version,
    (runs, run_type): (&[Uuid], RunType),
    instances: &[(TaskIdx, i32)],
    table: Table,
) -> StoreResult<()> {
    if instances.is_empty() {
        return Ok(());
    }
    let mut all = Tries::new(version, (Uuid::nil(), run_type), &[]);
    let mut owners = Vec::with_capacity(runs.len() * instances.len());
    for &run in runs {
        all.extend(Tries::new(version, (run, run_type), instances));
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
