//! Reaps lost workers: requeues the task instances of workers whose lease has expired. The requeued instances keep
//! their attempt and get a new lease.
//!
//! Lock order: run before instances. A transaction that cancels or moves the run at the same time therefore sees either
//! all changes of the reaping or none.

use crate::{
    StoreResult,
    alert::add_alerts,
    boxed,
    live::database_clock,
    locks::{Locks, Runs},
    log::{NewChunk, append},
    parked::park,
    run::word,
    version::{Version, Versions},
};
use chrono::{DateTime, SecondsFormat, Utc};
use orch_core::alert::{TryEnd, of_try};
use orch_core::plan::TaskIdx;
use orch_sdk::task::LogLevel;
use orch_spec::OnLost;
use orch_spec::state::{RunType, TaskState};
use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Maximum number of instances that one transaction requeues. Workers have 256 slots by default, so this is rarely
/// reached; `sweep_orphans` requeues the remaining instances.
const MOST_INSTANCES: i64 = 10_000;
/// Time after the end of a worker's lease during which `reap` checks the worker for late claims: a statement that the
/// worker sent just before it was declared lost may commit afterwards. `sweep_orphans` finds claims that are later
/// still.
const LOOK_AGAIN_FOR: Duration = Duration::from_secs(30);

/// Result of reaping workers. The caller must apply the recorded outcomes of the runs in `unfolded`, and wake idle
/// workers if `requeued` is not 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaped {
    pub workers: Vec<i32>,
    /// Number of instances that other workers can now claim.
    pub requeued: usize,
    /// Runs with recorded outcomes that must be applied, because an instance exceeded its limit of lost workers or had
    /// been cleared while it ran.
    pub unfolded: Vec<Uuid>,
}

/// Declares workers lost whose lease has expired, and requeues their instances. Checks lost workers again for 30
/// seconds after the end of their lease, because a claim may commit while its worker is being declared lost.
#[boxed]
pub async fn reap(db: &mut PgConnection, locks: &Locks<Runs>, versions: &mut Versions) -> StoreResult<Reaped> {
    reap_since(db, locks, versions, DateTime::UNIX_EPOCH).await
}

/// Like `reap`, for a caller that was suspended itself: no worker is declared lost until one lease duration after
/// `awake`, since no heartbeat could arrive before. Restarts of the Postgres server are taken into account regardless
/// of `awake`.
#[boxed]
pub async fn reap_since(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    awake: DateTime<Utc>,
) -> StoreResult<Reaped> {
    let mut tx = db.begin().await?;
    let workers = sqlx::query_scalar!(
        "update worker set state = 'lost', running = 0 where id = any(array(select id from worker
            where state in ('running', 'draining') and trusted_until(expires_at, heartbeat_at, $1) < now()
            order by id for no key update))
          and state in ('running', 'draining') and trusted_until(expires_at, heartbeat_at, $1) < now() returning id",
        awake
    )
    .fetch_all(&mut *tx)
    .await?;
    let gone = sqlx::query_scalar!(
        "select id from worker where state in ('lost', 'stopped') and expires_at > now() - $1::bigint * interval '1 second'",
        LOOK_AGAIN_FOR.as_secs() as i64
    )
    .fetch_all(&mut *tx)
    .await?;
    if gone.is_empty() && workers.is_empty() {
        tx.rollback().await?;
        return Ok(Reaped::default());
    }
    let all = [&workers[..], &gone].concat();
    let mut reaped = take_away(&mut tx, locks, versions, &Taking::all_of(&all, ReapCause::Lost)).await?;
    tx.commit().await?;
    reaped.workers = workers;
    Ok(reaped)
}

/// Stops a worker that exits normally. Its instances are requeued, and this does not count as the loss of a worker.
#[boxed]
pub async fn release(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    worker: i32,
) -> StoreResult<Reaped> {
    let mut tx = db.begin().await?;
    sqlx::query!("update worker set state = 'stopped', running = 0 where id = $1 and state <> 'lost'", worker)
        .execute(&mut *tx)
        .await?;
    let reaped = take_away(&mut tx, locks, versions, &Taking::all_of(&[worker], ReapCause::Released)).await?;
    tx.commit().await?;
    Ok(reaped)
}

