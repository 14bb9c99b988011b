//! Workers: registration, leases and stop orders. A worker renews its lease with each heartbeat and receives its stop
//! orders in the response. Leases use the database clock. A worker whose lease expires is declared lost, and its
//! instances are requeued for other workers (see `reap`).

mod busy;
mod reap;
mod retire;

pub use busy::{RunningInstance, running_instances};
pub use reap::{Reaped, give_back, reap, reap_since, release, sweep_orphans};
pub use retire::needed_versions;

use crate::{StoreResult, boxed, process::memory_mb, step::Lease};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct NewWorker {
    pub name: String,
    pub hostname: String,
    pub pid: u32,
    pub bundle: String,
    pub binary_version: String,
    /// Ids of the queues that the worker serves, from `version::queue_ids`.
    pub queues: Vec<i32>,
    /// Ids of the DAG versions that the worker can run.
    pub versions: Vec<i32>,
    pub slots: i32,
    /// Lease duration: time for which the worker counts as alive after a heartbeat.
    pub lease: Duration,
}

#[derive(Debug, Clone)]
pub struct WorkerRow {
    pub id: i32,
    pub name: String,
    pub hostname: String,
    pub pid: i32,
    pub bundle: String,
    pub binary_version: String,
    pub queues: Vec<String>,
    pub versions: Vec<i32>,
    pub slots: i32,
    pub running: i32,
    /// Memory of the worker process in MB, as reported with its last heartbeat.
    pub memory_mb: i32,
    /// State of the worker: `running`, `draining`, `stopped` or `lost`.
    pub state: String,
    pub started_at: DateTime<Utc>,
    pub heartbeat_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// Seconds since the worker's last heartbeat, by the database clock.
    pub silent_secs: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    Running,
    /// The worker is shutting down. It claims only attempts of runs that no other worker can continue, and then exits.
    Draining,
    Stopped,
}

/// An order to stop a task instance, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopOrder {
    /// Lease of the attempt to stop. `lease_no` is always 0, because the order applies to every lease of the attempt.
    pub lease: Lease,
    /// Reason for the order: `cancelled`, `restarted`, `marked` or `timed_out`.
    pub why: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// True if the worker was declared lost or stopped. Its instances then belong to other workers, and it must
    /// register again or exit.
    pub lost: bool,
    pub stop_orders: Vec<StopOrder>,
    /// True if the table `ready` contains an attempt that this worker can run.
    pub ready_waiting: bool,
    /// True if the default pool has a limited size. Attempts of tasks without a pool then need admission.
    pub default_pool_has_size: bool,
}

#[boxed]
pub async fn register_worker(db: &mut PgConnection, new: &NewWorker) -> StoreResult<i32> {
    let id = sqlx::query_scalar!(
        "insert into worker (name, hostname, pid, bundle, binary_version, queues, versions, slots, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9::float8 * interval '1 second') returning id",
        new.name,
        new.hostname,
        new.pid as i32,
        new.bundle,
        new.binary_version,
        &new.queues,
        &new.versions,
        new.slots,
        new.lease.as_secs_f64()
    );
    Ok(id.fetch_one(db).await?)
}

/// Replaces the set of DAG versions that a worker can run. Called after the worker has loaded new or changed DAGs.
#[boxed]
pub async fn set_versions(db: &mut PgConnection, worker: i32, versions: &[i32]) -> StoreResult<()> {
    sqlx::query!("update worker set versions = $2 where id = $1", worker, versions).execute(db).await?;
    Ok(())
}

/// Renews the lease of a worker and returns its stop orders. `obeyed` lists the attempts whose stop orders were carried
/// out; an order that is not acknowledged this way is returned again with each heartbeat.
#[boxed]
pub async fn heartbeat(
    db: &mut PgConnection,
    worker: i32,
    running: i32,
    lease: Duration,
    obeyed: &[Uuid],
) -> StoreResult<HeartbeatAnswer> {
    let rows =
        sqlx::query_file!("queries/worker/heartbeat.sql", worker, running, lease.as_secs_f64(), obeyed, memory_mb());
    let rows = rows.fetch_all(db).await?;
    let mut answer = HeartbeatAnswer { lost: true, ..HeartbeatAnswer::default() };
    for row in rows {
        (answer.lost, answer.ready_waiting) = (row.lost, row.ready_waiting);
        answer.default_pool_has_size = row.default_pool_has_size;
        if let (Some(run), Some(task), Some(map_index), Some(attempt), Some(why)) =
            (row.run, row.task, row.map_index, row.attempt, row.why)
        {
            let lease = Lease { run, task: task as TaskIdx, map_index, attempt, lease_no: 0 };
            answer.stop_orders.push(StopOrder { lease, why });
        }
    }
    Ok(answer)
}

/// Changes the state of a worker. Returns `false` if the worker was already lost or stopped.
#[boxed]
pub async fn set_worker_state(db: &mut PgConnection, worker: i32, state: WorkerState) -> StoreResult<bool> {
    let state = match state {
        WorkerState::Running => "running",
        WorkerState::Draining => "draining",
        WorkerState::Stopped => "stopped",
    };
    let done =
        sqlx::query!("update worker set state = $2 where id = $1 and state in ('running', 'draining')", worker, state);
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Returns the workers. Live workers come first, and workers are otherwise sorted by id. Workers that ended more than
/// an hour ago are omitted.
#[boxed]
pub async fn list_workers(db: &mut PgConnection) -> StoreResult<Vec<WorkerRow>> {
    let rows = sqlx::query_as!(
        WorkerRow,
        r#"select w.id, w.name, w.hostname, w.pid, w.bundle, w.binary_version,
          array(select q.name from queue q where q.id = any(w.queues) and q.name not like '%/process' order by q.name) as "queues!", w.versions, w.slots,
          w.running, w.memory_mb, w.state, w.started_at, w.heartbeat_at, w.expires_at,
          extract(epoch from now() - w.heartbeat_at)::float8 as "silent_secs!"
        from worker w where w.state in ('running', 'draining') or w.heartbeat_at > now() - interval '1 hour'
        order by w.state not in ('running', 'draining'), w.id limit 1000"#
    );
    Ok(rows.fetch_all(db).await?)
}

/// Deletes workers that ended more than a day ago.
#[boxed]
pub async fn forget_gone(db: &mut PgConnection) -> StoreResult<()> {
    // Also delete the stop orders that a worker left behind because it was killed before it carried them out.
    let done = sqlx::query!(
        "with gone as (
          delete from worker where state in ('stopped', 'lost') and heartbeat_at < now() - interval '1 day' returning id)
        delete from stop_order where worker in (select id from gone)"
    );
    done.execute(db).await?;
    Ok(())
}
