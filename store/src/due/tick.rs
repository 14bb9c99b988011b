//! Creates the runs of schedules. The DAG's row is the lock, and the id and the date of a run are unique: if several
//! schedulers find the same DAG due, only one of them creates the run.

use crate::{
    StoreError, StoreResult, boxed,
    locks::{Dags, Locks},
    narrow,
    run::{CreateRun, NewRun, RunRow, create_run_of},
    version::Versions,
};
use chrono::{DateTime, Utc};
use orch_spec::DagSpec;
use orch_spec::ids::RunId;
use orch_spec::schedule::{Bounds, Calendar, DataInterval, NextRun, run_id};
use orch_spec::state::TriggeredBy;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// Maximum number of consecutive dates that are skipped because a run with that date or id already exists.
const MOST_TAKEN: usize = 1_000;

/// Returns DAGs whose schedule is due and whose limit allows another run.
#[boxed]
pub async fn due_dags(db: &mut PgConnection, most: i64) -> StoreResult<Vec<String>> {
    let dags = sqlx::query_scalar!(
        "select d.dag_id from dag d where d.next_run_after <= now() and not d.is_paused and not d.is_stale
          and (d.overlap <> 'queue' or active_runs(d.dag_id, d.max_active_runs) < d.max_active_runs)
        order by d.next_run_after limit $1",
        most
    );
    Ok(dags.fetch_all(db).await?)
}

/// Creates the due runs of a DAG's schedule, at most `most` and up to the DAG's limit, and sets the time at which the
/// next run is due. Returns an empty list if another transaction holds the lock of the DAG.
#[boxed]
pub async fn create_due_runs(
    db: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &mut Versions,
    dag_id: &str,
    most: usize,
) -> StoreResult<Vec<RunRow>> {
    let mut tx = db.begin().await?;
    let dag = sqlx::query!(
        r#"select now() as "now!", version, overlap = 'queue' as "waits!"
        from dag where dag_id = $1 and next_run_after <= now() and not is_paused and not is_stale
        for no key update skip locked"#,
        dag_id
    );
    let Some(dag) = dag.fetch_optional(&mut *tx).await? else {
        tx.rollback().await?;
        return Ok(Vec::new());
    };
    let lock = locks.dag(dag_id);
    let version = versions.get(&mut tx, dag.version).await?;
    let spec = version.plan.spec.clone();
    let mut last = last_interval(&mut tx, dag_id).await?;
    // The limit of active runs applies only with the overlap policy `queue`. Otherwise every scheduled date gets a run.
    let room = if dag.waits { most.min(room(&mut tx, dag_id).await?) } else { most };
    let (mut created, mut taken) = (Vec::new(), 0);
    let next = loop {
        let next = next_run(&spec, last, dag.now)?;
        let Some(due) = next.filter(|n| n.run_after <= dag.now) else { break next };
        if created.len() >= room || taken >= MOST_TAKEN {
            break next;
        }
        match create_run_of(&mut tx, &lock, versions, &scheduled(dag_id, &due)?).await? {
            CreateRun::Created(run) => created.push(run),
            // A user has already created a run with that date or id.
            CreateRun::LogicalDateTaken | CreateRun::RunIdTaken | CreateRun::Same(_) | CreateRun::OtherRequest => {
                taken += 1;
            }
            CreateRun::NoSuchDag | CreateRun::BadConf(_) => break None,
        }
        if due.data_interval.is_none() || due.data_interval == last {
            break None;
        }
        last = due.data_interval;
    };
    set_next(&mut tx, dag_id, next).await?;
    tx.commit().await?;
    Ok(created)
}

/// Returns the number of further runs that the limit of a DAG allows. Must be called after the row of the DAG is
/// locked: the statement that locks it sees the runs from before it waited.
async fn room(db: &mut PgConnection, dag_id: &str) -> StoreResult<usize> {
    let room = sqlx::query_scalar!(
        r#"select max_active_runs - active_runs(dag_id, max_active_runs) as "room!" from dag where dag_id = $1"#,
        dag_id
    );
    Ok(narrow::size(room.fetch_one(db).await?))
}

fn next_run(spec: &DagSpec, last: Option<DataInterval>, now: DateTime<Utc>) -> StoreResult<Option<NextRun>> {
    let calendar = Calendar::new(&spec.schedule, spec.timetable)
        .map_err(|e| StoreError::corrupt(format!("schedule of dag `{}`: {e}", spec.dag_id)))?;
    Ok(calendar.next_run(last, &Bounds::from(spec), now))
}

fn scheduled(dag_id: &str, due: &NextRun) -> StoreResult<NewRun> {
    // `scheduled` is the suffix of ids of runs without a date. The timestamp in such an id is unique enough.
    let name = run_id(due.run_type, due.run_after, due.logical_date, "scheduled");
    let name = RunId::new(&name).map_err(|e| StoreError::corrupt(e.to_string()))?;
    Ok(NewRun {
        run_id: Some(name),
        logical_date: due.logical_date,
        interval: due.data_interval,
        run_after: Some(due.run_after),
        ..NewRun::of(dag_id, due.run_type, TriggeredBy::Timetable)
    })
}

async fn last_interval(db: &mut PgConnection, dag_id: &str) -> StoreResult<Option<DataInterval>> {
    let row = sqlx::query!(
        "select interval_start, interval_end from dag_run where dag_id = $1 and run_type = 'scheduled'
        order by run_after desc limit 1",
        dag_id
    );
    let row = row.fetch_optional(db).await?;
    Ok(row.and_then(|row| Some(DataInterval { start: row.interval_start?, end: row.interval_end? })))
}

async fn set_next(db: &mut PgConnection, dag_id: &str, next: Option<NextRun>) -> StoreResult<()> {
    let interval = next.and_then(|n| n.data_interval);
    sqlx::query!(
        "update dag set next_run_after = $2, next_logical_date = $3, next_interval_start = $4, next_interval_end = $5
        where dag_id = $1",
        dag_id,
        next.map(|n| n.run_after),
        next.and_then(|n| n.logical_date),
        interval.map(|i| i.start),
        interval.map(|i| i.end)
    )
    .execute(db)
    .await?;
    Ok(())
}