/// Requeues instances that a worker claimed after it was declared lost. This happens if the worker was frozen and
/// resumed without noticing.
#[boxed]
pub async fn sweep_orphans(db: &mut PgConnection, locks: &Locks<Runs>, versions: &mut Versions) -> StoreResult<Reaped> {
    let workers = sqlx::query_scalar!(
        r#"select distinct t.worker as "worker!" from dag_run r join task_instance t on t.run = r.id
        where r.state = 'running' and t.state in ('running', 'restarting') and not exists (select from worker w
          where w.id = t.worker and w.state in ('running', 'draining')) limit 1000"#
    )
    .fetch_all(&mut *db)
    .await?;
    if workers.is_empty() {
        return Ok(Reaped::default());
    }
    let mut tx = db.begin().await?;
    let mut reaped = take_away(&mut tx, locks, versions, &Taking::all_of(&workers, ReapCause::Lost)).await?;
    tx.commit().await?;
    reaped.workers = workers;
    Ok(reaped)
}

/// Requeues all attempts that are assigned to a worker except those in `has`. Called after the worker lost its
/// connection during a claim: the claim may have committed attempts that the worker never received and never started.
#[boxed]
pub async fn give_back(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    worker: i32,
    has: &[Uuid],
) -> StoreResult<Reaped> {
    let mut tx = db.begin().await?;
    let taking = Taking { workers: &[worker], but: has, run: None, why: ReapCause::NeverBegun };
    let reaped = take_away(&mut tx, locks, versions, &taking).await?;
    tx.commit().await?;
    Ok(reaped)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReapCause {
    Lost,
    Released,
    NeverBegun,
}

/// Selects the instances to take away from workers.
#[derive(Debug, Clone, Copy)]
struct Taking<'a> {
    workers: &'a [i32],
    /// Ids of attempts that stay with their workers.
    but: &'a [Uuid],
    /// If set, only instances of this run are selected.
    run: Option<Uuid>,
    why: ReapCause,
}

impl<'a> Taking<'a> {
    fn all_of(workers: &'a [i32], why: ReapCause) -> Self {
        Taking { workers, but: &[], run: None, why }
    }
}

/// Takes the selected instances away from their workers in one savepoint. If a row cannot be read or written, processes
/// each run separately and parks the runs that fail again, so that a damaged run does not block the others.
async fn take_away(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    taking: &Taking<'_>,
) -> StoreResult<Reaped> {
    match take_together(db, locks, versions, taking).await {
        Err(error) if error.is_of_one_item() => {
            tracing::warn!(workers = ?taking.workers, %error, cause = error.source_text(), "instances are taken away run by run");
        }
        done => return done,
    }
    let &Taking { workers, but, .. } = taking;
    let runs = sqlx::query_scalar!(
        r#"select r.id from dag_run r where r.state = 'running' and exists (select from task_instance t
          where t.run = r.id and t.worker = any($1) and t.state in ('running', 'restarting') and t.attempt <> all($2))
        order by r.id"#,
        workers,
        but
    )
    .fetch_all(&mut *db)
    .await?;
    let mut all = Reaped::default();
    for run in runs {
        match take_together(db, locks, versions, &Taking { run: Some(run), ..*taking }).await {
            Ok(reaped) => {
                all.requeued += reaped.requeued;
                all.unfolded.extend(reaped.unfolded);
            }
            Err(error) if error.is_of_one_item() => park(db, run, &error.in_full()).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Takes the selected instances away from their workers, in a savepoint that is rolled back on any error.
async fn take_together(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    taking: &Taking<'_>,
) -> StoreResult<Reaped> {
    let mut savepoint = db.begin().await?;
    let reaped = take(&mut savepoint, locks, versions, taking).await?;
    savepoint.commit().await?;
    Ok(reaped)
}

/// An instance that was taken away from its worker.
struct ReapedInstance {
    run: Uuid,
    task: i16,
    map_index: i32,
    restarting: bool,
    lost_no: i16,
    lease_no: i32,
    attempt: Uuid,
    try_no: i16,
    /// Host and process id of the worker, or `None` if its row was deleted.
    worker_name: Option<String>,
}

async fn take(
    db: &mut PgConnection,
    _locks: &Locks<Runs>,
    versions: &mut Versions,
    taking: &Taking<'_>,
) -> StoreResult<Reaped> {
    let &Taking { workers, but, run, why } = taking;
    // Only stopped attempts release their slots here. Instances that are running or restarting keep their slots.
    sqlx::query!(
        "with gone as (delete from stop_order where worker = any($1) and attempt <> all($2) returning attempt)
        delete from slot s using gone where s.attempt = gone.attempt and not exists (select from task_instance t
          where t.run = s.run and t.task = s.task and t.map_index = s.map_index and t.attempt = s.attempt
            and t.state in ('running', 'restarting'))",
        workers,
        but
    )
    .execute(&mut *db)
    .await?;
    let runs = sqlx::query!(
        r#"select r.id, r.version, r.run_type::text as "run_type!" from dag_run r where r.state = 'running' and exists (select from task_instance t
          where t.run = r.id and t.worker = any($1) and t.state in ('running', 'restarting') and t.attempt <> all($2))
          and ($3::uuid is null or r.id = $3)
        order by r.id for no key update"#,
        workers,
        but,
        run
    )
    .fetch_all(&mut *db)
    .await?;
    let mut version_of = HashMap::new();
    for run in &runs {
        version_of.insert(run.id, (versions.get(db, run.version).await?, word::<RunType>(&run.run_type)?));
    }
    let ids: Vec<Uuid> = runs.iter().map(|r| r.id).collect();
    let taken = sqlx::query_as!(
        ReapedInstance,
        r#"select run, task, map_index, state = 'restarting' as "restarting!", lost_no, lease_no, attempt, try_no,
          (select w.hostname || ' (pid ' || w.pid || ')' from worker w where w.id = t.worker) as worker_name
        from task_instance t
        where run = any($1) and worker = any($2) and state in ('running', 'restarting') and attempt <> all($4)
        order by run, task, map_index limit $3 for update"#,
        &ids,
        workers,
        MOST_INSTANCES,
        but
    )
    .fetch_all(&mut *db)
    .await?;
    let (mut again, mut anew, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for instance in taken {
        if instance.restarting {
            anew.push(instance);
            continue;
        }
        let (version, _) = &version_of[&instance.run];
        let over = match version.plan.task(instance.task as TaskIdx).on_lost {
            OnLost::Retry(most) => why == ReapCause::Lost && instance.lost_no.unsigned_abs() >= most,
            // `OnLost::Fail` forbids a second start. The attempt may have started, regardless of how its worker ended.
            OnLost::Fail => why != ReapCause::NeverBegun,
        };
        if over { failed.push(instance) } else { again.push(instance) }
    }
    requeue(db, &version_of, &again, why).await?;
    fail(db, &failed).await?;
    for instance in &failed {
        let plan = &version_of[&instance.run].0.plan;
        let causes = ["the worker was lost".into()];
        let end = TryEnd {
            attempt: instance.attempt,
            try_number: instance.try_no,
            map_index: instance.map_index,
            state: TaskState::Failed,
            causes: &causes,
        };
        let task = &plan.spec.tasks[usize::from(instance.task as u16)];
        add_alerts(db, Some(instance.run), &of_try(&plan.spec.dag_id, task, end)).await?;
    }
    restart(db, &anew).await?;
    if why == ReapCause::Lost {
        let again = again.iter().map(|i| (i, LogLevel::Warning, "the attempt starts again"));
        let failed = failed.iter().map(|i| (i, LogLevel::Error, "the attempt failed"));
        let anew = anew.iter().map(|i| (i, LogLevel::Warning, "the attempt ended, because it was cleared"));
        log_losses(db, &again.chain(failed).chain(anew).collect::<Vec<_>>()).await?;
    }
    let runs: BTreeSet<Uuid> = failed.iter().chain(&anew).map(|i| i.run).collect();
    Ok(Reaped { workers: Vec::new(), requeued: again.len(), unfolded: runs.into_iter().collect() })
}

/// Appends a line about the lost worker to the log of each attempt, under the attempt's old lease, because the worker
/// can no longer write it. The line states whether the attempt restarts or failed.
///
/// Errors are ignored: a failure to write a log line must not keep the tasks from being requeued.
async fn log_losses(db: &mut PgConnection, losses: &[(&ReapedInstance, LogLevel, &str)]) -> StoreResult<()> {
    if losses.is_empty() {
        return Ok(());
    }
    let at = database_clock(db).await?.to_rfc3339_opts(SecondsFormat::Micros, true);
    let chunk = |&(instance, level, then): &(&ReapedInstance, LogLevel, &str)| {
        let worker = instance.worker_name.as_deref().unwrap_or("of this attempt");
        let event = format!("the worker {worker} was lost: it did not renew its lease in time; {then}");
        let line = json!({ "timestamp": at, "level": level.as_str(), "logger": "orch", "event": event });
        NewChunk {
            run: instance.run,
            attempt: instance.attempt,
            lease_no: instance.lease_no,
            // The highest number, so that chunks which the worker sent earlier and which arrive later sort before this
            // line.
            seq: i32::MAX,
            lines: 1,
            body: format!("{line}\n"),
        }
    };
    let chunks: Vec<NewChunk> = losses.iter().map(chunk).collect();
    let mut savepoint = db.begin().await?;
    match append(&mut savepoint, &chunks).await {
        Ok(()) => savepoint.commit().await?,
        Err(error) => {
            savepoint.rollback().await?;
            tracing::warn!(%error, cause = error.source_text(), "the logs of attempts of lost workers could not be written");
        }
    }
    Ok(())
}

fn keys(instances: &[ReapedInstance]) -> (Vec<Uuid>, Vec<i16>, Vec<i32>) {
    instances.iter().map(|i| (i.run, i.task, i.map_index)).collect()
}

/// Requeues attempts under a new lease number.
async fn requeue(
    db: &mut PgConnection,
    version_of: &HashMap<Uuid, (Arc<Version>, RunType)>,
    instances: &[ReapedInstance],
    why: ReapCause,
) -> StoreResult<()> {
    if instances.is_empty() {
        return Ok(());
    }
    let of = |i: &ReapedInstance| (&version_of[&i.run].0, usize::from(i.task as u16));
    let priority = |i: &ReapedInstance| version_of[&i.run].1.priority(of(i).0.plan.tasks[of(i).1].priority);
    let (runs, tasks, indexes) = keys(instances);
    sqlx::query_file!(
        "queries/worker/requeue.sql",
        &runs,
        &tasks,
        &indexes,
        &instances.iter().map(|i| of(i).0.id).collect::<Vec<_>>(),
        &instances.iter().map(|i| of(i).0.place(i.task as TaskIdx)).collect::<Vec<_>>(),
        &instances.iter().map(priority).collect::<Vec<_>>(),
        i32::from(why == ReapCause::Lost)
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn fail(db: &mut PgConnection, instances: &[ReapedInstance]) -> StoreResult<()> {
    if instances.is_empty() {
        return Ok(());
    }
    let (runs, tasks, indexes) = keys(instances);
    sqlx::query_file!("queries/worker/fail_lost.sql", &runs, &tasks, &indexes).execute(db).await?;
    Ok(())
}

/// Restarts instances that a user cleared while they ran: moves the ended attempt to the history, and evaluates the
/// trigger rule of the task again.
async fn restart(db: &mut PgConnection, instances: &[ReapedInstance]) -> StoreResult<()> {
    if instances.is_empty() {
        return Ok(());
    }
    let (runs, tasks, indexes) = keys(instances);
    sqlx::query_file!("queries/worker/restart_lost.sql", &runs, &tasks, &indexes).execute(db).await?;
    Ok(())
}
